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
fn every_plain_type_has_a_column_type() {
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
            r#"{"type":"fixed","name":"D","size":9,
                "logicalType":"decimal","precision":20,"scale":4}"#,
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
    assert_eq!(refusal(&text), "field `next`: record R inside itself has no column type");
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
fn a_schema_whose_names_unfold_to_too_many_types_is_refused() {
    let type_of = |level: usize, fields: &str| {
        let record = format!(r#"{{"type":"record","name":"R{level}","fields":[{fields}]}}"#);
        format!(r#"{{"name":"f{level}","type":{record}}}"#)
    };
    let mut fields = vec![type_of(0, r#"{"name":"x","type":"int"}"#)];
    for level in 1..20 {
        let inner = |n: usize| format!(r#"{{"name":"g{n}","type":"R{}"}}"#, level - 1);
        fields.push(type_of(level, &(0..4).map(inner).collect::<Vec<_>>().join(",")));
    }
    let fields = fields.join(",");
    assert!(refusal(&record(&fields)).contains("more than 4096 types"));
}

#[test]
fn a_text_that_is_too_long_is_not_parsed() {
    let text =
        record(&format!(r#"{{"name":"x","type":"int","doc":"{}"}}"#, "x".repeat(MAX_TEXT_BYTES)));
    assert!(refusal(&text).contains("bytes long"));
}

#[test]
fn a_file_error_names_the_file() {
    let missing = Schema::load(Path::new("/nonexistent/call.avsc")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/call.avsc"), "{missing}");
}

#[test]
fn compatibility_lists_every_obstacle() {
    let problems = |fields: &str, writer: &WriterSchema| {
        let problems = Schema::parse(&record(fields)).unwrap().can_decode(writer);
        problems.iter().map(Problem::to_string).collect::<Vec<_>>()
    };
    let writer = WriterSchema::parse(&record(r#"{"name":"a","type":"int"}"#)).unwrap();
    assert_eq!(
        problems(
            r#"{"name":"a","type":"long"},{"name":"b","type":"string","default":""}"#,
            &writer
        ),
        Vec::<String>::new()
    );
    assert_eq!(
        problems(r#"{"name":"a","type":"int"},{"name":"b","type":"string"}"#, &writer),
        ["`b` is missing and has no default"]
    );
    assert_eq!(
        problems(r#"{"name":"a","type":"string"},{"name":"c","type":"int"}"#, &writer),
        ["`a` is int; it cannot be read as string", "`c` is missing and has no default"]
    );
}

/// The files of `types` by name, in a folder of their own, and the path of `main.avsc`.
fn folder(types: &[(&str, &str)]) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in types {
        std::fs::write(folder.path().join(format!("{name}.avsc")), text).unwrap();
    }
    let path = folder.path().join("main.avsc");
    (folder, path)
}

const NETWORK: &str =
    r#"{"type":"enum","name":"Network","namespace":"tel","symbols":["LTE","NR"]}"#;

#[test]
fn types_that_a_file_does_not_define_are_read_from_the_files_beside_it() {
    let main = r#"{"type":"record","name":"Call","namespace":"tel","fields":[
        {"name":"network","type":"Network"},{"name":"hash","type":["null","util.Hash"]},
        {"name":"again","type":{"type":"fixed","name":"Own","size":2}},
        {"name":"own","type":"tel.Own"}]}"#;
    let hash = r#"{"type":"fixed","name":"util.Hash","size":4}"#;
    let (_folder, path) = folder(&[("main", main), ("tel.Network", NETWORK), ("util.Hash", hash)]);
    let schema = Schema::load(&path).unwrap();
    let names: Vec<(&str, &str)> =
        schema.references().iter().map(|r| (r.name.as_str(), r.subject.as_str())).collect();
    assert_eq!(names, [("tel.Network", "tel.Network"), ("util.Hash", "util.Hash")]);
    assert_eq!(schema.text(), main);
    let alone = Schema::parse(schema.complete_text()).unwrap();
    assert_eq!(alone.arrow(), schema.arrow());
    let types: Vec<DataType> =
        schema.arrow().fields().iter().map(|field| field.data_type().clone()).collect();
    let binary = DataType::Binary;
    assert_eq!(types, [DataType::Utf8, binary.clone(), binary.clone(), binary]);
}

#[test]
fn a_type_without_a_file_and_circles_of_files_are_reported() {
    let refusal = |types: &[(&str, &str)]| {
        let (_folder, path) = folder(types);
        Schema::load(&path).unwrap_err().to_string()
    };
    let main = record(r#"{"name":"x","type":"A"}"#);
    let missing = refusal(&[("main", &main)]);
    assert!(missing.contains("main.avsc: the type A is not defined"), "{missing}");
    let circle = |own: &str, other: &str| {
        let fields = format!(r#"[{{"name":"x","type":"{other}"}}]"#);
        format!(r#"{{"type":"record","name":"{own}","fields":{fields}}}"#)
    };
    let circular = refusal(&[("main", &main), ("A", &circle("A", "B")), ("B", &circle("B", "A"))]);
    assert!(circular.contains("form a circle"), "{circular}");
}

#[test]
fn a_kind_of_types_in_place_of_a_type_is_named_with_its_field_and_what_to_write() {
    for (kind, more) in [
        ("array", r#""items": …"#),
        ("map", r#""values": …"#),
        ("record", r#""name": …, "fields": […]"#),
        ("enum", r#""name": …, "symbols": […]"#),
    ] {
        let field = format!(r#"{{"name":"tags","type":"{kind}","items":"string"}}"#);
        let nested = format!(
            r#"{{"name":"x","type":["null",{{"type":"array","items":
                {{"type":"record","name":"I","fields":[{field}]}}}}]}}"#
        );
        for fields in [field.clone(), nested] {
            let (_folder, path) = folder(&[("main", &record(&fields))]);
            let refused = Schema::load(&path).unwrap_err().to_string();
            let own = format!(r#""type": {{"type": "{kind}", {more}}}"#);
            let expected =
                format!(r#"field `tags`: a type "{kind}" is an object of its own: {own}"#);
            assert!(refused.ends_with(&expected), "{refused}");
        }
    }
}
