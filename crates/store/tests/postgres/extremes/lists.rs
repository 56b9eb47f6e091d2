//! Lists of plain values.

use super::times::{intervals, micros};
use super::{Case, decimal, int32, int64, text};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, ListArray,
    StringArray, Time64MicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use std::sync::Arc;

/// Lists of `items`, of which each has this many.
pub(super) fn lists(items: ArrayRef, lengths: &[usize]) -> ArrayRef {
    let field = Field::new("item", items.data_type().clone(), true);
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    Arc::new(ListArray::new(Arc::new(field), offsets, items, None))
}

/// Lists of one item each, an empty one, and one of all items.
fn spread(items: ArrayRef) -> ArrayRef {
    let twice = arrow::compute::concat(&[&*items, &*items]).unwrap();
    let mut lengths = vec![1; items.len()];
    lengths.extend([0, items.len()]);
    lists(twice, &lengths)
}

pub(super) fn cases() -> Vec<Case> {
    let words: ArrayRef =
        Arc::new(StringArray::from(vec![Some("a b"), None, Some("\"\\{},"), Some("NULL")]));
    vec![
        (
            "text[]",
            spread(words.clone()),
            vec![
                Some("{\"a b\"}"),
                Some("{NULL}"),
                Some("{\"\\\"\\\\{},\"}"),
                Some("{\"NULL\"}"),
                Some("{}"),
                Some("{\"a b\",NULL,\"\\\"\\\\{},\",\"NULL\"}"),
            ],
        ),
        ("text[]", spread(text(&["x", "a\0"])), vec![Some("{x}"), None, Some("{}"), None]),
        (
            "varchar(3)[]",
            spread(text(&["abc", "abc "])),
            vec![Some("{abc}"), None, Some("{}"), None],
        ),
        (
            "jsonb",
            spread(words.clone()),
            vec![
                Some("[\"a b\"]"),
                Some("[null]"),
                Some("[\"\\\"\\\\{},\"]"),
                Some("[\"NULL\"]"),
                Some("[]"),
                Some("[\"a b\", null, \"\\\"\\\\{},\", \"NULL\"]"),
            ],
        ),
        ("json", spread(text(&["ä"])), vec![Some("[\"ä\"]"), Some("[]"), Some("[\"ä\"]")]),
        ("text", spread(text(&["ä"])), vec![Some("[\"ä\"]"), Some("[]"), Some("[\"ä\"]")]),
        (
            "jsonb[]",
            spread(text(&["{\"a\":1}", "{"])),
            vec![Some("{\"{\\\"a\\\": 1}\"}"), None, Some("{}"), None],
        ),
        ("json[]", spread(text(&["[1]", "{"])), vec![Some("{[1]}"), None, Some("{}"), None]),
        ("shop.mood[]", spread(text(&["ok", "OK"])), vec![Some("{ok}"), None, Some("{}"), None]),
        ("shop.code[]", spread(text(&["abc", "bad"])), vec![Some("{abc}"), None, Some("{}"), None]),
        (
            "uuid[]",
            spread(text(&["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "x"])),
            vec![Some("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"), None, Some("{}"), None],
        ),
        // The server reads the elements.
        (
            "inet[]",
            spread(text(&["10.0.0.1", "x"])),
            vec![Some("{10.0.0.1}"), None, Some("{}"), None],
        ),
        (
            "shop.size[]",
            spread(text(&["(1,\"a \\\"b\")", "(x,)"])),
            vec![Some("{\"(1,\\\"a \\\"\\\"b\\\")\"}"), None, Some("{}"), None],
        ),
        ("boolean[]", spread(Arc::new(BooleanArray::from(vec![true]))), thrice("{t}")),
        (
            "smallint[]",
            spread(int32(&[-32_768, 32_768])),
            vec![Some("{-32768}"), None, Some("{}"), None],
        ),
        ("integer[]", spread(int32(&[i32::MIN])), thrice("{-2147483648}")),
        ("bigint[]", spread(int64(&[i64::MIN])), thrice("{-9223372036854775808}")),
        (
            "numeric(10,2)[]",
            spread(decimal(&[150, 10_i128.pow(12)], 14, 2)),
            vec![Some("{1.50}"), None, Some("{}"), None],
        ),
        ("numeric(10,0)[]", spread(decimal(&[-1], 10, 0)), thrice("{-1}")),
        ("real[]", spread(Arc::new(Float32Array::from(vec![f32::INFINITY]))), thrice("{Infinity}")),
        (
            "double precision[]",
            spread(Arc::new(Float64Array::from(vec![f64::NAN]))),
            thrice("{NaN}"),
        ),
        (
            "bytea[]",
            spread(Arc::new(BinaryArray::from(vec![&b"\0\xff"[..]]))),
            thrice("{\"\\\\x00ff\"}"),
        ),
        (
            "date[]",
            spread(Arc::new(Date32Array::from(vec![0, i32::MAX]))),
            vec![Some("{1970-01-01}"), None, Some("{}"), None],
        ),
        (
            "time[]",
            spread(Arc::new(Time64MicrosecondArray::from(vec![86_399_999_999, -1]))),
            vec![Some("{23:59:59.999999}"), None, Some("{}"), None],
        ),
        (
            "timestamptz[]",
            spread(micros(&[0, i64::MAX])),
            vec![Some("{\"1970-01-01 00:00:00+00\"}"), None, Some("{}"), None],
        ),
        (
            "interval[]",
            spread(intervals(&[(1, 0, 0), (0, 0, 1)])),
            vec![Some("{\"1 mon\"}"), None, Some("{}"), None],
        ),
    ]
}

fn thrice(one: &'static str) -> Vec<Option<&'static str>> {
    vec![Some(one), Some("{}"), Some(one)]
}
