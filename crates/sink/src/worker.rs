//! A worker: one thread, one member of the sink's consumer group, and the loop of the protocol.
//! [`weir_model::protocol`] decides what is owned and where reading continues.

use crate::Error;
use crate::deletes::Deletes;
use crate::dependency_health::DependencyHealth;
use crate::metrics::Meters;
use crate::part::PartDecoder;
use crate::partition_control::PartitionControl;
use crate::pending_write::PendingWrite;
use crate::status::Status;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle;
use weir_codec::{Decoder, KeyDecoder};
use weir_kafka::{Consumer, proof};
use weir_model::breaker::Breaker;
use weir_model::fault::Class;
use weir_model::pipeline::Pipeline;
use weir_model::progress::Later;
use weir_model::protocol::{Command, Offset, Partition, Term};
use weir_service::{CancellationToken, Health, Heartbeat};
use weir_store::Target;

/// The longest time between two polls of the consumer group.
pub(crate) const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Between two checks of lag and dependencies.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// What all workers of a sink share.
pub(crate) struct Shared {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) sink: String,
    pub(crate) target: Arc<dyn Target>,
    pub(crate) deletes: Deletes,
    pub(crate) meters: Meters,
    pub(crate) status: Status,
    pub(crate) health: Health,
    pub(crate) breaker: Mutex<Breaker>,
    pub(crate) runtime: Handle,
}

impl Shared {
    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker looks at in every round of its loop.
#[derive(Clone, Copy)]
pub(crate) struct Round<'a> {
    pub(crate) heartbeat: &'a Heartbeat,
    pub(crate) stop: &'a CancellationToken,
}

/// See the module.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    name: String,
    pub(crate) partitions: PartitionControl,
    pub(crate) dependencies: DependencyHealth,
    pub(crate) parts: PartDecoder,
    pub(crate) pending: Option<PendingWrite>,
    /// A failed read; what was read before it is written first.
    pub(crate) read_error: Option<weir_kafka::Error>,
    /// The target refused a batch permanently: check it before the next one.
    pub(crate) unfit: bool,
    /// Timestamp of the record committed last; `None` when there was nothing more to read.
    pub(crate) last_timestamp: Option<i64>,
    checked: Instant,
}

impl proof::Evidence<Error> for Shared {
    fn has_rows(&self) -> Result<bool, Error> {
        Ok(self.runtime.block_on(self.target.has_rows())?)
    }

    fn later(
        &self,
        partition: Partition,
        next: Offset,
        last: Option<Offset>,
    ) -> Result<Later, Error> {
        Ok(self.runtime.block_on(self.target.later(partition, next, last))?)
    }
}

impl Worker {
    /// Joins the consumer group as `name`.
    ///
    /// # Errors
    /// The consumer cannot be created.
    pub(crate) fn join(
        shared: Arc<Shared>,
        name: &str,
        decoder: Decoder,
        keys: KeyDecoder,
    ) -> Result<Worker, Error> {
        let Shared { pipeline, sink, health, meters, target, .. } = &*shared;
        let topic = &pipeline.output.topic;
        let consumer = Consumer::join(&pipeline.kafka, &pipeline.sink_group(sink), topic, name)?;
        Ok(Worker {
            partitions: PartitionControl::new(consumer, health, meters),
            dependencies: DependencyHealth::new(health, sink, target.kind()),
            parts: PartDecoder {
                decoder,
                keys,
                deletes: shared.deletes.clone(),
                topic: topic.as_str().into(),
                input: pipeline.input.topic.as_str().into(),
                spare: Default::default(),
            },
            shared,
            name: name.into(),
            pending: None,
            read_error: None,
            unfit: false,
            last_timestamp: None,
            checked: Instant::now(),
        })
    }

    /// Works until it is told to stop; the pending write is finished.
    ///
    /// # Errors
    /// A bug in weir. During outages and refusals of the target it waits.
    pub(crate) fn run(mut self, round: Round<'_>) -> Result<(), Error> {
        while !round.stop.is_cancelled() {
            round.heartbeat.beat();
            self.partitions.poll_events();
            match (self.partitions.next_command(), self.partitions.term()) {
                _ if self.unfit => self.check_target()?,
                _ if self.breaker_tripped() => self.stand_by()?,
                (Some(command), _) => self.apply(command),
                (None, Some(term)) => self.write_batch(term, round)?,
                (None, None) => self.stand_by()?,
            }
            self.check_dependencies();
        }
        self.finish_write()
    }

    fn apply(&mut self, command: Command) {
        let applied = match command {
            Command::Acquire { term, partitions } => self.acquire(term, &partitions),
            Command::Start { term, positions } => self.partitions.start(term, &positions),
            Command::Halt { partition, halt } => {
                self.partitions.halt(partition, halt);
                Ok(())
            }
            Command::Reinitialize => {
                self.partitions.reinitialized();
                Ok(())
            }
        };
        if let Err(error) = applied {
            self.report_error(&error);
        }
    }

    /// Fences, then reads the positions and proves them.
    fn acquire(&mut self, term: Term, partitions: &[Partition]) -> Result<(), Error> {
        let Shared { runtime, target, pipeline, .. } = &*self.shared;
        self.dependencies.acquire_started();
        let committed = runtime.block_on(target.acquire(partitions))?;
        // Behind the fence no position moves on, so these are of positions before.
        let copies = self.partitions.copies(partitions)?;
        let mut found = self.partitions.find(committed)?;
        let rows = proof::sink(pipeline, &copies, &mut found, &*self.shared)?;
        self.partitions.acquired(term, found, &rows);
        self.dependencies.kafka_answered();
        self.dependencies.target_works();
        Ok(())
    }

    /// Nothing to read: finishes the pending write, or waits for partitions.
    fn stand_by(&mut self) -> Result<(), Error> {
        match self.pending {
            Some(_) => self.finish_write(),
            None => {
                self.partitions.idle(POLL_TIMEOUT);
                Ok(())
            }
        }
    }

    /// The log lost records, or the broker is unavailable.
    pub(crate) fn read_failed(&mut self, error: weir_kafka::Error) {
        if error.class() == Class::Loss {
            tracing::error!(%error, "the log does not hold the next records");
            self.partitions.out_of_range();
        } else {
            self.report_error(&error.into());
        }
    }

    /// The target refused a batch permanently. Operator action is required; when the target fits
    /// again, the sink continues by itself.
    fn check_target(&mut self) -> Result<(), Error> {
        self.finish_write()?;
        let pause = match self.shared.runtime.block_on(self.shared.target.inspect()) {
            Ok(mistakes) if mistakes.is_empty() => {
                self.unfit = false;
                return Ok(());
            }
            Ok(mistakes) => {
                let list: Vec<String> = mistakes.into_iter().map(|m| m.what).collect();
                self.dependencies.halt(&list.join("; "))
            }
            Err(error) => self.dependencies.failed(&error.into()),
        };
        self.partitions.idle(pause);
        Ok(())
    }

    /// Whether too many records died for too long. Nothing is read from then on until a restart.
    fn breaker_tripped(&mut self) -> bool {
        let reason = self.shared.breaker().tripped().map(str::to_owned);
        // What is being written is finished first: once the halt is shown, nothing moves.
        if let Some(reason) = reason.as_ref().filter(|_| self.pending.is_none()) {
            self.dependencies.halt(reason);
        }
        reason.is_some()
    }

    /// Publishes a failure and pauses for as long as it requires, as a member of the group.
    pub(crate) fn report_error(&mut self, error: &Error) {
        let pause = self.dependencies.failed(error);
        self.partitions.idle(pause);
    }

    /// Lag, readiness and `/status` of a worker that may have nothing to do.
    pub(crate) fn check_dependencies(&mut self) {
        if self.checked.elapsed() < CHECK_INTERVAL {
            return;
        }
        self.checked = Instant::now();
        if let Err(error) = self.ping_dependencies() {
            self.report_error(&error);
        }
        let now_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let age_ms = self
            .last_timestamp
            .filter(|timestamp_ms| *timestamp_ms >= 0)
            .map_or(0, |timestamp_ms| (now_ms - timestamp_ms).max(0));
        self.shared.meters.age(Duration::from_millis(age_ms as u64));
        self.publish_status();
    }

    /// Asks Kafka for the ends of the log and, when no write is pending, the target for an answer.
    fn ping_dependencies(&mut self) -> Result<(), Error> {
        self.partitions.check_lag()?;
        self.dependencies.kafka_answered();
        if self.pending.is_none() {
            self.shared.runtime.block_on(self.shared.target.ping())?;
            match self.partitions.is_idle() {
                true => self.dependencies.nothing_to_write(),
                false => self.dependencies.target_answered(),
            }
        }
        Ok(())
    }

    pub(crate) fn publish_status(&self) {
        let (machine, lags) = (self.partitions.machine(), self.partitions.lags());
        self.shared.status.publish(&self.name, &self.shared.sink, machine, lags);
    }
}
