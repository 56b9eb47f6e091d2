//! The functions that SQL can call: those of the library that mean what PostgreSQL's mean, weir's own
//! where the library's mean something else, and some that PostgreSQL does not have. All others are
//! unknown, so that a new version of the library brings no function that nobody has compared.

mod calendar;
mod date_part;
mod date_trunc;
mod decimal;
mod divide;
mod json;
mod list;
mod rounding;
mod template;
mod times;

use arrow::datatypes::DataType;
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::planner::{ExprPlanner, PlannerResult};
use datafusion_expr::{ColumnarValue, Expr, ScalarUDF};
use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use divide::rounded_quotient;
pub(crate) use json::CHECK as JSON;
pub(crate) use list::quantified;
pub(crate) use rounding::cast_as_in_postgresql;

/// The library's functions that mean what PostgreSQL's mean, by any of their names.
/// `tests/transform/postgres.rs` calls each of them.
const POSTGRESQL: &[&str] = &[
    "abs",
    "acos",
    "acosh",
    "array_append",
    "array_cat",
    "array_prepend",
    "array_to_string",
    "ascii",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bit_length",
    "btrim",
    "cardinality",
    "cbrt",
    "ceil",
    "char_length",
    "character_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "cos",
    "cosh",
    "cot",
    "decode",
    "degrees",
    "encode",
    "exp",
    "factorial",
    "floor",
    "gcd",
    "greatest",
    "initcap",
    "lcm",
    "least",
    "left",
    "length",
    "ln",
    "log",
    "log10",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "make_time",
    "nullif",
    "octet_length",
    "overlay",
    "pi",
    "position",
    "pow",
    "power",
    "radians",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "sin",
    "sinh",
    "split_part",
    "sqrt",
    "starts_with",
    "string_to_array",
    "strpos",
    "substr",
    "substring",
    "tan",
    "tanh",
    "to_hex",
    "translate",
    "trim",
    "trunc",
    "upper",
];

/// Functions that PostgreSQL does not have under this name.
const OTHERS: &[&str] = &[
    "array_has",
    "contains",
    "ends_with",
    "find_in_set",
    "ifnull",
    "instr",
    "isnan",
    "iszero",
    "levenshtein",
    "log2",
    "make_array",
    "map_keys",
    "map_values",
    "named_struct",
    "nanvl",
    "nvl",
    "nvl2",
    "row",
    "signum",
    "struct",
    "substr_index",
    "substring_index",
    "to_local_time",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_seconds",
];

/// Other names of the library's functions, as in PostgreSQL.
const RENAMED: &[(&str, &str)] =
    &[("array_remove_all", "array_remove"), ("ceil", "ceiling"), ("signum", "sign")];

/// All functions by their names.
pub(crate) fn all() -> HashMap<String, Arc<ScalarUDF>> {
    let library = datafusion_functions::all_default_functions();
    let library =
        library.into_iter().chain(datafusion_functions_nested::all_default_nested_functions());
    let mut functions = HashMap::new();
    for function in library {
        for name in function.aliases().iter().map(String::as_str).chain([function.name()]) {
            if POSTGRESQL.contains(&name) || OTHERS.contains(&name) {
                functions.insert(name.to_string(), function.clone());
            }
            if let Some((_, other)) = RENAMED.iter().find(|(known, _)| *known == name) {
                functions.insert(other.to_string(), function.clone());
            }
        }
    }
    let own = [
        ScalarUDF::from(date_part::DatePart::default()),
        ScalarUDF::from(date_trunc::DateTrunc::default()),
        ScalarUDF::from(rounding::Round::default()),
        ScalarUDF::from(times::ToChar::default()),
        ScalarUDF::from(times::Parse::date()),
        ScalarUDF::from(times::Parse::timestamp()),
    ];
    let own = own.into_iter().map(Arc::new);
    for function in own.chain(json::functions()).chain(list::functions()).chain(list::comparisons())
    {
        functions.insert(function.name().to_string(), function);
    }
    functions
}

/// What plans syntax that stands for functions.
pub(crate) fn planners() -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(Extract),
        Arc::new(json::Operators),
        Arc::new(list::Access),
        Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
        Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
        Arc::new(datafusion_functions_nested::planner::NestedFunctionPlanner),
    ]
}

/// Plans `EXTRACT(part FROM time)`.
#[derive(Debug)]
struct Extract;

impl ExprPlanner for Extract {
    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        let date_part = ScalarUDF::from(date_part::DatePart::default());
        Ok(PlannerResult::Planned(date_part.call(arguments)))
    }
}

/// The text of the last constant argument, which is `what` of `function`.
fn constant(function: &str, what: &str, arguments: &[ColumnarValue]) -> Result<String> {
    let mut texts = arguments.iter().filter_map(|argument| match argument {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => Some(text.clone()),
        _ => None,
    });
    match texts.next_back() {
        Some(text) => Ok(text),
        None => exec_err!("{function}: {what} must be a text in quotes"),
    }
}

/// Whether the arguments are a text and something else.
fn names_its_unit(function: &str, types: &[DataType]) -> Result<()> {
    match types {
        [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, _] => Ok(()),
        _ => plan_err!("{function} takes the name of a unit in quotes, and a time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_lists_is_a_function_of_the_library() {
        let functions = all();
        for name in POSTGRESQL.iter().chain(OTHERS) {
            assert!(functions.contains_key(*name), "{name}");
        }
    }
}
