//! One thread: a member of the group with its transactional producer. Everything but the path of a
//! batch, which is in [`crate::pipeline`].

use crate::breaker::Breaker;
use crate::config::Job;
use crate::enrich::Enricher;
use crate::error::Error;
use crate::metrics::Meters;
use crate::sent::Written;
use crate::status::{Snapshot, Status};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_kafka::{Consumer, Rebalance, Records, TransactionalProducer, admin};
use weir_model::fault::Class;
use weir_model::pipeline::Kafka;
use weir_model::protocol::{self, Command, Event, Fencing, Halt, Partition, PartitionState, Term};
use weir_service::{Backoff, CancellationToken, Health, Heartbeat, RetryState};

/// The longest a worker looks away from its group and from `stop`.
pub(crate) const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// How often the log's ends are asked for, to know the lag.
const LAG_EVERY: Duration = Duration::from_secs(2);

/// What the workers of an instance share.
pub(crate) struct Shared {
    pub(crate) job: Arc<Job>,
    pub(crate) kafka: Kafka,
    pub(crate) breaker: Mutex<Breaker>,
    pub(crate) meters: Meters,
    pub(crate) status: Status,
    pub(crate) health: Health,
}

pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) machine: protocol::StateMachine,
    pub(crate) consumer: Consumer,
    pub(crate) producer: TransactionalProducer,
    pub(crate) enricher: Enricher,
    pub(crate) records: Records,
    pub(crate) broker: RetryState,
    pub(crate) registry: RetryState,
    /// Between transactions that did not come about.
    pub(crate) setbacks: Backoff,
    /// The term of the records that are still in `records`, because the registry was away when it
    /// was their turn.
    pub(crate) kept: Option<Term>,
    /// What the consumer reported while a transaction was open; its turn comes after it.
    pub(crate) trouble: Option<weir_kafka::Error>,
    /// The last transaction, while nobody knows whether it was committed.
    pub(crate) doubt: Option<Written>,
    /// Partitions that `/ready` shows as halted.
    halted: BTreeSet<Partition>,
    lag_asked: Instant,
}

impl Shared {
    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's views of what it depends on.
pub(crate) struct Views {
    broker: RetryState,
    registry: RetryState,
}

impl Views {
    pub(crate) fn new(health: &Health) -> Views {
        Views {
            broker: RetryState::new(health.dependency("kafka")),
            registry: RetryState::new(health.dependency("registry")),
        }
    }
}

impl Worker {
    /// Joins the group; partitions come later.
    pub(crate) fn join(
        number: usize,
        shared: Arc<Shared>,
        enricher: Enricher,
        views: Views,
        member: &str,
        id: &str,
    ) -> Result<Worker, Error> {
        let pipeline = &shared.job.pipeline;
        let Views { broker, mut registry } = views;
        // The schemas were registered a moment ago.
        registry.answered();
        Ok(Worker {
            number,
            machine: protocol::StateMachine::new(Fencing::PerWorker),
            consumer: Consumer::join(
                &shared.kafka,
                &pipeline.enricher_group(),
                &pipeline.input.topic,
                member,
            )?,
            producer: TransactionalProducer::new(&shared.kafka, id),
            enricher,
            records: Records::new(),
            broker,
            registry,
            setbacks: Backoff::default(),
            kept: None,
            trouble: None,
            doubt: None,
            halted: BTreeSet::new(),
            lag_asked: Instant::now(),
            shared,
        })
    }

    /// Works until told to stop; a transaction that was begun is ended first.
    pub(crate) fn run(
        mut self,
        heartbeat: &Heartbeat,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        while !stop.is_cancelled() {
            heartbeat.beat();
            self.hear();
            if self.stands_still()? {
                self.consumer.idle(POLL_TIMEOUT);
                continue;
            }
            match (self.machine.next_command(), self.machine.term()) {
                (Some(command), _) => self.obey(command)?,
                (None, Some(term)) => self.batch(term, stop)?,
                (None, None) => self.wait_for_partitions(),
            }
            self.watch_lag();
        }
        self.shared.status.set(self.number, Snapshot::default());
        Ok(())
    }

    /// Takes note of what the group decided.
    pub(crate) fn hear(&mut self) {
        for report in self.consumer.rebalances() {
            self.shared.meters.rebalances.inc();
            for partition in std::mem::take(&mut self.halted) {
                self.shared.health.resume(&self.place(partition));
            }
            let event = match report {
                Rebalance::Assigned(partitions) => {
                    tracing::info!(worker = self.number, ?partitions, "partitions assigned");
                    Event::Assigned(partitions)
                }
                Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => {
                    tracing::info!(worker = self.number, ?partitions, "partitions taken away");
                    Event::Revoked(partitions)
                }
            };
            self.machine.handle(event);
            self.show();
        }
    }

    /// When too many records die, the partitions are held but not read, so that nobody else drains
    /// them either.
    fn stands_still(&mut self) -> Result<bool, Error> {
        let Some(reason) = self.shared.breaker().tripped().map(String::from) else {
            return Ok(false);
        };
        self.shared.health.halt("pipeline", &reason);
        self.consumer.start(&[])?;
        Ok(true)
    }

    fn obey(&mut self, command: Command) -> Result<(), Error> {
        if !matches!(command, Command::Halt { .. }) {
            self.broker.asking();
        }
        let done = match command {
            Command::Reinitialize => self.producer.reinitialize().map(|()| {
                self.shared.meters.reinitializations.inc();
                Event::Reinitialized
            }),
            Command::Acquire { term, partitions } => self.find(&partitions).map(|found| {
                self.resolve(&found);
                Event::Acquired { term, found }
            }),
            Command::Start { term, positions } => self.consumer.start(&positions).map(|()| {
                tracing::info!(worker = self.number, ?positions, "reading");
                Event::Started { term }
            }),
            Command::Halt { partition, halt } => {
                self.halt(partition, halt);
                return Ok(());
            }
        };
        match done {
            Ok(event) => {
                self.broker.answered();
                self.machine.handle(event);
                self.show();
            }
            Err(error) => self.bear(error)?,
        }
        Ok(())
    }

    /// What the group has committed, once nothing is open any more; and what the log still holds.
    fn find(&self, partitions: &[Partition]) -> weir_kafka::Result<Vec<PartitionState>> {
        let committed_positions = self.consumer.stable(partitions)?;
        let unset: Vec<_> =
            committed_positions.iter().filter(|s| s.next.is_none()).map(|s| s.partition).collect();
        let traces = self.traces(&unset)?;
        let found = committed_positions.into_iter().map(|committed| {
            let (low, high) = self.consumer.watermarks(committed.partition)?;
            Ok(PartitionState {
                has_output: traces.contains(&committed.partition),
                committed,
                low,
                high,
            })
        });
        found.collect()
    }

    /// Those of the partitions without a position from which this pipeline has emitted something
    /// all the same.
    fn traces(&self, unset: &[Partition]) -> weir_kafka::Result<BTreeSet<Partition>> {
        let (kafka, pipeline) = (&self.shared.kafka, &self.shared.job.pipeline);
        let mut traces = BTreeSet::new();
        if !unset.is_empty() {
            traces.extend(admin::traces(kafka, &pipeline.output.topic, unset)?);
            traces.extend(admin::traces(kafka, &pipeline.dead_letters.topic, unset)?);
        }
        Ok(traces)
    }

    fn halt(&mut self, partition: Partition, halt: Halt) {
        let reason = format!("{halt}; {}", halt.remedy());
        tracing::error!(partition, reason, "partition halted");
        self.shared.health.halt(&self.place(partition), &reason);
        self.halted.insert(partition);
        self.show();
    }

    /// Waits for what may pass; anything else ends the worker.
    pub(crate) fn bear(&mut self, error: weir_kafka::Error) -> Result<(), Error> {
        match error.class() {
            Class::Loss => {
                tracing::error!(%error, "records are missing");
                self.machine.handle(Event::OutOfRange);
                Ok(())
            }
            // Rights can be given while we wait; a setting that librdkafka does not know cannot.
            Class::Environment | Class::Configuration | Class::Record
                if !matches!(error, weir_kafka::Error::Setting { .. }) =>
            {
                let pause = self.broker.failed(&error);
                self.consumer.idle(pause);
                Ok(())
            }
            _ => Err(error.into()),
        }
    }

    fn wait_for_partitions(&mut self) {
        if self.broker.away_for().is_some() {
            self.ask_broker();
        }
        self.consumer.idle(POLL_TIMEOUT);
    }

    /// Whether a broker that was away is back, when there is nothing to read that would tell.
    pub(crate) fn ask_broker(&mut self) {
        match self.consumer.ping(Duration::from_secs(1)) {
            Ok(()) => self.broker.answered(),
            Err(error) => {
                let pause = self.broker.failed(&error);
                self.consumer.idle(pause);
            }
        }
    }

    fn watch_lag(&mut self) {
        if self.lag_asked.elapsed() < LAG_EVERY || self.broker.away_for().is_some() {
            return;
        }
        self.lag_asked = Instant::now();
        let meters = &self.shared.meters;
        for (partition, next, _) in self.machine.committed() {
            if let Ok((low, high)) = self.consumer.watermarks(partition) {
                // Markers of transactions at the very end count as records here; so does nothing
                // else.
                meters
                    .lag_records
                    .with_label_values(&[&partition.to_string()])
                    .set(high - next.unwrap_or(low));
            }
        }
    }

    /// Publishes positions and halts.
    pub(crate) fn show(&self) {
        let partitions = self
            .machine
            .committed()
            .map(|(partition, next, progress)| (partition, next, *progress))
            .collect();
        let halted =
            self.machine.halted().map(|(partition, halt)| (partition, halt.to_string())).collect();
        self.shared.status.set(self.number, Snapshot { partitions, halted });
    }

    fn place(&self, partition: Partition) -> String {
        format!("{}[{partition}]", self.shared.job.pipeline.input.topic)
    }
}

/// Microseconds since 1970.
pub(crate) fn now_micros() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}
