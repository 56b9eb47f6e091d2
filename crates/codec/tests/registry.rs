//! The client and the decoder against the real registry.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

use apache_avro::types::Value;
use arrow::array::{AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use schema_registry_converter::async_impl::avro::{AvroDecoder, AvroEncoder};
use schema_registry_converter::async_impl::schema_registry::SrSettings;
use schema_registry_converter::schema_registry_common::SubjectNameStrategy;
use std::sync::Arc;
use tokio::runtime::Runtime;
use weir_codec::registry::{Error, LatestSchema, Settings};
use weir_codec::{CastBatch, Decoder, Encoder, Reference, Registry, Schema};
use weir_model::secret::Secret;
use weir_testkit::{Stack, random_name};

fn registry() -> Registry {
    registry_at(&[Stack::shared().registry()])
}

fn registry_at(urls: &[&str]) -> Registry {
    let urls = urls.iter().map(|url| Secret::new(*url)).collect();
    Registry::new(Settings { urls, ..Settings::default() }).expect("valid URLs")
}

fn schema(fields: &str) -> Schema {
    Schema::parse(&format!(r#"{{"type":"record","name":"Call","fields":[{fields}]}}"#))
        .expect("a schema of plain types")
}

fn first() -> Schema {
    schema(r#"{"name":"name","type":"string"},{"name":"seconds","type":"int"}"#)
}

/// Backward compatible with the first.
fn second() -> Schema {
    schema(
        r#"{"name":"seconds","type":"long"},{"name":"name","type":"string"},
           {"name":"roaming","type":["null","boolean"],"default":null}"#,
    )
}

fn subject() -> String {
    format!("{}-value", random_name("codec"))
}

#[tokio::test]
async fn a_registered_schema_comes_back_by_id_and_as_the_latest() {
    let (registry, subject) = (registry(), subject());
    registry.ping().await.unwrap();
    assert!(registry.latest(&subject).await.unwrap().is_none());
    let id = registry.register(&subject, &first()).await.unwrap();
    assert_eq!(
        registry.register(&subject, &first()).await.unwrap(),
        id,
        "the same schema has the same id"
    );
    assert_eq!(registry.schema(id).await.unwrap().arrow(), first().arrow());
    let LatestSchema { id: latest_id, version, schema } =
        registry.latest(&subject).await.unwrap().unwrap();
    let latest = Schema::parse(schema.text()).unwrap();
    assert_eq!((latest_id, version, latest.arrow()), (id, 1, first().arrow()));
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_start_together_register_the_same_subject_once() {
    let (registry, subject) = (registry(), subject());
    let mut registrations = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (registry, subject) = (registry.clone(), subject.clone());
        registrations.spawn(async move { registry.register(&subject, &first()).await });
    }
    let ids: std::collections::BTreeSet<u32> =
        registrations.join_all().await.into_iter().map(Result::unwrap).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[tokio::test]
async fn the_compatibility_rule_of_a_subject_decides_about_the_next_version() {
    let (registry, subject) = (registry(), subject());
    registry.register(&subject, &first()).await.unwrap();
    registry.set_compatibility(&subject, "BACKWARD").await.unwrap();
    assert_eq!(registry.compatible(&subject, &second()).await.unwrap(), Vec::<String>::new());
    let incompatible = schema(
        r#"{"name":"name","type":"string"},{"name":"seconds","type":"int"},
           {"name":"added","type":"int"}"#,
    );
    let reasons = registry.compatible(&subject, &incompatible).await.unwrap();
    assert!(reasons.iter().any(|reason| reason.contains("added")), "{reasons:?}");
    assert!(matches!(registry.register(&subject, &incompatible).await, Err(Error::Refused { .. })));
    assert!(registry.set_compatibility(&subject, "SIDEWAYS").await.is_err());
    registry.set_compatibility(&subject, "FORWARD").await.unwrap();
    registry.register(&subject, &incompatible).await.unwrap();
    assert_eq!(registry.latest(&subject).await.unwrap().unwrap().version, 2);
}

#[tokio::test]
async fn an_unknown_id_is_not_found_and_a_wrong_path_is_unavailable() {
    let registry = registry();
    assert!(matches!(registry.schema(2_000_000_000).await, Err(Error::NotFound { .. })));
    assert_eq!(registry.compatible(&subject(), &first()).await.unwrap(), Vec::<String>::new());
    let url = format!("{}/no/such/path", Stack::shared().registry());
    let misled = registry_at(&[&url]);
    for error in [
        misled.schema(1).await.unwrap_err(),
        misled.latest(&subject()).await.unwrap_err(),
        misled.register(&subject(), &first()).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    }
}

#[test]
fn records_of_old_new_and_unrelated_writers_are_decoded_in_one_batch() {
    let (runtime, registry, subject) = (Runtime::new().unwrap(), registry(), subject());
    let old = runtime.block_on(registry.register(&subject, &first())).unwrap();
    let new = runtime.block_on(registry.register(&subject, &second())).unwrap();
    let other = schema(r#"{"name":"unrelated","type":"string"}"#);
    let unrelated = runtime.block_on(registry.register(&self::subject(), &other)).unwrap();

    let name = |text: &str| Arc::new(StringArray::from(vec![text]));
    let olds = RecordBatch::try_new(
        first().arrow(),
        vec![name("Ann"), Arc::new(Int32Array::from(vec![7]))],
    )
    .unwrap();
    let CastBatch { batch: news, faults, .. } = weir_codec::cast(&olds, &second());
    assert!(faults.is_empty());
    let others = RecordBatch::try_new(other.arrow(), vec![name("x")]).unwrap();
    let olds = Encoder::new(&first(), old).unwrap().encode(&olds).unwrap();
    let news = Encoder::new(&second(), new).unwrap().encode(&news).unwrap();
    let others = Encoder::new(&other, unrelated).unwrap().encode(&others).unwrap();
    let unknown = [&[0u8][..], &2_000_000_000u32.to_be_bytes(), &[2, b'x']].concat();

    let mut decoder = Decoder::new(second(), registry, runtime.handle().clone()).unwrap();
    let values = [
        Some(olds.get(0)),
        Some(others.get(0)),
        Some(news.get(0)),
        Some(unknown.as_slice()),
        None,
        Some(olds.get(0)),
    ];
    let decoded = decoder.decode(&values).unwrap();
    assert_eq!(decoded.rows, [0, 2, 5]);
    assert_eq!(decoded.batch.schema(), second().arrow());
    assert_eq!(decoded.batch.column(0).as_primitive::<Int64Type>().values(), &[7, 7, 7]);
    let reasons: Vec<(u32, &str)> =
        decoded.faults.iter().map(|(row, fault)| (*row, fault.reason.as_str())).collect();
    assert_eq!(reasons, [(1, "incompatible_schema"), (3, "unknown_schema"), (4, "null_payload")]);
}

#[tokio::test]
async fn the_next_url_is_used_while_the_first_is_unavailable() {
    let (real, subject) = (Stack::shared().registry(), subject());
    let wrong_path = format!("{real}/no/such/path");
    for unavailable in ["http://127.0.0.1:9", &wrong_path] {
        let registry = registry_at(&[unavailable, real]);
        let id = registry.register(&subject, &first()).await.unwrap();
        assert_eq!(registry.latest(&subject).await.unwrap().unwrap().id, id);
        let registry = registry_at(&[unavailable, real]);
        assert_eq!(registry.schema(id).await.unwrap().arrow(), first().arrow());
    }
}

#[tokio::test]
async fn a_schema_is_registered_together_with_the_schemas_it_refers_to() {
    let (registry, subject) = (registry(), subject());
    let name = random_name("Network").replace('-', "_");
    let network = Reference {
        name: format!("tel.{name}"),
        subject: format!("tel.{name}"),
        schema: format!(r#"{{"type":"enum","name":"tel.{name}","symbols":["LTE","GSM"]}}"#),
        references: Vec::new(),
    };
    let text = format!(
        r#"{{"type":"record","name":"Call","fields":[{{"name":"n","type":"tel.{name}"}}]}}"#
    );
    let schema = Schema::with_references(text, vec![network.clone()]).unwrap();
    assert_eq!(registry.compatible(&subject, &schema).await.unwrap(), Vec::<String>::new());
    let id = registry.register(&subject, &schema).await.unwrap();
    assert_eq!(registry.register(&subject, &schema).await.unwrap(), id);
    let by_id = registry.schema(id).await.unwrap();
    let latest = registry.latest(&subject).await.unwrap().unwrap().schema;
    for read in [by_id, Schema::parse(latest.text()).unwrap()] {
        assert_eq!(read.arrow().field(0).data_type(), &DataType::Utf8);
    }
    let url = Stack::shared().registry();
    let stored = reqwest::get(format!("{url}/subjects/{subject}/versions/latest")).await.unwrap();
    let stored: serde_json::Value = stored.json().await.unwrap();
    assert_eq!(stored["references"][0]["subject"], network.subject, "{stored}");
}

/// Records that `schema_registry_converter` encodes and decodes, with its own client, its own frame
/// and apache-avro.
#[test]
fn schema_registry_converter_reads_weirs_records_and_weir_reads_its_records() {
    let (runtime, registry, subject) = (Runtime::new().unwrap(), registry(), subject());
    let id = runtime.block_on(registry.register(&subject, &first())).unwrap();
    let names = ["", "Ann", "漢\u{0}😀"];
    let seconds = [0, i32::MIN, 86_400];
    let batch = RecordBatch::try_new(
        first().arrow(),
        vec![
            Arc::new(StringArray::from(names.to_vec())),
            Arc::new(Int32Array::from(seconds.to_vec())),
        ],
    )
    .unwrap();
    let encoded = Encoder::new(&first(), id).unwrap().encode(&batch).unwrap();

    let settings = SrSettings::new(Stack::shared().registry().into());
    let (their_decoder, their_encoder) =
        (AvroDecoder::new(settings.clone()), AvroEncoder::new(settings));
    let mut theirs = Vec::new();
    for row in 0..names.len() {
        let fields =
            vec![("name", Value::String(names[row].into())), ("seconds", Value::Int(seconds[row]))];
        let decoded = runtime.block_on(their_decoder.decode(Some(encoded.get(row)))).unwrap();
        let expected = fields.iter().map(|(name, value)| ((*name).into(), value.clone()));
        assert_eq!(decoded.value, Value::Record(expected.collect()));
        let strategy = SubjectNameStrategy::RecordNameStrategy(subject.clone());
        theirs.push(runtime.block_on(their_encoder.encode(fields, strategy)).unwrap());
        assert_eq!(theirs[row], encoded.get(row), "the same bytes");
    }

    let mut decoder = Decoder::new(first(), registry, runtime.handle().clone()).unwrap();
    let values: Vec<Option<&[u8]>> = theirs.iter().map(|value| Some(value.as_slice())).collect();
    let decoded = decoder.decode(&values).unwrap();
    assert_eq!(decoded.faults, []);
    assert_eq!(decoded.batch.column(0).as_string::<i32>(), &StringArray::from(names.to_vec()));
    assert_eq!(decoded.batch.column(1).as_primitive::<Int32Type>().values(), &seconds);
}

/// A schema that weir itself would not register, sent as it is; its id.
async fn store(subject: &str, body: serde_json::Value) -> u32 {
    let url = format!("{}/subjects/{subject}/versions", Stack::shared().registry());
    let response = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{status} {text}");
    let stored: serde_json::Value = serde_json::from_str(&text).unwrap();
    stored["id"].as_u64().unwrap() as u32
}

const JSON_SCHEMA: &str =
    r#"{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}"#;

/// Deletes a subject, for good the second time.
async fn delete(subject: &str) {
    for permanent in [false, true] {
        let url =
            format!("{}/subjects/{subject}?permanent={permanent}", Stack::shared().registry());
        let response = reqwest::Client::new().delete(url).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
    }
}

/// The rows of the table in `registry/verdict.rs` that a real registry gives for one schema: each
/// is the fault of the records that name it, and no neighbour's.
#[test]
fn what_the_registry_says_about_one_schema_makes_dead_letters_of_its_records_only() {
    let (runtime, registry) = (Runtime::new().unwrap(), registry());
    let wide: Vec<String> = (0..60_000)
        .map(|n| format!(r#"{{"name":"a_field_with_a_long_name_{n:060}","type":"string"}}"#))
        .collect();
    let wide = format!(r#"{{"type":"record","name":"Wide","fields":[{}]}}"#, wide.join(","));
    let (good, rows) = runtime.block_on(async {
        let good = registry.register(&subject(), &first()).await.unwrap();
        let json =
            store(&subject(), serde_json::json!({"schemaType": "JSON", "schema": JSON_SCHEMA}))
                .await;
        let wide = store(&subject(), serde_json::json!({"schema": wide})).await;
        let gone_subject = subject();
        let name = random_name("Gone").replace('-', "_");
        let gone = format!(r#"{{"type":"record","name":"{name}","fields":[]}}"#);
        let gone = store(&gone_subject, serde_json::json!({"schema": gone})).await;
        delete(&gone_subject).await;
        let rows = [
            (0, "unknown_schema"),
            (2_000_000_000, "unknown_schema"),
            (i32::MAX as u32, "unknown_schema"),
            (1 << 31, "unknown_schema"),
            (u32::MAX, "unknown_schema"),
            (json, "not_avro"),
            (wide, "schema_too_large"),
            (gone, "unknown_schema"),
        ];
        (good, rows)
    });
    let batch = RecordBatch::try_new(
        first().arrow(),
        vec![Arc::new(StringArray::from(vec!["Ann"])), Arc::new(Int32Array::from(vec![7]))],
    )
    .unwrap();
    let encoded = Encoder::new(&first(), good).unwrap().encode(&batch).unwrap();
    let framed: Vec<Vec<u8>> =
        rows.iter().map(|(id, _)| [&[0][..], &id.to_be_bytes(), &[2, b'x']].concat()).collect();
    let values: Vec<Option<&[u8]>> =
        framed.iter().flat_map(|bad| [Some(encoded.get(0)), Some(bad.as_slice())]).collect();
    let mut decoder = Decoder::new(first(), registry, runtime.handle().clone()).unwrap();
    let decoded = decoder.decode(&values).unwrap();
    let reasons: Vec<&str> =
        decoded.faults.iter().map(|(_, fault)| fault.reason.as_str()).collect();
    assert_eq!(reasons, rows.map(|(_, reason)| reason));
    assert_eq!(decoded.rows.len(), rows.len(), "the neighbours are rows");
}
