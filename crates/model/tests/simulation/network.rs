//! Requests on their way. They take effect in any order, late, or never; their answers may be lost.
//! Only within one database session the order holds.

use crate::record::{Record, Value};
use weir_model::protocol::{Claim, CommittedPosition, Offset};

/// Who sends: an actor's number.
pub(crate) type Actor = usize;

#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// InitProducerId: a new epoch, and the end of what the old one left open.
    Init {
        producer: usize,
    },
    /// AddPartitionsToTxn and Produce.
    Send {
        producer: usize,
        epoch: u32,
        log: usize,
        sequence: u32,
        values: Vec<Value>,
    },
    /// Produce without a transaction: only mutants do.
    Plain {
        log: usize,
        values: Vec<Value>,
    },
    /// AddOffsetsToTxn and TxnOffsetCommit; without a producer it is an ordinary OffsetCommit,
    /// which only mutants send.
    Offsets {
        producer: Option<(usize, u32)>,
        member: u32,
        generation: u32,
        claims: Vec<Claim>,
    },
    /// EndTxn.
    End {
        producer: usize,
        epoch: u32,
        commit: bool,
    },
    /// The coordinator's own: the decision reaches one log, or the group's offsets.
    Marker {
        producer: usize,
        target: usize,
    },
    /// OffsetFetch, stable offsets only.
    Committed {
        partition: usize,
    },
    /// Reads the positions topic up to the end it had at the first attempt.
    Position {
        source: usize,
        end: Option<usize>,
    },
    /// `UPDATE … SET fence = fence + 1 … RETURNING`.
    Fence {
        partition: usize,
    },
    /// Opens a database transaction: compare and set.
    Claim {
        session: u64,
        claims: Vec<Claim>,
    },
    /// COPY and the dead letters.
    Copy {
        session: u64,
        rows: Vec<(usize, Offset, Record)>,
        dead_letters: Vec<(usize, Offset, Record)>,
    },
    Commit {
        session: u64,
    },
    /// The server notices that the client is gone.
    Close {
        session: u64,
    },
    /// An answer on its way back.
    Answer(Reply),
}

impl Request {
    pub(crate) fn session(&self) -> Option<u64> {
        match self {
            Request::Claim { session, .. }
            | Request::Copy { session, .. }
            | Request::Commit { session }
            | Request::Close { session } => Some(*session),
            _ => None,
        }
    }

    pub(crate) fn is_for_the_database(&self) -> bool {
        matches!(self, Request::Fence { .. }) || self.session().is_some()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    /// Not now: concurrent transaction, unstable offsets.
    Retry,
    /// The same, and the end that the positions topic had.
    RetryUpTo(usize),
    /// Fenced, illegal generation, wrong state, compare-and-set of no row.
    Refused,
    Epoch(u32),
    CommittedPosition(CommittedPosition),
    /// No answer in time, or the connection broke.
    TimedOut,
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) from: Actor,
    /// What the sender waits for; 0: nobody waits (any more).
    pub(crate) token: u64,
    /// Not before this step.
    pub(crate) hold: usize,
    pub(crate) request: Request,
}
