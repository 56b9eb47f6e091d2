//! A write under way, while the worker reads on.

use crate::Error;
use crate::target::{Batch, Target, Written};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::Handle;
use weir_model::protocol::Claim;

/// One write on the runtime. There is one at a time per worker: the next claim waits for this
/// outcome.
pub(crate) struct PendingWrite {
    pub(crate) claims: Vec<Claim>,
    arrival: Receiver<WriteOutcome>,
}

/// How it ended. The batch comes back, for its counts and for its memory.
pub(crate) struct WriteOutcome {
    pub(crate) batch: Batch,
    pub(crate) result: Result<Written, Error>,
    pub(crate) took: Duration,
    pub(crate) at: SystemTime,
}

impl PendingWrite {
    pub(crate) fn launch<T: Target>(
        runtime: &Handle,
        target: Arc<T>,
        batch: Batch,
        form: T::Form,
        claims: Vec<Claim>,
    ) -> PendingWrite {
        let (arrived, arrival) = sync_channel(1);
        let task_claims = claims.clone();
        let span = tracing::Span::current();
        runtime.spawn(tracing::Instrument::instrument(
            async move {
                let started = Instant::now();
                let result = target.write(&batch, &form, &task_claims).await;
                let landing =
                    WriteOutcome { batch, result, took: started.elapsed(), at: SystemTime::now() };
                // Nobody waits any more when the worker ended; then the outcome is in the target
                // alone.
                arrived.send(landing).ok();
            },
            span,
        ));
        PendingWrite { claims, arrival }
    }

    /// The landing, `None` when there is none within `patience`.
    ///
    /// # Errors
    /// The task ended without one: a fault in weir.
    pub(crate) fn land(&self, patience: Duration) -> Result<Option<WriteOutcome>, Error> {
        match self.arrival.recv_timeout(patience) {
            Ok(landing) => Ok(Some(landing)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(weir_service::Error::Panicked {
                thread: "a write".into(),
                message: "it ended without an outcome".into(),
            }
            .into()),
        }
    }
}
