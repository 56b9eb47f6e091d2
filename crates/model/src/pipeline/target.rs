//! `[[sink]]`: where rows go. A new kind is a module and a line in [`Target`].

mod files;
mod postgres;

pub use files::{Compression, Files, FilesFormat, FilesMode, PartitionBy};
pub use postgres::{Mode, Postgres, TableName, Tombstones};

use super::names;
use super::reader::Table;
use super::section::{Absent, Key, Kind, kinds};

/// The keys that every kind has.
const NAME: Key = Key {
    name: "name",
    kind: Kind::Text(names::name),
    absent: Absent::Refused,
    unit: "",
    doc: " Part of the consumer group and of the key of positions: never change it while the \
        pipeline has data in flight.",
};
const TYPE: Key = Key {
    name: "type",
    kind: Kind::Choice(Target::KINDS),
    absent: Absent::Refused,
    unit: "",
    doc: " The kind of target. A pipeline has at least one sink.",
};

/// `[[sink]]`.
#[derive(Debug, Clone)]
pub struct Sink {
    /// Part of the consumer group and of the key of positions: `[a-z][a-z0-9-]{0,62}`.
    pub name: String,
    /// `type` and what belongs to it.
    pub target: Target,
}

kinds! {
    /// Where a sink writes.
    pub enum Target: TargetConfig {
        Postgres(Postgres) = "postgres",
        Files(Files) = "files",
    }
}

/// What the configuration of every kind of target has.
pub trait TargetConfig {
    /// The table, folder or collection that the rows go to, for people.
    fn name(&self) -> String;

    /// Whether each record is a row of its own, so that the rows can be counted and a record that
    /// comes again is a second row. An upsert keeps one row per key.
    fn keeps_every_record(&self) -> bool;

    /// Whether each row names its input record.
    fn has_lineage(&self) -> bool;

    /// Whether a record that comes back from the dead letters can replace the row of a newer one,
    /// because the target does not know which one is newer.
    fn forgets_order(&self) -> bool;

    /// The columns by which rows are merged; `None` if each record is a row of its own.
    fn merges_by(&self) -> Option<&[String]>;

    /// What becomes of a record without a value.
    fn tombstones(&self) -> Tombstones;

    /// SQL over a row of the output: where it is true, the row of its key is deleted.
    fn delete_when(&self) -> Option<&str>;

    /// Equal for two sinks only if they write to the same table, folder or collection. May contain
    /// secrets, so it is compared and never shown. `None` when it is not known.
    fn destination(&self) -> Option<String>;

    /// The key that names the destination.
    fn destination_key(&self) -> &'static str;
}

impl Sink {
    pub(super) const LIST: &str = "sink";

    /// `None` when the kind does not exist, which is a mistake already.
    pub(super) fn read(table: &Table<'_>) -> Option<Sink> {
        let (name, kind) = (table.text(&NAME), table.text(&TYPE));
        Some(Sink { name, target: Target::read(&kind, table)? })
    }
}

impl Target {
    /// The table, folder or collection that the rows go to, for people.
    pub fn name(&self) -> String {
        self.config().name()
    }

    /// See [`TargetConfig::has_lineage`].
    pub fn has_lineage(&self) -> bool {
        self.config().has_lineage()
    }

    /// See [`TargetConfig::forgets_order`].
    pub fn forgets_order(&self) -> bool {
        self.config().forgets_order()
    }

    /// See [`TargetConfig::keeps_every_record`].
    pub fn keeps_every_record(&self) -> bool {
        self.config().keeps_every_record()
    }
}
