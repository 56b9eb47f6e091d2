//! Dates and times.

use super::Case;
use arrow::array::{
    ArrayRef, Date32Array, IntervalMonthDayNanoArray, ListBuilder, Time32MillisecondArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMicrosecondBuilder,
    TimestampMillisecondArray,
};
use arrow::datatypes::IntervalMonthDayNano;
use std::sync::Arc;

const IN_1970: &str = "1970-01-01 00:00:00";

pub(super) fn micros(list: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(list.to_vec()).with_timezone("+00:00"))
}

fn local_micros(list: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(list.to_vec()))
}

fn millis(list: &[i64]) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(list.to_vec()).with_timezone("+00:00"))
}

fn local_millis(list: &[i64]) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(list.to_vec()))
}

/// Months, days and nanoseconds.
pub(super) fn intervals(list: &[(i32, i32, i64)]) -> ArrayRef {
    let interval =
        |(months, days, nanos): &(i32, i32, i64)| IntervalMonthDayNano::new(*months, *days, *nanos);
    Arc::new(IntervalMonthDayNanoArray::from_iter_values(list.iter().map(interval)))
}

fn micros_lists(lists: &[&[i64]]) -> ArrayRef {
    let mut builder = ListBuilder::new(TimestampMicrosecondBuilder::new());
    lists.iter().for_each(|list| builder.append_value(list.iter().map(|value| Some(*value))));
    Arc::new(builder.finish())
}

pub(super) fn cases() -> Vec<Case> {
    let first = -210_866_803_200_000_000;
    vec![
        (
            "timestamptz",
            micros(&[i64::MIN, first - 1, 0, i64::MAX]),
            vec![None, None, Some("1970-01-01 00:00:00+00"), None],
        ),
        (
            "timestamp",
            local_micros(&[first, 0]),
            vec![Some("4714-11-24 00:00:00 BC"), Some(IN_1970)],
        ),
        (
            // Nanoseconds in a field of milliseconds are beyond 64 bits of microseconds.
            "timestamp",
            local_millis(&[1_700_000_000_000_000_000, 0, i64::MIN, i64::MAX, 1_700_000_000_000]),
            vec![None, Some(IN_1970), None, None, Some("2023-11-14 22:13:20")],
        ),
        (
            "timestamp",
            // The years -1, 0 and 294277.
            local_millis(&[-62_198_755_200_000, -62_167_219_200_000, 9_224_318_016_000_000]),
            vec![Some("0002-01-01 00:00:00 BC"), Some("0001-01-01 00:00:00 BC"), None],
        ),
        (
            "date",
            Arc::new(Date32Array::from(vec![i32::MIN, -2_440_589, -2_440_588, 0, i32::MAX])),
            vec![None, None, Some("4714-11-24 BC"), Some("1970-01-01"), None],
        ),
        (
            "time",
            Arc::new(Time32MillisecondArray::from(vec![-1, 0, 86_400_001, i32::MAX])),
            vec![None, Some("00:00:00"), None, None],
        ),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![i64::MIN, -1, 86_399_999_999, i64::MAX])),
            vec![None, None, Some("23:59:59.999999"), None],
        ),
        (
            "timestamptz",
            millis(&[i64::MIN, -1, i64::MAX]),
            vec![None, Some("1969-12-31 23:59:59.999+00"), None],
        ),
        ("timestamp(3)", local_millis(&[1]), vec![Some("1970-01-01 00:00:00.001")]),
        ("time(3)", Arc::new(Time32MillisecondArray::from(vec![1])), vec![Some("00:00:00.001")]),
        (
            "interval",
            intervals(&[
                (0, 0, 0),
                (i32::MAX, i32::MAX, 4_294_967_295_000_000),
                (i32::MIN, -1, -1_000),
                (1, 2, 3_500_000_000),
                (0, 0, 1),
                (0, 0, i64::MAX),
            ]),
            vec![
                Some("00:00:00"),
                Some("178956970 years 7 mons 2147483647 days 1193:02:47.295"),
                Some("-178956970 years -8 mons -1 days -00:00:00.000001"),
                Some("1 mon 2 days 00:00:03.5"),
                None,
                None,
            ],
        ),
        (
            "timestamp[]",
            micros_lists(&[&[0], &[], &[0, i64::MAX, 0], &[i64::MIN], &[0, 0]]),
            vec![
                Some("{\"1970-01-01 00:00:00\"}"),
                Some("{}"),
                None,
                None,
                Some("{\"1970-01-01 00:00:00\",\"1970-01-01 00:00:00\"}"),
            ],
        ),
    ]
}
