//! Pipelines for tests of the producer alone: what follows it is named and never used.

use std::path::Path;
use std::sync::Arc;
use weir_model::pipeline::Pipeline;
use weir_testkit::{Stack, random_name};

/// A pipeline under a name of its own, with these keys of `[source]` and `[input]`.
pub(crate) fn pipeline(stack: &Stack, source: &str, input: &str) -> Arc<Pipeline> {
    at(stack.kafka(), stack.registry(), source, input)
}

/// The same with a Kafka and a registry that a test may never ask.
pub(crate) fn at(kafka: &str, registry: &str, source: &str, input: &str) -> Arc<Pipeline> {
    let name = random_name("produce");
    let text = format!(
        r#"
        name = "{name}"
        [kafka]
        brokers = "{kafka}"
        session_timeout = "6s"
        [registry]
        url = "{registry}"
        [source]
        {source}
        [input]
        topic = "{name}"
        {input}
        [transform]
        sql = "SELECT * FROM input"
        [output]
        topic = "{name}-out"
        schema = "call.avsc"
        [[sink]]
        name = "none"
        type = "postgres"
        url = "postgres://nobody@localhost/none"
        table = "none"
        "#
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/telecom/test.toml");
    Arc::new(
        Pipeline::parse(&text, &file, &|_| None).unwrap_or_else(|mistakes| panic!("{mistakes}")),
    )
}
