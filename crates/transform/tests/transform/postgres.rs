//! Expressions over hostile rows, against PostgreSQL: the same value, or a fault where it fails too.

use crate::support::{batch, micros, pipeline, schema};
use arrow::array::{
    Array, ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use std::path::Path;
use std::sync::Arc;
use weir_testkit::{Database, Stack};
use weir_transform::Plan;

/// The rows of both: `id, a int, b int, l bigint, f double, s text, d date, n numeric(10, 2)`.
type Row = (i32, i32, i64, f64, Option<&'static str>, &'static str, i128);

const ROWS: [Row; 8] = [
    (7, 2, i64::MAX, 2.5, Some("Straße 12"), "2024-01-07", 250),
    (7, 0, 1, 0.0, None, "2024-02-29", -250),
    (i32::MIN, -1, -1, -2.5, Some("a_b%c"), "1969-12-31", 1),
    (10, 9, 10, 3.5, Some(""), "2024-12-30", 9_999_999_999),
    (5, 3, 5, -0.0, Some("äöü\\x"), "2025-01-01", 105),
    (-7, 3, i64::MIN, 1e300, Some("  aa bb  "), "0001-01-01", -9_999_999_999),
    (i32::MAX, -3, 0, -1.5, Some("ABC abc"), "9999-12-31", 50),
    (0, i32::MIN, 86_400, 0.5, Some("5"), "2000-03-26", 0),
];

/// The same value in every row, or a fault where PostgreSQL fails.
const SAME: &[(&str, &str)] = &[
    ("int", "a / b"),
    ("int", "CASE WHEN b = 0 THEN NULL ELSE a / b END"),
    ("int", "COALESCE(CASE WHEN b = 0 THEN 0 END, a / b)"),
    ("int", "a / NULLIF(b, 0)"),
    ("int", "a % b"),
    ("int", "a + b"),
    ("bigint", "l + 1"),
    ("int", "-a"),
    ("int", "abs(a)"),
    ("numeric(12,0)", "round(n)"),
    ("numeric(20,4)", "n * n"),
    ("float8", "trunc(f)"),
    ("text", "CASE WHEN a > '9' THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN a IN ('7', '10') THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN d >= '2024-02-01' THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN s < 'b' THEN 'y' ELSE 'n' END"),
    ("int", "CAST(EXTRACT(ISODOW FROM d) AS INT)"),
    ("int", "CAST(EXTRACT(DOW FROM d) AS INT)"),
    ("int", "CAST(EXTRACT(WEEK FROM d) AS INT)"),
    ("int", "CAST(EXTRACT(DOY FROM d) AS INT)"),
    ("int", "CAST(EXTRACT(ISOYEAR FROM d) AS INT)"),
    ("bigint", "CAST(EXTRACT(EPOCH FROM d) AS BIGINT)"),
    ("timestamptz", "d + INTERVAL '1 month'"),
    ("int", "d - DATE '2024-01-01'"),
    ("text", "substr(s, 0, 3)"),
    ("text", "substring(s FROM -1 FOR 3)"),
    ("text", "left(s, -1)"),
    ("text", "right(s, 2)"),
    ("int", "length(s)"),
    ("int", "octet_length(s)"),
    ("text", "reverse(s)"),
    ("text", "lpad(s, 3, 'x')"),
    ("int", "position('12' IN s)"),
    ("text", "split_part(s, ' ', 2)"),
    ("text", "split_part(s, ' ', -1)"),
    ("text", "trim(both 'a' FROM s)"),
    ("text", "concat(s, NULL, 'x')"),
    ("text", "s || NULL"),
    ("text", "replace(s, '', 'x')"),
    ("text", "translate(s, 'ab', 'x')"),
    ("text", "concat_ws('-', s, NULL, 'x')"),
    ("text", "chr(65)"),
    ("int", "ascii(s)"),
    ("text", r"CASE WHEN s LIKE 'a\_b%' THEN 'y' ELSE 'n' END"),
    ("text", r"CASE WHEN s LIKE '%\%c' THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN s ILIKE 'STRA%' THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN s ~ '^[a-z]_' THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN s ~* '^STRA' THEN 'y' ELSE 'n' END"),
    ("text", "regexp_replace(s, '[0-9]', '#')"),
    ("text", "regexp_replace(s, '[0-9]', '#', 'g')"),
    ("text", r"regexp_replace(s, '(\d)(\d)', '\2\1')"),
    ("text", "CASE WHEN a NOT BETWEEN 6 AND 8 THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN a NOT IN (7, NULL) THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN s IS DISTINCT FROM NULL THEN 'y' ELSE 'n' END"),
    ("int", "greatest(a, NULL, b)"),
    ("boolean", "CAST(b AS BOOLEAN)"),
    ("date", "CAST('2024-1-7' AS DATE)"),
    ("time", "CAST('10:00' AS TIME)"),
    ("text", "CAST(n AS VARCHAR)"),
    ("text", "CAST(d AS VARCHAR)"),
    ("float8", "power(a, 2)"),
    ("float8", "sqrt(f)"),
    ("int", "5 / 2 * a"),
    ("int", "EXTRACT(YEAR FROM d)"),
    ("int", "strpos(s, 'ß')"),
    ("text", "CASE WHEN b <> 0 AND a / b > 2 THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN b = 0 OR a / b > 2 THEN 'y' ELSE 'n' END"),
    ("timestamptz", "to_timestamp(l)"),
    ("int", "a % 0"),
    ("bigint", "l * 2"),
    ("bigint", "l - 1"),
    ("bigint", "-l"),
    ("bigint", "abs(l)"),
    ("int", "CAST(l AS INT)"),
    ("int", "CAST(s AS INT)"),
    ("float8", "ceil(f)"),
    ("float8", "floor(f)"),
    ("numeric(20,4)", "round(n, 1)"),
    ("numeric(20,4)", "n / b"),
    ("numeric(20,4)", "n % 3"),
    ("numeric(20,6)", "n * 1.5"),
    ("numeric(20,4)", "n + 0.005"),
    ("numeric(20,4)", "CAST(n AS DECIMAL(5,1))"),
    ("numeric(20,4)", "CAST(f AS DECIMAL(10,2))"),
    ("numeric(20,4)", "n * n * n"),
    ("text", "substr(s, 2)"),
    ("text", "substr(s, -1)"),
    ("text", "left(s, 2)"),
    ("text", "lower(s)"),
    ("text", "btrim(s)"),
    ("text", "ltrim(s)"),
    ("text", "rtrim(s)"),
    ("text", "repeat(s, 2)"),
    ("text", "rpad(s, 3, 'xy')"),
    ("int", "char_length(s)"),
    ("int", "bit_length(s)"),
    ("text", "s || 'x'"),
    ("text", "replace(s, 'a', '')"),
    ("boolean", "starts_with(s, 'a')"),
    ("boolean", "s IS NULL"),
    ("boolean", "s = '' OR a > 5"),
    ("boolean", "s = '' AND a > 5"),
    ("boolean", "NOT (s = '')"),
    ("boolean", "s IN ('5', NULL)"),
    ("boolean", "a BETWEEN b AND 10"),
    ("boolean", "s = 'ABC abc '"),
    ("text", "COALESCE(s, 'none')"),
    ("text", "NULLIF(s, '')"),
    ("int", "CASE a WHEN 7 THEN 1 WHEN 10 THEN 2 END"),
    ("int", "CAST(EXTRACT(QUARTER FROM d) AS INT)"),
    ("int", "CAST(EXTRACT(DAY FROM d) AS INT)"),
    ("int", "CAST(date_part('month', d) AS INT)"),
    ("date", "CAST(d + INTERVAL '1 day' AS DATE)"),
    ("boolean", "d > DATE '2024-02-29'"),
    ("date", "CAST(s AS DATE)"),
    ("boolean", "CAST(s AS BOOLEAN)"),
    ("int", "greatest(a, b)"),
    ("int", "least(a, b)"),
    ("int", "a & b"),
    ("int", "a | b"),
    ("int", "a >> 1"),
    ("text", "overlay(s PLACING 'X' FROM 2 FOR 1)"),
    ("boolean", "regexp_like(s, '^a')"),
    ("int", "regexp_count(s, 'a')"),
    ("text", "CAST(l AS VARCHAR)"),
    ("text", "CAST(a > 5 AS VARCHAR)"),
    ("text", "split_part(s, ' ', 9)"),
    ("int", "factorial(a)"),
    ("int", "gcd(a, b)"),
    ("boolean", "f = f"),
    ("boolean", "f > 'NaN'"),
    ("int", "length('ä')"),
    ("text", "initcap('hello wORLD')"),
    ("text", "CAST(CAST(f AS DECIMAL(20,1)) AS VARCHAR)"),
    ("float8", "CAST(s AS DOUBLE PRECISION)"),
    ("float8", "CAST(n AS DOUBLE PRECISION)"),
];

/// Another value in some row, for the difference that has this name on the page.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("float8", "f / b", IEEE),
    ("bigint", "a * 1000000", WIDE),
    ("int", "CAST(f AS INT)", TRUNCATES),
    ("float8", "round(f)", HALF),
    ("int", "CAST(n AS INT)", TRUNCATES),
    ("numeric(20,6)", "n / 3", DIVISION),
    ("date", "CAST(date_trunc('week', d) AS DATE)", NANOS),
    ("date", "CAST(date_trunc('quarter', d) AS DATE)", NANOS),
    ("text", "upper(s)", UNICODE),
    ("text", "initcap(s)", UNICODE),
    ("text", "CAST(f AS VARCHAR)", DOUBLES),
    ("float8", "ln(f)", IEEE),
    ("int", "a << 33", WIDE),
    ("text", "CAST(CAST(d AS TIMESTAMP(6)) AS VARCHAR)", ISO),
    ("timestamptz", GAP_IN_BERLIN, GAP),
    ("date", "to_date('31/01/2024', '%d/%m/%Y')", FORMATS),
    ("bigint", "a * 2", WIDE),
    ("bigint", "CAST(f AS BIGINT)", TRUNCATES),
    ("float8", "f / 0", IEEE),
    ("float8", "f * f", IEEE),
    ("float8", "exp(f)", IEEE),
    ("numeric(12,0)", "ceil(n)", DIGITS),
    ("numeric(12,0)", "floor(n)", DIGITS),
    ("date", "CAST(date_trunc('month', d) AS DATE)", NANOS),
    ("date", "CAST(date_trunc('year', d) AS DATE)", NANOS),
    ("timestamp", "CAST(d AS TIMESTAMP)", NANOS),
    ("float8", "log(f)", IEEE),
    ("float8", "cbrt(f)", IEEE),
    ("float8", "power(f, 0.5)", IEEE),
    ("text", "to_hex(a)", WIDE),
    ("text", "encode(CAST(s AS BYTEA), 'hex')", BYTES),
    ("text", "split_part(s, ' ', 0)", ZEROTH),
    ("text", "chr(a)", ZERO),
    ("text", "chr(0)", ZERO),
    ("bigint", "lcm(a, b)", WIDE),
];

/// Half past two, of which Berlin has none on the last row's day.
const GAP_IN_BERLIN: &str =
    "(CAST(d AS TIMESTAMP(6)) + INTERVAL '2 hours 30 minutes') AT TIME ZONE 'Europe/Berlin'";

/// Refused when the plan is compiled.
const REFUSED: &[(&str, &str)] = &[
    ("text", "to_char(d, 'YYYY-MM-DD')"),
    ("text", "to_char(d, 'DD.MM.YYYY')"),
    ("text", "md5(s)"),
    ("text", "CASE WHEN s LIKE 'a!_b!%c' ESCAPE '!' THEN 'y' ELSE 'n' END"),
    ("text", "CASE WHEN s SIMILAR TO 'a%' THEN 'y' ELSE 'n' END"),
    ("text", "(regexp_match(s, '[0-9]+'))[1]"),
    ("float8", "1e3 * a"),
    ("int", "a # b"),
    ("text", "s ->> 'a'"),
    ("text", "age(d, d)"),
    ("int", "mod(a, b)"),
    ("int", "sign(a)"),
    ("text", "CAST(s AS VARCHAR(2))"),
    ("text", "CAST(s AS CHAR(3))"),
    ("int", "(string_to_array(s, ' '))[9]"),
];

/// The differences that the page names.
const IEEE: &str = "Doubles are computed as IEEE 754 has it";
const WIDE: &str = "Integers are computed in 64 bits";
const TRUNCATES: &str = "A CAST to an integer truncates";
const HALF: &str = "round of a double rounds half away from zero";
const DIVISION: &str = "A quotient of decimals is truncated";
const DIGITS: &str = "ceil and floor of a decimal keep its digits";
const NANOS: &str = "date_trunc of a date and a CAST to TIMESTAMP end in 2262";
const UNICODE: &str = "upper, lower and initcap are Unicode's";
const DOUBLES: &str = "A double as text always has a fraction or an exponent";
const ISO: &str = "Times as text are ISO 8601";
const GAP: &str = "A local time that a zone has twice or never fails";
const FORMATS: &str = "Formats of dates and times are those of strftime";
const BYTES: &str = "A text as BYTEA is its UTF-8";
const ZERO: &str = "chr(0) is a character";
const ZEROTH: &str = "split_part fails for part 0 of a null";

fn input() -> SchemaRef {
    schema(&[
        ("id", DataType::Int32, false),
        ("a", DataType::Int32, false),
        ("b", DataType::Int32, false),
        ("l", DataType::Int64, false),
        ("f", DataType::Float64, false),
        ("s", DataType::Utf8, true),
        ("d", DataType::Date32, false),
        ("n", DataType::Decimal128(10, 2), false),
    ])
}

fn rows() -> RecordBatch {
    let ids: Int32Array = (0..ROWS.len() as i32).map(Some).collect();
    let texts: StringArray = ROWS.iter().map(|row| Some(row.5)).collect();
    let dates = arrow::compute::cast(&texts, &DataType::Date32).unwrap();
    let numbers = Decimal128Array::from_iter_values(ROWS.iter().map(|row| row.6));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(ids),
        Arc::new(Int32Array::from_iter_values(ROWS.iter().map(|row| row.0))),
        Arc::new(Int32Array::from_iter_values(ROWS.iter().map(|row| row.1))),
        Arc::new(Int64Array::from_iter_values(ROWS.iter().map(|row| row.2))),
        Arc::new(Float64Array::from_iter_values(ROWS.iter().map(|row| row.3))),
        Arc::new(ROWS.iter().map(|row| row.4).collect::<StringArray>()),
        dates,
        Arc::new(numbers.with_precision_and_scale(10, 2).unwrap()),
    ];
    batch(&input(), columns)
}

/// The rows as a table of PostgreSQL.
fn table() -> String {
    let rows = ROWS.iter().enumerate().map(|(id, (a, b, l, f, s, d, n))| {
        let s = s.map_or("NULL".to_string(), |s| format!("'{s}'"));
        format!("({id}, {a}, {b}, '{l}', '{f:?}', {s}, '{d}', {n} / 100.0)")
    });
    let rows: Vec<_> = rows.collect();
    format!(
        "(SELECT id::int, a::int, b::int, l::bigint, f::float8, s::text, d::date, n::numeric(10,2) \
         FROM (VALUES {}) v(id, a, b, l, f, s, d, n)) AS input",
        rows.join(", ")
    )
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
        "numeric(20,6)" => DataType::Decimal128(20, 6),
        "numeric(20,4)" => DataType::Decimal128(20, 4),
        "numeric(12,0)" => DataType::Decimal128(12, 0),
        other => panic!("{other}"),
    }
}

/// The value of each row, or why it fails; or why the expression is refused.
fn ours(expression: &str, pg_type: &str) -> Result<Vec<Result<Option<String>, String>>, String> {
    let schema = schema(&[("x", output(pg_type), true)]);
    let sql = format!("SELECT {expression} AS x FROM input");
    let plan = Plan::compile(input(), schema, &pipeline(&sql))
        .map_err(|mistakes| mistakes[0].what.clone())?;
    let done = plan.apply(&rows(), 0).unwrap();
    let mut values = vec![Err("filtered".to_string()); ROWS.len()];
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
    expression: &str,
    pg_type: &str,
    ours: &[Result<Option<String>, String>],
) -> Vec<String> {
    let mut differences = Vec::new();
    for (row, ours) in ours.iter().enumerate() {
        let one = format!("FROM {} WHERE id = {row}", table());
        let theirs = format!("CAST(({expression}) AS {pg_type})");
        let value = database.text(&format!("SELECT {theirs}::text {one}"));
        let same = match (&value, ours) {
            (Err(_), Err(_)) => true,
            (Ok(None), Ok(None)) => true,
            (Ok(Some(_)), Ok(Some(ours))) => {
                let ours = format!(
                    "CAST('{}' AS {pg_type})",
                    ours.trim_start_matches('+').replace('\'', "''")
                );
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

#[test]
fn expressions_have_the_values_of_postgresql_row_by_row() {
    let database = database();
    for (pg_type, expression) in SAME {
        let ours = ours(expression, pg_type).unwrap_or_else(|why| panic!("{expression}: {why}"));
        let differences = differences(&database, expression, pg_type, &ours);
        assert!(differences.is_empty(), "{expression}\n{}", differences.join("\n"));
    }
}

#[test]
fn every_difference_from_postgresql_is_on_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/pipelines/README.md");
    let page = std::fs::read_to_string(page).unwrap();
    let database = database();
    for (pg_type, expression, name) in DIFFERENT {
        let ours = ours(expression, pg_type).unwrap_or_else(|why| panic!("{expression}: {why}"));
        let differences = differences(&database, expression, pg_type, &ours);
        assert!(!differences.is_empty(), "{expression} is the same as in PostgreSQL");
        assert!(page.contains(&format!("* **{name}**")), "{name} is not on the page");
    }
}

#[test]
fn what_would_mean_something_else_is_refused_before_the_first_record() {
    for (pg_type, expression) in REFUSED {
        let refused = ours(expression, pg_type).expect_err(expression);
        assert!(!refused.contains(" { "), "{expression}: a message for developers: {refused}");
    }
}
