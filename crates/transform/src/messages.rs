//! Texts of mistakes and faults: types, names, and the errors of DataFusion and Arrow.

use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use datafusion_common::{Column, DataFusionError, SchemaError};
use weir_model::mistake::{self, Mistake};

pub(crate) use weir_model::avro::type_name;

/// The remedy for every construct that needs other records.
pub(crate) const ONE_RECORD: &str = "weir's SQL sees one record at a time: SELECT … FROM \
     input [CROSS JOIN unnest(a list) …] [LEFT JOIN a lookup …] [WHERE …]";

/// `expression` cast to `to`, as SQL to paste; `None` when SQL has no cast to that type.
pub(crate) fn cast_sql(expression: &str, from: &DataType, to: &DataType) -> Option<String> {
    if let (DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, None)) = (from, to) {
        return Some(format!("({expression}) AT TIME ZONE 'UTC'"));
    }
    let target = match to {
        _ if from.is_nested() => return None,
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "INT".into(),
        DataType::Int64 => "BIGINT".into(),
        DataType::Float32 => "REAL".into(),
        DataType::Float64 => "DOUBLE".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
            "VARCHAR".into()
        }
        DataType::Binary => "BYTEA".into(),
        DataType::Decimal128(p, s) => format!("DECIMAL({p},{s})"),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(TimeUnit::Millisecond, _) => "TIMESTAMP(3)".into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => "TIMESTAMP(6)".into(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => "TIMESTAMP(9)".into(),
        _ => return None,
    };
    Some(format!("CAST({expression} AS {target})"))
}

/// `name` as an SQL identifier: in double quotes when it is not a plain word.
pub(crate) fn identifier(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain && !name.is_empty() {
        name.into()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// The end of a sentence about an unknown name: "; did you mean …?" with the identifier to write,
/// or nothing.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    mistake::did_you_mean(name, candidates.into_iter().map(identifier))
}

/// The beginning of a piece of SQL.
pub(crate) fn excerpt(sql: &impl std::fmt::Display) -> String {
    const LENGTH: usize = 60;
    let text = sql.to_string();
    if text.chars().count() <= LENGTH {
        text
    } else {
        text.chars().take(LENGTH - 1).chain(['…']).collect()
    }
}

/// `a`, `b` and `c`, each in back quotes.
pub(crate) fn list<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let mut names: Vec<String> = names.into_iter().map(|n| format!("`{}`", n.as_ref())).collect();
    match names.pop() {
        Some(last) if names.is_empty() => last,
        Some(last) => format!("{} and {last}", names.join(", ")),
        None => "nothing".into(),
    }
}

/// The mistake in the SQL of `key`, without DataFusion's prefixes and its advice to developers.
pub(crate) fn planning_mistake(key: &str, error: &DataFusionError) -> Mistake {
    match error.find_root() {
        DataFusionError::SchemaError(schema_error, _) => schema_mistake(key, schema_error),
        root => Mistake::new(key, first_line(&strip(&root.message()))),
    }
}

fn schema_mistake(key: &str, error: &SchemaError) -> Mistake {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            Mistake::new(key, unknown_column(field, valid_fields))
        }
        SchemaError::AmbiguousReference { field } => {
            let qualified = format!(
                "`{}` is a column of several tables; write the table before it, as in `i.{}`",
                field.name,
                identifier(&field.name)
            );
            Mistake::new(key, qualified)
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            Mistake::new(key, format!("the column `{name}` occurs twice"))
        }
    }
}

fn unknown_column(field: &Column, valid: &[Column]) -> String {
    let tables: std::collections::BTreeSet<&str> =
        valid.iter().filter_map(|c| c.relation.as_ref().map(|r| r.table())).collect();
    let Some(table) = field.relation.as_ref().map(|r| r.table()) else {
        return format!(
            "no column `{}`{}",
            field.name,
            did_you_mean(&field.name, valid.iter().map(|c| c.name.as_str()))
        );
    };
    if !tables.contains(table) {
        return format!("no table `{table}` in FROM, only {}", list(tables));
    }
    let columns = valid
        .iter()
        .filter(|c| c.relation.as_ref().is_some_and(|r| r.table() == table))
        .map(|c| c.name.as_str());
    format!("no column `{}` in `{table}`{}", field.name, did_you_mean(&field.name, columns))
}

/// The error of an expression that failed on a record.
pub(crate) fn evaluation_error(error: &DataFusionError) -> String {
    let text = match error.find_root() {
        DataFusionError::ArrowError(error, _) => arrow_error(error),
        root => root.message().into_owned(),
    };
    first_line(&strip(&text))
}

pub(crate) fn arrow_error(error: &ArrowError) -> String {
    match error {
        ArrowError::DivideByZero => "division by zero".into(),
        ArrowError::ArithmeticOverflow(text) => format!("overflow: {text}"),
        ArrowError::CastError(text)
        | ArrowError::ComputeError(text)
        | ArrowError::InvalidArgumentError(text)
        | ArrowError::ParseError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Removes all names of error classes at the beginning.
fn strip(text: &str) -> String {
    const PREFIXES: [&str; 12] = [
        "Error during planning: ",
        "Execution error: ",
        "Arrow error: ",
        "Schema error: ",
        "External error: ",
        "Internal error: ",
        "Optimizer rule 'simplify_expressions' failed",
        "This feature is not implemented: ",
        "Cast error: ",
        "Compute error: ",
        "Invalid argument error: ",
        "type_coercion",
    ];
    // What a function says about its arguments, without what the library says around it.
    let text = text.split_once("user-defined coercion failed with: ").map_or(text, |(_, own)| own);
    let text = text.split_once(" No function matches the given name").map_or(text, |(own, _)| own);
    if text.contains("Fail to find the coerced type") {
        return "the arguments have no common type; CAST them to one".into();
    }
    let mut rest = text.trim();
    while let Some(shorter) = PREFIXES.iter().find_map(|p| rest.strip_prefix(p)) {
        rest = shorter.trim_start();
    }
    rest.to_string()
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches(['.', ' ']).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_recognised_and_other_words_are_not() {
        assert_eq!(did_you_mean("amonut", ["id", "amount"]), "; did you mean `amount`?");
        assert_eq!(
            did_you_mean("CallDuration", ["call_duration"]),
            "; did you mean `call_duration`?"
        );
        assert_eq!(
            did_you_mean("cost_total", ["Cost Total $"]),
            "; did you mean `\"Cost Total $\"`?"
        );
        assert_eq!(did_you_mean("price", ["id", "amount"]), "");
    }

    #[test]
    fn names_of_error_classes_are_removed() {
        let error =
            DataFusionError::Plan("Error during planning: no such thing.\nsecond line".into());
        assert_eq!(
            planning_mistake("transform.sql", &error),
            Mistake::new("transform.sql", "no such thing")
        );
        assert_eq!(evaluation_error(&ArrowError::DivideByZero.into()), "division by zero");
    }
}
