//! The form in which the rows of a sink are sent to its table.

mod merge;

use crate::postgres::column_type::Wire;
use crate::postgres::sql::{ident, idents, qualified};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use merge::{DELETED, ORDINAL, STAGE, insert};
pub(crate) use merge::{Order, Upsert};
use pgpq::encoders::{EncoderBuilder, StringEncoderBuilder};
use pgpq::pg_schema::PostgresType;
use std::collections::HashMap;
use std::sync::Arc;
use weir_model::pipeline::TableName;

/// The origin of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The field of the output schema with this index.
    Field(usize),
    /// `weir_topic`.
    Topic,
    /// `weir_partition`.
    Partition,
    /// `weir_offset`.
    Offset,
    /// `weir_replay_of`.
    ReplayOf,
}

/// The lineage columns in their order.
pub(crate) const LINEAGE: [(&str, Source); 3] = [
    ("weir_topic", Source::Topic),
    ("weir_partition", Source::Partition),
    ("weir_offset", Source::Offset),
];

/// What a table that merges by key has beside the lineage: null, or the offset at which a record
/// that came back from the dead letters came for the first time. It orders the versions of a row.
pub(crate) const REPLAY_OF: (&str, Source) = ("weir_replay_of", Source::ReplayOf);

/// A column of the table that weir fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) wire: Wire,
}

/// The order of a table's columns and the form of their values. Made by [`super::TableCheck`];
/// shared by all workers of the sink.
#[derive(Debug)]
pub struct Layout {
    pub(crate) columns: Vec<Column>,
    /// The output schema: that of the batches to encode.
    pub(crate) input: SchemaRef,
    /// The schema that pgpq encodes.
    pub(crate) output: SchemaRef,
    pub(crate) encoders: HashMap<String, EncoderBuilder>,
    pub(crate) copy: String,
    /// Stores one row.
    pub(crate) insert: String,
    pub(crate) upsert: Option<Upsert>,
}

impl Layout {
    pub(crate) fn new(
        table: &TableName,
        input: SchemaRef,
        columns: Vec<Column>,
        upsert_key: Option<&[String]>,
        deletes: bool,
    ) -> Result<Layout, pgpq::error::ErrorKind> {
        let mut fields: Vec<Field> =
            columns.iter().map(|c| Field::new(&c.name, c.wire.arrow.clone(), true)).collect();
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let ordered = columns.iter().any(|column| column.source == Source::ReplayOf);
        let upsert = upsert_key.map(|key| Upsert::new(table, &names, key, (ordered, deletes)));
        let insert = insert(table, &names, upsert_key, ordered);
        let into = match &upsert {
            None => format!(
                "{} ({})",
                qualified(&table.schema, &table.table),
                idents(names.iter().copied())
            ),
            Some(_) => {
                fields.push(Field::new(ORDINAL, DataType::Int32, false));
                let mut staged: Vec<&str> = names.iter().copied().chain([ORDINAL]).collect();
                if deletes {
                    fields.push(Field::new(DELETED, DataType::Boolean, false));
                    staged.push(DELETED);
                }
                format!("{} ({})", ident(STAGE), idents(staged))
            }
        };
        let mut encoders = HashMap::with_capacity(fields.len());
        for (index, field) in fields.iter().enumerate() {
            let field = Arc::new(field.clone());
            let encoder = match columns.get(index).is_some_and(|c| c.wire.jsonb) {
                true => EncoderBuilder::String(StringEncoderBuilder::new_with_output(
                    field.clone(),
                    PostgresType::Jsonb,
                )?),
                false => EncoderBuilder::try_new(field.clone())?,
            };
            encoders.insert(field.name().clone(), encoder);
        }
        Ok(Layout {
            columns,
            input,
            output: Arc::new(Schema::new(fields)),
            encoders,
            insert,
            copy: format!("COPY {into} FROM STDIN (FORMAT binary)"),
            upsert,
        })
    }

    /// Whether an older version of a row is told from a newer one.
    pub fn has_order(&self) -> bool {
        self.order().is_some()
    }

    /// How versions of a row are ordered; `None` if the last one to come stays.
    pub(crate) fn order(&self) -> Option<&Order> {
        self.upsert.as_ref()?.order.as_ref()
    }

    /// Whether rows may be deleted.
    pub(crate) fn deletes(&self) -> bool {
        self.upsert.as_ref().is_some_and(|upsert| upsert.deletes)
    }

    /// Whether rows are merged by this column.
    pub(crate) fn is_key(&self, column: &str) -> bool {
        self.upsert.as_ref().is_some_and(|upsert| upsert.key.iter().any(|key| key == column))
    }

    /// Whether a row that exists counts as stored, although nothing is written.
    pub(crate) fn leaves_existing(&self) -> bool {
        self.upsert.as_ref().is_some_and(|upsert| upsert.leaves_existing)
    }
}
