//! Avro types with their references resolved and their logical types named. The Arrow types, the
//! validator, the conversions and the physical schema of the library's decoders are all derived
//! from this form.

use arrow::datatypes::{DataType, Field as ArrowField, IntervalUnit, TimeUnit};
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
    /// Months, days and milliseconds, each of 32 bits without sign.
    Duration,
    Fixed(usize),
    Enum(Arc<Symbols>),
    /// A logical type that has no Arrow column; its bytes can be skipped.
    Unsupported {
        name: &'static str,
        fixed: Option<usize>,
    },
    Union(Vec<AvroType>),
    Record(Arc<Record>),
    Array(Box<AvroType>),
    Map(Box<AvroType>),
    /// A record type inside itself, by its full name. It has no column; its bytes can be skipped.
    Recursive(Arc<str>),
}

/// A record type.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    /// Without namespace.
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// The symbols of an enum.
#[derive(Debug, PartialEq)]
pub(crate) struct Symbols {
    /// The name of the type, without namespace.
    pub(crate) name: String,
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
    pub(crate) default: Option<Arc<Value>>,
}

/// A union of several types other than null, as a column.
pub(crate) enum Wide<'a> {
    /// All are numbers of one kind, so that the widest of them holds the values of all.
    Number(&'a AvroType),
    /// A record with one optional member for each, of which one has a value. The index is the
    /// branch.
    Members(Vec<(usize, &'a AvroType)>),
}

/// The name of the member `index` of a union, counted without null. Spark's Avro source names them
/// alike.
pub(crate) fn member_name(index: usize) -> String {
    format!("member{index}")
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

    /// How a union of more than one type beside null is represented; `None` for any other type.
    /// The types of Spark's Avro source.
    pub(crate) fn wide(&self) -> Option<Wide<'_>> {
        let (AvroType::Union(branches), (AvroType::Union(_), _)) = (self, self.optional()) else {
            return None;
        };
        let members: Vec<(usize, &AvroType)> =
            branches.iter().enumerate().filter(|(_, b)| **b != AvroType::Null).collect();
        let types: Vec<&AvroType> = members.iter().map(|(_, member)| *member).collect();
        Some(match types.as_slice() {
            [AvroType::Int, long @ AvroType::Long] | [long @ AvroType::Long, AvroType::Int] => {
                Wide::Number(long)
            }
            [AvroType::Float, double @ AvroType::Double]
            | [double @ AvroType::Double, AvroType::Float] => Wide::Number(double),
            _ => Wide::Members(members),
        })
    }

    /// Whether null is a value.
    pub(crate) fn is_nullable(&self) -> bool {
        match self {
            AvroType::Null => true,
            AvroType::Union(branches) => branches.contains(&AvroType::Null),
            _ => false,
        }
    }

    /// Whether every value takes no bytes at all: null, or a record of such values.
    pub(crate) fn takes_no_bytes(&self) -> bool {
        match self {
            AvroType::Null => true,
            AvroType::Record(record) => record.fields.iter().all(|f| f.avro_type.takes_no_bytes()),
            _ => false,
        }
    }

    /// The Arrow type of a column of such values; `None` when there is none. Everything inside
    /// another value is nullable in Arrow's sense, so that equal values have equal types whether
    /// SQL made them or a record; what must not be null is known here.
    pub(crate) fn arrow(&self) -> Option<DataType> {
        let (plain, _) = self.optional();
        Some(match plain {
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
            AvroType::Duration => DataType::Interval(IntervalUnit::MonthDayNano),
            AvroType::Record(record) => {
                let fields = record.fields.iter().map(|field| {
                    Some(ArrowField::new(&field.name, field.avro_type.arrow()?, true))
                });
                DataType::Struct(fields.collect::<Option<_>>()?)
            }
            AvroType::Array(items) => DataType::new_list(items.arrow()?, true),
            AvroType::Map(values) => map_type(values.arrow()?),
            AvroType::Union(_) => match plain.wide()? {
                Wide::Number(number) => number.arrow()?,
                Wide::Members(members) => {
                    let fields = members.iter().enumerate().map(|(index, (_, member))| {
                        Some(ArrowField::new(member_name(index), member.arrow()?, true))
                    });
                    DataType::Struct(fields.collect::<Option<_>>()?)
                }
            },
            AvroType::Null | AvroType::Unsupported { .. } | AvroType::Recursive(_) => return None,
        })
    }
}

/// The type of a column of maps with these values, as DataFusion's `map` makes it.
fn map_type(values: DataType) -> DataType {
    let key = ArrowField::new("key", DataType::Utf8, false);
    let entries = DataType::Struct(vec![key, ArrowField::new("value", values, true)].into());
    DataType::Map(Arc::new(ArrowField::new("entries", entries, false)), false)
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
            AvroType::Duration => f.write_str("duration"),
            AvroType::Record(_) => f.write_str("record"),
            AvroType::Recursive(name) => write!(f, "record {name} inside itself"),
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
