//! What one entry of the log holds. Entries are JSON; their form is stored and never changes, new
//! members are optional.

use crate::files::dead_letter::Letters;
use serde::{Deserialize, Serialize};
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::progress::Progress;
use weir_model::protocol::{self, Offset, Partition};

/// The version of the form.
const VERSION: u32 = 1;

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    version: u32,
    /// Tells an attempt from all others: who finds it in the log knows that it was written.
    pub(crate) id: String,
    /// RFC 3339, for people.
    pub(crate) at: String,
    /// SHA-256 of the entry before, so that a log that was changed is noticed.
    pub(crate) previous: Option<String>,
    #[serde(flatten)]
    pub(crate) change: Change,
}

impl Entry {
    pub(crate) fn new(change: Change, previous: Option<String>) -> Entry {
        Entry { version: VERSION, id: random_id(), at: now(), previous, change }
    }
}

/// What a transaction changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Change {
    /// A new owner: the fences of the partitions are raised by one.
    Acquire {
        topic: String,
        /// The id of the Kafka cluster.
        cluster: String,
        partitions: Vec<Partition>,
    },
    /// Files, dead letters and positions of a sink's transaction.
    Commit {
        topic: String,
        claims: Vec<Claim>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<DataFile>,
        #[serde(default, skip_serializing_if = "Letters::is_empty")]
        dead_letters: Letters,
    },
    /// An operator moved a position.
    Accept { topic: String, fence: i64, claim: Move, loss: AcceptedLoss },
    /// An operator deleted positions, dead letters and accepted losses; the files stay.
    Clear,
    /// These files are about to be deleted, so that they can never be committed.
    Sweep { paths: Vec<String> },
}

/// The move of one partition's position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claim {
    pub(crate) partition: Partition,
    pub(crate) fence: i64,
    pub(crate) expected: Option<Offset>,
    pub(crate) next: Offset,
    pub(crate) progress: Progress,
}

impl From<&protocol::Claim> for Claim {
    fn from(claim: &protocol::Claim) -> Claim {
        let protocol::Claim { partition, fence, expected, next, progress } = *claim;
        Claim { partition, fence, expected, next, progress }
    }
}

/// The move of a position by an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Move {
    pub(crate) partition: Partition,
    /// 0 also stands for none.
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) progress: Progress,
}

/// A file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataFile {
    /// Relative to the sink's path.
    pub(crate) path: String,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// SHA-256 of its content.
    pub(crate) sha256: String,
    /// Where its rows come from in the input topic.
    pub(crate) sources: Vec<Sources>,
}

/// The rows of a file that come from one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sources {
    pub(crate) partition: Partition,
    pub(crate) rows: u64,
    /// The smallest and the largest offset in the input topic.
    pub(crate) first: Offset,
    pub(crate) last: Offset,
}

impl Sources {
    /// Adds a row to those of its partition, which is mostly the one of the row before.
    pub(crate) fn add(all: &mut Vec<Sources>, partition: Partition, offset: Offset) {
        match all.iter_mut().rev().find(|sources| sources.partition == partition) {
            Some(sources) => {
                sources.rows += 1;
                sources.first = sources.first.min(offset);
                sources.last = sources.last.max(offset);
            }
            None => all.push(Sources { partition, rows: 1, first: offset, last: offset }),
        }
    }
}

/// 128 random bits.
pub(crate) fn random_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The time, in RFC 3339.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
