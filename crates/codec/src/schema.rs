//! A parsed Avro record schema and the Arrow schema that goes with it.

use crate::error::Error;
use crate::resolve::resolve;
use crate::shape::{Field, Shape};
use apache_avro::Schema as Avro;
use apache_avro::schema_compatibility::SchemaCompatibility;
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Longest schema text, in bytes.
pub(crate) const MAX_TEXT: usize = 1 << 20;

/// A record schema whose fields are plain values, each optional or not. Cheap to clone.
///
/// | Avro | Arrow |
/// |---|---|
/// | boolean, int, long, float, double | Boolean, Int32, Int64, Float32, Float64 |
/// | string, uuid, enum | Utf8 (a uuid is 36 characters; an enum is its symbol) |
/// | bytes, fixed | Binary |
/// | decimal(p, s), on bytes or fixed, p ≤ 38 | Decimal128(p, s) |
/// | date, time-millis, time-micros | Date32, Time32(ms), Time64(µs) |
/// | timestamp-millis, -micros, -nanos | Timestamp(unit, "+00:00") |
/// | local-timestamp-millis, -micros, -nanos | Timestamp(unit) |
/// | union of null and one of these, in either order | the same, nullable |
///
/// Records in records, arrays, maps, other unions, duration and big-decimal are refused with the
/// path of the field: neither the SQL nor the targets could carry them to the end.
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

struct Inner {
    text: String,
    avro: Avro,
    fields: Vec<Field>,
    arrow: SchemaRef,
}

impl Schema {
    /// Reads and parses a schema file; errors name it.
    pub fn load(path: &Path) -> Result<Schema, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.into(), source })?;
        Schema::parse(&text).map_err(|error| match error {
            Error::Schema { what, .. } => Error::Schema { file: Some(path.into()), what },
            other => other,
        })
    }

    /// Parses a schema text (JSON).
    pub fn parse(text: &str) -> Result<Schema, Error> {
        Schema::new(text.into(), parse_avro(text)?)
    }

    pub(crate) fn new(text: String, avro: Avro) -> Result<Schema, Error> {
        let fields = record_fields(&avro)?;
        let columns = fields.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let arrow = Arc::new(ArrowSchema::new(columns));
        Ok(Schema(Arc::new(Inner { text, avro, fields, arrow })))
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The Arrow schema of the batches that belong to it, without metadata.
    pub fn arrow(&self) -> SchemaRef {
        self.0.arrow.clone()
    }

    /// The schema as apache-avro knows it.
    pub fn avro(&self) -> &Avro {
        &self.0.avro
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.0.fields
    }

    /// Why records written with `writer` could not all be read with this schema; empty when they
    /// can. Judged as [`crate::Decoder`] does, and then by Avro's own rules, which a registry goes
    /// by and which are stricter in places (names of records and enums).
    pub fn can_read(&self, writer: &Schema) -> Vec<String> {
        if let Err(problems) = resolve(writer.fields(), self.fields()) {
            return problems;
        }
        match SchemaCompatibility::can_read(&writer.0.avro, &self.0.avro) {
            Ok(_) => Vec::new(),
            Err(error) => vec![error.to_string()],
        }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Schema({:?})",
            self.0.arrow.fields().iter().map(|c| c.name()).collect::<Vec<_>>()
        )
    }
}

pub(crate) fn parse_avro(text: &str) -> Result<Avro, Error> {
    if text.len() > MAX_TEXT {
        return Err(Error::schema(format!(
            "the schema is {} bytes long; at most {MAX_TEXT} are read",
            text.len()
        )));
    }
    Avro::parse_str(text).map_err(|error| Error::schema(format!("not an Avro schema: {error}")))
}

pub(crate) fn record_fields(avro: &Avro) -> Result<Vec<Field>, Error> {
    match avro {
        Avro::Record(record) => Shape::fields(record),
        other => Err(Error::schema(format!("the schema must be a record; this one is {other}"))),
    }
}

fn column(field: &Field) -> Result<ArrowField, Error> {
    let (shape, nullable) = field.shape.optional();
    let kind = shape.arrow().ok_or_else(|| {
        Error::schema(format!("field `{}`: {shape} has no column type; use a plain type or a union of null and a plain type", field.name))
    })?;
    Ok(ArrowField::new(&field.name, kind, nullable))
}

#[cfg(test)]
mod tests;
