//! Who may write what: the delivery protocol as a state machine without IO.
//!
//! A [`Worker`] is told what happened ([`Event`]) and answers what to do next ([`Command`]). Producer, enricher and sink run this very
//! machine, each with its own hands: what they call a *ledger* is the place where positions are committed together with the data (the
//! topic `weir.positions`, the consumer group's offsets, the table `weir.positions`). The simulator `tests/simulation.rs` runs it too,
//! against a log, a coordinator and a database that fail in every way we know of.
//!
//! # The rules
//!
//! Each rule names the mutant of the simulator that breaks it and is caught.
//!
//! 1. **Fence, then read, then start.** Partitions that were assigned are first fenced, then their standing is read from the ledger, then
//!    reading starts at that explicit offset. Never the other way round: a predecessor could commit between the read and the fence.
//!    (`position_read_before_the_fence`, `unstable_position_read`)
//! 2. **The ledger is the only truth.** Where nothing was ever committed, reading starts at the log's first record; what a client
//!    remembers, or left behind as a hint for lag tools, is no position. (`hint_trusted`)
//! 3. **A transaction holds everything or nothing**: records, dead letters, position and books. (`letters_outside_the_transaction`,
//!    `position_outside_the_transaction`)
//! 4. **A claim covers exactly what was admitted**: from the offset the ledger still has to name, to the last admitted record + 1. The
//!    machine counts, so a record that a service forgot between reading and claiming stops it instead of vanishing.
//!    (`position_without_plus_one`)
//! 5. **The ledger refuses a claim whose fence or expected offset is not its own** (compare and set; the group coordinator likewise
//!    refuses an old generation). (`compare_and_set_skipped`, `fence_ignored`, `generation_unchecked`)
//! 6. **Only [`Outcome::Committed`] advances.** Anything else ends the [`Term`]: fence, read the ledger, rewind every partition there.
//!    (`unknown_taken_as_committed`, `unknown_taken_as_refused`, `no_rewind_after_a_failure`)
//! 7. **Recycle.** librdkafka speaks the transaction protocol in which a late EndTxn can end a *later* transaction of the same producer
//!    epoch. So after anything but a definite success the producer is rebuilt: a new epoch makes the late request harmless.
//!    (`recycle_rule_off`)
//! 8. **A term ends with every rebalance and every failure, and with it all that was collected under it.** Thus a batch that was read
//!    while its predecessor was still being written is dropped when the predecessor fails. (`batch_kept_after_a_rebalance`,
//!    `batch_kept_after_a_failure`)
//! 9. **Records below the position are stale and dropped; above it there may be gaps**, since control records and compaction take offsets.
//!    (`stale_records_admitted`)
//! 10. **Loss halts.** A position outside the log, or an empty ledger although the output already holds data, halts that partition and
//!     names the range; the others go on. (unit tests `loss_*`)
//!
//! # How a service runs it
//!
//! ```text
//! loop {
//!     for each rebalance that polling reported: worker.handle(Assigned | Revoked)
//!     while the background write has an outcome:  worker.handle(Landed(outcome))
//!     match worker.next_command() {
//!         Some(Recycle)                    => rebuild the producer (init_transactions);      handle(Recycled)
//!         Some(Acquire { term, partitions })   => fence each, read each standing and the log's ends; handle(Acquired { term, found })
//!         Some(Start { term, positions })  => assign exactly these, at exactly these offsets; handle(Started { term })
//!         Some(Halt { partition, halt })   => log it, show it, /ready false
//!         None => {
//!             let Some(term) = worker.term() else { idle: keep polling; continue };
//!             collect; keep a record only if worker.admit(partition, offset);
//!             decode, transform, encode;
//!             // with a write in flight: wait for it (polling all the while) and handle(Landed) first
//!             match worker.claim(term, &deltas) {
//!                 Ok(claims)        => write records, letters and claims in one transaction; handle(Landed(outcome))
//!                 Err(Error::Stale) => drop the batch
//!                 Err(error)        => a bug: stop
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! A command that failed (broker or database away) needs no event: back off while polling, handle rebalances, ask for the next command:
//! it is the same one, unless a rebalance made it pointless. Commands and their answers carry the term, so that an answer that comes late
//! is ignored.

use crate::progress::Progress;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// A partition's number within the one topic (or source) a worker reads.
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
    /// It is durable, and no request of it can still be on its way; the only outcome that advances a position.
    Committed,
    /// It certainly did not happen.
    Refused,
    /// The answer was lost: it may or may not have happened; only the ledger knows, and only after a fence. Also the outcome of a commit
    /// that succeeded after a hidden retry, since the first attempt may still arrive.
    Unknown,
}

/// What keeps a predecessor from writing after its partition went to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fencing {
    /// One transactional producer per worker, and a ledger that checks the group's generation and reads only stable offsets (enricher).
    /// The machine asks for [`Command::Recycle`] at the start and after every transaction that was not a definite success.
    PerWorker,
    /// One fence per partition, bumped by every [`Command::Acquire`]: `fence + 1` in the position row (sink), or `init_transactions`
    /// of the source partition's own producer (producer service).
    PerPartition,
}

/// A span between two rebalances or failures. What was collected in one term is worth nothing in the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(u64);

/// What acquiring found out about one partition: read after the fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What the ledger says.
    pub standing: Standing,
    /// The first offset the log still has (low watermark); 0 for sources that keep everything.
    pub low: Offset,
    /// The offset after the log's last (high watermark); `Offset::MAX` for sources without an end.
    pub high: Offset,
    /// Whether the place this worker writes to already holds data of this pipeline from this partition, which an empty ledger contradicts.
    /// Looked at only when `standing.next` is `None`; `false` where the ledger cannot be lost without the data (position rows).
    pub traces: bool,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A rebalance gave these partitions to this worker, in addition to what it has.
    Assigned(Vec<Partition>),
    /// A rebalance took these partitions away, politely or not: to the protocol "revoked" and "lost" are the same.
    Revoked(Vec<Partition>),
    /// [`Command::Recycle`] is done: the producer has a new epoch.
    Recycled,
    /// [`Command::Acquire`] is done for these partitions (all of them, or the first part).
    Acquired {
        /// The command's.
        term: Term,
        /// One entry per partition.
        found: Vec<Found>,
    },
    /// [`Command::Start`] is done.
    Started {
        /// The command's.
        term: Term,
    },
    /// The transaction of the last [`Worker::claim`] ended.
    Landed(Outcome),
    /// The log says that a position is outside of it. Report it after what was collected before has landed: the term ends, and acquiring
    /// again tells which partition is to halt.
    OutOfRange,
}

/// Something to do. All but `Halt` are repeated by [`Worker::next_command`] until their event is handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Drop the transactional producer and build it anew with the same transactional id (`init_transactions`); then [`Event::Recycled`].
    Recycle,
    /// Fence each partition, *then* read its standing (stable offsets; waits for open transactions), then [`Event::Acquired`].
    Acquire {
        /// To be handed back.
        term: Term,
        /// Which partitions, ascending.
        partitions: Vec<Partition>,
    },
    /// Assign exactly these partitions at exactly these offsets, dropping what was fetched before; then [`Event::Started`].
    Start {
        /// To be handed back.
        term: Term,
        /// The complete assignment, ascending; empty when every partition is halted.
        positions: Vec<(Partition, Offset)>,
    },
    /// Tell people that this partition stands still until one of them acts. Given once.
    Halt {
        /// Which partition.
        partition: Partition,
        /// Why.
        halt: Halt,
    },
}

/// Why a partition stands still: the log does not hold what was promised. Only an operator may go on from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// Retention removed records that were never read.
    Expired {
        /// The first offset that is missing.
        from: Offset,
        /// The first offset that is there.
        to: Offset,
    },
    /// The log ends before the position: it was truncated, or the topic was created anew.
    Truncated {
        /// The offset after the log's last.
        end: Offset,
        /// Where reading was to go on.
        next: Offset,
    },
    /// The ledger is empty, but the output holds data of this pipeline: the ledger expired or was deleted, this is no first start.
    Forgotten,
}

impl fmt::Display for Halt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Halt::Expired { from, to } => write!(f, "offsets {from} to {} are gone from the log and were never read", to - 1),
            Halt::Truncated { end, next } => {
                write!(f, "the log ends at offset {end}, but reading stood at {next}: it was truncated or created anew")
            }
            Halt::Forgotten => {
                f.write_str("no position is stored, yet the output holds data of this pipeline: the position was lost, not unset")
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
    /// The transaction before this one has not landed: a mistake of the caller.
    #[error("a transaction is still in flight: a claim has to wait for its outcome")]
    Busy,
    /// The batch does not cover what was admitted, or its books do not balance: going on would lose records. A bug; nothing was written.
    #[error(
        "partition {partition}: {admitted} records were admitted, but the batch accounts for {} read, {} written, {} filtered, {} dead",
        delta.counters.read, delta.counters.written, delta.counters.filtered, delta.counters.dead
    )]
    Unbalanced {
        /// Which partition.
        partition: Partition,
        /// Records admitted since the last claim.
        admitted: u64,
        /// What the batch says.
        delta: Progress,
    },
}

/// One worker: see the module's documentation for the rules and the loop around it.
#[derive(Debug)]
pub struct Worker {
    fencing: Fencing,
    term: Term,
    phase: Phase,
    recycle: bool,
    slots: BTreeMap<Partition, Slot>,
    flight: Option<Flight>,
    halts: VecDeque<(Partition, Halt)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Acquiring,
    Starting,
    Running,
}

/// An assigned partition.
#[derive(Debug)]
enum Slot {
    /// To be fenced and read.
    Sought,
    Held(Position),
    Halted(Halt),
}

#[derive(Debug)]
struct Position {
    fence: i64,
    /// What the ledger says.
    committed: Option<Offset>,
    progress: Progress,
    /// The next record to admit.
    read: Offset,
    /// Records admitted since the last claim.
    admitted: u64,
}

#[derive(Debug)]
struct Flight {
    term: Term,
    claims: Vec<Claim>,
}

impl Worker {
    /// A worker that owns nothing yet. With [`Fencing::PerWorker`] its first command is `Recycle`: that ends what a predecessor of the
    /// same name left open, before anybody has to wait for it.
    pub fn new(fencing: Fencing) -> Worker {
        Worker {
            fencing,
            term: Term(0),
            phase: Phase::Acquiring,
            recycle: fencing == Fencing::PerWorker,
            slots: BTreeMap::new(),
            flight: None,
            halts: VecDeque::new(),
        }
    }

    /// Takes note of what happened. Answers to commands of an earlier term are ignored.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Assigned(partitions) => self.rebalance(|slots| slots.extend(partitions.into_iter().map(|p| (p, Slot::Sought)))),
            Event::Revoked(partitions) => self.rebalance(|slots| slots.retain(|p, _| !partitions.contains(p))),
            Event::Recycled => self.recycle = false,
            Event::Acquired { term, found } if term == self.term => self.place(found),
            Event::Started { term } if term == self.term && self.phase == Phase::Starting => self.phase = Phase::Running,
            Event::Acquired { .. } | Event::Started { .. } => {}
            Event::Landed(outcome) => self.land(outcome),
            Event::OutOfRange => self.end_term(),
        }
    }

    /// What to do now; `None`: go on reading, or wait for the transaction in flight, whose outcome has to be known before anything is
    /// fenced.
    pub fn next_command(&mut self) -> Option<Command> {
        if let Some((partition, halt)) = self.halts.pop_front() {
            return Some(Command::Halt { partition, halt });
        }
        if self.flight.is_some() {
            return None;
        }
        if self.recycle {
            return Some(Command::Recycle);
        }
        match self.phase {
            _ if self.slots.is_empty() => None,
            Phase::Acquiring => Some(Command::Acquire { term: self.term, partitions: self.sought() }),
            Phase::Starting => Some(Command::Start { term: self.term, positions: self.positions().map(|(p, at)| (p, at.read)).collect() }),
            Phase::Running => None,
        }
    }

    /// The term under which records may be collected now; `None`: keep polling, but keep nothing.
    pub fn term(&self) -> Option<Term> {
        (self.phase == Phase::Running && !self.slots.is_empty()).then_some(self.term)
    }

    /// Whether to keep a record that was read; called once for each, in order, when it is put into the batch. Stale records and those of
    /// partitions not owned are refused. A few nanoseconds.
    pub fn admit(&mut self, partition: Partition, offset: Offset) -> bool {
        if self.phase != Phase::Running {
            return false;
        }
        match self.slots.get_mut(&partition) {
            Some(Slot::Held(at)) if offset >= at.read => {
                at.read = offset + 1;
                at.admitted += 1;
                true
            }
            _ => false,
        }
    }

    /// Turns a batch into claims, ascending by partition, and the machine waits for [`Event::Landed`]. `term` is the one the batch was
    /// collected in; `deltas` says per partition what the batch adds to the books (see [`Progress::then`]). A claim covers everything that
    /// was admitted of its partitions, so the next batch is collected after this call. No deltas: no claims, nothing to write, no landing.
    ///
    /// # Errors
    /// [`Error::Stale`] is ordinary: drop the batch. The others are mistakes of the caller; nothing may be written then.
    pub fn claim(&mut self, term: Term, deltas: &BTreeMap<Partition, Progress>) -> Result<Vec<Claim>, Error> {
        if self.term() != Some(term) {
            return Err(Error::Stale);
        }
        if self.flight.is_some() {
            return Err(Error::Busy);
        }
        let claims = deltas.iter().map(|(&partition, delta)| self.claim_one(partition, delta)).collect::<Result<Vec<_>, _>>()?;
        if claims.is_empty() {
            return Ok(claims);
        }
        for claim in &claims {
            if let Some(Slot::Held(at)) = self.slots.get_mut(&claim.partition) {
                at.admitted = 0;
            }
        }
        self.flight = Some(Flight { term, claims: claims.clone() });
        Ok(claims)
    }

    /// Whether a claim was made whose outcome is not known yet.
    pub fn in_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// The books of a partition up to the last claim, landed or in flight: what the next batch adds to. `None` when it is not held.
    pub fn progress(&self, partition: Partition) -> Option<&Progress> {
        let Some(Slot::Held(at)) = self.slots.get(&partition) else { return None };
        let flying = self.flight.iter().filter(|flight| flight.term == self.term).flat_map(|flight| &flight.claims);
        Some(flying.into_iter().find(|claim| claim.partition == partition).map_or(&at.progress, |claim| &claim.progress))
    }

    /// What is durable: partition, next offset (`None`: nothing was ever committed) and books of each partition held.
    pub fn committed(&self) -> impl Iterator<Item = (Partition, Option<Offset>, &Progress)> {
        self.positions().map(|(partition, at)| (partition, at.committed, &at.progress))
    }

    /// The partitions that stand still, and why.
    pub fn halted(&self) -> impl Iterator<Item = (Partition, Halt)> {
        self.slots.iter().filter_map(|(&partition, slot)| match slot {
            Slot::Halted(halt) => Some((partition, *halt)),
            _ => None,
        })
    }

    fn rebalance(&mut self, change: impl FnOnce(&mut BTreeMap<Partition, Slot>)) {
        change(&mut self.slots);
        self.slots.values_mut().for_each(|slot| *slot = Slot::Sought);
        self.halts.clear();
        self.end_term();
    }

    /// Everything held is fenced and read again; what was collected is stale from here on.
    fn end_term(&mut self) {
        self.term = Term(self.term.0 + 1);
        self.phase = Phase::Acquiring;
        for slot in self.slots.values_mut().filter(|slot| matches!(slot, Slot::Held(_))) {
            *slot = Slot::Sought;
        }
        if !self.slots.is_empty() && self.sought().is_empty() {
            self.phase = Phase::Starting;
        }
    }

    fn place(&mut self, found: Vec<Found>) {
        for found in found {
            let partition = found.standing.partition;
            let Some(slot @ Slot::Sought) = self.slots.get_mut(&partition) else { continue };
            *slot = judge(found);
            if let Slot::Halted(halt) = slot {
                self.halts.push_back((partition, *halt));
            }
        }
        if self.phase == Phase::Acquiring && self.sought().is_empty() {
            self.phase = Phase::Starting;
        }
    }

    fn land(&mut self, outcome: Outcome) {
        let Some(flight) = self.flight.take() else { return };
        let current = flight.term == self.term;
        match outcome {
            Outcome::Committed if current => flight.claims.into_iter().for_each(|claim| self.advance(claim)),
            Outcome::Committed => {}
            Outcome::Refused | Outcome::Unknown => {
                self.recycle = self.fencing == Fencing::PerWorker;
                if current {
                    self.end_term();
                }
            }
        }
    }

    fn advance(&mut self, claim: Claim) {
        if let Some(Slot::Held(at)) = self.slots.get_mut(&claim.partition) {
            at.committed = Some(claim.next);
            at.progress = claim.progress;
        }
    }

    fn claim_one(&self, partition: Partition, delta: &Progress) -> Result<Claim, Error> {
        let Some(Slot::Held(at)) = self.slots.get(&partition) else { return Err(Error::Stale) };
        if at.admitted == 0 || delta.counters.read != at.admitted || delta.counters.unaccounted() != 0 {
            return Err(Error::Unbalanced { partition, admitted: at.admitted, delta: *delta });
        }
        Ok(Claim { partition, fence: at.fence, expected: at.committed, next: at.read, progress: at.progress.then(delta) })
    }

    fn sought(&self) -> Vec<Partition> {
        self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Sought)).map(|(&partition, _)| partition).collect()
    }

    fn positions(&self) -> impl Iterator<Item = (Partition, &Position)> {
        self.slots.iter().filter_map(|(&partition, slot)| match slot {
            Slot::Held(at) => Some((partition, at)),
            _ => None,
        })
    }
}

/// Where reading goes on, or why it must not.
fn judge(found: Found) -> Slot {
    let Found { standing, low, high, traces } = found;
    match standing.next {
        None if traces => Slot::Halted(Halt::Forgotten),
        Some(next) if next < low => Slot::Halted(Halt::Expired { from: next, to: low }),
        Some(next) if next > high => Slot::Halted(Halt::Truncated { end: high, next }),
        next => Slot::Held(Position {
            fence: standing.fence,
            committed: next,
            progress: standing.progress,
            read: next.unwrap_or(low),
            admitted: 0,
        }),
    }
}

#[cfg(test)]
mod tests;
