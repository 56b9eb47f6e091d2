//! The fields of Avro files, which hold their schema.

use super::{Guess, GuessedField};
use crate::source::Error;
use crate::source::file::{short, unavailable};
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

pub(super) fn guess(path: &Path) -> Result<Guess, Error> {
    let name = short(path);
    let mut file = BufReader::new(File::open(path).map_err(|e| unavailable(path, &e))?);
    let text = weir_codec::container_schema(&mut file)
        .map_err(|error| Error::Unfit(format!("{name} {error}")))?;
    let schema: Value = serde_json::from_str(&text)
        .map_err(|error| Error::Unfit(format!("{name}: its schema is no JSON: {error}")))?;
    let namespace = schema["namespace"].as_str().unwrap_or_default();
    let fields = schema["fields"].as_array().into_iter().flatten().map(|field| {
        let column = field["name"].as_str().unwrap_or_default().to_owned();
        let (avro_type, nullable) = without_null(&without_namespace(&field["type"], namespace));
        GuessedField { name: column.clone(), column, avro_type, nullable, why: String::new() }
    });
    let fields = fields.collect();
    Ok(Guess { format: "avro", settings: Vec::new(), fields, left_out: Vec::new(), sampled: None })
}

/// The type with the names of the record's namespace as the fields of the new schema, which has none,
/// know them.
fn without_namespace(avro_type: &Value, namespace: &str) -> Value {
    let inner = |value: &Value| without_namespace(value, namespace);
    match avro_type {
        Value::String(name) => {
            let short = name.strip_prefix(namespace).and_then(|name| name.strip_prefix('.'));
            short.filter(|name| !name.contains('.')).unwrap_or(name).into()
        }
        Value::Array(branches) => branches.iter().map(inner).collect(),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| match key.as_str() {
                "namespace" if value == namespace => None,
                "type" | "items" | "values" | "name" => Some((key.clone(), inner(value))),
                "fields" => {
                    let fields = value.as_array().into_iter().flatten();
                    Some((key.clone(), fields.map(inner).collect()))
                }
                _ => Some((key.clone(), value.clone())),
            };
            members.iter().filter_map(member).collect()
        }
        other => other.clone(),
    }
}

fn without_null(avro_type: &Value) -> (Value, bool) {
    let Some(branches) = avro_type.as_array() else { return (avro_type.clone(), false) };
    let others: Vec<&Value> = branches.iter().filter(|branch| **branch != "null").collect();
    let nullable = others.len() < branches.len();
    match others[..] {
        [one] => (one.clone(), nullable),
        _ => (others.into_iter().cloned().collect(), nullable),
    }
}
