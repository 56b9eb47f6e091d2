//! A batch on its way: the records as they were read, the rows that were decoded from them, and
//! what could not be decoded.

use arrow::array::RecordBatch;
use std::collections::BTreeMap;
use weir_codec::{Decoded, Decoder};
use weir_kafka::Records;
use weir_model::fault::{Fault, Stage};
use weir_model::frame;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Offset, Partition};
use weir_store::DeadLetter;

/// Records of one term of one worker, decoded.
#[derive(Debug)]
pub struct Batch {
    /// As they came from the topic.
    pub records: Records,
    /// Exactly the output schema; empty once they are in the target's form.
    pub rows: RecordBatch,
    /// For each row its record.
    pub origins: Vec<u32>,
    /// Records that are no rows, ascending.
    pub faults: Vec<(u32, Fault)>,
}

/// A record whose source offset does not lie after that of the record before it: the topic holds a
/// record twice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "offset {offset} came from input offset {source_offset}, but {last} was read before it: the topic holds records twice or out of order"
)]
pub(crate) struct OutOfOrder {
    pub(crate) partition: Partition,
    pub(crate) offset: Offset,
    pub(crate) source_offset: Offset,
    pub(crate) last: Offset,
}

impl Batch {
    /// Decodes `records` and takes them. A record without lineage did not come through the enricher
    /// and is a fault.
    ///
    /// # Errors
    /// The registry is away; `records` are untouched, to be tried again.
    pub(crate) fn decode(
        records: &mut Records,
        decoder: &mut Decoder,
    ) -> Result<Batch, weir_codec::Error> {
        let values: Vec<Option<&[u8]>> =
            records.iter().map(|r| r.lineage().and(r.value())).collect();
        let Decoded { batch, rows, faults } = decoder.decode(&values)?;
        let faults =
            faults.into_iter().map(|(index, fault)| (index, here(records, index, fault))).collect();
        Ok(Batch { records: std::mem::take(records), rows: batch, origins: rows, faults })
    }

    /// Lets go of the rows, once they are in the target's form: two batches are alive at a time,
    /// and memory is promised to stay flat.
    pub(crate) fn forget_rows(&mut self) {
        self.rows = RecordBatch::new_empty(self.rows.schema());
    }

    /// What the batch adds to the books of each partition: its rows are written, its faults dead.
    pub(crate) fn deltas(&self) -> BTreeMap<Partition, Progress> {
        let mut deltas: BTreeMap<Partition, Progress> = BTreeMap::new();
        // Records of a partition come in long runs; counting a run costs one look-up.
        for run in runs(&self.records) {
            let delta = deltas.entry(self.records.partition(run.start)).or_default();
            delta.counters += Counters {
                read: run.len() as u64,
                written: run.len() as u64,
                ..Counters::default()
            };
            let last = run.rev().find_map(|i| self.records.lineage(i));
            delta.last = last.map(|l| l.source).or(delta.last);
        }
        for (index, _) in &self.faults {
            let delta = deltas.entry(self.records.partition(*index as usize)).or_default();
            delta.counters.written -= 1;
            delta.counters.dead += 1;
        }
        deltas
    }

    /// The dead letter of a record of this batch.
    pub(crate) fn dead_letter(&self, index: usize, fault: Fault) -> DeadLetter {
        let record = self.records.get(index);
        DeadLetter {
            partition: record.partition(),
            offset: record.offset(),
            source: record.lineage().map(|l| l.source),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record
                .headers()
                .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
                .collect(),
            timestamp_ms: Some(record.timestamp_ms()).filter(|ms| *ms >= 0),
            schema_id: record.value().and_then(frame::schema_id),
            fault,
            column: None,
            sqlstate: None,
        }
    }
}

/// Whether the source offsets rise strictly within each partition, from where `last` says it stood,
/// but for the records of `anew` (partition and offset), with which they begin anew.
pub(crate) fn in_order(
    records: &Records,
    anew: &[(Partition, Offset)],
    last: impl Fn(Partition) -> Option<Offset>,
) -> Result<(), OutOfOrder> {
    let mut lasts: BTreeMap<Partition, Option<Offset>> = BTreeMap::new();
    for run in runs(records) {
        let partition = records.partition(run.start);
        let seen = lasts.entry(partition).or_insert_with(|| last(partition));
        for i in run {
            let Some(source) = records.lineage(i).map(|l| l.source) else { continue };
            match *seen {
                Some(last) if source <= last && !anew.contains(&(partition, records.offset(i))) => {
                    return Err(OutOfOrder {
                        partition,
                        offset: records.offset(i),
                        source_offset: source,
                        last,
                    });
                }
                _ => *seen = Some(source),
            }
        }
    }
    Ok(())
}

/// Ranges of consecutive records of one partition.
fn runs(records: &Records) -> impl Iterator<Item = std::ops::Range<usize>> {
    let partitions = records.partitions();
    let mut start = 0;
    partitions.chunk_by(|a, b| a == b).map(move |run| {
        let range = start..start + run.len();
        start = range.end;
        range
    })
}

fn here(records: &Records, index: u32, fault: Fault) -> Fault {
    if records.lineage(index as usize).is_some() {
        return Fault { stage: Stage::Sink, ..fault };
    }
    let detail = "the record has no weir-lineage header, so it did not come through the enricher";
    Fault { stage: Stage::Sink, reason: "no_lineage".into(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::lineage::{HEADER, Lineage};

    fn records(list: &[(Partition, Offset, Option<Offset>)]) -> Records {
        let mut records = Records::new();
        for (partition, offset, source) in list {
            records.push_parts(*partition, *offset, 0, None, Some(b"value"));
            if let Some(source) = source {
                records.push_header(
                    HEADER,
                    Some(&Lineage { source: *source, previous: -1, filtered: 0 }.encode()),
                );
            }
        }
        records
    }

    fn batch(records: Records, faults: &[u32]) -> Batch {
        let fault = Fault { stage: Stage::Sink, reason: "r".into(), detail: "d".into() };
        let faults = faults.iter().map(|i| (*i, fault.clone())).collect();
        Batch {
            records,
            rows: RecordBatch::new_empty(arrow::datatypes::Schema::empty().into()),
            origins: Vec::new(),
            faults,
        }
    }

    #[test]
    fn the_books_count_every_record_once() {
        let batch = batch(
            records(&[(0, 5, Some(50)), (0, 7, Some(51)), (1, 3, Some(9)), (0, 8, None)]),
            &[1, 3],
        );
        let deltas = batch.deltas();
        let books = |p| {
            (
                deltas[&p].counters.read,
                deltas[&p].counters.written,
                deltas[&p].counters.dead,
                deltas[&p].last,
            )
        };
        assert_eq!(books(0), (3, 1, 2, Some(51)));
        assert_eq!(books(1), (1, 1, 0, Some(9)));
    }

    #[test]
    fn a_record_that_comes_twice_is_noticed() {
        let twice = records(&[(0, 5, Some(50)), (1, 5, Some(50)), (0, 6, Some(50))]);
        let error = in_order(&twice, &[], |_| None).unwrap_err();
        assert_eq!(
            (error.partition, error.offset, error.source_offset, error.last),
            (0, 6, 50, 50)
        );
        assert!(
            in_order(&records(&[(0, 5, Some(50))]), &[], |_| Some(50)).is_err(),
            "also when it came in an earlier batch"
        );
        assert!(
            in_order(
                &records(&[(0, 5, Some(50)), (1, 5, Some(50)), (0, 6, None), (0, 7, Some(53))]),
                &[],
                |_| Some(49)
            )
            .is_ok()
        );
    }

    #[test]
    fn offsets_begin_anew_at_the_given_record_only() {
        let restarted = records(&[(0, 7, Some(50)), (0, 9, Some(1)), (0, 10, Some(2))]);
        assert_eq!(in_order(&restarted, &[], |_| None).unwrap_err().offset, 9);
        assert!(in_order(&restarted, &[(0, 9)], |_| None).is_ok());
        assert!(in_order(&restarted, &[(1, 9), (0, 10)], |_| None).is_err());
    }
}
