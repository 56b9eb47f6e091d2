//! A write in progress, while the worker continues to read.

use crate::Error;
use crate::part::Contents;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use tracing::Instrument;
use weir_model::protocol::Claim;
use weir_store::{Transaction, Written};

/// One write on the runtime. There is one at a time per worker: the next claim waits for its
/// outcome.
pub(crate) struct PendingWrite {
    pub(crate) claims: Vec<Claim>,
    pub(crate) contents: Contents,
    outcome: Receiver<WriteOutcome>,
    ended: Arc<AtomicBool>,
}

/// The end of a write.
pub(crate) struct WriteOutcome {
    pub(crate) result: Result<Written, weir_store::Error>,
    pub(crate) took: Duration,
    /// When the commit was confirmed.
    pub(crate) at: SystemTime,
}

impl PendingWrite {
    /// Commits `transaction` under `claims`.
    pub(crate) fn start(
        runtime: &Handle,
        mut transaction: Box<dyn Transaction>,
        claims: Vec<Claim>,
        contents: Contents,
    ) -> PendingWrite {
        let (outcome_tx, outcome) = sync_channel(1);
        let claimed = claims.clone();
        let ended = Arc::new(AtomicBool::new(false));
        let ending = ended.clone();
        let write = async move {
            let started = Instant::now();
            let result = transaction.commit(claimed).await;
            let outcome = WriteOutcome { result, took: started.elapsed(), at: SystemTime::now() };
            // The receiver is gone when the worker ended; then only the target knows the outcome.
            outcome_tx.send(outcome).ok();
            ending.store(true, Ordering::Release);
        };
        runtime.spawn(write.instrument(tracing::Span::current()));
        PendingWrite { claims, contents, outcome, ended }
    }

    /// Whether [`PendingWrite::wait`] would not wait.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The outcome; `None` when there is none within `timeout`.
    ///
    /// # Errors
    /// The task ended without one: a bug in weir.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<Option<WriteOutcome>, Error> {
        match self.outcome.recv_timeout(timeout) {
            Ok(outcome) => Ok(Some(outcome)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(weir_service::Error::Panicked {
                thread: "a write".into(),
                message: "it ended without an outcome".into(),
            }
            .into()),
        }
    }
}
