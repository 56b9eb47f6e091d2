//! Expressions over hostile rows, against PostgreSQL: the same value, or a fault where it fails too.

#[path = "postgres/differences.rs"]
mod differences;
#[path = "postgres/flat.rs"]
mod flat;
#[path = "postgres/nested.rs"]
mod nested;
#[path = "postgres/times.rs"]
mod times;

use crate::support::{micros, pipeline, schema};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::array_value_to_string;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_testkit::{Database, Stack};
use weir_transform::Plan;

/// The same rows in both.
struct Table {
    rows: RecordBatch,
    /// As an item of FROM, with the column `id` from 0.
    sql: String,
}

/// A type of both.
fn output(name: &str) -> DataType {
    match name {
        "int" => DataType::Int32,
        "bigint" => DataType::Int64,
        "float8" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "text" => DataType::Utf8,
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "timestamptz" => micros(),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "numeric(38,18)" => DataType::Decimal128(38, 18),
        "numeric(38,9)" => DataType::Decimal128(38, 9),
        "numeric(20,6)" => DataType::Decimal128(20, 6),
        "numeric(20,4)" => DataType::Decimal128(20, 4),
        "numeric(12,0)" => DataType::Decimal128(12, 0),
        other => panic!("{other}"),
    }
}

/// The value of each row, or why it fails; or why the expression is refused.
fn ours(
    table: &Table,
    expression: &str,
    pg_type: &str,
) -> Result<Vec<Result<Option<String>, String>>, String> {
    let schema = schema(&[("x", output(pg_type), true)]);
    let sql = format!("SELECT {expression} AS x FROM input");
    let plan = Plan::compile(table.rows.schema(), schema, &pipeline(&sql))
        .map_err(|mistakes| mistakes[0].what.clone())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
    let done = plan.apply(&table.rows, now as i64).unwrap();
    let mut values = vec![Err("filtered".to_string()); table.rows.num_rows()];
    for (index, row) in done.rows.iter().enumerate() {
        let column = done.output.column(0);
        let text = array_value_to_string(column, index).unwrap();
        values[*row as usize] = Ok(column.is_valid(index).then_some(text));
    }
    for (row, fault) in done.faults {
        values[row as usize] = Err(fault.detail);
    }
    Ok(values)
}

/// The rows in which PostgreSQL has something else, as `row: theirs, not ours`.
fn differences(
    database: &Database,
    table: &Table,
    expression: &str,
    pg_type: &str,
    ours: &[Result<Option<String>, String>],
) -> Vec<String> {
    let mut differences = Vec::new();
    for (row, ours) in ours.iter().enumerate() {
        let one = format!("FROM {} WHERE id = {row}", table.sql);
        let theirs = format!("CAST(({expression}) AS {pg_type})");
        let value = database.text(&format!("SELECT {theirs}::text {one}"));
        let same = match (&value, ours) {
            (Err(_), Err(_)) => true,
            (Ok(None), Ok(None)) => true,
            (Ok(Some(_)), Ok(Some(ours))) => {
                // The year 0 is 1 BC.
                let ours = match (pg_type, ours.strip_prefix("0000-")) {
                    ("date" | "timestamp" | "timestamptz", Some(rest)) => format!("0001-{rest} BC"),
                    _ => ours.trim_start_matches('+').replace('\'', "''"),
                };
                let ours = format!("CAST('{ours}' AS {pg_type})");
                let same = format!("SELECT ({theirs} IS NOT DISTINCT FROM {ours})::text {one}");
                database.text(&same).ok().flatten().as_deref() == Some("true")
            }
            _ => false,
        };
        if !same {
            let theirs = value.map_err(|error| format!("{:#}", error.root_cause()));
            differences.push(format!("{row}: {theirs:?}, not {ours:?}"));
        }
    }
    differences
}

fn database() -> Database {
    let database = Database::connect(Stack::shared().postgres()).unwrap();
    database.execute("SET timezone = 'UTC'").unwrap();
    database
}

/// All expressions of a table that have another value than in PostgreSQL, with their rows.
fn all_differences(table: &Table, same: &[(&str, &str)]) -> String {
    let database = database();
    let mut found = Vec::new();
    for (pg_type, expression) in same {
        let rows = match ours(table, expression, pg_type) {
            Ok(ours) => differences(&database, table, expression, pg_type, &ours),
            Err(why) => vec![why],
        };
        if !rows.is_empty() {
            found.push(format!("{expression} AS {pg_type}\n    {}", rows.join("\n    ")));
        }
    }
    found.join("\n")
}

#[test]
fn expressions_have_the_values_of_postgresql_row_by_row() {
    let differences = all_differences(&flat::table(), flat::SAME);
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn expressions_over_arrays_and_json_have_the_values_of_postgresql_row_by_row() {
    let differences = all_differences(&nested::table(), nested::SAME);
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn expressions_over_times_of_all_years_have_the_values_of_postgresql_row_by_row() {
    let same: Vec<(String, String)> = times::same();
    let same: Vec<(&str, &str)> = same.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let differences = all_differences(&times::table(), &same);
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn every_difference_from_postgresql_is_on_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/pipelines/README.md");
    let page = std::fs::read_to_string(page).unwrap();
    let database = database();
    let tables = [
        (flat::table(), flat::DIFFERENT),
        (nested::table(), nested::DIFFERENT),
        (times::table(), times::DIFFERENT),
    ];
    for (table, different) in tables {
        for (pg_type, expression, name) in different {
            let ours = ours(&table, expression, pg_type)
                .unwrap_or_else(|why| panic!("{expression}: {why}"));
            let differences = differences(&database, &table, expression, pg_type, &ours);
            assert!(!differences.is_empty(), "{expression} is the same as in PostgreSQL");
            assert!(page.contains(&format!("* **{name}**")), "{name} is not on the page");
        }
    }
}

#[test]
fn what_would_mean_something_else_is_refused_before_the_first_record() {
    for (pg_type, expression) in flat::REFUSED {
        let refused = ours(&flat::table(), expression, pg_type).expect_err(expression);
        assert!(!refused.contains(" { "), "{expression}: a message for developers: {refused}");
    }
}

/// A function that PostgreSQL has as well must have been compared with it.
#[test]
fn every_function_that_postgresql_has_is_compared_with_it() {
    let known = database().texts("SELECT DISTINCT proname FROM pg_proc").unwrap();
    let known: BTreeSet<String> = known.into_iter().flatten().flatten().collect();
    let times = times::same();
    let compared = (flat::SAME.iter().map(|(_, e)| *e))
        .chain(flat::DIFFERENT.iter().map(|(_, e, _)| *e))
        .chain(nested::SAME.iter().map(|(_, e)| *e))
        .chain(nested::DIFFERENT.iter().map(|(_, e, _)| *e))
        .chain(times::DIFFERENT.iter().map(|(_, e, _)| *e))
        .chain(times.iter().map(|(_, e)| e.as_str()));
    let compared: String = compared.collect::<Vec<_>>().join(" ").to_lowercase();
    let is_compared = |name: &str| {
        compared
            .match_indices(&format!("{name}("))
            .any(|(at, _)| !compared[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let missing: Vec<String> = weir_transform::functions()
        .into_iter()
        .filter(|name| known.contains(name) && !is_compared(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
