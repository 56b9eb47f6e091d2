//! The physical schema: how a record is described to the library. It has the same bytes as the
//! writer's schema, but only plain types.
//!
//! Names, logical types, enums and defaults are left out, so that their meaning is decided in this
//! crate alone: the library turns a uuid into 16 bytes and an enum into a dictionary, and silently
//! resolves some logical types wrongly.

use crate::avro_type::{AvroType, Field};
use serde_json::{Value, json};

/// The name of the column `index` of the writer's record.
pub(crate) fn column_name(index: usize) -> String {
    format!("c{index}")
}

/// What the library's decoder is built from.
pub(crate) struct PhysicalSchemas {
    /// The writer's record.
    pub(crate) writer: String,
    /// The writer's record reduced to the projected fields; `None` when all are projected.
    pub(crate) reader: Option<String>,
}

/// The physical schemas of a record with `fields`, of which those with an index in `projected`
/// become columns.
pub(crate) fn schemas(fields: &[Field], projected: &[usize]) -> PhysicalSchemas {
    let mut names = TypeNames::default();
    let mut columns: Vec<Value> = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let physical = names.physical(&field.avro_type, projected.contains(&index));
        columns.push(json!({"name": column_name(index), "type": physical}));
    }
    let reader = (projected.len() < fields.len()).then(|| {
        record(projected.iter().map(|index| columns[*index].clone()).collect()).to_string()
    });
    PhysicalSchemas { writer: record(columns).to_string(), reader }
}

fn record(fields: Vec<Value>) -> Value {
    json!({"type": "record", "name": "r", "fields": fields})
}

/// Gives names to nested types.
#[derive(Default)]
struct TypeNames {
    num_names: usize,
}

impl TypeNames {
    fn next(&mut self) -> String {
        self.num_names += 1;
        format!("t{}", self.num_names)
    }

    /// The physical form of a type; `is_column` when its values become a column.
    fn physical(&mut self, avro_type: &AvroType, is_column: bool) -> Value {
        match avro_type {
            AvroType::Null => json!("null"),
            AvroType::Boolean => json!("boolean"),
            AvroType::Int | AvroType::Date | AvroType::TimeMillis => json!("int"),
            AvroType::Long | AvroType::TimeMicros | AvroType::Timestamp { .. } => json!("long"),
            AvroType::Float => json!("float"),
            AvroType::Double => json!("double"),
            AvroType::Bytes | AvroType::Unsupported { fixed: None, .. } => json!("bytes"),
            AvroType::String | AvroType::Uuid { fixed: false } => json!("string"),
            AvroType::Uuid { fixed: true } => self.fixed(16),
            AvroType::Fixed(size) | AvroType::Unsupported { fixed: Some(size), .. } => {
                self.fixed(*size)
            }
            AvroType::Decimal { precision, scale, fixed } if is_column => {
                self.decimal(*precision, *scale, *fixed)
            }
            AvroType::Decimal { fixed: Some(size), .. } => self.fixed(*size),
            AvroType::Decimal { fixed: None, .. } => json!("bytes"),
            // Symbols of a column are read as numbers, which become text afterwards. Elsewhere it
            // stays an enum, since a union may have an int as another branch.
            AvroType::Enum(_) if is_column => json!("int"),
            AvroType::Enum(symbols) => {
                json!({"type": "enum", "name": self.next(), "symbols": symbols.list})
            }
            AvroType::Union(branches) => {
                Value::Array(branches.iter().map(|b| self.physical(b, is_column)).collect())
            }
            AvroType::Array(items) => json!({"type": "array", "items": self.repeated(items)}),
            AvroType::Map(values) => json!({"type": "map", "values": self.repeated(values)}),
            AvroType::Record(fields) => self.nested(fields),
        }
    }

    /// The type of array items or map values. Records of nulls would take time and no bytes.
    fn repeated(&mut self, avro_type: &AvroType) -> Value {
        match avro_type.takes_no_bytes() {
            true => json!("null"),
            false => self.physical(avro_type, false),
        }
    }

    fn fixed(&mut self, size: usize) -> Value {
        json!({"type": "fixed", "name": self.next(), "size": size})
    }

    fn decimal(&mut self, precision: u8, scale: i8, fixed: Option<usize>) -> Value {
        let mut base = match fixed {
            Some(size) => self.fixed(size),
            None => json!({"type": "bytes"}),
        };
        base["logicalType"] = json!("decimal");
        base["precision"] = json!(precision);
        base["scale"] = json!(scale);
        base
    }

    /// A record in a value that is skipped. Fields that take no bytes are left out, unless the
    /// record has no others.
    fn nested(&mut self, fields: &[Field]) -> Value {
        let name = self.next();
        let mut columns: Vec<Value> = Vec::with_capacity(fields.len());
        let is_empty = fields.iter().all(|field| field.avro_type.takes_no_bytes());
        for (index, field) in fields.iter().enumerate() {
            if !is_empty && field.avro_type.takes_no_bytes() {
                continue;
            }
            let physical = self.physical(&field.avro_type, false);
            columns.push(json!({"name": column_name(index), "type": physical}));
        }
        json!({"type": "record", "name": name, "fields": columns})
    }
}
