//! Who may write what: the delivery protocol as a state machine without IO.
//!
//! A [`StateMachine`] receives what happened ([`Event`]) and returns what to do next ([`Command`]).
//! Producer, enricher and sink run the same machine, each with its own I/O. A *position store* is
//! where positions are committed together with the data (the topic `weir.positions`, the consumer
//! group's offsets, the table `weir.positions`). The simulator `tests/simulation` runs it too,
//! against a log, a coordinator and a database that fail in every way we know of.
//!
//! # The rules
//!
//! The names in parentheses are mutants in the simulator: services that break the rule. The
//! simulator catches each of them.
//!
//! 1. **Fence, then read, then start.** Assigned partitions are first fenced. Then their committed
//!    position is read from the position store, after open transactions have ended. Then the log is
//!    read from exactly that offset. In any other order a predecessor could commit after the
//!    position was read. (`PositionReadBeforeTheFence`, `UnstablePositionRead`)
//! 2. **Only the position store is authoritative.** Where nothing was ever committed, reading
//!    starts at the log's first record. What a client remembers, or committed as a hint for lag
//!    tools, is not a position. (`HintTrusted`, `FirstStartAtTheEnd`)
//! 3. **A transaction contains everything or nothing**: records, dead letters, position and counts.
//!    (`DeadLettersOutsideTheTransaction`, `PositionOutsideTheTransaction`)
//! 4. **A claim covers exactly what was accepted**: from the offset that the position store must
//!    still contain to the last accepted record + 1. The machine counts, so a record that a service
//!    dropped between reading and claiming stops it instead of getting lost.
//!    (`PositionWithoutPlusOne`, `RecordForgotten`, `RefusedRowsNotInTheCounts`)
//! 5. **The position store refuses a claim whose fence or expected offset is not its own** (compare
//!    and set; the group coordinator likewise refuses an old generation). (`CompareAndSetSkipped`,
//!    `GenerationUnchecked`)
//! 6. **Only [`Outcome::Committed`] advances.** Anything else ends the [`Term`]: fence, read the
//!    position store, rewind every partition there. (`NoRewindAfterAFailure`,
//!    `LastPartitionOnlyRewound`, `UnknownTakenAsCommitted`, `UnknownTakenAsRefused`)
//! 7. **Reinitialize.** librdkafka speaks the transaction protocol in which a late EndTxn can end a
//!    *later* transaction of the same producer epoch. So after anything but a definite success the
//!    producer is rebuilt: a new epoch makes the late request harmless. (`ReinitializeRuleOff`,
//!    `HiddenRetryTrusted`)
//! 8. **A term ends with every rebalance and every failure; batches collected in it are dropped.**
//!    So a batch that was read while its predecessor was still being written is dropped when the
//!    predecessor fails. (`BatchKeptAfterARebalance`, `BatchKeptAfterAFailure`)
//! 9. **Records below the position are stale and dropped; above it there may be gaps**, since
//!    control records and compaction take offsets. (`StaleRecordsAdmitted`)
//! 10. **Loss halts.** A position outside the log, one that is not behind the record that was read
//!     last ([`Proof`]), or none although the output already holds data, halts that partition and
//!     names the range; the others go on. A position store that may have forgotten is never taken
//!     for a beginning, at any hop. An empty one is asked twice, since a successor may have written
//!     between the two looks. (`LossJumpedOver`; unit tests `loss_*`)
//!
//! # How a service runs it
//!
//! ```text
//! loop {
//!     for each rebalance that polling reported: worker.handle(Assigned | Revoked)
//!     while the background write has an outcome:  worker.handle(WriteFinished(outcome))
//!     match worker.next_command() {
//!         Some(Reinitialize) =>
//!             rebuild the producer (init_transactions); handle(Reinitialized)
//!         Some(Acquire { term, partitions }) =>
//!             fence each, read its position and the log's ends; handle(Acquired { term, found })
//!         Some(Start { term, positions }) =>
//!             assign exactly these, at exactly these offsets; handle(Started { term })
//!         Some(Halt { partition, halt }) => log it, show it, /ready false
//!         None => {
//!             let Some(term) = worker.term() else { idle: keep polling; continue };
//!             collect; keep a record only if worker.accept_record(partition, offset);
//!             decode, transform, encode;
//!             // with a pending write: wait for it, polling, and handle(WriteFinished) first
//!             match worker.claim(term, &deltas) {
//!                 Ok(claims)        => write records, dead letters and claims in one
//!                                      transaction; handle(WriteFinished(outcome))
//!                 Err(Error::Stale) => drop the batch
//!                 Err(error)        => a bug: stop
//!             }
//!         }
//!     }
//! }
//! ```
//!
//! A command that failed (broker or database unavailable) needs no event: back off while polling,
//! handle rebalances and ask for the next command. It is the same one, unless a rebalance made it
//! obsolete. Commands and their events contain the term, so that a late event is ignored.

mod messages;

pub use messages::{
    Claim, Command, CommittedPosition, Error, Event, Fencing, Halt, Offset, Outcome, Partition,
    PartitionState, Proof, Term,
};

use crate::progress::Progress;
use std::collections::{BTreeMap, VecDeque};

/// One worker: see the module's documentation for the rules and the loop around it.
#[derive(Debug)]
pub struct StateMachine {
    fencing: Fencing,
    term: Term,
    phase: Phase,
    reinitialize: bool,
    slots: BTreeMap<Partition, Slot>,
    /// Claims whose outcome is not known. Nothing is acquired meanwhile, so whatever is held
    /// belongs to their own term.
    pending: Option<Vec<Claim>>,
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
    Unacquired {
        /// The position store was found empty, the output not. Another process may have committed
        /// between the two reads (this worker may have lost the partition without knowing), so the
        /// position store is read once more: what was in the output before must be in it now.
        doubtful: bool,
    },
    Held(Position),
    Halted(Halt),
}

impl Slot {
    const UNACQUIRED: Slot = Slot::Unacquired { doubtful: false };
}

#[derive(Debug)]
struct Position {
    fence: i64,
    /// The committed position.
    committed: Option<Offset>,
    progress: Progress,
    /// The next record to accept.
    read: Offset,
    /// Records accepted since the last claim.
    accepted: u64,
}

impl StateMachine {
    /// A worker that owns nothing yet. With [`Fencing::PerWorker`] its first command is
    /// `Reinitialize`: that ends what a predecessor of the same name left open, before anything has
    /// to wait for it.
    pub fn new(fencing: Fencing) -> StateMachine {
        StateMachine {
            fencing,
            term: Term(0),
            phase: Phase::Acquiring,
            reinitialize: fencing == Fencing::PerWorker,
            slots: BTreeMap::new(),
            pending: None,
            halts: VecDeque::new(),
        }
    }

    /// Handles an event. Answers to commands of an earlier term are ignored.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Assigned(partitions) => self.rebalance(|slots| {
                slots.extend(partitions.into_iter().map(|p| (p, Slot::UNACQUIRED)))
            }),
            Event::Revoked(partitions) => {
                self.rebalance(|slots| slots.retain(|p, _| !partitions.contains(p)))
            }
            Event::Reinitialized => self.reinitialize = false,
            Event::Acquired { term, found } if term == self.term => self.record_states(found),
            Event::Started { term } if term == self.term && self.phase == Phase::Starting => {
                self.phase = Phase::Running
            }
            Event::Acquired { .. } | Event::Started { .. } => {}
            Event::WriteFinished(outcome) => self.finish_write(outcome),
            Event::OutOfRange => self.end_term(),
        }
    }

    /// What to do now; `None`: continue reading, or wait for the pending transaction, whose outcome
    /// must be known before anything is fenced.
    pub fn next_command(&mut self) -> Option<Command> {
        if let Some((partition, halt)) = self.halts.pop_front() {
            return Some(Command::Halt { partition, halt });
        }
        if self.pending.is_some() {
            return None;
        }
        if self.reinitialize {
            return Some(Command::Reinitialize);
        }
        match self.phase {
            _ if self.slots.is_empty() => None,
            Phase::Acquiring => {
                Some(Command::Acquire { term: self.term, partitions: self.unacquired() })
            }
            Phase::Starting => Some(Command::Start {
                term: self.term,
                positions: self.positions().map(|(p, at)| (p, at.read)).collect(),
            }),
            Phase::Running => None,
        }
    }

    /// The term under which records may be collected now; `None`: keep polling, but keep nothing.
    pub fn term(&self) -> Option<Term> {
        (self.phase == Phase::Running && !self.slots.is_empty()).then_some(self.term)
    }

    /// Whether to keep a record that was read; called once for each, in order, when it is put into
    /// the batch. Stale records and those of partitions not owned are refused. A few nanoseconds.
    pub fn accept_record(&mut self, partition: Partition, offset: Offset) -> bool {
        if self.phase != Phase::Running {
            return false;
        }
        match self.slots.get_mut(&partition) {
            Some(Slot::Held(at)) if offset >= at.read => {
                at.read = offset + 1;
                at.accepted += 1;
                true
            }
            _ => false,
        }
    }

    /// Turns a batch into claims, ascending by partition, and the machine waits for
    /// [`Event::WriteFinished`]. `term` is the one the batch was collected in; `deltas` is what the
    /// batch adds to the counts, per partition (see [`Progress::then`]). A claim covers everything
    /// that was accepted of its partitions, so the next batch is collected after this call. Without
    /// deltas there are no claims and no transaction.
    ///
    /// # Errors
    /// [`Error::Stale`] is ordinary: drop the batch. The others are mistakes of the caller; nothing
    /// may be written then.
    pub fn claim(
        &mut self,
        term: Term,
        deltas: &BTreeMap<Partition, Progress>,
    ) -> Result<Vec<Claim>, Error> {
        if self.term() != Some(term) {
            return Err(Error::Stale);
        }
        if self.pending.is_some() {
            return Err(Error::Busy);
        }
        let claims = deltas
            .iter()
            .map(|(&partition, delta)| self.claim_one(partition, delta))
            .collect::<Result<Vec<_>, _>>()?;
        if claims.is_empty() {
            return Ok(claims);
        }
        for claim in &claims {
            if let Some(Slot::Held(at)) = self.slots.get_mut(&claim.partition) {
                at.accepted = 0;
            }
        }
        self.pending = Some(claims.clone());
        Ok(claims)
    }

    /// The claims whose outcome is not known yet.
    pub fn pending_claims(&self) -> &[Claim] {
        self.pending.as_deref().unwrap_or_default()
    }

    /// Takes over the claims as the target committed them, before their outcome is handled: rows
    /// that it refused within the transaction are dead letters and not written (see
    /// [`Claim::mark_dead`]).
    ///
    /// # Errors
    /// [`Error::OtherClaims`] when they are not the pending claims with other counters of written
    /// and dead records: a mistake of the target.
    pub fn replace_claims(&mut self, committed: Vec<Claim>) -> Result<(), Error> {
        let mut pending: Vec<&Claim> = self.pending_claims().iter().collect();
        let mut sorted: Vec<&Claim> = committed.iter().collect();
        pending.sort_by_key(|claim| claim.partition);
        sorted.sort_by_key(|claim| claim.partition);
        let same = pending.len() == sorted.len()
            && pending.iter().zip(&sorted).all(|(made, committed)| made.agrees_with(committed));
        if !same {
            return Err(Error::OtherClaims);
        }
        self.pending = Some(committed);
        Ok(())
    }

    /// Whether a claim was made whose outcome is not known yet.
    pub fn in_flight(&self) -> bool {
        self.pending.is_some()
    }

    /// The counts of a partition up to the last claim, finished or pending: what the next batch
    /// adds to. `None` when it is not held.
    pub fn progress(&self, partition: Partition) -> Option<&Progress> {
        let Some(Slot::Held(at)) = self.slots.get(&partition) else { return None };
        let pending = self.pending.iter().flatten().find(|claim| claim.partition == partition);
        Some(pending.map_or(&at.progress, |claim| &claim.progress))
    }

    /// What is durable: partition, next offset (`None`: nothing was ever committed) and counts of
    /// each partition held.
    pub fn committed(&self) -> impl Iterator<Item = (Partition, Option<Offset>, &Progress)> {
        self.positions().map(|(partition, at)| (partition, at.committed, &at.progress))
    }

    /// Whether no partition is assigned.
    pub fn is_idle(&self) -> bool {
        self.slots.is_empty()
    }

    /// The halted partitions, and why.
    pub fn halted(&self) -> impl Iterator<Item = (Partition, Halt)> {
        self.slots.iter().filter_map(|(&partition, slot)| match slot {
            Slot::Halted(halt) => Some((partition, *halt)),
            _ => None,
        })
    }

    fn rebalance(&mut self, change: impl FnOnce(&mut BTreeMap<Partition, Slot>)) {
        change(&mut self.slots);
        self.slots.values_mut().for_each(|slot| *slot = Slot::UNACQUIRED);
        self.halts.clear();
        self.end_term();
    }

    /// Everything held is fenced and read again; what was collected is stale from here on.
    fn end_term(&mut self) {
        self.term = Term(self.term.0 + 1);
        self.phase = Phase::Acquiring;
        for slot in self.slots.values_mut().filter(|slot| matches!(slot, Slot::Held(_))) {
            *slot = Slot::UNACQUIRED;
        }
        if !self.slots.is_empty() && self.unacquired().is_empty() {
            self.phase = Phase::Starting;
        }
    }

    fn record_states(&mut self, found: Vec<PartitionState>) {
        for found in found {
            let partition = found.committed.partition;
            let Some(slot) = self.slots.get_mut(&partition) else { continue };
            let Slot::Unacquired { doubtful } = *slot else { continue };
            *slot = match assess(found) {
                Slot::Halted(Halt::PositionMissing) if !doubtful => {
                    Slot::Unacquired { doubtful: true }
                }
                state => state,
            };
            if let Slot::Halted(halt) = slot {
                self.halts.push_back((partition, *halt));
            }
        }
        if self.phase == Phase::Acquiring && self.unacquired().is_empty() {
            self.phase = Phase::Starting;
        }
    }

    fn finish_write(&mut self, outcome: Outcome) {
        let Some(claims) = self.pending.take() else { return };
        if outcome == Outcome::Committed {
            claims.into_iter().for_each(|claim| self.advance(claim));
        } else {
            self.reinitialize = self.fencing == Fencing::PerWorker;
            self.end_term();
        }
    }

    /// Only what is still held: a rebalance meanwhile has the position store read again.
    fn advance(&mut self, claim: Claim) {
        if let Some(Slot::Held(at)) = self.slots.get_mut(&claim.partition) {
            at.committed = Some(claim.next);
            at.progress = claim.progress;
        }
    }

    fn claim_one(&self, partition: Partition, delta: &Progress) -> Result<Claim, Error> {
        let Some(Slot::Held(at)) = self.slots.get(&partition) else { return Err(Error::Stale) };
        if at.accepted == 0
            || delta.counters.read != at.accepted
            || delta.counters.unaccounted() != 0
        {
            return Err(Error::Unbalanced { partition, accepted: at.accepted, delta: *delta });
        }
        Ok(Claim {
            partition,
            fence: at.fence,
            expected: at.committed,
            next: at.read,
            progress: at.progress.then(delta),
        })
    }

    fn unacquired(&self) -> Vec<Partition> {
        self.slots
            .iter()
            .filter(|(_, slot)| matches!(slot, Slot::Unacquired { .. }))
            .map(|(&partition, _)| partition)
            .collect()
    }

    fn positions(&self) -> impl Iterator<Item = (Partition, &Position)> {
        self.slots.iter().filter_map(|(&partition, slot)| match slot {
            Slot::Held(at) => Some((partition, at)),
            _ => None,
        })
    }
}

/// Where reading continues, or why it must not.
fn assess(found: PartitionState) -> Slot {
    if let Some(halt) = found.halt() {
        return Slot::Halted(halt);
    }
    let PartitionState { committed, low, .. } = found;
    Slot::Held(Position {
        fence: committed.fence,
        committed: committed.next,
        progress: committed.progress,
        read: committed.next.unwrap_or(low),
        accepted: 0,
    })
}

#[cfg(test)]
mod tests;
