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
        "date_part('epoch', end_datetime - start_datetime) <> call_duration",
        "extract(epoch FROM end_datetime - start_datetime) <> call_duration",
    ] {
        assert_eq!(refused_by(rule), [2], "{rule}");
    }
}

#[test]
fn a_duration_can_be_compared_to_the_microsecond() {
    for rule in [
        "CAST(end_datetime AS BIGINT) - CAST(start_datetime AS BIGINT) <> call_duration * 1000000",
        "CAST(end_datetime - start_datetime AS BIGINT) <> call_duration * 1000000",
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
