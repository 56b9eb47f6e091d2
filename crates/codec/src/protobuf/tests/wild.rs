//! Bytes and schemas that Confluent's client for Python made (confluent-kafka 2.16.1, protobuf
//! 7.36.2, a registry in memory): `confluent.json` has the values of `ProtobufSerializer`,
//! `AvroSerializer` and `JSONSerializer` in hexadecimal, with a prefix and with
//! `header_schema_id_serializer`, and the schemas as they were registered: the files `order.proto`
//! and `money.proto`, compiled and in base64.

use super::*;
use crate::input::InputDecoder;
use serde_json::json;

const ORDER: &str = include_str!("order.proto");
const MONEY: &str = include_str!("money.proto");

fn fixture(name: &str) -> String {
    let all: Json = serde_json::from_str(include_str!("confluent.json")).unwrap();
    all[name].as_str().unwrap().into()
}

fn bytes(name: &str) -> Vec<u8> {
    let digits = fixture(name);
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn import(text: &str) -> Vec<(String, String)> {
    vec![("shop/money.proto".into(), text.into())]
}

/// As a registry may keep it.
fn texts() -> [ProtobufText; 2] {
    [
        ProtobufText { text: ORDER.into(), imports: import(MONEY) },
        ProtobufText { text: fixture("schema"), imports: import(&fixture("imported")) },
    ]
}

fn order() -> Schema {
    let money = r#"{"type":"record","name":"Money","fields":[
        {"name":"currency","type":"string"},{"name":"units","type":"long"}]}"#;
    let text = format!(
        r#"{{"type":"record","name":"Order","fields":[
        {{"name":"id","type":"long"}},
        {{"name":"serial","type":{{"type":"bytes","logicalType":"decimal","precision":20,"scale":0}}}},
        {{"name":"customer","type":"string"}},{{"name":"note","type":["null","string"]}},
        {{"name":"status","type":{{"type":"enum","name":"S","symbols":["STATUS_UNKNOWN","OPEN","PAID"]}}}},
        {{"name":"lines","type":{{"type":"array","items":{{"type":"record","name":"Line","fields":[
            {{"name":"sku","type":"string"}},{{"name":"count","type":"long"}},
            {{"name":"price","type":["null",{money}]}}]}}}}}},
        {{"name":"rates","type":{{"type":"map","values":"double"}}}},
        {{"name":"placedAt","type":["null",{{"type":"long","logicalType":"timestamp-micros"}}]}},
        {{"name":"took","type":["null",{{"type":"fixed","size":12,"name":"D","logicalType":"duration"}}]}},
        {{"name":"gift","type":["null","boolean"]}},{{"name":"extra","type":["null","string"]}},
        {{"name":"card","type":["null","string"]}},{{"name":"cash","type":["null","Money"]}},
        {{"name":"deltas","type":{{"type":"array","items":"int"}}}},{{"name":"raw","type":"bytes"}},
        {{"name":"ratio","type":"float"}},
        {{"name":"fixed","type":{{"type":"bytes","logicalType":"decimal","precision":20,"scale":0}}}},
        {{"name":"totals","type":{{"type":"map","values":"Money"}}}},
        {{"name":"parent","type":["null",{{"type":"record","name":"P","fields":[
            {{"name":"id","type":"long"}}]}}]}}]}}"#
    );
    Schema::parse(&text).unwrap()
}

fn decoder(text: &ProtobufText, reader: &Schema) -> (tokio::runtime::Runtime, Decoder) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let guid = bytes("header")[1..17].try_into().unwrap();
    let registry =
        Registry::with_messages(&[2.into(), crate::schema_id::SchemaId::Guid(guid)], text);
    let decoder = Decoder::new(reader.clone(), registry, runtime.handle().clone()).unwrap();
    (runtime, decoder.of_protobuf())
}

#[test]
fn a_message_of_googles_encoder_keeps_every_value() {
    for text in texts() {
        let (_runtime, mut decoder) = decoder(&text, &order());
        let decoded = decoded(&mut decoder, &[&bytes("order"), &bytes("empty")], &[]);
        assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
        let rows = rows(&decoded);
        let full = &rows[0];
        assert_eq!(full["id"], -7);
        assert_eq!(full["serial"].to_string(), "18446744073709551615");
        assert_eq!((&full["customer"], &full["note"]), (&"Ünal".into(), &"".into()));
        assert_eq!(full["status"], "PAID");
        let price = json!({"currency": "EUR", "units": -250});
        let lines = json!([{"sku": "a", "count": 2, "price": price},
            {"sku": "b", "count": 0, "price": null}]);
        assert_eq!(full["lines"], lines);
        assert_eq!(full["rates"], json!({"EUR": 1.5, "USD": -0.25}));
        assert_eq!(full["placedAt"], "2026-02-03T04:05:06.789012Z");
        assert!(full["took"].to_string().contains("1.5"), "{}", full["took"]);
        assert_eq!(full["gift"], false);
        assert_eq!(full["extra"], r#"{"a":[1,"x",null,true,{"b":0.5}]}"#);
        assert_eq!(full["card"], Json::Null);
        assert_eq!(full["cash"], json!({"currency": "USD", "units": 1_000_000_000_000i64}));
        assert_eq!(full["deltas"], json!([0, -1, 1, i32::MIN, i32::MAX]));
        assert_eq!((&full["raw"], &full["ratio"]), (&"00ff".into(), &0.1.into()));
        assert_eq!(full["fixed"].to_string(), "9223372036854775808");
        assert_eq!(full["totals"], json!({"-3": {"currency": "", "units": 5}}));
        assert_eq!(full["parent"], json!({"id": 1}));
        assert_eq!(rows[1]["status"], "STATUS_UNKNOWN");
        assert_eq!((&rows[1]["note"], &rows[1]["placedAt"]), (&Json::Null, &Json::Null));
    }
}

#[test]
fn a_message_inside_another_one_is_found_by_its_indexes() {
    let reader = r#"{"name":"sku","type":"string"},{"name":"count","type":"long"}"#;
    let (_runtime, mut decoder) =
        decoder(&texts()[0], &Schema::parse(&super::reader(reader)).unwrap());
    let decoded = decoded(&mut decoder, &[&bytes("line"), &bytes("order")], &[]);
    assert_eq!(rows(&decoded), [json!({"sku": "z", "count": u32::MAX})]);
    assert_eq!(decoded.faults[0].1.reason, "incompatible_schema");
}

#[test]
fn the_header_of_a_record_says_schema_and_message_of_a_value_without_a_frame() {
    let (_runtime, mut decoder) = decoder(&texts()[0], &order());
    let (value, header) = (bytes("header_value"), bytes("header"));
    let cut = &header[..17];
    let long = [&header[..], &[0]].concat();
    let prefixed = [&header[..], &value].concat();
    let values: Vec<&[u8]> = vec![&value, &prefixed, &value, &value, &value];
    let headers: Vec<(u32, &[u8])> = vec![(0, &header), (2, cut), (3, &long)];
    let decoded = decoded(&mut decoder, &values, &headers);
    let ids: Vec<Json> = rows(&decoded).into_iter().map(|mut row| row["id"].take()).collect();
    assert_eq!((ids, &decoded.rows[..]), (vec![json!(5), json!(5)], &[0, 1][..]));
    let reasons: Vec<&str> = decoded.faults.iter().map(|(_, fault)| &*fault.reason).collect();
    assert_eq!(reasons, ["bad_schema_header", "bad_schema_header", "wrong_magic"]);
}

/// With the schema under both names.
fn input(format: &str, guid: &str) -> (tokio::runtime::Runtime, InputDecoder) {
    let avro = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},
        {"name":"b","type":["null","string"],"default":null}]}"#;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let guid = bytes(guid)[1..17].try_into().unwrap();
    let registry = Registry::with_cached(&[(3, avro)]).with_guid(guid, avro);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("r.avsc"), avro).unwrap();
    let text = format!(
        "name = \"x\"\n[kafka]\nbrokers = \"x:9\"\n[registry]\nurl = \"http://x:9\"\n\
         [input]\ntopic = \"t\"\nschema = \"r.avsc\"\nformat = \"{format}\"\n\
         [transform]\nsql = \"SELECT a FROM input\"\n[output]\ntopic = \"o\"\nschema = \"r.avsc\"\n\
         [[sink]]\nname = \"s\"\ntype = \"postgres\"\nurl = \"postgres://x/d\"\ntable = \"t\"\n"
    );
    let file = folder.path().join("p.toml");
    let pipeline = weir_model::pipeline::Pipeline::parse(&text, &file, &|_| None).unwrap();
    let schema = Schema::parse(avro).unwrap();
    let handle = runtime.handle().clone();
    let decoder = InputDecoder::new(&pipeline.input, schema, registry, handle).unwrap();
    (runtime, decoder)
}

fn outcome(format: &str, guid: &str, values: &[&[u8]], headers: &SchemaHeaders<'_>) -> Decoded {
    let (_runtime, mut decoder) = input(format, guid);
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(*value)).collect();
    decoder.decode(&values, headers).unwrap().decoded
}

#[test]
fn avro_is_read_behind_an_id_behind_a_guid_and_with_a_header() {
    let (framed, bare) = (bytes("avro_prefix"), bytes("avro_header_value"));
    let header = bytes("avro_header");
    let by_guid = [&header[..], &bare].concat();
    let values: [&[u8]; 4] = [&framed, &bare, &by_guid, &bare];
    let decoded = outcome("avro", "avro_header", &values, &[(1, &header)]);
    assert_eq!(rows(&decoded), vec![json!({"a": 0, "b": "x"}); 3]);
    assert_eq!(decoded.rows, [0, 1, 2]);
    assert_eq!(decoded.faults[0].1.reason, "short_header", "{:?}", decoded.faults);
}

#[test]
fn json_schema_is_json_behind_an_id_behind_a_guid_or_with_a_header() {
    let (framed, bare) = (bytes("json"), bytes("json_header_value"));
    let header = bytes("json_header");
    let by_guid = [&header[..], &bare].concat();
    let values: [&[u8]; 6] = [&framed, &bare, &by_guid, &bare, &framed[..5], &header];
    let decoded = outcome("json-schema", "json_header", &values, &[(1, &header)]);
    assert_eq!(rows(&decoded), vec![json!({"a": 3, "b": "x"}); 3]);
    assert_eq!(decoded.rows, [0, 1, 2]);
    let fault = &decoded.faults[0].1;
    assert_eq!(fault.reason, "wrong_magic");
    assert!(fault.detail.contains("this looks like JSON"), "{}", fault.detail);
    assert!(decoded.faults[1..].iter().all(|(_, fault)| fault.reason == "empty_payload"));
}

#[test]
fn json_without_a_frame_needs_no_header_and_a_frame_is_named() {
    let (framed, bare) = (bytes("json"), bytes("json_header_value"));
    let header = bytes("json_header");
    let decoded = outcome("json", "json_header", &[&bare, &framed], &[(0, &header)]);
    assert_eq!(rows(&decoded), [json!({"a": 3, "b": "x"})]);
    let fault = &decoded.faults[0].1;
    assert_eq!(fault.reason, "malformed_json");
    assert!(fault.detail.contains("format = \"json-schema\""), "{}", fault.detail);
}

#[test]
fn a_schema_of_another_type_is_a_fault_of_its_records() {
    let text = &texts()[0];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let registry = Registry::with_messages(&[1.into()], text);
    let avro = Decoder::new(order(), registry, runtime.handle().clone()).unwrap();
    let registry = Registry::with_cached(&[(1, order().text())]);
    let protobuf = Decoder::new(order(), registry, runtime.handle().clone()).unwrap();
    for (mut decoder, reason) in [(avro, "not_avro"), (protobuf.of_protobuf(), "not_protobuf")] {
        let decoded = decoded(&mut decoder, &[&[0, 0, 0, 0, 1, 0], &[0, 0, 0, 0, 1, 0]], &[]);
        assert!(decoded.faults.iter().all(|(_, fault)| fault.reason == reason));
        assert_eq!(decoded.faults.len(), 2);
    }
}
