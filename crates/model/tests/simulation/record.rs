//! The records of a schedule: their fate depends on nothing but their number, so the outcome can be
//! computed without running anything.

use weir_model::lineage::Lineage;
use weir_model::progress::Progress;
use weir_model::protocol::Offset;

/// No schedule has more partitions, at the source or in a topic.
pub(crate) const MAX: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// Source partition and the record's number therein.
    pub(crate) source: usize,
    pub(crate) sequence: i64,
    /// Present from the enricher on.
    pub(crate) lineage: Option<Lineage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Written,
    Filtered,
    Dead,
}

impl Record {
    fn hash(&self) -> u64 {
        let mixed = (self.source as u64 * 1_000_003 + self.sequence as u64 + 1)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 29)
    }

    /// What the pipeline's SQL makes of it.
    pub(crate) fn enriched(&self) -> Fate {
        match self.hash() % 10 {
            0 | 1 => Fate::Filtered,
            2 | 3 => Fate::Dead,
            _ => Fate::Written,
        }
    }

    /// What the target makes of it.
    pub(crate) fn sunk(&self) -> Fate {
        if self.hash() >> 40 & 7 == 0 { Fate::Dead } else { Fate::Written }
    }

    /// The input partition, by key as it were.
    pub(crate) fn partition(&self, partitions: usize) -> usize {
        (self.source + self.sequence as usize) % partitions
    }
}

/// What a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    Data(Record),
    /// A position of the producer, in the log `POSITIONS`.
    Position {
        source: usize,
        next: Offset,
        progress: Progress,
    },
}
