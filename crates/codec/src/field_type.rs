//! The type of one field, for programs that bring values in a form of their own.

use crate::avro_type::{AvroType, Field};
use crate::cast;
use crate::cell::{self, Cell};
use crate::json::{self, JsonRules, Misfit};
use crate::problem::Problem;
use crate::schema::Schema;
use crate::text::{self, TextFormat};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field as ArrowField};
use serde_json::value::RawValue;
use std::fmt;

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

    /// Of a value of this type, without a default.
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
        let from = ArrowField::new("", column.data_type().clone(), true);
        cast::column(column, &from, self).values
    }

    /// The value of JSON other than null, read as a record of a topic is, or what is wrong with it.
    /// Numbers may be texts and texts numbers, and names of members may be
    /// [similar](crate::similar_name).
    pub fn parse_json<'a>(&self, value: &'a RawValue) -> Result<Cell<'a>, Misfit> {
        json::value(value, &self.avro_type, JsonRules::OF_FILES)
            .map_err(|violation| violation.into_misfit())
    }

    /// Why no value of the field can be read from JSON or a text: the value inside that cannot, and
    /// what it is.
    pub fn unreadable(&self) -> Option<Problem> {
        json::unreadable_type(&self.avro_type).map(|(path, what)| Problem::new(&path, what))
    }

    /// Whether values of a column of this type can be values of the field, as [`crate::cast`] makes
    /// them.
    pub fn takes(&self, from: &DataType) -> bool {
        self.mismatch(&ArrowField::new("", from.clone(), true)).is_none()
    }

    /// Why no value of this column can be a value of the field: which part of it, and what it is
    /// ("is bytes, which cannot become int"). Texts that are UUIDs in 16 bytes are marked as
    /// [`weir_model::avro::with_uuids`] does.
    pub fn mismatch(&self, from: &ArrowField) -> Option<Problem> {
        cast::mismatch(from, &self.avro_type)
    }
}

/// The name of the type as in a schema.
impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.avro_type.fmt(f)
    }
}
