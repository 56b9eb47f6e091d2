//! Writer's schema → reader's schema, column by column. Compared strictly and converted here: a
//! value that the reader's type cannot hold exactly is a fault of its record, and types that cannot
//! be converted make the writer's schema incompatible as a whole.

use crate::convert::{self, Convert};
use crate::shape::{Field, Shape};
use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;

/// Where a column of the reader comes from.
pub(crate) enum Source {
    /// The writer's field of this number.
    Field(usize, Convert),
    /// The same value in each row: an array of one.
    Constant(ArrayRef),
}

/// A source for each field of the reader, or everything that stands in the way.
pub(crate) fn resolve(writer: &[Field], reader: &[Field]) -> Result<Vec<Source>, Vec<String>> {
    let mut problems = Vec::new();
    let sources = reader
        .iter()
        .filter_map(|field| source(writer, field).map_err(|problem| problems.push(problem)).ok())
        .collect();
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

/// By name first; then the writer's name may be one that the reader remembers as an alias.
fn source(writer: &[Field], reader: &Field) -> Result<Source, String> {
    let by_name = writer.iter().position(|w| w.name == reader.name);
    let found = by_name.or_else(|| writer.iter().position(|w| reader.aliases.contains(&w.name)));
    match found {
        Some(index) => matched(index, &writer[index], reader),
        None => match &reader.default {
            Some(_) => constant(reader),
            None => Err(format!("`{}` is missing and has no default", reader.name)),
        },
    }
}

fn matched(index: usize, writer: &Field, reader: &Field) -> Result<Source, String> {
    let (from, _) = writer.shape.optional();
    let (to, nullable) = reader.shape.optional();
    if writer.shape == Shape::Null {
        let kind = to.arrow().filter(|_| nullable);
        let kind =
            kind.ok_or_else(|| format!("`{}` is always null; a {to} is needed", reader.name))?;
        return Ok(Source::Constant(new_null_array(&kind, 1)));
    }
    match convert::conversion(from, to) {
        Some(convert) => Ok(Source::Field(index, convert)),
        None => Err(format!("`{}` is {from}; it cannot be read as {to}", reader.name)),
    }
}

fn constant(reader: &Field) -> Result<Source, String> {
    let bad = || format!("the default of `{}` is not a value of its type", reader.name);
    let value = reader.default.as_ref().ok_or_else(bad)?;
    let (shape, _) = reader.shape.optional();
    let kind: DataType = shape.arrow().ok_or_else(bad)?;
    convert::default_value(value, shape, &kind).map(Source::Constant).ok_or_else(bad)
}
