//! An Avro schema with its references resolved and its logical types named: the one form from which
//! Arrow types, the validator, the conversions and the physical schema of the library's decoders
//! are derived.

use crate::error::Error;
use apache_avro::Schema as Avro;
use apache_avro::schema::{InnerDecimalSchema, Name, RecordSchema, UuidSchema};
use arrow::datatypes::{DataType, TimeUnit};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Nodes of a resolved schema; a schema of a few names can unfold to astronomical size.
const MAX_NODES: usize = 4096;
/// Levels of nesting.
const MAX_DEPTH: usize = 32;
/// Bytes of one `fixed`.
const MAX_FIXED: usize = 1 << 20;

/// The type of a value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
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
    /// An instant when `utc`, else a time on some wall.
    Timestamp {
        unit: TimeUnit,
        utc: bool,
    },
    /// Two's complement, big-endian, in so many bytes when `fixed`.
    Decimal {
        precision: u8,
        scale: i8,
        fixed: Option<usize>,
    },
    Fixed(usize),
    Enum(Arc<Symbols>),
    /// A logical type that Arrow columns cannot carry; its bytes can be passed over.
    Foreign {
        name: &'static str,
        fixed: Option<usize>,
    },
    Union(Vec<Shape>),
    Record(Vec<Field>),
    Array(Box<Shape>),
    Map(Box<Shape>),
}

/// The symbols of an enum.
#[derive(Debug, PartialEq)]
pub(crate) struct Symbols {
    pub(crate) list: Vec<String>,
    /// What a reader takes for a symbol it does not know.
    pub(crate) default: Option<String>,
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) shape: Shape,
    pub(crate) default: Option<Value>,
}

impl Shape {
    /// Resolves the fields of `record`; refuses what is recursive, too deep or too large.
    pub(crate) fn fields(record: &RecordSchema) -> Result<Vec<Field>, Error> {
        let mut resolver = Resolver { names: HashMap::new(), open: Vec::new(), nodes: 0 };
        resolver.learn(&Avro::Record(record.clone()));
        resolver.record(record, "")
    }

    /// The value's own type and whether null is allowed: a union of null and one other, in either
    /// order, is that other, optional.
    pub(crate) fn optional(&self) -> (&Shape, bool) {
        match self {
            Shape::Union(branches) => match branches.as_slice() {
                [Shape::Null, other] | [other, Shape::Null] => (other, true),
                _ => (self, false),
            },
            other => (other, false),
        }
    }

    /// The Arrow type of a column of such values; `None` when there is none.
    pub(crate) fn arrow(&self) -> Option<DataType> {
        Some(match self {
            Shape::Boolean => DataType::Boolean,
            Shape::Int => DataType::Int32,
            Shape::Long => DataType::Int64,
            Shape::Float => DataType::Float32,
            Shape::Double => DataType::Float64,
            Shape::Bytes | Shape::Fixed(_) => DataType::Binary,
            Shape::String | Shape::Uuid { .. } | Shape::Enum(_) => DataType::Utf8,
            Shape::Date => DataType::Date32,
            Shape::TimeMillis => DataType::Time32(TimeUnit::Millisecond),
            Shape::TimeMicros => DataType::Time64(TimeUnit::Microsecond),
            Shape::Timestamp { unit, utc } => {
                DataType::Timestamp(*unit, utc.then(|| "+00:00".into()))
            }
            Shape::Decimal { precision, scale, .. } => DataType::Decimal128(*precision, *scale),
            Shape::Null
            | Shape::Foreign { .. }
            | Shape::Union(_)
            | Shape::Record(_)
            | Shape::Array(_)
            | Shape::Map(_) => return None,
        })
    }
}

/// The name people know the type by, as they would write it in a schema.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Null => f.write_str("null"),
            Shape::Boolean => f.write_str("boolean"),
            Shape::Int => f.write_str("int"),
            Shape::Long => f.write_str("long"),
            Shape::Float => f.write_str("float"),
            Shape::Double => f.write_str("double"),
            Shape::Bytes => f.write_str("bytes"),
            Shape::String => f.write_str("string"),
            Shape::Uuid { .. } => f.write_str("uuid"),
            Shape::Date => f.write_str("date"),
            Shape::TimeMillis => f.write_str("time-millis"),
            Shape::TimeMicros => f.write_str("time-micros"),
            Shape::Timestamp { unit, utc } => {
                let unit = match unit {
                    TimeUnit::Second => "seconds",
                    TimeUnit::Millisecond => "millis",
                    TimeUnit::Microsecond => "micros",
                    TimeUnit::Nanosecond => "nanos",
                };
                write!(f, "{}timestamp-{unit}", if *utc { "" } else { "local-" })
            }
            Shape::Decimal { precision, scale, .. } => write!(f, "decimal({precision},{scale})"),
            Shape::Fixed(size) => write!(f, "fixed({size})"),
            Shape::Enum(symbols) => write!(f, "enum({})", symbols.list.join(", ")),
            Shape::Foreign { name, .. } => f.write_str(name),
            Shape::Union(branches) => {
                let names: Vec<_> = branches.iter().map(Shape::to_string).collect();
                write!(f, "[{}]", names.join(", "))
            }
            Shape::Record(_) => f.write_str("record"),
            Shape::Array(items) => write!(f, "array of {items}"),
            Shape::Map(values) => write!(f, "map of {values}"),
        }
    }
}

struct Resolver {
    names: HashMap<Name, Avro>,
    /// Named types that enclose the one being resolved.
    open: Vec<Name>,
    nodes: usize,
}

impl Resolver {
    /// Remembers every named type, wherever it is defined.
    fn learn(&mut self, schema: &Avro) {
        if let (Some(name), false) = (schema.name(), matches!(schema, Avro::Ref { .. })) {
            self.names.insert(name.clone(), schema.clone());
        }
        match schema {
            Avro::Record(record) => record.fields.iter().for_each(|f| self.learn(&f.schema)),
            Avro::Union(union) => union.variants().iter().for_each(|s| self.learn(s)),
            Avro::Array(array) => self.learn(&array.items),
            Avro::Map(map) => self.learn(&map.types),
            _ => {}
        }
    }

    fn record(&mut self, record: &RecordSchema, path: &str) -> Result<Vec<Field>, Error> {
        if self.open.contains(&record.name) {
            return Err(Error::schema(format!(
                "field `{path}`: the type {} contains itself, which weir does not read",
                record.name.name()
            )));
        }
        self.open.push(record.name.clone());
        let fields = record.fields.iter().map(|field| {
            let path =
                if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            let shape = self.shape(&field.schema, &path)?;
            Ok(Field {
                name: field.name.clone(),
                aliases: field.aliases.clone(),
                shape,
                default: field.default.clone(),
            })
        });
        let fields = fields.collect();
        self.open.pop();
        fields
    }

    fn shape(&mut self, schema: &Avro, path: &str) -> Result<Shape, Error> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Error::schema(format!(
                "field `{path}`: the schema has more than {MAX_NODES} types"
            )));
        }
        if self.open.len() > MAX_DEPTH || path.len() > 4096 {
            return Err(Error::schema(format!(
                "field `{path}`: the schema is nested deeper than {MAX_DEPTH} levels"
            )));
        }
        Ok(match schema {
            Avro::Ref { name } => {
                let known = self.names.get(name).cloned();
                let known = known.ok_or_else(|| {
                    Error::schema(format!(
                        "field `{path}`: the type {} is not defined",
                        name.fullname(None)
                    ))
                })?;
                self.shape(&known, path)?
            }
            Avro::Record(record) => Shape::Record(self.record(record, path)?),
            Avro::Union(union) => Shape::Union(
                union.variants().iter().map(|s| self.shape(s, path)).collect::<Result<_, _>>()?,
            ),
            Avro::Array(array) => {
                Shape::Array(Box::new(self.nested(&array.items, &format!("{path}[]"))?))
            }
            Avro::Map(map) => {
                Shape::Map(Box::new(self.nested(&map.types, &format!("{path}{{}}"))?))
            }
            plain => self.plain(plain, path)?,
        })
    }

    /// Arrays and maps have no names of their own, so they count as a level under an invented one.
    fn nested(&mut self, schema: &Avro, path: &str) -> Result<Shape, Error> {
        let levels = path.matches(['[', '{']).count() + self.open.len();
        if levels > MAX_DEPTH {
            return Err(Error::schema(format!(
                "field `{path}`: the schema is nested deeper than {MAX_DEPTH} levels"
            )));
        }
        self.shape(schema, path)
    }

    fn plain(&self, schema: &Avro, path: &str) -> Result<Shape, Error> {
        let timestamp = |unit, utc| Shape::Timestamp { unit, utc };
        Ok(match schema {
            Avro::Null => Shape::Null,
            Avro::Boolean => Shape::Boolean,
            Avro::Int => Shape::Int,
            Avro::Long => Shape::Long,
            Avro::Float => Shape::Float,
            Avro::Double => Shape::Double,
            Avro::Bytes => Shape::Bytes,
            Avro::String => Shape::String,
            Avro::Date => Shape::Date,
            Avro::TimeMillis => Shape::TimeMillis,
            Avro::TimeMicros => Shape::TimeMicros,
            Avro::TimestampMillis => timestamp(TimeUnit::Millisecond, true),
            Avro::TimestampMicros => timestamp(TimeUnit::Microsecond, true),
            Avro::TimestampNanos => timestamp(TimeUnit::Nanosecond, true),
            Avro::LocalTimestampMillis => timestamp(TimeUnit::Millisecond, false),
            Avro::LocalTimestampMicros => timestamp(TimeUnit::Microsecond, false),
            Avro::LocalTimestampNanos => timestamp(TimeUnit::Nanosecond, false),
            Avro::Uuid(UuidSchema::String) => Shape::Uuid { fixed: false },
            Avro::Uuid(UuidSchema::Fixed(_)) => Shape::Uuid { fixed: true },
            Avro::Uuid(UuidSchema::Bytes) => Shape::Foreign { name: "uuid in bytes", fixed: None },
            Avro::BigDecimal => Shape::Foreign { name: "big-decimal", fixed: None },
            Avro::Duration(fixed) => Shape::Foreign { name: "duration", fixed: Some(fixed.size) },
            Avro::Fixed(fixed) => Shape::Fixed(size(fixed.size, path)?),
            Avro::Decimal(decimal) => {
                let fixed = match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => Some(size(fixed.size, path)?),
                };
                let digits = u8::try_from(decimal.precision)
                    .ok()
                    .filter(|p| (1..=38).contains(p))
                    .zip(i8::try_from(decimal.scale).ok());
                match digits {
                    Some((precision, scale)) => Shape::Decimal { precision, scale, fixed },
                    None => Shape::Foreign { name: "decimal of more than 38 digits", fixed },
                }
            }
            Avro::Enum(symbols) => Shape::Enum(Arc::new(Symbols {
                list: symbols.symbols.clone(),
                default: symbols.default.clone(),
            })),
            Avro::Ref { .. } | Avro::Record(_) | Avro::Union(_) | Avro::Array(_) | Avro::Map(_) => {
                return Err(Error::schema(format!("field `{path}`: not a plain type")));
            }
        })
    }
}

fn size(size: usize, path: &str) -> Result<usize, Error> {
    if size == 0 || size > MAX_FIXED {
        return Err(Error::schema(format!(
            "field `{path}`: a fixed of {size} bytes; between 1 and {MAX_FIXED} can be read"
        )));
    }
    Ok(size)
}
