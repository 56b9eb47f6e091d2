//! SQL over batches: the reject rules, lookup joins and expressions of a pipeline, compiled once
//! and applied to each Arrow batch.
//!
//! # Promises
//!
//! * **Each record has one outcome**: emitted, filtered, or refused with a reason. It is the same
//!   as when the record is evaluated alone
//!   (`each_record_has_the_outcome_that_it_has_when_evaluated_alone`).
//! * **A bad record costs only itself.** An expression that fails on it, or a value that the output
//!   cannot hold, is its own [`Fault`](weir_model::fault::Fault); its neighbours pass
//!   (`an_expression_that_fails_costs_its_record_and_no_other`).
//! * **No value is lost silently**: integers do not wrap around, casts give no nulls, strings are
//!   not truncated
//!   (`a_value_that_the_output_type_cannot_hold_is_a_fault_and_never_null_or_truncated`).
//! * **The order is kept**, and every output row knows its input row.
//! * **All mistakes in a pipeline's SQL are reported before its first record**
//!   (`all_mistakes_are_reported_at_once`).
//!
//! # The SQL
//!
//! `SELECT … FROM input [alias] [CROSS JOIN unnest(list) …]… [LEFT JOIN lookup …]… [WHERE …]`: one
//! record in, at most one out, or with `unnest` one for each element of a list. Constructs that need
//! other records are refused: subqueries, aggregates, window functions, GROUP BY, DISTINCT, ORDER BY,
//! LIMIT, UNION, WITH.
//!
//! * **Steps.** `unnest`; joins, once per batch; then the rules in their order, of which the first
//!   that is true refuses the record (null is not true); then WHERE, which filters; then the result
//!   columns. A record that was stopped by one step is not evaluated in the next.
//! * **Rules** see the input and the joined lookups. They come before WHERE: a record that WHERE
//!   would filter can still be refused.
//! * **Lookups** are CSV files with a unique key, read when the plan is compiled. They are joined
//!   by equality on the whole key; null matches nothing. `JOIN` is a `LEFT JOIN` that filters the
//!   records without a match, after the rules. The type of a lookup column (long, double, boolean,
//!   date as in `2024-02-29`, or string) is inferred from all its cells; an empty cell is null. Key
//!   cells are compared in the type of the record's side of the join.
//! * **`unnest(list)`** makes a row for each element, as in PostgreSQL: a table whose columns are the
//!   members of a record, or one column with its name; `key` and `value` of a map; `WITH ORDINALITY`
//!   adds the number of the element. It comes before the lookups. `CROSS JOIN` filters the records
//!   without elements, after the rules, which see them as one row of nulls; `LEFT JOIN … ON true`
//!   keeps them so. WHERE filters rows. Anything that refuses a row refuses its whole record.
//! * **`now()`** is one value per batch, given by the caller. No other function that depends on
//!   more than the record is available.
//! * **Names** are written as in the schema and are case-sensitive. Names with blanks or special
//!   characters are written in double quotes.
//! * **Types.** `0.5` is a decimal. Decimal arithmetic widens; the output schema narrows again.
//!   Timestamps count microseconds, in all years: `CAST(b AS BIGINT) - CAST(a AS BIGINT)` is the
//!   exact length between two timestamps, and `EXTRACT(EPOCH FROM b - a)` the same in seconds.
//! * **Functions** are those of a list ([`functions()`]) that was compared with PostgreSQL's.
//! * **Nested values** are reached by name, index and key, and made by `ARRAY[…]` and
//!   `named_struct(…)`.
//! * **JSON** is a text; a text that is no JSON fails its record.
//! * **`AT TIME ZONE`** is PostgreSQL's: an instant becomes the local time of the zone, a local time
//!   the instant. Where PostgreSQL picks one, a local time that the zone has twice or never (the
//!   hours in which clocks are changed) fails its record.
//! * **Result columns** are matched with the output schema by name. Converted without a `CAST`:
//!   integers into each other, into decimals and into floats; float into double; decimals into each
//!   other, rounded half away from zero to the output's scale; strings and enums; timestamps and
//!   dates into timestamps, where no zone means UTC, but never an instant into a local time. A
//!   value that does not fit is a fault, and so is a null where the output schema allows none. All
//!   other conversions need an explicit `CAST`. The table of all pairs is [`weir_model::cast`].
//!   A cast that fails (`'x'` to a number, an overflow) is a fault too.
//!   `deploy/pipelines/README.md` lists what differs from PostgreSQL.
//!
//! # Reasons
//!
//! | stage | reason | when |
//! |---|---|---|
//! | rule | the rule's name | its condition is true |
//! | transform | `expression_failed` | an expression fails: division by zero, overflow, cast |
//! | transform | `value_does_not_fit` | the result is outside the output column's type |
//! | transform | `value_missing` | the result is null, but the output column allows none |
//!
//! The expression is the key of a lookup, a rule, WHERE or a result column; the detail names it.

mod catalog;
mod coercion;
mod compile;
mod condition;
mod dialect;
mod error;
mod evaluate;
mod functions;
mod inspect;
mod join;
mod lookup;
mod messages;
mod metadata;
mod moments;
mod outcomes;
mod plan;
mod query;
mod regex;
mod rewrite;
mod scope;
mod time_zone;
mod unnest;
mod view;

/// The names of the functions that SQL can call, sorted.
pub fn functions() -> Vec<String> {
    let mut names: Vec<String> =
        functions::all().into_keys().filter(|name| !name.contains(' ')).collect();
    names.sort();
    names
}

/// Whether this SQL of a pipeline makes several rows of a record.
pub fn unnests(sql: &str) -> bool {
    query::parse_transform(sql).is_ok_and(|transform| !transform.unnests.is_empty())
}

pub use condition::{Condition, Judged};
pub use error::Error;
pub use metadata::{ChangeColumns, InputColumns, Metadata, MetadataColumns};
pub use plan::{Plan, Transformed};
