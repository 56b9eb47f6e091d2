//! A nested order of about 1 KB, with ten lines and a few attributes, beside the flat call records:
//! bytes per second through the enricher and the sink.

use crate::pipeline::{self, Bench};
use crate::watch::Watched;
use crate::{LIMIT, READ, backlog};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use weir_codec::{Encoder, JsonDecoder, JsonRules, Schema};
use weir_testkit::topics::Record;
use weir_testkit::{Topics, http};

const SCHEMA: &str = r#"{"type": "record", "name": "Order", "fields": [
  {"name": "id", "type": "long"},
  {"name": "placed", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "customer", "type": {"type": "record", "name": "Customer", "fields": [
    {"name": "name", "type": "string"}, {"name": "email", "type": ["null", "string"], "default": null},
    {"name": "address", "type": {"type": "record", "name": "Address", "fields": [
      {"name": "street", "type": "string"}, {"name": "city", "type": "string"},
      {"name": "country", "type": {"type": "enum", "name": "Country", "symbols": ["DE", "FR", "GB"]}}]}}]}},
  {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
    {"name": "sku", "type": "string"}, {"name": "title", "type": "string"}, {"name": "qty", "type": "int"},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}}]}}},
  {"name": "attributes", "type": {"type": "map", "values": "string"}}]}"#;

/// The table has the customer, the lines and the attributes as jsonb.
const SQL: &str = "SELECT id, placed, customer, lines, attributes FROM input \
                   WHERE cardinality(lines) > 0 AND customer.address.city <> ''";

/// Different orders; the topic has them over and over.
const DIFFERENT: u64 = 1_000;
const AT_ONCE: u64 = 10_000;

/// Prints the rates of both, the services one after the other.
pub(crate) fn compare(folder: &Path, records: u64) -> Result<()> {
    let flat = pipeline::write(folder, "flat", records, 0, 0.0)?;
    backlog(&flat.file, records)?;
    let flat = drain(&flat, records)?;
    let num_orders = records / 10;
    let orders = write(folder)?;
    feed(&orders, num_orders)?;
    let nested = drain(&orders, num_orders)?;
    println!("nested orders of ten lines     bytes each   MB/s   of the flat path per byte");
    for ((service, flat), (_, nested)) in flat.iter().zip(&nested) {
        println!(
            "  {service:28} {:>10.0} {:>6.1}   {:.2} ({:.0} bytes each, {:.1} MB/s)",
            nested.bytes,
            nested.megabytes(),
            nested.megabytes() / flat.megabytes(),
            flat.bytes,
            flat.megabytes()
        );
    }
    println!();
    Ok(())
}

struct Rate {
    /// Records per second.
    rate: f64,
    /// Bytes of the value of a record that it read.
    bytes: f64,
}

impl Rate {
    fn megabytes(&self) -> f64 {
        self.rate * self.bytes / 1e6
    }
}

/// The enricher drains the input topic, then the sink the output topic.
fn drain(bench: &Bench, records: u64) -> Result<Vec<(&'static str, Rate)>> {
    let mut rates = Vec::new();
    for service in ["weir-enricher", "weir-sink"] {
        let mut watched = Watched::start(service, &bench.file)?;
        let measured = watched.until(READ, records, LIMIT)?;
        let bytes = watched.value("weir_bytes_read_total")? / records as f64;
        watched.stop()?;
        rates.push((service, Rate { rate: measured.rate(), bytes }));
    }
    Ok(rates)
}

fn write(folder: &Path) -> Result<Bench> {
    let name = format!("bench-nested-{}", std::process::id());
    let table = format!("public.{}", name.replace('-', "_"));
    let (input, schema) = (format!("{name}-in"), folder.join("order.avsc"));
    std::fs::write(&schema, SCHEMA)?;
    let file = folder.join(format!("{name}.toml"));
    std::fs::write(
        &file,
        format!(
            "name = \"{name}\"\n\
             [input]\ntopic = \"{input}\"\nschema = \"order.avsc\"\npartitions = 3\n\
             [transform]\nsql = \"{SQL}\"\n\
             [output]\ntopic = \"{name}-out\"\nschema = \"order.avsc\"\n\
             [[sink]]\nname = \"warehouse\"\ntype = \"postgres\"\ntable = \"{table}\"\n"
        ),
    )?;
    Ok(Bench { file, name, input, table })
}

fn order(id: u64) -> Value {
    let line = |n: u64| {
        json!({"sku": format!("SKU-{:08}", id * 31 + n), "title": "Adjustable desk lamp, warm white",
               "qty": (id + n) % 5 + 1, "price": format!("{}.{:02}", id % 900 + n, n * 7)})
    };
    let placed = format!("2026-01-{:02}T{:02}:{:02}:00Z", id % 28 + 1, id % 24, id % 60);
    json!({"id": id, "placed": placed,
           "customer": {"name": "Zoë Example", "email": "zoe@example.com", "address":
               {"street": "Friedrich-Ebert-Straße 12", "city": "Kassel", "country": "DE"}},
           "lines": (0..10).map(line).collect::<Value>(),
           "attributes": {"channel": "web", "campaign": "autumn", "coupon": "none"}})
}

/// Writes orders to the input topic.
fn feed(bench: &Bench, records: u64) -> Result<()> {
    let registry = std::env::var("WEIR_REGISTRY").context("no stack in the environment")?;
    let subject = format!("{registry}/subjects/{}-value/versions", bench.input);
    let answer = http::send("POST", &subject, &json!({ "schema": SCHEMA }))?;
    let id = answer["id"].as_u64().with_context(|| format!("no id: {answer}"))?;
    let schema = Schema::parse(SCHEMA)?;
    let rules = JsonRules { numbers_as_text: true, refuse_unknown: true, similar_names: false };
    let texts: Vec<String> = (0..DIFFERENT).map(|id| order(id).to_string()).collect();
    let values: Vec<Option<&[u8]>> = texts.iter().map(|text| Some(text.as_bytes())).collect();
    let decoded = JsonDecoder::new(schema.clone(), rules)?.decode(&values)?;
    anyhow::ensure!(decoded.faults.is_empty(), "{:?}", decoded.faults.first());
    let encoded = Encoder::new(&schema, id as u32)?.encode(&decoded.batch)?;
    let topics = Topics::new(&crate::brokers()?);
    topics.create(&bench.input, 3)?;
    let record = |n: u64| Record {
        partition: (n % 3) as i32,
        key: Some(n.to_string().into()),
        value: Some(encoded.get((n % DIFFERENT) as usize).to_vec()),
        ..Record::default()
    };
    for first in (0..records).step_by(AT_ONCE as usize) {
        let part: Vec<Record> = (first..records.min(first + AT_ONCE)).map(record).collect();
        topics.write(&bench.input, &part)?;
    }
    Ok(())
}
