use super::*;
use crate::json_decoder::JsonDecoder;
use crate::schema::Schema;
use crate::writer_schema::WriterSchema;
use arrow::util::display::array_value_to_string;

const ROW: &str = r#"{"type":"record","name":"Value","fields":[
    {"name":"id","type":["null","long"],"default":null},
    {"name":"data","type":["null","bytes"],"default":null},
    {"name":"more","type":["null",{"type":"array","items":"bytes"}],"default":null},
    {"name":"amounts","type":["null",{"type":"array","items":
        {"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}],"default":null},
    {"name":"days","type":["null",{"type":"map","values":{"type":"int","logicalType":"date"}}],
        "default":null},
    {"name":"inner","type":["null",{"type":"record","name":"Inner","fields":[
        {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"bits","type":{"type":"fixed","name":"Two","size":2}}]}],"default":null},
    {"name":"ratio","type":["null","double"],"default":null}]}"#;

/// Connect's schema of such rows.
const SCHEMA: &str = r#"{"type":"struct","optional":false,"fields":[
    {"type":"int64","field":"id"},
    {"type":"bytes","name":"io.debezium.data.Bits","version":1,"field":"data"},
    {"type":"array","items":{"type":"bytes"},"field":"more"},
    {"type":"array","items":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal",
        "parameters":{"scale":"2"}},"field":"amounts"},
    {"type":"map","keys":{"type":"string"},"values":{"type":"int32","name":"io.debezium.time.Date"},
        "field":"days"},
    {"type":"struct","field":"inner","fields":[
        {"type":"int64","name":"io.debezium.time.Timestamp","field":"at"},
        {"type":"bytes","field":"bits"}]},
    {"type":"double","field":"ratio"}]}"#;

const FULL: &str = r#"{"id":1,"data":"FQ==","more":["AP8=",""],"amounts":["BNI=","+y4="],
    "days":{"a":20454},"inner":{"at":1700000000123,"bits":"AQI="},"ratio":"NaN"}"#;

fn decoder(form: impl Fn(JsonDecoder) -> JsonDecoder) -> JsonDecoder {
    let rules = JsonRules { numbers_as_text: true, refuse_unknown: false, similar_names: false };
    form(JsonDecoder::new(Schema::parse(ROW).unwrap(), rules).unwrap())
}

/// Each record as text, or the detail of its fault.
fn read(mut decoder: JsonDecoder, records: &[&str]) -> Vec<String> {
    let values: Vec<Option<&[u8]>> = records.iter().map(|r| Some(r.as_bytes())).collect();
    let decoded = decoder.decode(&values).unwrap();
    let mut texts = vec![String::new(); records.len()];
    for (at, row) in decoded.rows.iter().enumerate() {
        let columns = decoded.batch.columns().iter();
        let cells: Vec<String> = columns.map(|c| array_value_to_string(c, at).unwrap()).collect();
        texts[*row as usize] = cells.join("|");
    }
    for (row, fault) in decoded.faults {
        texts[row as usize] = format!("{} {}", fault.reason, fault.detail);
    }
    texts
}

#[test]
fn every_value_of_an_envelope_is_what_its_schema_says_at_every_depth() {
    let envelope = format!(r#"{{"schema":{SCHEMA},"payload":{FULL}}}"#);
    let row = "1|15|[00ff, ]|[12.34, -12.34]|{a: 2026-01-01}|\
               {at: 2023-11-14T22:13:20.123Z, bits: 0102}|NaN";
    for form in [|d: JsonDecoder| d, JsonDecoder::of_connect] {
        assert_eq!(read(decoder(form), &[&envelope]), [row]);
    }
}

#[test]
fn without_a_schema_bytes_of_connect_are_in_base64_and_times_are_none() {
    let read = |json: &str| read(decoder(JsonDecoder::of_connect), &[json]).remove(0);
    let row = read(r#"{"id":1,"data":"AP8Q","more":["AP8="],"ratio":"-Infinity"}"#);
    assert_eq!(row, "1|00ff10|[00ff]||||-inf");
    for (json, words) in [
        (r#"{"data":"\u00ff\u00ff"}"#, "data: `\"\\u00ff\\u00ff\"` is not base64"),
        (r#"{"inner":{"at":1700000000123,"bits":"AQI="}}"#, "inner.at: "),
        (r#"{"inner":{"at":"2026-01-01T00:00:00Z","bits":"AQ=="}}"#, "has 1 bytes, not 2"),
        (r#"{"days":{"a":20454}}"#, "days.a: "),
        // A decimal in base64 can have the form of a number.
        (r#"{"amounts":["1234"]}"#, "is a number, or bytes in base64"),
    ] {
        let found = read(json);
        assert!(found.starts_with("value_does_not_fit ") && found.contains(words), "{found}");
    }
    assert_eq!(read(r#"{"amounts":["1234.00", "-12.30"]}"#), "|||[1234.00, -12.30]|||");
}

#[test]
fn an_object_with_other_members_is_no_envelope() {
    let read = |json: &str| read(decoder(|d| d), &[json]).remove(0);
    assert_eq!(read(r#"{"schema":"s","payload":{"id":1}}"#), "||||||", "the schema is a text");
    assert_eq!(read(r#"{"schema":{},"payload":{"id":1},"id":7}"#), "7||||||");
    assert_eq!(read(r#"{"schema":null,"payload":{"id":1,"data":"AP8="}}"#), "1|00ff|||||");
    assert!(read(r#"{"schema":null,"payload":null}"#).starts_with("null_payload "));
    assert!(read(r#"{"schema":{},"payload":7}"#).starts_with("malformed_json "));
    let named = Schema::parse(
        r#"{"type":"record","name":"R","fields":[{"name":"payload","type":"string"}]}"#,
    );
    let decoder = JsonDecoder::new(named.unwrap(), JsonRules::default()).unwrap();
    assert_eq!(super::tests::read(decoder, &[r#"{"schema":{},"payload":"x"}"#]), ["x"]);
}

#[test]
fn types_of_debezium_in_any_avro_schema_are_times_of_their_unit() {
    let reader = Schema::parse(
        r#"{"type":"record","name":"R","fields":[
            {"name":"at","type":{"type":"long","logicalType":"local-timestamp-micros"}}]}"#,
    )
    .unwrap();
    let written = |name: &str| {
        format!(
            r#"{{"type":"record","name":"R","fields":[{{"name":"at","type":
                {{"type":"long","connect.version":1,"connect.name":"{name}"}}}}]}}"#
        )
    };
    let writer =
        |name: &str| WriterSchema::parse(&annotated(&written(name), reader.fields())).unwrap();
    assert!(reader.can_decode(&writer("io.debezium.time.Timestamp")).is_empty());
    let plain = r#"{"type":"record","name":"R","fields":[{"name":"at","type":"long"}]}"#;
    assert_eq!(annotated(plain, reader.fields()), plain);
    assert!(
        Schema::parse(plain).unwrap().can_decode(&writer("io.debezium.time.NanoTime")).is_empty()
    );
}

#[test]
fn instants_inside_of_records_lists_and_maps_are_utc_as_well() {
    let reader = Schema::parse(
        r#"{"type":"record","name":"R","fields":[
            {"name":"list","type":{"type":"array","items":
                {"type":"long","logicalType":"timestamp-micros"}}},
            {"name":"inner","type":["null",{"type":"record","name":"I","fields":[
                {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}]}]}]}"#,
    )
    .unwrap();
    let micros = r#"{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}"#;
    let text = format!(
        r#"{{"type":"record","name":"R","fields":[
            {{"name":"list","type":{{"type":"array","items":{micros}}}}},
            {{"name":"inner","type":{{"type":"record","name":"J","fields":[
                {{"name":"at","type":{micros}}}]}}}}]}}"#
    );
    let writer = WriterSchema::parse(&annotated(&text, reader.fields())).unwrap();
    assert_eq!(reader.can_decode(&writer), []);
}

#[test]
fn maps_of_connect_with_other_keys_than_texts_are_maps_of_their_texts() {
    let record = r#"{"days":[[1,null],["b","2026-01-01"]]}"#;
    let read = |json: &str| read(decoder(JsonDecoder::of_connect), &[json]).remove(0);
    assert!(read(record).contains("days."), "{}", read(record));
    assert_eq!(
        read(r#"{"days":[[1,"2026-01-01"],["b","2026-01-02"]]}"#),
        "||||{1: 2026-01-01, b: 2026-01-02}||"
    );
    assert!(read(r#"{"days":[[1]]}"#).starts_with("malformed_json "));
}

#[test]
fn decimals_and_bytes_of_connect_are_no_texts() {
    let reader = r#"{"type":"record","name":"R","fields":[{"name":"s","type":"string"}]}"#;
    let decoder =
        || JsonDecoder::new(Schema::parse(reader).unwrap(), JsonRules::default()).unwrap();
    for (schema, words) in [
        (
            r#""type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"}"#,
            "is a decimal",
        ),
        (r#""type":"bytes""#, "is bytes"),
    ] {
        let record = format!(
            r#"{{"schema":{{"type":"struct","fields":[{{"field":"s",{schema}}}]}},"payload":{{"s":"AQI="}}}}"#
        );
        let found = read(decoder(), &[&record]).remove(0);
        assert!(found.contains(words), "{found}");
    }
}

/// `weir check` says beforehand what would make a dead letter of every record.
#[test]
fn a_schema_that_no_record_can_be_read_with_is_refused_when_it_is_compared() {
    let text = r#"name = "t"
        [kafka]
        brokers = "localhost:1"
        [registry]
        url = "http://localhost:1"
        [input]
        topic = "t"
        schema = "Cargo.toml"
        [output]
        topic = "out"
        schema = "Cargo.toml"
        [[sink]]
        name = "w"
        type = "postgres"
        url = "postgres://w@localhost/w"
        table = "t""#;
    let file = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/p.toml"));
    let pipeline = weir_model::pipeline::Pipeline::parse(text, file, &|_| None);
    let input = pipeline.unwrap_or_else(|mistakes| panic!("{mistakes}")).input;
    let field = |of: &str| {
        format!(r#"{{"type":"record","name":"R","fields":[{{"name":"at","type":{of}}}]}}"#)
    };
    let number =
        |name: &str| format!(r#"{{"type":"long","connect.name":"io.debezium.time.{name}"}}"#);
    let time = Schema::parse(&field(r#"{"type":"long","logicalType":"time-micros"}"#)).unwrap();
    for (name, refused) in [("MicroTime", false), ("NanoTime", true), ("MicroDuration", true)] {
        let writer = WriterSchema::parse(&field(&number(name))).unwrap();
        let found = crate::losses_of_input(&input, &time, &writer);
        assert_eq!(!found.all.is_empty(), refused, "{name}: {found:?}");
    }
    let plain = WriterSchema::parse(&field(r#""string""#)).unwrap();
    assert_eq!(crate::losses_of_input(&input, &time, &plain).all[0].path, "at");
}
