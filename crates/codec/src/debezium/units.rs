//! What Debezium's numbers and bytes mean: its semantic types, and those of Kafka Connect.

use crate::avro_type::{AvroType, Field};
use crate::cell::Cell;
use crate::datum;
use arrow::datatypes::TimeUnit;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Most schemas of events that are remembered.
const MAX_SCHEMAS: usize = 64;

/// The meaning of a field's values.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    /// Days since 1970.
    Days,
    /// Time since midnight, in this many nanoseconds.
    Time(i128),
    /// Time since 1970 on the database's clock, in this many nanoseconds.
    Timestamp(i128),
    /// The unscaled value of a decimal with this scale.
    Decimal(i8),
    Bytes,
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

/// The meanings of a row's fields, by name.
#[derive(Debug, Default)]
pub(crate) struct Units(HashMap<String, Meaning>);

impl Units {
    /// From the schema in Connect's envelope.
    fn parse(schema: &str) -> Units {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        let list = |value: &Value| value["fields"].as_array().cloned().unwrap_or_default();
        let rows = list(&schema).into_iter();
        let rows = rows.filter(|f| matches!(f["field"].as_str(), Some("before" | "after")));
        let meaning_of = |field: Value| {
            let name = field["name"].as_str().unwrap_or_default();
            let scale = || field["parameters"]["scale"].as_str()?.parse().ok();
            let meaning = match (name, field["type"].as_str()) {
                ("org.apache.kafka.connect.data.Decimal", _) => Meaning::Decimal(scale()?),
                ("", Some("bytes")) => Meaning::Bytes,
                (name, _) => meaning(name)?,
            };
            Some((field["field"].as_str()?.to_owned(), meaning))
        };
        Units(rows.flat_map(|row| list(&row)).filter_map(meaning_of).collect())
    }

    /// The value of a field of the row, if its meaning is more than that of its JSON.
    pub(crate) fn cell<'a>(
        &self,
        field: &str,
        json: &str,
        to: &AvroType,
    ) -> Option<Result<Cell<'a>, String>> {
        let meaning = *self.0.get(field)?;
        let number = || json.parse::<i128>().map_err(|_| "is not a whole number".to_owned());
        let bytes = || {
            let text: String = serde_json::from_str(json).map_err(|_| "is not in quotes")?;
            BASE64_STANDARD.decode(text).map_err(|_| "is not base64".to_owned())
        };
        Some(match (meaning, to) {
            _ if json == "null" => return None,
            (Meaning::Unread(why), _) => Err(why.into()),
            (Meaning::Days, AvroType::Date) => number().and_then(|days| integer(days, true)),
            (Meaning::Time(from), AvroType::TimeMillis) => {
                number().and_then(|n| rescaled(n, from, MILLI, true))
            }
            (Meaning::Time(from), AvroType::TimeMicros) => {
                number().and_then(|n| rescaled(n, from, MICRO, false))
            }
            (Meaning::Timestamp(from), AvroType::Timestamp { unit, .. }) => {
                number().and_then(|n| rescaled(n, from, nanos(*unit), false))
            }
            (Meaning::Decimal(scale), AvroType::Decimal { precision, scale: to, .. }) => {
                bytes().and_then(|bytes| decimal(&bytes, scale, *precision, *to))
            }
            (Meaning::Bytes, AvroType::Bytes) => bytes().map(|bytes| Cell::Bytes(bytes.into())),
            (Meaning::Bytes, AvroType::Fixed(size)) => {
                bytes().and_then(|bytes| match bytes.len() == *size {
                    true => Ok(Cell::Bytes(bytes.into())),
                    false => Err(format!("has {} bytes, not {size}", bytes.len())),
                })
            }
            _ => return None,
        })
    }
}

fn nanos(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => MILLI,
        TimeUnit::Microsecond => MICRO,
        TimeUnit::Nanosecond => NANO,
    }
}

fn rescaled<'a>(number: i128, from: i128, to: i128, narrow: bool) -> Result<Cell<'a>, String> {
    match number.checked_mul(from) {
        Some(nanos) if nanos % to == 0 => integer(nanos / to, narrow),
        Some(_) => Err("has more decimals of a second than its type holds".into()),
        None => Err("is out of range".into()),
    }
}

fn integer<'a>(number: i128, narrow: bool) -> Result<Cell<'a>, String> {
    let fits = if narrow { i32::try_from(number).is_ok() } else { i64::try_from(number).is_ok() };
    match i64::try_from(number) {
        Ok(number) if fits => Ok(Cell::Integer(number)),
        _ => Err("is out of range".into()),
    }
}

fn decimal<'a>(bytes: &[u8], scale: i8, precision: u8, to: i8) -> Result<Cell<'a>, String> {
    let factor = 10i128.checked_pow(u32::from(scale.abs_diff(to)));
    let value = datum::unscaled(bytes).zip(factor).and_then(|(value, factor)| match scale <= to {
        true => value.checked_mul(factor),
        false => (value % factor == 0).then_some(value / factor),
    });
    let limit = 10i128.pow(u32::from(precision));
    let fitting = value.filter(|value| -limit < *value && *value < limit);
    fitting.map(Cell::Decimal).ok_or_else(|| format!("does not fit decimal({precision}, {to})"))
}

/// The meanings by the text of the schema, which every event of a table repeats.
#[derive(Debug, Default)]
pub(crate) struct UnitsCache(HashMap<Box<str>, Arc<Units>>);

impl UnitsCache {
    pub(crate) fn of(&mut self, schema: &str) -> Arc<Units> {
        if let Some(units) = self.0.get(schema) {
            return units.clone();
        }
        if self.0.len() >= MAX_SCHEMAS {
            self.0.clear();
        }
        let units = Arc::new(Units::parse(schema));
        self.0.insert(schema.into(), units.clone());
        units
    }
}

/// The text of a writer's schema in which Debezium's types of times are logical types of Avro.
/// Debezium's times have no zone; they are instants where the reader's `row` has one, as UTC.
pub(crate) fn annotated(text: &str, row: &[Field]) -> String {
    let Ok(mut schema) = serde_json::from_str::<Value>(text) else { return text.into() };
    let instants: HashSet<&str> = row
        .iter()
        .filter(|f| matches!(f.avro_type.optional().0, AvroType::Timestamp { utc: true, .. }))
        .map(|f| f.name.as_str())
        .collect();
    annotate(&mut schema, "", &instants, 0);
    schema.to_string()
}

/// Levels of a schema text that are looked at; the schema itself may have fewer.
const MAX_LEVELS: usize = 128;

fn annotate(schema: &mut Value, field: &str, instants: &HashSet<&str>, level: usize) {
    if level > MAX_LEVELS {
        return;
    }
    match schema {
        Value::Array(branches) => {
            branches.iter_mut().for_each(|b| annotate(b, field, instants, level + 1));
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
    let name = members.get("connect.name")?.as_str()?;
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
/// in which unit. Avro would take it for the reader's unit.
pub(crate) fn unitless(writer: &[Field], reader: &[Field], path: &str) -> Option<String> {
    reader.iter().find_map(|to| {
        let from = writer.iter().find(|from| from.name == to.name)?;
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
                unitless(&from.fields, &to.fields, &path)
            }
            _ => None,
        }
    })
}
