//! The type of one field, for programs that bring values in a form of their own.

use crate::avro_type::{AvroType, Field};
use crate::cast::cast_column;
use crate::cell::{self, Cell};
use crate::json::{self, JsonRules};
use crate::schema::Schema;
use crate::text::{self, TextFormat};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use serde_json::value::RawValue;
use std::fmt;
use weir_model::cast::{Cast, cast};

/// The type of a field of a schema.
#[derive(Debug, Clone)]
pub struct FieldType {
    avro_type: AvroType,
    data_type: DataType,
    default: Option<Cell<'static>>,
}

impl Schema {
    /// The types of the fields, in the order of [`Schema::arrow`].
    pub fn field_types(&self) -> Vec<FieldType> {
        self.fields().iter().map(FieldType::of).collect()
    }
}

impl FieldType {
    pub(crate) fn of(field: &Field) -> FieldType {
        let default = field.default.as_ref();
        let default = default.and_then(|value| cell::default_value(value, &field.avro_type));
        FieldType { default, ..FieldType::of_type(&field.avro_type) }
    }

    /// Of a field of this type, without a default.
    pub(crate) fn of_type(avro_type: &AvroType) -> FieldType {
        let (avro_type, _) = avro_type.optional();
        let data_type = avro_type.arrow().unwrap_or(DataType::Null);
        FieldType { avro_type: avro_type.clone(), data_type, default: None }
    }

    /// The type of the field's column.
    pub fn arrow(&self) -> &DataType {
        &self.data_type
    }

    pub(crate) fn avro_type(&self) -> &AvroType {
        &self.avro_type
    }

    /// The field's default.
    pub fn default(&self) -> Option<&Cell<'static>> {
        self.default.as_ref()
    }

    /// The value of a text, or what is wrong with it ("is not a whole number").
    pub fn parse<'a>(&self, text: &'a str) -> Result<Cell<'a>, String> {
        text::parse(text, &self.avro_type)
    }

    /// The same for a text of this format.
    pub fn parse_as<'a>(&self, text: &'a str, format: &TextFormat) -> Result<Cell<'a>, String> {
        text::parse_as(text, &self.avro_type, format)
    }

    /// The values of a column as values of the field, as [`crate::cast`] makes them: null where one
    /// is none.
    pub fn cast(&self, column: &ArrayRef) -> ArrayRef {
        cast_column(column, self)
    }

    /// The value of a text, a number or a truth value of JSON, or what is wrong with it.
    pub fn parse_json<'a>(&self, value: &'a RawValue) -> Result<Cell<'a>, String> {
        let rules = JsonRules { numbers_as_text: true, ..JsonRules::default() };
        json::scalar(value, &self.avro_type, rules)
    }

    /// Whether values of a column of this type can be values of the field, as [`crate::cast`] makes
    /// them.
    pub fn takes(&self, from: &DataType) -> bool {
        match (from, &self.avro_type) {
            (DataType::FixedSizeBinary(16), AvroType::Uuid { .. }) => true,
            (from, AvroType::Uuid { .. } | AvroType::Enum(_)) => {
                matches!(cast(from, &self.data_type), Cast::Same | Cast::Exact)
            }
            (from, _) => cast(from, &self.data_type) != Cast::Refused,
        }
    }
}

/// The name of the type as in a schema.
impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.avro_type.fmt(f)
    }
}
