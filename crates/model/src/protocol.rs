//! Who may write what: the delivery protocol as a state machine without IO.

use crate::progress::Progress;

/// A partition's number within the one topic a worker reads.
pub type Partition = i32;
/// An offset, always of the *next* record to read, never of the last one done.
pub type Offset = i64;

/// What the ledger (group offsets, positions topic, position row) says about a partition after it was fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which partition.
    pub partition: Partition,
    /// The fence this worker now holds; 0 where the ledger fences by other means (a transactional producer's epoch).
    pub fence: i64,
    /// The next offset to read; `None` when nothing was ever committed.
    pub next: Option<Offset>,
    /// The books up to `next`.
    pub progress: Progress,
}

/// One partition's part of a transaction: from `expected` to `next`, under `fence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which partition.
    pub partition: Partition,
    /// The fence under which it is made.
    pub fence: i64,
    /// What the ledger must still say for the claim to hold; `None` when nothing was ever committed.
    pub expected: Option<Offset>,
    /// What the ledger says afterwards: last processed + 1.
    pub next: Offset,
    /// The books up to `next`.
    pub progress: Progress,
}

/// How a transaction ended, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable; the only outcome that advances a position.
    Committed,
    /// It certainly did not happen.
    Refused,
    /// The answer was lost: it may or may not have happened. Only the ledger knows, and only after a fence.
    Unknown,
}
