//! Arithmetic on timestamps, as the rules of a pipeline need it.

use crate::support::{batch, micros, pipeline, rejecting, schema};
use arrow::array::{Int32Array, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_transform::Plan;

const SECOND: i64 = 1_000_000;
const START: i64 = 1_700_000_000 * SECOND;

/// Calls by their true length in microseconds and their stated one in seconds.
const CALLS: [(i64, i32); 7] = [
    (60 * SECOND, 60),
    (60 * SECOND + SECOND / 2, 60),
    (61 * SECOND, 60),
    (86_400 * SECOND, 86_400),
    (60 * SECOND + 1, 60),
    (-5 * SECOND, -5),
    (0, 0),
];

/// The calls for which `rule` is true.
fn refused_by(rule: &str) -> Vec<u32> {
    let input = schema(&[
        ("start_datetime", micros(), false),
        ("end_datetime", micros(), false),
        ("call_duration", DataType::Int32, false),
    ]);
    let starts: TimestampMicrosecondArray = CALLS.iter().map(|_| Some(START)).collect();
    let ends: TimestampMicrosecondArray =
        CALLS.iter().map(|(length, _)| Some(START + length)).collect();
    let durations: Int32Array = CALLS.iter().map(|(_, stated)| Some(*stated)).collect();
    let rows = batch(
        &input,
        vec![
            Arc::new(starts.with_timezone("+00:00")),
            Arc::new(ends.with_timezone("+00:00")),
            Arc::new(durations),
        ],
    );
    let output = schema(&[("call_duration", DataType::Int32, false)]);
    let pipeline = rejecting(pipeline("SELECT call_duration FROM input"), &[("disagrees", rule)]);
    let plan = Plan::compile(input, output, &pipeline).unwrap_or_else(|m| panic!("{rule}: {m:#?}"));
    let done = plan.apply(&rows, 0).unwrap();
    assert!(done.faults.iter().all(|(_, f)| f.reason == "disagrees"), "{rule}: {:?}", done.faults);
    done.faults.iter().map(|(row, _)| *row).collect()
}

#[test]
fn a_duration_can_be_compared_in_whole_seconds() {
    for rule in [
        "(CAST(end_datetime AS BIGINT) - CAST(start_datetime AS BIGINT)) / 1000000 \
         <> call_duration",
        "trunc(date_part('epoch', end_datetime - start_datetime)) <> call_duration",
    ] {
        assert_eq!(refused_by(rule), [2], "{rule}");
    }
}

#[test]
fn a_duration_can_be_compared_to_the_microsecond() {
    for rule in [
        "CAST(end_datetime AS BIGINT) - CAST(start_datetime AS BIGINT) <> call_duration * 1000000",
        "CAST(end_datetime - start_datetime AS BIGINT) <> call_duration * 1000000",
        "date_part('epoch', end_datetime - start_datetime) <> call_duration",
        "extract(epoch FROM end_datetime - start_datetime) <> call_duration",
    ] {
        assert_eq!(refused_by(rule), [1, 2, 4], "{rule}");
    }
}

#[test]
fn timestamps_compare_with_each_other_with_intervals_and_with_literals() {
    assert_eq!(refused_by("end_datetime < start_datetime"), [5]);
    assert_eq!(refused_by("end_datetime - start_datetime > INTERVAL '1 hour'"), [3]);
    assert_eq!(refused_by("end_datetime > start_datetime + INTERVAL '60 seconds'"), [1, 2, 3, 4]);
    // START is 2023-11-14 22:13:20 UTC.
    assert_eq!(refused_by("end_datetime >= '2023-11-14 22:14:21'"), [2, 3]);
    assert_eq!(refused_by("end_datetime < TIMESTAMP '2023-11-14 22:13:20'"), [5]);
    assert_eq!(refused_by("end_datetime < now()"), Vec::<u32>::new(), "now() is 1970 here");
}

/// `expression` over the instants and local times of the hours around both changes of the clocks in
/// Berlin, as text; `!` where it fails.
fn times(expression: &str, to: DataType) -> Vec<String> {
    let local = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let input = schema(&[("at", micros(), false), ("local", local, false)]);
    let minutes = |list: [i64; 4]| list.map(|minutes| minutes * 60 * SECOND).to_vec();
    // 2024-01-31T23:30, 2024-07-31T23:30, 2024-03-31T01:30 and 2024-10-27T00:30, each in UTC.
    let instants = minutes([28_445_730, 28_707_810, 28_530_810, 28_833_150]);
    // 2024-01-31 23:30, 2024-07-31 23:30, 2024-03-31 02:30 (never) and 2024-10-27 02:30 (twice).
    let locals = minutes([28_445_730, 28_707_810, 28_530_870, 28_833_270]);
    let rows = batch(
        &input,
        vec![
            Arc::new(TimestampMicrosecondArray::from(instants).with_timezone("+00:00")),
            Arc::new(TimestampMicrosecondArray::from(locals)),
        ],
    );
    let sql = format!("SELECT {expression} AS x FROM input");
    let plan = Plan::compile(input, schema(&[("x", to, true)]), &pipeline(&sql))
        .unwrap_or_else(|m| panic!("{expression}: {m:#?}"));
    let done = plan.apply(&rows, 0).unwrap();
    let mut texts = vec!["!".to_string(); 4];
    for (index, row) in done.rows.iter().enumerate() {
        let text = arrow::util::display::array_value_to_string(done.output.column(0), index);
        texts[*row as usize] = text.unwrap();
    }
    texts
}

#[test]
fn at_time_zone_is_the_clock_of_the_zone_as_in_postgresql() {
    let local = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let berlin = "at AT TIME ZONE 'Europe/Berlin'";
    let clock = [
        "2024-02-01T00:30:00",
        "2024-08-01T01:30:00",
        "2024-03-31T03:30:00",
        "2024-10-27T02:30:00",
    ];
    assert_eq!(times(berlin, local.clone()), clock);
    assert_eq!(times(&format!("CAST({berlin} AS TIMESTAMP(6))"), local.clone()), clock);
    assert_eq!(times(&format!("to_local_time({berlin})"), local), clock);
    assert_eq!(times(&format!("CAST({berlin} AS VARCHAR)"), DataType::Utf8), clock);
    let days = ["2024-02-01", "2024-08-01", "2024-03-31", "2024-10-27"];
    assert_eq!(times(&format!("CAST({berlin} AS DATE)"), DataType::Date32), days);
    let day = format!("CAST(date_trunc('day', {berlin}) AS DATE)");
    assert_eq!(times(&day, DataType::Date32), days);
    let hour = format!("CAST(EXTRACT(HOUR FROM {berlin}) AS INT)");
    assert_eq!(times(&hour, DataType::Int32), ["0", "1", "3", "2"]);
    // A clock time that the zone never has, or has twice, is nobody's instant.
    let instants = ["2024-01-31T22:30:00Z", "2024-07-31T21:30:00Z", "!", "!"];
    assert_eq!(times("local AT TIME ZONE 'Europe/Berlin'", micros()), instants);
    let back = "(at AT TIME ZONE 'Asia/Tokyo') AT TIME ZONE 'Asia/Tokyo'";
    assert_eq!(times(back, micros()), times("at", micros()));
    let mut ones = times(
        "at AT TIME ZONE '+01:00'",
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None),
    );
    assert_eq!(ones.remove(0), "2024-02-01T00:30:00");
}

#[test]
fn an_instant_becomes_a_local_time_only_in_a_zone_that_the_sql_names() {
    let local = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let input = schema(&[("at", micros(), false)]);
    let mistake = |sql: &str, to: DataType| {
        let output = schema(&[("x", to, true)]);
        let mistakes = Plan::compile(input.clone(), output, &pipeline(sql)).unwrap_err();
        format!("{mistakes:?}")
    };
    let refused = mistake("SELECT at AS x FROM input", local.clone());
    assert!(refused.contains("(at) AT TIME ZONE 'UTC' AS x"), "{refused}");
    // The hint is valid and means what it says.
    assert_eq!(times("(at) AT TIME ZONE 'UTC'", local.clone())[0], "2024-01-31T23:30:00");
    let refused = mistake("SELECT at AT TIME ZONE 'Mars/Base' AS x FROM input", local.clone());
    assert!(refused.contains("`Mars/Base` is no time zone"), "{refused}");
    let refused = mistake("SELECT '1' AT TIME ZONE 'UTC' AS x FROM input", local);
    assert!(refused.contains("AT TIME ZONE needs a timestamp"), "{refused}");
}
