//! The path of a batch, top to bottom: records → Arrow → rules, lookups and SQL → Avro → one Kafka
//! transaction with the offsets. A transaction is filled part by part, so that the client sends one
//! part while the next is decoded, and memory does not grow with the transaction.

use crate::batch::{Batch, SentBatch};
use crate::enrich::{Enriched, Fate};
use crate::error::Error;
use crate::worker::{POLL_TIMEOUT, Worker};
use std::mem::take;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_kafka::dead_letter::Origin;
use weir_kafka::{Header, Outgoing, OutgoingDeadLetter, Record, replay};
use weir_model::fault::{Class, Fault, Stage};
use weir_model::frame;
use weir_model::lineage::{self, Lineage};
use weir_model::pipeline::{self, KeyFormat, Pipeline};
use weir_model::protocol::{self, Claim, Outcome, PartitionState, Term};
use weir_model::record::RecordMetadata;
use weir_service::{CancellationToken, Failure, REQUEST_TIMEOUT};

/// Records that are enriched at once at most: their columns stay in the processor's cache.
pub(crate) const PART_RECORDS: usize = 8192;

impl Worker {
    /// Reads the next records, enriches them, and commits output, dead letters, offsets and
    /// counters in one transaction.
    pub(crate) fn write_batch(
        &mut self,
        term: Term,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut batch = Batch::default();
        let mut sound = true;
        let mut started = Instant::now();
        while sound && self.read_part(term, &batch)? {
            if batch.counts.is_empty() {
                started = Instant::now();
            }
            let Some(enriched) = self.enrich(term, &batch, stop)? else { break };
            sound = self.add_part(enriched, &mut batch);
            if started.elapsed() > self.shared.fill_limit() {
                break;
            }
        }
        if batch.counts.is_empty() {
            return Ok(());
        }
        self.poll_events();
        let claims = match self.partitions.claim(term, &batch.counts.deltas()) {
            Ok(claims) => claims,
            Err(protocol::Error::Stale) => return self.drop_batch(),
            Err(error) => return Err(error.into()),
        };
        // An unavailable broker delays the commit until the transaction's timeout; `/ready` shows
        // it earlier.
        self.dependencies.kafka.asking(REQUEST_TIMEOUT);
        let outcome = match sound {
            true => self.partitions.commit(&mut self.producer, &claims),
            false => Outcome::Refused,
        };
        self.partitions.write_finished(outcome);
        self.finish_write(outcome, SentBatch { batch, claims, took: started.elapsed() });
        Ok(())
    }

    /// Topic → the next part of the transaction in `self.records`; false when the transaction is
    /// full or the topic has nothing more to give.
    fn read_part(&mut self, term: Term, batch: &Batch) -> Result<bool, Error> {
        let most = self.shared.job.pipeline.batch.records as u64;
        if let Some((_, records)) = self.kept.take_if(|(of, _)| *of == term) {
            // What was made of records before it may fill the transaction.
            if batch.counts.counters().written >= most {
                self.kept = Some((term, records));
                return Ok(false);
            }
            self.records = records;
            return Ok(true);
        }
        self.kept = None;
        let first = batch.num_records == 0;
        if let Some(error) = self.read_error.take_if(|_| first) {
            self.report_error(error)?;
            return Ok(false);
        }
        let Some(limits) = self.limits(batch) else { return Ok(false) };
        let wait = if first { POLL_TIMEOUT } else { Duration::ZERO };
        match self.partitions.read(&mut self.records, &limits, wait) {
            Ok(()) => {
                let unavailable = self.dependencies.kafka.unavailable_for().is_some();
                if first && self.records.is_empty() && unavailable {
                    self.ping_kafka();
                }
            }
            Err(error) => {
                self.records.clear();
                self.read_error = Some(error);
            }
        }
        Ok(!self.records.is_empty())
    }

    /// What the next part may hold. After a full part the topic has more at once; only a first part
    /// waits for more.
    fn limits(&self, batch: &Batch) -> Option<pipeline::Batch> {
        let limits = &self.shared.job.pipeline.batch;
        let records = limits.records.saturating_sub(batch.num_records).min(self.part_records);
        let bytes = limits.bytes.saturating_sub(batch.bytes_read);
        let first = batch.num_records == 0;
        let more = first || (records > 0 && bytes > 0 && self.part_is_full);
        let linger = if first { limits.linger } else { Duration::ZERO };
        more.then_some(pipeline::Batch { records, bytes, linger })
    }

    /// Records → the fate of each; what has to wait for the next part is kept. `None` when all have
    /// to wait: the registry is unavailable, and either there is a transaction to commit first, or
    /// the partitions were reassigned in the meantime.
    fn enrich(
        &mut self,
        term: Term,
        batch: &Batch,
        stop: &CancellationToken,
    ) -> Result<Option<Enriched>, Error> {
        loop {
            match self.enricher.enrich(&self.records, now_micros()) {
                Ok(enriched) => {
                    self.dependencies.registry.answered();
                    self.keep_rest(term, enriched.fates.len());
                    return Ok(Some(enriched));
                }
                Err(error) if error.class() == Class::Environment => {
                    let pause = self.dependencies.registry.failed(&error);
                    if !batch.counts.is_empty() {
                        self.kept = Some((term, take(&mut self.records)));
                        return Ok(None);
                    }
                    self.partitions.idle(pause);
                    self.poll_events();
                    if self.partitions.term() != Some(term) || stop.is_cancelled() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Keeps the records behind the first `num_taken`. The next parts are as large as what could be
    /// taken.
    fn keep_rest(&mut self, term: Term, num_taken: usize) {
        self.part_is_full = self.records.len() >= self.part_records;
        let rest = self.records.split_off(num_taken);
        if rest.is_empty() {
            self.part_records = PART_RECORDS.min(2 * self.part_records);
        } else {
            self.kept = Some((term, rest));
            self.part_records = num_taken.max(1);
        }
    }

    /// Counts a part and sends it; false when the transaction cannot be committed any more.
    fn add_part(&mut self, mut enriched: Enriched, batch: &mut Batch) -> bool {
        self.refuse_unwritable(&mut enriched);
        for (record, fate) in self.records.iter().zip(&mut enriched.fates) {
            if !self.partitions.accept_record(record.partition(), record.offset()) {
                *fate = Fate::Stale;
            }
        }
        let open = !batch.counts.is_empty();
        let records = self.records.iter().map(|record| (record.partition(), record.offset()));
        let before = |partition| self.partitions.progress(partition);
        let lineages = batch.counts.add(records, &enriched.fates, before);
        batch.counts.note_last_read(&self.records, &enriched.fates);
        batch.add(&self.records, &enriched);
        if batch.counts.is_empty() {
            return true;
        }
        let begun = if open { Ok(()) } else { self.producer.begin() };
        match begun.and_then(|()| self.send(&enriched, &lineages)) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(%error, "transaction aborted");
                self.producer.abort();
                false
            }
        }
    }

    /// Makes dead letters of the records that the output topic does not accept.
    fn refuse_unwritable(&self, enriched: &mut Enriched) {
        for i in 0..self.records.len() {
            if enriched.output(i).len() == 0 {
                continue;
            }
            let record = self.records.get(i);
            let came_back = came_back(record, &self.shared.job.pipeline.input.topic);
            let pipeline = &self.shared.job.pipeline;
            let key_schema = key_schema(record, pipeline.input.key_format);
            let headers = headers(&lineage::Encoded::LONGEST, came_back.as_deref(), key_schema);
            let refusal = enriched.output(i).find_map(|value| {
                let outgoing = outgoing(pipeline, record, value, headers.present());
                self.producer.refusal(&outgoing)
            });
            let Some(refusal) = refusal else { continue };
            let reason = match refusal {
                weir_kafka::Error::TooLarge { .. } => "too_large",
                _ => refusal.reason().unwrap_or("refused"),
            };
            let detail = format!("enriched: {refusal}");
            enriched.refuse(i, Fault { stage: Stage::Transform, reason: reason.into(), detail });
        }
    }

    /// Output and dead letters go to the partition of their input, each with its lineage.
    fn send(&mut self, enriched: &Enriched, lineages: &[Lineage]) -> weir_kafka::Result<()> {
        let pipeline = &self.shared.job.pipeline;
        for (i, lineage) in lineages.iter().enumerate() {
            let record = self.records.get(i);
            let rows = enriched.output(i);
            if rows.len() > 0 {
                let (count, came_back) = (rows.len(), came_back(record, &pipeline.input.topic));
                let key_schema = key_schema(record, pipeline.input.key_format);
                for (index, value) in (0..).zip(rows) {
                    let lineage = lineage.of_row(index, count as u32).encode();
                    let headers = headers(&lineage, came_back.as_deref(), key_schema);
                    self.producer.send(&outgoing(pipeline, record, value, headers.present()))?;
                }
            }
            if let Fate::Dead(fault) = enriched.fates[i] {
                OutgoingDeadLetter {
                    topic: &pipeline.dead_letters.topic,
                    partition: Some(record.partition()),
                    origin: Origin {
                        topic: &pipeline.input.topic,
                        partition: record.partition(),
                        offset: record.offset(),
                        timestamp_ms: record.timestamp_ms(),
                    },
                    key: record.key(),
                    value: record.value(),
                    headers: &record.headers().collect::<Vec<_>>(),
                    fault: &enriched.faults[fault as usize],
                    lineage: Some(*lineage),
                }
                .send(&mut self.producer)?;
            }
        }
        Ok(())
    }

    /// The partitions were reassigned while the transaction was filled.
    fn drop_batch(&mut self) -> Result<(), Error> {
        self.kept = None;
        self.producer.abort();
        Ok(())
    }

    /// Only a definite success counts. After anything else the state machine asks for a new
    /// producer and for the positions, and what was not committed is read again.
    fn finish_write(&mut self, outcome: Outcome, sent: SentBatch) {
        match outcome {
            Outcome::Committed => return self.count_committed(&sent),
            Outcome::Refused => {}
            Outcome::Unknown => self.unconfirmed = Some(sent),
        }
        let fault = self.producer.fault();
        let reason = fault.as_ref().map_or_else(|| "aborted".into(), ToString::to_string);
        tracing::info!(?outcome, reason, "transaction not committed");
        // What the broker refuses it will refuse again, until its limits are known or changed.
        let refused = fault.filter(|fault| fault.class() == Class::Configuration);
        let pause = match refused {
            Some(fault) => self.dependencies.kafka.failed(&fault),
            None => self.backoff.next_wait(),
        };
        self.partitions.idle(pause);
    }

    /// A transaction whose outcome was unknown was committed if the positions show any of its
    /// claims: it contains all of them or none.
    pub(crate) fn resolve_unconfirmed(&mut self, found: &[PartitionState]) {
        let Some(sent) = self.unconfirmed.take() else { return };
        let is_committed = |claim: &Claim| {
            found.iter().any(|state| {
                let committed = &state.committed;
                committed.partition == claim.partition && committed.next == Some(claim.next)
            })
        };
        let committed = sent.claims.iter().any(is_committed);
        tracing::info!(committed, "the positions show the outcome of a transaction");
        if committed {
            self.count_committed(&sent);
        }
    }

    /// Counts what is durable now.
    fn count_committed(&mut self, SentBatch { batch, took, .. }: &SentBatch) {
        self.dependencies.kafka.answered();
        self.backoff.reset();
        let (shared, counters) = (&self.shared, batch.counts.counters());
        shared.meters.committed(batch, *took);
        let last = batch.timestamps_ms.last().copied().filter(|last| *last >= 0);
        let age_ms = last.map_or(0, |last| (now_micros() / 1000 - last).max(0));
        shared.meters.lag_seconds.set(age_ms as f64 / 1000.0);
        shared.status.add_read(counters.read);
        for (partition, offset, fault) in &batch.faults {
            shared.status.add_fault(*partition, *offset, fault);
        }
        shared.breaker().note(counters.read, counters.dead, Instant::now());
        self.publish_status();
    }
}

/// The record of the output topic that is made of `record`.
fn outgoing<'a>(
    pipeline: &'a Pipeline,
    record: Record<'a>,
    value: Option<&'a [u8]>,
    headers: &'a [Header<'a>],
) -> Outgoing<'a> {
    Outgoing {
        topic: &pipeline.output.topic,
        partition: Some(record.partition()),
        key: record.key(),
        value,
        timestamp_ms: Some(record.timestamp_ms()),
        headers,
    }
}

/// Where a record that came back from the dead letters was when it came for the first time.
fn came_back(record: Record<'_>, input: &str) -> Option<String> {
    let first = replay::first_offset(record.headers(), input, record.partition(), record.offset())?;
    Some(replay::of(input, record.partition(), first))
}

/// The header of its key, which has no frame then, where keys have one.
fn key_schema<'a>(record: Record<'a>, format: KeyFormat) -> Option<&'a [u8]> {
    let is_framed = match format {
        KeyFormat::Avro | KeyFormat::Protobuf | KeyFormat::JsonSchema => true,
        KeyFormat::Text | KeyFormat::Bytes | KeyFormat::Json => false,
    };
    if is_framed { record.last_header(frame::KEY_HEADER) } else { None }
}

/// The headers of an emitted record. Those after the first are left out where they have no value.
fn headers<'a>(
    lineage: &'a lineage::Encoded,
    came_back: Option<&'a str>,
    key_schema: Option<&'a [u8]>,
) -> Headers<'a> {
    let mut all = Headers { list: [(lineage::HEADER, Some(lineage.as_ref())); 3], len: 1 };
    let others = [(replay::OF, came_back.map(str::as_bytes)), (frame::KEY_HEADER, key_schema)];
    for other in others.into_iter().filter(|(_, value)| value.is_some()) {
        all.list[all.len] = other;
        all.len += 1;
    }
    all
}

struct Headers<'a> {
    list: [Header<'a>; 3],
    len: usize,
}

impl<'a> Headers<'a> {
    fn present(&self) -> &[Header<'a>] {
        &self.list[..self.len]
    }
}

/// Microseconds since 1970.
fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
