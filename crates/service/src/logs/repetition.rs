//! A fault that repeats must not fill the disk, nor push other lines out of the log: of the
//! warnings and errors from one place of the program, the first few of an interval are written and
//! the others are counted. The count is written when the interval is over.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::Level;

/// The length of an interval.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// Lines of one place that are written in an interval: as many as there may be workers that report
/// the same thing once.
pub(super) const LINES: u64 = 16;

/// How often each place of the program has logged in its present interval.
#[derive(Default)]
pub(super) struct Repetition {
    places: Mutex<HashMap<&'static str, Place>>,
}

struct Place {
    level: Level,
    since: Instant,
    lines: u64,
}

/// Lines that were left out in an interval that is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) level: Level,
    /// The place in the program.
    pub(super) place: &'static str,
    pub(super) lines: u64,
}

impl Repetition {
    /// Whether a line of `place` is written; with what was left out in intervals that are over
    /// `now`.
    pub(super) fn admit(
        &self,
        level: Level,
        place: &'static str,
        now: Instant,
    ) -> (bool, Vec<LeftOut>) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let over = places
            .extract_if(|_, place| now.duration_since(place.since) >= INTERVAL)
            .filter_map(left_out)
            .collect();
        // The others say what happens, once each.
        if level > Level::WARN {
            return (true, over);
        }
        let place = places.entry(place).or_insert(Place { level, since: now, lines: 0 });
        place.lines += 1;
        (place.lines <= LINES, over)
    }

    /// What was left out and not reported yet.
    pub(super) fn rest(&self) -> Vec<LeftOut> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.drain().filter_map(left_out).collect()
    }
}

fn left_out((place, counted): (&'static str, Place)) -> Option<LeftOut> {
    let lines = counted.lines.saturating_sub(LINES);
    (lines > 0).then_some(LeftOut { level: counted.level, place, lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `lines` lines of one place, `apart` from one another, lead to: how many are written, and
    /// how many are reported as left out.
    fn log(lines: u32, apart: Duration, level: Level) -> (u64, u64) {
        let (repetition, start) = (Repetition::default(), Instant::now());
        let (mut written, mut reported) = (0, 0);
        for line in 0..lines {
            let (admitted, over) = repetition.admit(level, "here", start + apart * line);
            written += u64::from(admitted);
            reported += over.iter().map(|left_out| left_out.lines).sum::<u64>();
        }
        reported += repetition.rest().iter().map(|left_out| left_out.lines).sum::<u64>();
        (written, reported)
    }

    #[test]
    fn every_line_is_written_or_counted_and_none_is_both() {
        let apart = [0, 1, 10, 100, 625, 1_000, 10_000, 60_000];
        for (apart, level) in apart.iter().flat_map(|n| [(*n, Level::WARN), (*n, Level::ERROR)]) {
            let (written, reported) = log(1_000, Duration::from_millis(apart), level);
            assert_eq!(written + reported, 1_000, "{apart} ms apart");
            let intervals = (apart * 1_000).div_ceil(INTERVAL.as_millis() as u64).max(1);
            assert!(written <= intervals * LINES, "{apart} ms apart: {written} written");
        }
    }

    #[test]
    fn what_comes_slowly_or_only_informs_is_all_written() {
        assert_eq!(log(1_000, Duration::from_secs(1), Level::ERROR), (1_000, 0));
        assert_eq!(log(1_000, Duration::ZERO, Level::INFO), (1_000, 0));
    }

    #[test]
    fn a_place_that_floods_hides_no_other() {
        let (repetition, now) = (Repetition::default(), Instant::now());
        (0..1_000).for_each(|_| drop(repetition.admit(Level::ERROR, "here", now)));
        assert!(repetition.admit(Level::ERROR, "there", now).0);
        let (admitted, over) = repetition.admit(Level::ERROR, "here", now + INTERVAL);
        let left_out = LeftOut { level: Level::ERROR, place: "here", lines: 1_000 - LINES };
        assert_eq!((admitted, over), (true, vec![left_out]));
    }
}
