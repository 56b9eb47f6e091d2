//! What the protocol's commands and a rebalance mean for a sink.

use super::{POLL_TIMEOUT, Worker};
use crate::Error;
use crate::target::Target;
use weir_kafka::Rebalance;
use weir_model::fault::Class;
use weir_model::protocol::{
    Command, CommittedPosition, Event, Offset, Partition, PartitionState, Term,
};

/// What a worker knows about a position row: enough to notice a hand in it.
#[derive(Debug, Default)]
pub(super) struct Known {
    fence: i64,
    /// The row said so, or will say so when the write under way is durable.
    expected: [Option<Offset>; 2],
}

impl Known {
    /// A transaction that moves the position to `next` is under way.
    pub(super) fn claimed(&mut self, next: Offset) {
        self.expected = [self.expected[1], Some(next)];
    }

    /// Whether another hand was in the row: it vanished while we held it, or it says what nobody
    /// wrote although nobody else fenced it in between. (A row restored from a backup has an older
    /// fence: it is right to go on from there, because the rows went back with it.)
    fn touched(&self, committed: &CommittedPosition) -> bool {
        let vanished = committed.next.is_none()
            && committed.fence <= self.fence
            && self.expected.iter().any(Option::is_some);
        let moved = committed.fence == self.fence + 1 && !self.expected.contains(&committed.next);
        vanished || moved
    }
}

impl<T: Target> Worker<T> {
    /// Tells the machine what the group decided.
    pub(super) fn rebalances(&mut self) {
        for rebalance in self.consumer.rebalances() {
            self.shared.meters.rebalances.inc();
            match rebalance {
                Rebalance::Assigned(partitions) => {
                    tracing::info!(?partitions, "assigned");
                    self.machine.handle(Event::Assigned(partitions));
                }
                Rebalance::Revoked(partitions) => self.let_go(partitions, "revoked"),
                Rebalance::Lost(partitions) => {
                    self.let_go(partitions, "lost: the group gave this member up")
                }
            }
        }
    }

    fn let_go(&mut self, partitions: Vec<Partition>, how: &str) {
        tracing::info!(?partitions, "{how}");
        for partition in &partitions {
            self.shared.health.resume(&self.called(*partition));
            self.shared.meters.forget(*partition);
            self.lags.remove(partition);
            self.known.remove(partition);
        }
        self.machine.handle(Event::Revoked(partitions));
    }

    pub(super) fn obey(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Acquire { term, partitions } => self.acquire(term, &partitions),
            Command::Start { term, positions } => match self.consumer.start(&positions) {
                Ok(()) => {
                    tracing::info!(?positions, "reading");
                    self.machine.handle(Event::Started { term });
                }
                Err(error) => self.pause(&error.into()),
            },
            Command::Halt { partition, halt } => {
                self.shared
                    .health
                    .halt(&self.called(partition), &format!("{halt}; {}", halt.remedy()));
            }
            // Each partition has a fence of its own; there is no producer to rebuild.
            Command::Reinitialize => self.machine.handle(Event::Reinitialized),
        }
        Ok(())
    }

    /// Fences, then reads: what the row says, and what the log still holds.
    fn acquire(&mut self, term: Term, partitions: &[Partition]) {
        match self.find(partitions) {
            Ok(found) => {
                self.dependencies.kafka_answered();
                self.dependencies.target_works();
                let touched = self.compare(&found);
                self.machine.handle(Event::Acquired { term, found });
                for (partition, next) in touched {
                    let next = next.map_or("nothing".into(), |next| format!("offset {next}"));
                    let reason = format!(
                        "another hand changed its position row to {next}; restart the sink to go on from there"
                    );
                    self.stop_partition(partition, &reason);
                }
            }
            Err(error) => self.pause(&error),
        }
    }

    /// Remembers what the rows say, and returns those that another hand changed.
    fn compare(&mut self, found: &[PartitionState]) -> Vec<(Partition, Option<Offset>)> {
        let mut touched = Vec::new();
        for PartitionState { committed, .. } in found {
            let known = Known { fence: committed.fence, expected: [committed.next; 2] };
            let before = self.known.insert(committed.partition, known);
            if before.is_some_and(|before| before.touched(committed)) {
                touched.push((committed.partition, committed.next));
            }
        }
        touched
    }

    fn find(&self, partitions: &[Partition]) -> Result<Vec<PartitionState>, Error> {
        let committed_positions =
            self.shared.runtime.block_on(self.shared.target.acquire(partitions))?;
        let mut found = Vec::with_capacity(committed_positions.len());
        for committed in committed_positions {
            let (low, high) = self.consumer.watermarks(committed.partition)?;
            // The position lies beside the rows: it is not lost without them.
            found.push(PartitionState { committed, low, high, traces: false });
        }
        Ok(found)
    }

    /// Nothing to read: lets the write under way land, or waits for partitions.
    pub(super) fn stand_by(&mut self) -> Result<(), Error> {
        match self.pending {
            Some(_) => self.land(),
            None => {
                self.consumer.idle(POLL_TIMEOUT);
                Ok(())
            }
        }
    }

    /// Reading failed: the log lost records, or the broker is away.
    pub(super) fn reading_failed(&mut self, error: weir_kafka::Error) -> Result<(), Error> {
        if error.class() == Class::Loss {
            // What was read before it is good.
            self.land()?;
            tracing::error!(%error, "the log does not hold what comes next");
            self.machine.handle(Event::OutOfRange);
            return Ok(());
        }
        self.pause(&error.into());
        Ok(())
    }

    /// Reads this partition no further, until it comes back with a rebalance or a restart; the
    /// others go on.
    pub(super) fn stop_partition(&mut self, partition: Partition, reason: &str) {
        self.shared.health.halt(&self.called(partition), reason);
        self.machine.handle(Event::Revoked(vec![partition]));
    }

    /// The target refused for good. Somebody has to act; when the target fits again, the sink goes
    /// on by itself.
    pub(super) fn repair(&mut self) -> Result<(), Error> {
        self.land()?;
        let pause = match self.shared.runtime.block_on(self.shared.target.inspect()) {
            Ok(mistakes) if mistakes.is_empty() => {
                self.unfit = false;
                return Ok(());
            }
            Ok(mistakes) => {
                let list: Vec<String> = mistakes.into_iter().map(|m| m.what).collect();
                self.dependencies.halt(&list.join("; "))
            }
            Err(error) => self.dependencies.failed(&error),
        };
        self.consumer.idle(pause);
        Ok(())
    }

    /// How people name the partition: `calls-enriched[2]`.
    fn called(&self, partition: Partition) -> String {
        format!("{}[{partition}]", self.consumer.topic())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::progress::Progress;

    fn committed(fence: i64, next: Option<Offset>) -> CommittedPosition {
        CommittedPosition { partition: 0, fence, next, progress: Progress::default() }
    }

    fn known() -> Known {
        let mut known = Known { fence: 4, expected: [Some(10); 2] };
        known.claimed(20);
        known
    }

    #[test]
    fn a_position_that_we_wrote_or_may_have_written_is_ours() {
        for next in [10, 20] {
            assert!(!known().touched(&committed(5, Some(next))), "{next}");
        }
    }

    #[test]
    fn a_position_that_nobody_wrote_is_noticed() {
        assert!(known().touched(&committed(5, Some(15))));
        assert!(known().touched(&committed(5, None)));
        assert!(known().touched(&committed(1, None)));
    }

    #[test]
    fn another_owner_or_an_older_backup_may_say_anything() {
        assert!(!known().touched(&committed(6, Some(99))));
        assert!(!known().touched(&committed(3, Some(5))));
        assert!(!known().touched(&committed(7, None)));
    }
}
