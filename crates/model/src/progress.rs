//! Running counters and the end of the lineage: what each hop commits together with its position,
//! so that an audit only has to read.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What happened to the records of one partition since the pipeline began. `read = written +
/// filtered + dead`, always.
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
}

impl Counters {
    /// Records that are neither written nor filtered nor dead; anything but 0 is a bug in weir or a
    /// manual change of the counts.
    pub fn unaccounted(&self) -> i128 {
        i128::from(self.read)
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
}

impl Progress {
    /// The counts after a batch that adds `delta`: its counters, and its end of the lineage if it
    /// emitted anything.
    pub fn then(&self, delta: &Progress) -> Progress {
        let mut counters = self.counters;
        counters += delta.counters;
        match delta.last {
            Some(last) => {
                Progress { counters, last: Some(last), filtered_since: delta.filtered_since }
            }
            None => Progress {
                counters,
                last: self.last,
                filtered_since: self.filtered_since + delta.filtered_since,
            },
        }
    }
}

/// The text form used in the metadata of a Kafka offset commit: `1 read written filtered dead last
/// filtered_since`, `-` for no `last`.
impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.counters;
        write!(f, "1 {} {} {} {} ", c.read, c.written, c.filtered, c.dead)?;
        match self.last {
            Some(last) => write!(f, "{last} {}", self.filtered_since),
            None => write!(f, "- {}", self.filtered_since),
        }
    }
}

impl std::str::FromStr for Progress {
    type Err = NotProgress;

    fn from_str(text: &str) -> Result<Progress, NotProgress> {
        let parse = || {
            let mut words = text.split(' ');
            if words.next()? != "1" {
                return None;
            }
            let mut number = || words.next()?.parse::<u64>().ok();
            let counters = Counters {
                read: number()?,
                written: number()?,
                filtered: number()?,
                dead: number()?,
            };
            let last = match words.next()? {
                "-" => None,
                offset => Some(offset.parse().ok()?),
            };
            let filtered_since = words.next()?.parse().ok()?;
            words.next().is_none().then_some(Progress { counters, last, filtered_since })
        };
        parse().ok_or_else(|| NotProgress(text.into()))
    }
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
        fn progress_survives_commit_metadata(read: u64, written: u64, filtered: u64, dead: u64, last: Option<i64>, filtered_since: u64) {
            let progress = Progress { counters: Counters { read, written, filtered, dead }, last, filtered_since };
            prop_assert_eq!(progress.to_string().parse(), Ok(progress));
        }
    }

    #[test]
    fn metadata_of_other_programs_is_refused() {
        for text in ["", "1", "2 1 1 0 0 5 0", "1 1 1 0 0 5 0 0", "1 1 1 0 0 x 0", "hello"] {
            assert!(text.parse::<Progress>().is_err(), "{text:?}");
        }
    }
}
