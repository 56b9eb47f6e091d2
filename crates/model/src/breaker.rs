//! The breaker: when too many records are refused for too long, the mistake is in a schema, a rule
//! or a table, and the topic must not drain into the dead letters.

use crate::pipeline::DeadLetters;
use std::time::{Duration, Instant};

/// Fewer records than this prove nothing.
const PROOF: u64 = 1000;

/// Watches the share of dead letters; one for all workers of an instance.
#[derive(Debug)]
pub struct Breaker {
    share: f64,
    after: Duration,
    streak: Option<Streak>,
    tripped: Option<String>,
}

/// A time in which the share was above the limit, from the first batch that was.
#[derive(Debug)]
struct Streak {
    since: Instant,
    read: u64,
    dead: u64,
}

impl Breaker {
    /// Trips when more than `halt_share` of the records are refused for `halt_after` or longer.
    pub fn new(limits: &DeadLetters) -> Breaker {
        Breaker { share: limits.halt_share, after: limits.halt_after, streak: None, tripped: None }
    }

    /// Records a committed batch.
    pub fn note(&mut self, read: u64, dead: u64, now: Instant) {
        let mut streak = self.streak.take().unwrap_or(Streak { since: now, read: 0, dead: 0 });
        streak.read += read;
        streak.dead += dead;
        if streak.dead as f64 <= self.share * streak.read as f64 {
            return;
        }
        if streak.read >= PROOF && now.duration_since(streak.since) >= self.after {
            let Streak { read, dead, .. } = streak;
            let percent = 100.0 * dead as f64 / read as f64;
            self.tripped = Some(format!(
                "{dead} of the last {read} records ({percent:.0} %) went to the dead letters, for \
                 longer than dead_letters.halt_after; look at their reasons, fix the schema, the \
                 rule or the table, and restart"
            ));
        }
        self.streak = Some(streak);
    }

    /// Why processing is halted; `None` while it is not.
    pub fn tripped(&self) -> Option<&str> {
        self.tripped.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> (Breaker, Instant) {
        let limits =
            DeadLetters { topic: "t".into(), halt_share: 0.5, halt_after: Duration::from_secs(10) };
        (Breaker::new(&limits), Instant::now())
    }

    #[test]
    fn many_dead_letters_for_long_trip_it() {
        let (mut breaker, start) = breaker();
        for second in 0..=10 {
            assert_eq!(breaker.tripped(), None);
            breaker.note(500, 400, start + Duration::from_secs(second));
        }
        assert!(
            breaker
                .tripped()
                .is_some_and(|why| why.contains("4400 of the last 5500 records (80 %)"))
        );
    }

    #[test]
    fn a_short_burst_does_not() {
        let (mut breaker, start) = breaker();
        breaker.note(100_000, 100_000, start);
        breaker.note(100_000, 100_000, start + Duration::from_secs(9));
        breaker.note(300_000, 0, start + Duration::from_secs(10));
        breaker.note(1000, 1000, start + Duration::from_secs(11));
        assert_eq!(breaker.tripped(), None);
    }

    #[test]
    fn few_records_prove_nothing() {
        let (mut breaker, start) = breaker();
        breaker.note(499, 499, start);
        breaker.note(500, 500, start + Duration::from_secs(60));
        assert_eq!(breaker.tripped(), None);
        breaker.note(1, 1, start + Duration::from_secs(61));
        assert!(breaker.tripped().is_some());
    }

    #[test]
    fn a_steady_share_below_the_limit_never_does() {
        let (mut breaker, start) = breaker();
        (0..1000).for_each(|second| breaker.note(1000, 500, start + Duration::from_secs(second)));
        assert_eq!(breaker.tripped(), None);
    }
}
