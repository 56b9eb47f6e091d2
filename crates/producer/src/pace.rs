//! Limits the rate at which records are sent.

use std::time::{Duration, Instant};

/// The interval between two sends: smooth for readers, and few enough transactions for the broker.
const STEP: Duration = Duration::from_millis(100);
/// After an outage, at most the records of this many seconds are sent at once.
const BURST: f64 = 2.0;

/// A token bucket with one token per record.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    /// Records per second; 0 = no limit.
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Pace {
    /// `rate` records per second from `now` on; 0 sets no limit.
    pub(crate) fn new(rate: f64, now: Instant) -> Pace {
        Pace { rate, tokens: 0.0, filled: now }
    }

    /// How many records may be sent now, at most `limit`; or how long to wait before the next call.
    pub(crate) fn due(&mut self, now: Instant, limit: usize) -> Result<usize, Duration> {
        if self.rate == 0.0 {
            return Ok(limit);
        }
        let passed = now.saturating_duration_since(self.filled);
        let interval = STEP.max(Duration::from_secs_f64(1.0 / self.rate));
        if passed < interval && self.tokens < 1.0 {
            return Err(interval - passed);
        }
        self.tokens =
            (self.tokens + passed.as_secs_f64() * self.rate).min((BURST * self.rate).max(1.0));
        self.filled = now;
        match (self.tokens as usize).min(limit) {
            0 => Err(Duration::from_secs_f64((1.0 - self.tokens) / self.rate)),
            records => Ok(records),
        }
    }

    /// Subtracts the records that were sent.
    pub(crate) fn sent(&mut self, records: usize) {
        if self.rate > 0.0 {
            self.tokens -= records as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a pace on a simulated clock for some seconds; returns the number of records of each
    /// step.
    fn run(rate: f64, seconds: u64, limit: usize) -> Vec<usize> {
        let start = Instant::now();
        let (mut pace, mut now, mut steps) = (Pace::new(rate, start), start, Vec::new());
        while now < start + Duration::from_secs(seconds) {
            match pace.due(now, limit) {
                Ok(records) => {
                    pace.sent(records);
                    steps.push(records);
                }
                Err(wait) => now += wait,
            }
        }
        steps
    }

    #[test]
    fn the_rate_is_kept_in_small_steps() {
        for rate in [0.5, 1.0, 7.0, 1000.0, 333.333, 100_000.0] {
            let steps = run(rate, 100, usize::MAX);
            let total: usize = steps.iter().sum();
            assert!(
                (total as f64 - rate * 100.0).abs() <= (rate * 0.2).max(1.0),
                "rate {rate}: {total} in 100 s"
            );
            assert!(
                steps.iter().all(|&s| s as f64 <= (rate * 0.11).max(1.0)),
                "rate {rate}: {steps:?}"
            );
        }
    }

    #[test]
    fn a_small_batch_limit_does_not_lower_the_rate() {
        let total: usize = run(1000.0, 10, 7).iter().sum();
        assert!((9_800..=10_200).contains(&total), "{total}");
    }

    #[test]
    fn an_outage_is_made_up_for_in_part_only() {
        let start = Instant::now();
        let mut pace = Pace::new(1000.0, start);
        assert_eq!(pace.due(start + Duration::from_secs(3600), usize::MAX), Ok(2000));
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let now = Instant::now();
        assert_eq!(Pace::new(0.0, now).due(now, 50_000), Ok(50_000));
    }
}
