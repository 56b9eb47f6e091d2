//! `[source]`: where the producer takes records from. A new kind is a module and a line in
//! [`Source`].

mod file;
mod synthetic;

pub use file::{FileFormat, FileSource};
pub use synthetic::Synthetic;

use super::reader::Table;
use super::section::{Absent, Key, Kind, kinds};

/// The key that every kind has.
const TYPE: Key = Key {
    name: "type",
    kind: Kind::Choice(Source::KINDS),
    absent: Absent::Refused,
    unit: "",
    doc: " The kind of source. Without `[source]` other programs write the input topic.",
};

kinds! {
    /// `[source]`.
    pub enum Source: SourceConfig {
        Synthetic(Synthetic) = "synthetic",
        File(FileSource) = "file",
    }
}

/// What the configuration of every kind of source has.
pub trait SourceConfig {
    /// How many partitions the source has: each has one position and one transactional producer.
    fn partitions(&self) -> u32;

    /// Records per second over all partitions; 0 = unlimited.
    fn rate(&self) -> u64;

    /// Changes what [`SourceConfig::rate`] returns.
    fn set_rate(&mut self, rate: u64);

    /// Whether it ends.
    fn end(&self) -> End;

    /// Lets it end after so many records; false for kinds that cannot.
    fn set_records(&mut self, records: u64) -> bool {
        let _ = records;
        false
    }

    /// The fields of the input schema that the configuration names, each with its key below
    /// `source.`.
    fn fields(&self) -> Vec<(String, &str)> {
        Vec::new()
    }
}

/// Whether a source ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After so many records.
    After(u64),
    /// By itself; after how many records is not known.
    ByItself,
    /// Never.
    Never,
}

impl Source {
    pub(super) const NAME: &str = "source";

    pub(super) fn read_from(root: &Table<'_>) -> Option<Source> {
        let table = root.subtable(Source::NAME);
        if !table.present() {
            return None;
        }
        // A kind that does not exist is a mistake already; which keys belong to it is not known.
        Source::read(&table.text(&TYPE), &table)
    }

    /// How many partitions the source has.
    pub fn partitions(&self) -> u32 {
        self.config().partitions()
    }

    /// Records per second over all partitions; 0 = unlimited.
    pub fn rate(&self) -> u64 {
        self.config().rate()
    }
}
