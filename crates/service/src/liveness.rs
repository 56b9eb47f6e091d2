//! The heartbeat of a worker thread: sent by the worker, watched by `/live`.

use crate::duration::format_duration;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A worker that has not finished a round of its loop for this long hangs. Every wait of a worker
/// is shorter: transactions and calls have timeouts.
const STALLED: Duration = Duration::from_secs(300);

/// A worker's heartbeat.
pub struct Heartbeat {
    liveness: Arc<WorkerLiveness>,
}

impl Heartbeat {
    pub(crate) fn new(liveness: &Arc<WorkerLiveness>) -> Heartbeat {
        Heartbeat { liveness: liveness.clone() }
    }

    /// Another round of the loop begins.
    pub fn beat(&self) {
        self.liveness.beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// The watching side of a heartbeat.
pub(crate) struct WorkerLiveness {
    pub(crate) name: String,
    beats: AtomicU64,
    ended: AtomicBool,
    failed: AtomicBool,
    seen: Mutex<(u64, Instant)>,
}

impl WorkerLiveness {
    pub(crate) fn new(name: &str) -> WorkerLiveness {
        let seen = Mutex::new((0, Instant::now()));
        WorkerLiveness {
            name: name.into(),
            beats: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            seen,
        }
    }

    pub(crate) fn end(&self, failed: bool) {
        self.failed.store(failed, Ordering::Relaxed);
        self.ended.store(true, Ordering::Release);
    }

    /// `None` when all is well. Looks at the clock only here, when `/live` is requested, so that a
    /// beat costs nothing.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble_after(STALLED)
    }

    fn trouble_after(&self, limit: Duration) -> Option<String> {
        if self.ended.load(Ordering::Acquire) {
            return self.failed.load(Ordering::Relaxed).then(|| "ended with an error".into());
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let beats = self.beats.load(Ordering::Relaxed);
        if beats != seen.0 {
            *seen = (beats, Instant::now());
        }
        let still = seen.1.elapsed();
        (still > limit)
            .then(|| format!("has not come round its loop for {}", format_duration(still)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_hangs_is_seen() {
        let liveness = WorkerLiveness::new("sink-0");
        assert_eq!(liveness.trouble_after(STALLED), None);
        assert!(
            liveness
                .trouble_after(Duration::ZERO)
                .unwrap()
                .starts_with("has not come round its loop for")
        );
        liveness.beats.fetch_add(1, Ordering::Relaxed);
        assert_eq!(liveness.trouble_after(STALLED), None);
    }
}
