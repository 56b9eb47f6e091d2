use super::*;
use arrow::datatypes::{DataType, TimeUnit};

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

fn field(kind: &str) -> Result<Schema, Error> {
    Schema::parse(&record(&format!(r#"{{"name":"x","type":{kind}}}"#)))
}

fn refusal(text: &str) -> String {
    Schema::parse(text).unwrap_err().to_string()
}

#[test]
fn every_plain_type_has_its_column() {
    let instant = |unit| DataType::Timestamp(unit, Some("+00:00".into()));
    let cases = [
        (r#""boolean""#, DataType::Boolean),
        (r#""int""#, DataType::Int32),
        (r#""long""#, DataType::Int64),
        (r#""float""#, DataType::Float32),
        (r#""double""#, DataType::Float64),
        (r#""bytes""#, DataType::Binary),
        (r#""string""#, DataType::Utf8),
        (r#"{"type":"string","logicalType":"uuid"}"#, DataType::Utf8),
        (r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#, DataType::Utf8),
        (r#"{"type":"fixed","name":"F","size":5}"#, DataType::Binary),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, DataType::Utf8),
        (r#"{"type":"int","logicalType":"date"}"#, DataType::Date32),
        (r#"{"type":"int","logicalType":"time-millis"}"#, DataType::Time32(TimeUnit::Millisecond)),
        (r#"{"type":"long","logicalType":"time-micros"}"#, DataType::Time64(TimeUnit::Microsecond)),
        (r#"{"type":"long","logicalType":"timestamp-millis"}"#, instant(TimeUnit::Millisecond)),
        (r#"{"type":"long","logicalType":"timestamp-micros"}"#, instant(TimeUnit::Microsecond)),
        (r#"{"type":"long","logicalType":"timestamp-nanos"}"#, instant(TimeUnit::Nanosecond)),
        (
            r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}"#,
            DataType::Decimal128(10, 2),
        ),
        (
            r#"{"type":"fixed","name":"D","size":9,"logicalType":"decimal","precision":20,"scale":4}"#,
            DataType::Decimal128(20, 4),
        ),
    ];
    for (kind, arrow) in cases {
        let plain = field(kind).unwrap().arrow();
        assert_eq!(
            (plain.field(0).data_type(), plain.field(0).is_nullable()),
            (&arrow, false),
            "{kind}"
        );
        for union in [format!(r#"["null",{kind}]"#), format!(r#"[{kind},"null"]"#)] {
            let optional = field(&union).unwrap().arrow();
            assert_eq!(
                (optional.field(0).data_type(), optional.field(0).is_nullable()),
                (&arrow, true),
                "{union}"
            );
        }
    }
}

#[test]
fn types_without_a_column_are_refused_with_the_field() {
    for kind in [
        r#""null""#,
        r#"{"type":"array","items":"int"}"#,
        r#"{"type":"map","values":"int"}"#,
        r#"{"type":"record","name":"S","fields":[{"name":"y","type":"int"}]}"#,
        r#"["null","int","string"]"#,
        r#"["int"]"#,
        r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#,
        r#"{"type":"bytes","logicalType":"big-decimal"}"#,
        r#"{"type":"bytes","logicalType":"decimal","precision":50,"scale":2}"#,
    ] {
        let error = field(kind).unwrap_err().to_string();
        assert!(
            error.contains("field `x`") && error.contains("has no column type"),
            "{kind}: {error}"
        );
    }
}

#[test]
fn only_records_are_schemas() {
    assert!(refusal(r#""string""#).contains("must be a record"));
    assert!(refusal("{").contains("not an Avro schema"));
    assert!(refusal("").contains("not an Avro schema"));
}

#[test]
fn recursive_types_are_refused_with_the_path() {
    let text = record(r#"{"name":"next","type":["null","R"]}"#);
    assert_eq!(
        refusal(&text),
        "field `next`: the type R contains itself, which weir does not read"
    );
}

#[test]
fn deep_schemas_are_refused_without_a_stack_overflow() {
    let mut text = String::from(r#""int""#);
    for _ in 0..40 {
        text = format!(r#"{{"type":"array","items":{text}}}"#);
    }
    assert!(field(&text).unwrap_err().to_string().contains("nested deeper"), "arrays");
    for level in 0..1000 {
        text = format!(
            r#"{{"type":"record","name":"L{level}","fields":[{{"name":"f","type":{text}}}]}}"#
        );
    }
    assert!(field(&text).is_err(), "a thousand levels");
}

#[test]
fn few_names_that_unfold_to_many_types_are_refused() {
    let mut fields = String::from(
        r#"{"name":"f0","type":{"type":"record","name":"R0","fields":[{"name":"x","type":"int"}]}}"#,
    );
    for level in 1..20 {
        let inner = (0..4)
            .map(|n| format!(r#"{{"name":"g{n}","type":"R{}"}}"#, level - 1))
            .collect::<Vec<_>>()
            .join(",");
        fields.push_str(&format!(r#",{{"name":"f{level}","type":{{"type":"record","name":"R{level}","fields":[{inner}]}}}}"#));
    }
    assert!(refusal(&record(&fields)).contains("more than 4096 types"));
}

#[test]
fn a_long_text_is_refused_unread() {
    let text = record(&format!(r#"{{"name":"x","type":"int","doc":"{}"}}"#, "x".repeat(MAX_TEXT)));
    assert!(refusal(&text).contains("bytes long"));
}

#[test]
fn a_file_error_names_the_file() {
    let missing = Schema::load(Path::new("/nonexistent/call.avsc")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/call.avsc"), "{missing}");
}

#[test]
fn compatibility_says_what_stands_in_the_way() {
    let schema = |fields: &str| Schema::parse(&record(fields)).unwrap();
    let writer = schema(r#"{"name":"a","type":"int"}"#);
    assert_eq!(
        schema(r#"{"name":"a","type":"long"},{"name":"b","type":"string","default":""}"#)
            .can_read(&writer),
        Vec::<String>::new()
    );
    assert_eq!(
        schema(r#"{"name":"a","type":"int"},{"name":"b","type":"string"}"#).can_read(&writer),
        ["`b` is missing and has no default"]
    );
    assert_eq!(
        schema(r#"{"name":"a","type":"string"},{"name":"c","type":"int"}"#).can_read(&writer),
        ["`a` is int; it cannot be read as string", "`c` is missing and has no default"]
    );
}
