//! How long to wait before trying again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Exponential backoff with jitter: each wait is drawn from the upper half of a span that doubles
/// up to a cap, so that many clients of one broken server do not return in step.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    span: Duration,
}

impl Default for Backoff {
    /// From 100 ms to 5 s: quick enough to resume within seconds of a server's return, slow enough
    /// not to hammer it.
    fn default() -> Backoff {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
    }
}

impl Backoff {
    /// Waits from about `first` up to `cap`.
    pub fn new(first: Duration, cap: Duration) -> Backoff {
        Backoff { first, cap, span: first }
    }

    /// The next wait: between half of the current span and the whole of it.
    pub fn next_wait(&mut self) -> Duration {
        let span = self.span.min(self.cap);
        self.span = span.saturating_mul(2).min(self.cap);
        span.mul_f64(0.5 + fraction() / 2.0)
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.span = self.first;
    }
}

/// A number in [0, 1) that differs between calls and processes. The standard library seeds its hash
/// maps from the operating system, which is randomness enough for jitter.
fn fraction() -> f64 {
    (unique() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number that differs between calls and processes.
pub(crate) fn unique() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_cap_and_start_over_after_a_success() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1000));
        for span in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.next_wait();
            assert!(
                wait >= ms(span / 2) && wait <= ms(span),
                "{wait:?} is not between half of {span} ms and all of it"
            );
        }
        backoff.reset();
        assert!(backoff.next_wait() <= ms(100));
    }

    #[test]
    fn two_clients_do_not_wait_in_step() {
        let (mut a, mut b) = (Backoff::default(), Backoff::default());
        assert!((0..20).any(|_| a.next_wait() != b.next_wait()));
    }
}
