//! Single values, and columns that are built from them.

use crate::avro_type::AvroType;
use crate::datum;
use arrow::array::*;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// A value of a record under construction.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// A truth value.
    Boolean(bool),
    /// Whole numbers, and dates and times in the unit of their type.
    Integer(i64),
    /// A number of type float or double.
    Float(f64),
    /// The unscaled value of a decimal.
    Decimal(i128),
    /// Text, symbols, UUIDs, and bytes that were written as text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
}

impl Cell<'_> {
    /// The same without borrowing.
    pub fn into_owned<'b>(self) -> Cell<'b> {
        match self {
            Cell::Null => Cell::Null,
            Cell::Boolean(v) => Cell::Boolean(v),
            Cell::Integer(v) => Cell::Integer(v),
            Cell::Float(v) => Cell::Float(v),
            Cell::Decimal(v) => Cell::Decimal(v),
            Cell::Text(v) => Cell::Text(Cow::Owned(v.into_owned())),
            Cell::Bytes(v) => Cell::Bytes(Cow::Owned(v.into_owned())),
        }
    }
}

/// A column under construction: the values of a type that Arrow keeps in the same way, and the type
/// itself.
pub struct ColumnBuilder {
    data_type: DataType,
    values: Values,
}

enum Values {
    Boolean(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
}

impl ColumnBuilder {
    /// An empty column of a type that an Avro field can have.
    pub fn new(data_type: &DataType) -> ColumnBuilder {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int32 | DataType::Date32 | DataType::Time32(_) => {
                Values::Int32(Int32Builder::new())
            }
            DataType::Float32 => Values::Float32(Float32Builder::new()),
            DataType::Float64 => Values::Float64(Float64Builder::new()),
            DataType::Decimal128(..) => Values::Decimal(Decimal128Builder::new()),
            DataType::Utf8 => Values::Text(StringBuilder::new()),
            DataType::Binary => Values::Binary(BinaryBuilder::new()),
            _ => Values::Int64(Int64Builder::new()),
        };
        ColumnBuilder { data_type: data_type.clone(), values }
    }

    /// Adds a value of this type; anything else counts as null.
    pub fn push(&mut self, cell: &Cell<'_>) {
        match (&mut self.values, cell) {
            (Values::Boolean(b), Cell::Boolean(v)) => b.append_value(*v),
            (Values::Int32(b), Cell::Integer(v)) => b.append_option(i32::try_from(*v).ok()),
            (Values::Int64(b), Cell::Integer(v)) => b.append_value(*v),
            (Values::Float32(b), Cell::Float(v)) => b.append_value(*v as f32),
            (Values::Float64(b), Cell::Float(v)) => b.append_value(*v),
            (Values::Decimal(b), Cell::Decimal(v)) => b.append_value(*v),
            (Values::Text(b), Cell::Text(v)) => b.append_value(v),
            (Values::Binary(b), Cell::Text(v)) => b.append_value(v.as_bytes()),
            (Values::Binary(b), Cell::Bytes(v)) => b.append_value(v),
            (Values::Boolean(b), _) => b.append_null(),
            (Values::Int32(b), _) => b.append_null(),
            (Values::Int64(b), _) => b.append_null(),
            (Values::Float32(b), _) => b.append_null(),
            (Values::Float64(b), _) => b.append_null(),
            (Values::Decimal(b), _) => b.append_null(),
            (Values::Text(b), _) => b.append_null(),
            (Values::Binary(b), _) => b.append_null(),
        }
    }

    /// The column.
    ///
    /// # Errors
    /// When the type is not one of an Avro field.
    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        let array: ArrayRef = match self.values {
            Values::Boolean(mut b) => Arc::new(b.finish()),
            Values::Int32(mut b) => Arc::new(b.finish()),
            Values::Int64(mut b) => Arc::new(b.finish()),
            Values::Float32(mut b) => Arc::new(b.finish()),
            Values::Float64(mut b) => Arc::new(b.finish()),
            Values::Decimal(mut b) => Arc::new(b.finish()),
            Values::Text(mut b) => Arc::new(b.finish()),
            Values::Binary(mut b) => Arc::new(b.finish()),
        };
        if array.data_type() == &self.data_type {
            return Ok(array);
        }
        // Dates, times and decimals are numbers with a meaning: the same buffers under the field's
        // type.
        let data = array.to_data().into_builder().data_type(self.data_type).build()?;
        Ok(make_array(data))
    }
}

/// A field's default, from its JSON form in the schema; `None` when it is not a value of that type.
pub(crate) fn default_value(value: &Value, avro_type: &AvroType) -> Option<Cell<'static>> {
    if value.is_null() {
        return Some(Cell::Null);
    }
    Some(match avro_type {
        AvroType::Boolean => Cell::Boolean(value.as_bool()?),
        AvroType::Int | AvroType::Date | AvroType::TimeMillis => {
            Cell::Integer(i32::try_from(value.as_i64()?).ok()?.into())
        }
        AvroType::Long | AvroType::TimeMicros | AvroType::Timestamp { .. } => {
            Cell::Integer(value.as_i64()?)
        }
        AvroType::Float | AvroType::Double => Cell::Float(value.as_f64()?),
        AvroType::Bytes | AvroType::Fixed(_) => Cell::Bytes(bytes_of_default(value)?.into()),
        AvroType::String | AvroType::Uuid { fixed: false } | AvroType::Enum(_) => {
            Cell::Text(value.as_str()?.to_string().into())
        }
        AvroType::Decimal { .. } => Cell::Decimal(datum::unscaled(&bytes_of_default(value)?)?),
        AvroType::Uuid { fixed: true }
        | AvroType::Null
        | AvroType::Unsupported { .. }
        | AvroType::Union(_)
        | AvroType::Record(_)
        | AvroType::Array(_)
        | AvroType::Map(_) => return None,
    })
}

/// The bytes of a default of type bytes or fixed. In a schema they are written as a string whose
/// code points 0–255 are the bytes.
fn bytes_of_default(value: &Value) -> Option<Vec<u8>> {
    value.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}
