//! Schema resolution: the source of each column of the reader's schema, given a writer's schema.
//! Stricter than Avro's: a value that the reader's type cannot hold exactly is a fault of its
//! record, and types that cannot be converted make the writer's schema incompatible as a whole.

use crate::avro_type::{AvroType, Field};
use crate::convert::{self, Convert};
use arrow::array::{ArrayRef, new_null_array};

/// Where the values of a reader's column come from.
pub(crate) enum ColumnSource {
    /// The writer's field with this index, converted.
    WriterField(usize, Convert),
    /// The same value in each row, such as the reader's default: an array of one.
    Constant(ArrayRef),
}

/// A source for each field of the reader, or all reasons why there is none.
pub(crate) fn resolve(
    writer: &[Field],
    reader: &[Field],
) -> Result<Vec<ColumnSource>, Vec<String>> {
    let mut sources = Vec::with_capacity(reader.len());
    let mut problems = Vec::new();
    for field in reader {
        match column_source(writer, field) {
            Ok(source) => sources.push(source),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

/// The writer's field has the reader's name or, if there is none, one of the reader's aliases.
fn column_source(writer: &[Field], reader: &Field) -> Result<ColumnSource, String> {
    let by_name = writer.iter().position(|w| w.name == reader.name);
    let index = by_name.or_else(|| writer.iter().position(|w| reader.aliases.contains(&w.name)));
    match index {
        Some(index) => from_writer(index, &writer[index], reader),
        None if reader.default.is_some() => default_of(reader),
        None => Err(format!("`{}` is missing and has no default", reader.name)),
    }
}

fn from_writer(index: usize, writer: &Field, reader: &Field) -> Result<ColumnSource, String> {
    let (from, _) = writer.avro_type.optional();
    let (to, nullable) = reader.avro_type.optional();
    if writer.avro_type == AvroType::Null {
        return match to.arrow().filter(|_| nullable) {
            Some(data_type) => Ok(ColumnSource::Constant(new_null_array(&data_type, 1))),
            None => Err(format!("`{}` is always null; it must be {to}", reader.name)),
        };
    }
    match convert::conversion(from, to) {
        Some(convert) => Ok(ColumnSource::WriterField(index, convert)),
        None => Err(format!("`{}` is {from}; it cannot be read as {to}", reader.name)),
    }
}

fn default_of(reader: &Field) -> Result<ColumnSource, String> {
    let (avro_type, _) = reader.avro_type.optional();
    reader
        .default
        .as_ref()
        .zip(avro_type.arrow())
        .and_then(|(value, data_type)| convert::default_value(value, avro_type, &data_type))
        .map(ColumnSource::Constant)
        .ok_or_else(|| format!("the default of `{}` is not a value of its type", reader.name))
}
