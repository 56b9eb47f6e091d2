//! What the log adds up to: a fold over its entries. The state after a number of entries is the same
//! for whoever reads them, so it may be stored as a checkpoint.

use crate::files::error::configuration;
use crate::files::log::entry::{Change, Claim, Entry, Move};
use crate::reader::SinkPosition;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::progress::{LastRead, Progress};
use weir_model::protocol::{CommittedPosition, Offset, Partition};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// How many entries were read: the number of the next one.
    pub(crate) next: u64,
    /// SHA-256 of the last one.
    pub(crate) last: Option<String>,
    /// By topic.
    positions: BTreeMap<String, BTreeMap<Partition, Position>>,
    /// Fences outlive the positions: an owner from before they were cleared stays fenced.
    fences: BTreeMap<String, BTreeMap<Partition, i64>>,
    pub(crate) losses: Vec<AcceptedLoss>,
    /// Rows in all files.
    pub(crate) rows: u64,
    /// Files that were deleted, or are about to be. They never count.
    swept: BTreeSet<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    cluster: String,
    next: Option<Offset>,
    progress: Progress,
}

impl State {
    /// Whether the change may be the next one. One that may not, because another writer was faster
    /// or owns a partition now, will never be.
    pub(crate) fn allows(&self, change: &Change) -> bool {
        match change {
            Change::Acquire { .. } | Change::Clear | Change::Sweep { .. } => true,
            Change::Commit { topic, claims, files, dead_letters } => {
                let holds = |claim: &Claim| {
                    self.position(topic, claim.partition).is_some_and(|position| {
                        self.fence(topic, claim.partition) == claim.fence
                            && position.next == claim.expected
                    })
                };
                let letters = dead_letters.file.iter().map(|file| &file.path);
                let mut paths = files.iter().map(|file| &file.path).chain(letters);
                claims.iter().all(holds) && !paths.any(|path| self.swept.contains(path))
            }
            Change::Accept { topic, fence, claim, .. } => {
                self.position(topic, claim.partition).is_some_and(|position| {
                    self.fence(topic, claim.partition) == *fence
                        && position.next.unwrap_or(0) == claim.from
                })
            }
        }
    }

    /// Adds the next entry, whose bytes have this hash.
    ///
    /// # Errors
    /// It does not follow from the ones before: the log was changed by hand, or two were mixed.
    pub(crate) fn apply(&mut self, entry: &Entry, hash: String) -> Result<(), crate::Error> {
        let number = self.next;
        if entry.previous != self.last || !self.allows(&entry.change) {
            return Err(configuration(format!(
                "entry {number} of the log does not follow from the one before: the log was changed \
                 or restored in part. Put back all of it, from one point in time"
            )));
        }
        (self.next, self.last) = (number + 1, Some(hash));
        match &entry.change {
            Change::Acquire { topic, cluster, partitions } => {
                for partition in partitions {
                    *self
                        .fences
                        .entry(topic.clone())
                        .or_default()
                        .entry(*partition)
                        .or_default() += 1;
                    let positions = self.positions.entry(topic.clone()).or_default();
                    let position = positions.entry(*partition).or_default();
                    if position.next.is_none() {
                        position.cluster.clone_from(cluster);
                    }
                }
            }
            Change::Commit { topic, claims, files, .. } => {
                self.rows += files.iter().map(|file| file.rows).sum::<u64>();
                for claim in claims {
                    self.move_to(topic, claim.partition, claim.next, claim.progress);
                }
            }
            Change::Accept { topic, claim: Move { partition, to, progress, .. }, loss, .. } => {
                let last_read = Some(LastRead { offset: to - 1, fingerprint: None });
                self.move_to(topic, *partition, *to, Progress { last_read, ..*progress });
                self.losses.push(loss.clone());
            }
            Change::Clear => {
                self.positions.clear();
                self.losses.clear();
            }
            Change::Sweep { paths } => self.swept.extend(paths.iter().cloned()),
        }
        Ok(())
    }

    fn move_to(&mut self, topic: &str, partition: Partition, next: Offset, progress: Progress) {
        let position = self.positions.get_mut(topic).and_then(|all| all.get_mut(&partition));
        if let Some(position) = position {
            (position.next, position.progress) = (Some(next), progress);
        }
    }

    fn position(&self, topic: &str, partition: Partition) -> Option<&Position> {
        self.positions.get(topic)?.get(&partition)
    }

    fn fence(&self, topic: &str, partition: Partition) -> i64 {
        self.fences.get(topic).and_then(|all| all.get(&partition)).copied().unwrap_or_default()
    }

    /// The position of a partition that was acquired.
    pub(crate) fn committed(&self, topic: &str, partition: Partition) -> CommittedPosition {
        let position = self.position(topic, partition);
        CommittedPosition {
            partition,
            fence: self.fence(topic, partition),
            next: position.and_then(|position| position.next),
            progress: position.map(|position| position.progress).unwrap_or_default(),
            intact: true,
        }
    }

    /// The Kafka cluster that the positions of the partitions were written for, if it is another one.
    pub(crate) fn other_cluster(
        &self,
        topic: &str,
        partitions: &[Partition],
        cluster: &str,
    ) -> Option<&str> {
        let recorded = partitions.iter().filter_map(|partition| self.position(topic, *partition));
        recorded
            .filter(|position| position.next.is_some())
            .map(|position| position.cluster.as_str())
            .find(|recorded| *recorded != cluster)
    }

    /// All positions.
    pub(crate) fn positions(&self) -> Vec<SinkPosition> {
        let of = |(topic, all): (&String, &BTreeMap<Partition, Position>)| {
            let one = |(partition, position): (&Partition, &Position)| SinkPosition {
                topic: topic.clone(),
                committed: self.committed(topic, *partition),
                cluster: Some(position.cluster.clone()),
                superseded: 0,
            };
            all.iter().map(one).collect::<Vec<_>>()
        };
        self.positions.iter().flat_map(of).collect()
    }
}
