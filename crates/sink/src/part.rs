//! A part of a batch: records as they were read, decoded into rows of the output schema.

use crate::deletes::{Deletes, Rows};
use crate::error::Error;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_codec::{Decoder, KeyDecoder};
use weir_kafka::{Records, replay};
use weir_model::coordinates::RecordCoordinates;
use weir_model::dead_letter::DeadLetter;
use weir_model::fault::{Fault, Stage};
use weir_model::lineage::HEADER;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Offset, Partition};
use weir_store::target::Room;
use weir_store::{Part, SourceRecords};

/// Parts in use and parts to be used again: two batches are alive at a time.
const MAX_SPARE: usize = 16;

/// The buffers of parts that were written, for reuse.
#[derive(Clone, Default)]
pub(crate) struct SpareRecords(Arc<Mutex<Vec<Records>>>);

impl SpareRecords {
    pub(crate) fn take(&self) -> Records {
        self.lock().pop().unwrap_or_default()
    }

    pub(crate) fn put(&self, mut records: Records) {
        records.clear();
        let mut spare = self.lock();
        if spare.len() < MAX_SPARE {
            spare.push(records);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Records>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The totals of a part, or of all parts of a batch.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The counts to add per partition: rows are written, faults are dead, skipped tombstones are
    /// filtered.
    pub(crate) deltas: BTreeMap<Partition, Progress>,
    /// The reasons of the records that are dead.
    pub(crate) dead: Vec<String>,
    pub(crate) num_filtered: usize,
    pub(crate) num_records: usize,
    pub(crate) num_bytes: usize,
    /// The records' timestamps in their order, runs of equal ones together.
    pub(crate) timestamps: Vec<(i64, usize)>,
    /// The partitions that end between records of one input record.
    open: BTreeSet<Partition>,
}

impl Contents {
    fn of(records: &Records, faults: &[(u32, Fault)], filtered: &[u32]) -> Contents {
        let mut contents = Contents {
            dead: faults.iter().map(|(_, fault)| fault.reason.clone()).collect(),
            num_records: records.len(),
            num_bytes: records.bytes(),
            ..Contents::default()
        };
        for run in runs(records) {
            let num_records = run.len() as u64;
            let last = run.clone().rev().find_map(|i| records.lineage(i));
            let counters =
                Counters { read: num_records, written: num_records, ..Counters::default() };
            let partition = records.partition(run.start);
            match last {
                Some(lineage) if !lineage.row.is_last() => _ = contents.open.insert(partition),
                _ => _ = contents.open.remove(&partition),
            }
            contents.gain(
                partition,
                &Progress {
                    counters,
                    last: last.map(|lineage| lineage.source),
                    last_read: Some(records.last_read(run.end - 1)),
                    ..Progress::default()
                },
            );
        }
        for (index, _) in faults {
            let partition = records.partition(*index as usize);
            let delta = contents.deltas.entry(partition).or_default();
            delta.counters.written -= 1;
            delta.counters.dead += 1;
        }
        for index in filtered {
            let partition = records.partition(*index as usize);
            let delta = contents.deltas.entry(partition).or_default();
            delta.counters.written -= 1;
            delta.counters.filtered += 1;
        }
        contents.num_filtered = filtered.len();
        (0..records.len()).for_each(|i| contents.note_timestamp(records.timestamp_ms(i), 1));
        contents
    }

    /// Whether records are missing that were made of the same input record as one of these: they are
    /// in the topic, as all of them are committed at once.
    pub(crate) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Adds the contents of the part that follows.
    pub(crate) fn append(&mut self, next: Contents) {
        self.open.retain(|partition| !next.deltas.contains_key(partition));
        self.open.extend(next.open);
        next.deltas.iter().for_each(|(partition, delta)| self.gain(*partition, delta));
        self.dead.extend(next.dead);
        self.num_filtered += next.num_filtered;
        self.num_records += next.num_records;
        self.num_bytes += next.num_bytes;
        next.timestamps.into_iter().for_each(|(stamp, times)| self.note_timestamp(stamp, times));
    }

    fn gain(&mut self, partition: Partition, delta: &Progress) {
        let before = self.deltas.entry(partition).or_default();
        *before = before.then(delta);
    }

    fn note_timestamp(&mut self, timestamp_ms: i64, times: usize) {
        match self.timestamps.last_mut() {
            Some((last, count)) if *last == timestamp_ms => *count += times,
            _ => self.timestamps.push((timestamp_ms, times)),
        }
    }
}

/// What decoding needs beside the records.
pub(crate) struct PartDecoder {
    pub(crate) decoder: Decoder,
    pub(crate) keys: KeyDecoder,
    pub(crate) deletes: Deletes,
    /// The topic that the sink reads.
    pub(crate) topic: Arc<str>,
    /// The pipeline's input topic.
    pub(crate) input: Arc<str>,
    pub(crate) spare: SpareRecords,
}

impl PartDecoder {
    /// Decodes `records` and takes them. A record without lineage did not come through the enricher
    /// and is a fault.
    ///
    /// # Errors
    /// The registry is unavailable; `records` are untouched, to be tried again.
    pub(crate) fn decode(&mut self, records: &mut Records) -> Result<(Part, Contents), Error> {
        let values: Vec<Option<&[u8]>> =
            records.iter().map(|r| r.lineage().and(r.value())).collect();
        let mut decoded = self.decoder.decode(&values)?;
        let mut tombstones = Vec::new();
        if self.deletes.takes_tombstones() {
            decoded.faults.retain(|(index, _)| {
                let record = records.get(*index as usize);
                let is_tombstone = record.lineage().is_some() && record.value().is_none();
                tombstones.extend(is_tombstone.then_some(*index));
                !is_tombstone
            });
        }
        let Rows { batch, rows, deletes, faults, filtered } =
            self.deletes.apply(decoded, records, &tombstones, &mut self.keys)?;
        let faults: Vec<(u32, Fault)> = faults
            .into_iter()
            .map(|(index, fault)| (index, sink_fault(records, index, fault)))
            .collect();
        let contents = Contents::of(records, &faults, &filtered);
        let size = Room { records: records.len(), bytes: records.bytes() };
        let dead_letters = faults
            .into_iter()
            .map(|(index, fault)| dead_letter(records, &self.topic, index as usize, fault))
            .collect();
        let records = PartRecords {
            records: std::mem::take(records),
            rows,
            topic: self.topic.clone(),
            input: self.input.clone(),
            spare: self.spare.clone(),
        };
        let records = Box::new(records);
        Ok((Part { rows: batch, deletes, records, dead_letters, size }, contents))
    }
}

/// The records of a part, for as long as the target needs them.
struct PartRecords {
    records: Records,
    /// For each row its record.
    rows: Vec<u32>,
    topic: Arc<str>,
    input: Arc<str>,
    spare: SpareRecords,
}

impl Drop for PartRecords {
    fn drop(&mut self) {
        self.spare.put(std::mem::take(&mut self.records));
    }
}

impl SourceRecords for PartRecords {
    fn partition(&self, row: usize) -> Partition {
        self.records.partition(self.rows[row] as usize)
    }

    fn source(&self, row: usize) -> Offset {
        // A row has a lineage: records without one are faults.
        self.records.lineage(self.rows[row] as usize).map_or(-1, |lineage| lineage.source)
    }

    fn replay_of(&self, row: usize) -> Option<Offset> {
        let record = self.records.get(self.rows[row] as usize);
        replay::first_offset(record.headers(), &self.input, record.partition(), self.source(row))
    }

    fn dead_letter(&self, row: usize, fault: Fault) -> DeadLetter {
        dead_letter(&self.records, &self.topic, self.rows[row] as usize, fault)
    }
}

fn dead_letter(records: &Records, topic: &str, index: usize, fault: Fault) -> DeadLetter {
    let record = records.get(index);
    let owned = |(name, value): (&str, Option<&[u8]>)| (name.to_owned(), value.map(<[u8]>::to_vec));
    DeadLetter {
        coordinates: RecordCoordinates {
            topic: topic.into(),
            partition: record.partition(),
            offset: record.offset(),
        },
        source: record.lineage().map(|lineage| lineage.source),
        key: record.key().map(<[u8]>::to_vec),
        value: record.value().map(<[u8]>::to_vec),
        headers: record.headers().map(owned).collect(),
        timestamp_ms: Some(record.timestamp_ms()).filter(|ms| *ms >= 0),
        schema_id: record.value().and_then(weir_model::frame::schema_id),
        fault,
        column: None,
        code: None,
    }
}

/// Ranges of consecutive records of one partition. Records of a partition come in long runs, so
/// that counting by runs is cheap.
pub(crate) fn runs(records: &Records) -> impl Iterator<Item = std::ops::Range<usize>> {
    let partitions = records.partitions();
    let mut start = 0;
    partitions.chunk_by(|a, b| a == b).map(move |run| {
        let range = start..start + run.len();
        start = range.end;
        range
    })
}

fn sink_fault(records: &Records, index: u32, fault: Fault) -> Fault {
    if records.lineage(index as usize).is_some() {
        return Fault { stage: Stage::Sink, ..fault };
    }
    let (reason, detail) = match records.headers(index as usize).any(|(name, _)| name == HEADER) {
        false => ("no_lineage", NO_LINEAGE),
        true => ("foreign_lineage", FOREIGN_LINEAGE),
    };
    Fault { stage: Stage::Sink, reason: reason.into(), detail: detail.into() }
}

const NO_LINEAGE: &str =
    "the record has no weir-lineage header, so it did not come through the enricher";
const FOREIGN_LINEAGE: &str = "the record's weir-lineage header does not continue the lineage of \
     its partition: the record is in the topic a second time, or did not come through the enricher";

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::lineage::Lineage;

    fn records(list: &[(Partition, Offset, Option<Offset>)]) -> Records {
        let mut records = Records::new();
        for (partition, offset, source) in list {
            records.push_parts(*partition, *offset, 7, None, Some(b"value"));
            if let Some(source) = source {
                let lineage = Lineage::new(*source, -1, 0);
                records.push_header(HEADER, Some(lineage.encode().as_ref()));
            }
        }
        records
    }

    fn contents(list: &[(Partition, Offset, Option<Offset>)], faults: &[u32]) -> Contents {
        let fault = Fault { stage: Stage::Sink, reason: "r".into(), detail: "d".into() };
        let faults: Vec<_> = faults.iter().map(|index| (*index, fault.clone())).collect();
        Contents::of(&records(list), &faults, &[])
    }

    #[test]
    fn every_record_of_all_parts_is_counted_once() {
        let mut contents =
            contents(&[(0, 5, Some(50)), (0, 7, Some(51)), (1, 3, Some(9)), (0, 8, None)], &[1, 3]);
        contents.append(super::tests::contents(&[(1, 4, Some(10)), (1, 5, None)], &[1]));
        let of = |partition| {
            let delta: &Progress = &contents.deltas[&partition];
            (delta.counters.read, delta.counters.written, delta.counters.dead, delta.last)
        };
        assert_eq!(of(0), (3, 1, 2, Some(51)));
        assert_eq!(of(1), (3, 2, 1, Some(10)));
        assert_eq!((contents.num_records, contents.dead.len()), (6, 3));
        assert_eq!(contents.timestamps, [(7, 6)]);
    }
}
