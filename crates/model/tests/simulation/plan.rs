//! What a batch becomes: counts, lineage and records; and the requests of its transaction, in
//! order.

use crate::actor::{Actor, Batch, Kind};
use crate::broker::{DEAD_LETTERS, INPUT, OUTPUT, POSITIONS};
use crate::mutant::Mutant;
use crate::network::Request;
use crate::record::{Fate, MAX, Record, Value};
use std::collections::{BTreeMap, VecDeque};
use weir_model::lineage::Lineage;
use weir_model::progress::Progress;
use weir_model::protocol::{Claim, Offset, Partition};

/// A batch, ready to be written.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) deltas: BTreeMap<Partition, Progress>,
    /// Partition of the output (input topic for the producer), offset it came from, record.
    written: Vec<(usize, Offset, Record)>,
    dead: Vec<(usize, Offset, Record)>,
}

impl Actor {
    /// Decode, transform, encode: all that happens to a batch before it is written.
    pub(crate) fn make(&self, batch: &Batch) -> Made {
        let mut made = Made::default();
        for item in &batch.items {
            let partition = item.partition as Partition;
            let counts = self.worker.progress(partition).copied().unwrap_or_default();
            let mut delta = made.deltas.get(&partition).copied().unwrap_or_default();
            let mut record = item.record;
            let fate = match self.kind {
                Kind::Producer => Fate::Written,
                Kind::Enricher => record.enriched(),
                Kind::Sink => record.sunk(),
            };
            match self.kind {
                Kind::Producer => {}
                Kind::Enricher => {
                    let end = counts.then(&delta);
                    record.lineage =
                        Some(Lineage::new(item.offset, end.last.unwrap_or(-1), end.filtered_since));
                    if fate == Fate::Filtered {
                        delta.filtered_since += 1;
                    } else {
                        (delta.last, delta.filtered_since) = (Some(item.offset), 0);
                    }
                }
                Kind::Sink => delta.last = record.lineage.map(|lineage| lineage.source),
            }
            match fate {
                Fate::Written => made.written.push((item.partition, item.offset, record)),
                Fate::Dead => made.dead.push((item.partition, item.offset, record)),
                Fate::Filtered => {}
            }
            if item.stale {
                continue;
            }
            delta.counters.read += 1;
            match fate {
                // Which rows the target refuses is known only when it has seen them.
                _ if self.kind == Kind::Sink => delta.counters.written += 1,
                Fate::Written => delta.counters.written += 1,
                Fate::Filtered => delta.counters.filtered += 1,
                Fate::Dead => delta.counters.dead += 1,
            }
            made.deltas.insert(partition, delta);
        }
        made
    }

    /// The transaction, request by request.
    pub(crate) fn lay_out(
        &mut self,
        mutant: Option<Mutant>,
        session: Option<u64>,
        made: Made,
        claims: Vec<Claim>,
    ) -> VecDeque<Request> {
        match (self.kind, session) {
            (Kind::Sink, Some(session)) => VecDeque::from([
                Request::Claim { session, claims },
                Request::Copy { session, rows: made.written, dead_letters: made.dead },
                Request::Commit { session },
            ]),
            (Kind::Producer, _) => self.lay_out_producer(mutant, made, claims),
            _ => self.lay_out_enricher(mutant, made, claims),
        }
    }

    fn lay_out_producer(
        &mut self,
        mutant: Option<Mutant>,
        made: Made,
        claims: Vec<Claim>,
    ) -> VecDeque<Request> {
        let mut plan = VecDeque::new();
        let Some(claim) = claims.into_iter().next() else { return plan };
        let source = claim.partition as usize;
        let epoch = self.producers[source].epoch;
        let end = Request::End { producer: source, epoch, commit: true };
        let width = self.width;
        let rekeyed: Vec<_> = made
            .written
            .into_iter()
            .map(|(_, offset, record)| (record.partition(width), offset, record))
            .collect();
        self.send(&mut plan, source, source, INPUT, &rekeyed);
        if mutant == Some(Mutant::PositionOutsideTheTransaction) {
            plan.push_back(end.clone());
        }
        let position = Value::Position { source, next: claim.next, progress: claim.progress };
        let sequence = self.sequence(source, POSITIONS);
        plan.push_back(Request::Send {
            producer: source,
            epoch,
            log: POSITIONS,
            sequence,
            values: vec![position],
        });
        plan.push_back(end);
        plan
    }

    fn lay_out_enricher(
        &mut self,
        mutant: Option<Mutant>,
        made: Made,
        claims: Vec<Claim>,
    ) -> VecDeque<Request> {
        let mut plan = VecDeque::new();
        let producer = MAX + self.slot;
        let epoch = self.producers[0].epoch;
        if mutant == Some(Mutant::DeadLettersOutsideTheTransaction) {
            for &(partition, _, record) in &made.dead {
                plan.push_back(Request::Plain {
                    log: DEAD_LETTERS + partition,
                    values: vec![Value::Data(record)],
                });
            }
        } else {
            self.send(&mut plan, producer, 0, DEAD_LETTERS, &made.dead);
        }
        self.send(&mut plan, producer, 0, OUTPUT, &made.written);
        let end = Request::End { producer, epoch, commit: true };
        let offsets = |producer| Request::Offsets {
            producer,
            member: self.member,
            generation: self.generation,
            claims,
        };
        if mutant == Some(Mutant::PositionOutsideTheTransaction) {
            let sends = !plan.is_empty();
            plan.extend(sends.then_some(end));
            plan.push_back(offsets(None));
        } else {
            plan.push_back(offsets(Some((producer, epoch))));
            plan.push_back(end);
        }
        plan
    }

    fn send(
        &mut self,
        plan: &mut VecDeque<Request>,
        producer: usize,
        source: usize,
        topic: usize,
        records: &[(usize, Offset, Record)],
    ) {
        for partition in 0..MAX {
            let values: Vec<Value> =
                records.iter().filter(|of| of.0 == partition).map(|of| Value::Data(of.2)).collect();
            if !values.is_empty() {
                let log = topic + partition;
                let sequence = self.sequence(source, log);
                plan.push_back(Request::Send {
                    producer,
                    epoch: self.producers[source].epoch,
                    log,
                    sequence,
                    values,
                });
            }
        }
    }

    fn sequence(&mut self, source: usize, log: usize) -> u32 {
        let next = &mut self.producers[source].sequences[log];
        *next += 1;
        *next - 1
    }
}
