//! Arithmetic on timestamps, as the rules of a pipeline need it.

use crate::support::{batch, micros, pipeline, rejecting, schema};
use arrow::array::{Array, Int32Array, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use std::sync::Arc;
use weir_transform::Plan;

const SECOND: i64 = 1_000_000;
const START: i64 = 1_700_000_000 * SECOND;

/// Reasons of a rule over (start, end, duration) of four calls: exact, half a second off, one second off, a day.
fn refused_by(rule: &str) -> Result<Vec<u32>, Vec<String>> {
    let input = schema(&[("start_datetime", micros(), false), ("end_datetime", micros(), false), ("call_duration", DataType::Int32, false)]);
    let calls = [(60 * SECOND, 60), (60 * SECOND + SECOND / 2, 60), (61 * SECOND, 60), (86_400 * SECOND, 86_400), (60 * SECOND + 1, 60), (-5 * SECOND, -5)];
    let times = |shift: fn(i64) -> i64| Arc::new(calls.iter().map(|(d, _)| Some(START + shift(*d))).collect::<TimestampMicrosecondArray>().with_timezone("+00:00"));
    let durations: Int32Array = calls.iter().map(|(_, d)| Some(*d)).collect();
    let rows = batch(&input, vec![times(|_| 0), times(|d| d), Arc::new(durations)]);
    let output = schema(&[("call_duration", DataType::Int32, false)]);
    let plan = Plan::compile(input, output, &rejecting(pipeline("SELECT call_duration FROM input"), &[("disagrees", rule)]))
        .map_err(|m| m.into_iter().map(|m| m.what).collect::<Vec<_>>())?;
    let done = plan.apply(&rows, 0).unwrap();
    println!("{rule}: {:?}", done.faults);
    assert_eq!(done.output.column(0).len() + done.faults.len(), calls.len());
    Ok(done.faults.iter().filter(|(_, f)| f.reason == "disagrees").map(|(row, _)| *row).collect())
}

#[test]
fn a_difference_of_timestamps_is_exact_to_the_microsecond() {
    for rule in [
        "date_part('epoch', end_datetime - start_datetime) <> call_duration",
        "extract(epoch FROM end_datetime - start_datetime) <> call_duration",
        "CAST(end_datetime - start_datetime AS BIGINT) <> call_duration * 1000000",
        "CAST(end_datetime AS BIGINT) - CAST(start_datetime AS BIGINT) <> CAST(call_duration AS BIGINT) * 1000000",
        "end_datetime - start_datetime <> call_duration * INTERVAL '1 second'",
        "end_datetime <> start_datetime + call_duration * INTERVAL '1 second'",
        "date_part('epoch', end_datetime) - date_part('epoch', start_datetime) <> call_duration",
        "end_datetime - start_datetime > INTERVAL '1 hour'",
        "to_unixtime(end_datetime) - to_unixtime(start_datetime) <> call_duration",
        "start_datetime >= '2023-01-01' and end_datetime < TIMESTAMP '2023-11-14 22:14:20.1'",
    ] {
        println!("{rule} => {:?}", refused_by(rule));
    }
}
