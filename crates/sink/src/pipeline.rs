//! The path of a batch: records → Arrow → the target's form → one transaction of the target with
//! the positions.
//!
//! One thread per worker. While a batch is being written, the next one is read, decoded and
//! encoded; it is claimed only after the one before it has landed. Who owns what, and where reading
//! goes on, is decided by [`weir_model::protocol`].

use crate::Error;
use crate::batch::{self, Batch, OutOfOrder};
use crate::dependency_health::DependencyHealth;
use crate::metrics::{Landed, Meters};
use crate::pending_write::{PendingWrite, WriteOutcome};
use crate::status::Status;
use crate::target::{Target, Written};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use weir_codec::Decoder;
use weir_kafka::{Consumer, Records, position_store};
use weir_model::breaker::Breaker;
use weir_model::fault::Class;
use weir_model::pipeline::{self, Kafka, Pipeline};
use weir_model::progress::Counters;
use weir_model::protocol::{self, Event, Offset, Outcome, Partition, Term};
use weir_service::{CancellationToken, Failure, Health, Heartbeat};

mod partition_control;

/// The longest a worker looks away from its group.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Between two looks at lag and at dependencies.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Records in one transaction, whatever `batch.records` allows. Larger ones gain little speed,
/// while each 10,000 records take 15 MiB, since two batches are alive at a time, and longer to do
/// again. Measured with `examples/drain_bench.rs`.
const MAX_BATCH_RECORDS: usize = 30_000;

/// What all workers of a sink share.
pub(crate) struct Shared<T> {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) sink: String,
    pub(crate) target: Arc<T>,
    pub(crate) meters: Meters,
    pub(crate) status: Status,
    pub(crate) health: Health,
    pub(crate) breaker: Mutex<Breaker>,
    pub(crate) runtime: Handle,
}

impl<T> Shared<T> {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread: a member of the sink's group, and the partitions that fall to it.
pub(crate) struct Worker<T> {
    shared: Arc<Shared<T>>,
    name: String,
    consumer: Consumer,
    limits: pipeline::Batch,
    decoder: Decoder,
    machine: protocol::StateMachine,
    pending: Option<PendingWrite>,
    dependencies: DependencyHealth,
    /// What the position store said and what we wrote to it since.
    known: BTreeMap<Partition, partition_control::Known>,
    lags: BTreeMap<Partition, i64>,
    /// The target refused a batch for good: look at it again before the next.
    unfit: bool,
    /// Timestamp of the record committed last, while the last look found more to read.
    behind: Option<i64>,
    /// Memory of batches that landed, for the next ones.
    spare: Vec<Records>,
    looked: Instant,
}

impl<T: Target> Worker<T> {
    pub(crate) fn join(
        shared: Arc<Shared<T>>,
        name: &str,
        decoder: Decoder,
    ) -> Result<Worker<T>, Error> {
        let Shared { pipeline: file, sink, health, .. } = &*shared;
        let kafka: &Kafka = &file.kafka;
        Ok(Worker {
            consumer: Consumer::join(kafka, &file.sink_group(sink), &file.output.topic, name)?,
            dependencies: DependencyHealth::new(health, sink, shared.target.kind()),
            machine: protocol::StateMachine::new(protocol::Fencing::PerPartition),
            limits: pipeline::Batch {
                records: file.batch.records.min(MAX_BATCH_RECORDS),
                ..file.batch.clone()
            },
            shared,
            name: name.into(),
            decoder,
            pending: None,
            known: BTreeMap::new(),
            lags: BTreeMap::new(),
            unfit: false,
            behind: None,
            spare: Vec::new(),
            looked: Instant::now(),
        })
    }

    /// Works until told to stop; what is under way then still lands.
    pub(crate) fn run(
        mut self,
        heartbeat: &Heartbeat,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        while !stop.is_cancelled() {
            heartbeat.beat();
            self.rebalances();
            match (self.machine.next_command(), self.machine.term()) {
                _ if self.unfit => self.repair()?,
                _ if self.tripped() => self.stand_by()?,
                (Some(command), _) => self.obey(command)?,
                (None, Some(term)) => self.batch(term)?,
                (None, None) => self.stand_by()?,
            }
            self.look_round();
        }
        self.land()
    }

    /// The path of a batch.
    fn batch(&mut self, term: Term) -> Result<(), Error> {
        let Some(records) = self.collect()? else { return Ok(()) };
        let Some(mut batch) = self.decode(records, term)? else { return Ok(()) };
        let form = self.shared.target.encode(&batch)?;
        batch.forget_rows();
        self.land()?;
        self.send(term, batch, form)
    }

    /// Records of the partitions held, in order and each once.
    fn collect(&mut self) -> Result<Option<Records>, Error> {
        let mut records = self.spare.pop().unwrap_or_default();
        if let Err(error) = self.consumer.collect(&mut records, &self.limits, POLL_TIMEOUT) {
            self.spare.push(records);
            self.reading_failed(error)?;
            return Ok(None);
        }
        records.retain(|partition, offset| self.machine.admit(partition, offset));
        if records.is_empty() {
            self.behind = None;
            self.spare.push(records);
            self.land()?;
            return Ok(None);
        }
        self.dependencies.kafka_answered();
        if !self.in_order(&records)? {
            self.spare.push(records);
            return Ok(None);
        }
        Ok(Some(records))
    }

    /// Waits for the registry as long as it takes, unless the batch goes stale meanwhile.
    fn decode(&mut self, mut records: Records, term: Term) -> Result<Option<Batch>, Error> {
        loop {
            match Batch::decode(&mut records, &mut self.decoder) {
                Ok(batch) => {
                    self.dependencies.registry_answered();
                    return Ok(Some(batch));
                }
                Err(error) if error.class() == Class::Environment => {
                    self.pause(&error.into());
                    self.rebalances();
                    if self.machine.term() != Some(term) {
                        self.spare.push(records);
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Claims the batch and gives it to the target.
    fn send(&mut self, term: Term, batch: Batch, form: T::Form) -> Result<(), Error> {
        self.rebalances();
        let claims = match self.machine.claim(term, &batch.deltas()) {
            Ok(claims) => claims,
            Err(protocol::Error::Stale) => {
                self.spare.push(batch.records);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        for claim in &claims {
            self.known.entry(claim.partition).or_default().claimed(claim.next);
        }
        self.pending = Some(PendingWrite::launch(
            &self.shared.runtime,
            self.shared.target.clone(),
            batch,
            form,
            claims,
        ));
        Ok(())
    }

    /// Waits for the write under way, polling meanwhile, and takes note of its outcome.
    fn land(&mut self) -> Result<(), Error> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let landing = loop {
            match pending.land(POLL_TIMEOUT * 2)? {
                Some(landing) => break landing,
                None => self.consumer.idle(Duration::from_millis(1)),
            }
        };
        match landing.result {
            Ok(ref written) => {
                let refused = count(&written.refused);
                refused
                    .iter()
                    .for_each(|(partition, records)| self.machine.mark_dead(*partition, *records));
                self.machine.handle(Event::WriteFinished(written.outcome));
                self.landed(&pending, &landing, written);
            }
            Err(error) => {
                self.machine.handle(Event::WriteFinished(Outcome::Refused));
                self.unfit = error.class() != Class::Environment;
                self.pause(&error);
            }
        }
        self.spare.push(landing.batch.records);
        self.shared.status.show(&self.name, &self.shared.sink, &self.machine, &self.lags);
        Ok(())
    }

    fn landed(&mut self, pending: &PendingWrite, landing: &WriteOutcome, written: &Written) {
        let what: Vec<Partition> = pending.claims.iter().map(|c| c.partition).collect();
        match written.outcome {
            Outcome::Committed => self.committed(pending, landing, written),
            Outcome::Refused => {
                self.shared.meters.fence_losses.inc();
                tracing::warn!(partitions = ?what, "another instance owns these partitions now: nothing was written");
            }
            Outcome::Unknown => {
                tracing::warn!(partitions = ?what, "the answer to a commit was lost: asking the position rows")
            }
        }
    }

    fn committed(&mut self, pending: &PendingWrite, landing: &WriteOutcome, written: &Written) {
        self.dependencies.target_works();
        let positions: Vec<(Partition, Offset)> =
            pending.claims.iter().map(|c| (c.partition, c.next)).collect();
        self.consumer.hint(&positions);
        let Batch { records, faults, .. } = &landing.batch;
        let mut dead: Vec<String> = faults.iter().map(|(_, fault)| fault.reason.clone()).collect();
        dead.extend(written.refused.iter().map(|(_, reason)| reason.clone()));
        let (read, dead_count) = (records.len() as u64, dead.len() as u64);
        let counters = Counters { read, written: read - dead_count, filtered: 0, dead: dead_count };
        self.shared.breaker().note(read, dead_count, Instant::now());
        let (bytes, took, at) = (written.bytes, landing.took, landing.at);
        self.shared.meters.landed(&Landed { counters, dead: &dead, records, bytes, took, at });
        self.behind = Some(records.timestamp_ms(records.len() - 1));
    }

    /// Whether too much died for too long. Nothing is read from then on until a restart.
    fn tripped(&mut self) -> bool {
        let reason = self.shared.breaker().tripped().map(str::to_owned);
        reason.is_some_and(|reason| {
            self.dependencies.halt(&reason);
            true
        })
    }

    /// Whether each record comes once and after the one before it; if not, its partition is read no
    /// further. Input offsets may begin anew only where an operator accepted that: rare enough to
    /// be asked for when it happens.
    fn in_order(&mut self, records: &Records) -> Result<bool, Error> {
        let term = self.machine.term();
        let mut anew = Vec::new();
        loop {
            let last = |partition| self.machine.progress(partition).and_then(|books| books.last);
            let Err(disorder) = batch::in_order(records, &anew, last) else { return Ok(true) };
            match position_store::begins_anew(
                &self.shared.pipeline,
                disorder.partition,
                disorder.offset,
            ) {
                Ok(true) => anew.push((disorder.partition, disorder.offset)),
                Ok(false) => return self.out_of_order(&disorder).map(|()| false),
                Err(error) => {
                    self.pause(&error.into());
                    self.rebalances();
                    if self.machine.term() != term {
                        return Ok(false);
                    }
                }
            }
        }
    }

    fn out_of_order(&mut self, disorder: &OutOfOrder) -> Result<(), Error> {
        self.land()?;
        self.stop_partition(disorder.partition, &disorder.to_string());
        Ok(())
    }

    /// Pauses after a failure, for as long as it says, keeping the membership alive.
    fn pause(&mut self, error: &Error) {
        let duration = self.dependencies.failed(error);
        self.consumer.idle(duration);
    }

    /// Lag, readiness and `/status` of a worker that may have nothing to do.
    fn look_round(&mut self) {
        if self.looked.elapsed() < CHECK_INTERVAL {
            return;
        }
        self.looked = Instant::now();
        let held: Vec<(Partition, Option<Offset>)> =
            self.machine.committed().map(|(p, next, _)| (p, next)).collect();
        if let Err(error) = self.ask(&held) {
            self.pause(&error);
        }
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let age = self.behind.filter(|stamp| *stamp >= 0).map_or(0, |stamp| (now - stamp).max(0));
        self.shared.meters.age(Duration::from_millis(age as u64));
        self.shared.status.show(&self.name, &self.shared.sink, &self.machine, &self.lags);
    }

    /// Asks Kafka for the ends of the log and, when nothing is under way, the target for a sign of
    /// life.
    fn ask(&mut self, held: &[(Partition, Option<Offset>)]) -> Result<(), Error> {
        if held.is_empty() {
            self.consumer.ping(Duration::from_secs(1))?;
        }
        for (partition, next) in held {
            let (low, high) = self.consumer.watermarks(*partition)?;
            let lag = high - next.unwrap_or(low);
            self.lags.insert(*partition, lag);
            self.shared.meters.lags(*partition, lag);
        }
        self.dependencies.kafka_answered();
        if self.pending.is_none() {
            self.shared.runtime.block_on(self.shared.target.ping())?;
            self.dependencies.target_answered();
        }
        Ok(())
    }
}

/// How many per partition.
fn count(refused: &[(Partition, String)]) -> BTreeMap<Partition, u64> {
    let mut counts = BTreeMap::new();
    for (partition, _) in refused {
        *counts.entry(*partition).or_default() += 1;
    }
    counts
}
