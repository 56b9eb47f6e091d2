//! A writer schema as the library's decoder gets it: the same bytes, described by plain types only.
//!
//! Names, logical types, enums and defaults are left out, so that what they mean is decided here
//! and nowhere else: the library turns a uuid into 16 bytes, an enum into a dictionary, and
//! resolves some logical types wrongly without saying so.

use crate::shape::{Field, Shape};
use serde_json::{Value, json};

/// Name of column number `index` of the writer's record.
pub(crate) fn column_name(index: usize) -> String {
    format!("c{index}")
}

/// The writer's record, and the same reduced to `kept` fields (`None` when all are kept).
pub(crate) fn schemas(fields: &[Field], kept: &[usize]) -> (String, Option<String>) {
    let mut names = Names(0);
    let columns: Vec<Value> = fields
        .iter()
        .enumerate()
        .map(|(index, field)| json!({"name": column_name(index), "type": names.of(&field.shape, kept.contains(&index))}))
        .collect();
    let reduced = (kept.len() < fields.len())
        .then(|| record(kept.iter().map(|index| columns[*index].clone()).collect()).to_string());
    (record(columns).to_string(), reduced)
}

fn record(fields: Vec<Value>) -> Value {
    json!({"type": "record", "name": "r", "fields": fields})
}

/// Counts the names given to nested types.
struct Names(usize);

impl Names {
    fn next(&mut self) -> String {
        self.0 += 1;
        format!("t{}", self.0)
    }

    /// The type of a value; `kept` when it becomes a column.
    fn of(&mut self, shape: &Shape, kept: bool) -> Value {
        match shape {
            Shape::Null => json!("null"),
            Shape::Boolean => json!("boolean"),
            Shape::Int | Shape::Date | Shape::TimeMillis => json!("int"),
            Shape::Long | Shape::TimeMicros | Shape::Timestamp { .. } => json!("long"),
            Shape::Float => json!("float"),
            Shape::Double => json!("double"),
            Shape::Bytes | Shape::Foreign { fixed: None, .. } => json!("bytes"),
            Shape::String | Shape::Uuid { fixed: false } => json!("string"),
            Shape::Uuid { fixed: true } => self.fixed(16),
            Shape::Fixed(size) | Shape::Foreign { fixed: Some(size), .. } => self.fixed(*size),
            Shape::Decimal { precision, scale, fixed } if kept => {
                self.decimal(*precision, *scale, *fixed)
            }
            Shape::Decimal { fixed: Some(size), .. } => self.fixed(*size),
            Shape::Decimal { fixed: None, .. } => json!("bytes"),
            // A column of symbols is read as their numbers, which become texts afterwards.
            // Elsewhere it stays an enum, since a union may hold an int beside it.
            Shape::Enum(_) if kept => json!("int"),
            Shape::Enum(symbols) => {
                json!({"type": "enum", "name": self.next(), "symbols": symbols.list})
            }
            Shape::Union(branches) => {
                Value::Array(branches.iter().map(|b| self.of(b, kept)).collect())
            }
            Shape::Array(items) => json!({"type": "array", "items": self.of(items, false)}),
            Shape::Map(values) => json!({"type": "map", "values": self.of(values, false)}),
            Shape::Record(fields) => self.nested(fields),
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

    fn nested(&mut self, fields: &[Field]) -> Value {
        let name = self.next();
        let fields: Vec<Value> = fields
            .iter()
            .enumerate()
            .map(|(i, f)| json!({"name": column_name(i), "type": self.of(&f.shape, false)}))
            .collect();
        json!({"type": "record", "name": name, "fields": fields})
    }
}
