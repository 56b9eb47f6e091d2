//! What this instance can and cannot do at the moment, for `/ready` and `/live`.

use crate::duration::format_duration;
use crate::liveness::WorkerLiveness;
use crate::metrics::Metrics;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a dependency may take for an ordinary answer until it counts as unavailable.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// Health of one service instance; clones share it.
#[derive(Clone)]
pub struct Health {
    inner: Arc<Inner>,
}

struct Inner {
    board: Mutex<Board>,
    up: prometheus::IntGaugeVec,
}

#[derive(Default)]
struct Board {
    dependencies: BTreeMap<String, Handles>,
    halts: BTreeMap<String, String>,
    workers: Vec<Arc<WorkerLiveness>>,
    handles: u64,
}

type Handles = BTreeMap<u64, View>;

/// What one handle knows of its dependency.
#[derive(Default)]
struct View {
    trouble: Option<Trouble>,
    /// Since when an answer is awaited, and how long it may take.
    asked: Option<(Instant, Duration)>,
}

impl View {
    fn trouble(&self) -> Option<Trouble> {
        let silent = self.asked.filter(|(since, patience)| since.elapsed() > *patience);
        self.trouble
            .clone()
            .or_else(|| silent.map(|(since, _)| Trouble { reason: "no answer".into(), since }))
    }
}

#[derive(Clone)]
struct Trouble {
    reason: String,
    since: Instant,
}

/// The answer of `/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Every dependency is ok and nothing is halted.
    pub ready: bool,
    /// Dependency → `ok`, or what is wrong and for how long.
    pub dependencies: BTreeMap<String, String>,
    /// What is halted until an operator acts (`pipeline`, `telecom-data[2]`) → why.
    pub halted: BTreeMap<String, String>,
}

/// The answer of `/live`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Liveness {
    /// No worker died or hangs.
    pub live: bool,
    /// Worker → `ok`, or what is wrong.
    pub workers: BTreeMap<String, String>,
}

impl Health {
    /// Health without any dependency yet, which is ready; `weir_dependency_up` goes into `metrics`.
    pub fn new(metrics: &Metrics) -> Health {
        Health { inner: Arc::new(Inner { board: Mutex::default(), up: metrics.dependency_up() }) }
    }

    /// A handle on the dependency `name` (`kafka`, `registry`, `postgres`), which counts as
    /// unavailable, "not asked yet", until the handle reports otherwise. Several handles of one
    /// name (one per worker) are ok when all of them are.
    pub fn dependency(&self, name: &str) -> Dependency {
        let mut board = self.board();
        board.handles += 1;
        let dependency =
            Dependency { health: self.clone(), name: name.into(), handle: board.handles };
        let trouble = Trouble { reason: "not asked yet".into(), since: Instant::now() };
        board
            .dependencies
            .entry(name.into())
            .or_default()
            .insert(dependency.handle, View { trouble: Some(trouble), asked: None });
        drop(board);
        self.inner.up.with_label_values(&[name]).set(0);
        dependency
    }

    /// Reports that `what` (`pipeline`, `telecom-data[2]`) is halted until an operator acts; the
    /// instance is not ready from now on.
    pub fn halt(&self, what: &str, reason: &str) {
        let news = self.board().halts.insert(what.into(), reason.into()).as_deref() != Some(reason);
        if news {
            tracing::error!(
                what,
                reason,
                "halted: no records are skipped; operator action required"
            );
        }
    }

    /// Clears a halt, for instance because the partition went to another worker.
    pub fn resume(&self, what: &str) {
        self.board().halts.remove(what);
    }

    /// Whether this instance does its work at the moment.
    pub fn readiness(&self) -> Readiness {
        let board = self.board();
        for (name, handles) in &board.dependencies {
            self.inner.up.with_label_values(&[name]).set(i64::from(worst(handles).is_none()));
        }
        let state = |handles: &Handles| match worst(handles) {
            None => "ok".to_string(),
            Some(trouble) => {
                format!("{} for {}", trouble.reason, format_duration(trouble.since.elapsed()))
            }
        };
        let dependencies: BTreeMap<_, _> = board
            .dependencies
            .iter()
            .map(|(name, handles)| (name.clone(), state(handles)))
            .collect();
        let ready = board.halts.is_empty()
            && board.dependencies.values().all(|handles| worst(handles).is_none());
        Readiness { ready, dependencies, halted: board.halts.clone() }
    }

    /// Whether all workers of this instance are alive.
    pub fn liveness(&self) -> Liveness {
        let board = self.board();
        let workers: BTreeMap<_, _> =
            board.workers.iter().map(|w| (w.name.clone(), w.trouble())).collect();
        let live = workers.values().all(Option::is_none);
        Liveness {
            live,
            workers: workers
                .into_iter()
                .map(|(name, trouble)| (name, trouble.unwrap_or_else(|| "ok".into())))
                .collect(),
        }
    }

    pub(crate) fn watch(&self, liveness: Arc<WorkerLiveness>) {
        self.board().workers.push(liveness);
    }

    fn set(&self, dependency: &Dependency, reason: Option<String>) {
        let mut board = self.board();
        let handles = board.dependencies.entry(dependency.name.clone()).or_default();
        let since = handles
            .get(&dependency.handle)
            .and_then(View::trouble)
            .map_or_else(Instant::now, |t| t.since);
        handles.insert(
            dependency.handle,
            View { trouble: reason.map(|reason| Trouble { reason, since }), asked: None },
        );
        let up = worst(handles).is_none();
        drop(board);
        self.inner.up.with_label_values(&[&dependency.name]).set(i64::from(up));
    }

    fn asking(&self, dependency: &Dependency, patience: Duration) {
        let mut board = self.board();
        let view = board
            .dependencies
            .entry(dependency.name.clone())
            .or_default()
            .entry(dependency.handle)
            .or_default();
        view.asked.get_or_insert_with(|| (Instant::now(), patience));
    }

    fn forget(&self, dependency: &Dependency) {
        let mut board = self.board();
        let Some(handles) = board.dependencies.get_mut(&dependency.name) else { return };
        handles.remove(&dependency.handle);
        let up = worst(handles).is_none();
        drop(board);
        self.inner.up.with_label_values(&[&dependency.name]).set(i64::from(up));
    }

    /// A panic while holding the lock leaves plain values behind, never half-made ones; so a
    /// poisoned lock can still be used.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.inner.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest failure among the handles of one dependency.
fn worst(handles: &Handles) -> Option<Trouble> {
    handles.values().filter_map(View::trouble).min_by_key(|t| t.since)
}

/// One user's handle on a dependency; removed from `/ready` when dropped.
pub struct Dependency {
    health: Health,
    name: String,
    handle: u64,
}

impl Dependency {
    /// The dependency's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// It is asked something now that may take long: unless [`Dependency::ok`] or
    /// [`Dependency::unavailable`] follows within `patience`, it counts as unavailable, for as
    /// long as the call takes.
    pub fn asking(&self, patience: Duration) {
        self.health.asking(self, patience);
    }

    /// It answers.
    pub fn ok(&self) {
        self.health.set(self, None);
    }

    /// It does not, for `reason`; the first of several reports in a row says since when.
    pub fn unavailable(&self, reason: impl Into<String>) {
        self.health.set(self, Some(reason.into()));
    }
}

impl Drop for Dependency {
    fn drop(&mut self) {
        self.health.forget(self);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health::new(&Metrics::new("sink", "telecom"))
    }

    #[test]
    fn a_dependency_that_was_never_asked_is_not_ok() {
        let health = health();
        assert!(health.readiness().ready);
        let kafka = health.dependency("kafka");
        assert!(!health.readiness().ready);
        assert!(health.readiness().dependencies["kafka"].starts_with("not asked yet for"));
        kafka.ok();
        assert_eq!(health.readiness().dependencies["kafka"], "ok");
        assert!(health.readiness().ready);
    }

    #[test]
    fn one_worker_without_its_database_makes_the_instance_unready() {
        let health = health();
        let (a, b) = (health.dependency("postgres"), health.dependency("postgres"));
        a.ok();
        b.unavailable("connection refused");
        let readiness = health.readiness();
        assert!(!readiness.ready);
        assert!(
            readiness.dependencies["postgres"].starts_with("connection refused for "),
            "{readiness:?}"
        );
        drop(b);
        assert!(health.readiness().ready);
    }

    #[test]
    fn a_halt_makes_the_instance_unready_but_not_dead() {
        let health = health();
        health.halt("telecom-data[2]", "offsets 10 to 20 are gone");
        assert!(!health.readiness().ready);
        assert_eq!(health.readiness().halted["telecom-data[2]"], "offsets 10 to 20 are gone");
        assert!(health.liveness().live);
        health.resume("telecom-data[2]");
        assert!(health.readiness().ready);
    }

    #[test]
    fn a_failure_is_counted_from_its_first_report() {
        let health = health();
        let kafka = health.dependency("kafka");
        kafka.ok();
        kafka.unavailable("refused");
        let since = |health: &Health| worst(&health.board().dependencies["kafka"]).map(|t| t.since);
        let first = since(&health);
        kafka.unavailable("timed out");
        assert_eq!(since(&health), first);
        assert!(health.readiness().dependencies["kafka"].starts_with("timed out"));
    }

    #[test]
    fn a_call_without_an_answer_makes_the_instance_unready_while_it_lasts() {
        let health = health();
        let kafka = health.dependency("kafka");
        kafka.ok();
        kafka.asking(REQUEST_TIMEOUT);
        assert!(health.readiness().ready, "a moment is no outage");
        let past = Instant::now() - REQUEST_TIMEOUT - Duration::from_secs(2);
        health
            .board()
            .dependencies
            .get_mut("kafka")
            .unwrap()
            .values_mut()
            .for_each(|view| view.asked = Some((past, REQUEST_TIMEOUT)));
        assert_eq!(health.readiness().dependencies["kafka"], "no answer for 5 s");
        assert_eq!(health.inner.up.with_label_values(&["kafka"]).get(), 0);
        kafka.ok();
        assert!(health.readiness().ready);
    }
}
