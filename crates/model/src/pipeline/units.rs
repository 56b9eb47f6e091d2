//! Durations (`"250ms"`, `"5s"`, `"2m"`, `"1h"`) and sizes (`1048576`, `"16MiB"`).

use std::time::Duration;

const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// `None` when `text` is not a whole number followed by ms, s, m or h.
pub(super) fn duration(text: &str) -> Option<Duration> {
    measure(text, &DURATIONS).map(Duration::from_millis)
}

/// `None` when `text` is not a whole number, alone or followed by B, kB, MB, GB, KiB, MiB or GiB.
pub(super) fn size(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| measure(text, &SIZES))
}

fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// The shortest exact text: `90s`, `2m`, `250ms`.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = DURATIONS
        .iter()
        .rev()
        .find(|(_, f)| millis.is_multiple_of(*f) && millis >= *f)
        .unwrap_or(&DURATIONS[0]);
    format!("{}{unit}", millis / factor)
}

/// The shortest exact binary text: `16MiB`, `1000B`.
pub(super) fn show_size(bytes: u64) -> String {
    let (unit, factor) = SIZES[..3]
        .iter()
        .rev()
        .find(|(_, f)| bytes.is_multiple_of(*f) && bytes >= *f)
        .unwrap_or(&SIZES[6]);
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_measure_needs_a_number_and_a_known_unit() {
        assert_eq!(duration("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("2 m"), Some(Duration::from_secs(120)));
        for text in ["", "5", "s", "-5s", "5 seconds", "1.5s", "99999999999999999999s", "5s5"] {
            assert_eq!(duration(text), None, "{text:?}");
        }
        assert_eq!(size("16MiB"), Some(16 << 20));
        assert_eq!(size("1000"), Some(1000));
        for text in ["", "MiB", "-1", "1.5MiB", "16 mib", "99999999999GiB"] {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(millis in 0u64..1 << 50) {
            let expected = Duration::from_millis(millis);
            prop_assert_eq!(duration(&show_duration(expected)), Some(expected));
            prop_assert_eq!(size(&show_size(millis)), Some(millis));
        }
    }
}
