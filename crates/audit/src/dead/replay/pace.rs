//! Limits the records per second.

use std::time::{Duration, Instant};

/// The maximum number of transactions per second when there is a rate, so that a slow replay is
/// even.
const PER_SECOND: u64 = 4;
/// The maximum number of records in a transaction.
const BATCH: u64 = 1000;

/// Keeps a rate over the whole replay.
pub(crate) struct Pace {
    rate: u64,
    started: Instant,
    done: u64,
}

impl Pace {
    /// `rate` in records per second; 0 is as fast as possible.
    pub(crate) fn new(rate: u64) -> Pace {
        Pace { rate, started: Instant::now(), done: 0 }
    }

    /// Records to put into one transaction.
    pub(crate) fn batch(&self) -> usize {
        let batch = if self.rate == 0 { BATCH } else { (self.rate / PER_SECOND).clamp(1, BATCH) };
        usize::try_from(batch).unwrap_or(1)
    }

    /// Adds the number of records that were replayed, and returns how long to wait before the next.
    pub(crate) fn after(&mut self, records: u64) -> Duration {
        self.done += records;
        due(self.done, self.rate).saturating_sub(self.started.elapsed())
    }
}

/// The time since the start after which this many records may be done.
fn due(done: u64, rate: u64) -> Duration {
    if rate == 0 { Duration::ZERO } else { Duration::from_secs_f64(done as f64 / rate as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_replay_comes_in_small_transactions() {
        let batch = |rate| Pace::new(rate).batch();
        assert_eq!((batch(0), batch(1), batch(100), batch(1_000_000)), (1000, 1, 25, 1000));
    }

    #[test]
    fn the_rate_is_kept_over_the_whole() {
        assert_eq!(due(500, 1000), Duration::from_millis(500));
        assert_eq!(due(500, 0), Duration::ZERO);
        let mut pace = Pace::new(10);
        assert!(pace.after(20) > Duration::from_millis(1900));
        assert!(pace.after(10) > Duration::from_millis(2900));
    }
}
