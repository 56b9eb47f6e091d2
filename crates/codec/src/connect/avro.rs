//! The types of Debezium and Connect in the schemas that their Avro converters register.

use super::{MICRO, MILLI, Meaning, NANO, meaning};
use crate::avro_type::{AvroType, Field};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashSet;

/// The attribute of a schema with the name of a type.
const NAME: &str = "connect.name";

/// The text of a writer's schema in which Debezium's types of times are logical types of Avro.
/// Debezium's times have no zone; they are instants where the field of `row` has one, as UTC.
pub(crate) fn annotated<'a>(text: &'a str, row: &[Field]) -> Cow<'a, str> {
    if !text.contains(NAME) {
        return text.into();
    }
    let Ok(mut schema) = serde_json::from_str::<Value>(text) else { return text.into() };
    let mut instants = HashSet::new();
    add_instants(row, &mut instants);
    annotate(&mut schema, "", &instants, 0);
    schema.to_string().into()
}

/// The names of the fields that are instants, or lists or maps of instants, at any depth.
fn add_instants<'a>(fields: &'a [Field], names: &mut HashSet<&'a str>) {
    for field in fields {
        let mut inside = &field.avro_type;
        loop {
            inside = match inside.optional().0 {
                AvroType::Array(items) => items,
                AvroType::Map(values) => values,
                AvroType::Record(record) => {
                    add_instants(&record.fields, names);
                    break;
                }
                AvroType::Timestamp { utc: true, .. } => {
                    names.insert(&field.name);
                    break;
                }
                _ => break,
            }
        }
    }
}

/// The fields of an annotated text whose numbers count time in a way that Avro has no type for.
pub(crate) fn without_type(text: &str) -> HashSet<String> {
    fn counts_time(schema: &Value, level: usize) -> bool {
        match schema {
            _ if level > MAX_LEVELS => false,
            Value::Array(branches) => branches.iter().any(|b| counts_time(b, level + 1)),
            Value::Object(members) => {
                let name = members.get(NAME).and_then(Value::as_str).unwrap_or_default();
                let is_number = matches!(members.get("type"), Some(t) if t == "int" || t == "long");
                is_number
                    && name.starts_with("io.debezium.time.")
                    && !members.contains_key("logicalType")
            }
            _ => false,
        }
    }
    if !text.contains(NAME) {
        return HashSet::new();
    }
    let schema: Value = serde_json::from_str(text).unwrap_or_default();
    let fields = schema["fields"].as_array().into_iter().flatten();
    let named = fields.filter(|field| counts_time(&field["type"], 0));
    named.filter_map(|field| field["name"].as_str().map(str::to_owned)).collect()
}

/// Levels of a schema text that are looked at; the schema itself may have fewer.
const MAX_LEVELS: usize = 128;

fn annotate(schema: &mut Value, field: &str, instants: &HashSet<&str>, level: usize) {
    if level > MAX_LEVELS {
        return;
    }
    match schema {
        Value::Array(branches) => {
            for branch in branches {
                annotate(branch, field, instants, level + 1);
            }
        }
        Value::Object(members) => {
            if let Some(logical) = logical_type(members, instants.contains(field)) {
                members.insert("logicalType".into(), logical.into());
            }
            let name = members.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let field = if name.is_empty() { field } else { &name };
            for (key, value) in members.iter_mut() {
                if matches!(key.as_str(), "fields" | "type" | "items" | "values") {
                    annotate(value, field, instants, level + 1);
                }
            }
        }
        _ => {}
    }
}

fn logical_type(members: &Map<String, Value>, instant: bool) -> Option<&'static str> {
    let name = members.get(NAME)?.as_str()?;
    let meaning = meaning(name).filter(|_| !members.contains_key("logicalType"))?;
    Some(match (meaning, members.get("type")?.as_str()?, instant) {
        (Meaning::Days, "int", _) => "date",
        (Meaning::Time(MILLI), "int", _) => "time-millis",
        (Meaning::Time(MICRO), "long", _) => "time-micros",
        (Meaning::Timestamp(MILLI), "long", true) => "timestamp-millis",
        (Meaning::Timestamp(MILLI), "long", false) => "local-timestamp-millis",
        (Meaning::Timestamp(MICRO), "long", true) => "timestamp-micros",
        (Meaning::Timestamp(MICRO), "long", false) => "local-timestamp-micros",
        (Meaning::Timestamp(NANO), "long", true) => "timestamp-nanos",
        (Meaning::Timestamp(NANO), "long", false) => "local-timestamp-nanos",
        _ => return None,
    })
}

/// The first field that counts time for the reader, and for the writer is a number that does not say
/// in which unit. Avro would take it for the reader's unit. Only `named` fields of the writer, if
/// these are given.
pub(crate) fn unitless(
    writer: &[Field],
    reader: &[Field],
    path: &str,
    named: Option<&HashSet<String>>,
) -> Option<String> {
    reader.iter().find_map(|to| {
        let is_named = |name: &String| *name == to.name || to.aliases.contains(name);
        let from = writer.iter().find(|from| is_named(&from.name))?;
        if named.is_some_and(|named| !named.contains(&from.name)) {
            return None;
        }
        let path = if path.is_empty() { to.name.clone() } else { format!("{path}.{}", to.name) };
        match (from.avro_type.optional().0, to.avro_type.optional().0) {
            (
                AvroType::Int | AvroType::Long,
                AvroType::Date
                | AvroType::TimeMillis
                | AvroType::TimeMicros
                | AvroType::Timestamp { .. },
            ) => Some(format!(
                "`{path}` is a number in a unit that Avro has no type for; it can be read as {}",
                from.avro_type.optional().0
            )),
            (AvroType::Record(from), AvroType::Record(to)) => {
                unitless(&from.fields, &to.fields, &path, None)
            }
            _ => None,
        }
    })
}
