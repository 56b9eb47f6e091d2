//! Protobuf: the bytes of messages, and the texts of schemas.

use crate::targets::{Decoding, Run, framed};
use anyhow::{Result, ensure};
use serde_json::json;
use weir_codec::Decoder;

const PROTO: &str = r#"syntax = "proto3";
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "confluent/type/decimal.proto";
message R {
  message I { int32 n = 1; repeated sint64 l = 2; I next = 3; }
  enum E { A = 0; B = 1; }
  int64 id = 1; string name = 2; E e = 3; I inner = 4; repeated I many = 5;
  map<string, I> map = 6; google.protobuf.Timestamp at = 7; google.protobuf.Duration took = 8;
  google.protobuf.Int64Value w = 9; google.protobuf.Value json = 10;
  confluent.type.Decimal amount = 11; oneof o { double d = 12; bytes b = 13; } repeated E es = 14;
}"#;

/// Of another program: groups, defaults and options.
const PROTO2: &str = r#"syntax = "proto2"; package p;
import "google/protobuf/descriptor.proto"; import "confluent/meta.proto";
extend google.protobuf.FieldOptions { optional string note = 50000; }
message R { option (confluent.message_meta).doc = "x"; extensions 100 to 199;
  required int64 id = 1 [(note) = "n", (confluent.field_meta) = { tags: ["a"] }];
  optional string name = 2 [default = "a\"b"]; repeated group G = 3 { optional fixed32 x = 4; }
  reserved 9, 20 to 30; } extend R { optional int32 more = 100; }
service S { rpc Get(R) returns (stream R); }"#;

const READER: &str = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"long"},
    {"name":"name","type":["null","string"],"default":null},
    {"name":"e","type":["null","string"],"default":null},
    {"name":"inner","default":null,"type":["null",{"type":"record","name":"I","fields":[
        {"name":"n","type":"int"},{"name":"l","type":{"type":"array","items":"long"}}]}]},
    {"name":"many","type":{"type":"array","items":"I"},"default":[]},
    {"name":"map","type":{"type":"map","values":"I"},"default":{}},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-nanos"}],"default":null},
    {"name":"took","type":["null","string"],"default":null},
    {"name":"w","type":["null","int"],"default":null},
    {"name":"json","type":["null","string"],"default":null},
    {"name":"amount","default":null,"type":["null",
        {"type":"bytes","logicalType":"decimal","precision":30,"scale":6}]},
    {"name":"d","type":["null","long"],"default":null},
    {"name":"b","type":["null","string"],"default":null},
    {"name":"es","type":{"type":"array","items":"string"},"default":[]}]}"#;

fn stored(text: &str) -> (u16, Vec<u8>) {
    (200, json!({"schema": text, "schemaType": "PROTOBUF"}).to_string().into_bytes())
}

fn decoding() -> Result<Decoding> {
    let decoding = Decoding::into(READER)?;
    Ok(Decoding { decoder: decoding.decoder.of_protobuf(), ..decoding })
}

/// Checks that each value has one outcome, those at `good` the good one.
fn check(
    decoder: &mut Decoder,
    values: &[Option<&[u8]>],
    headers: &[(u32, &[u8])],
    good: &[u32],
) -> Result<()> {
    let decoded = decoder.decode_with(values, headers)?;
    let is_lost = good.iter().any(|row| !decoded.rows.contains(row));
    ensure!(!is_lost, "the neighbour is lost: {:?}", decoded.faults);
    let num_outcomes = decoded.rows.len() + decoded.faults.len();
    ensure!(num_outcomes == values.len(), "a value has no or two outcomes");
    ensure!(decoded.rows.len() == decoded.batch.num_rows(), "rows and batch differ");
    let longest = decoded.faults.iter().map(|(_, fault)| fault.detail.len()).max();
    ensure!(longest.unwrap_or(0) < 4096, "a detail of {longest:?} bytes");
    Ok(())
}

/// The bytes of messages, with a good neighbour.
pub(crate) struct Message(Decoding);

impl Message {
    pub(crate) fn new() -> Result<Message> {
        let decoding = decoding()?;
        decoding.registry.answer_with(|_| stored(PROTO));
        Ok(Message(decoding))
    }
}

impl Run for Message {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let all = [
            &[0, 8, 7, 18, 1, b'x', 24, 1, 34, 6, 8, 1, 18, 2, 1, 2, 42, 2, 8, 3, 42, 0][..],
            &[50, 7, 10, 1, b'k', 18, 2, 8, 9, 58, 4, 8, 1, 16, 2, 66, 2, 8, 90, 74, 2, 8, 5],
            &[82, 16, 42, 14, 10, 12, 10, 1, b'k', 18, 7, 50, 5, 10, 3, 26, 1, b'v'],
            &[90, 6, 10, 2, 4, 210, 24, 1, 97, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 106, 1, b'b'],
            &[114, 3, 0, 1, 1, 163, 6, 8, 1, 164, 6],
        ];
        vec![framed(1, &all.concat()), framed(1, &[4, 0, 0, 8, 1]), framed(1, &[0])]
    }

    fn check(&mut self, input: &[u8]) -> Result<()> {
        let mut value = input.to_vec();
        // Other ids are what the target `registry` is for.
        if let Some(frame) = value.get_mut(..5) {
            frame.copy_from_slice(&[0, 0, 0, 0, 1]);
        }
        let (good, header) = (framed(1, &[0, 8, 1]), [&[0, 0, 0, 0, 1][..], input].concat());
        let values = [Some(&value[..]), Some(&good), Some(&value), Some(input)];
        check(&mut self.0.decoder, &values, &[(3, &header)], &[1])
    }
}

/// The texts of schemas, as stored in a registry, and messages of them.
pub(crate) struct SchemaText {
    decoding: Decoding,
    next_id: u32,
}

impl SchemaText {
    pub(crate) fn new() -> Result<SchemaText> {
        Ok(SchemaText { decoding: decoding()?, next_id: 0 })
    }
}

impl Run for SchemaText {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let compiled = "CgdyLnByb3RvIjoKAVISDgoCaWQYASABKANSAmlkEhIKBG5hbWUYAiABKAlSBG5hbWUaEQoBSRIM\
             CgFuGAEgASgFUgFuYgZwcm90bzM=";
        [PROTO, PROTO2, compiled].map(|text| text.as_bytes().to_vec()).to_vec()
    }

    fn check(&mut self, input: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(input).into_owned();
        self.decoding.registry.answer_with(move |_| stored(&text));
        self.next_id = (self.next_id + 1) % (1 << 30);
        let messages: [&[u8]; 4] = [&[0], &[0, 8, 7, 18, 1, b'x'], &[4, 0, 0], &[2, 2, 8, 1]];
        let framed =
            messages.map(|message| [&[0][..], &self.next_id.to_be_bytes(), message].concat());
        let values: Vec<Option<&[u8]>> = framed.iter().map(|v| Some(v.as_slice())).collect();
        check(&mut self.decoding.decoder, &values, &[], &[])
    }
}
