//! Avro types with their references resolved and their logical types named. The Arrow types, the
//! validator, the conversions and the physical schema of the library's decoders are all derived
//! from this form.

use arrow::datatypes::{DataType, TimeUnit};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use weir_model::avro::type_name;

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AvroType {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// Text, or 16 bytes when `fixed`.
    Uuid {
        fixed: bool,
    },
    Date,
    TimeMillis,
    TimeMicros,
    /// An instant when `utc`, otherwise a local date and time.
    Timestamp {
        unit: TimeUnit,
        utc: bool,
    },
    /// Two's complement, big-endian; in this many bytes when `fixed`.
    Decimal {
        precision: u8,
        scale: i8,
        fixed: Option<usize>,
    },
    Fixed(usize),
    Enum(Arc<Symbols>),
    /// A logical type that has no Arrow column; its bytes can be skipped.
    Unsupported {
        name: &'static str,
        fixed: Option<usize>,
    },
    Union(Vec<AvroType>),
    Record(Vec<Field>),
    Array(Box<AvroType>),
    Map(Box<AvroType>),
}

/// The symbols of an enum.
#[derive(Debug, PartialEq)]
pub(crate) struct Symbols {
    pub(crate) list: Vec<String>,
    /// What a reader uses in place of a symbol that it does not know.
    pub(crate) default: Option<String>,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) avro_type: AvroType,
    pub(crate) default: Option<Value>,
}

impl AvroType {
    /// The type without null, and whether null is allowed: a union of null and one other type, in
    /// either order, is that other type, optional.
    pub(crate) fn optional(&self) -> (&AvroType, bool) {
        match self {
            AvroType::Union(branches) => match branches.as_slice() {
                [AvroType::Null, other] | [other, AvroType::Null] => (other, true),
                _ => (self, false),
            },
            other => (other, false),
        }
    }

    /// Whether every value takes no bytes at all: null, or a record of such values.
    pub(crate) fn takes_no_bytes(&self) -> bool {
        match self {
            AvroType::Null => true,
            AvroType::Record(fields) => fields.iter().all(|f| f.avro_type.takes_no_bytes()),
            _ => false,
        }
    }

    /// The Arrow type of a column of such values; `None` when there is none.
    pub(crate) fn arrow(&self) -> Option<DataType> {
        Some(match self {
            AvroType::Boolean => DataType::Boolean,
            AvroType::Int => DataType::Int32,
            AvroType::Long => DataType::Int64,
            AvroType::Float => DataType::Float32,
            AvroType::Double => DataType::Float64,
            AvroType::Bytes | AvroType::Fixed(_) => DataType::Binary,
            AvroType::String | AvroType::Uuid { .. } | AvroType::Enum(_) => DataType::Utf8,
            AvroType::Date => DataType::Date32,
            AvroType::TimeMillis => DataType::Time32(TimeUnit::Millisecond),
            AvroType::TimeMicros => DataType::Time64(TimeUnit::Microsecond),
            AvroType::Timestamp { unit, utc } => {
                DataType::Timestamp(*unit, utc.then(|| "+00:00".into()))
            }
            AvroType::Decimal { precision, scale, .. } => DataType::Decimal128(*precision, *scale),
            AvroType::Null
            | AvroType::Unsupported { .. }
            | AvroType::Union(_)
            | AvroType::Record(_)
            | AvroType::Array(_)
            | AvroType::Map(_) => return None,
        })
    }
}

/// The name of the type as in a schema.
impl fmt::Display for AvroType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AvroType::Null => f.write_str("null"),
            AvroType::Uuid { .. } => f.write_str("uuid"),
            AvroType::Fixed(size) => write!(f, "fixed({size})"),
            AvroType::Enum(symbols) => write!(f, "enum({})", symbols.list.join(", ")),
            AvroType::Unsupported { name, .. } => f.write_str(name),
            AvroType::Union(branches) => {
                let names: Vec<_> = branches.iter().map(AvroType::to_string).collect();
                write!(f, "[{}]", names.join(", "))
            }
            AvroType::Record(_) => f.write_str("record"),
            AvroType::Array(items) => write!(f, "array of {items}"),
            AvroType::Map(values) => write!(f, "map of {values}"),
            AvroType::Boolean
            | AvroType::Int
            | AvroType::Long
            | AvroType::Float
            | AvroType::Double
            | AvroType::Bytes
            | AvroType::String
            | AvroType::Date
            | AvroType::TimeMillis
            | AvroType::TimeMicros
            | AvroType::Timestamp { .. }
            | AvroType::Decimal { .. } => {
                f.write_str(&self.arrow().as_ref().map(type_name).unwrap_or_default())
            }
        }
    }
}
