//! SIGTERM and SIGINT, and how long the work has to end after them.

use crate::error::Error;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The time from the signal to the end of the process: less than the 30 s that Kubernetes gives
/// before it kills.
pub const DRAIN: Duration = Duration::from_secs(25);

/// A token that is cancelled by the first SIGTERM or SIGINT; the second ends the process at once
/// with exit code 1.
///
/// # Errors
/// The operating system refuses a signal handler.
pub fn shutdown() -> std::io::Result<CancellationToken> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        let name = next(&mut term, &mut int).await;
        tracing::info!(
            signal = name,
            "draining: the batch at hand is finished, then the process ends; once more ends it at \
             once"
        );
        cancel.cancel();
        let name = next(&mut term, &mut int).await;
        tracing::warn!(
            signal = name,
            "ended at once; what was not committed is read again at the next start"
        );
        std::process::exit(1);
    });
    Ok(stop)
}

async fn next(term: &mut Signal, int: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

/// Waits for `work`; from the moment that `stop` is cancelled for at most `deadline`.
///
/// # Errors
/// [`Error::NotDrained`] when the deadline passed.
pub async fn drain<T>(
    stop: &CancellationToken,
    deadline: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(deadline).await;
    };
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = late => Err(Error::NotDrained(deadline)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_ends_in_time_is_drained() {
        let stop = CancellationToken::new();
        assert_eq!(drain(&stop, Duration::ZERO, async { 7 }).await.unwrap(), 7);
        stop.cancel();
        let work = async {
            tokio::task::yield_now().await;
            8
        };
        assert_eq!(drain(&stop, Duration::from_secs(60), work).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn work_that_hangs_is_given_up_after_the_deadline() {
        let stop = CancellationToken::new();
        stop.cancel();
        let deadline = Duration::from_millis(1);
        assert!(matches!(
            drain(&stop, deadline, std::future::pending::<()>()).await,
            Err(Error::NotDrained(after)) if after == deadline
        ));
    }
}
