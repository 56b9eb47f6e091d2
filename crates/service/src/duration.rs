//! Durations for people.

use std::time::Duration;

/// A duration for people: `340 ms`, `12 s`, `4 min`, `3 h`.
pub fn format_duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_for_people() {
        let spelled: Vec<_> = [40, 1_000, 119_000, 240_000, 8_000_000]
            .map(|ms| format_duration(Duration::from_millis(ms)))
            .into();
        assert_eq!(spelled, ["40 ms", "1 s", "119 s", "4 min", "2 h"]);
    }
}
