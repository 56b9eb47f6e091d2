//! The form in which the rows of a sink are sent to its table.

use crate::postgres::column_type::Wire;
use crate::postgres::sql::{ident, idents};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pgpq::encoders::{EncoderBuilder, LargeStringEncoderBuilder, StringEncoderBuilder};
use pgpq::pg_schema::PostgresType;
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

/// The statements of a table that takes its rows from a temporary table, into which they are copied
/// first: to merge them by key, or to read what is sent in the input form of its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Staged {
    pub(crate) stage: String,
    /// What is deleted or rolled back would still be read over and over again.
    pub(crate) clear: String,
    /// Returns the number of keys and the number of rows stored.
    pub(crate) merge: String,
    /// All columns belong to the key, so that there is nothing to update in a row that exists.
    pub(crate) leaves_existing: bool,
    /// What keeps an older version from replacing a newer one; only with the lineage columns.
    pub(crate) order: Option<Order>,
    /// Some values are read while the rows are merged, so that an error there may be a row's: returns
    /// the numbers of the rows with a text that is no value of its column. PostgreSQL 16 and later.
    pub(crate) unreadable: Option<String>,
}

/// How a record that came back from the dead letters is compared with the versions that are there.
/// It is superseded by a version from the same partition of the same topic that came for the first
/// time after it did. Any other record is the newest of its partition when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// [`Staged::merge`] for rows of which some came back; returns also the numbers of those that
    /// are superseded.
    pub(crate) merge: String,
    /// Returns a row if the record is superseded by the table's row. Its parameters are the values
    /// of the columns [`Order::probe_columns`].
    pub(crate) probe: String,
    /// Indices in [`Layout::columns`].
    pub(crate) probe_columns: Vec<usize>,
    /// The index of `weir_replay_of` in [`Layout::columns`].
    pub(crate) replay_of: usize,
}

/// The column that orders the rows in the temporary table.
pub(crate) const ORDINAL: &str = "weir_row";

impl Layout {
    /// For `table`, a name in SQL.
    pub(crate) fn new(
        table: &str,
        input: SchemaRef,
        columns: Vec<Column>,
        upsert_key: Option<&[String]>,
    ) -> Result<Layout, pgpq::error::ErrorKind> {
        let mut fields: Vec<Field> =
            columns.iter().map(|c| Field::new(&c.name, c.wire.arrow(), true)).collect();
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let ordered = columns.iter().any(|column| column.source == Source::ReplayOf);
        let staged = match upsert_key {
            Some(key) => Some(Staged::merging(table, &columns, key, ordered)),
            None => columns.iter().any(|c| c.wire.input).then(|| Staged::new(table, &columns)),
        };
        let insert = insert(table, &names, upsert_key, ordered);
        let into = match &staged {
            None => format!("{table} ({})", idents(names.iter().copied())),
            Some(_) => {
                fields.push(Field::new(ORDINAL, DataType::Int32, false));
                format!("{} ({})", ident(STAGE), idents(names.iter().copied().chain([ORDINAL])))
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
        Layout::new(table, self.input, self.columns, None)
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

    /// Whether a row that exists counts as stored, although nothing is written.
    pub(crate) fn leaves_existing(&self) -> bool {
        self.staged.as_ref().is_some_and(|staged| staged.leaves_existing)
    }
}

fn encoder(field: Arc<Field>, jsonb: bool) -> Result<EncoderBuilder, pgpq::error::ErrorKind> {
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

/// Values are given for identity columns, too, as COPY does.
const OVERRIDING: &str = "OVERRIDING SYSTEM VALUE";

/// Stores one row. One that came back from the dead letters does not replace a newer one.
fn insert(table: &str, names: &[&str], key: Option<&[String]>, ordered: bool) -> String {
    let parameters: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
    let superseded = superseded("EXCLUDED");
    format!(
        "INSERT INTO {table} AS t ({}) {OVERRIDING} VALUES ({}){}{}",
        idents(names.iter().copied()),
        parameters.join(", "),
        key.map(|key| format!(" {}", on_conflict(names, key))).unwrap_or_default(),
        if ordered { format!(" WHERE ({superseded}) IS NOT TRUE") } else { String::new() }
    )
}

/// The temporary table. It is created in each transaction and dropped at its end, so that nothing
/// is left on a pooled connection.
const STAGE: &str = "weir_stage";

fn keys(key: &[String]) -> String {
    idents(key.iter().map(String::as_str))
}

/// The columns that an upsert changes in a row that exists.
fn updates<'a>(names: &'a [&str], key: &'a [String]) -> impl Iterator<Item = &'a str> {
    names.iter().copied().filter(|name| !key.iter().any(|k| k == name))
}

fn on_conflict(names: &[&str], key: &[String]) -> String {
    let updates: Vec<String> =
        updates(names, key).map(|name| format!("{0} = EXCLUDED.{0}", ident(name))).collect();
    let action = match updates.is_empty() {
        true => "NOTHING".to_owned(),
        false => format!("UPDATE SET {}", updates.join(", ")),
    };
    format!("ON CONFLICT ({}) DO {action}", keys(key))
}

/// Whether the row `row` came back from the dead letters and is older than the table's row `t`. A
/// row whose own record is not before this one is of an input topic that was recreated since.
fn superseded(row: &str) -> String {
    format!(
        "t.weir_topic = {row}.weir_topic AND t.weir_partition = {row}.weir_partition \
         AND coalesce(t.weir_replay_of, t.weir_offset) > {row}.weir_replay_of \
         AND t.weir_offset < {row}.weir_offset"
    )
}

impl Staged {
    /// Every row is a row of the table.
    fn new(target: &str, columns: &[Column]) -> Staged {
        let stage = ident(STAGE);
        let definitions: Vec<String> = columns.iter().map(Column::staged).collect();
        Staged {
            stage: format!(
                "CREATE TEMPORARY TABLE {stage} ({}, {ORDINAL} integer) ON COMMIT DROP",
                definitions.join(", ")
            ),
            clear: format!("TRUNCATE {stage}"),
            merge: format!(
                "WITH stored AS (INSERT INTO {target} ({}) {OVERRIDING} SELECT {} FROM {stage} \
                 ORDER BY {ORDINAL} RETURNING 1) \
                 SELECT (SELECT count(*) FROM {stage}), (SELECT count(*) FROM stored)",
                idents(columns.iter().map(|column| column.name.as_str())),
                list(columns.iter().map(Column::read))
            ),
            leaves_existing: false,
            order: None,
            unreadable: unreadable(columns),
        }
    }

    /// The last row of a key is the row of the table.
    fn merging(target: &str, columns: &[Column], key: &[String], ordered: bool) -> Staged {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let stage = ident(STAGE);
        let copies = columns.iter().map(|column| match column.wire.input {
            true => format!("''::text AS {}", ident(&column.name)),
            false => ident(&column.name),
        });
        let reads_values = columns.iter().any(|column| column.wire.input);
        let from = match reads_values {
            false => stage.clone(),
            true => {
                let columns = list(columns.iter().map(Column::read));
                format!("(SELECT {columns}, {ORDINAL} FROM {stage}) staged")
            }
        };
        Staged {
            stage: format!(
                "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS \
                 SELECT {}, 0::integer AS {ORDINAL} FROM {target} WITH NO DATA",
                list(copies)
            ),
            clear: format!("TRUNCATE {stage}"),
            merge: format!(
                "WITH {}, {} SELECT (SELECT count(*) FROM latest), (SELECT count(*) FROM stored)",
                latest(&idents(names.iter().copied()), key, &from),
                stored(target, &names, key)
            ),
            leaves_existing: updates(&names, key).next().is_none(),
            order: ordered.then(|| Order::new(target, &from, &names, key)),
            unreadable: unreadable(columns),
        }
    }
}

fn unreadable(columns: &[Column]) -> Option<String> {
    let read = columns.iter().filter(|column| column.wire.input);
    let invalid: Vec<String> = read
        .map(|column| {
            let declared = column.declared.replace('\'', "''");
            format!("NOT pg_input_is_valid({}, '{declared}')", ident(&column.name))
        })
        .collect();
    (!invalid.is_empty())
        .then(|| format!("SELECT array_agg({ORDINAL}) FROM {STAGE} WHERE {}", invalid.join(" OR ")))
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// The last row of each key.
fn latest(columns: &str, key: &[String], from: &str) -> String {
    let keys = keys(key);
    format!(
        "latest AS MATERIALIZED (SELECT DISTINCT ON ({keys}) {columns} FROM {from} \
         ORDER BY {keys}, {ORDINAL} DESC)"
    )
}

fn stored(target: &str, names: &[&str], key: &[String]) -> String {
    let columns = idents(names.iter().copied());
    format!(
        "stored AS (INSERT INTO {target} ({columns}) {OVERRIDING} \
         SELECT {columns} FROM latest {} RETURNING 1)",
        on_conflict(names, key)
    )
}

impl Order {
    /// `from` are the rows of the temporary table.
    fn new(target: &str, from: &str, names: &[&str], key: &[String]) -> Order {
        let columns = idents(names.iter().copied());
        let index = |name: &str| names.iter().position(|n| *n == name).unwrap_or_default();
        let equal: Vec<String> = key.iter().map(|k| format!("t.{0} = r.{0}", ident(k))).collect();
        // The subquery is for the few rows that came back, one after the other, by the index.
        let judged = format!(
            "judged AS MATERIALIZED (SELECT {columns}, {ORDINAL}, \
             weir_replay_of IS NOT NULL AND (\
             coalesce(max(coalesce(weir_replay_of, weir_offset)) OVER (\
             PARTITION BY {}, weir_partition ORDER BY {ORDINAL} \
             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) > weir_replay_of, false) \
             OR coalesce((SELECT true FROM {target} t WHERE {} AND {} LIMIT 1), false)\
             ) AS superseded FROM (SELECT * FROM {from}) r)",
            keys(key),
            equal.join(" AND "),
            superseded("r")
        );
        let probed: Vec<&str> = key
            .iter()
            .map(String::as_str)
            .chain(["weir_topic", "weir_partition", "weir_replay_of", "weir_offset"])
            .collect();
        let number = |name: &str| {
            probed.iter().position(|n| *n == name).map_or(String::new(), |n| format!("${}", n + 1))
        };
        let equal: Vec<String> =
            key.iter().map(|k| format!("t.{} = {}", ident(k), number(k))).collect();
        Order {
            merge: format!(
                "WITH {judged}, {}, {} SELECT (SELECT count(*) FROM latest), \
                 (SELECT count(*) FROM stored), \
                 (SELECT array_agg({ORDINAL}) FROM judged WHERE superseded)",
                latest(&columns, key, "judged WHERE NOT superseded"),
                stored(target, names, key)
            ),
            probe: format!(
                "SELECT 1 FROM {target} t WHERE {} AND t.weir_topic = {} \
                 AND t.weir_partition = {} AND coalesce(t.weir_replay_of, t.weir_offset) > {} \
                 AND t.weir_offset < {}",
                equal.join(" AND "),
                number("weir_topic"),
                number("weir_partition"),
                number("weir_replay_of"),
                number("weir_offset")
            ),
            probe_columns: probed.iter().map(|name| index(name)).collect(),
            replay_of: index(REPLAY_OF.0),
        }
    }
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
        let upsert =
            Staged::merging("stock", &columns(&["sku", "left"]), &["sku".to_owned()], false);
        assert!(upsert.merge.contains("DISTINCT ON (\"sku\")"));
        let update = "ON CONFLICT (\"sku\") DO UPDATE SET \"left\" = EXCLUDED.\"left\"";
        assert!(upsert.merge.contains(update));
    }

    #[test]
    fn an_upsert_of_keys_alone_updates_nothing() {
        let upsert = Staged::merging("stock", &columns(&["sku"]), &["sku".to_owned()], false);
        assert!(upsert.leaves_existing && upsert.merge.contains("DO NOTHING"));
    }

    #[test]
    fn rows_are_copied_straight_into_a_table_that_takes_their_form() {
        let layout = |columns| {
            let input = Arc::new(Schema::empty());
            Layout::new("stock", input, columns, None).unwrap()
        };
        assert_eq!(layout(columns(&["sku"])).staged, None);
        let mut read = columns(&["sku"]);
        read[0].wire.input = true;
        assert!(layout(read).staged.is_some());
    }
}
