//! Running counters and the end of the lineage: what each hop commits together with its position,
//! so that an audit only has to read.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What happened to the records of one partition since the pipeline began. `read + unnested =
/// written + filtered + dead`, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Records taken from the source, topic or file.
    pub read: u64,
    /// Records written to the next topic or the target.
    pub written: u64,
    /// Records that the pipeline's own SQL filtered.
    pub filtered: u64,
    /// Records in the dead letters.
    pub dead: u64,
    /// Records written beyond the first one of their input record: `unnest` makes several of one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unnested: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Counters {
    /// Records that are neither written nor filtered nor dead; anything but 0 is a bug in weir or a
    /// manual change of the counts.
    pub fn unaccounted(&self) -> i128 {
        i128::from(self.read) + i128::from(self.unnested)
            - i128::from(self.written)
            - i128::from(self.filtered)
            - i128::from(self.dead)
    }
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.read += other.read;
        self.written += other.written;
        self.filtered += other.filtered;
        self.dead += other.dead;
        self.unnested += other.unnested;
    }
}

/// The counts of one partition at one hop, committed atomically with its position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Running counters.
    pub counters: Counters,
    /// Input offset of the record emitted last (enricher), or carried by the record read last
    /// (sink): the end of the lineage.
    pub last: Option<i64>,
    /// Records filtered since `last`.
    pub filtered_since: u64,
    /// The record read last: the proof that the position was not moved, and that the log is the
    /// one that was read. `None` before the first, and for a position of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_read: Option<LastRead>,
}

/// A record of a topic, recognisable in another log at the same offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRead {
    /// Its offset; the position is the one after it.
    pub offset: i64,
    /// What [`fingerprint`] makes of it; `None` when an operator put the position there, and the
    /// record was never read.
    pub fingerprint: Option<u64>,
}

/// What a target holds of a partition behind a position.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Later {
    /// Its rows; `None` if they do not name their records.
    pub rows: Option<u64>,
    /// Its dead letters.
    pub dead_letters: u64,
}

impl Later {
    /// Whether there is any; `None` if that cannot be told.
    pub fn any(&self) -> Option<bool> {
        if self.dead_letters > 0 { Some(true) } else { self.rows.map(|rows| rows > 0) }
    }
}

/// A hash of a record: its timestamp (milliseconds since 1970), key and value. It is stored, so it
/// never changes: FNV-1a with 64 bits.
pub fn fingerprint(timestamp_ms: i64, key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
    let length = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| bytes.len() as i64).to_be_bytes();
    let (stamp, key_length) = (timestamp_ms.to_be_bytes(), length(key));
    let parts = [&stamp[..], &key_length, key.unwrap_or_default(), value.unwrap_or_default()];
    parts.into_iter().flatten().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Progress {
    /// The counts after a batch that adds `delta`: its counters, and its end of the lineage if it
    /// emitted anything.
    pub fn then(&self, delta: &Progress) -> Progress {
        let mut counters = self.counters;
        counters += delta.counters;
        let last_read = delta.last_read.or(self.last_read);
        let (last, filtered_since) = match delta.last {
            Some(last) => (Some(last), delta.filtered_since),
            None => (self.last, self.filtered_since + delta.filtered_since),
        };
        Progress { counters, last, filtered_since, last_read }
    }
}

/// The text form used in the metadata of a Kafka offset commit: `2 read written filtered dead last
/// filtered_since last_read_offset fingerprint`, `-` for what is absent. Version 3 has `unnested`
/// behind `dead`. Version 1 ends after `filtered_since`; it is still read.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counters;
        let version = if c.unnested == 0 { 2 } else { 3 };
        write!(f, "{version} {} {} {} {} ", c.read, c.written, c.filtered, c.dead)?;
        if c.unnested > 0 {
            write!(f, "{} ", c.unnested)?;
        }
        match self.last {
            Some(last) => write!(f, "{last} {} ", self.filtered_since)?,
            None => write!(f, "- {} ", self.filtered_since)?,
        }
        match self.last_read {
            None => f.write_str("- -"),
            Some(LastRead { offset, fingerprint: None }) => write!(f, "{offset} -"),
            Some(LastRead { offset, fingerprint: Some(hash) }) => write!(f, "{offset} {hash:x}"),
        }
    }
}

impl std::str::FromStr for Progress {
    type Err = NotProgress;

    fn from_str(text: &str) -> Result<Progress, NotProgress> {
        let parse = || {
            let mut words = text.split(' ');
            let version = words.next().filter(|version| ["1", "2", "3"].contains(version))?;
            let mut number = || words.next()?.parse::<u64>().ok();
            let counters = Counters {
                read: number()?,
                written: number()?,
                filtered: number()?,
                dead: number()?,
                unnested: if version == "3" { number()? } else { 0 },
            };
            let last = match words.next()? {
                "-" => None,
                offset => Some(offset.parse().ok()?),
            };
            let filtered_since = words.next()?.parse().ok()?;
            let last_read = match version {
                "1" => None,
                _ => last_read(words.next()?, words.next()?)?,
            };
            words.next().is_none().then_some(Progress { counters, last, filtered_since, last_read })
        };
        parse().ok_or_else(|| NotProgress(text.into()))
    }
}

/// The last two words of the text form; `None` when they are not such words.
fn last_read(offset: &str, fingerprint: &str) -> Option<Option<LastRead>> {
    if (offset, fingerprint) == ("-", "-") {
        return Some(None);
    }
    let fingerprint = match fingerprint {
        "-" => None,
        hash => Some(u64::from_str_radix(hash, 16).ok()?),
    };
    Some(Some(LastRead { offset: offset.parse().ok()?, fingerprint }))
}

/// The metadata of a committed offset is not weir's: another process committed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a progress record of weir: another program committed this offset")]
pub struct NotProgress(String);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn progress_survives_commit_metadata(
            read: u64,
            written: u64,
            filtered: u64,
            dead: u64,
            unnested: u64,
            last: Option<i64>,
            filtered_since: u64,
            read_last: Option<(i64, Option<u64>)>,
        ) {
            let last_read = read_last.map(|(offset, fingerprint)| LastRead { offset, fingerprint });
            let counters = Counters { read, written, filtered, dead, unnested };
            let progress = Progress { counters, last, filtered_since, last_read };
            prop_assert_eq!(progress.to_string().parse(), Ok(progress));
        }
    }

    #[test]
    fn metadata_of_other_programs_is_refused() {
        for text in [
            "",
            "1",
            "2 1 1 0 0 5 0",
            "1 1 1 0 0 5 0 0",
            "1 1 1 0 0 x 0",
            "2 1 1 0 0 5 0",
            "2 1 1 0 0 5 0 7 xyz",
            "2 1 1 0 0 5 0 - 7",
            "3 1 1 0 0 5 0 - -",
            "hello",
        ] {
            assert!(text.parse::<Progress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_was_unnested_is_counted() {
        let counters = Counters { read: 3, written: 7, filtered: 1, dead: 1, unnested: 6 };
        assert_eq!(counters.unaccounted(), 0);
        let progress = Progress { counters, ..Progress::default() };
        assert_eq!(progress.to_string(), "3 3 7 1 1 6 - 0 - -");
        let flat = Counters { read: 3, written: 3, ..Counters::default() };
        let flat = Progress { counters: flat, ..Progress::default() };
        assert!(flat.to_string().starts_with("2 3 3 "), "older programs can read it");
    }

    #[test]
    fn metadata_of_the_version_before_is_read_without_proof() {
        let progress: Progress = "1 9 5 3 1 - 3".parse().unwrap();
        assert_eq!((progress.counters.read, progress.filtered_since), (9, 3));
        assert_eq!(progress.last_read, None);
    }

    #[test]
    fn a_fingerprint_tells_records_apart_that_differ_in_anything() {
        let all = [
            fingerprint(1, None, None),
            fingerprint(2, None, None),
            fingerprint(1, Some(b""), None),
            fingerprint(1, Some(b"a"), Some(b"b")),
            fingerprint(1, Some(b"ab"), Some(b"")),
            fingerprint(1, None, Some(b"ab")),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(all[0], 0x6561_7ed7_1300_a6ca, "it is stored, and must not change");
    }
}
