//! What is recorded when an operator lets a hop continue after a gap in its log: which offsets, how
//! many records, why and when. It is written in the same transaction as the new position, so that
//! neither exists without the other. `weir audit` takes it into account.

use crate::protocol::{Offset, Partition};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One accepted loss of one hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedLoss {
    /// `enricher`, or the sink's name.
    pub hop: String,
    /// The topic that the hop reads.
    pub topic: String,
    /// The partitions and offsets that were skipped.
    pub skips: Vec<Skip>,
    /// Records lost in all of them together; `None` when nothing counts what enters the topic.
    pub records: Option<u64>,
    /// The operator's reason.
    pub reason: String,
    /// RFC 3339, UTC.
    pub at: String,
}

/// The move of one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skip {
    /// Which partition.
    pub partition: Partition,
    /// The position before; `None` when it was lost.
    pub from: Option<Offset>,
    /// The position after.
    pub to: Offset,
    /// What the enricher had emitted from this partition by then; `None` for a sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emitted: Option<Emitted>,
}

/// The ends of a partition in the topics that the enricher writes; records at or after them were
/// emitted after the skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// Of the output topic.
    pub output: Offset,
    /// Of the dead-letter topic.
    pub dead_letters: Offset,
}

impl Skip {
    /// Whether offsets start over: the log was truncated or recreated, and reading continues at a
    /// lower offset.
    pub fn restarts(&self) -> bool {
        self.from.is_some_and(|from| self.to < from)
    }
}

/// `[2] 10..500`; after a truncation `[2] 500 back to 0`; for a position that was found again `[2]
/// at 37`.
impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Skip { partition, from, to, .. } = self;
        match from {
            None => write!(f, "[{partition}] at {to}"),
            Some(from) if self.restarts() => write!(f, "[{partition}] {from} back to {to}"),
            Some(from) => write!(f, "[{partition}] {from}..{to}"),
        }
    }
}

/// `enricher telecom-data[2] 10..500: 123 records, "reason", 2026-01-31T12:00:00Z`.
impl fmt::Display for AcceptedLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skips: Vec<String> = self.skips.iter().map(Skip::to_string).collect();
        write!(f, "{} {}{}: ", self.hop, self.topic, skips.join(", "))?;
        match self.records {
            Some(1) => f.write_str("1 record")?,
            Some(records) => write!(f, "{records} records")?,
            None => f.write_str("an unknown number of records")?,
        }
        write!(f, ", \"{}\", {}", self.reason, self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_loss_reads_as_a_sentence() {
        let skip = |partition, from, to| Skip { partition, from: Some(from), to, emitted: None };
        let skips = vec![skip(2, 10, 500), skip(3, 70, 0)];
        let (hop, topic, reason, at) =
            ("enricher".into(), "calls".into(), "old".into(), "2026-01-31T12:00:00Z".into());
        let accepted_loss = AcceptedLoss { hop, topic, skips, records: Some(123), reason, at };
        assert_eq!(
            accepted_loss.to_string(),
            "enricher calls[2] 10..500, [3] 70 back to 0: 123 records, \"old\", \
             2026-01-31T12:00:00Z"
        );
    }
}
