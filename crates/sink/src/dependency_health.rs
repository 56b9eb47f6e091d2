//! The health of a worker's dependencies, reported once to `/ready` and to the log.

use crate::Error;
use std::time::Duration;
use weir_model::fault::Class;
use weir_service::{Failure, Health, RetryState};

/// Between two checks of a target that an operator has to repair.
const REPAIR_INTERVAL: Duration = Duration::from_secs(5);
/// How long a write may take until the target counts as unavailable: longer than that of a large
/// batch, shorter than the wait for a lock.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// One worker's dependencies.
pub(crate) struct DependencyHealth {
    health: Health,
    kafka: RetryState,
    registry: RetryState,
    target: RetryState,
    /// `sink warehouse`, while it is halted.
    what: String,
    halted: bool,
    /// A write failed, and none was committed since: that the target answers shows nothing, since
    /// its table may be locked, or the server may take no writes at all.
    unproven: bool,
}

impl DependencyHealth {
    /// All are healthy: the instance asked each of them before it started its workers.
    pub(crate) fn new(health: &Health, sink: &str, target: &str) -> DependencyHealth {
        let healthy = |name| {
            let mut state = RetryState::new(health.dependency(name));
            state.answered();
            state
        };
        DependencyHealth {
            kafka: healthy("kafka"),
            registry: healthy("registry"),
            target: healthy(target),
            health: health.clone(),
            what: format!("sink {sink}"),
            halted: false,
            unproven: false,
        }
    }

    /// A step failed; returns how long to pause before the next attempt. A failure that waiting
    /// cannot solve halts the sink until it is repaired.
    pub(crate) fn failed(&mut self, error: &Error) -> Duration {
        if error.class() != Class::Environment {
            self.halt(&error.to_string());
            return REPAIR_INTERVAL;
        }
        match error {
            Error::Kafka(_) => self.kafka.failed(error),
            Error::Codec(_) | Error::Registry(_) => self.registry.failed(error),
            _ => self.target.failed(error),
        }
    }

    /// Operator action is required; returns how long to pause before the next check.
    pub(crate) fn halt(&mut self, reason: &str) -> Duration {
        self.halted = true;
        self.health.halt(&self.what, reason);
        REPAIR_INTERVAL
    }

    pub(crate) fn kafka_answered(&mut self) {
        self.kafka.answered();
    }

    pub(crate) fn registry_answered(&mut self) {
        self.registry.answered();
    }

    pub(crate) fn target_answered(&mut self) {
        if !self.unproven {
            self.target.answered();
        }
    }

    /// A write is under way.
    pub(crate) fn write_started(&mut self) {
        self.target.asking(WRITE_PATIENCE);
    }

    /// A write failed; only a commit shows that the target is repaired.
    pub(crate) fn write_failed(&mut self, error: &Error) -> Duration {
        if error.class() != Class::Environment {
            self.target_answered();
        }
        self.unproven = true;
        self.failed(error)
    }

    /// The target answered, and no partition is left to write for.
    pub(crate) fn nothing_to_write(&mut self) {
        self.unproven = false;
        self.target.answered();
    }

    /// The target committed a write.
    pub(crate) fn committed(&mut self) {
        self.unproven = false;
        self.target_works();
    }

    /// The target did what it was asked for: it is repaired.
    pub(crate) fn target_works(&mut self) {
        if self.unproven {
            return;
        }
        self.target.answered();
        if std::mem::take(&mut self.halted) {
            self.health.resume(&self.what);
            tracing::info!("{} was repaired and resumes", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_service::Metrics;

    fn refused(class: Class) -> Error {
        weir_store::Error::new(class, "the table is locked".to_owned()).into()
    }

    #[test]
    fn only_a_commit_shows_that_a_target_that_refused_a_write_is_repaired() {
        for class in [Class::Environment, Class::Configuration] {
            let health = Health::new(&Metrics::new("sink", "sales"));
            let mut dependencies = DependencyHealth::new(&health, "warehouse", "postgres");
            dependencies.write_started();
            dependencies.write_failed(&refused(class));
            dependencies.target_answered();
            dependencies.target_works();
            assert!(!health.readiness().ready, "{class:?}");
            dependencies.committed();
            assert!(health.readiness().ready, "{class:?}");
        }
    }

    #[test]
    fn a_worker_without_partitions_has_nothing_to_prove() {
        let health = Health::new(&Metrics::new("sink", "sales"));
        let mut dependencies = DependencyHealth::new(&health, "warehouse", "postgres");
        dependencies.write_failed(&refused(Class::Environment));
        dependencies.nothing_to_write();
        assert!(health.readiness().ready);
    }
}
