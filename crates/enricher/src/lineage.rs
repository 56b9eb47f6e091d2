//! The counters of a transaction, and the lineage through it.

use crate::enrich::Fate;
use std::collections::BTreeMap;
use weir_kafka::Records;
use weir_model::lineage::Lineage;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Offset, Partition};

/// The counts that a transaction adds, part by part.
#[derive(Debug, Default)]
pub(crate) struct RecordCounts {
    partitions: Vec<PartitionCounts>,
}

/// The counts of one partition.
#[derive(Debug)]
struct PartitionCounts {
    partition: Partition,
    /// The end of the lineage so far.
    last: Option<Offset>,
    filtered: u64,
    delta: Progress,
    /// Whether `delta` has the last record of this part.
    noted: bool,
}

impl RecordCounts {
    /// Adds records in order; `before` gives the end of each partition's lineage before the
    /// transaction. Returns a lineage per record; that of a filtered or stale record is
    /// meaningless.
    pub(crate) fn add<'a>(
        &mut self,
        records: impl ExactSizeIterator<Item = (Partition, Offset)>,
        fates: &[Fate],
        before: impl Fn(Partition) -> Option<&'a Progress>,
    ) -> Vec<Lineage> {
        let mut lineages = Vec::with_capacity(records.len());
        for ((partition, offset), fate) in records.zip(fates) {
            if *fate == Fate::Stale {
                lineages.push(Lineage::new(offset, -1, 0));
                continue;
            }
            let at = self
                .partitions
                .iter()
                .position(|counts| counts.partition == partition)
                .unwrap_or_else(|| {
                    self.partitions.push(PartitionCounts::begin(partition, before(partition)));
                    self.partitions.len() - 1
                });
            lineages.push(self.partitions[at].add(offset, fate));
        }
        lineages
    }

    /// Takes the last record of each partition that was added: the proof of the position. To be
    /// called after [`RecordCounts::add`] of the same records.
    pub(crate) fn note_last_read(&mut self, records: &Records, fates: &[Fate]) {
        let mut missing = self.partitions.len();
        self.partitions.iter_mut().for_each(|counts| counts.noted = false);
        for i in (0..records.len()).rev().filter(|i| fates[*i] != Fate::Stale) {
            let partition = records.partition(i);
            let counts = self.partitions.iter_mut().find(|counts| counts.partition == partition);
            if let Some(counts) = counts.filter(|counts| !counts.noted) {
                counts.noted = true;
                counts.delta.last_read = Some(records.last_read(i));
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
    }

    /// True when nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// The added counts per partition.
    pub(crate) fn deltas(&self) -> BTreeMap<Partition, Progress> {
        self.partitions.iter().map(|counts| (counts.partition, counts.delta)).collect()
    }

    /// The added counts in total.
    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.partitions.iter().for_each(|counts| sum += counts.delta.counters);
        sum
    }
}

impl PartitionCounts {
    fn begin(partition: Partition, counts: Option<&Progress>) -> PartitionCounts {
        let (last, filtered) =
            counts.map_or((None, 0), |counts| (counts.last, counts.filtered_since));
        PartitionCounts { partition, last, filtered, delta: Progress::default(), noted: false }
    }

    fn add(&mut self, offset: Offset, fate: &Fate) -> Lineage {
        let lineage = Lineage::new(offset, self.last.unwrap_or(-1), self.filtered);
        let counters = &mut self.delta.counters;
        counters.read += u64::from(*fate != Fate::Stale);
        match fate {
            Fate::Emitted { count, .. } => {
                counters.written += u64::from(*count);
                counters.unnested += u64::from(*count) - 1;
            }
            Fate::Tombstone => counters.written += 1,
            Fate::Dead(_) => counters.dead += 1,
            Fate::Stale => return lineage,
            Fate::Filtered => {
                counters.filtered += 1;
                self.filtered += 1;
                self.delta.filtered_since += 1;
                return lineage;
            }
        }
        self.last = Some(offset);
        self.filtered = 0;
        self.delta.last = Some(offset);
        self.delta.filtered_since = 0;
        lineage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fate(n: u8) -> Fate {
        match n {
            0 => Fate::Filtered,
            1 => Fate::Dead(0),
            2 => Fate::Stale,
            n => Fate::Emitted { row: 0, count: u32::from(n) - 2 },
        }
    }

    proptest! {
        /// However a log is cut into transactions and these into parts, the lineage is the same,
        /// unbroken, and accounts for every record.
        #[test]
        fn the_lineage_does_not_depend_on_how_the_log_is_cut(
            log in proptest::collection::vec((0..3i32, 1..4i64, 0..5u8), 1..200),
            cut in 1..20usize,
            parts in 1..4usize,
        ) {
            let mut next = [0i64; 3];
            let log: Vec<_> = log.into_iter().map(|(p, gap, f)| {
                next[p as usize] += gap;
                ((p, next[p as usize]), fate(f))
            }).collect();
            // Parts of a transaction and transactions of a log are cut alike.
            let run = |part: usize, parts: usize| {
                let mut counts: BTreeMap<Partition, Progress> = BTreeMap::new();
                let mut lineages = Vec::new();
                for transaction in log.chunks(part * parts) {
                    let mut added = RecordCounts::default();
                    for part in transaction.chunks(part) {
                        let (records, fates): (Vec<_>, Vec<_>) = part.iter().copied().unzip();
                        lineages.extend(added.add(records.into_iter(), &fates, |p| counts.get(&p)));
                    }
                    for (partition, delta) in added.deltas() {
                        let after = counts.get(&partition).copied().unwrap_or_default().then(&delta);
                        counts.insert(partition, after);
                    }
                }
                (lineages, counts)
            };
            let (lineages, counts) = run(cut, parts);
            prop_assert_eq!((&lineages, &counts), (&run(log.len(), 1).0, &run(log.len(), 1).1));

            let mut ends: BTreeMap<Partition, (i64, u64)> = BTreeMap::new();
            for (((partition, offset), fate), lineage) in log.iter().zip(&lineages) {
                let end = ends.entry(*partition).or_insert((-1, 0));
                if *fate == Fate::Filtered {
                    end.1 += 1;
                } else if *fate != Fate::Stale {
                    let Lineage { source, previous, filtered, .. } = *lineage;
                    prop_assert_eq!((source, previous, filtered), (*offset, end.0, end.1));
                    *end = (*offset, 0);
                }
            }
            prop_assert!(counts.values().all(|b| b.counters.unaccounted() == 0));
            let fresh = log.iter().filter(|(_, fate)| *fate != Fate::Stale).count();
            prop_assert_eq!(counts.values().map(|b| b.counters.read).sum::<u64>(), fresh as u64);
        }
    }
}
