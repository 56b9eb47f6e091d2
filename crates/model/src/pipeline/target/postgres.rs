//! `type = "postgres"`.

use crate::pipeline::names;
use crate::pipeline::reader::Table;
use crate::pipeline::section::Absent::{Is, Means, Refused};
use crate::pipeline::section::Kind::{self, Choice, Flag, Map, Text, Texts};
use crate::pipeline::section::{Finish, Key, Value, choice, list_of, section};
use crate::pipeline::target::{NAME, TYPE, TargetConfig};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::fmt;

section! {
    /// A table in PostgreSQL.
    pub struct Postgres = list_of("sink", "postgres"), with [NAME, TYPE] {
        /// `postgres://user:password@host:port/database`; special characters in user and password
        /// are percent-encoded.
        url: Secret = Kind::Secret(names::postgres_url),
            Is("${WEIR_POSTGRES:-postgres://weir@localhost:5432/weir}"), "";
        /// `schema.table`, or a table in `public`; created when missing.
        table: TableName = Text(names::table), Refused, "";
        /// `append`: every record is a row. `upsert`: the last record of a key is the row; with
        /// `lineage`, an older one that comes back from the dead letters does not replace it.
        mode: Mode = Choice(&["append", "upsert"]), Is("append"), "";
        /// Columns of the unique index behind `upsert`.
        key: Vec<String> = Texts(names::identifier), Means("none; `upsert` needs it"), "";
        /// What a record without a value does: it is a dead letter, it is counted as filtered, or it
        /// deletes the row of its key, which needs `upsert`. The last two hand tombstones on to the
        /// output topic.
        tombstones: Tombstones = Choice(&["dead_letter", "skip", "delete"]), Is("dead_letter"), "";
        /// Boolean SQL over the columns of the output schema: where it is true, the row of the
        /// record's key is deleted instead of stored; needs `upsert`. With `lineage`, a version from
        /// before comes back from the dead letters neither after this nor after a tombstone.
        delete_when: Option<String> = Text(names::filled), Means("no row"), "";
        /// Column → PostgreSQL type where another one is needed, such as `varchar(50)`. An instant
        /// in a column that is named `timestamp` here is stored in UTC.
        columns: BTreeMap<String, String> = Map(names::identifier, names::column_type),
            Means("types that follow from the Avro schema"), "";
        /// Adds `weir_topic`, `weir_partition`, `weir_offset` of the input record to every row; with
        /// `upsert` also `weir_replay_of`, the offset of its first time if it came back.
        lineage: bool = Flag, Is("false"), "";
    }
}

/// `schema.table`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableName {
    /// By default `public`.
    pub schema: String,
    /// The table.
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

impl Value for TableName {
    fn read(table: &Table<'_>, key: &Key) -> TableName {
        let text = table.text(key);
        let (schema, name) = names::split_table(&text);
        TableName { schema: schema.into(), table: name.into() }
    }
}

choice! {
    /// What becomes of a record without a value.
    Tombstones {
        /// A dead letter.
        DeadLetter = "dead_letter",
        /// It is counted as filtered.
        Skip = "skip",
        /// The row of its key is deleted.
        Delete = "delete",
    }
}

/// How rows enter the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every record is a row.
    #[default]
    Append,
    /// The last record of a key is the row; `key` names the columns of a unique index.
    Upsert,
}

impl Value for Mode {
    fn read(table: &Table<'_>, key: &Key) -> Mode {
        if table.text(key) == "upsert" { Mode::Upsert } else { Mode::Append }
    }
}

impl Postgres {
    /// Whether a record may delete a row.
    pub fn deletes(&self) -> bool {
        self.tombstones == Tombstones::Delete || self.delete_when.is_some()
    }

    /// The columns of the unique index behind `upsert`; `None` in mode `append`.
    pub fn upsert_key(&self) -> Option<&[String]> {
        (self.mode == Mode::Upsert).then_some(self.key.as_slice())
    }
}

impl TargetConfig for Postgres {
    fn name(&self) -> String {
        self.table.to_string()
    }

    fn keeps_every_record(&self) -> bool {
        self.mode == Mode::Append
    }

    fn has_lineage(&self) -> bool {
        self.lineage
    }

    fn forgets_order(&self) -> bool {
        self.mode == Mode::Upsert && !self.lineage
    }

    fn merges_by(&self) -> Option<&[String]> {
        self.upsert_key()
    }

    fn tombstones(&self) -> Tombstones {
        self.tombstones
    }

    fn delete_when(&self) -> Option<&str> {
        self.delete_when.as_deref()
    }

    fn destination_key(&self) -> &'static str {
        "table"
    }

    fn destination(&self) -> Option<String> {
        let known = !self.table.table.is_empty() && !self.url.expose().is_empty();
        known.then(|| format!("{} {}", self.url.expose(), self.table))
    }
}

impl Finish for Postgres {
    fn finish(&mut self, table: &Table<'_>) {
        let has_key = table.contains("key");
        if self.mode == Mode::Append {
            let needs = "deletes rows, which needs mode = \"upsert\"";
            if self.tombstones == Tombstones::Delete {
                table.report("tombstones", needs);
            }
            if self.delete_when.is_some() {
                table.report("delete_when", needs);
            }
        }
        match self.mode {
            Mode::Upsert if !has_key => {
                table.report(
                    "key",
                    "is missing; mode = \"upsert\" needs the columns of a unique index",
                );
            }
            Mode::Append if has_key => {
                table.report(
                    "key",
                    "belongs to mode = \"upsert\"; with \"append\" every record is a row",
                );
            }
            Mode::Upsert if self.lineage && self.key.iter().any(|k| k.starts_with("weir_")) => {
                table.report("key", "names a lineage column, which differs in every record");
            }
            Mode::Upsert | Mode::Append => {}
        }
    }
}
