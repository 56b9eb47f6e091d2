//! The statements that bring rows into a table, one by one or from a temporary table.

use super::{Column, REPLAY_OF};
use crate::postgres::sql::{ident, idents};

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
    /// The columns that rows are merged by; none if every row is one of the table.
    pub(super) key: Vec<String>,
    /// Whether rows may be deleted: the temporary table says of each whether it is to be.
    pub(super) deletes: bool,
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
/// The column that says whether the row of the key is to be deleted.
pub(super) const DELETED: &str = "weir_deleted";

/// Values are given for identity columns, too, as COPY does.
const OVERRIDING: &str = "OVERRIDING SYSTEM VALUE";

/// Stores one row. One that came back from the dead letters does not replace a newer one.
pub(super) fn insert(table: &str, names: &[&str], key: Option<&[String]>, ordered: bool) -> String {
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
pub(super) const STAGE: &str = "weir_stage";

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
    pub(super) fn new(target: &str, columns: &[Column]) -> Staged {
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
            key: Vec::new(),
            deletes: false,
        }
    }

    /// The last row of a key is the row of the table.
    pub(super) fn merging(
        target: &str,
        columns: &[Column],
        key: &[String],
        (ordered, deletes): (bool, bool),
    ) -> Staged {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let stage = ident(STAGE);
        let copies = columns.iter().map(|column| match column.wire.input {
            true => format!("''::text AS {}", ident(&column.name)),
            false => ident(&column.name),
        });
        let flag = if deletes { format!(", {DELETED}") } else { String::new() };
        let reads_values = columns.iter().any(|column| column.wire.input);
        let from = match reads_values {
            false => stage.clone(),
            true => {
                let columns = list(columns.iter().map(Column::read));
                format!("(SELECT {columns}, {ORDINAL}{flag} FROM {stage}) staged")
            }
        };
        Staged {
            stage: format!(
                "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS \
                 SELECT {}, 0::integer AS {ORDINAL}{} FROM {target} WITH NO DATA",
                list(copies),
                if deletes { format!(", false AS {DELETED}") } else { String::new() }
            ),
            clear: format!("TRUNCATE {stage}"),
            merge: format!("WITH {}", merge(target, &names, key, &from, (ordered, deletes))),
            leaves_existing: updates(&names, key).next().is_none(),
            order: ordered.then(|| Order::new(target, &from, &names, key, deletes)),
            unreadable: unreadable(columns),
            key: key.to_vec(),
            deletes,
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

/// The statement that brings the last row of each key from `from` into the table, with the common
/// table expressions before it.
fn merge(
    target: &str,
    names: &[&str],
    key: &[String],
    from: &str,
    (ordered, deletes): (bool, bool),
) -> String {
    let (columns, keys) = (idents(names.iter().copied()), keys(key));
    let deleted = if deletes { format!(", {DELETED}") } else { String::new() };
    let latest = format!(
        "latest AS MATERIALIZED (SELECT DISTINCT ON ({keys}) {columns}{deleted} FROM {from} \
         ORDER BY {keys}, {ORDINAL} DESC)"
    );
    let kept = if deletes { format!(" WHERE NOT {DELETED}") } else { String::new() };
    let stored = format!(
        "stored AS (INSERT INTO {target} ({columns}) {OVERRIDING} \
         SELECT {columns} FROM latest{kept} {} RETURNING 1)",
        on_conflict(names, key)
    );
    if !deletes {
        return format!(
            "{latest}, {stored} SELECT (SELECT count(*) FROM latest), (SELECT count(*) FROM stored)"
        );
    }
    let equal = equal(key, "r");
    let gone = format!(
        "gone AS (DELETE FROM {target} t USING latest r WHERE r.{DELETED} AND {equal} RETURNING 1)"
    );
    let marked = match ordered {
        true => format!(", {}", marked(target, key)),
        false => String::new(),
    };
    // A key without a row has nothing to delete; a trigger may keep a row.
    format!(
        "{latest}, {stored}, {gone}{marked} SELECT \
         (SELECT count(*) FROM latest WHERE NOT {DELETED}) + \
         (SELECT count(*) FROM latest r JOIN {target} t ON {equal} WHERE r.{DELETED}), \
         (SELECT count(*) FROM stored) + (SELECT count(*) FROM gone)"
    )
}

fn equal(key: &[String], row: &str) -> String {
    let equal: Vec<String> = key.iter().map(|k| format!("t.{0} = {row}.{0}", ident(k))).collect();
    equal.join(" AND ")
}

/// The key of a row as it is in `weir.deleted_keys`. A session of weir shows times in UTC.
fn key_value(key: &[String], row: &str) -> String {
    let parts: Vec<String> = key.iter().map(|k| format!("{row}.{}", ident(k))).collect();
    format!("jsonb_build_array({})", parts.join(", "))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Remembers when a key was deleted, so that a version from before does not come back.
fn marked(target: &str, key: &[String]) -> String {
    format!(
        "marked AS (INSERT INTO weir.deleted_keys AS d \
         (table_name, key, topic, partition, source_offset, replay_of) \
         SELECT {}, {}, r.weir_topic, r.weir_partition, r.weir_offset, r.weir_replay_of \
         FROM latest r WHERE r.{DELETED} ON CONFLICT (table_name, key) DO UPDATE SET \
         topic = EXCLUDED.topic, partition = EXCLUDED.partition, \
         source_offset = EXCLUDED.source_offset, replay_of = EXCLUDED.replay_of, \
         deleted_at = now())",
        literal(target),
        key_value(key, "r")
    )
}

/// Whether the key of the row `row`, which came back from the dead letters, was deleted after the
/// row's first time.
fn deleted_since(target: &str, key: &[String], row: &str) -> String {
    format!(
        "coalesce((SELECT true FROM weir.deleted_keys d WHERE d.table_name = {} AND d.key = {} \
         AND d.topic = {row}.weir_topic AND d.partition = {row}.weir_partition \
         AND coalesce(d.replay_of, d.source_offset) > {row}.weir_replay_of \
         AND d.source_offset < {row}.weir_offset), false)",
        literal(target),
        key_value(key, row)
    )
}

impl Order {
    /// `from` are the rows of the temporary table.
    fn new(target: &str, from: &str, names: &[&str], key: &[String], deletes: bool) -> Order {
        let columns = idents(names.iter().copied());
        let index = |name: &str| names.iter().position(|n| *n == name).unwrap_or_default();
        let (flag, or_deleted) = match deletes {
            true => (format!(", {DELETED}"), format!(" OR {}", deleted_since(target, key, "r"))),
            false => (String::new(), String::new()),
        };
        // The subqueries are for the few rows that came back, one after the other, by the index.
        let judged = format!(
            "judged AS MATERIALIZED (SELECT {columns}, {ORDINAL}{flag}, \
             weir_replay_of IS NOT NULL AND (\
             coalesce(max(coalesce(weir_replay_of, weir_offset)) OVER (\
             PARTITION BY {}, weir_partition ORDER BY {ORDINAL} \
             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) > weir_replay_of, false) \
             OR coalesce((SELECT true FROM {target} t WHERE {} AND {} LIMIT 1), false)\
             {or_deleted}) AS superseded FROM (SELECT * FROM {from}) r)",
            keys(key),
            equal(key, "r"),
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
                "WITH {judged}, {}, (SELECT array_agg({ORDINAL}) FROM judged WHERE superseded)",
                merge(target, names, key, "judged WHERE NOT superseded", (true, deletes))
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
