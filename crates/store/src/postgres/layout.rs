//! The form in which the rows of a sink are sent to its table.

mod staged;

pub(crate) use staged::{Order, Staged};

use crate::postgres::column_type::Wire;
use crate::postgres::sql::{ident, idents};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pgpq::encoders::{EncoderBuilder, LargeStringEncoderBuilder, StringEncoderBuilder};
use pgpq::pg_schema::PostgresType;
use staged::{DELETED, ORDINAL, STAGE, insert};
use std::collections::HashMap;
use std::sync::Arc;

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
    /// Its type in SQL without a modifier, or the base type of its domain.
    pub(crate) base: String,
    /// Its type in SQL.
    pub(crate) declared: String,
}

impl Column {
    /// Its definition in a temporary table: text, if only the server can read the values.
    fn staged(&self) -> String {
        let staged = if self.wire.input { "text" } else { &self.base };
        format!("{} {staged}", ident(&self.name))
    }

    /// Its value from a temporary table. The cast is to the type without its modifier, because a
    /// cast to `varchar(3)` cuts texts off, while an assignment refuses them.
    fn read(&self) -> String {
        let name = ident(&self.name);
        match self.wire.input {
            true => format!("{name}::{} AS {name}", self.base),
            false => name,
        }
    }
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
    pub(crate) staged: Option<Staged>,
}

impl Layout {
    /// For `table`, a name in SQL.
    pub(crate) fn new(
        table: &str,
        input: SchemaRef,
        columns: Vec<Column>,
        upsert_key: Option<&[String]>,
        deletes: bool,
    ) -> Result<Layout, pgpq::error::ErrorKind> {
        let mut fields: Vec<Field> =
            columns.iter().map(|c| Field::new(&c.name, c.wire.arrow(), true)).collect();
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let ordered = columns.iter().any(|column| column.source == Source::ReplayOf);
        let staged = match upsert_key {
            Some(key) => Some(Staged::merging(table, &columns, key, (ordered, deletes))),
            None => columns.iter().any(|c| c.wire.input).then(|| Staged::new(table, &columns)),
        };
        let insert = insert(table, &names, upsert_key, ordered);
        let into = match &staged {
            None => format!("{table} ({})", idents(names.iter().copied())),
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
            let jsonb = columns.get(index).is_some_and(|c| c.wire.jsonb);
            encoders.insert(field.name().clone(), encoder(field, jsonb)?);
        }
        Ok(Layout {
            columns,
            input,
            output: Arc::new(Schema::new(fields)),
            encoders,
            insert,
            copy: format!("COPY {into} FROM STDIN (FORMAT binary)"),
            staged,
        })
    }

    /// The same columns, every record as a row of its own in `table`.
    pub(crate) fn appending_to(self, table: &str) -> Result<Layout, pgpq::error::ErrorKind> {
        Layout::new(table, self.input, self.columns, None, false)
    }

    /// Whether an older version of a row is told from a newer one.
    pub fn has_order(&self) -> bool {
        self.order().is_some()
    }

    /// How versions of a row are ordered; `None` if the last one to come stays.
    pub(crate) fn order(&self) -> Option<&Order> {
        self.staged.as_ref()?.order.as_ref()
    }

    /// Whether the server reads values in the input form of their type while it merges rows.
    pub(crate) fn reads_values(&self) -> bool {
        self.staged.as_ref().is_some_and(|staged| staged.unreadable.is_some())
    }

    /// Whether rows may be deleted.
    pub(crate) fn deletes(&self) -> bool {
        self.staged.as_ref().is_some_and(|staged| staged.deletes)
    }

    /// Whether rows are merged by this column.
    pub(crate) fn is_key(&self, column: &str) -> bool {
        self.staged.as_ref().is_some_and(|staged| staged.key.iter().any(|key| key == column))
    }

    /// Whether a row that exists counts as stored, although nothing is written.
    pub(crate) fn leaves_existing(&self) -> bool {
        self.staged.as_ref().is_some_and(|staged| staged.leaves_existing)
    }
}

/// Of the values of a column, or of the items of a list; `jsonb` puts a version before its text.
pub(crate) fn encoder(
    field: Arc<Field>,
    jsonb: bool,
) -> Result<EncoderBuilder, pgpq::error::ErrorKind> {
    Ok(match (jsonb, field.data_type()) {
        (false, _) => EncoderBuilder::try_new(field)?,
        (true, DataType::LargeUtf8) => EncoderBuilder::LargeString(
            LargeStringEncoderBuilder::new_with_output(field, PostgresType::Jsonb)?,
        ),
        (true, _) => EncoderBuilder::String(StringEncoderBuilder::new_with_output(
            field,
            PostgresType::Jsonb,
        )?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<Column> {
        let column = |name: &&str| Column {
            name: (*name).into(),
            source: Source::Topic,
            wire: Wire::cast(DataType::Utf8),
            base: "text".into(),
            declared: "text".into(),
        };
        names.iter().map(column).collect()
    }

    #[test]
    fn an_upsert_keeps_the_last_row_of_a_key() {
        let upsert = Staged::merging(
            "stock",
            &columns(&["sku", "left"]),
            &["sku".to_owned()],
            (false, false),
        );
        assert!(upsert.merge.contains("DISTINCT ON (\"sku\")"));
        let update = "ON CONFLICT (\"sku\") DO UPDATE SET \"left\" = EXCLUDED.\"left\"";
        assert!(upsert.merge.contains(update));
    }

    #[test]
    fn an_upsert_of_keys_alone_updates_nothing() {
        let upsert =
            Staged::merging("stock", &columns(&["sku"]), &["sku".to_owned()], (false, false));
        assert!(upsert.leaves_existing && upsert.merge.contains("DO NOTHING"));
    }

    #[test]
    fn rows_are_copied_straight_into_a_table_that_takes_their_form() {
        let layout = |columns| {
            let input = Arc::new(Schema::empty());
            Layout::new("stock", input, columns, None, false).unwrap()
        };
        assert_eq!(layout(columns(&["sku"])).staged, None);
        let mut read = columns(&["sku"]);
        read[0].wire.input = true;
        assert!(layout(read).staged.is_some());
    }
}
