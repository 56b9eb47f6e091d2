//! The health of a worker's dependencies, reported once to `/ready` and to the log.

use crate::Error;
use std::time::Duration;
use weir_model::fault::Class;
use weir_service::{Failure, Health, RetryState};

/// Between two checks of a target that an operator has to repair.
const REPAIR_INTERVAL: Duration = Duration::from_secs(5);

/// One worker's dependencies.
pub(crate) struct DependencyHealth {
    health: Health,
    kafka: RetryState,
    registry: RetryState,
    target: RetryState,
    /// `sink warehouse`, while it is halted.
    what: String,
    halted: bool,
    /// The target refused a write permanently, and has not committed one since.
    write_refused: bool,
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
            write_refused: false,
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
        self.target.answered();
    }

    /// A write failed. If the target refused it permanently, only a commit shows that it is
    /// repaired.
    pub(crate) fn write_failed(&mut self, error: &Error) -> Duration {
        self.write_refused |= error.class() != Class::Environment;
        self.failed(error)
    }

    /// The target committed a write.
    pub(crate) fn committed(&mut self) {
        self.write_refused = false;
        self.target_works();
    }

    /// The target did what it was asked for: it is repaired.
    pub(crate) fn target_works(&mut self) {
        self.target.answered();
        if !self.write_refused && std::mem::take(&mut self.halted) {
            self.health.resume(&self.what);
            tracing::info!("{} was repaired and resumes", self.what);
        }
    }
}
