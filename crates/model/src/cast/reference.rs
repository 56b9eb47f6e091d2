//! The page about casts: which values become values of which type.

use super::{Cast, cast};
use arrow_schema::{DataType, TimeUnit};

/// A type of a field, a text that is one of its values, texts that are none, and the rule behind
/// them. The codec is tested with the same texts.
pub struct Example {
    /// The type as in a schema.
    pub avro_type: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// A value of it.
    pub fits: &'static str,
    /// No values of it.
    pub does_not_fit: &'static [&'static str],
    /// The rule.
    pub rule: &'static str,
}

/// One per type of a field.
pub const EXAMPLES: [Example; 18] = [
    Example {
        avro_type: r#""boolean""#,
        name: "boolean",
        fits: "True",
        does_not_fit: &["1", "yes"],
        rule: "`true` or `false`",
    },
    Example {
        avro_type: r#""int""#,
        name: "int",
        fits: "-2147483648",
        does_not_fit: &["2147483648", "1.5", "1e3"],
        rule: "whole, 32 bits",
    },
    Example {
        avro_type: r#""long""#,
        name: "long",
        fits: "9223372036854775807",
        does_not_fit: &["9223372036854775808", "1.0"],
        rule: "whole, 64 bits",
    },
    Example {
        avro_type: r#""float""#,
        name: "float",
        fits: "0.1",
        does_not_fit: &["16777217", "3.5e38", "NaN"],
        rule: "the nearest number; a whole number only if it is that number",
    },
    Example {
        avro_type: r#""double""#,
        name: "double",
        fits: "1e308",
        does_not_fit: &["9007199254740993", "1e309", "inf"],
        rule: "the nearest number; a whole number only if it is that number",
    },
    Example {
        avro_type: r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
        name: "decimal(4, 2)",
        fits: "-99.990",
        does_not_fit: &["100", "0.001", "1e1"],
        rule: "never rounded",
    },
    Example {
        avro_type: r#""string""#,
        name: "string",
        fits: "any text",
        does_not_fit: &[],
        rule: "as it is written, blanks included",
    },
    Example {
        avro_type: r#"{"type":"fixed","name":"F","size":2}"#,
        name: "fixed(2)",
        fits: "ab",
        does_not_fit: &["a", "abc"],
        rule: "exactly this many bytes",
    },
    Example {
        avro_type: r#"{"type":"enum","name":"E","symbols":["A","B"]}"#,
        name: "enum(A, B)",
        fits: "B",
        does_not_fit: &["b", "C"],
        rule: "a symbol, letter by letter",
    },
    Example {
        avro_type: r#"{"type":"string","logicalType":"uuid"}"#,
        name: "uuid",
        fits: "6774D596-8cc8-4c20-8e98-6f2f105d62a8",
        does_not_fit: &[
            "6774d5968cc84c208e986f2f105d62a8",
            "{6774d596-8cc8-4c20-8e98-6f2f105d62a8}",
        ],
        rule: "36 characters",
    },
    Example {
        avro_type: r#"{"type":"int","logicalType":"date"}"#,
        name: "date",
        fits: "9999-12-31",
        does_not_fit: &["2023-02-29", "20240131", "31.01.2024"],
        rule: "years 0000 to 9999",
    },
    Example {
        avro_type: r#"{"type":"int","logicalType":"time-millis"}"#,
        name: "time-millis",
        fits: "23:59:59.999",
        does_not_fit: &["24:00:00", "23:59:60", "00:00:00.0001", "2024-01-31"],
        rule: "up to 3 decimals",
    },
    Example {
        avro_type: r#"{"type":"long","logicalType":"time-micros"}"#,
        name: "time-micros",
        fits: "14:30",
        does_not_fit: &["14:30:00Z", "2:30 PM"],
        rule: "up to 6 decimals",
    },
    Example {
        avro_type: r#"{"type":"long","logicalType":"timestamp-millis"}"#,
        name: "timestamp-millis",
        fits: "2024-01-31T23:59:59.999+01:00",
        does_not_fit: &["2024-01-31 00:00:00.0001", "2016-12-31T23:59:60Z"],
        rule: "up to 3 decimals; without an offset it is UTC",
    },
    Example {
        avro_type: r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        name: "timestamp-micros",
        fits: "9999-12-31 23:59:59.999999",
        does_not_fit: &["2024-01-31T00:00:00.0000001Z", "2024-01-31 00:00:00 UTC"],
        rule: "up to 6 decimals; without an offset it is UTC",
    },
    Example {
        avro_type: r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
        name: "timestamp-nanos",
        fits: "2262-04-11T23:47:16.854775807Z",
        does_not_fit: &["9999-12-31"],
        rule: "up to 9 decimals, until 2262",
    },
    Example {
        avro_type: r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
        name: "local-timestamp-micros",
        fits: "2024-01-31 14:30",
        does_not_fit: &["2024-01-31T14:30:00Z", "2024-01-31 14:30+01:00"],
        rule: "no offset: dropping it would change the instant; millis and nanos as well",
    },
    Example {
        avro_type: r#""bytes""#,
        name: "bytes",
        fits: "any text",
        does_not_fit: &[],
        rule: "the bytes of the text",
    },
];

/// The types that a value may have, and the types that it may become.
fn types() -> [Vec<(&'static str, DataType)>; 2] {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond};
    let at = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let local = |unit| DataType::Timestamp(unit, None);
    let to = vec![
        ("boolean", DataType::Boolean),
        ("int", DataType::Int32),
        ("long", DataType::Int64),
        ("float", DataType::Float32),
        ("double", DataType::Float64),
        ("decimal", DataType::Decimal128(10, 2)),
        ("string", DataType::Utf8),
        ("bytes, fixed", DataType::Binary),
        ("date", DataType::Date32),
        ("time-millis", DataType::Time32(Millisecond)),
        ("time-micros", DataType::Time64(Microsecond)),
        ("timestamp-micros", at(Microsecond)),
        ("local-timestamp-micros", local(Microsecond)),
    ];
    let from = vec![
        ("null", DataType::Null),
        ("boolean", DataType::Boolean),
        ("int of 8 or 16 bits", DataType::Int16),
        ("int", DataType::Int32),
        ("long", DataType::Int64),
        ("unsigned, 32 bits", DataType::UInt32),
        ("unsigned, 64 bits", DataType::UInt64),
        ("float", DataType::Float32),
        ("double", DataType::Float64),
        ("decimal, other digits", DataType::Decimal128(38, 6)),
        ("string", DataType::Utf8),
        ("bytes, fixed", DataType::Binary),
        ("date", DataType::Date32),
        ("time-millis", DataType::Time32(Millisecond)),
        ("time-micros", DataType::Time64(Microsecond)),
        ("time-nanos", DataType::Time64(Nanosecond)),
        ("timestamp-micros", at(Microsecond)),
        ("timestamp, other unit", at(Nanosecond)),
        ("local-timestamp-micros", local(Microsecond)),
        ("local timestamp, other unit", local(Nanosecond)),
        ("interval", DataType::Duration(Microsecond)),
        ("array, map, record", DataType::new_list(DataType::Int32, true)),
    ];
    [from, to]
}

/// The two tables of the page, in Markdown.
pub fn reference() -> String {
    let [from, to] = types();
    let mut page = String::from("| from \\ to |");
    to.iter().for_each(|(name, _)| page += &format!(" {name} |"));
    page += "\n|---|";
    to.iter().for_each(|_| page += "---|");
    for (name, from) in from {
        page += &format!("\n| {name} |");
        for (_, to) in &to {
            let word = match cast(&from, to) {
                Cast::Same => "same",
                Cast::Exact => "exact",
                Cast::Checked => "checked",
                Cast::Explicit => "cast",
                Cast::Refused => "–",
            };
            page += &format!(" {word} |");
        }
    }
    page += "\n\n| type | text that is a value | texts that are none | rule |\n|---|---|---|---|";
    for Example { name, fits, does_not_fit, rule, .. } in EXAMPLES {
        let none: Vec<_> = does_not_fit.iter().map(|text| format!("`{text}`")).collect();
        page += &format!("\n| {name} | `{fits}` | {} | {rule} |", none.join(" "));
    }
    page
}
