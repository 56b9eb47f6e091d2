//! The path of the records, top to bottom. A transaction is filled part by part, so that the client
//! sends one part while the next is decoded, and memory does not grow with the transaction.

use crate::enrich::{Enriched, Fate};
use crate::error::Error;
use crate::sent::{Sent, Written};
use crate::worker::{POLL_TIMEOUT, Worker, now_micros};
use std::time::{Duration, Instant};
use weir_kafka::dead_letter::Origin;
use weir_kafka::{Outgoing, OutgoingDeadLetter};
use weir_model::fault::Class;
use weir_model::lineage::{self, Lineage};
use weir_model::pipeline::Batch;
use weir_model::protocol::{self, Claim, Event, Outcome, PartitionState, Term};
use weir_service::{CancellationToken, Failure};

/// Records that go through Arrow at once: their columns stay in the processor's cache.
const PART: usize = 8192;

impl Worker {
    /// Takes what there is, enriches it, and commits output, dead letters, offsets and books in one
    /// transaction.
    pub(crate) fn batch(&mut self, term: Term, stop: &CancellationToken) -> Result<(), Error> {
        let mut sent = Sent::default();
        let mut sound = true;
        let mut started = Instant::now();
        while sound && self.collect(term, &sent)? {
            if sent.books.is_empty() {
                started = Instant::now();
            }
            let Some(enriched) = self.enrich(term, &sent, stop)? else { break };
            sound = self.write(enriched, &mut sent);
        }
        if sent.books.is_empty() {
            return Ok(());
        }
        self.hear();
        let claims = match self.machine.claim(term, &sent.books.deltas()) {
            Ok(claims) => claims,
            Err(protocol::Error::Stale) => return self.give_up(),
            Err(error) => return Err(error.into()),
        };
        // A broker that is away holds the commit up until the transaction's timeout; people should
        // know before.
        self.broker.asking();
        let outcome = if sound {
            self.producer.commit(Some((&self.consumer, &claims)))
        } else {
            Outcome::Refused
        };
        self.machine.handle(Event::WriteFinished(outcome));
        self.settle(outcome, Written { sent, claims, took: started.elapsed() });
        Ok(())
    }

    /// Topic → the next part of the transaction in `self.records`; false when the transaction is
    /// full or the topic has no more to give.
    fn collect(&mut self, term: Term, sent: &Sent) -> Result<bool, Error> {
        if self.kept.take() == Some(term) {
            return Ok(true);
        }
        let first = sent.records == 0;
        if let Some(error) = self.trouble.take_if(|_| first) {
            self.bear(error)?;
            return Ok(false);
        }
        let Some(limits) = self.limits(sent) else { return Ok(false) };
        match self.consumer.collect(
            &mut self.records,
            &limits,
            if first { POLL_TIMEOUT } else { Duration::ZERO },
        ) {
            Ok(()) if first && self.records.is_empty() && self.broker.away_for().is_some() => {
                self.ask_broker()
            }
            Ok(()) => {}
            Err(error) => {
                self.records.clear();
                self.trouble = Some(error);
            }
        }
        Ok(!self.records.is_empty())
    }

    /// What the next part may hold. Only after a full part is there more to expect at once; a first
    /// part waits for company.
    fn limits(&self, sent: &Sent) -> Option<Batch> {
        let batch = &self.shared.job.pipeline.batch;
        let records = batch.records.saturating_sub(sent.records).min(PART);
        let bytes = batch.bytes.saturating_sub(sent.bytes_read);
        let first = sent.records == 0;
        let goes_on = first || (records > 0 && bytes > 0 && self.records.len() == PART);
        goes_on.then_some(Batch {
            records,
            bytes,
            linger: if first { batch.linger } else { Duration::ZERO },
        })
    }

    /// Records → what becomes of each. `None` when they are not for now: the registry is away, and
    /// either there is a transaction to commit first, or the records went to somebody else while we
    /// waited.
    fn enrich(
        &mut self,
        term: Term,
        sent: &Sent,
        stop: &CancellationToken,
    ) -> Result<Option<Enriched>, Error> {
        loop {
            match self.enricher.enrich(&self.records, now_micros()) {
                Ok(enriched) => {
                    self.registry.answered();
                    return Ok(Some(enriched));
                }
                Err(error) if error.class() == Class::Environment => {
                    let pause = self.registry.failed(&error);
                    if !sent.books.is_empty() {
                        self.kept = Some(term);
                        return Ok(None);
                    }
                    self.consumer.idle(pause);
                    self.hear();
                    if self.machine.term() != Some(term) || stop.is_cancelled() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Enters a part into the books and sends it; false when the transaction cannot be committed
    /// any more.
    fn write(&mut self, mut enriched: Enriched, sent: &mut Sent) -> bool {
        for (record, fate) in self.records.iter().zip(&mut enriched.fates) {
            if !self.machine.accept_record(record.partition(), record.offset()) {
                *fate = Fate::Stale;
            }
        }
        let records = self.records.iter().map(|record| (record.partition(), record.offset()));
        let begun = !sent.books.is_empty();
        let lineages = sent
            .books
            .enter(records, &enriched.fates, |partition| self.machine.progress(partition));
        sent.note(&self.records, &enriched);
        if sent.books.is_empty() {
            return true;
        }
        let begin = if begun { Ok(()) } else { self.producer.begin() };
        match begin.and_then(|()| self.send(&enriched, &lineages)) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(%error, "transaction given up");
                self.producer.abort();
                false
            }
        }
    }

    /// Output and dead letters go to the partition of their input, each with its link of the chain.
    fn send(&mut self, enriched: &Enriched, lineages: &[Lineage]) -> weir_kafka::Result<()> {
        let pipeline = &self.shared.job.pipeline;
        for ((record, fate), lineage) in self.records.iter().zip(&enriched.fates).zip(lineages) {
            match *fate {
                Fate::Filtered | Fate::Stale => {}
                Fate::Emitted(row) => self.producer.send(&Outgoing {
                    topic: &pipeline.output.topic,
                    partition: Some(record.partition()),
                    key: record.key(),
                    value: Some(enriched.rows.get(row as usize)),
                    timestamp_ms: Some(record.timestamp_ms()),
                    headers: &[(lineage::HEADER, Some(&lineage.encode()))],
                })?,
                Fate::Dead(fault) => OutgoingDeadLetter {
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
                .send(&mut self.producer)?,
            }
        }
        Ok(())
    }

    /// The partitions went away while the transaction was filled.
    fn give_up(&mut self) -> Result<(), Error> {
        self.kept = None;
        self.producer.abort();
        Ok(())
    }

    /// Only a definite success counts. After anything else the machine asks for a new producer and
    /// for the position store, and what was not committed is read again.
    fn settle(&mut self, outcome: Outcome, written: Written) {
        match outcome {
            Outcome::Committed => return self.landed(&written),
            Outcome::Refused => {}
            Outcome::Unknown => self.doubt = Some(written),
        }
        let reason =
            self.producer.fault().map_or_else(|| "given up".into(), |error| error.to_string());
        tracing::info!(?outcome, reason, "transaction not committed");
        self.consumer.idle(self.setbacks.next_wait());
    }

    /// A transaction whose outcome was unknown counts if the position store shows any of its
    /// claims: it holds all of them or none.
    pub(crate) fn resolve(&mut self, found: &[PartitionState]) {
        let Some(written) = self.doubt.take() else { return };
        let shown = |claim: &Claim| {
            found.iter().any(|f| {
                f.committed.partition == claim.partition && f.committed.next == Some(claim.next)
            })
        };
        let landed = written.claims.iter().any(shown);
        tracing::info!(landed, "the position store told the outcome of a transaction");
        if landed {
            self.landed(&written);
        }
    }

    /// Counts what is now durable.
    fn landed(&mut self, Written { sent, took, .. }: &Written) {
        self.broker.answered();
        self.setbacks.reset();
        let (shared, counters) = (&self.shared, sent.books.counters());
        shared.meters.landed(sent, *took);
        let last = sent.timestamps_ms.last().copied().filter(|last| *last >= 0);
        shared
            .meters
            .lag_seconds
            .set(last.map_or(0.0, |last| (now_micros() / 1000 - last).max(0) as f64 / 1000.0));
        shared.status.landed(counters.read);
        sent.faults
            .iter()
            .for_each(|(partition, offset, fault)| shared.status.fault(*partition, *offset, fault));
        shared.breaker().note(counters.read, counters.dead, Instant::now());
        self.show();
    }
}
