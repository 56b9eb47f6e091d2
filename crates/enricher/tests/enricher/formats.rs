//! Values that other programs frame: Protobuf and JSON Schema.

use crate::support::{Pipeline, item, record, register_as};
use serde_json::json;
use std::collections::BTreeMap;
use weir_testkit::topics::Record;

fn framed(id: u32, rest: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), rest].concat()
}

/// The reasons of the dead letters, each as often as it occurs.
fn reasons(pipeline: &Pipeline) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for dead in pipeline.topics.read(&pipeline.dead_letters()).unwrap() {
        *counts.entry(dead.header_text("weir-reason").unwrap().to_string()).or_default() += 1;
    }
    counts
}

fn once(reasons: &[&str]) -> BTreeMap<String, usize> {
    reasons.iter().map(|reason| ((*reason).to_string(), 1)).collect()
}

#[test]
fn messages_of_protobuf_arrive_and_others_are_dead_letters() {
    let pipeline = Pipeline::reading("protobuf");
    let (names, items) = (format!("{}-names", pipeline.input), format!("{}-items", pipeline.input));
    let imported = "syntax = \"proto3\"; package shop; message Name { string name = 1; }";
    register_as(&names, &json!({"schema": imported, "schemaType": "PROTOBUF"}));
    let proto = "syntax = \"proto3\"; package shop; import \"shop/name.proto\";\n\
        import \"google/protobuf/wrappers.proto\";\n\
        message Other { Name name = 1; message Item { int64 id = 1; string name = 2; } }\n\
        message Item { int64 id = 1; google.protobuf.StringValue name = 2; Name more = 3; }";
    let references = json!([{"name": "shop/name.proto", "subject": names, "version": 1}]);
    let schema = json!({"schema": proto, "schemaType": "PROTOBUF", "references": references});
    let id = register_as(&items, &schema);
    let of = |message: &[u8], key: i64| record(key, Some(framed(id, message)));
    let guid = [&[1][..], &[0xab; 16], &[2, 2, 8, 2]].concat();
    let with_header = |key: i64, header: Vec<u8>| Record {
        headers: vec![("__value_schema_id".into(), Some(header))],
        ..record(key, Some(vec![8, 7]))
    };
    let records: Vec<Record> = vec![
        of(&[2, 2, 8, 1, 18, 3, 10, 1, b'x'], 1),
        of(&[4, 0, 0, 8, 3, 18, 1, b'y'], 2),
        of(&[2, 2, 8, 0x80], 3),
        of(&[2, 6, 8, 2], 4),
        record(5, Some(item(pipeline.schema_id, 5, None))),
        record(6, Some(guid)),
        record(7, Some(b"{}".to_vec())),
        of(&[2, 2, 8, 5], 8),
        with_header(9, framed(id, &[2, 2])),
        with_header(10, vec![9]),
    ];
    pipeline.topics.write(&pipeline.input, &records).unwrap();
    let enricher = pipeline.start("a");
    pipeline.wait_done();
    let expected = [
        "truncated",
        "unknown_message",
        "not_protobuf",
        "unknown_schema",
        "wrong_magic",
        "bad_schema_header",
    ];
    assert_eq!(reasons(&pipeline), once(&expected));
    assert_eq!(pipeline.audit(), [1, 3, 5, 7]);
    enricher.stop().unwrap();
}

#[test]
fn json_behind_the_id_of_its_schema_arrives_and_other_json_is_a_dead_letter() {
    let pipeline = Pipeline::reading("json-schema");
    let schema = r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}"#;
    let schema = json!({"schema": schema, "schemaType": "JSON"});
    let id = register_as(&format!("{}-items", pipeline.input), &schema);
    let records = [
        record(1, Some(framed(id, br#"{"id": 1, "name": "x"}"#))),
        record(2, Some(br#"{"id": 2, "name": "x"}"#.to_vec())),
        record(3, Some(framed(id, br#"{"id": "3"}"#))),
        record(4, Some(framed(id, br#"{"id": 4}"#))),
    ];
    pipeline.topics.write(&pipeline.input, &records).unwrap();
    let enricher = pipeline.start("a");
    pipeline.wait_done();
    assert_eq!(reasons(&pipeline), once(&["wrong_magic", "value_does_not_fit"]));
    assert_eq!(pipeline.audit(), [1, 4]);
    enricher.stop().unwrap();
}
