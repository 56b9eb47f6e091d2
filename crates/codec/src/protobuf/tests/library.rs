//! `prost-reflect` as the oracle: what it writes is read as it was, and what is read of other bytes is
//! what it reads.

use super::*;
use proptest::prelude::*;
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, MapKey, MessageDescriptor, ReflectMessage, Value};
use serde_json::{Map, json};
use std::sync::{LazyLock, Mutex};

const FIELDS: &str = "int32 a = 1; sint64 b = 2; uint64 c = 3; double d = 4; bool e = 5; \
    string f = 6; bytes g = 7; E h = 8; repeated sint32 i = 9; repeated string j = 10; \
    map<string, int64> k = 11; optional fixed32 l = 12; I m = 13; repeated I n = 14; \
    oneof o { int32 p = 15; string q = 16; I r = 17; } repeated int32 s = 18 [packed = false]; \
    map<uint32, I> t = 19; sfixed64 u = 20; repeated E v = 21;";

fn columns() -> String {
    let inner = r#"{"type":"record","name":"I","fields":[{"name":"n","type":"int"},
        {"name":"l","type":{"type":"array","items":"int"}}]}"#;
    let number = r#"{"type":"bytes","logicalType":"decimal","precision":20,"scale":0}"#;
    let array = |items: &str| format!(r#"{{"type":"array","items":{items}}}"#);
    let map = |values: &str| format!(r#"{{"type":"map","values":{values}}}"#);
    let optional = |of: &str| format!(r#"["null",{of}]"#);
    let (int, long, text) = (r#""int""#, r#""long""#, r#""string""#);
    let types = [
        ("a", int.into()),
        ("b", long.into()),
        ("c", number.into()),
        ("d", r#""double""#.into()),
        ("e", r#""boolean""#.into()),
        ("f", text.into()),
        ("g", r#""bytes""#.into()),
        ("h", text.into()),
        ("i", array(int)),
        ("j", array(text)),
        ("k", map(long)),
        ("l", optional(long)),
        ("m", optional(inner)),
        ("n", array(r#""I""#)),
        ("p", optional(int)),
        ("q", optional(text)),
        ("r", optional(r#""I""#)),
        ("s", array(int)),
        ("t", map(r#""I""#)),
        ("u", long.into()),
        ("v", array(text)),
    ];
    let field = |(name, of): (&str, String)| format!(r#"{{"name":"{name}","type":{of}}}"#);
    types.into_iter().map(field).collect::<Vec<_>>().join(",")
}

/// Compiled once, for all cases.
static DECODER: LazyLock<Mutex<ProtobufDecoder>> =
    LazyLock::new(|| Mutex::new(own(&message(FIELDS), &reader(&columns())).unwrap()));

fn descriptor() -> MessageDescriptor {
    DECODER.lock().unwrap().file.messages().next().unwrap()
}

fn read_row(datum: &[u8]) -> Result<Json, (String, String)> {
    row_of(&mut DECODER.lock().unwrap(), datum)
}

/// A value of any field.
fn value(kind: &prost_reflect::Kind) -> BoxedStrategy<Value> {
    use prost_reflect::Kind;
    let edge = || prop_oneof![Just(0i64), Just(-1), Just(i64::MIN), Just(i64::MAX), any::<i64>()];
    match kind {
        Kind::Int32 | Kind::Sint32 => edge().prop_map(|n| Value::I32(n as i32)).boxed(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => edge().prop_map(Value::I64).boxed(),
        Kind::Uint64 => edge().prop_map(|n| Value::U64(n as u64)).boxed(),
        Kind::Fixed32 | Kind::Uint32 => edge().prop_map(|n| Value::U32(n as u32)).boxed(),
        Kind::Double => edge().prop_map(|n| Value::F64(f64::from(n as i32) / 8.0)).boxed(),
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::String => "\\PC{0,6}".prop_map(Value::String).boxed(),
        Kind::Bytes => prop::collection::vec(any::<u8>(), 0..5)
            .prop_map(|bytes| Value::Bytes(bytes.into()))
            .boxed(),
        Kind::Enum(_) => prop::sample::select(vec![0, 1, 7]).prop_map(Value::EnumNumber).boxed(),
        Kind::Message(of) => any_message(of).prop_map(Value::Message).boxed(),
        other => panic!("{other:?}"),
    }
}

fn any_message(of: &MessageDescriptor) -> BoxedStrategy<DynamicMessage> {
    let mut message = Just(DynamicMessage::new(of.clone())).boxed();
    for field in of.fields() {
        let many = |kind| prop::collection::vec(value(kind), 0..4);
        let content = if field.is_map() {
            let entry = field.kind().as_message().unwrap().clone();
            let key = match entry.map_entry_key_field().kind() {
                prost_reflect::Kind::String => "[a-c]".prop_map(MapKey::String).boxed(),
                _ => any::<u32>().prop_map(MapKey::U32).boxed(),
            };
            let value = value(&entry.map_entry_value_field().kind());
            prop::collection::hash_map(key, value, 0..3).prop_map(Value::Map).boxed()
        } else if field.is_list() {
            many(&field.kind()).prop_map(Value::List).boxed()
        } else {
            value(&field.kind())
        };
        message = (message, prop::option::of(content))
            .prop_map(move |(mut message, content)| {
                if let Some(content) = content {
                    message.set_field(&field, content);
                }
                message
            })
            .boxed();
    }
    message
}

fn expected(message: &DynamicMessage) -> Json {
    let mut row = Map::new();
    for field in message.descriptor().fields() {
        let is_unset = field.supports_presence() && !message.has_field(&field);
        let cell = match is_unset {
            true => Json::Null,
            false => cell(&message.get_field(&field), &field.kind()),
        };
        row.insert(field.name().into(), cell);
    }
    Json::Object(row)
}

fn cell(value: &Value, kind: &prost_reflect::Kind) -> Json {
    match value {
        Value::I32(n) => json!(n),
        Value::I64(n) => json!(n),
        Value::U32(n) => json!(n),
        Value::U64(n) => json!(n),
        Value::F64(n) => json!(n),
        Value::Bool(b) => json!(b),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => json!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        Value::EnumNumber(n) => {
            json!(kind.as_enum().unwrap().get_value(*n).map(|value| value.name().to_owned()))
        }
        Value::Message(message) => expected(message),
        Value::List(items) => items.iter().map(|item| cell(item, kind)).collect(),
        Value::Map(entries) => {
            let of = kind.as_message().unwrap().map_entry_value_field().kind();
            let entry = |(key, value): (&MapKey, &Value)| {
                let key = match key {
                    MapKey::String(key) => key.clone(),
                    MapKey::U32(key) => key.to_string(),
                    other => panic!("{other:?}"),
                };
                (key, cell(value, &of))
            };
            Json::Object(entries.iter().map(entry).collect())
        }
        Value::F32(n) => json!(n),
    }
}

proptest! {
    #[test]
    fn what_the_library_writes_is_read_as_it_was(message in any_message(&descriptor())) {
        let row = read_row(&message.encode_to_vec());
        prop_assert_eq!(row, Ok(expected(&message)));
    }

    #[test]
    fn what_is_read_of_other_bytes_is_what_the_library_reads(
        message in any_message(&descriptor()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..4),
    ) {
        let mut datum = message.encode_to_vec();
        for (at, byte, how) in changes {
            match how {
                0 if !datum.is_empty() => { let at = at.index(datum.len()); datum[at] = byte; }
                1 if !datum.is_empty() => { datum.remove(at.index(datum.len())); }
                _ => datum.insert(at.index(datum.len() + 1), byte),
            }
        }
        let theirs = DynamicMessage::decode(descriptor(), datum.as_slice());
        match (read_row(&datum), theirs) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, expected(&theirs)),
            (Ok(ours), Err(error)) => prop_assert!(false, "{} but {}: {:?}", ours, error, datum),
            // What a library cuts, guesses or has no name for is refused here.
            (Err((reason, _)), Ok(_)) => prop_assert!(
                ["bad_varint", "bad_boolean", "unknown_symbol"].contains(&reason.as_str()),
                "{}: {:?}", reason, datum
            ),
            (Err(_), Err(_)) => {}
        }
    }
}
