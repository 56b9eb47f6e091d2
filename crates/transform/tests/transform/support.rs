//! Small pipelines and batches for tests and the benchmark.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::path::Path;
use std::sync::Arc;
use weir_model::pipeline::{Lookup, Pipeline, Reject};

/// A pipeline of which only the SQL matters.
pub(crate) fn pipeline(sql: &str) -> Pipeline {
    let text = r#"
        name = "t"
        [kafka]
        brokers = "localhost:9092"
        [registry]
        url = "http://localhost:8081"
        [input]
        topic = "in"
        schema = "Cargo.toml"
        partitions = 1
        [transform]
        sql = "SELECT 1"
        [output]
        topic = "out"
        schema = "Cargo.toml"
        [[sink]]
        name = "warehouse"
        type = "postgres"
        url = "postgres://localhost/t"
        table = "t.t"
        mode = "append"
    "#;
    // Any file will do for the schemas: the plan is given Arrow schemas.
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("t.toml");
    let mut pipeline = Pipeline::parse(text, &file, &|_| None).unwrap_or_else(|m| panic!("{m}"));
    pipeline.output.schema = "out.avsc".into();
    pipeline.transform.sql = sql.into();
    pipeline
}

/// Adds rules.
pub(crate) fn rejecting(mut pipeline: Pipeline, rules: &[(&str, &str)]) -> Pipeline {
    pipeline.rejects = rules
        .iter()
        .map(|(name, when)| Reject { name: (*name).into(), when: (*when).into() })
        .collect();
    pipeline
}

/// Adds a lookup; the file is written into `folder`.
pub(crate) fn joining(
    mut pipeline: Pipeline,
    folder: &Path,
    name: &str,
    key: &[&str],
    csv: &str,
) -> Pipeline {
    let file = folder.join(format!("{name}.csv"));
    std::fs::write(&file, csv).expect("the folder can be written");
    pipeline.lookups.push(Lookup {
        name: name.into(),
        file,
        key: key.iter().map(|k| (*k).into()).collect(),
    });
    pipeline
}

/// A schema of `(name, type, nullable)`.
pub(crate) fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    Arc::new(Schema::new(
        fields
            .iter()
            .map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable))
            .collect::<Vec<_>>(),
    ))
}

/// A batch of these columns.
pub(crate) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema.clone(), columns).expect("columns fit the schema")
}

/// Avro's timestamp-micros.
pub(crate) fn micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}
