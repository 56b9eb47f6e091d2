//! The content of the open transaction.

use crate::enrich::{Enriched, Fate};
use crate::lineage::RecordCounts;
use std::collections::BTreeMap;
use std::time::Duration;
use weir_kafka::Records;
use weir_model::fault::Fault;
use weir_model::protocol::{Claim, Offset, Partition};

/// The number of faults shown per transaction.
const MAX_FAULTS: usize = 3;

/// See the module; kept until the outcome is known, and counted then.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) counts: RecordCounts,
    /// Of all records that were read, stale ones included.
    pub(crate) num_records: usize,
    pub(crate) bytes_read: usize,
    pub(crate) bytes_written: usize,
    pub(crate) timestamps_ms: Vec<i64>,
    /// Dead letters per reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// The first few faults.
    pub(crate) faults: Vec<(Partition, Offset, Fault)>,
}

/// A transaction that was sent.
pub(crate) struct SentBatch {
    pub(crate) batch: Batch,
    pub(crate) claims: Vec<Claim>,
    /// The time from its first record to the outcome.
    pub(crate) took: Duration,
}

impl Batch {
    /// Adds a part to the figures.
    pub(crate) fn add(&mut self, records: &Records, enriched: &Enriched) {
        self.num_records += records.len();
        self.bytes_read += records.bytes();
        for (record, fate) in records.iter().zip(&enriched.fates) {
            match *fate {
                Fate::Stale => continue,
                Fate::Filtered | Fate::Tombstone => {}
                Fate::Emitted { row, count } => {
                    let rows = row..row + count;
                    self.bytes_written +=
                        rows.map(|row| enriched.rows.get(row as usize).len()).sum::<usize>();
                }
                Fate::Dead(fault) => {
                    let fault = &enriched.faults[fault as usize];
                    self.add_dead(record.partition(), record.offset(), fault);
                }
            }
            self.timestamps_ms.push(record.timestamp_ms());
        }
    }

    fn add_dead(&mut self, partition: Partition, offset: Offset, fault: &Fault) {
        match self.reasons.get_mut(&fault.reason) {
            Some(num_dead) => *num_dead += 1,
            None => drop(self.reasons.insert(fault.reason.clone(), 1)),
        }
        if self.faults.len() < MAX_FAULTS {
            self.faults.push((partition, offset, fault.clone()));
        }
    }
}
