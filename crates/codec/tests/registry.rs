//! The client and the decoder against the real registry.

use arrow::array::{AsArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use std::sync::Arc;
use tokio::runtime::Runtime;
use weir_codec::registry::Error;
use weir_codec::{Decoder, Encoder, Registry, Schema};
use weir_model::secret::Secret;
use weir_testkit::{Stack, random_name};

fn registry() -> Registry {
    Registry::new(&weir_model::pipeline::Registry { url: Secret::new(Stack::shared().registry()) })
        .expect("the stack names a URL")
}

fn schema(fields: &str) -> Schema {
    Schema::parse(&format!(r#"{{"type":"record","name":"Call","fields":[{fields}]}}"#))
        .expect("a schema of plain types")
}

fn first() -> Schema {
    schema(r#"{"name":"name","type":"string"},{"name":"seconds","type":"int"}"#)
}

/// Compatible with the first backwards.
fn second() -> Schema {
    schema(
        r#"{"name":"seconds","type":"long"},{"name":"name","type":"string"},{"name":"roaming","type":["null","boolean"],"default":null}"#,
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
    let (latest, version, schema) = registry.latest(&subject).await.unwrap().unwrap();
    assert_eq!((latest, version, schema.arrow()), (id, 1, first().arrow()));
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
async fn the_rule_of_a_subject_decides_what_may_follow() {
    let (registry, subject) = (registry(), subject());
    registry.register(&subject, &first()).await.unwrap();
    registry.set_compatibility(&subject, "BACKWARD").await.unwrap();
    assert_eq!(registry.compatible(&subject, &second()).await.unwrap(), Vec::<String>::new());
    let incompatible = schema(
        r#"{"name":"name","type":"string"},{"name":"seconds","type":"int"},{"name":"added","type":"int"}"#,
    );
    let reasons = registry.compatible(&subject, &incompatible).await.unwrap();
    assert!(reasons.iter().any(|reason| reason.contains("added")), "{reasons:?}");
    assert!(matches!(registry.register(&subject, &incompatible).await, Err(Error::Refused { .. })));
    assert!(registry.set_compatibility(&subject, "SIDEWAYS").await.is_err());
    registry.set_compatibility(&subject, "FORWARD").await.unwrap();
    registry.register(&subject, &incompatible).await.unwrap();
    assert_eq!(registry.latest(&subject).await.unwrap().unwrap().1, 2);
}

#[tokio::test]
async fn what_the_registry_does_not_have_is_not_found() {
    let registry = registry();
    assert!(matches!(registry.schema(2_000_000_000).await, Err(Error::NotFound { .. })));
    assert_eq!(registry.compatible(&subject(), &first()).await.unwrap(), Vec::<String>::new());
    let url = format!("{}/no/such/path", Stack::shared().registry());
    let misled = Registry::new(&weir_model::pipeline::Registry { url: Secret::new(url) }).unwrap();
    assert!(
        matches!(misled.schema(1).await, Err(Error::Unavailable { .. })),
        "a wrong path must not look like an unknown schema"
    );
}

#[test]
fn records_of_old_and_new_writers_and_strangers_share_a_batch() {
    let (runtime, registry, subject) = (Runtime::new().unwrap(), registry(), subject());
    let old = runtime.block_on(registry.register(&subject, &first())).unwrap();
    let new = runtime.block_on(registry.register(&subject, &second())).unwrap();
    let other = schema(r#"{"name":"unrelated","type":"string"}"#);
    let stranger = runtime.block_on(registry.register(&self::subject(), &other)).unwrap();

    let name = |text: &str| Arc::new(StringArray::from(vec![text]));
    let olds = RecordBatch::try_new(
        first().arrow(),
        vec![name("Ann"), Arc::new(Int32Array::from(vec![7]))],
    )
    .unwrap();
    let (news, _, faults) = weir_codec::cast(&olds, &second());
    assert!(faults.is_empty());
    let strangers = RecordBatch::try_new(other.arrow(), vec![name("x")]).unwrap();
    let olds = Encoder::new(&first(), old).unwrap().encode(&olds).unwrap();
    let news = Encoder::new(&second(), new).unwrap().encode(&news).unwrap();
    let strangers = Encoder::new(&other, stranger).unwrap().encode(&strangers).unwrap();
    let unknown = [&[0u8][..], &2_000_000_000u32.to_be_bytes(), &[2, b'x']].concat();

    let mut decoder = Decoder::new(second(), registry, runtime.handle().clone()).unwrap();
    let values = [
        Some(olds.get(0)),
        Some(strangers.get(0)),
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
