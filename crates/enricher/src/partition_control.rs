//! The partitions of a worker: what the consumer group assigned, what the protocol decides, and
//! where reading continues.

use crate::config::Job;
use crate::metrics::Meters;
use crate::status::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use weir_kafka::{Consumer, Rebalance, Records, TransactionalProducer, proof};
use weir_model::pipeline::{Batch, Kafka};
use weir_model::progress::Progress;
use weir_model::protocol::{
    self, Claim, Command, Event, Fencing, Halt, Offset, Outcome, Partition, PartitionState, Proof,
    StateMachine, Term,
};
use weir_service::Health;

/// Owns the state machine and the consumer, and keeps them consistent.
pub(crate) struct PartitionControl {
    /// The number of the worker, for the log.
    worker: usize,
    machine: StateMachine,
    consumer: Consumer,
    kafka: Kafka,
    job: Arc<Job>,
    health: Health,
    meters: Meters,
    /// Partitions that `/ready` shows as halted.
    halted: BTreeSet<Partition>,
}

impl PartitionControl {
    /// Joins the consumer group as `member`.
    pub(crate) fn join(
        worker: usize,
        (kafka, job): (&Kafka, &Arc<Job>),
        (health, meters): (&Health, &Meters),
        member: &str,
    ) -> weir_kafka::Result<PartitionControl> {
        let (group, topic) = (job.pipeline.enricher_group(), &job.pipeline.input.topic);
        Ok(PartitionControl {
            worker,
            machine: StateMachine::new(Fencing::PerWorker),
            consumer: Consumer::join(kafka, &group, topic, member)?,
            kafka: kafka.clone(),
            job: job.clone(),
            health: health.clone(),
            meters: meters.clone(),
            halted: BTreeSet::new(),
        })
    }

    /// Tells the state machine what the consumer group decided; returns whether it decided
    /// anything.
    pub(crate) fn poll_events(&mut self) -> bool {
        let rebalances = self.consumer.rebalances();
        let changed = !rebalances.is_empty();
        for rebalance in rebalances {
            self.meters.rebalances.inc();
            for partition in std::mem::take(&mut self.halted) {
                self.health.resume(&self.name(partition));
            }
            let event = match rebalance {
                Rebalance::Assigned(partitions) => {
                    tracing::info!(worker = self.worker, ?partitions, "partitions assigned");
                    Event::Assigned(partitions)
                }
                Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => {
                    tracing::info!(worker = self.worker, ?partitions, "partitions revoked");
                    Event::Revoked(partitions)
                }
            };
            self.machine.handle(event);
        }
        changed
    }

    pub(crate) fn next_command(&mut self) -> Option<Command> {
        self.machine.next_command()
    }

    pub(crate) fn term(&self) -> Option<Term> {
        self.machine.term()
    }

    /// The producer was rebuilt.
    pub(crate) fn reinitialized(&mut self) {
        self.machine.handle(Event::Reinitialized);
    }

    /// What the group has committed, once no transaction is open any more, what the log still
    /// holds, and whether the two belong together.
    pub(crate) fn find(&self, partitions: &[Partition]) -> weir_kafka::Result<Vec<PartitionState>> {
        let committed = self.consumer.stable(partitions)?;
        let mut found = Vec::with_capacity(committed.len());
        for committed in committed {
            let (low, high) = self.consumer.watermarks(committed.partition)?;
            found.push(PartitionState { committed, low, high, proof: Proof::default() });
        }
        proof::enricher(&self.kafka, &self.job.pipeline, &mut found)?;
        Ok(found)
    }

    pub(crate) fn acquired(&mut self, term: Term, found: Vec<PartitionState>) {
        self.machine.handle(Event::Acquired { term, found });
    }

    /// Reads from the positions that were acquired.
    pub(crate) fn start(
        &mut self,
        term: Term,
        positions: &[(Partition, Offset)],
    ) -> weir_kafka::Result<()> {
        self.consumer.start(positions)?;
        tracing::info!(worker = self.worker, ?positions, "reading");
        self.machine.handle(Event::Started { term });
        Ok(())
    }

    /// Keeps the partitions without reading them.
    pub(crate) fn stop_reading(&mut self) -> weir_kafka::Result<()> {
        self.consumer.start(&[])
    }

    pub(crate) fn halt(&mut self, partition: Partition, halt: Halt) {
        let reason = format!("{halt}; {}", halt.remedy());
        tracing::error!(partition, reason, "partition halted");
        self.health.halt(&self.name(partition), &reason);
        self.halted.insert(partition);
    }

    /// The log does not contain the next records.
    pub(crate) fn out_of_range(&mut self) {
        self.machine.handle(Event::OutOfRange);
    }

    /// Reads the next records of the partitions held, within `limits`.
    pub(crate) fn read(
        &mut self,
        records: &mut Records,
        limits: &Batch,
        wait: Duration,
    ) -> weir_kafka::Result<()> {
        self.consumer.collect(records, limits, wait)
    }

    /// Whether a record belongs into the transaction: see [`StateMachine::accept_record`].
    pub(crate) fn accept_record(&mut self, partition: Partition, offset: Offset) -> bool {
        self.machine.accept_record(partition, offset)
    }

    /// The counters of a partition up to the last claim.
    pub(crate) fn progress(&self, partition: Partition) -> Option<&Progress> {
        self.machine.progress(partition)
    }

    /// Claims what was accepted since the last claim.
    pub(crate) fn claim(
        &mut self,
        term: Term,
        deltas: &BTreeMap<Partition, Progress>,
    ) -> Result<Vec<Claim>, protocol::Error> {
        self.machine.claim(term, deltas)
    }

    /// Commits the open transaction of `producer` with the claims.
    pub(crate) fn commit(&self, producer: &mut TransactionalProducer, claims: &[Claim]) -> Outcome {
        producer.commit(Some((&self.consumer, claims)))
    }

    pub(crate) fn write_finished(&mut self, outcome: Outcome) {
        self.machine.handle(Event::WriteFinished(outcome));
    }

    /// Waits without reading, as a member of the group.
    pub(crate) fn idle(&mut self, duration: Duration) {
        self.consumer.idle(duration);
    }

    /// Checks that the broker answers.
    pub(crate) fn ping(&self) -> weir_kafka::Result<()> {
        self.consumer.ping(Duration::from_secs(1))
    }

    /// Reads the ends of the log. Transaction markers at the very end count as records here.
    pub(crate) fn measure_lag(&self) {
        for (partition, next, _) in self.machine.committed() {
            if let Ok((low, high)) = self.consumer.watermarks(partition) {
                let lag = high - next.unwrap_or(low);
                self.meters.lag_records.with_label_values(&[&partition.to_string()]).set(lag);
            }
        }
    }

    /// Positions and halts, for `/status`.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let committed = self.machine.committed();
        let halted = self.machine.halted();
        Snapshot {
            partitions: committed.map(|(partition, next, p)| (partition, next, *p)).collect(),
            halted: halted.map(|(partition, halt)| (partition, halt.to_string())).collect(),
        }
    }

    /// The display name of the partition: `calls[2]`.
    fn name(&self, partition: Partition) -> String {
        format!("{}[{partition}]", self.job.pipeline.input.topic)
    }
}
