//! Numbers.

use super::{Case, decimal, int32, int64};
use arrow::array::{BooleanArray, Float32Array, Float64Array};
use std::sync::Arc;

const MAX_I64: &str = "9223372036854775807";
const MIN_I64: &str = "-9223372036854775808";

pub(super) fn cases() -> Vec<Case> {
    let nines = 10_i128.pow(38) - 1;
    vec![
        (
            "boolean",
            Arc::new(BooleanArray::from(vec![true, false])),
            vec![Some("true"), Some("false")],
        ),
        (
            "smallint",
            int32(&[i32::MIN, -32769, -32768, 0, 32767, 32768, i32::MAX]),
            vec![None, None, Some("-32768"), Some("0"), Some("32767"), None, None],
        ),
        ("smallint", int64(&[i64::MIN, 1, i64::MAX]), vec![None, Some("1"), None]),
        ("integer", int32(&[i32::MIN, i32::MAX]), vec![Some("-2147483648"), Some("2147483647")]),
        ("integer", int64(&[i64::MIN, -1, 2_147_483_648]), vec![None, Some("-1"), None]),
        ("bigint", int64(&[i64::MIN, i64::MAX]), vec![Some(MIN_I64), Some(MAX_I64)]),
        ("numeric", int64(&[i64::MIN, i64::MAX]), vec![Some(MIN_I64), Some(MAX_I64)]),
        ("smallint", decimal(&[32_768, -32_768], 5, 0), vec![None, Some("-32768")]),
        ("integer", decimal(&[2_147_483_648, 1], 10, 0), vec![None, Some("1")]),
        (
            "bigint",
            decimal(&[i128::from(i64::MAX), i128::from(i64::MAX) + 1, -nines], 38, 0),
            vec![Some(MAX_I64), None, None],
        ),
        // Only what a float holds exactly.
        (
            "real",
            int32(&[16_777_216, 16_777_217, -1, i32::MAX]),
            vec![Some("1.6777216e+07"), None, Some("-1"), None],
        ),
        ("real", int64(&[i64::MIN, 1, i64::MAX]), vec![Some("-9.223372e+18"), Some("1"), None]),
        (
            "double precision",
            int32(&[i32::MIN, i32::MAX]),
            vec![Some("-2147483648"), Some("2147483647")],
        ),
        (
            "double precision",
            int64(&[9_007_199_254_740_992, 9_007_199_254_740_993, i64::MAX]),
            vec![Some("9.007199254740992e+15"), None, None],
        ),
        ("numeric(10,2)", int64(&[-99_999_999, i64::MAX]), vec![Some("-99999999.00"), None]),
        ("numeric", decimal(&[-5], 10, 0), vec![Some("-5")]),
        ("numeric(10,2)", decimal(&[10_i128.pow(9)], 10, 0), vec![None]),
        ("numeric(10,2)", decimal(&[10_i128.pow(10) - 1], 10, 2), vec![Some("99999999.99")]),
        ("numeric", int32(&[i32::MIN]), vec![Some("-2147483648")]),
        ("numeric(10,2)", int32(&[-99_999_999, 100_000_000]), vec![Some("-99999999.00"), None]),
        ("bigint", int32(&[i32::MIN]), vec![Some("-2147483648")]),
        ("numeric", decimal(&[-1], 10, 2), vec![Some("-0.01")]),
        (
            "double precision",
            Arc::new(Float32Array::from(vec![0.1, f32::MAX, f32::NAN])),
            vec![Some("0.10000000149011612"), Some("3.4028234663852886e+38"), Some("NaN")],
        ),
        (
            "numeric(5,0)",
            int64(&[99_999, 100_000, -99_999]),
            vec![Some("99999"), None, Some("-99999")],
        ),
        (
            "numeric(38,0)",
            decimal(&[nines, -nines, 0], 38, 0),
            vec![
                Some("99999999999999999999999999999999999999"),
                Some("-99999999999999999999999999999999999999"),
                Some("0"),
            ],
        ),
        (
            "numeric(4,2)",
            decimal(&[9_999, 10_000, -9_999], 10, 2),
            vec![Some("99.99"), None, Some("-99.99")],
        ),
        (
            "real",
            Arc::new(Float32Array::from(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0])),
            vec![Some("NaN"), Some("Infinity"), Some("-Infinity"), Some("-0")],
        ),
        (
            "double precision",
            Arc::new(Float64Array::from(vec![
                f64::NAN,
                f64::INFINITY,
                f64::MAX,
                f64::MIN_POSITIVE,
            ])),
            vec![
                Some("NaN"),
                Some("Infinity"),
                Some("1.7976931348623157e+308"),
                Some("2.2250738585072014e-308"),
            ],
        ),
    ]
}
