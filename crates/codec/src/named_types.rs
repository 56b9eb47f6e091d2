//! From apache-avro's schema to [`AvroType`]: names of types are replaced by the types, within
//! limits.

use crate::avro_type::{AvroType, Field, Record, Symbols};
use crate::error::Error;
use apache_avro::Schema as Avro;
use apache_avro::schema::{
    DecimalSchema, EnumSchema, InnerDecimalSchema, Name, RecordSchema, UuidSchema,
};
use arrow::datatypes::TimeUnit;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Most types of a resolved schema; a schema with a few names can unfold to astronomical size.
const MAX_NODES: usize = 4096;
/// Most levels of nesting.
const MAX_DEPTH: usize = 32;
/// Longest path of a field, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// Longest path in an error, in characters.
const MAX_QUOTED_PATH_CHARS: usize = 200;
/// Most bytes of one `fixed`.
const MAX_FIXED: usize = 1 << 20;
/// Most bytes that the symbols of all enums take, each use of an enum counted.
const MAX_SYMBOL_BYTES: usize = 4 << 20;
/// What a symbol takes beside its text.
const SYMBOL_OVERHEAD: usize = 24;

/// A record schema whose names are resolved.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) fields: Vec<Field>,
    /// The record types that contain themselves, by the name in [`AvroType::Recursive`].
    pub(crate) recursive: HashMap<Arc<str>, Arc<Record>>,
}

/// Resolves the record `schema`. Refuses types that are nested too deeply or too large.
pub(crate) fn resolve(schema: &Avro) -> Result<Resolved, Error> {
    let Avro::Record(record) = schema else {
        return Err(Error::schema(format!("the schema must be a record; this one is {schema}")));
    };
    let mut resolver = Resolver::default();
    resolver.collect_names(schema);
    let fields = resolver.record(record, "")?.fields.clone();
    Ok(Resolved { fields, recursive: resolver.recursive })
}

#[derive(Default)]
struct Resolver<'a> {
    names: HashMap<&'a Name, &'a Avro>,
    /// The symbols of the enums so far, shared by all uses.
    symbols: HashMap<&'a Name, Arc<Symbols>>,
    num_symbol_bytes: usize,
    /// The defaults so far, shared by all uses of a record type.
    defaults: HashMap<(&'a Name, usize), Arc<Value>>,
    /// The names of record types that were found inside themselves.
    inside_themselves: HashSet<&'a Name>,
    recursive: HashMap<Arc<str>, Arc<Record>>,
    /// The record types that enclose the one being resolved.
    enclosing: Vec<&'a Name>,
    num_nodes: usize,
}

impl<'a> Resolver<'a> {
    /// Collects the named types, wherever they are defined.
    fn collect_names(&mut self, schema: &'a Avro) {
        if let (Some(name), false) = (schema.name(), matches!(schema, Avro::Ref { .. })) {
            self.names.insert(name, schema);
        }
        match schema {
            Avro::Record(record) => {
                record.fields.iter().for_each(|f| self.collect_names(&f.schema))
            }
            Avro::Union(union) => union.variants().iter().for_each(|s| self.collect_names(s)),
            Avro::Array(array) => self.collect_names(&array.items),
            Avro::Map(map) => self.collect_names(&map.types),
            _ => {}
        }
    }

    /// The record type; `path` is the path of the value, for errors.
    fn record(&mut self, record: &'a RecordSchema, path: &str) -> Result<Arc<Record>, Error> {
        self.enclosing.push(&record.name);
        let mut fields = Vec::with_capacity(record.fields.len());
        for (index, field) in record.fields.iter().enumerate() {
            let path =
                if path.is_empty() { field.name.clone() } else { format!("{path}.{}", field.name) };
            let avro_type = self.avro_type(&field.schema, &path)?;
            let default = field.default.as_ref().map(|value| {
                let shared = self.defaults.entry((&record.name, index));
                shared.or_insert_with(|| Arc::new(value.clone())).clone()
            });
            let (name, aliases) = (field.name.clone(), field.aliases.clone());
            fields.push(Field { name, aliases, avro_type, default });
        }
        self.enclosing.pop();
        let resolved = Arc::new(Record { name: record.name.name().to_string(), fields });
        if self.inside_themselves.contains(&record.name) {
            self.recursive.insert(full_name(&record.name), resolved.clone());
        }
        Ok(resolved)
    }

    fn avro_type(&mut self, schema: &'a Avro, path: &str) -> Result<AvroType, Error> {
        self.num_nodes += 1;
        if self.num_nodes > MAX_NODES {
            return Err(too_large(path, &format!("has more than {MAX_NODES} types")));
        }
        if self.enclosing.len() > MAX_DEPTH || path.len() > MAX_PATH_BYTES {
            return Err(too_large(path, &format!("is nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(match schema {
            Avro::Ref { name } => {
                let known = self.names.get(name).copied();
                let known = known.ok_or_else(|| {
                    Error::schema(format!(
                        "field `{path}`: the type {} is not defined",
                        name.fullname(None)
                    ))
                })?;
                self.avro_type(known, path)?
            }
            Avro::Record(record) if self.enclosing.contains(&&record.name) => {
                self.inside_themselves.insert(&record.name);
                AvroType::Recursive(full_name(&record.name))
            }
            Avro::Record(record) => AvroType::Record(self.record(record, path)?),
            Avro::Union(union) => AvroType::Union(
                union
                    .variants()
                    .iter()
                    .map(|s| self.avro_type(s, path))
                    .collect::<Result<_, _>>()?,
            ),
            Avro::Array(array) => {
                AvroType::Array(Box::new(self.nested(&array.items, &format!("{path}[]"))?))
            }
            Avro::Map(map) => {
                AvroType::Map(Box::new(self.nested(&map.types, &format!("{path}{{}}"))?))
            }
            plain => self.plain(plain, path)?,
        })
    }

    /// The type of array items or map values. Arrays and maps have no names, so their levels are
    /// counted by the marks in the path.
    fn nested(&mut self, schema: &'a Avro, path: &str) -> Result<AvroType, Error> {
        let levels = path.matches(['[', '{']).count() + self.enclosing.len();
        if levels > MAX_DEPTH {
            return Err(too_large(path, &format!("is nested deeper than {MAX_DEPTH} levels")));
        }
        self.avro_type(schema, path)
    }

    /// The symbols of an enum, of which there is one copy however often it is used. Decoders write
    /// them out for each use, though.
    fn symbols(&mut self, schema: &'a EnumSchema, path: &str) -> Result<Arc<Symbols>, Error> {
        let num_bytes: usize = schema.symbols.iter().map(|s| s.len() + SYMBOL_OVERHEAD).sum();
        self.num_symbol_bytes += num_bytes;
        if self.num_symbol_bytes > MAX_SYMBOL_BYTES {
            let what = format!("has enums of more than {MAX_SYMBOL_BYTES} bytes of symbols");
            return Err(too_large(path, &what));
        }
        let shared = self.symbols.entry(&schema.name).or_insert_with(|| {
            let (list, default) = (schema.symbols.clone(), schema.default.clone());
            Arc::new(Symbols { name: schema.name.name().to_string(), list, default })
        });
        Ok(shared.clone())
    }

    fn plain(&mut self, schema: &'a Avro, path: &str) -> Result<AvroType, Error> {
        let timestamp = |unit, utc| AvroType::Timestamp { unit, utc };
        Ok(match schema {
            Avro::Null => AvroType::Null,
            Avro::Boolean => AvroType::Boolean,
            Avro::Int => AvroType::Int,
            Avro::Long => AvroType::Long,
            Avro::Float => AvroType::Float,
            Avro::Double => AvroType::Double,
            Avro::Bytes => AvroType::Bytes,
            Avro::String => AvroType::String,
            Avro::Date => AvroType::Date,
            Avro::TimeMillis => AvroType::TimeMillis,
            Avro::TimeMicros => AvroType::TimeMicros,
            Avro::TimestampMillis => timestamp(TimeUnit::Millisecond, true),
            Avro::TimestampMicros => timestamp(TimeUnit::Microsecond, true),
            Avro::TimestampNanos => timestamp(TimeUnit::Nanosecond, true),
            Avro::LocalTimestampMillis => timestamp(TimeUnit::Millisecond, false),
            Avro::LocalTimestampMicros => timestamp(TimeUnit::Microsecond, false),
            Avro::LocalTimestampNanos => timestamp(TimeUnit::Nanosecond, false),
            Avro::Uuid(UuidSchema::String) => AvroType::Uuid { fixed: false },
            Avro::Uuid(UuidSchema::Fixed(_)) => AvroType::Uuid { fixed: true },
            Avro::Uuid(UuidSchema::Bytes) => {
                AvroType::Unsupported { name: "uuid in bytes", fixed: None }
            }
            Avro::BigDecimal => AvroType::Unsupported { name: "big-decimal", fixed: None },
            Avro::Duration(_) => AvroType::Duration,
            Avro::Fixed(fixed) => AvroType::Fixed(size(fixed.size, path)?),
            Avro::Decimal(decimal) => decimal_type(decimal, path)?,
            Avro::Enum(schema) => AvroType::Enum(self.symbols(schema, path)?),
            Avro::Ref { .. } | Avro::Record(_) | Avro::Union(_) | Avro::Array(_) | Avro::Map(_) => {
                return Err(Error::schema(format!("field `{path}`: not a plain type")));
            }
        })
    }
}

fn full_name(name: &Name) -> Arc<str> {
    name.fullname(None).into()
}

fn too_large(path: &str, what: &str) -> Error {
    // A path can be as long as the schema.
    let path: String = path.chars().take(MAX_QUOTED_PATH_CHARS).collect();
    Error::TooLarge(format!("field `{path}`: the schema {what}"))
}

fn decimal_type(decimal: &DecimalSchema, path: &str) -> Result<AvroType, Error> {
    let fixed = match &decimal.inner {
        InnerDecimalSchema::Bytes => None,
        InnerDecimalSchema::Fixed(fixed) => Some(size(fixed.size, path)?),
    };
    let precision =
        u8::try_from(decimal.precision).ok().filter(|precision| (1..=38).contains(precision));
    Ok(match (precision, i8::try_from(decimal.scale).ok()) {
        (Some(precision), Some(scale)) => AvroType::Decimal { precision, scale, fixed },
        _ => AvroType::Unsupported { name: "decimal of more than 38 digits", fixed },
    })
}

fn size(size: usize, path: &str) -> Result<usize, Error> {
    if size == 0 || size > MAX_FIXED {
        return Err(Error::schema(format!(
            "field `{path}`: a fixed of {size} bytes; it must be between 1 and {MAX_FIXED}"
        )));
    }
    Ok(size)
}
