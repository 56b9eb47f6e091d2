//! Who reads which partition of the source.
//!
//! The producers of a pipeline join one consumer group on the topic of positions, without ever
//! fetching through it. Whoever is given a partition of that topic reads the source partitions
//! whose positions are kept there. The group decides only who *should* write: that nobody else
//! *can* is the work of each source partition's transactional id.

use crate::error::Error;
use std::collections::BTreeSet;
use std::time::Duration;
use weir_kafka::{Consumer, Rebalance, positions};
use weir_model::pipeline::Pipeline;

/// Short, because the group hears nothing of the worker meanwhile.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Membership {
    consumer: Consumer,
    /// Partitions of the source, in all.
    partitions: u32,
}

/// A change of what this worker reads.
pub(crate) enum Change {
    /// These, and no others.
    Owned(BTreeSet<u32>),
    /// Nothing.
    Nothing,
}

impl Membership {
    pub(crate) fn join(
        pipeline: &Pipeline,
        partitions: u32,
        member: &str,
    ) -> Result<Membership, Error> {
        let consumer =
            Consumer::join(&pipeline.kafka, &pipeline.producer_group(), positions::TOPIC, member)?;
        Ok(Membership { consumer, partitions })
    }

    /// Keeps the membership alive for `duration`, or until there is a change.
    pub(crate) fn idle(&mut self, duration: Duration) {
        self.consumer.idle(duration);
    }

    /// Asks the broker for a sign of life.
    pub(crate) fn ping(&self) -> Result<(), Error> {
        Ok(self.consumer.ping(REQUEST_TIMEOUT)?)
    }

    /// Changes since the last call, oldest first.
    pub(crate) fn changes(&mut self) -> Result<Vec<Change>, Error> {
        let mut changes = Vec::new();
        for rebalance in self.consumer.rebalances() {
            changes.push(match rebalance {
                Rebalance::Assigned(ledger) => {
                    // The group is told that the assignment was carried out; nothing is fetched.
                    self.consumer.start(&[])?;
                    Change::Owned(
                        (0..self.partitions)
                            .filter(|sp| ledger.contains(&positions::partition(*sp)))
                            .collect(),
                    )
                }
                Rebalance::Revoked(_) | Rebalance::Lost(_) => Change::Nothing,
            });
        }
        Ok(changes)
    }
}
