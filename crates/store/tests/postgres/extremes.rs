//! Every column type with the extreme values of its field: each value is stored unchanged, or its
//! row is a dead letter. No value stops the sink or takes another row with it.

use crate::fixture::{Fixture, append, claim, position_key, write};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray,
    Time32MillisecondArray, Time64MicrosecondArray, TimestampMicrosecondArray,
    TimestampMicrosecondBuilder, TimestampMillisecondArray,
};
use arrow::datatypes::{Field, Schema};
use std::sync::Arc;
use weir_model::pipeline::Postgres;
use weir_model::protocol::Outcome;

/// A column type, the values of the field, and which of them it stores, as text.
type Case = (&'static str, ArrayRef, Vec<Option<&'static str>>);

const MAX_I64: &str = "9223372036854775807";
const MIN_I64: &str = "-9223372036854775808";

fn int32(list: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(list.to_vec()))
}

fn int64(list: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(list.to_vec()))
}

fn micros(list: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(list.to_vec()).with_timezone("+00:00"))
}

fn millis(list: &[i64]) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(list.to_vec()).with_timezone("+00:00"))
}

fn decimal(list: &[i128], precision: u8, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from(list.to_vec());
    Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
}

fn text(list: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(list.to_vec()))
}

fn micros_lists(lists: &[&[i64]]) -> ArrayRef {
    let mut builder = ListBuilder::new(TimestampMicrosecondBuilder::new());
    lists.iter().for_each(|list| builder.append_value(list.iter().map(|value| Some(*value))));
    Arc::new(builder.finish())
}

const IN_1970: &str = "1970-01-01 00:00:00";

fn numbers() -> Vec<Case> {
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

fn times() -> Vec<Case> {
    let first = -210_866_803_200_000_000;
    vec![
        (
            "timestamptz",
            micros(&[i64::MIN, first - 1, 0, i64::MAX]),
            vec![None, None, Some("1970-01-01 00:00:00+00"), None],
        ),
        ("timestamp", micros(&[first, 0]), vec![Some("4714-11-24 00:00:00 BC"), Some(IN_1970)]),
        (
            // Nanoseconds in a field of milliseconds are beyond 64 bits of microseconds.
            "timestamp",
            millis(&[1_700_000_000_000_000_000, 0, i64::MIN, i64::MAX, 1_700_000_000_000]),
            vec![None, Some(IN_1970), None, None, Some("2023-11-14 22:13:20")],
        ),
        (
            "timestamp",
            // The years -1, 0 and 294277.
            millis(&[-62_198_755_200_000, -62_167_219_200_000, 9_224_318_016_000_000]),
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

fn texts() -> Vec<Case> {
    let deep: &'static str = Box::leak("[".repeat(100_000).into_boxed_str());
    vec![
        ("text", text(&["", "a\0b", "\u{10FFFF}"]), vec![Some(""), None, Some("\u{10FFFF}")]),
        (
            "varchar(3)",
            text(&["", "äöü", "äöüß", "abc ", "abc", "a\0b"]),
            vec![Some(""), Some("äöü"), None, None, Some("abc"), None],
        ),
        ("char(3)", text(&["abc", "abc ", "abcd"]), vec![Some("abc"), None, None]),
        ("name", text(&["n", Box::leak("n".repeat(64).into_boxed_str())]), vec![Some("n"), None]),
        ("json", text(&["{}", "", "{", "nul"]), vec![Some("{}"), None, None, None]),
        (
            "jsonb",
            text(&["{}", "", "\"\\u0000\"", deep, "[1]"]),
            vec![Some("{}"), None, None, None, Some("[1]")],
        ),
        (
            "uuid",
            text(&["", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99"]),
            vec![None, Some("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), None],
        ),
        (
            "bytea",
            Arc::new(BinaryArray::from(vec![&b""[..], &b"\0\xff"[..]])),
            vec![Some("\\x"), Some("\\x00ff")],
        ),
        (
            "uuid",
            Arc::new(
                FixedSizeBinaryArray::try_from_iter([[0_u8; 16], [255; 16]].into_iter()).unwrap(),
            ),
            vec![
                Some("00000000-0000-0000-0000-000000000000"),
                Some("ffffffff-ffff-ffff-ffff-ffffffffffff"),
            ],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extreme_value_is_stored_unchanged_or_refused_alone() {
    let fixture = Fixture::prepared().await;
    let mut differences = Vec::new();
    for (column, values, wanted) in [numbers(), times(), texts()].concat() {
        let what = format!("{} into {column}", values.data_type());
        fixture
            .database
            .execute(&format!(
                "DROP SCHEMA IF EXISTS shop CASCADE; CREATE SCHEMA shop; \
                 CREATE TABLE shop.sale (value {column}, number int); TRUNCATE weir.positions"
            ))
            .unwrap();
        let schema = Arc::new(Schema::new(vec![
            Field::new("number", arrow::datatypes::DataType::Int32, false),
            Field::new("value", values.data_type().clone(), true),
        ]));
        let numbers = Int32Array::from_iter_values(0..values.len() as i32);
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), values]).unwrap();
        let target = Postgres { columns: Default::default(), lineage: false, ..append() };
        let layout = fixture.layout(&target, &schema).await;
        let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
        let num_rows = rows.num_rows();
        let claim = claim(&committed, num_rows as i64, num_rows as u64);
        let written = write(&fixture.store, &layout, &claim, &rows)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(written.outcome, Outcome::Committed, "{what}");
        let stored = fixture.rows("SELECT number, value::text FROM shop.sale ORDER BY number");
        let mut found = vec![None; num_rows];
        for row in stored {
            found[row[0].as_ref().unwrap().parse::<usize>().unwrap()] = row[1].clone();
        }
        let wanted: Vec<Option<String>> =
            wanted.into_iter().map(|value| value.map(str::to_owned)).collect();
        let refused: Vec<usize> = written.refused.iter().map(|refusal| refusal.row).collect();
        let dead: Vec<usize> = (0..num_rows).filter(|row| wanted[*row].is_none()).collect();
        if found != wanted || refused != dead {
            differences.push(format!("{what}: {found:?} {refused:?} instead of {wanted:?}"));
        }
    }
    assert_eq!(differences, Vec::<String>::new());
}
