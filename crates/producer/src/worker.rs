//! A worker: one thread, one member of the producers' group, and the loop over the source
//! partitions that it owns.

use crate::encode::Encoding;
use crate::error::Error;
use crate::membership::{Assignment, Membership};
use crate::source_partition::{Shared, SourcePartition, StepResult};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_model::fault::Class;
use weir_service::{CancellationToken, Failure, Health, Heartbeat, REQUEST_TIMEOUT, RetryState};

/// The longest time between two polls of the group.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// After this long without a transaction, the broker is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    encoding: Encoding,
    partitions: BTreeMap<u32, SourcePartition>,
    exit_when_done: bool,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, encoding: Encoding, exit_when_done: bool) -> Worker {
        Worker { shared, encoding, partitions: BTreeMap::new(), exit_when_done }
    }

    /// Works until it is told to stop, or until the source is exhausted if that ends the worker.
    ///
    /// # Errors
    /// A bug in weir, or a mistake in the configuration. During outages it waits.
    pub(crate) fn run(
        mut self,
        member: &str,
        heartbeat: &Heartbeat,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut dependencies = DependencyHealth::new(&self.shared.health);
        let mut membership =
            Membership::join(&self.shared.pipeline, self.shared.source.partitions(), member)?;
        while !stop.is_cancelled() && !self.finished() {
            heartbeat.beat();
            let assignments = membership.poll_events(self.shared.source.partitions())?;
            assignments.into_iter().for_each(|assignment| self.apply(assignment));
            self.publish_status();
            dependencies.kafka.asking(REQUEST_TIMEOUT);
            let stepped = self.step().and_then(|result| dependencies.check(result, &membership));
            let pause = stepped.or_else(|error| dependencies.report_error(error))?;
            membership.idle(pause);
        }
        self.apply(Assignment::default());
        self.publish_status();
        Ok(())
    }

    /// One step of every partition. After a failed transaction the other partitions wait: the
    /// broker may have failed, or the group may have reassigned the partitions.
    fn step(&mut self) -> Result<StepResult, Error> {
        let mut all = StepResult::Idle(POLL_TIMEOUT);
        for partition in self.partitions.values_mut() {
            all = all.and(partition.step(&self.shared, &mut self.encoding)?);
            if matches!(all, StepResult::NotCommitted) {
                break;
            }
        }
        Ok(all)
    }

    fn finished(&self) -> bool {
        let own =
            !self.partitions.is_empty() && self.partitions.values().all(SourcePartition::is_done);
        let all = self.shared.status.count_ended() == self.shared.source.partitions() as usize;
        self.exit_when_done && (own || all)
    }

    /// Takes over the partitions of an assignment and releases all others. The group revokes
    /// everything before it assigns anything, so that a partition that stays is fenced and read
    /// again too, which costs a few milliseconds.
    fn apply(&mut self, assignment: Assignment) {
        self.shared.meters.rebalances.inc();
        tracing::info!(partitions = ?assignment, "source partitions of this worker");
        let released = std::mem::take(&mut self.partitions);
        released.into_values().for_each(|partition| partition.release(&self.shared));
        for number in assignment {
            self.partitions.insert(number, SourcePartition::new(number, &self.shared));
        }
    }

    fn publish_status(&self) {
        let (owned, done) = self.shared.status.count();
        self.shared.meters.owned.set(owned as i64);
        self.shared.meters.done.set(done as i64);
    }
}

/// The worker's dependencies, and when they were last seen to answer.
struct DependencyHealth {
    kafka: RetryState,
    source: RetryState,
    answered: Option<Instant>,
}

impl DependencyHealth {
    fn new(health: &Health) -> DependencyHealth {
        let source = RetryState::new(health.dependency("source"));
        let kafka = RetryState::new(health.dependency("kafka"));
        DependencyHealth { kafka, source, answered: None }
    }

    /// A committed transaction shows that both answer; without one for a while, the broker is
    /// asked. Returns how long to pause.
    fn check(&mut self, result: StepResult, membership: &Membership) -> Result<Duration, Error> {
        let pause = match result {
            StepResult::Worked => Duration::from_millis(1),
            StepResult::Idle(pause)
                if self.answered.is_some_and(|at| at.elapsed() < CHECK_INTERVAL) =>
            {
                self.kafka.answered();
                return Ok(pause);
            }
            StepResult::Idle(pause) => membership.ping().map(|()| pause)?,
            StepResult::NotCommitted => membership.ping().map(|()| POLL_TIMEOUT)?,
        };
        self.answered = Some(Instant::now());
        self.kafka.answered();
        self.source.answered();
        Ok(pause)
    }

    /// Publishes an outage and returns how long to pause; other errors end the worker.
    fn report_error(&mut self, error: Error) -> Result<Duration, Error> {
        self.answered = None;
        match error.class() {
            Class::Environment if matches!(error, Error::Source(_)) => {
                self.kafka.answered();
                Ok(self.source.failed(&error))
            }
            Class::Environment => Ok(self.kafka.failed(&error)),
            _ => Err(error),
        }
    }
}
