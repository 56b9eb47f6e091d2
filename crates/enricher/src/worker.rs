//! A worker: one thread, one member of the consumer group with its transactional producer, and the
//! loop of the protocol. [`weir_model::protocol`] decides what is owned and where reading
//! continues.

use crate::batch::SentBatch;
use crate::breaker::Breaker;
use crate::config::Job;
use crate::enrich::Enricher;
use crate::error::Error;
use crate::metrics::Meters;
use crate::partition_control::PartitionControl;
use crate::pipeline::PART_RECORDS;
use crate::status::{Snapshot, Status};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_kafka::{Records, TransactionalProducer};
use weir_model::fault::Class;
use weir_model::pipeline::Kafka;
use weir_model::protocol::{Command, Partition, Term};
use weir_service::{Backoff, CancellationToken, Health, Heartbeat, REQUEST_TIMEOUT, RetryState};

/// The longest time between two polls of the consumer group and of `stop`.
pub(crate) const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// Between two measurements of the lag.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// What all workers of an instance share.
pub(crate) struct Shared {
    pub(crate) job: Arc<Job>,
    pub(crate) kafka: Kafka,
    pub(crate) breaker: Mutex<Breaker>,
    pub(crate) meters: Meters,
    pub(crate) status: Status,
    pub(crate) health: Health,
}

impl Shared {
    /// How long a transaction may be filled, and how long one part of it may ask the registry:
    /// together well below the time after which the broker aborts the transaction.
    pub(crate) fn fill_limit(&self) -> Duration {
        self.kafka.transaction_timeout / 4
    }

    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's dependencies.
pub(crate) struct DependencyHealth {
    pub(crate) kafka: RetryState,
    pub(crate) registry: RetryState,
}

impl DependencyHealth {
    pub(crate) fn new(health: &Health) -> DependencyHealth {
        DependencyHealth {
            kafka: RetryState::new(health.dependency("kafka")),
            registry: RetryState::new(health.dependency("registry")),
        }
    }
}

/// See the module.
pub(crate) struct Worker {
    number: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) partitions: PartitionControl,
    pub(crate) producer: TransactionalProducer,
    pub(crate) dependencies: DependencyHealth,
    pub(crate) enricher: Enricher,
    pub(crate) records: Records,
    /// The pauses between failed transactions.
    pub(crate) backoff: Backoff,
    /// Records that were read and have to wait, with the term in which they were: the registry was
    /// unavailable, or the rows of those before them took enough memory.
    pub(crate) kept: Option<(Term, Records)>,
    /// The most records of the next part.
    pub(crate) part_records: usize,
    /// Whether the last part had that many, so that the topic has more at once.
    pub(crate) part_is_full: bool,
    /// A failed read; what was read before it is committed first.
    pub(crate) read_error: Option<weir_kafka::Error>,
    /// The last transaction, while its outcome is unknown.
    pub(crate) unconfirmed: Option<SentBatch>,
    checked: Instant,
}

impl Worker {
    /// Joins the consumer group as `member`.
    ///
    /// # Errors
    /// The consumer cannot be created.
    pub(crate) fn join(
        number: usize,
        shared: Arc<Shared>,
        enricher: Enricher,
        mut dependencies: DependencyHealth,
        member: &str,
        transactional_id: &str,
    ) -> Result<Worker, Error> {
        let Shared { job, kafka, health, meters, .. } = &*shared;
        // The schemas were registered a moment ago.
        dependencies.registry.answered();
        Ok(Worker {
            number,
            partitions: PartitionControl::join(number, (kafka, job), (health, meters), member)?,
            producer: TransactionalProducer::new(kafka, transactional_id)
                .writing_to(&[&job.pipeline.output.topic, &job.pipeline.dead_letters.topic]),
            dependencies,
            enricher,
            records: Records::new(),
            backoff: Backoff::default(),
            kept: None,
            part_records: PART_RECORDS,
            part_is_full: false,
            read_error: None,
            unconfirmed: None,
            checked: Instant::now(),
            shared,
        })
    }

    /// Works until it is told to stop; an open transaction is ended first.
    ///
    /// # Errors
    /// A setting that librdkafka refuses, or a bug in weir. During outages it waits.
    pub(crate) fn run(
        mut self,
        heartbeat: &Heartbeat,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        while !stop.is_cancelled() {
            heartbeat.beat();
            self.poll_events();
            if self.breaker_tripped()? {
                self.partitions.idle(POLL_TIMEOUT);
                continue;
            }
            match (self.partitions.next_command(), self.partitions.term()) {
                (Some(command), _) => self.apply(command)?,
                (None, Some(term)) => self.write_batch(term, stop)?,
                (None, None) => self.wait_for_partitions(),
            }
            self.measure_lag();
        }
        self.shared.status.set(self.number, Snapshot::default());
        Ok(())
    }

    pub(crate) fn poll_events(&mut self) {
        if self.partitions.poll_events() {
            self.publish_status();
        }
    }

    /// When too many records are dead-lettered, the partitions are held but not read, so that no
    /// other worker drains them either.
    fn breaker_tripped(&mut self) -> Result<bool, Error> {
        let Some(reason) = self.shared.breaker().tripped().map(String::from) else {
            return Ok(false);
        };
        self.shared.health.halt("pipeline", &reason);
        self.partitions.stop_reading()?;
        Ok(true)
    }

    fn apply(&mut self, command: Command) -> Result<(), Error> {
        if let Command::Halt { partition, halt } = command {
            self.partitions.halt(partition, halt);
            self.publish_status();
            return Ok(());
        }
        self.dependencies.kafka.asking(REQUEST_TIMEOUT);
        let applied = match command {
            Command::Reinitialize => self.reinitialize(),
            Command::Acquire { term, partitions } => self.acquire(term, &partitions),
            Command::Start { term, positions } => self.partitions.start(term, &positions),
            Command::Halt { .. } => Ok(()),
        };
        match applied {
            Ok(()) => {
                self.dependencies.kafka.answered();
                self.publish_status();
                Ok(())
            }
            Err(error) => self.report_error(error),
        }
    }

    fn reinitialize(&mut self) -> weir_kafka::Result<()> {
        self.producer.reinitialize()?;
        self.shared.meters.reinitializations.inc();
        self.partitions.reinitialized();
        Ok(())
    }

    fn acquire(&mut self, term: Term, partitions: &[Partition]) -> weir_kafka::Result<()> {
        let found = self.partitions.find(partitions)?;
        self.resolve_unconfirmed(&found);
        self.partitions.acquired(term, found);
        Ok(())
    }

    /// Waits if the failure is temporary; any other failure ends the worker.
    pub(crate) fn report_error(&mut self, error: weir_kafka::Error) -> Result<(), Error> {
        match error.class() {
            Class::Loss => {
                tracing::error!(%error, "records are missing");
                self.partitions.out_of_range();
                Ok(())
            }
            // Privileges can be granted in the meantime; a setting that librdkafka does not know
            // stays unknown.
            Class::Environment | Class::Configuration | Class::Record
                if !matches!(error, weir_kafka::Error::Setting { .. }) =>
            {
                let pause = self.dependencies.kafka.failed(&error);
                self.partitions.idle(pause);
                Ok(())
            }
            _ => Err(error.into()),
        }
    }

    fn wait_for_partitions(&mut self) {
        if self.dependencies.kafka.unavailable_for().is_some() {
            self.ping_kafka();
        }
        self.partitions.idle(POLL_TIMEOUT);
    }

    /// Checks whether an unavailable broker is back, if no read would show it.
    pub(crate) fn ping_kafka(&mut self) {
        match self.partitions.ping() {
            Ok(()) => self.dependencies.kafka.answered(),
            Err(error) => {
                let pause = self.dependencies.kafka.failed(&error);
                self.partitions.idle(pause);
            }
        }
    }

    fn measure_lag(&mut self) {
        let due = self.checked.elapsed() >= CHECK_INTERVAL;
        if due && self.dependencies.kafka.unavailable_for().is_none() {
            self.checked = Instant::now();
            self.partitions.measure_lag();
        }
    }

    /// Publishes positions and halts.
    pub(crate) fn publish_status(&self) {
        self.shared.status.set(self.number, self.partitions.snapshot());
    }
}
