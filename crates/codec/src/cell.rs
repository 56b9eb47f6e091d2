//! Single values.

use crate::avro_type::{AvroType, Wide};
use crate::datum;
use arrow::datatypes::IntervalMonthDayNano;
use serde_json::Value;
use std::borrow::Cow;

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
    /// Months, days and nanoseconds.
    Interval(IntervalMonthDayNano),
    /// The items of an array.
    List(Vec<Cell<'a>>),
    /// The entries of a map.
    Map(Vec<(Cow<'a, str>, Cell<'a>)>),
    /// The members of a record, in the order of its fields.
    Record(Vec<Cell<'a>>),
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
            Cell::Interval(v) => Cell::Interval(v),
            Cell::List(items) => Cell::List(items.into_iter().map(Cell::into_owned).collect()),
            Cell::Record(cells) => Cell::Record(cells.into_iter().map(Cell::into_owned).collect()),
            Cell::Map(entries) => Cell::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned()))
                    .collect(),
            ),
        }
    }
}

/// A field's default, from its JSON form in the schema; `None` when it is not a value of that type.
pub(crate) fn default_value(value: &Value, avro_type: &AvroType) -> Option<Cell<'static>> {
    if value.is_null() && avro_type.is_nullable() {
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
        AvroType::Duration => Cell::Interval(datum::interval(&bytes_of_default(value)?)?),
        AvroType::Uuid { fixed: true } => Cell::Text(
            datum::uuid_text(bytes_of_default(value)?.as_slice().try_into().ok()?).into(),
        ),
        AvroType::Array(items) => {
            let cells = value.as_array()?.iter().map(|item| default_value(item, items));
            Cell::List(cells.collect::<Option<_>>()?)
        }
        AvroType::Map(values) => {
            let entries = value.as_object()?.iter();
            let entries = entries
                .map(|(key, value)| Some((Cow::Owned(key.clone()), default_value(value, values)?)));
            Cell::Map(entries.collect::<Option<_>>()?)
        }
        // A member that the default leaves out has the member's own default.
        AvroType::Record(record) => {
            let members = value.as_object()?;
            let cells = record.fields.iter().map(|field| {
                let value = members.get(&field.name).or(field.default.as_deref())?;
                default_value(value, &field.avro_type)
            });
            Cell::Record(cells.collect::<Option<_>>()?)
        }
        // The default of a union may be of any of its types since Avro 1.12.
        AvroType::Union(branches) => match avro_type.wide() {
            Some(Wide::Members(members)) => {
                let found = members
                    .iter()
                    .enumerate()
                    .find_map(|(index, (_, member))| Some((index, default_value(value, member)?)));
                let (index, cell) = found?;
                let mut cells = vec![Cell::Null; members.len()];
                cells[index] = cell;
                Cell::Record(cells)
            }
            _ => branches.iter().find_map(|branch| default_value(value, branch))?,
        },
        AvroType::Null | AvroType::Unsupported { .. } | AvroType::Recursive(_) => return None,
    })
}

/// The bytes of a default of type bytes or fixed. In a schema they are written as a string whose
/// code points 0–255 are the bytes.
fn bytes_of_default(value: &Value) -> Option<Vec<u8>> {
    value.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}
