//! A parsed Avro record schema and the Arrow schema that belongs to it.

mod references;

use crate::avro_type::{AvroType, Field};
use crate::error::Error;
use crate::problem::Problem;
use crate::read::RecordReader;
use crate::writer_schema::WriterSchema;
use apache_avro::Schema as Avro;
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use weir_model::avro::with_uuids;

pub use references::Reference;
pub(crate) use references::with_referenced_types;

/// Longest schema text, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 1 << 20;

/// A record schema. Cheap to clone.
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
/// | duration | Interval(MonthDayNano) |
/// | record | Struct |
/// | array, map | List, Map (entries of key and value) |
/// | union of null and one of these, in either order | the same, nullable |
/// | union of int and long, of float and double | Int64, Float64 |
/// | any other union | Struct of nullable members `member0`, `member1`, … |
///
/// A union's struct has one member for each type but null; exactly one of them has a value.
/// Everything inside another value is nullable in Arrow's sense; whether Avro allows null is
/// checked when a record is written. Recursive types, big-decimal, decimals of more than 38 digits
/// and fields that are always null are refused with the path of the field.
#[derive(Clone)]
pub struct Schema(Arc<Inner>);

struct Inner {
    text: String,
    references: Vec<Reference>,
    /// With referenced types included.
    written: WriterSchema,
    arrow: SchemaRef,
}

impl Schema {
    /// Reads and parses a schema file. A named type that the file uses but does not define is read
    /// from the file `<full name>.avsc` in the same folder; it becomes a [`Reference`] under the
    /// subject `<full name>`.
    ///
    /// # Errors
    /// Every error names the file.
    pub fn load(path: &Path) -> Result<Schema, Error> {
        let text = references::read(path)?;
        let references = references::load(path, &text)?;
        Schema::with_references(text, references).map_err(|error| error.in_file(path))
    }

    /// Parses a schema text (JSON) that defines all types that it uses.
    pub fn parse(text: &str) -> Result<Schema, Error> {
        Schema::with_references(text.into(), Vec::new())
    }

    /// Parses a schema text that uses types of `references`.
    pub fn with_references(text: String, references: Vec<Reference>) -> Result<Schema, Error> {
        let written = match references.is_empty() {
            true => WriterSchema::parse(&text)?,
            false => WriterSchema::parse(&references::inline(&text, &references)?)?,
        };
        let columns = written.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let arrow = Arc::new(ArrowSchema::new(columns));
        Ok(Schema(Arc::new(Inner { text, references, written, arrow })))
    }

    /// The full name of the record.
    pub fn name(&self) -> &str {
        self.0.written.name()
    }

    /// The text as it was given, without referenced types.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The text with referenced types included: a schema that can be parsed alone.
    pub fn complete_text(&self) -> &str {
        self.0.written.text()
    }

    /// The schemas of the types that the text uses but does not define.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// The Arrow schema of the batches that belong to it, without metadata.
    pub fn arrow(&self) -> SchemaRef {
        self.0.arrow.clone()
    }

    /// [`Schema::arrow`] for the table that a target makes of it: it says also which texts are UUIDs
    /// ([`weir_model::avro::is_uuid`]).
    pub fn table(&self) -> SchemaRef {
        let columns = self.fields().iter().zip(self.0.arrow.fields()).map(|(field, column)| {
            let column = ArrowField::clone(column);
            match field.avro_type.optional().0 {
                AvroType::Uuid { .. } => with_uuids(column),
                _ => column,
            }
        });
        Arc::new(ArrowSchema::new(columns.collect::<Vec<_>>()))
    }

    /// The schema of the records that are written with it.
    pub fn written(&self) -> &WriterSchema {
        &self.0.written
    }

    pub(crate) fn fields(&self) -> &[Field] {
        self.0.written.fields()
    }

    /// Why [`crate::Decoder`] refuses all records written with `writer`; empty when it does not.
    pub fn can_decode(&self, writer: &WriterSchema) -> Vec<Problem> {
        RecordReader::new(writer.fields(), self.fields(), "").err().unwrap_or_default()
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&String> = self.0.arrow.fields().iter().map(|c| c.name()).collect();
        write!(f, "Schema({columns:?})")
    }
}

pub(crate) fn parse_avro(text: &str) -> Result<Avro, Error> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Error::TooLarge(format!(
            "the schema is {} bytes long; the limit is {MAX_TEXT_BYTES}",
            text.len()
        )));
    }
    Avro::parse_str(text).map_err(|error| Error::schema(format!("not an Avro schema: {error}")))
}

fn column(field: &Field) -> Result<ArrowField, Error> {
    let data_type = field.avro_type.arrow().ok_or_else(|| {
        let (path, what) = without_column(&field.avro_type, field.name.clone());
        Error::schema(format!("field `{path}`: {what} has no column type"))
    })?;
    Ok(ArrowField::new(&field.name, data_type, field.avro_type.is_nullable()))
}

/// The first type inside `avro_type` that has no column type, with its path.
fn without_column(avro_type: &AvroType, path: String) -> (String, String) {
    let parts: Vec<(String, &AvroType)> = match avro_type {
        AvroType::Record(record) => record
            .fields
            .iter()
            .map(|field| (format!("{path}.{}", field.name), &field.avro_type))
            .collect(),
        AvroType::Array(items) => vec![(format!("{path}[]"), items)],
        AvroType::Map(values) => vec![(format!("{path}{{}}"), values)],
        AvroType::Union(branches) => branches
            .iter()
            .filter(|branch| **branch != AvroType::Null)
            .map(|branch| (path.clone(), branch))
            .collect(),
        _ => Vec::new(),
    };
    match parts.into_iter().find(|(_, part)| part.arrow().is_none()) {
        Some((path, part)) => without_column(part, path),
        None => (path, avro_type.to_string()),
    }
}

#[cfg(test)]
mod tests;
