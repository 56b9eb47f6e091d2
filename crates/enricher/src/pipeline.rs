//! The path of a batch, top to bottom.

use crate::chain::{Account, account};
use crate::enrich::{Enriched, Fate};
use crate::error::Error;
use crate::metrics::Landed;
use crate::worker::{GLANCE, Worker, now_micros};
use std::time::{Duration, Instant};
use weir_kafka::letter::Origin;
use weir_kafka::{DeadLetter, Outgoing};
use weir_model::fault::Class;
use weir_model::lineage;
use weir_model::progress::Counters;
use weir_model::protocol::{self, Claim, Event, Found, Outcome, Term};
use weir_service::{CancellationToken, Failure};

/// A transaction that was sent.
pub(crate) struct Written {
    enriched: Enriched,
    books: Account,
    claims: Vec<Claim>,
    took: Duration,
}

impl Worker {
    /// Collects what there is, enriches it, and commits output, dead letters, offsets and books in one transaction.
    pub(crate) fn batch(&mut self, term: Term, stop: &CancellationToken) -> Result<(), Error> {
        self.collect()?;
        if self.records.is_empty() {
            return Ok(());
        }
        let Some(enriched) = self.enrich(term, stop)? else { return Ok(()) };
        let records = self.records.iter().map(|record| (record.partition(), record.offset()));
        let books = account(records, &enriched.fates, |partition| self.machine.progress(partition));
        let claims = match self.machine.claim(term, &books.deltas) {
            Ok(claims) => claims,
            Err(protocol::Error::Stale) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let started = Instant::now();
        let outcome = self.write(&enriched, &books, &claims);
        self.machine.handle(Event::Landed(outcome));
        let written = Written { enriched, books, claims, took: started.elapsed() };
        match outcome {
            Outcome::Committed => self.landed(&written),
            Outcome::Refused => self.set_back(outcome),
            Outcome::Unknown => {
                self.doubt = Some(written);
                self.set_back(outcome);
            }
        }
        Ok(())
    }

    /// Topic → records, without those that were read before.
    fn collect(&mut self) -> Result<(), Error> {
        let limits = &self.shared.job.pipeline.batch;
        match self.consumer.collect(&mut self.records, limits, GLANCE) {
            Ok(()) if self.broker.away_for().is_some() && self.records.is_empty() => self.ask_broker(),
            Ok(()) => {
                let machine = &mut self.machine;
                self.records.retain(|partition, offset| machine.admit(partition, offset));
            }
            Err(error) => {
                self.records.clear();
                self.bear(error)?;
            }
        }
        Ok(())
    }

    /// Records → what becomes of each. Waits for the registry; `None` when the records went to somebody else meanwhile.
    fn enrich(&mut self, term: Term, stop: &CancellationToken) -> Result<Option<Enriched>, Error> {
        loop {
            match self.enricher.enrich(&self.records, now_micros()) {
                Ok(enriched) => {
                    self.registry.answered();
                    return Ok(Some(enriched));
                }
                Err(error) if error.class() == Class::Environment => {
                    let pause = self.registry.failed(&error);
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

    /// One transaction: output and dead letters in the partitions of their input, each with its link of the chain; offsets and books.
    fn write(&mut self, enriched: &Enriched, books: &Account, claims: &[Claim]) -> Outcome {
        if let Err(error) = self.unit.begin().and_then(|()| self.send(enriched, books)) {
            tracing::info!(%error, "transaction given up");
            self.unit.abort();
            return Outcome::Refused;
        }
        self.unit.commit(Some((&self.consumer, claims)))
    }

    fn send(&mut self, enriched: &Enriched, books: &Account) -> weir_kafka::Result<()> {
        let pipeline = &self.shared.job.pipeline;
        for (i, (record, fate)) in self.records.iter().zip(&enriched.fates).enumerate() {
            let lineage = books.lineages[i];
            match *fate {
                Fate::Filtered => {}
                Fate::Emitted(row) => self.unit.send(&Outgoing {
                    topic: &pipeline.output.topic,
                    partition: Some(record.partition()),
                    key: record.key(),
                    value: Some(enriched.row(row)),
                    timestamp_ms: Some(record.timestamp_ms()),
                    headers: &[(lineage::HEADER, Some(&lineage.encode()))],
                })?,
                Fate::Dead(fault) => DeadLetter {
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
                    lineage: Some(lineage),
                }
                .send(&mut self.unit)?,
            }
        }
        Ok(())
    }

    /// A transaction whose outcome was unknown counts if the ledger shows any of its claims: it holds all of them or none.
    pub(crate) fn resolve(&mut self, found: &[Found]) {
        let Some(written) = self.doubt.take() else { return };
        let shown = |claim: &Claim| found.iter().any(|f| f.standing.partition == claim.partition && f.standing.next == Some(claim.next));
        let landed = written.claims.iter().any(shown);
        tracing::info!(landed, "the ledger told the outcome of a transaction");
        if landed {
            self.landed(&written);
        }
    }

    /// Counts what is now durable. The records are still those of the transaction.
    fn landed(&mut self, written: &Written) {
        self.broker.answered();
        self.setbacks.reset();
        let Written { enriched, books, took, .. } = written;
        let mut counters = Counters::default();
        books.deltas.values().for_each(|delta| counters += delta.counters);
        let reasons = enriched.faults.iter().map(|fault| fault.reason.as_str());
        self.shared.meters.landed(&Landed { counters, records: &self.records, bytes_written: enriched.bytes(), took: *took }, reasons);
        self.shared.meters.lag_seconds.set(self.age_of_last());
        self.shared.status.landed(counters.read);
        for (record, fate) in self.records.iter().zip(&enriched.fates).rev().filter(|(_, fate)| matches!(fate, Fate::Dead(_))).take(3) {
            if let Fate::Dead(fault) = fate {
                self.shared.status.fault(record.partition(), record.offset(), &enriched.faults[*fault as usize]);
            }
        }
        self.shared.breaker().note(counters.read, counters.dead, Instant::now());
        self.show();
    }

    /// Nothing advanced: the machine asks for a new producer and the ledger next, and everything is read again.
    fn set_back(&mut self, outcome: Outcome) {
        let reason = self.unit.fault().map_or_else(|| "given up".into(), |error| error.to_string());
        tracing::info!(?outcome, reason, "transaction not committed, its records are read again");
        self.consumer.idle(self.setbacks.next_wait());
    }

    /// Seconds between the timestamp of the record read last and now.
    fn age_of_last(&self) -> f64 {
        let last = self.records.len().checked_sub(1).map_or(-1, |i| self.records.timestamp_ms(i));
        if last < 0 { 0.0 } else { (now_micros() / 1000 - last).max(0) as f64 / 1000.0 }
    }
}
