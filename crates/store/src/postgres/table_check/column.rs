//! The columns that a sink fills, before they are compared with a table.

use super::comparison::Comparison;
use crate::postgres::column_type;
use crate::postgres::layout::{LINEAGE, REPLAY_OF, Source};
use crate::postgres::pg_type::PgType;
use arrow::datatypes::{DataType, Field, SchemaRef};
use std::collections::BTreeMap;
use weir_model::avro::{is_uuid, type_name};

/// PostgreSQL's limit for names.
const MAX_NAME_BYTES: usize = 63;

/// A column that the sink fills.
#[derive(Debug)]
pub(super) struct TargetColumn {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) arrow: DataType,
    /// The texts are UUIDs.
    pub(super) is_uuid: bool,
    pub(super) nullable: bool,
    /// The type that the pipeline file specifies.
    pub(super) specified: Option<PgType>,
    /// The type that the column has when weir creates it: the specified one, or the one that
    /// follows from the output schema. `None`: PostgreSQL has none, or was not asked.
    pub(super) pg_type: Option<PgType>,
}

impl TargetColumn {
    /// Field `index` of the output schema.
    pub(super) fn field(index: usize, field: &Field) -> TargetColumn {
        TargetColumn {
            name: field.name().clone(),
            source: Source::Field(index),
            arrow: field.data_type().clone(),
            is_uuid: is_uuid(field),
            nullable: field.is_nullable(),
            specified: None,
            pg_type: None,
        }
    }

    /// A lineage column.
    pub(super) fn lineage(name: &str, source: Source) -> TargetColumn {
        let arrow = match source {
            Source::Partition => DataType::Int32,
            Source::Offset | Source::ReplayOf => DataType::Int64,
            Source::Topic | Source::Field(_) => DataType::Utf8,
        };
        TargetColumn {
            name: name.into(),
            source,
            arrow,
            is_uuid: false,
            nullable: source == Source::ReplayOf,
            specified: None,
            pg_type: None,
        }
    }
    /// The type that follows from the output schema; `None` if PostgreSQL has none.
    pub(super) fn natural(&self) -> Option<String> {
        match self.is_uuid {
            true => Some("uuid".into()),
            false => column_type::natural(&self.arrow),
        }
    }

    /// The type in the output schema.
    pub(super) fn shown(&self) -> String {
        if self.is_uuid { "uuid".into() } else { type_name(&self.arrow) }
    }
}

impl Comparison<'_> {
    /// The columns to fill: those of the schema and, if configured, those of the lineage. `named`
    /// are the types that the pipeline file specifies; `None` where PostgreSQL does not have them.
    pub(super) fn target_columns(
        &mut self,
        schema: &SchemaRef,
        named: &BTreeMap<String, Option<PgType>>,
    ) -> Vec<TargetColumn> {
        let fields = schema.fields().iter().enumerate();
        let mut columns: Vec<TargetColumn> =
            fields.map(|(index, field)| TargetColumn::field(index, field)).collect();
        if self.target.lineage {
            self.add_lineage(&mut columns);
        }
        for (name, pg_type) in named {
            self.specify(&mut columns, name, pg_type.as_ref());
        }
        for column in &columns {
            self.check_column(column);
        }
        columns
    }

    fn add_lineage(&mut self, columns: &mut Vec<TargetColumn>) {
        let order = self.target.upsert_key().map(|_| REPLAY_OF);
        for (name, source) in LINEAGE.into_iter().chain(order) {
            if columns.iter().any(|column| column.name == name) {
                let what = format!("the output schema already has a field {name}");
                self.mistake("lineage", what);
            } else {
                columns.push(TargetColumn::lineage(name, source));
            }
        }
    }

    /// Sets the type that the pipeline file specifies for the column `name`.
    fn specify(&mut self, columns: &mut [TargetColumn], name: &str, pg_type: Option<&PgType>) {
        let key = format!("columns.{name}");
        match (columns.iter_mut().find(|column| column.name == name), pg_type) {
            (None, _) => self.mistake(&key, "the output schema has no such field".into()),
            (Some(_), None) => {
                let text = self.target.columns.get(name).map(String::as_str).unwrap_or_default();
                self.mistake(&key, format!("PostgreSQL has no type `{text}`"));
            }
            (Some(column), Some(pg_type)) => column.specified = Some(pg_type.clone()),
        }
    }

    fn check_column(&mut self, column: &TargetColumn) {
        if column.name.len() > MAX_NAME_BYTES {
            let what = format!(
                "the name of field {} is longer than the {MAX_NAME_BYTES} bytes that PostgreSQL \
                 allows for a column",
                column.name
            );
            self.mistake("table", what);
        }
        if column.specified.is_none() && column.natural().is_none() {
            let what = format!(
                "field {} is {}, and PostgreSQL stores microseconds, not nanoseconds",
                column.name,
                column.shown()
            );
            let micros = column.shown().replace("nanos", "micros");
            self.mistake_with_hint("table", what, format!("type {micros} in the output schema"));
        }
    }

    /// The key of an upsert.
    pub(super) fn check_key(&mut self, schema: &SchemaRef) {
        let Some(key) = self.target.upsert_key() else { return };
        for column in key {
            match schema.field_with_name(column) {
                Err(_) => self.mistake("key", format!("the output schema has no field {column}")),
                Ok(field) if field.is_nullable() => self.mistake(
                    "key",
                    format!(
                        "field {column} is nullable, and null never equals another key: such rows \
                         would be inserted again and again"
                    ),
                ),
                Ok(_) => {}
            }
        }
    }
}
