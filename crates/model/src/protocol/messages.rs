//! The messages between a [`StateMachine`](super::StateMachine) and its service.

use crate::progress::Progress;
use std::fmt;

/// A partition's number within the one topic (or source) a worker reads.
pub type Partition = i32;
/// An offset, always of the *next* record to read, never of the last one done.
pub type Offset = i64;

/// What the position store (group offsets, positions topic, position row) contains for a partition
/// after it was fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedPosition {
    /// Which partition.
    pub partition: Partition,
    /// The fence this worker now holds; 0 where the position store fences by other means (a
    /// transactional producer's epoch).
    pub fence: i64,
    /// The next offset to read; `None` when nothing was ever committed.
    pub next: Option<Offset>,
    /// The counts up to `next`.
    pub progress: Progress,
    /// `false` when the position store holds something that weir did not write, or remembers a
    /// position that is not there any more.
    pub intact: bool,
}

impl CommittedPosition {
    /// Whether the position is as its owner left it: written by weir, behind the record read last.
    pub fn follows_last_read(&self) -> bool {
        let behind = |next: Offset| self.progress.last_read.is_none_or(|r| r.offset + 1 == next);
        self.intact && self.next.is_none_or(behind)
    }
}

/// What the surroundings of a position say about it: whether it is where its owner stopped, in the
/// log that was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Proof {
    /// Nothing contradicts it: the record before it is the one that was read last, or nothing was
    /// ever read.
    #[default]
    Consistent,
    /// There is none, but what the worker wrote is there.
    Lost,
    /// There is none, and the log, which this pipeline has written from its first record on, does
    /// not begin with it any more.
    Late,
    /// It was not committed by its owner, or the log holds another record before it than the one
    /// that was read.
    Disproved,
    /// Its owner was further already, and nothing shows that what it wrote since was put back too.
    PutBack {
        /// Where the owner had committed, if anything remembers it.
        reached: Option<Offset>,
    },
}

/// One partition's part of a transaction: from `expected` to `next`, under `fence`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Which partition.
    pub partition: Partition,
    /// The fence under which it is made.
    pub fence: i64,
    /// What the position store must still contain for the claim to be valid; `None` when nothing
    /// was ever committed.
    pub expected: Option<Offset>,
    /// What the position store contains afterwards: last processed + 1.
    pub next: Offset,
    /// The counts up to `next`.
    pub progress: Progress,
}

impl Claim {
    /// Counts `records` as dead instead of written: the target refused them. Refused rows are
    /// counted only here.
    pub fn mark_dead(&mut self, records: u64) {
        let counters = &mut self.progress.counters;
        let moved = records.min(counters.written);
        counters.written -= moved;
        counters.dead += moved;
    }

    /// Whether `committed` is this claim, apart from records that are dead instead of written.
    pub(super) fn agrees_with(&self, committed: &Claim) -> bool {
        let mut expected = self.clone();
        expected.mark_dead(
            committed.progress.counters.dead.saturating_sub(self.progress.counters.dead),
        );
        expected == *committed
    }
}

/// How a transaction ended, as far as we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, and no request of it can still be on its way; the only outcome that advances
    /// a position.
    Committed,
    /// It certainly did not happen.
    Refused,
    /// The answer was lost: it may or may not have happened; only the position store knows, and
    /// only after a fence. Also the outcome of a commit that succeeded after a hidden retry, since
    /// the first attempt may still arrive.
    Unknown,
}

/// What keeps a predecessor from writing after its partition went to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fencing {
    /// One transactional producer per worker, and a position store that checks the group's
    /// generation and reads only stable offsets (enricher). The machine asks for
    /// [`Command::Reinitialize`] at the start and after every transaction that was not a definite
    /// success.
    PerWorker,
    /// One fence per partition, bumped by every [`Command::Acquire`]: `fence + 1` in the position
    /// row (sink), or `init_transactions` of the source partition's own producer (producer
    /// service).
    PerPartition,
}

/// The time between two rebalances or failures. What was collected in one term is invalid in the
/// next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub(super) u64);

/// The state of one partition, read after it was fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The committed position.
    pub committed: CommittedPosition,
    /// The first offset the log still has (low watermark); 0 for sources that keep everything.
    pub low: Offset,
    /// The offset after the log's last (high watermark); `Offset::MAX` for sources without an end.
    pub high: Offset,
    /// What was found beside the position. On [`Proof::Lost`] the machine has the partition
    /// acquired once more before it halts.
    pub proof: Proof,
}

impl PartitionState {
    /// Why the partition must be halted, if it must.
    pub fn halt(&self) -> Option<Halt> {
        let PartitionState { committed, low, high, proof } = self;
        match (committed.next, proof) {
            (None, Proof::Lost) => Some(Halt::PositionMissing),
            (None, Proof::Late) => Some(Halt::Expired { from: 0, to: *low }),
            (None, _) => None,
            (Some(next), _) if !committed.follows_last_read() => Some(Halt::Disproved { next }),
            (Some(next), _) if next < *low => Some(Halt::Expired { from: next, to: *low }),
            (Some(next), _) if next > *high => Some(Halt::Truncated { end: *high, next }),
            (Some(next), Proof::Disproved) => Some(Halt::Disproved { next }),
            (Some(next), &Proof::PutBack { reached }) => Some(Halt::PutBack { next, reached }),
            (Some(_), _) => None,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A rebalance gave these partitions to this worker, in addition to what it has.
    Assigned(Vec<Partition>),
    /// A rebalance took these partitions away, revoked or lost: the protocol treats both alike.
    Revoked(Vec<Partition>),
    /// [`Command::Reinitialize`] is done: the producer has a new epoch.
    Reinitialized,
    /// [`Command::Acquire`] is done for these partitions (all of them, or the first part).
    Acquired {
        /// The command's.
        term: Term,
        /// One entry per partition.
        found: Vec<PartitionState>,
    },
    /// [`Command::Start`] is done.
    Started {
        /// The command's.
        term: Term,
    },
    /// The transaction of the last [`StateMachine::claim`](super::StateMachine::claim) ended.
    WriteFinished(Outcome),
    /// A position is outside the log. Report it after the batch collected before is written: the
    /// term ends, and acquiring again shows which partition must be halted.
    OutOfRange,
}

/// Something to do. All but `Halt` are repeated by
/// [`StateMachine::next_command`](super::StateMachine::next_command) until their event is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Drop the transactional producer and rebuild it with the same transactional id
    /// (`init_transactions`); then [`Event::Reinitialized`].
    Reinitialize,
    /// Fence each partition, *then* read its committed position (stable offsets; waits for open
    /// transactions), then [`Event::Acquired`].
    Acquire {
        /// Returned in the event.
        term: Term,
        /// Which partitions, ascending.
        partitions: Vec<Partition>,
    },
    /// Assign exactly these partitions at exactly these offsets, dropping what was fetched before;
    /// then [`Event::Started`].
    Start {
        /// Returned in the event.
        term: Term,
        /// The complete assignment, ascending; empty when every partition is halted.
        positions: Vec<(Partition, Offset)>,
    },
    /// Report that this partition is halted until an operator acts. Returned once.
    Halt {
        /// Which partition.
        partition: Partition,
        /// Why.
        halt: Halt,
    },
}

/// Why a partition is halted: records or positions are missing. Only an operator may let it
/// continue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Retention removed records that were never read.
    Expired {
        /// The first offset that is missing.
        from: Offset,
        /// The first offset that is there.
        to: Offset,
    },
    /// The log ends before the position: it was truncated, or the topic was recreated.
    Truncated {
        /// The offset after the log's last.
        end: Offset,
        /// Where reading should continue.
        next: Offset,
    },
    /// The position store is empty, but the output holds data of this pipeline: the position store
    /// expired or was deleted; this is not a first start.
    PositionMissing,
    /// The position is not behind the record that was read last.
    Disproved {
        /// The position.
        next: Offset,
    },
    /// An older position was put back, and what was written since is still in the target, or may
    /// be.
    PutBack {
        /// The position.
        next: Offset,
        /// Where it was before, if anything remembers it.
        reached: Option<Offset>,
    },
}

impl Halt {
    /// What an operator can do about it; follows its text.
    pub fn remedy(&self) -> &'static str {
        match self {
            Halt::Expired { .. } | Halt::Truncated { .. } => {
                "`weir skip FILE` shows what is lost and accepts it"
            }
            Halt::PositionMissing | Halt::Disproved { .. } => {
                "`weir skip FILE` finds the position again from what the output holds"
            }
            Halt::PutBack { .. } => "`weir skip FILE` shows how to go on",
        }
    }
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Expired { from, to } => write!(
                f,
                "offsets {from} to {} are gone from the log \
                and were never read",
                to - 1
            ),
            Halt::Truncated { end, next } => {
                write!(
                    f,
                    "the log ends at offset {end}, but the next offset to read is {next}: \
                    it was truncated or recreated"
                )
            }
            Halt::PositionMissing => f.write_str(
                "no position is stored, yet the output holds data of this pipeline: \
                    the position was lost, not unset",
            ),
            Halt::Disproved { next } => write!(
                f,
                "the record before offset {next} is not the one that was read last: another \
                 program moved the position, or the topic was recreated"
            ),
            Halt::PutBack { next, reached } => {
                let before = reached.map_or_else(|| "later".into(), |offset| offset.to_string());
                write!(
                    f,
                    "the position is {next}, but was {before} before: an older one was put back, \
                     and reading on would write records again that are in the target"
                )
            }
        }
    }
}

/// Why a claim was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The batch was collected in a term that ended: drop it. This is ordinary.
    #[error("the batch was collected before a rebalance or a failure and is dropped")]
    Stale,
    /// The target committed other claims than it was given: a mistake of the target.
    #[error("the target committed other claims than it was given")]
    OtherClaims,
    /// The transaction before this one has not finished: a mistake of the caller.
    #[error("a transaction is still pending: its outcome must be known before the next claim")]
    Busy,
    /// The batch does not cover what was accepted, or its counters do not add up: going on would
    /// lose records. A bug; nothing was written.
    #[error(
        "partition {partition}: {accepted} records were accepted, but the batch accounts for {} \
         read, {} unnested, {} written, {} filtered, {} dead",
        delta.counters.read,
        delta.counters.unnested,
        delta.counters.written,
        delta.counters.filtered,
        delta.counters.dead
    )]
    Unbalanced {
        /// Which partition.
        partition: Partition,
        /// Records accepted since the last claim.
        accepted: u64,
        /// What the batch adds.
        delta: Progress,
    },
}
