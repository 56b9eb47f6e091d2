//! SQL over batches: the reject rules, lookup joins and expressions of a pipeline, compiled once
//! and applied to each Arrow batch.
//!
//! # Promises
//!
//! * **Each record has one fate**: emitted, filtered, or refused with a reason; the same that it
//!   has when it is evaluated alone (`each_record_ends_where_an_evaluation_of_it_alone_ends`).
//! * **A bad record costs only itself.** An expression that fails on it, or a value that the output
//!   cannot hold, is its own [`Fault`](weir_model::fault::Fault); its neighbours pass
//!   (`an_expression_that_fails_costs_its_record_and_no_other`).
//! * **No value is lost silently**: integers do not wrap around, casts give no nulls, strings are
//!   not cut (`a_value_that_the_output_type_cannot_hold_is_a_fault_and_never_null_or_truncated`).
//! * **The order stays**, and every output row knows its input row.
//! * **Everything that is wrong with a pipeline's SQL is said before its first record**, all at
//!   once (`all_mistakes_are_reported_at_once`).
//!
//! # The SQL
//!
//! `SELECT … FROM input [alias] [LEFT JOIN lookup …]… [WHERE …]`: one record in, at most one out.
//! Whatever needs other records is refused: subqueries, aggregates, window functions, GROUP BY,
//! DISTINCT, ORDER BY, LIMIT, UNION, WITH.
//!
//! * **Steps.** Joins, once per batch; then the rules in their order, of which the first that is
//!   true refuses the record (null is not true); then WHERE, which filters; then the result
//!   columns. A record that one step stopped is not evaluated in the next.
//! * **Rules** see what FROM gives: the input and the joined lookups. They come before WHERE: a
//!   record that WHERE would filter can still be refused.
//! * **Lookups** are CSV files with a unique key, read when the plan is compiled. They are joined
//!   by equality on the whole key; null matches nothing. `JOIN` is `LEFT JOIN` plus a filter of the
//!   records without a match, after the rules. Their columns are long, double, boolean, date
//!   (`2024-02-29`) or string, by what all cells of a column are; an empty cell is null; as a key a
//!   cell is compared as what the record's side of the join is.
//! * **`now()`** is one value for a batch, given by the caller. Other functions that do not only
//!   depend on the record do not exist.
//! * **Names** are written as in the schema, upper and lower case kept apart; those with blanks or
//!   signs in double quotes.
//! * **Types.** `0.5` is a decimal. Decimal arithmetic widens; the output schema cuts back.
//!   Timestamps count microseconds: `(CAST(b AS BIGINT) - CAST(a AS BIGINT)) / 1000000` are the
//!   whole seconds between two, exactly.
//! * **Result columns** are matched with the output schema by name. Converted without a `CAST`:
//!   integers into each other, into decimals and into floats; float into double; decimals into each
//!   other, rounded half away from zero to the output's scale; strings and enums; timestamps and
//!   dates into timestamps, where no zone means UTC. A value that does not survive is a fault, and
//!   so is a null where the output schema allows none. All else takes an explicit `CAST`; a cast
//!   that fails (`'x'` to a number, an overflow) is a fault too, while a cast of a double to an
//!   integer cuts its fraction off, as SQL has it.
//!
//! # Reasons
//!
//! | stage | reason | when |
//! |---|---|---|
//! | rule | the rule's name | its condition is true |
//! | transform | `expression_failed` | a key, rule, WHERE or result column cannot be computed: division by zero, overflow, a cast |
//! | transform | `value_does_not_fit` | the result is outside the output column's type |
//! | transform | `value_missing` | the result is null, the output column must not be |

mod catalog;
mod coercion;
mod compile;
mod error;
mod evaluate;
mod inspect;
mod join;
mod lookup;
mod messages;
mod outcomes;
mod plan;
mod query;
mod scope;
mod view;

pub use error::Error;
pub use plan::{Plan, Transformed};
