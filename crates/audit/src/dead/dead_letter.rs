//! One dead letter, wherever it is stored.

use std::sync::Arc;
use weir_kafka::Record;
use weir_kafka::replay::{self, Mark, Marks};
use weir_model::coordinates::RecordCoordinates;
use weir_model::fault::Stage;
use weir_model::pipeline::Pipeline;
use weir_model::protocol::Partition;
use weir_store::reader::StoredDeadLetter;

/// Where a dead letter is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// In the dead-letter topic.
    Topic(RecordCoordinates),
    /// In `weir.dead_letters` of a sink's database.
    Table {
        sink: Arc<str>,
        id: i64,
        /// The record that the sink read.
        at: RecordCoordinates,
    },
}

/// A dead letter without the record's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub location: Location,
    pub stage: Stage,
    pub reason: String,
    pub detail: String,
    /// The coordinates of its input record, or the position in the source of an item that never
    /// became a record. `None` for a record without lineage that a sink refused.
    pub origin: Option<RecordCoordinates>,
    /// The record's Kafka timestamp in milliseconds since 1970; the dead letter's own timestamp if
    /// the item never became a record.
    pub time_ms: i64,
    /// The record's key, if the dead letter does not contain the whole record and a replay has to
    /// compare the key.
    pub key: Option<Vec<u8>>,
    pub schema_id: Option<u32>,
    /// The dead letter contains only the beginning of the record.
    pub truncated: bool,
    /// How often the record was replayed before; 0 for a sink's dead letter, which does not contain
    /// it.
    pub num_replays: u32,
    pub column: Option<String>,
    /// The error code of the target.
    pub code: Option<String>,
}

impl DeadLetter {
    /// The partition of the input topic; of the source for an item that never became a record.
    pub fn partition(&self) -> Partition {
        match (&self.origin, &self.location) {
            (Some(origin), _) => origin.partition,
            (None, Location::Topic(coordinates) | Location::Table { at: coordinates, .. }) => {
                coordinates.partition
            }
        }
    }

    /// The coordinates that users see and type.
    pub fn coordinates(&self) -> &RecordCoordinates {
        match (&self.origin, &self.location) {
            (Some(origin), _) => origin,
            (None, Location::Topic(coordinates) | Location::Table { at: coordinates, .. }) => {
                coordinates
            }
        }
    }

    /// The sink that refused the record.
    pub fn sink(&self) -> Option<&str> {
        match &self.location {
            Location::Topic(_) => None,
            Location::Table { sink, .. } => Some(sink),
        }
    }

    /// The mark of its input record; `None` for an item that never became a record.
    pub fn mark(&self) -> Option<Mark> {
        let origin = self.origin.as_ref().filter(|_| self.stage != Stage::Source)?;
        Some(Mark {
            partition: origin.partition,
            offset: origin.offset,
            timestamp_ms: self.time_ms,
        })
    }

    /// Whether its record was replayed already.
    pub fn is_marked(&self, pipeline: &Pipeline, marks: &Marks) -> bool {
        let own = self.origin.as_ref().is_some_and(|origin| origin.topic == pipeline.input.topic);
        own && self.mark().is_some_and(|mark| marks.contains(&mark))
    }

    /// A record of the dead-letter topic; `None` if weir did not write it.
    pub(crate) fn of_record(topic: &str, record: Record<'_>) -> Option<DeadLetter> {
        let dead_letter = weir_kafka::ReceivedDeadLetter::read(record)?;
        Some(DeadLetter {
            location: Location::Topic(RecordCoordinates {
                topic: topic.into(),
                partition: record.partition(),
                offset: record.offset(),
            }),
            stage: dead_letter.stage,
            reason: dead_letter.reason,
            detail: dead_letter.detail,
            origin: Some(RecordCoordinates {
                topic: dead_letter.topic,
                partition: dead_letter.partition,
                offset: dead_letter.offset,
            }),
            time_ms: if dead_letter.timestamp_ms >= 0 {
                dead_letter.timestamp_ms
            } else {
                record.timestamp_ms()
            },
            key: None,
            schema_id: dead_letter.schema_id,
            truncated: dead_letter.truncated.is_some(),
            num_replays: replay::times(weir_kafka::ReceivedDeadLetter::original_headers(record)),
            column: None,
            code: None,
        })
    }

    /// A row of a sink's dead letters.
    pub(crate) fn of_row(input: &str, sink: &Arc<str>, row: StoredDeadLetter) -> DeadLetter {
        DeadLetter {
            location: Location::Table {
                sink: sink.clone(),
                id: row.id,
                at: row.coordinates.clone(),
            },
            stage: row.fault.stage,
            reason: row.fault.reason,
            detail: row.fault.detail,
            origin: row.source.map(|offset| RecordCoordinates {
                topic: input.into(),
                partition: row.coordinates.partition,
                offset,
            }),
            time_ms: row.timestamp_ms.unwrap_or(-1),
            key: row.key,
            schema_id: row.schema_id,
            truncated: false,
            num_replays: 0,
            column: row.column,
            code: row.code,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A dead letter of the enricher about record 0 of the input topic `calls`.
    pub(crate) fn of_topic(stage: Stage, reason: &str, offset: i64) -> DeadLetter {
        let record_of =
            |topic: &str| RecordCoordinates { topic: topic.into(), partition: 0, offset };
        DeadLetter {
            location: Location::Topic(record_of("calls.dead-letters")),
            stage,
            reason: reason.into(),
            detail: String::new(),
            origin: Some(record_of("calls")),
            time_ms: 5,
            key: None,
            schema_id: None,
            truncated: false,
            num_replays: 0,
            column: None,
            code: None,
        }
    }

    /// A dead letter of a sink about the record that began as this one of `calls`.
    pub(crate) fn of_sink(sink: &str, source: Option<i64>) -> DeadLetter {
        let at = RecordCoordinates { topic: "calls-out".into(), partition: 0, offset: 100 };
        let origin =
            source.map(|offset| RecordCoordinates { topic: "calls".into(), partition: 0, offset });
        DeadLetter {
            location: Location::Table { sink: sink.into(), id: 1, at },
            origin,
            ..of_topic(Stage::Sink, "value_too_long", 0)
        }
    }
}
