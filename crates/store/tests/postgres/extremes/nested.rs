//! Records, maps and lists of them.

use super::lists::lists;
use super::times::{intervals, micros};
use super::{Case, decimal, int64, text};
use arrow::array::{
    Array, ArrayRef, BinaryArray, Date32Array, Float32Array, Float64Array, MapArray, StringArray,
    StructArray, Time32MillisecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
use std::sync::Arc;

/// Records of these members.
fn records(members: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let member = |(name, array): (&str, ArrayRef)| {
        (Arc::new(Field::new(name, array.data_type().clone(), true)), array)
    };
    Arc::new(StructArray::from(members.into_iter().map(member).collect::<Vec<_>>()))
}

/// Maps of these entries, of which each map has this many.
fn maps(keys: &[&str], values: ArrayRef, lengths: &[usize]) -> ArrayRef {
    let key = Arc::new(Field::new("key", DataType::Utf8, false));
    let value = Arc::new(Field::new("value", values.data_type().clone(), true));
    let entries = StructArray::from(vec![(key, text(keys)), (value, values)]);
    let field = Field::new("entries", entries.data_type().clone(), false);
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Arc::new(MapArray::new(Arc::new(field), offsets, entries, None, false))
}

fn doubles(list: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(list.to_vec()))
}

fn numbers() -> ArrayRef {
    let nines = 10_i128.pow(38) - 1;
    records(vec![
        ("long", int64(&[i64::MIN, i64::MAX, 9_007_199_254_740_993])),
        ("decimal", decimal(&[nines, -nines, 1], 38, 10)),
        ("double", doubles(&[0.1, 1e300, -0.0])),
        ("float", Arc::new(Float32Array::from(vec![0.1, 1e-30, 16_777_216.0]))),
    ])
}

fn times() -> ArrayRef {
    records(vec![
        ("date", Arc::new(Date32Array::from(vec![0, 2_932_897]))),
        ("time", Arc::new(Time32MillisecondArray::from(vec![1, 86_399_999]))),
        ("at", micros(&[-1, 1_700_000_000_000_000])),
        ("local", Arc::new(TimestampMicrosecondArray::from(vec![0, 1]))),
        ("nanos", Arc::new(TimestampNanosecondArray::from(vec![1, 0]))),
        ("interval", intervals(&[(0, 0, 0), (14, -2, 3_500_000_000)])),
    ])
}

pub(super) fn cases() -> Vec<Case> {
    [plain(), refused(), shapes()].concat()
}

fn plain() -> Vec<Case> {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b""[..], &b"\0\xff\xfe"[..]]));
    vec![
        (
            "json",
            numbers(),
            vec![
                Some(
                    "{\"long\":-9223372036854775808,\
                     \"decimal\":9999999999999999999999999999.9999999999,\"double\":0.1,\
                     \"float\":0.1}",
                ),
                Some(
                    "{\"long\":9223372036854775807,\
                     \"decimal\":-9999999999999999999999999999.9999999999,\"double\":1e300,\
                     \"float\":1e-30}",
                ),
                Some(
                    "{\"long\":9007199254740993,\"decimal\":0.0000000001,\"double\":-0.0,\
                     \"float\":16777216.0}",
                ),
            ],
        ),
        (
            "jsonb",
            times(),
            vec![
                Some(
                    "{\"at\": \"1969-12-31T23:59:59.999999Z\", \"date\": \"1970-01-01\", \
                     \"time\": \"00:00:00.001\", \"local\": \"1970-01-01T00:00:00\", \
                     \"nanos\": \"1970-01-01T00:00:00.000000001\", \"interval\": \"PT0S\"}",
                ),
                Some(
                    "{\"at\": \"2023-11-14T22:13:20Z\", \"date\": \"+10000-01-01\", \
                     \"time\": \"23:59:59.999\", \"local\": \"1970-01-01T00:00:00.000001\", \
                     \"nanos\": \"1970-01-01T00:00:00\", \"interval\": \"P14M-2DT3.5S\"}",
                ),
            ],
        ),
        (
            "jsonb",
            records(vec![("b", bytes)]),
            vec![Some("{\"b\": \"\"}"), Some("{\"b\": \"AP/+\"}")],
        ),
    ]
}

fn refused() -> Vec<Case> {
    let not_numbers = || doubles(&[f64::NAN, 1.5, f64::INFINITY, f64::NEG_INFINITY]);
    let names = || text(&["a\0b", "\u{10FFFF}\n\"", "\u{1}"]);
    vec![
        (
            "jsonb",
            records(vec![("x", not_numbers())]),
            vec![None, Some("{\"x\": 1.5}"), None, None],
        ),
        (
            "jsonb",
            records(vec![("name", names())]),
            vec![None, Some("{\"name\": \"\u{10FFFF}\\n\\\"\"}"), Some("{\"name\": \"\\u0001\"}")],
        ),
        // As text, a JSON with this character can be stored.
        ("json", records(vec![("name", text(&["a\0b"]))]), vec![Some("{\"name\":\"a\\u0000b\"}")]),
        ("text", records(vec![("name", text(&["a\0b"]))]), vec![Some("{\"name\":\"a\\u0000b\"}")]),
        ("varchar(3)", records(vec![("n", doubles(&[1.5]))]), vec![None]),
        (
            "jsonb",
            maps(
                &["a", "b", "a", "a", "c\0", "NaN"],
                doubles(&[1.0, 2.0, 3.0, 4.0, 5.0, f64::NAN]),
                &[2, 0, 2, 1, 1],
            ),
            vec![Some("{\"a\": 1.0, \"b\": 2.0}"), Some("{}"), None, None, None],
        ),
        (
            "jsonb",
            records(vec![("at", Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX, 0])))]),
            vec![None, Some("{\"at\": \"1970-01-01T00:00:00\"}")],
        ),
    ]
}

fn shapes() -> Vec<Case> {
    let lines = records(vec![("sku", text(&["x", "y"])), ("n", int64(&[1, 2]))]);
    let one = Arc::new(Field::new("a", DataType::Utf8, true));
    let absent = StructArray::new(
        vec![one].into(),
        vec![Arc::new(StringArray::from(vec![Some("x"), Some("y"), None]))],
        Some(NullBuffer::from(vec![true, false, true])),
    );
    let map = || maps(&["k \"q\""], int64(&[1]), &[1]);
    vec![
        (
            "jsonb",
            lists(lines, &[2, 0]),
            vec![Some("[{\"n\": 1, \"sku\": \"x\"}, {\"n\": 2, \"sku\": \"y\"}]"), Some("[]")],
        ),
        (
            "jsonb",
            lists(lists(int64(&[1, 2, 3]), &[2, 0, 1]), &[3]),
            vec![Some("[[1, 2], [], [3]]")],
        ),
        (
            "jsonb",
            records(vec![("inner", Arc::new(absent)), ("id", int64(&[1, 2, 3]))]),
            vec![
                Some("{\"id\": 1, \"inner\": {\"a\": \"x\"}}"),
                Some("{\"id\": 2, \"inner\": null}"),
                Some("{\"id\": 3, \"inner\": {\"a\": null}}"),
            ],
        ),
        ("jsonb", map(), vec![Some("{\"k \\\"q\\\"\": 1}")]),
        ("json", map(), vec![Some("{\"k \\\"q\\\"\":1}")]),
        ("char(3)", maps(&[], int64(&[]), &[0]), vec![Some("{}")]),
        ("citext", map(), vec![Some("{\"k \\\"q\\\"\":1}")]),
        ("text", map(), vec![Some("{\"k \\\"q\\\"\":1}")]),
    ]
}
