//! What may not occur inside an expression, a list of SELECT items or FROM: subqueries, aggregates,
//! window functions, functions that do not only depend on the record, and what would mean something
//! else than in PostgreSQL.

mod meaning;

use crate::messages::{ONE_RECORD, did_you_mean, excerpt};
use datafusion_expr::planner::ContextProvider;
use datafusion_sql::sqlparser::ast::{Expr, Function, FunctionArguments, Query, Visit, Visitor};
use std::convert::Infallible;
use std::ops::ControlFlow;
use weir_model::mistake::Mistake;

/// Functions that need more than one record. The catalog does not have them; they are listed so
/// that the message says more than that there is no such function.
const AGGREGATES_AND_WINDOWS: [&str; 34] = [
    "approx_distinct",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "cume_dist",
    "dense_rank",
    "every",
    "first_value",
    "grouping",
    "lag",
    "last_value",
    "lead",
    "listagg",
    "max",
    "mean",
    "median",
    "min",
    "mode",
    "nth_value",
    "ntile",
    "percent_rank",
    "percentile_cont",
    "rank",
    "row_number",
    "stddev",
    "string_agg",
    "sum",
    "var_pop",
    "variance",
];

/// Everything in `part` that is refused, as mistakes of `key`.
pub(crate) fn check<V: Visit>(key: &str, part: &V, catalog: &impl ContextProvider) -> Vec<Mistake> {
    let mut inspector = Inspector { catalog, mistakes: Vec::new() };
    let ControlFlow::Continue(()) = part.visit(&mut inspector);
    inspector.mistakes.dedup();
    inspector.mistakes.into_iter().map(|mistake| Mistake { key: key.into(), ..mistake }).collect()
}

struct Inspector<'a, C> {
    catalog: &'a C,
    mistakes: Vec<Mistake>,
}

impl<C: ContextProvider> Visitor for Inspector<'_, C> {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Infallible> {
        self.refuse(format!("the subquery `({})` is not supported", excerpt(query)), ONE_RECORD);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Infallible> {
        if let Some((what, hint)) = meaning::another(expr) {
            self.refuse(what, &hint);
            return ControlFlow::Continue(());
        }
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.to_string().to_lowercase();
        if has_modifiers(function) {
            self.refuse(format!("`{}` has more than arguments", excerpt(function)), ONE_RECORD);
        } else if function.over.is_some() {
            self.refuse(format!("the window function `{name}` is not supported"), ONE_RECORD);
        } else if AGGREGATES_AND_WINDOWS.contains(&name.as_str()) {
            let hint = match name.as_str() {
                "max" => "the larger of several values of one record is greatest(a, b)",
                "min" => "the smaller of several values of one record is least(a, b)",
                _ => ONE_RECORD,
            };
            self.refuse(format!("the aggregate `{name}` is not supported"), hint);
        } else {
            self.check_function(&function.name.to_string());
        }
        ControlFlow::Continue(())
    }
}

impl<C: ContextProvider> Inspector<'_, C> {
    fn refuse(&mut self, what: String, hint: &str) {
        self.mistakes.push(Mistake::new("", what).hint(hint));
    }

    fn check_function(&mut self, name: &str) {
        let lower = name.to_lowercase();
        // One that is written as an operator.
        if self.catalog.get_function_meta(&lower).is_some() || lower == "mod" {
            return;
        }
        let mistake = match INSTEAD.iter().find(|(names, _)| names.contains(&lower.as_str())) {
            Some((_, hint)) => {
                Mistake::new("", format!("the function `{name}` is not supported")).hint(*hint)
            }
            None => {
                let known = self.catalog.udf_names();
                let suggestion = did_you_mean(name, known.iter().map(String::as_str));
                Mistake::new("", format!("no function `{name}`{suggestion}"))
            }
        };
        self.mistakes.push(mistake);
    }
}

/// Functions that many expect, and what to write.
const INSTEAD: [(&[&str], &str); 11] = [
    (
        &["unnest", "explode", "flatten"],
        "FROM input CROSS JOIN unnest(list) AS item makes a row of each element",
    ),
    (
        &[
            "generate_series",
            "generate_subscripts",
            "json_array_elements",
            "json_array_elements_text",
            "json_each",
            "json_each_text",
            "json_object_keys",
            "regexp_split_to_table",
            "regexp_matches",
            "string_to_table",
        ],
        "one record becomes at most one: keep the array in a field of type array, or take an element \
         with array[1]",
    ),
    // A record that is processed again after a crash must give the same result.
    (
        &["random", "rand", "uuid", "gen_random_uuid", "clock_timestamp", "timeofday"],
        "now() is the only available function that depends on more than the record",
    ),
    (&["current_date", "today"], "CAST(now() AS DATE)"),
    (&["current_time", "localtime"], "CAST(now() AS TIME)"),
    (&["localtimestamp"], "now() AT TIME ZONE '…'"),
    (&["date_format"], "to_char(time, 'YYYY-MM-DD HH24:MI:SS')"),
    (&["to_unixtime"], "EXTRACT(EPOCH FROM time)"),
    (&["from_unixtime", "to_timestamp_nanos"], "to_timestamp(seconds)"),
    (&["to_time"], "CAST(text AS TIME)"),
    (&["date_bin", "datetrunc"], "date_trunc('hour', time)"),
];

/// DISTINCT, FILTER, WITHIN GROUP and the like, which planners ignore for scalar functions.
fn has_modifiers(function: &Function) -> bool {
    let in_list = match &function.args {
        FunctionArguments::List(list) => {
            list.duplicate_treatment.is_some() || !list.clauses.is_empty()
        }
        FunctionArguments::Subquery(_) | FunctionArguments::None => false,
    };
    let aggregate =
        AGGREGATES_AND_WINDOWS.contains(&function.name.to_string().to_lowercase().as_str());
    !aggregate
        && (in_list
            || function.filter.is_some()
            || function.null_treatment.is_some()
            || !function.within_group.is_empty())
}
