//! The path of a batch: source → Arrow → framed Avro → one Kafka transaction with the position.

use crate::encode::{Encoding, Payloads};
use crate::error::Error;
use crate::metrics::BatchMetrics;
use crate::source::{Chunk, Limit, Malformed};
use crate::source_partition::{IDLE_PAUSE, Shared, SourcePartition, State, StepResult};
use std::collections::BTreeMap;
use std::time::Instant;
use weir_kafka::dead_letter::Origin;
use weir_kafka::positions::{self, Position};
use weir_kafka::{Outgoing, OutgoingDeadLetter, proof};
use weir_model::fault::{Class, Fault, Stage};
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Event, Offset, Outcome, Partition, Term};

/// A transaction is so small that the records of one partition of the topic fit into one request.
/// An idempotent librdkafka producer has one request per partition in flight, and while another
/// batch is ready its thread polls for the response, which costs a fifth of all processor time;
/// twice as many transactions cost less.
const REQUEST_BYTES: usize = 900_000;
/// The size of a record in Kafka beside its key and value.
const RECORD_OVERHEAD: usize = 12;

impl SourcePartition {
    /// Reads the next records, encodes them, and commits them with dead letters, position and
    /// counters in one transaction.
    pub(crate) fn write_batch(
        &mut self,
        shared: &Shared,
        encoding: &mut Encoding,
    ) -> Result<StepResult, Error> {
        let Some(term) = self.machine.term() else { return Ok(StepResult::Idle(IDLE_PAUSE)) };
        let num_records = match self.pace.due(Instant::now(), self.max_records(shared)) {
            Ok(num_records) => num_records,
            Err(wait) => return Ok(StepResult::Idle(wait)),
        };
        let Some(chunk) = self.read(num_records, shared)? else {
            return Ok(StepResult::Idle(IDLE_PAUSE));
        };
        let committed = chunk.is_empty() || self.write(term, &chunk, shared, encoding)?;
        if committed {
            self.pace.sent(chunk.len());
        }
        if committed && chunk.end {
            self.state = State::Done;
            tracing::info!(partition = self.number, "the source is exhausted");
        }
        self.publish_status(shared);
        Ok(match committed {
            true if chunk.is_empty() => StepResult::Idle(IDLE_PAUSE),
            true => StepResult::Worked,
            false => StepResult::NotCommitted,
        })
    }

    fn max_records(&self, shared: &Shared) -> usize {
        let partitions = shared.pipeline.input.partitions.max(1) as usize;
        let one_request = REQUEST_BYTES * partitions / self.record_bytes;
        shared.pipeline.batch.records.min(one_request.max(1))
    }

    fn read(&mut self, records: usize, shared: &Shared) -> Result<Option<Chunk>, Error> {
        let limit = Limit { records, bytes: shared.pipeline.batch.bytes };
        let Some(reader) = self.reader.as_mut() else { return Ok(None) };
        match reader.read(limit) {
            Ok(chunk) => Ok(Some(chunk)),
            Err(error) => {
                self.rewind();
                Err(error.into())
            }
        }
    }

    /// Encodes a chunk and commits it; returns whether that was a definite success. After anything
    /// else the state machine asks for the position again, and the reader is opened there.
    fn write(
        &mut self,
        term: Term,
        chunk: &Chunk,
        shared: &Shared,
        encoding: &mut Encoding,
    ) -> Result<bool, Error> {
        let payloads = encoding.encode(chunk, self.reader.as_deref())?;
        let started = Instant::now();
        let partition = self.number as Partition;
        let Some(next) = self.machine.progress(partition).map(|p| p.counters.read as Offset) else {
            return Ok(false);
        };
        for item in next..next + chunk.len() as Offset {
            self.machine.accept_record(partition, item);
        }
        let sent = match self.send(term, chunk, &payloads, shared) {
            Ok(sent) => sent,
            Err(error) => {
                tracing::debug!(partition = self.number, %error, "transaction aborted");
                self.producer.abort();
                self.abandon(term);
                return Err(error);
            }
        };
        let outcome = self.producer.commit(None);
        self.machine.handle(Event::WriteFinished(outcome));
        if outcome != Outcome::Committed {
            self.reader = None;
            return match self.producer.fault() {
                // The broker would refuse it again.
                Some(fault) if fault.class() == Class::Configuration => Err(fault.into()),
                fault => {
                    self.log_outcome(outcome, fault);
                    Ok(false)
                }
            };
        }
        self.position = Some(chunk.position.clone());
        self.record_bytes = (sent.bytes / chunk.len().max(1)).max(1);
        shared.meters.committed(&BatchMetrics {
            counters: sent.counters,
            dead: &sent.reasons,
            bytes: sent.value_bytes,
            took: started.elapsed(),
        });
        Ok(true)
    }

    fn log_outcome(&self, outcome: Outcome, fault: Option<weir_kafka::Error>) {
        let reason = fault.map_or_else(|| "no answer".into(), |fault| fault.to_string());
        tracing::warn!(
            partition = self.number,
            ?outcome,
            reason,
            "transaction not committed: reading the position again"
        );
    }

    fn send<'a>(
        &mut self,
        term: Term,
        chunk: &'a Chunk,
        payloads: &'a Payloads,
        shared: &'a Shared,
    ) -> Result<SentBatch<'a>, Error> {
        self.producer.begin()?;
        let mut sent = SentBatch::default();
        let trace = positions::key(&shared.pipeline.name, shared.source_kind(), self.number);
        let progress = self.machine.progress(self.number as Partition);
        let written = progress.map_or(0, |progress| progress.counters.written).to_string();
        for index in 0..payloads.len() {
            let (key, value) = (payloads.key(index), payloads.value(index));
            let row = payloads.row(index);
            let mut headers = chunk.headers(row);
            if sent.counters.written == 0 {
                headers.push((proof::SOURCE, Some(trace.as_bytes())));
                headers.push((proof::WRITTEN, Some(written.as_bytes())));
            }
            let record = Outgoing {
                topic: &shared.pipeline.input.topic,
                partition: None,
                key,
                value: Some(value),
                timestamp_ms: chunk.timestamps_ms.get(row).copied(),
                headers: &headers,
            };
            match self.producer.send(&record) {
                Ok(()) => sent.add_record(key, value),
                Err(error) if error.reason().is_some() => {
                    let reason = error.reason().unwrap_or_default();
                    let fault = Fault {
                        stage: Stage::Source,
                        reason: reason.into(),
                        detail: error.to_string(),
                    };
                    let position = chunk.positions.get(row).copied().unwrap_or(-1);
                    let bytes = value.to_vec();
                    self.dead_letter(&Malformed { bytes, fault, position }, key, shared)?;
                    sent.add_dead(reason);
                }
                Err(error) => return Err(error.into()),
            }
        }
        for malformed in chunk.malformed.iter().chain(&payloads.malformed) {
            self.dead_letter(malformed, None, shared)?;
            sent.add_dead(&malformed.fault.reason);
        }
        self.send_position(term, chunk, sent.counters, shared)?;
        Ok(sent)
    }

    fn dead_letter(
        &mut self,
        malformed: &Malformed,
        key: Option<&[u8]>,
        shared: &Shared,
    ) -> Result<(), Error> {
        let pipeline = &shared.pipeline;
        let dead_letter = OutgoingDeadLetter {
            topic: &pipeline.dead_letters.topic,
            partition: Some(self.number as Partition % pipeline.input.partitions),
            origin: Origin {
                topic: shared.source_kind(),
                partition: self.number as Partition,
                offset: malformed.position,
                timestamp_ms: -1,
            },
            key,
            value: Some(&malformed.bytes),
            headers: &[],
            fault: &malformed.fault,
            lineage: None,
        };
        Ok(dead_letter.send(&mut self.producer)?)
    }

    /// Claims the batch and adds its position to the transaction.
    fn send_position(
        &mut self,
        term: Term,
        chunk: &Chunk,
        counters: Counters,
        shared: &Shared,
    ) -> Result<(), Error> {
        let delta = Progress { counters, ..Progress::default() };
        let deltas = BTreeMap::from([(self.number as Partition, delta)]);
        let claims = self.machine.claim(term, &deltas)?;
        if let Some(claim) = claims.first() {
            let position = Position { position: chunk.position.clone(), progress: claim.progress };
            let (pipeline, kind) = (&shared.pipeline.name, shared.source_kind());
            positions::write(&mut self.producer, pipeline, kind, self.number, &position)?;
        }
        Ok(())
    }
}

/// What went into a transaction.
#[derive(Default)]
struct SentBatch<'a> {
    counters: Counters,
    value_bytes: u64,
    /// Bytes in Kafka.
    bytes: usize,
    /// The reasons of dead letters.
    reasons: Vec<&'a str>,
}

impl<'a> SentBatch<'a> {
    fn add_record(&mut self, key: Option<&[u8]>, value: &[u8]) {
        self.counters.read += 1;
        self.counters.written += 1;
        self.value_bytes += value.len() as u64;
        self.bytes += RECORD_OVERHEAD + key.map_or(0, <[u8]>::len) + value.len();
    }

    fn add_dead(&mut self, reason: &'a str) {
        self.counters.read += 1;
        self.counters.dead += 1;
        self.reasons.push(reason);
    }
}
