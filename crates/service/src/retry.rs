//! Waiting for a dependency that is unavailable: reports it at intervals, and reports when it is
//! over.

use crate::backoff::Backoff;
use crate::duration::format_duration;
use crate::health::Dependency;
use crate::start::Failure;
use std::fmt::Display;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use weir_model::fault::Class;

/// At most one line in so long says that the wait goes on.
const EVERY: Duration = Duration::from_secs(5);

/// One user's wait for one dependency: keeps `/ready` and the log in step with what happens, and
/// returns how long to pause.
///
/// ```no_run
/// # fn connect() -> Result<(), String> { Ok(()) }
/// # fn example(health: &weir_service::Health) {
/// let mut waiting = weir_service::RetryState::new(health.dependency("postgres"));
/// while let Err(error) = connect() {
///     std::thread::park_timeout(waiting.failed(&error));
/// }
/// waiting.answered();
/// # }
/// ```
pub struct RetryState {
    dependency: Dependency,
    backoff: Backoff,
    since: Option<Instant>,
    said: Option<Instant>,
    known: bool,
}

impl RetryState {
    /// Waits for `dependency` with the default backoff.
    pub fn new(dependency: Dependency) -> RetryState {
        RetryState {
            dependency,
            backoff: Backoff::default(),
            since: None,
            said: None,
            known: false,
        }
    }

    /// It is asked something now that may take long; silence for longer than `patience` counts as
    /// unavailable, until [`RetryState::answered`] or [`RetryState::failed`].
    pub fn asking(&mut self, patience: Duration) {
        self.known = false;
        self.dependency.asking(patience);
    }

    /// It failed for `reason`: `/ready` reports it from now on. Returns how long to pause before
    /// the next attempt.
    pub fn failed(&mut self, reason: &dyn Display) -> Duration {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        self.dependency.unavailable(reason.to_string());
        self.known = false;
        if self.said.is_none_or(|said| now - said >= EVERY) {
            self.said = Some(now);
            let (dependency, waited) = (self.dependency.name(), format_duration(now - since));
            tracing::warn!(
                dependency,
                "waiting for {dependency} ({reason}, {waited}) · nothing is lost"
            );
        }
        self.backoff.next_wait()
    }

    /// It answered: `/ready` is true again as far as this dependency is concerned. Cheap when
    /// nothing changed, so it may be called after every success.
    pub fn answered(&mut self) {
        if self.known {
            return;
        }
        self.known = true;
        self.dependency.ok();
        self.backoff.reset();
        self.said = None;
        if let Some(since) = self.since.take() {
            let dependency = self.dependency.name();
            tracing::info!(
                dependency,
                "{dependency} is back: resumed after {}",
                format_duration(since.elapsed())
            );
        }
    }

    /// Repeats `call` for as long as it fails for a reason of the environment; `None` when told to
    /// stop before it was answered.
    ///
    /// # Errors
    /// Any other failure.
    pub async fn until<T, E: Failure, F: Future<Output = Result<T, E>>>(
        &mut self,
        stop: &CancellationToken,
        mut call: impl FnMut() -> F,
    ) -> Result<Option<T>, E> {
        loop {
            let pause = match call().await {
                Ok(answer) => {
                    self.answered();
                    return Ok(Some(answer));
                }
                Err(error) if error.class() == Class::Environment => self.failed(&error),
                Err(error) => return Err(error),
            };
            if tokio::time::timeout(pause, stop.cancelled()).await.is_ok() {
                return Ok(None);
            }
        }
    }

    /// For how long it has been unavailable; `None` when it is not.
    pub fn unavailable_for(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Health, Metrics};

    #[test]
    fn readiness_follows_the_wait() {
        let health = Health::new(&Metrics::new("sink", "telecom"));
        let mut waiting = RetryState::new(health.dependency("postgres"));
        let first = waiting.failed(&"connection refused");
        assert!(first > Duration::ZERO && first <= Duration::from_millis(100));
        assert!(health.readiness().dependencies["postgres"].starts_with("connection refused for"));
        assert!(waiting.unavailable_for().is_some());
        waiting.answered();
        assert!(health.readiness().ready);
        assert_eq!(waiting.unavailable_for(), None);
    }

    #[test]
    fn the_log_says_once_that_it_waits_and_once_that_it_resumes() {
        let lines = crate::logs::capture(|| {
            let health = Health::new(&Metrics::new("sink", "telecom"));
            let mut waiting = RetryState::new(health.dependency("postgres"));
            for _ in 0..100 {
                waiting.failed(&"connection refused");
            }
            waiting.answered();
            waiting.answered();
        });
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].contains("waiting for postgres (connection refused, 0 ms) · nothing is lost"),
            "{lines:?}"
        );
        assert!(lines[1].contains("postgres is back: resumed after"), "{lines:?}");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0:?}")]
    struct Trouble(Class);

    impl Failure for Trouble {
        fn class(&self) -> Class {
            self.0
        }
    }

    #[tokio::test]
    async fn only_the_environment_is_waited_for() {
        let health = Health::new(&Metrics::new("sink", "telecom"));
        let (mut waiting, stop) =
            (RetryState::new(health.dependency("postgres")), CancellationToken::new());
        let mut troubles = vec![Trouble(Class::Environment), Trouble(Class::Environment)];
        let answer = waiting
            .until(&stop, || std::future::ready(troubles.pop().map_or(Ok(7), Err)))
            .await
            .unwrap();
        assert_eq!(answer, Some(7));
        assert!(health.readiness().ready);
        let refused = waiting
            .until(&stop, || std::future::ready(Err::<(), _>(Trouble(Class::Configuration))))
            .await
            .unwrap_err();
        assert_eq!(refused.class(), Class::Configuration);
        stop.cancel();
        let stopped = waiting
            .until(&stop, || std::future::ready(Err::<(), _>(Trouble(Class::Environment))))
            .await
            .unwrap();
        assert_eq!(stopped, None);
        assert!(!health.readiness().ready);
    }
}
