//! Which worker reads which partition of the source.
//!
//! The producers of a pipeline join one consumer group on the topic of positions, without fetching
//! anything through it. A worker that is assigned a partition of that topic reads the source
//! partitions whose positions are stored there. The group decides only which worker *should* write;
//! that no other worker *can* write is ensured by the transactional id of each source partition.

use crate::error::Error;
use std::collections::BTreeSet;
use std::time::Duration;
use weir_kafka::{Consumer, Rebalance, positions};
use weir_model::pipeline::Pipeline;
use weir_model::protocol::Partition;

/// Short, because the worker does not poll the group in the meantime.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The source partitions that a worker reads from now on, and no others.
pub(crate) type Assignment = BTreeSet<u32>;

/// A worker's membership of the group.
pub(crate) struct Membership {
    consumer: Consumer,
    /// Partitions of the source, in all.
    num_partitions: u32,
    /// The assigned partitions of the topic of positions.
    assigned: Vec<Partition>,
}

impl Membership {
    pub(crate) fn join(
        pipeline: &Pipeline,
        num_partitions: u32,
        member: &str,
    ) -> Result<Membership, Error> {
        let consumer =
            Consumer::join(&pipeline.kafka, &pipeline.producer_group(), positions::TOPIC, member)?;
        Ok(Membership { consumer, num_partitions, assigned: Vec::new() })
    }

    /// Stays a member for `duration`, or until there is an event.
    pub(crate) fn idle(&mut self, duration: Duration) {
        self.consumer.idle(duration);
    }

    /// Checks that the broker answers.
    pub(crate) fn ping(&self) -> Result<(), Error> {
        Ok(self.consumer.ping(REQUEST_TIMEOUT)?)
    }

    /// The assignments since the last call, oldest first: after a rebalance, and when the source
    /// has a different number of partitions.
    pub(crate) fn poll_events(&mut self, num_partitions: u32) -> Result<Vec<Assignment>, Error> {
        let mut assignments = Vec::new();
        for rebalance in self.consumer.rebalances() {
            self.assigned = match rebalance {
                Rebalance::Assigned(assigned) => {
                    // The group is told that the assignment was applied; nothing is fetched.
                    self.consumer.start(&[])?;
                    assigned
                }
                Rebalance::Revoked(_) | Rebalance::Lost(_) => Vec::new(),
            };
            assignments.push(assignment(&self.assigned, num_partitions));
        }
        let before = assignment(&self.assigned, self.num_partitions);
        let now = assignment(&self.assigned, num_partitions);
        self.num_partitions = num_partitions;
        if assignments.is_empty() && before != now {
            assignments.push(now);
        }
        Ok(assignments)
    }
}

/// The source partitions whose positions are in these partitions of the topic of positions.
fn assignment(assigned: &[Partition], num_partitions: u32) -> Assignment {
    (0..num_partitions).filter(|number| assigned.contains(&positions::partition(*number))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_appears_belongs_to_the_owner_of_its_positions() {
        assert_eq!(assignment(&[0, 2], 3), BTreeSet::from([0, 2]));
        assert_eq!(assignment(&[0, 2], 20), BTreeSet::from([0, 2, 16, 18]));
        assert_eq!(assignment(&[], 20), BTreeSet::new());
    }
}
