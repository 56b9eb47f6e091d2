//! Every type of a source × every type of a field, with the values that break conversions.

use super::*;
use arrow::array::{
    BooleanArray, Date32Array, Date64Array, Decimal256Array, FixedSizeBinaryArray, Float32Array,
    Int8Array, Int32Array, ListArray, NullArray, Time64NanosecondArray, TimestampMillisecondArray,
    UInt64Array,
};
use arrow::datatypes::{DataType, Int32Type as Int32, i256};
use arrow::util::display::array_value_to_string;

/// Field types, all of them optional.
const FIELDS: [(&str, &str); 20] = [
    ("boolean", r#""boolean""#),
    ("int", r#""int""#),
    ("long", r#""long""#),
    ("float", r#""float""#),
    ("double", r#""double""#),
    ("bytes", r#""bytes""#),
    ("string", r#""string""#),
    ("enum", r#"{"type":"enum","name":"E","symbols":["A","B"]}"#),
    ("fixed", r#"{"type":"fixed","name":"F","size":2}"#),
    ("uuid", r#"{"type":"string","logicalType":"uuid"}"#),
    ("decimal", r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#),
    (
        "wide",
        r#"{"type":"fixed","name":"D","size":16,"logicalType":"decimal","precision":38,"scale":0}"#,
    ),
    ("date", r#"{"type":"int","logicalType":"date"}"#),
    ("time-millis", r#"{"type":"int","logicalType":"time-millis"}"#),
    ("time-micros", r#"{"type":"long","logicalType":"time-micros"}"#),
    ("millis", r#"{"type":"long","logicalType":"timestamp-millis"}"#),
    ("micros", r#"{"type":"long","logicalType":"timestamp-micros"}"#),
    ("nanos", r#"{"type":"long","logicalType":"timestamp-nanos"}"#),
    ("local-micros", r#"{"type":"long","logicalType":"local-timestamp-micros"}"#),
    ("local-nanos", r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#),
];

/// A source column and, for the fields that take it, what each of its values becomes; `!` is a
/// fault. A field that is not listed does not take the column at all.
type Case = (&'static str, ArrayRef, Vec<(&'static str, &'static [&'static str])>);

fn texts(list: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(list.to_vec()))
}

fn cases() -> Vec<Case> {
    const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";
    let uuid = u128::from_str_radix(&ID.replace('-', ""), 16).unwrap().to_be_bytes();
    let list = ListArray::from_iter_primitive::<Int32, _, _>([Some([Some(1)]), Some([Some(2)])]);
    let beyond = i256::from_i128(10i128.pow(38));
    vec![
        ("null", Arc::new(NullArray::new(1)), FIELDS.map(|(name, _)| (name, &[""][..])).into()),
        (
            "boolean",
            Arc::new(BooleanArray::from(vec![true, false])),
            vec![("boolean", &["true", "false"]), ("string", &["true", "false"])],
        ),
        (
            "int8",
            Arc::new(Int8Array::from(vec![i8::MIN, 0, i8::MAX])),
            vec![
                ("int", &["-128", "0", "127"]),
                ("long", &["-128", "0", "127"]),
                ("float", &["-128.0", "0.0", "127.0"]),
                ("double", &["-128.0", "0.0", "127.0"]),
                ("string", &["-128", "0", "127"]),
                ("decimal", &["!", "0.00", "!"]),
                ("wide", &["-128", "0", "127"]),
            ],
        ),
        (
            "int64",
            Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, (1 << 53) + 1, 1 << 53, 2])),
            vec![
                ("int", &["!", "!", "!", "!", "2"]),
                (
                    "long",
                    &[
                        "-9223372036854775808",
                        "9223372036854775807",
                        "9007199254740993",
                        "9007199254740992",
                        "2",
                    ],
                ),
                ("float", &["-9.223372e18", "!", "!", "9.007199e15", "2.0"]),
                ("double", &["-9.223372036854776e18", "!", "!", "9007199254740992.0", "2.0"]),
                (
                    "string",
                    &[
                        "-9223372036854775808",
                        "9223372036854775807",
                        "9007199254740993",
                        "9007199254740992",
                        "2",
                    ],
                ),
                ("decimal", &["!", "!", "!", "!", "2.00"]),
                (
                    "wide",
                    &[
                        "-9223372036854775808",
                        "9223372036854775807",
                        "9007199254740993",
                        "9007199254740992",
                        "2",
                    ],
                ),
            ],
        ),
        (
            "uint64",
            Arc::new(UInt64Array::from(vec![u64::MAX, 1])),
            vec![
                ("int", &["!", "1"]),
                ("long", &["!", "1"]),
                ("float", &["!", "1.0"]),
                ("double", &["!", "1.0"]),
                ("string", &["18446744073709551615", "1"]),
                ("decimal", &["!", "1.00"]),
                ("wide", &["18446744073709551615", "1"]),
            ],
        ),
        (
            "float",
            Arc::new(Float32Array::from(vec![0.1, f32::NAN, 3.0])),
            vec![
                ("int", &["!", "!", "3"]),
                ("long", &["!", "!", "3"]),
                ("float", &["0.1", "NaN", "3.0"]),
                ("double", &["0.10000000149011612", "NaN", "3.0"]),
                ("string", &["0.1", "NaN", "3.0"]),
            ],
        ),
        (
            "double",
            Arc::new(Float64Array::from(vec![9.3e18, f64::INFINITY, 1.5, -3.0])),
            vec![
                ("int", &["!", "!", "!", "-3"]),
                ("long", &["!", "!", "!", "-3"]),
                ("double", &["9.3e18", "inf", "1.5", "-3.0"]),
                ("string", &["9.3e18", "inf", "1.5", "-3.0"]),
            ],
        ),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![12_340_000, 12_345_000, 1_000_000_000, 5_000_000])
                    .with_precision_and_scale(20, 6)
                    .unwrap(),
            ),
            vec![
                ("int", &["!", "!", "1000", "5"]),
                ("long", &["!", "!", "1000", "5"]),
                ("string", &["12.340000", "12.345000", "1000.000000", "5.000000"]),
                ("decimal", &["12.34", "!", "!", "5.00"]),
                ("wide", &["!", "!", "1000", "5"]),
            ],
        ),
        (
            "decimal of 256 bits",
            Arc::new(
                Decimal256Array::from(vec![beyond, i256::from_i128(7)])
                    .with_precision_and_scale(40, 0)
                    .unwrap(),
            ),
            vec![
                ("int", &["!", "7"]),
                ("long", &["!", "7"]),
                ("string", &["100000000000000000000000000000000000000", "7"]),
                ("decimal", &["!", "7.00"]),
                ("wide", &["!", "7"]),
            ],
        ),
        (
            "text",
            texts(&["B", "12", "", ID]),
            vec![
                ("boolean", &["!", "!", "!", "!"]),
                ("int", &["!", "12", "!", "!"]),
                ("long", &["!", "12", "!", "!"]),
                ("float", &["!", "12.0", "!", "!"]),
                ("double", &["!", "12.0", "!", "!"]),
                (
                    "bytes",
                    &[
                        "42",
                        "3132",
                        "",
                        "30313233343536372d383961622d636465662d303132332d343536373839616263646566",
                    ],
                ),
                ("string", &["B", "12", "", ID]),
                ("enum", &["B", "!", "!", "!"]),
                ("fixed", &["!", "3132", "!", "!"]),
                ("uuid", &["!", "!", "!", ID]),
                ("decimal", &["!", "12.00", "!", "!"]),
                ("wide", &["!", "12", "!", "!"]),
                ("date", &["!", "!", "!", "!"]),
                ("time-millis", &["!", "!", "!", "!"]),
                ("time-micros", &["!", "!", "!", "!"]),
                ("millis", &["!", "!", "!", "!"]),
                ("micros", &["!", "!", "!", "!"]),
                ("nanos", &["!", "!", "!", "!"]),
                ("local-micros", &["!", "!", "!", "!"]),
                ("local-nanos", &["!", "!", "!", "!"]),
            ],
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![&b"ok"[..], &b"\xff"[..]])),
            vec![("bytes", &["6f6b", "ff"]), ("string", &["ok", "!"]), ("fixed", &["6f6b", "!"])],
        ),
        (
            "16 bytes",
            Arc::new(FixedSizeBinaryArray::try_from_iter([uuid].into_iter()).unwrap()),
            vec![
                ("bytes", &["0123456789abcdef0123456789abcdef"]),
                ("string", &["!"]),
                ("fixed", &["!"]),
                ("uuid", &[ID]),
            ],
        ),
        (
            "2 bytes",
            Arc::new(FixedSizeBinaryArray::try_from_iter([b"ok"].into_iter()).unwrap()),
            vec![("bytes", &["6f6b"]), ("string", &["ok"]), ("fixed", &["6f6b"])],
        ),
        (
            "date",
            Arc::new(Date32Array::from(vec![2_932_896, 0])),
            vec![
                ("string", &["9999-12-31", "1970-01-01"]),
                ("date", &["9999-12-31", "1970-01-01"]),
                ("millis", &["9999-12-31T00:00:00Z", "1970-01-01T00:00:00Z"]),
                ("micros", &["9999-12-31T00:00:00Z", "1970-01-01T00:00:00Z"]),
                ("nanos", &["!", "1970-01-01T00:00:00Z"]),
                ("local-micros", &["9999-12-31T00:00:00", "1970-01-01T00:00:00"]),
                ("local-nanos", &["!", "1970-01-01T00:00:00"]),
            ],
        ),
        (
            "date in milliseconds",
            Arc::new(Date64Array::from(vec![86_400_000, 86_400_001])),
            vec![
                ("string", &["1970-01-02T00:00:00", "1970-01-02T00:00:00.001"]),
                ("date", &["1970-01-02", "!"]),
                ("millis", &["1970-01-02T00:00:00Z", "1970-01-02T00:00:00.001Z"]),
                ("micros", &["1970-01-02T00:00:00Z", "1970-01-02T00:00:00.001Z"]),
                ("nanos", &["1970-01-02T00:00:00Z", "1970-01-02T00:00:00.001Z"]),
                ("local-micros", &["1970-01-02T00:00:00", "1970-01-02T00:00:00.001"]),
                ("local-nanos", &["1970-01-02T00:00:00", "1970-01-02T00:00:00.001"]),
            ],
        ),
        (
            "time",
            Arc::new(Time64NanosecondArray::from(vec![1_000_000, 1_001_000, 1])),
            vec![
                ("string", &["00:00:00.001", "00:00:00.001001", "00:00:00.000000001"]),
                ("time-millis", &["00:00:00.001", "!", "!"]),
                ("time-micros", &["00:00:00.001", "00:00:00.001001", "!"]),
            ],
        ),
        (
            "instant",
            Arc::new(
                TimestampMillisecondArray::from(vec![253_402_300_799_999, i64::MAX])
                    .with_timezone("+00:00"),
            ),
            vec![
                ("string", &["9999-12-31T23:59:59.999Z", "!"]),
                ("millis", &["9999-12-31T23:59:59.999Z", "?"]),
                ("micros", &["9999-12-31T23:59:59.999Z", "!"]),
                ("nanos", &["!", "!"]),
            ],
        ),
        (
            "local time",
            Arc::new(TimestampNanosecondArray::from(vec![1_999, 1_000_000])),
            vec![
                ("string", &["1970-01-01T00:00:00.000001999", "1970-01-01T00:00:00.001"]),
                ("millis", &["!", "1970-01-01T00:00:00.001Z"]),
                ("micros", &["!", "1970-01-01T00:00:00.001Z"]),
                ("nanos", &["1970-01-01T00:00:00.000001999Z", "1970-01-01T00:00:00.001Z"]),
                ("local-micros", &["!", "1970-01-01T00:00:00.001"]),
                ("local-nanos", &["1970-01-01T00:00:00.000001999", "1970-01-01T00:00:00.001"]),
            ],
        ),
        ("list", Arc::new(list), vec![]),
    ]
}

/// What each value becomes, `!` for a fault.
fn outcomes(kind: &str, column: &ArrayRef) -> Vec<String> {
    let schema = schema(&format!(r#"{{"name":"x","type":["null",{kind}]}}"#));
    let CastBatch { batch, rows, faults } = cast(&super::batch(column.clone()), &schema);
    assert_eq!(rows.len() + faults.len(), column.len());
    let mut outcomes = vec!["!".to_string(); column.len()];
    for (index, row) in rows.iter().enumerate() {
        let text = array_value_to_string(batch.column(0), index);
        let shown = text.unwrap_or_default();
        // The library keeps times that it cannot show.
        outcomes[*row as usize] = if shown.starts_with("ERROR") { "?".into() } else { shown };
    }
    outcomes
}

#[test]
fn every_pair_of_types_keeps_each_value_exactly_or_has_a_fault_for_it() {
    let mut wrong = Vec::new();
    for (source, column, expected) in cases() {
        for (name, kind) in FIELDS {
            let schema = schema(&format!(r#"{{"name":"x","type":["null",{kind}]}}"#));
            let takes = schema.field_types()[0].takes(column.data_type());
            let expected = expected.iter().find(|(field, _)| *field == name);
            assert_eq!(takes, expected.is_some(), "{source} as {name}");
            let actual = outcomes(kind, &column);
            let expected = expected.map_or(vec!["!"; column.len()], |(_, values)| values.to_vec());
            if actual != expected {
                wrong.push(format!("{source} as {name}: {actual:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_value_becomes_the_same_beside_any_neighbours_and_alone() {
    for (source, column, _) in cases() {
        for (name, kind) in FIELDS {
            let together = outcomes(kind, &column);
            let alone: Vec<_> =
                (0..column.len()).flat_map(|row| outcomes(kind, &column.slice(row, 1))).collect();
            assert_eq!(together, alone, "{source} as {name}");
        }
    }
}

#[test]
fn numbers_in_a_dictionary_are_checked_as_numbers() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 1 << 40]));
    let keys = Int32Array::from(vec![1, 0, 1]);
    let dictionary = DictionaryArray::new(keys, numbers);
    assert!(matches!(dictionary.data_type(), DataType::Dictionary(..)));
    assert_eq!(outcomes(r#""int""#, &(Arc::new(dictionary) as ArrayRef)), ["!", "1", "!"]);
}
