//! Coordinates of a record.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use weir_model::protocol::{Offset, Partition};

/// `topic[partition]@offset`; for what never was a record, the source's name and its place there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RecordCoordinates {
    pub(super) topic: String,
    pub(super) partition: Partition,
    pub(super) offset: Offset,
}

impl fmt::Display for RecordCoordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

impl Serialize for RecordCoordinates {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Takes `topic/partition@offset` as well: some shells take brackets for a pattern.
impl FromStr for RecordCoordinates {
    type Err = String;

    fn from_str(text: &str) -> Result<RecordCoordinates, String> {
        let parse = || {
            let (rest, offset) = text.rsplit_once('@')?;
            let (topic, partition) = rest
                .strip_suffix(']')
                .and_then(|rest| rest.rsplit_once('['))
                .or_else(|| rest.rsplit_once('/'))?;
            let place = RecordCoordinates {
                topic: topic.into(),
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            };
            (!topic.is_empty() && place.partition >= 0 && place.offset >= 0).then_some(place)
        };
        parse().ok_or_else(|| {
            "expected topic[partition]@offset, as `weir dead list FILE --dead-letters` shows it"
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_coordinates_mean_the_same() {
        let place = RecordCoordinates { topic: "telecom-data".into(), partition: 1, offset: 4711 };
        assert_eq!("telecom-data[1]@4711".parse(), Ok(place.clone()));
        assert_eq!("telecom-data/1@4711".parse(), Ok(place.clone()));
        assert_eq!(place.to_string().parse(), Ok(place));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "calls",
            "calls@5",
            "calls[1]",
            "calls[x]@5",
            "calls[1]@",
            "[1]@5",
            "calls[-1]@5",
            "calls/1@-5",
            "calls[1@5",
        ] {
            assert!(text.parse::<RecordCoordinates>().is_err(), "{text:?}");
        }
    }
}
