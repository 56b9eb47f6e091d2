//! The form in which the rows of a sink are sent to its table.

use crate::postgres::column_type::Wire;
use crate::postgres::sql::{ident, idents, qualified};
use arrow::datatypes::{Field, Schema, SchemaRef};
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
}

/// The lineage columns in their order.
pub(crate) const LINEAGE: [(&str, Source); 3] = [
    ("weir_topic", Source::Topic),
    ("weir_partition", Source::Partition),
    ("weir_offset", Source::Offset),
];

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

/// The statements of an upsert, which copies its rows into a temporary table first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upsert {
    pub(crate) stage: String,
    pub(crate) clear: String,
    /// Returns the number of keys and the number of rows stored.
    pub(crate) merge: String,
    /// All columns belong to the key, so that there is nothing to update in a row that exists.
    pub(crate) leaves_existing: bool,
    on_conflict: String,
}

/// The column that orders the rows in the temporary table.
pub(crate) const ORDINAL: &str = "weir_row";

impl Layout {
    pub(crate) fn new(
        table: &TableName,
        input: SchemaRef,
        columns: Vec<Column>,
        upsert_key: Option<&[String]>,
    ) -> Result<Layout, pgpq::error::ErrorKind> {
        let mut fields: Vec<Field> =
            columns.iter().map(|c| Field::new(&c.name, c.wire.arrow.clone(), true)).collect();
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let upsert = upsert_key.map(|key| Upsert::new(table, &names, key));
        let insert = insert(table, &names, upsert.as_ref());
        let into = match &upsert {
            None => format!(
                "{} ({})",
                qualified(&table.schema, &table.table),
                idents(names.iter().copied())
            ),
            Some(_) => {
                fields.push(Field::new(ORDINAL, arrow::datatypes::DataType::Int32, false));
                format!("{} ({})", ident(STAGE), idents(names.iter().copied().chain([ORDINAL])))
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

    /// Whether a row that exists counts as stored, although nothing is written.
    pub(crate) fn leaves_existing(&self) -> bool {
        self.upsert.as_ref().is_some_and(|upsert| upsert.leaves_existing)
    }
}

/// Values are given for identity columns, too, as COPY does.
const OVERRIDING: &str = "OVERRIDING SYSTEM VALUE";

fn insert(table: &TableName, names: &[&str], upsert: Option<&Upsert>) -> String {
    let parameters: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
    format!(
        "INSERT INTO {} ({}) {OVERRIDING} VALUES ({}){}",
        qualified(&table.schema, &table.table),
        idents(names.iter().copied()),
        parameters.join(", "),
        upsert.map(|upsert| format!(" {}", upsert.on_conflict)).unwrap_or_default()
    )
}

/// The temporary table. It is created in each transaction and dropped at its end, so that nothing
/// is left on a pooled connection.
const STAGE: &str = "weir_stage";

impl Upsert {
    fn new(table: &TableName, names: &[&str], key: &[String]) -> Upsert {
        let target = qualified(&table.schema, &table.table);
        let (columns, keys) =
            (idents(names.iter().copied()), idents(key.iter().map(String::as_str)));
        let updates: Vec<String> = names
            .iter()
            .filter(|n| !key.iter().any(|k| k == *n))
            .map(|n| format!("{0} = EXCLUDED.{0}", ident(n)))
            .collect();
        let action = if updates.is_empty() {
            "NOTHING".to_owned()
        } else {
            format!("UPDATE SET {}", updates.join(", "))
        };
        let stage = ident(STAGE);
        let on_conflict = format!("ON CONFLICT ({keys}) DO {action}");
        Upsert {
            stage: format!(
                "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS \
                 SELECT {columns}, 0::integer AS {ORDINAL} FROM {target} WITH NO DATA"
            ),
            clear: format!("DELETE FROM {stage}"),
            merge: format!(
                "WITH latest AS MATERIALIZED (SELECT DISTINCT ON ({keys}) {columns} FROM {stage} \
                 ORDER BY {keys}, {ORDINAL} DESC), \
                 stored AS (INSERT INTO {target} ({columns}) {OVERRIDING} \
                 SELECT {columns} FROM latest {on_conflict} RETURNING 1) \
                 SELECT (SELECT count(*) FROM latest), (SELECT count(*) FROM stored)"
            ),
            leaves_existing: updates.is_empty(),
            on_conflict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> TableName {
        TableName { schema: "shop".into(), table: "stock".into() }
    }

    #[test]
    fn an_upsert_keeps_the_last_row_of_a_key() {
        let upsert = Upsert::new(&table(), &["sku", "left"], &["sku".to_owned()]);
        assert!(upsert.merge.contains("DISTINCT ON (\"sku\")"));
        let update = "ON CONFLICT (\"sku\") DO UPDATE SET \"left\" = EXCLUDED.\"left\"";
        assert!(upsert.merge.contains(update));
    }

    #[test]
    fn an_upsert_of_keys_alone_updates_nothing() {
        let upsert = Upsert::new(&table(), &["sku"], &["sku".to_owned()]);
        assert!(upsert.leaves_existing && upsert.merge.contains("DO NOTHING"));
    }
}
