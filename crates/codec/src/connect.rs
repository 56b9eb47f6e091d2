//! What the values that Kafka Connect's converters write mean: its own types and those of Debezium.
//!
//! `JsonConverter` writes times as numbers and bytes in base64. With `schemas.enable` an envelope of
//! `schema` and `payload` says what each value is, at every depth; without it, only that bytes are
//! in base64 is known.

mod avro;
mod scalars;

pub(crate) use avro::{annotated, unitless, without_type};

use crate::avro_type::{AvroType, Field};
use crate::cell::Cell;
use crate::datum::{InvalidDatum, violation};
use crate::json::{self, JsonObject, JsonRules};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;

/// Most schemas that are remembered.
const MAX_SCHEMAS: usize = 64;

/// What a value is, beyond its JSON.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Meaning {
    /// What its JSON says.
    #[default]
    Plain,
    /// It was written by Connect, which does not say what it is.
    Unsaid,
    /// Days since 1970.
    Days,
    /// Time since midnight, in this many nanoseconds.
    Time(i128),
    /// Time since 1970 on the database's clock, in this many nanoseconds.
    Timestamp(i128),
    /// The unscaled value of a decimal with this scale.
    Decimal(i8),
    Bytes,
    /// A float, which can be no number.
    Float,
    /// A list of such values.
    List(Box<Meaning>),
    /// A map to such values.
    Map(Box<Meaning>),
    /// A record, by the names of its members.
    Record(HashMap<String, Meaning>),
    /// Nothing that weir reads.
    Unread(&'static str),
}

const MILLI: i128 = 1_000_000;
const MICRO: i128 = 1_000;
const NANO: i128 = 1;

/// The meaning of the types of Debezium and Connect that have a name.
fn meaning(name: &str) -> Option<Meaning> {
    Some(match name {
        "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => Meaning::Days,
        "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time" => Meaning::Time(MILLI),
        "io.debezium.time.MicroTime" => Meaning::Time(MICRO),
        "io.debezium.time.NanoTime" => Meaning::Time(NANO),
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => {
            Meaning::Timestamp(MILLI)
        }
        "io.debezium.time.MicroTimestamp" => Meaning::Timestamp(MICRO),
        "io.debezium.time.NanoTimestamp" => Meaning::Timestamp(NANO),
        "io.debezium.data.VariableScaleDecimal" => Meaning::Unread(
            "is a decimal without a scale; decimal.handling.mode = \"string\" with numbers_as_text, \
             or a numeric(p,s) column, has one",
        ),
        name if name.starts_with("io.debezium.data.geometry.") => Meaning::Unread(
            "is a geometry, which no column holds; leave the field out of the input schema",
        ),
        _ => return None,
    })
}

impl Meaning {
    /// From a schema of Connect, as JSON.
    fn parse(schema: &Value) -> Meaning {
        let name = schema["name"].as_str().unwrap_or_default();
        if let Some(named) = meaning(name) {
            return named;
        }
        let inside = |part: &str| Box::new(Meaning::parse(&schema[part]));
        match schema["type"].as_str().unwrap_or_default() {
            "bytes" if name == "org.apache.kafka.connect.data.Decimal" => {
                let scale = schema["parameters"]["scale"].as_str().and_then(|s| s.parse().ok());
                scale.map_or(Meaning::Unread("has no scale in its schema"), Meaning::Decimal)
            }
            "bytes" => Meaning::Bytes,
            "float" | "double" => Meaning::Float,
            "array" => Meaning::List(inside("items")),
            "map" => Meaning::Map(inside("values")),
            "struct" => {
                let fields = schema["fields"].as_array().into_iter().flatten();
                let member = |field: &Value| {
                    Some((field["field"].as_str()?.to_owned(), Meaning::parse(field)))
                };
                Meaning::Record(fields.filter_map(member).collect())
            }
            _ => Meaning::Plain,
        }
    }

    /// That of a member of a record.
    pub(crate) fn member(&self, name: &str) -> &Meaning {
        const PLAIN: &Meaning = &Meaning::Plain;
        match self {
            Meaning::Record(members) => members.get(name).unwrap_or(PLAIN),
            Meaning::Unsaid => &Meaning::Unsaid,
            _ => PLAIN,
        }
    }

    /// The cells of an object, one per field.
    pub(crate) fn members<'a>(
        &self,
        object: &JsonObject<'a>,
        fields: &[Field],
        rules: JsonRules,
    ) -> Result<Vec<Cell<'a>>, InvalidDatum> {
        json::members(object, fields, rules, &|name, field, raw| {
            self.member(name).value(raw, &field.avro_type, rules)
        })
    }

    /// A value of a type.
    pub(crate) fn value<'a>(
        &self,
        raw: &'a RawValue,
        to: &AvroType,
        rules: JsonRules,
    ) -> Result<Cell<'a>, InvalidDatum> {
        if *self == Meaning::Plain || raw.get() == "null" {
            return json::value(raw, to, rules);
        }
        let (plain, _) = to.optional();
        let items = match self {
            Meaning::List(inside) | Meaning::Map(inside) => inside,
            other => other,
        };
        match (self, plain) {
            (Meaning::Record(_) | Meaning::Unsaid, AvroType::Record(record)) => {
                let object = json::object_of(raw.get().as_bytes())?;
                self.members(&object, &record.fields, rules).map(Cell::Record)
            }
            (Meaning::List(_) | Meaning::Unsaid, AvroType::Array(to)) => {
                json::list(raw, &|raw| items.value(raw, to, rules))
            }
            (Meaning::Map(_) | Meaning::Unsaid, AvroType::Map(to)) => {
                let value = |raw| items.value(raw, to, rules);
                match raw.get().starts_with('[') {
                    // Of other keys than texts.
                    true => json::pairs(raw, &value),
                    false => json::map(raw, &value),
                }
            }
            _ => match scalars::cell(self, raw.get(), plain, rules) {
                Some(cell) => cell.map_err(|what| json::does_not_fit(raw, &what)),
                None => json::value(raw, to, rules),
            },
        }
    }
}

/// The meanings by the text of the schema, which every record of a table repeats.
#[derive(Debug, Default)]
pub(crate) struct Meanings(HashMap<Box<str>, Arc<Meaning>>);

impl Meanings {
    pub(crate) fn of(&mut self, schema: &str) -> Arc<Meaning> {
        if let Some(meaning) = self.0.get(schema) {
            return meaning.clone();
        }
        if self.0.len() >= MAX_SCHEMAS {
            self.0.clear();
        }
        let parsed = serde_json::from_str(schema).unwrap_or_default();
        let meaning = Arc::new(Meaning::parse(&parsed));
        self.0.insert(schema.into(), meaning.clone());
        meaning
    }

    /// The content of an envelope and what it means; `None` if the object is none: it has other
    /// members, or `fields` expect these two of it.
    pub(crate) fn opened<'a>(
        &mut self,
        object: &JsonObject<'a>,
        fields: &[Field],
    ) -> Option<Result<(JsonObject<'a>, Arc<Meaning>), InvalidDatum>> {
        let (schema, payload) = (object.get("schema")?, object.get("payload")?);
        let expected = |name: &str| fields.iter().any(|field| field.name == name);
        let said = ["{", "null"].iter().any(|begin| schema.get().starts_with(begin));
        if object.len() != 2 || !said || expected("schema") || expected("payload") {
            return None;
        }
        if payload.get() == "null" {
            return Some(Err(violation("null_payload", "the envelope has no payload")));
        }
        let content = json::object_of(payload.get().as_bytes());
        let meaning = match schema.get() {
            "null" => Arc::new(Meaning::Unsaid),
            schema => self.of(schema),
        };
        Some(content.map(|content| (content, meaning)))
    }
}

/// The cells of an object in an envelope, or without one: what it is then is `outside`.
pub(crate) fn record<'a>(
    raw: &'a [u8],
    fields: &[Field],
    rules: JsonRules,
    (meanings, outside): (&mut Meanings, &Meaning),
) -> Result<Vec<Cell<'a>>, InvalidDatum> {
    let object = json::object_of(raw)?;
    match meanings.opened(&object, fields) {
        Some(opened) => {
            let (content, meaning) = opened?;
            meaning.members(&content, fields, rules)
        }
        None => outside.members(&object, fields, rules),
    }
}

#[cfg(test)]
mod tests;
