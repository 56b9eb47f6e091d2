//! Bytes of Google's and Confluent's own encoders, of `prost-reflect`, and hostile ones.

mod hostile;
mod library;
mod wild;

use super::*;
use crate::decode::{Decoded, Decoder};
use crate::registry::Registry;
use arrow::json::LineDelimitedWriter;
use serde_json::Value as Json;

/// The rows that a decoder makes of values, and the faults of the others.
fn decoded(decoder: &mut Decoder, values: &[&[u8]], headers: &SchemaHeaders<'_>) -> Decoded {
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(*value)).collect();
    let decoded = decoder.decode_with(&values, headers).unwrap();
    assert_eq!(decoded.rows.len() + decoded.faults.len(), values.len());
    assert_eq!(decoded.batch.num_rows(), decoded.rows.len());
    decoded
}

fn rows(decoded: &Decoded) -> Vec<Json> {
    let mut text = Vec::new();
    let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
    let mut writer: LineDelimitedWriter<_> = builder.build(&mut text);
    writer.write(&decoded.batch).unwrap();
    writer.finish().unwrap();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Without a registry.
fn own(proto: &str, reader: &str) -> Result<ProtobufDecoder, Fault> {
    let text = ProtobufText { text: proto.into(), imports: Vec::new() };
    ProtobufDecoder::new("schema 1", &text, &Schema::parse(reader).unwrap())
}

fn message(fields: &str) -> String {
    let imports: String = ["timestamp", "duration", "wrappers", "struct"]
        .map(|name| format!("import \"google/protobuf/{name}.proto\";\n"))
        .concat();
    format!(
        "syntax = \"proto3\";\nimport \"confluent/type/decimal.proto\";\n{imports}\
         message M {{ {fields} }}\nmessage I {{ int32 n = 1; repeated int32 l = 2; }}\n\
         enum E {{ NONE = 0; ONE = 1; MANY = 7; }}"
    )
}

fn reader(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

/// The row of a message, or the reason and the detail of its fault.
fn read(fields: &str, columns: &str, datum: &[u8]) -> Result<Json, (String, String)> {
    let refused = |fault: Fault| (fault.reason, fault.detail);
    row_of(&mut own(&message(fields), &reader(columns)).map_err(refused)?, datum)
}

fn row_of(decoder: &mut ProtobufDecoder, datum: &[u8]) -> Result<Json, (String, String)> {
    let refused = |fault: Fault| (fault.reason, fault.detail);
    let value = [&[0, 0, 0, 0, 1, 0][..], datum].concat();
    let frame = Frame { id: crate::schema_id::SchemaId::Number(1), len: 5 };
    let batch = decoder.decode(&[Some(&value)], &[0], frame, &[]).unwrap();
    match batch.faults.into_iter().next() {
        Some((_, fault)) => Err(refused(fault)),
        None => {
            let WriterBatch { batch, rows: numbers, .. } = batch;
            let decoded = Decoded { batch, rows: numbers, faults: Vec::new() };
            Ok(rows(&decoded).remove(0))
        }
    }
}

fn reason(result: Result<Json, (String, String)>) -> String {
    match result {
        Ok(row) => panic!("{row}"),
        Err((reason, _)) => reason,
    }
}

#[test]
fn fields_are_found_by_name_by_json_name_and_by_alias() {
    let fields = "int32 order_id = 1; string userName = 2 [json_name = \"who\"]; int32 x = 3;";
    let columns = r#"{"name":"orderId","type":"int"},{"name":"who","type":"string"},
        {"name":"y","type":"long","aliases":["z","x"]},{"name":"new","type":"int","default":5}"#;
    let row = read(fields, columns, &[8, 1, 18, 1, b'a', 24, 9]).unwrap();
    assert_eq!(row, serde_json::json!({"orderId": 1, "who": "a", "y": 9, "new": 5}));
    let missing = reason(read(fields, r#"{"name":"other","type":"int"}"#, &[]));
    assert_eq!(missing, "incompatible_schema");
}

#[test]
fn an_unset_field_is_null_if_it_says_so_and_otherwise_the_default_of_its_type() {
    let fields = "int32 a = 1; optional int32 b = 2; string c = 3; I i = 4; repeated int32 l = 5; \
                  map<string, int32> m = 6; E e = 7; oneof o { int32 p = 8; int32 q = 9; } \
                  google.protobuf.StringValue w = 10; optional int32 d = 11;";
    let columns = r#"{"name":"a","type":["null","int"],"default":null},{"name":"b","type":["null","int"]},
        {"name":"c","type":"string"},{"name":"i","type":["null",{"type":"record","name":"I","fields":[
        {"name":"n","type":"int"}]}]},{"name":"l","type":{"type":"array","items":"int"}},
        {"name":"m","type":{"type":"map","values":"int"}},{"name":"e","type":"string"},
        {"name":"p","type":["null","int"]},{"name":"q","type":["null","int"]},
        {"name":"w","type":["null","string"]},{"name":"d","type":"int","default":4}"#;
    let row = read(fields, columns, &[]).unwrap();
    let expected = serde_json::json!({"a": 0, "b": null, "c": "", "i": null, "l": [], "m": {},
        "e": "NONE", "p": null, "q": null, "w": null, "d": 4});
    assert_eq!(row, expected);
    let set = [16, 0, 34, 0, 72, 0, 82, 0];
    let row = read(fields, columns, &set).unwrap();
    assert_eq!((&row["b"], &row["q"]), (&0.into(), &0.into()));
    assert_eq!((&row["i"]["n"], &row["w"]), (&0.into(), &"".into()));
    let must = reason(read("optional int32 a = 1;", r#"{"name":"a","type":"int"}"#, &[]));
    assert_eq!(must, "value_missing");
}

#[test]
fn of_a_oneof_the_last_member_counts_even_one_that_is_not_read() {
    let fields = "oneof o { int32 p = 1; int32 q = 2; I i = 3; }";
    let columns = r#"{"name":"p","type":["null","int"]},
        {"name":"i","type":["null",{"type":"record","name":"I","fields":[{"name":"n","type":"int"}]}]}"#;
    let row = |datum: &[u8]| read(fields, columns, datum).unwrap();
    assert_eq!(row(&[8, 5]), serde_json::json!({"p": 5, "i": null}));
    assert_eq!(row(&[8, 5, 16, 1]), serde_json::json!({"p": null, "i": null}));
    assert_eq!(row(&[8, 5, 26, 2, 8, 3]), serde_json::json!({"p": null, "i": {"n": 3}}));
    assert_eq!(row(&[26, 2, 8, 3, 8, 5]), serde_json::json!({"p": 5, "i": null}));
}

#[test]
fn a_field_that_comes_twice_has_its_last_value_and_messages_are_merged() {
    let columns = r#"{"name":"a","type":"int"},{"name":"i","type":{"type":"record","name":"I",
        "fields":[{"name":"n","type":"int"},{"name":"l","type":{"type":"array","items":"int"}}]}},
        {"name":"m","type":{"type":"map","values":"int"}}"#;
    let fields = "int32 a = 1; I i = 2; map<int32, int32> m = 3;";
    let datum = [
        8, 1, 8, 2, 18, 4, 8, 1, 16, 5, 18, 5, 18, 3, 6, 7,
        8, // packed 6 7 8 after an unpacked 5
        26, 4, 8, 9, 16, 1, 26, 4, 8, 9, 16, 2, 26, 2, 16, 4,
    ];
    let row = read(fields, columns, &datum).unwrap();
    let expected =
        serde_json::json!({"a": 2, "i": {"n": 1, "l": [5, 6, 7, 8]}, "m": {"9": 2, "0": 4}});
    assert_eq!(row, expected);
}

#[test]
fn enums_are_their_names_and_a_number_without_one_is_a_fault() {
    let symbols = |list: &str| {
        format!(r#"{{"name":"e","type":{{"type":"enum","name":"E","symbols":[{list}]"#)
    };
    let own = format!("{}}}}}", symbols(r#""NONE","MANY""#));
    let fallback = format!("{},\"default\":\"MANY\"}}}}", symbols(r#""NONE","MANY""#));
    let row = |columns: &str, number: u8| read("E e = 1;", columns, &[8, number]);
    assert_eq!(row(&own, 7).unwrap()["e"], "MANY");
    assert_eq!(reason(row(&own, 1)), "unknown_symbol");
    assert_eq!(row(&fallback, 1).unwrap()["e"], "MANY");
    for columns in [&own, &fallback, r#"{"name":"e","type":"string"}"#] {
        let (reason, detail) = row(columns, 9).unwrap_err();
        assert_eq!(reason, "unknown_symbol");
        assert_eq!(detail, "e: E has no symbol with the number 9");
    }
}

#[test]
fn messages_that_come_with_protobuf_are_values() {
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#;
    let columns = format!(
        r#"{{"name":"t","type":{{"type":"long","logicalType":"timestamp-micros"}}}},
        {{"name":"d","type":"string"}},{{"name":"w","type":["null","long"]}},
        {{"name":"s","type":["null","string"]}},{{"name":"x","type":["null",{decimal}]}}"#
    );
    let fields = "google.protobuf.Timestamp t = 1; google.protobuf.Duration d = 2; \
                  google.protobuf.UInt64Value w = 3; google.protobuf.Struct s = 4; \
                  confluent.type.Decimal x = 5;";
    let datum = [
        &[10, 6, 8, 1, 16, 0x80, 0x89, 0x7a][..], // 1 s and 2 000 000 ns
        &[18, 2, 8, 90],
        &[26, 2, 8, 7],
        &[34, 14, 10, 12, 10, 1, b'k', 18, 7, 50, 5, 10, 3, 26, 1, b'v'],
        &[42, 6, 10, 2, 4, 210, 24, 1], // 1234 with one decimal
    ]
    .concat();
    let row = read(fields, &columns, &datum).unwrap();
    assert_eq!(row["t"], "1970-01-01T00:00:01.002Z");
    assert_eq!((&row["d"], &row["w"]), (&"90s".into(), &7.into()));
    assert_eq!((&row["s"], &row["x"]), (&r#"{"k":["v"]}"#.into(), &123.4.into()));
    let local = r#"{"name":"t","type":{"type":"long","logicalType":"local-timestamp-micros"}}"#;
    assert_eq!(reason(read(fields, local, &[])), "incompatible_schema", "no zone is dropped");
    let number = r#"{"name":"d","type":"long"}"#;
    assert_eq!(reason(read(fields, number, &[])), "incompatible_schema", "no unit is guessed");
}

#[test]
fn the_index_of_a_message_counts_messages_only() {
    let proto = "syntax = \"proto3\"; message A { map<string, string> m = 1; \
                 message B { int32 n = 1; } message C { int32 n = 2; } } message D { int32 n = 3; }";
    let mut decoder = own(proto, &reader(r#"{"name":"n","type":"int","default":-1}"#)).unwrap();
    let frame = Frame { id: crate::schema_id::SchemaId::Number(1), len: 5 };
    let values: Vec<Vec<u8>> =
        [&[0][..], &[2, 0], &[4, 0, 0, 8, 5], &[4, 0, 2, 16, 6], &[2, 2, 24, 7], &[0, 24, 8]]
            .iter()
            .map(|rest| [&[0, 0, 0, 0, 1][..], rest].concat())
            .collect();
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
    let all: Vec<u32> = (0..values.len() as u32).collect();
    let batch = decoder.decode(&values, &all, frame, &[]).unwrap();
    let decoded = Decoded { batch: batch.batch, rows: batch.rows, faults: batch.faults };
    let numbers: Vec<i64> = rows(&decoded).iter().map(|row| row["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [-1, -1, 5, 6, 7, -1], "{:?}", decoded.faults);
}

#[test]
fn what_has_another_shape_makes_a_schema_incompatible_and_says_where() {
    let cases = [
        ("repeated int32 a = 1;", r#""int""#, "`a` is repeated int32; it cannot be read as int"),
        ("int32 a = 1;", r#"{"type":"array","items":"int"}"#, "`a` is int32; it cannot"),
        ("double a = 1;", r#"{"type":"array","items":"int"}"#, "`a` is double; it cannot"),
        ("map<string, I> a = 1;", r#"{"type":"map","values":"int"}"#, "`a{}` is I; it cannot"),
        ("I a = 1;", r#"["null","int","string"]"#, "`a` is I; it could be any of"),
        ("int64 a = 1;", r#"{"type":"int","logicalType":"date"}"#, "`a` is int64; it cannot"),
        ("E a = 1;", r#""int""#, "`a` is E; it cannot be read as int"),
    ];
    for (fields, avro_type, expected) in cases {
        let columns = format!(r#"{{"name":"a","type":{avro_type}}}"#);
        let (reason, detail) = read(fields, &columns, &[]).unwrap_err();
        assert_eq!(reason, "incompatible_schema");
        assert!(detail.contains(expected), "{detail}");
    }
}

#[test]
fn of_several_names_for_a_number_the_first_one_is_its_symbol() {
    let proto = "syntax = \"proto3\";\nmessage M { C c = 1; }\n\
                 enum C { option allow_alias = true; ZERO = 0; RED = 1; ROT = 1; AMBER = 1; }";
    let column = |of: &str| reader(&format!(r#"{{"name":"c","type":{of}}}"#));
    let symbols = |list: &str| format!(r#"{{"type":"enum","name":"C","symbols":[{list}]}}"#);
    for (of, symbol) in [
        (r#""string""#.to_owned(), "RED"),
        (symbols(r#""ZERO","ROT","RED""#), "RED"),
        (symbols(r#""ZERO","ROT""#), "ROT"),
    ] {
        let mut decoder = own(proto, &column(&of)).unwrap();
        assert_eq!(
            row_of(&mut decoder, &[8, 1]).unwrap(),
            serde_json::json!({ "c": symbol }),
            "{of}"
        );
    }
}
