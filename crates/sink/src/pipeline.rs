//! The path of a batch: records → Arrow → the target's form → one transaction of the target with
//! the positions.
//!
//! A transaction is filled part by part, until the target is full or the linger is over, so that
//! memory does not grow with the transaction. While one is being written, the next is read, decoded
//! and encoded; it is claimed only after the one before it has finished.

use crate::Error;
use crate::lineage_order::OutOfOrder;
use crate::metrics::BatchMetrics;
use crate::part::Contents;
use crate::pending_write::{PendingWrite, WriteOutcome};
use crate::worker::{POLL_TIMEOUT, Round, Worker};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use weir_kafka::{Records, position_store};
use weir_model::fault::Class;
use weir_model::pipeline;
use weir_model::progress::Counters;
use weir_model::protocol::{self, Outcome, Partition, Term};
use weir_service::Failure;
use weir_store::{Part, Transaction, Written};

/// Records that are decoded at once: their columns stay in the processor's cache.
const PART_RECORDS: usize = 8192;
/// A transaction ends with the last of the records that were made of one input record, so that the
/// target has all of them or none. How long to wait for the next of them: it is missing if the topic
/// was truncated.
const REST_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of them at once.
const REST_BYTES: usize = 1 << 20;
/// How long a transaction that takes longer is filled without a look at anything else.
const FILL_INTERVAL: Duration = Duration::from_millis(500);

/// A transaction that is being filled, and its contents.
struct Batch {
    transaction: Box<dyn Transaction>,
    contents: Contents,
    /// When the linger is over.
    deadline: Instant,
    /// It ends then, also if the topic has more at once.
    strict: bool,
    /// When the last part came.
    extended: Instant,
    /// The last part was as large as a part may be, so the topic has more at once.
    more: bool,
}

impl Worker {
    /// Fills the next transaction and hands it to the target.
    pub(crate) fn write_batch(&mut self, term: Term, round: Round<'_>) -> Result<(), Error> {
        let mut batch = Batch {
            transaction: self.shared.target.begin()?,
            contents: Contents::default(),
            deadline: Instant::now() + self.linger(),
            strict: self.shared.target.linger().is_some(),
            extended: Instant::now(),
            more: true,
        };
        while let Some(records) = self.read_part(&batch, term, round)? {
            let Some((part, contents)) = self.decode(records, term)? else { return Ok(()) };
            batch.add(part, contents)?;
            if !batch.contents.is_open() && !self.goes_on(term, round)? {
                break;
            }
        }
        self.finish_write()?;
        if batch.contents.num_records == 0 {
            self.last_timestamp = None;
            return Ok(());
        }
        self.start_write(term, batch)
    }

    /// The next records of the partitions held; `None` when the batch is complete or the topic has
    /// nothing more to give.
    fn read_part(
        &mut self,
        batch: &Batch,
        term: Term,
        round: Round<'_>,
    ) -> Result<Option<Records>, Error> {
        let first = batch.contents.num_records == 0;
        if let Some(error) = self.read_error.take_if(|_| first) {
            self.read_failed(error);
            return Ok(None);
        }
        let mut records = self.parts.spare.take();
        while let Some((limits, wait)) = batch.limits(self.linger())
            && records.is_empty()
        {
            if let Err(error) = self.partitions.read(&mut records, &limits, wait) {
                // What was read before it is good, and is written first.
                self.read_error = Some(error);
                records.clear();
                break;
            }
            if !batch.contents.is_open() && (first || !self.goes_on(term, round)?) {
                break;
            }
        }
        if records.is_empty() || !self.check_order(&mut records, &batch.contents) {
            self.parts.spare.put(records);
            return Ok(None);
        }
        self.dependencies.kafka_answered();
        Ok(Some(records))
    }

    /// Whether the batch is filled on. A target may want that for minutes: meanwhile the worker is
    /// alive, notices a rebalance, the end of the pending write and the order to stop. A batch of an
    /// earlier term is dropped by its claim.
    fn goes_on(&mut self, term: Term, round: Round<'_>) -> Result<bool, Error> {
        round.heartbeat.beat();
        self.partitions.poll_events();
        if self.pending.as_ref().is_some_and(PendingWrite::has_ended) {
            self.finish_write()?;
        }
        self.check_dependencies();
        Ok(self.partitions.term() == Some(term) && !round.stop.is_cancelled())
    }

    /// Waits for the registry as long as it takes; `None` when the batch has become stale in the
    /// meantime.
    fn decode(
        &mut self,
        mut records: Records,
        term: Term,
    ) -> Result<Option<(Part, Contents)>, Error> {
        loop {
            match self.parts.decode(&mut records) {
                Ok(decoded) => {
                    self.dependencies.registry_answered();
                    return Ok(Some(decoded));
                }
                Err(error) if error.class() == Class::Environment => {
                    self.report_error(&error);
                    self.partitions.poll_events();
                    if self.partitions.term() != Some(term) {
                        self.parts.spare.put(records);
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Claims the batch and starts its write.
    fn start_write(&mut self, term: Term, batch: Batch) -> Result<(), Error> {
        self.partitions.poll_events();
        let Batch { transaction, contents, .. } = batch;
        let claims = match self.partitions.claim(term, &contents) {
            Ok(claims) => claims,
            Err(protocol::Error::Stale) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let runtime = &self.shared.runtime;
        self.pending = Some(PendingWrite::start(runtime, transaction, claims, contents));
        self.dependencies.write_started();
        Ok(())
    }

    /// Waits for the pending write, as a member of the group, and handles its outcome.
    pub(crate) fn finish_write(&mut self) -> Result<(), Error> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let WriteOutcome { result, took, at } = loop {
            match pending.wait(POLL_TIMEOUT * 2)? {
                Some(outcome) => break outcome,
                None => self.partitions.idle(Duration::from_millis(1)),
            }
        };
        match result {
            Ok(written) => {
                self.partitions.write_finished(written.outcome, written.claims.clone())?;
                self.log_outcome(&pending, &written);
                match written.outcome {
                    Outcome::Committed => {
                        self.count_committed(&pending.contents, &written, took, at);
                    }
                    Outcome::Refused | Outcome::Unknown => self.dependencies.target_answered(),
                }
            }
            Err(error) => {
                self.partitions.write_finished(Outcome::Refused, Vec::new())?;
                self.unfit = error.class() != Class::Environment;
                let pause = self.dependencies.write_failed(&error.into());
                self.partitions.idle(pause);
            }
        }
        self.publish_status();
        Ok(())
    }

    fn log_outcome(&self, pending: &PendingWrite, written: &Written) {
        let partitions: Vec<Partition> = pending.claims.iter().map(|c| c.partition).collect();
        match written.outcome {
            Outcome::Committed => {}
            Outcome::Refused => {
                self.shared.meters.fence_losses.inc();
                tracing::warn!(
                    ?partitions,
                    "another instance owns these partitions now: nothing was written"
                );
            }
            Outcome::Unknown => tracing::warn!(
                ?partitions,
                "the answer to a commit was lost: reading the positions again"
            ),
        }
    }

    fn count_committed(
        &mut self,
        contents: &Contents,
        written: &Written,
        took: Duration,
        at: std::time::SystemTime,
    ) {
        self.dependencies.committed();
        let (read, dead) =
            (contents.num_records as u64, (contents.dead.len() + written.refused.len()) as u64);
        let filtered = contents.num_filtered as u64;
        self.shared.breaker().note(read, dead, Instant::now());
        self.shared.meters.committed(BatchMetrics {
            counters: Counters {
                read,
                written: read - dead - filtered,
                filtered,
                dead,
                unnested: 0,
            },
            dead: contents.dead.iter().chain(&written.refused),
            contents,
            bytes: written.bytes,
            took,
            at,
        });
        self.last_timestamp = contents.timestamps.last().map(|(timestamp_ms, _)| *timestamp_ms);
    }

    /// Disowns the records that do not continue the lineage of their partition, so that they become
    /// dead letters and move nothing; false when the part has become stale in the meantime. A
    /// lineage may start over only where an operator accepted that, which is rare enough to be
    /// looked up when it happens.
    fn check_order(&mut self, records: &mut Records, batch: &Contents) -> bool {
        let (term, pipeline) = (self.partitions.term(), self.shared.pipeline.clone());
        let (mut restarts, mut num_foreign) = (BTreeMap::new(), 0);
        while let Err(found) = self.partitions.check_order(records, &restarts, batch) {
            let OutOfOrder { index, partition } = found;
            if restarts.contains_key(&partition) {
                records.disown(index);
                num_foreign += 1;
                continue;
            }
            match position_store::restarts(&pipeline, partition) {
                Ok(first) => drop(restarts.insert(partition, first)),
                Err(error) => {
                    self.report_error(&error.into());
                    self.partitions.poll_events();
                    if self.partitions.term() != term {
                        return false;
                    }
                }
            }
        }
        if num_foreign > 0 {
            let topic = &pipeline.output.topic;
            tracing::warn!(topic, num_foreign, "records that do not continue the lineage are dead");
        }
        true
    }

    fn linger(&self) -> Duration {
        self.shared.target.linger().unwrap_or(self.shared.pipeline.batch.linger)
    }
}

impl Batch {
    fn add(&mut self, part: Part, contents: Contents) -> Result<(), Error> {
        self.more = !self.strict && part.size.records >= PART_RECORDS;
        self.extended = Instant::now();
        self.transaction.add(part)?;
        self.contents.append(contents);
        Ok(())
    }

    /// What the next part may hold, and how long to wait for its first record; `None` when the
    /// batch is complete.
    fn limits(&self, linger: Duration) -> Option<(pipeline::Batch, Duration)> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let remaining = left.min(FILL_INTERVAL);
        if self.contents.is_open() && self.extended.elapsed() < REST_TIMEOUT {
            // Beyond what the target has room for.
            let (records, bytes) = (PART_RECORDS, REST_BYTES);
            return Some((pipeline::Batch { records, bytes, linger: remaining }, POLL_TIMEOUT));
        }
        let room = self.transaction.room()?;
        let (wait, linger) = match self.contents.num_records {
            0 => (POLL_TIMEOUT, linger.min(FILL_INTERVAL)),
            _ if self.more => (remaining, remaining),
            _ if remaining.is_zero() => return None,
            _ => (remaining, remaining),
        };
        let records = room.records.min(PART_RECORDS);
        Some((pipeline::Batch { records, bytes: room.bytes, linger }, wait))
    }
}
