//! Worker threads whose death is noticed.

use crate::error::Error;
use crate::health::Health;
use crate::liveness::{Heartbeat, WorkerLiveness};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The worker threads of one service. When one of them ends with an error or a panic, the others
/// are told to stop and the service ends with that error: a process with a dead worker would hold
/// its partitions and do nothing.
pub struct Workers<E> {
    health: Health,
    stop: CancellationToken,
    ended_tx: mpsc::Sender<(String, Ended<E>)>,
    ended_rx: mpsc::Receiver<(String, Ended<E>)>,
    running: usize,
}

enum Ended<E> {
    Well,
    Failed(E),
    Panicked(String),
}

impl<E: From<Error> + Send + 'static> Workers<E> {
    /// No workers yet; `stop` is cancelled when one of them fails.
    pub fn new(health: &Health, stop: &CancellationToken) -> Workers<E> {
        let (ended_tx, ended_rx) = mpsc::channel(1);
        Workers { health: health.clone(), stop: stop.clone(), ended_tx, ended_rx, running: 0 }
    }

    /// Runs `work` on a thread of its own, inside the caller's log span. It must call
    /// [`Heartbeat::beat`] on each round of its loop and return soon after `stop` is cancelled.
    ///
    /// # Errors
    /// [`Error::Spawn`].
    pub fn spawn(
        &mut self,
        name: &str,
        work: impl FnOnce(Heartbeat) -> Result<(), E> + Send + 'static,
    ) -> Result<(), Error> {
        let liveness = Arc::new(WorkerLiveness::new(name));
        let (heartbeat, seen) = (Heartbeat::new(&liveness), liveness.clone());
        let (ended_tx, worker, span) =
            (self.ended_tx.clone(), name.to_string(), tracing::Span::current());
        let body = move || {
            let _entered = span.enter();
            // Nothing of the worker is used after a panic; the process ends.
            let ended =
                match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(heartbeat))) {
                    Ok(Ok(())) => Ended::Well,
                    Ok(Err(error)) => Ended::Failed(error),
                    Err(panic) => Ended::Panicked(message(&*panic)),
                };
            seen.end(!matches!(ended, Ended::Well));
            // The receiver is gone only when the whole service is.
            ended_tx.blocking_send((worker, ended)).ok();
        };
        std::thread::Builder::new()
            .name(name.into())
            .spawn(body)
            .map_err(|source| Error::Spawn { worker: name.into(), source })?;
        self.health.watch(liveness);
        self.running += 1;
        Ok(())
    }

    /// Waits for all workers; the first failure stops the others and is the result.
    ///
    /// # Errors
    /// What the first failing worker ended with; [`Error::Panicked`] when it panicked.
    pub async fn join(mut self) -> Result<(), E> {
        let mut result = Ok(());
        while self.running > 0 {
            let Some((worker, ended)) = self.ended_rx.recv().await else { break };
            self.running -= 1;
            let failure = match ended {
                Ended::Well => continue,
                Ended::Failed(error) => error,
                Ended::Panicked(message) => {
                    Error::Panicked { thread: format!("worker {worker}"), message }.into()
                }
            };
            self.stop.cancel();
            result = result.and(Err(failure));
        }
        result
    }
}

/// Runs what blocks beside the runtime.
///
/// # Errors
/// [`Error::Panicked`], with `doing` in its text.
pub async fn blocking<T: Send + 'static>(
    doing: &str,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|error| Error::Panicked { thread: doing.into(), message: panic_message(error) })
}

fn panic_message(error: tokio::task::JoinError) -> String {
    error.try_into_panic().map_or_else(|error| error.to_string(), |panic| message(&*panic))
}

/// A text that is part of the program; one that was put together may quote a record.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.unwrap_or_else(|| "the log says where".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    fn workers() -> (Health, CancellationToken, Workers<Box<dyn std::error::Error + Send + Sync>>) {
        let (health, stop) =
            (Health::new(&Metrics::new("sink", "telecom")), CancellationToken::new());
        let workers = Workers::new(&health, &stop);
        (health, stop, workers)
    }

    /// Blocks the worker's thread until it is told to stop.
    fn until(stop: &CancellationToken) {
        while !stop.is_cancelled() {
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn a_panicking_worker_ends_the_service_and_liveness() {
        let (health, stop, mut workers) = workers();
        let other = stop.clone();
        workers
            .spawn("sink-0", move |_| {
                until(&other);
                Ok(())
            })
            .unwrap();
        workers.spawn("sink-1", |_| panic!("a fault in the code")).unwrap();
        let error = workers.join().await.unwrap_err();
        assert_eq!(error.to_string(), "worker sink-1 panicked: a fault in the code");
        assert!(stop.is_cancelled());
        assert!(!health.liveness().live);
        assert_eq!(health.liveness().workers["sink-1"], "ended with an error");
    }

    #[tokio::test]
    async fn a_panic_that_quotes_a_record_is_reported_without_it() {
        let (_, _, mut workers) = workers();
        let value = String::from("4111 1111 1111 1111");
        let quoted = value.clone();
        workers.spawn("sink-0", move |_| panic!("cannot slice `{quoted}`")).unwrap();
        let error = workers.join().await.unwrap_err().to_string();
        assert!(error.starts_with("worker sink-0 panicked") && !error.contains(&value), "{error}");
        let quoted = value.clone();
        let error = blocking("asking", move || -> () { panic!("what is `{quoted}`") }).await;
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("asking panicked") && !error.contains(&value), "{error}");
    }

    #[tokio::test]
    async fn the_first_failure_is_the_result() {
        let (_, stop, mut workers) = workers();
        workers.spawn("sink-0", |_| Err("first".into())).unwrap();
        let other = stop.clone();
        workers
            .spawn("sink-1", move |_| {
                until(&other);
                Err("second".into())
            })
            .unwrap();
        assert_eq!(workers.join().await.unwrap_err().to_string(), "first");
    }

    #[tokio::test]
    async fn workers_that_were_told_to_stop_end_well() {
        let (health, stop, mut workers) = workers();
        let other = stop.clone();
        workers
            .spawn("sink-0", move |heartbeat| {
                heartbeat.beat();
                until(&other);
                Ok(())
            })
            .unwrap();
        stop.cancel();
        assert!(workers.join().await.is_ok());
        assert!(health.liveness().live);
    }
}
