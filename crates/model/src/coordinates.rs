//! The coordinates of a record: the name by which people and programs refer to it.

use crate::protocol::{Offset, Partition};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Topic, partition and offset. Text that never became a record has the source's name, the source
/// partition and its position in the source instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordCoordinates {
    /// The topic, or the name of the source.
    pub topic: String,
    /// The partition of the topic or of the source.
    pub partition: Partition,
    /// The offset in the topic, or the position in the source.
    pub offset: Offset,
}

/// `topic[partition]@offset`.
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

/// Accepts `topic/partition@offset` as well, because some shells expand brackets.
impl FromStr for RecordCoordinates {
    type Err = String;

    fn from_str(text: &str) -> Result<RecordCoordinates, String> {
        let parse = || {
            let (rest, offset) = text.rsplit_once('@')?;
            let (topic, partition) = rest
                .strip_suffix(']')
                .and_then(|rest| rest.rsplit_once('['))
                .or_else(|| rest.rsplit_once('/'))?;
            let coordinates = RecordCoordinates {
                topic: topic.into(),
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            };
            (!topic.is_empty() && coordinates.partition >= 0 && coordinates.offset >= 0)
                .then_some(coordinates)
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
    fn both_spellings_of_coordinates_are_equal() {
        let coordinates =
            RecordCoordinates { topic: "telecom-data".into(), partition: 1, offset: 4711 };
        assert_eq!("telecom-data[1]@4711".parse(), Ok(coordinates.clone()));
        assert_eq!("telecom-data/1@4711".parse(), Ok(coordinates.clone()));
        assert_eq!(coordinates.to_string().parse(), Ok(coordinates));
    }

    #[test]
    fn text_without_topic_partition_and_offset_is_refused() {
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
