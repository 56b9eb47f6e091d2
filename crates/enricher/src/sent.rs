//! What the open transaction holds so far.

use crate::enrich::{Enriched, Fate};
use crate::lineage::Books;
use std::collections::BTreeMap;
use std::time::Duration;
use weir_kafka::Records;
use weir_model::fault::Fault;
use weir_model::protocol::{Claim, Offset, Partition};

/// So many faults of a transaction are shown.
const FAULTS: usize = 3;

/// See the module; kept until the outcome is known, to be counted then.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) books: Books,
    /// Of all records that were read, stale ones included.
    pub(crate) records: usize,
    pub(crate) bytes_read: usize,
    pub(crate) bytes_written: usize,
    pub(crate) timestamps_ms: Vec<i64>,
    /// Dead letters per reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// The first few faults.
    pub(crate) faults: Vec<(Partition, Offset, Fault)>,
}

/// A transaction that was sent.
pub(crate) struct Written {
    pub(crate) sent: Sent,
    pub(crate) claims: Vec<Claim>,
    /// From its first record to the outcome.
    pub(crate) took: Duration,
}

impl Sent {
    /// Takes note of a part.
    pub(crate) fn note(&mut self, records: &Records, enriched: &Enriched) {
        self.records += records.len();
        self.bytes_read += records.bytes();
        for (record, fate) in records.iter().zip(&enriched.fates) {
            match *fate {
                Fate::Stale => continue,
                Fate::Filtered => {}
                Fate::Emitted(row) => self.bytes_written += enriched.rows.get(row as usize).len(),
                Fate::Dead(fault) => self.refused(
                    record.partition(),
                    record.offset(),
                    &enriched.faults[fault as usize],
                ),
            }
            self.timestamps_ms.push(record.timestamp_ms());
        }
    }

    fn refused(&mut self, partition: Partition, offset: Offset, fault: &Fault) {
        match self.reasons.get_mut(&fault.reason) {
            Some(dead_letters) => *dead_letters += 1,
            None => drop(self.reasons.insert(fault.reason.clone(), 1)),
        }
        if self.faults.len() < FAULTS {
            self.faults.push((partition, offset, fault.clone()));
        }
    }
}
