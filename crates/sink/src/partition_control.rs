//! The partitions of a worker: what the consumer group assigned, what the protocol decides, and
//! what is known about their positions.

use crate::Error;
use crate::lineage_order::{LineageEnd, LineageEnds, OutOfOrder, Place, Restarts, check_order};
use crate::metrics::Meters;
use crate::part::Contents;
use std::collections::BTreeMap;
use std::time::Duration;
use weir_kafka::{Consumer, Rebalance, Records};
use weir_model::lineage::Row;
use weir_model::pipeline::Batch;
use weir_model::protocol::{
    self, Claim, Command, CommittedPosition, Event, Fencing, Halt, Offset, Partition,
    PartitionState, Proof, StateMachine, Term,
};
use weir_service::Health;

/// What a worker knows about a position: enough to notice an external change.
#[derive(Debug, Default)]
struct KnownPosition {
    fence: i64,
    /// The position as it was read, and as it will be when the pending write is durable.
    expected: [Option<Offset>; 2],
}

impl KnownPosition {
    /// A transaction that moves the position to `next` is under way.
    fn claimed(&mut self, next: Offset) {
        self.expected = [self.expected[1], Some(next)];
    }

    /// Whether the position was changed externally: it vanished while we held it, or it has a value
    /// that no writer wrote although no other owner fenced it in between. (A position restored from
    /// a backup has an older fence: going on from there is right, because the rows went back with
    /// it.)
    fn changed_externally(&self, committed: &CommittedPosition) -> bool {
        let vanished = committed.next.is_none()
            && committed.fence <= self.fence
            && self.expected.iter().any(Option::is_some);
        let moved = committed.fence == self.fence + 1 && !self.expected.contains(&committed.next);
        vanished || moved
    }
}

/// Owns the state machine and the consumer, and keeps them consistent.
pub(crate) struct PartitionControl {
    machine: StateMachine,
    consumer: Consumer,
    known: BTreeMap<Partition, KnownPosition>,
    lags: BTreeMap<Partition, i64>,
    ends: LineageEnds,
    health: Health,
    meters: Meters,
}

impl PartitionControl {
    pub(crate) fn new(consumer: Consumer, health: &Health, meters: &Meters) -> PartitionControl {
        PartitionControl {
            machine: StateMachine::new(Fencing::PerPartition),
            consumer,
            known: BTreeMap::new(),
            lags: BTreeMap::new(),
            ends: LineageEnds::new(),
            health: health.clone(),
            meters: meters.clone(),
        }
    }

    /// Tells the state machine what the consumer group decided.
    pub(crate) fn poll_events(&mut self) {
        for rebalance in self.consumer.rebalances() {
            self.meters.rebalances.inc();
            match rebalance {
                Rebalance::Assigned(partitions) => {
                    tracing::info!(?partitions, "assigned");
                    self.machine.handle(Event::Assigned(partitions));
                }
                Rebalance::Revoked(partitions) => self.release(partitions, "revoked"),
                Rebalance::Lost(partitions) => {
                    self.release(partitions, "lost: the group removed this member");
                }
            }
        }
    }

    fn release(&mut self, partitions: Vec<Partition>, how: &str) {
        tracing::info!(?partitions, "{how}");
        for partition in &partitions {
            self.health.resume(&self.name(*partition));
            self.meters.remove_partition(*partition);
            self.lags.remove(partition);
            self.known.remove(partition);
        }
        self.machine.handle(Event::Revoked(partitions));
    }

    pub(crate) fn next_command(&mut self) -> Option<Command> {
        self.machine.next_command()
    }

    pub(crate) fn term(&self) -> Option<Term> {
        self.machine.term()
    }

    /// Whether no partition is assigned to this worker, so that it has nothing to write.
    pub(crate) fn is_idle(&self) -> bool {
        self.machine.is_idle()
    }

    /// The machine, for `/status`.
    pub(crate) fn machine(&self) -> &StateMachine {
        &self.machine
    }

    pub(crate) fn lags(&self) -> &BTreeMap<Partition, i64> {
        &self.lags
    }

    /// The copies of the positions that the group holds.
    pub(crate) fn copies(
        &self,
        partitions: &[Partition],
    ) -> weir_kafka::Result<Vec<CommittedPosition>> {
        self.consumer.stable(partitions)
    }

    /// Where the partitions stand, whose positions were read after they were fenced.
    pub(crate) fn find(
        &self,
        committed: Vec<CommittedPosition>,
    ) -> weir_kafka::Result<Vec<PartitionState>> {
        let state = |committed: CommittedPosition| {
            let (low, high) = self.consumer.watermarks(committed.partition)?;
            Ok(PartitionState { committed, low, high, proof: Proof::default() })
        };
        committed.into_iter().map(state).collect()
    }

    /// Goes on from what was found; `rows` say which of the records of its input record was read
    /// last. A position that was changed externally stops its partition.
    pub(crate) fn acquired(
        &mut self,
        term: Term,
        found: Vec<PartitionState>,
        rows: &BTreeMap<Partition, Row>,
    ) {
        let changed = self.compare(&found);
        for PartitionState { committed, .. } in &found {
            let last = committed.progress.last.zip(rows.get(&committed.partition));
            let end = last.map(|(source, row)| LineageEnd {
                last: Place { source, index: row.index, count: Some(row.count) },
                before: None,
            });
            match end {
                Some(end) => _ = self.ends.insert(committed.partition, end),
                None => _ = self.ends.remove(&committed.partition),
            }
        }
        self.machine.handle(Event::Acquired { term, found });
        for (partition, next) in changed {
            let next = next.map_or("nothing".into(), |next| format!("offset {next}"));
            let reason = format!(
                "the position row was changed externally to {next}; `weir skip FILE` shows \
                 where reading stopped"
            );
            self.stop_partition(partition, &reason);
        }
    }

    /// Remembers the positions, and returns those that were changed externally.
    fn compare(&mut self, found: &[PartitionState]) -> Vec<(Partition, Option<Offset>)> {
        let mut changed = Vec::new();
        for PartitionState { committed, .. } in found {
            let known = KnownPosition { fence: committed.fence, expected: [committed.next; 2] };
            let before = self.known.insert(committed.partition, known);
            if before.is_some_and(|before| before.changed_externally(committed)) {
                changed.push((committed.partition, committed.next));
            }
        }
        changed
    }

    /// Reads from the positions that were acquired.
    pub(crate) fn start(
        &mut self,
        term: Term,
        positions: &[(Partition, Offset)],
    ) -> Result<(), Error> {
        self.consumer.start(positions)?;
        tracing::info!(?positions, "reading");
        self.machine.handle(Event::Started { term });
        Ok(())
    }

    /// Each partition has a fence of its own; there is no producer to reinitialize.
    pub(crate) fn reinitialized(&mut self) {
        self.machine.handle(Event::Reinitialized);
    }

    pub(crate) fn halt(&self, partition: Partition, halt: Halt) {
        self.health.halt(&self.name(partition), &format!("{halt}; {}", halt.remedy()));
    }

    /// Stops reading a partition until it is assigned again or the sink restarts; the others
    /// continue.
    pub(crate) fn stop_partition(&mut self, partition: Partition, reason: &str) {
        self.health.halt(&self.name(partition), reason);
        self.machine.handle(Event::Revoked(vec![partition]));
    }

    /// The log does not contain the next records.
    pub(crate) fn out_of_range(&mut self) {
        self.machine.handle(Event::OutOfRange);
    }

    /// Reads the next records of the partitions held, each once and in order, within `limits`.
    pub(crate) fn read(
        &mut self,
        records: &mut Records,
        limits: &Batch,
        wait: Duration,
    ) -> weir_kafka::Result<()> {
        self.consumer.collect(records, limits, wait)?;
        records.retain(|partition, offset| self.machine.accept_record(partition, offset));
        Ok(())
    }

    /// Whether each record continues the lineage of its partition. `batch` holds the parts that
    /// precede `records`.
    pub(crate) fn check_order(
        &mut self,
        records: &Records,
        restarts: &Restarts,
        batch: &Contents,
    ) -> Result<(), OutOfOrder> {
        let ends = check_order(records, restarts, |partition| {
            let in_batch = batch.deltas.get(&partition).and_then(|delta| delta.last);
            let last = in_batch.or_else(|| self.machine.progress(partition)?.last)?;
            // What was read before a rewind does not count.
            let known = self.ends.get(&partition).filter(|end| end.last.source == last);
            Some(known.copied().unwrap_or(LineageEnd { last: Place::within(last), before: None }))
        })?;
        self.ends.extend(ends);
        Ok(())
    }

    /// Claims what was read since the last claim.
    pub(crate) fn claim(
        &mut self,
        term: Term,
        contents: &Contents,
    ) -> Result<Vec<Claim>, protocol::Error> {
        let claims = self.machine.claim(term, &contents.deltas)?;
        for claim in &claims {
            self.known.entry(claim.partition).or_default().claimed(claim.next);
        }
        Ok(claims)
    }

    /// The pending write has ended; `claims` are those that the target committed.
    pub(crate) fn write_finished(
        &mut self,
        outcome: protocol::Outcome,
        claims: Vec<Claim>,
    ) -> Result<(), protocol::Error> {
        if outcome == protocol::Outcome::Committed {
            self.consumer.copy_positions(&claims);
            self.machine.replace_claims(claims)?;
        }
        self.machine.handle(Event::WriteFinished(outcome));
        Ok(())
    }

    /// Waits without reading, as a member of the group.
    pub(crate) fn idle(&mut self, duration: Duration) {
        self.consumer.idle(duration);
    }

    /// Asks Kafka for the ends of the log, or for any answer when no partition is held.
    pub(crate) fn check_lag(&mut self) -> Result<(), Error> {
        let held: Vec<(Partition, Option<Offset>)> =
            self.machine.committed().map(|(partition, next, _)| (partition, next)).collect();
        if held.is_empty() {
            self.consumer.ping(Duration::from_secs(1))?;
        }
        for (partition, next) in held {
            let (low, high) = self.consumer.watermarks(partition)?;
            let lag = high - next.unwrap_or(low);
            self.lags.insert(partition, lag);
            self.meters.lag(partition, lag);
        }
        Ok(())
    }

    /// The display name of the partition: `calls-enriched[2]`.
    fn name(&self, partition: Partition) -> String {
        format!("{}[{partition}]", self.consumer.topic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::progress::Progress;

    fn committed(fence: i64, next: Option<Offset>) -> CommittedPosition {
        CommittedPosition { partition: 0, fence, next, progress: Progress::default(), intact: true }
    }

    fn known() -> KnownPosition {
        let mut known = KnownPosition { fence: 4, expected: [Some(10); 2] };
        known.claimed(20);
        known
    }

    #[test]
    fn a_position_that_this_worker_wrote_or_may_have_written_is_its_own() {
        for next in [10, 20] {
            assert!(!known().changed_externally(&committed(5, Some(next))), "{next}");
        }
    }

    #[test]
    fn a_position_that_no_writer_wrote_is_noticed() {
        assert!(known().changed_externally(&committed(5, Some(15))));
        assert!(known().changed_externally(&committed(5, None)));
        assert!(known().changed_externally(&committed(1, None)));
    }

    #[test]
    fn another_owner_or_an_older_backup_may_have_any_position() {
        assert!(!known().changed_externally(&committed(6, Some(99))));
        assert!(!known().changed_externally(&committed(3, Some(5))));
        assert!(!known().changed_externally(&committed(7, None)));
    }
}
