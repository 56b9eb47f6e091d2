//! Expressions over dates and times of all years that both have.

use super::Table;
use super::differences::*;
use crate::support::{batch, micros, schema};
use arrow::array::{ArrayRef, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use std::sync::Arc;

/// The rows of both: `id, d date, at timestamptz, local timestamp`, all the same moment.
const MOMENTS: [&str; 14] = [
    "0001-01-01T00:00:00",
    "9999-12-31T23:59:59.999999",
    "1582-10-10T10:10:10.1",
    "1677-09-21T00:12:43.145224",
    "1899-12-31T23:59:59",
    "1969-12-31T23:59:59.999999",
    "1970-01-01T00:00:00",
    "2000-02-29T12:00:00.000001",
    "2024-02-29T01:02:03.004005",
    "2024-12-30T13:34:56.789",
    "2025-01-01T00:30:00.5",
    "2262-04-12T00:00:00",
    "2001-01-01T00:00:00",
    "5000-06-15T18:19:20.999",
];

const UNITS: [&str; 13] = [
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
];

const PARTS: [&str; 18] = [
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "dow",
    "isodow",
    "doy",
    "week",
    "month",
    "quarter",
    "year",
    "isoyear",
    "decade",
    "century",
    "millennium",
    "epoch",
];

const FORMATS: [&str; 22] = [
    "YYYY-MM-DD",
    "DD.MM.YYYY",
    "HH24:MI:SS",
    "HH12:MI AM",
    "hh:mi:ss pm",
    "YYYY-MM-DD HH24:MI:SS.US",
    "MS US FF3",
    "YY/Q",
    "Y YYY",
    "IYYY-IW-ID",
    "DDD D WW CC",
    "FMDD.FMMM.YYYY",
    "Month|MON|mon",
    "FMMonth FMDay",
    "Day, DD Mon",
    "DY dy Dy",
    "day|MONTH",
    "YYYYMMDDHH24MISS",
    "SSSS",
    r#"YYYY-MM-DD"T"HH24:MI:SS"Z""#,
    "TZ OF",
    "FMHH24:FMMI",
];

const SAME: &[(&str, &str)] = &[
    ("boolean", "d < at"),
    ("boolean", "d = local"),
    ("boolean", "d <> local"),
    ("boolean", "d < now()"),
    ("boolean", "at < now()"),
    ("boolean", "local >= now()"),
    ("boolean", "at BETWEEN d AND now()"),
    ("boolean", "d IN (local, at)"),
    ("boolean", "at > '9999-01-01'"),
    ("boolean", "at = TIMESTAMP '2024-02-29 01:02:03.004005'"),
    ("boolean", "d > '1500-01-01'"),
    ("boolean", "at NOT BETWEEN '1000-01-01' AND '9000-01-01 12:00:00+02'"),
    ("timestamptz", "COALESCE(CASE WHEN id > 6 THEN at END, d)"),
    ("timestamptz", "CASE WHEN id < 4 THEN '0001-01-01 00:00:00+00' ELSE at END"),
    ("boolean", "local > DATE '1600-01-01'"),
    ("boolean", "d IS DISTINCT FROM local"),
    ("timestamp", "CAST(d AS TIMESTAMP)"),
    ("timestamptz", "CAST(d AS TIMESTAMP WITH TIME ZONE)"),
    ("timestamptz", "CAST(local AS TIMESTAMP WITH TIME ZONE)"),
    ("date", "CAST(at AS DATE)"),
    ("date", "CAST(local AS DATE)"),
    ("timestamptz", "greatest(d, at)"),
    ("timestamp", "least(local, d)"),
    ("timestamp", "COALESCE(NULLIF(d, local), local)"),
    ("timestamp", "CASE WHEN id > 6 THEN d ELSE local END"),
    ("timestamp", "d + INTERVAL '1 month'"),
    ("timestamp", "d - INTERVAL '1 day'"),
    ("timestamp", "d + INTERVAL '5 hours'"),
    ("timestamp", "local + INTERVAL '1 month 2 days 3 hours'"),
    ("timestamptz", "at - INTERVAL '1.5 hours'"),
    ("timestamptz", "at + INTERVAL '1 year'"),
    ("date", "d + 1"),
    ("date", "d - 7"),
    ("int", "d - DATE '2024-01-01'"),
    ("timestamp", "at AT TIME ZONE 'Asia/Tokyo'"),
    ("timestamp", "at AT TIME ZONE 'UTC'"),
    ("timestamptz", "local AT TIME ZONE 'UTC'"),
    ("timestamptz", "local AT TIME ZONE 'Asia/Tokyo'"),
    ("timestamp", "date_trunc('day', at AT TIME ZONE 'Asia/Tokyo')"),
    ("text", "to_char(at AT TIME ZONE 'Asia/Tokyo', 'YYYY-MM-DD HH24:MI')"),
    ("timestamptz", "to_timestamp(CAST(EXTRACT(EPOCH FROM d) AS BIGINT))"),
    ("timestamptz", "to_timestamp(1.5)"),
    ("numeric(20,6)", "EXTRACT(EPOCH FROM at - TIMESTAMP WITH TIME ZONE '2000-01-01 00:00:00+00')"),
    ("date", "to_date(to_char(d, 'DD.MM.YYYY'), 'DD.MM.YYYY')"),
    ("date", "to_date(to_char(d, 'FMDD Mon YYYY'), 'DD Mon YYYY')"),
    ("date", "to_date(to_char(d, 'YYYYDDD'), 'YYYYDDD')"),
    ("date", "to_date('29.02.2023', 'DD.MM.YYYY')"),
    ("date", "to_date('5.3.24', 'DD.MM.YY')"),
    ("timestamptz", "to_timestamp(to_char(at, 'YYYYMMDD HH24MISS.US'), 'YYYYMMDD HH24MISS.US')"),
    ("timestamptz", "to_timestamp(to_char(at, 'DD/MM/YYYY HH12:MI AM'), 'DD/MM/YYYY HH12:MI AM')"),
    ("timestamptz", "to_timestamp('2024-01-31 24:00', 'YYYY-MM-DD HH24:MI')"),
    ("date", "make_date(CAST(EXTRACT(YEAR FROM d) AS INT), 2, id + 20)"),
    ("time", "make_time(id + 15, 30, 5)"),
    ("time", "CAST(local AS TIME)"),
    ("text", "date_part('hour', local)::int::text"),
];

pub(super) const DIFFERENT: &[(&str, &str, &str)] = &[
    ("date", "to_date('2024-1-7 12:00', 'YYYY-MM-DD')", STRICT),
    ("timestamptz", "to_timestamp('2024/01/31', 'YYYY-MM-DD')", STRICT),
];

/// Every unit, part and format for every type, and [`SAME`].
pub(super) fn same() -> Vec<(String, String)> {
    let mut same: Vec<(String, String)> =
        SAME.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    for time in ["d", "at", "local"] {
        let timestamp = if time == "local" { "timestamp" } else { "timestamptz" };
        let mut add = |pg_type: &str, sql: String| same.push((pg_type.into(), sql));
        for unit in UNITS {
            add(timestamp, format!("date_trunc('{unit}', {time})"));
        }
        for part in PARTS {
            let of_time = ["microseconds", "milliseconds", "second", "minute", "hour"];
            if time != "d" || !of_time.contains(&part) {
                add("numeric(20,6)", format!("EXTRACT({part} FROM {time})"));
            }
        }
        for format in FORMATS {
            add("text", format!("to_char({time}, '{format}')"));
        }
    }
    same
}

pub(super) fn table() -> Table {
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    let input = schema(&[
        ("id", DataType::Int32, false),
        ("d", DataType::Date32, false),
        ("at", micros(), false),
        ("local", local.clone(), false),
    ]);
    let texts: ArrayRef = Arc::new(StringArray::from(MOMENTS.to_vec()));
    let local = cast(&texts, &local).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0..MOMENTS.len() as i32).collect::<Int32Array>()),
        cast(&local, &DataType::Date32).unwrap(),
        cast(&local, &micros()).unwrap(),
        local,
    ];
    let rows = MOMENTS.iter().enumerate().map(|(id, moment)| format!("({id}, '{moment}')"));
    let rows: Vec<_> = rows.collect();
    let sql = format!(
        "(SELECT id, m::date AS d, m::timestamp AT TIME ZONE 'UTC' AS at, m::timestamp AS local \
         FROM (VALUES {}) v(id, m)) AS input",
        rows.join(", ")
    );
    Table { rows: batch(&input, columns), sql }
}
