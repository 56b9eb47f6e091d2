//! One dead letter, wherever it is stored.

use std::sync::Arc;
use weir_kafka::Record;
use weir_kafka::replay::{self, Mark, Marks};
use weir_model::coordinates::RecordCoordinates;
use weir_model::fault::Stage;
use weir_model::pipeline::Pipeline;
use weir_model::protocol::Partition;
use weir_store::reader::StoredDeadLetter;

/// Where a dead letter lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
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

/// What a dead letter says, without the record's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub home: Home,
    pub stage: Stage,
    pub reason: String,
    pub detail: String,
    /// The record of the input topic that it began as, or the place in the source of what never was
    /// one. A sink does not know it of a record without lineage.
    pub origin: Option<RecordCoordinates>,
    /// The record's Kafka timestamp in milliseconds since 1970; of what never was a record, the
    /// dead letter's own.
    pub time_ms: i64,
    /// The record's key, where the dead letter holds no more than it and a replay has to compare
    /// it.
    pub key: Option<Vec<u8>>,
    pub schema_id: Option<u32>,
    /// The dead letter holds only the beginning of the record.
    pub cut: bool,
    /// How often the record came back before; a sink's dead letter does not tell.
    pub times: u32,
    pub column: Option<String>,
    /// The error code of the target.
    pub code: Option<String>,
}

impl DeadLetter {
    /// The partition of the input topic, of the source for what never was a record.
    pub fn partition(&self) -> Partition {
        match (&self.origin, &self.home) {
            (Some(origin), _) => origin.partition,
            (None, Home::Topic(coordinates) | Home::Table { at: coordinates, .. }) => {
                coordinates.partition
            }
        }
    }

    /// The coordinates that people see and type.
    pub fn coordinates(&self) -> &RecordCoordinates {
        match (&self.origin, &self.home) {
            (Some(origin), _) => origin,
            (None, Home::Topic(coordinates) | Home::Table { at: coordinates, .. }) => coordinates,
        }
    }

    /// The sink that refused the record.
    pub fn sink(&self) -> Option<&str> {
        match &self.home {
            Home::Topic(_) => None,
            Home::Table { sink, .. } => Some(sink),
        }
    }

    /// The name of its record in the input topic, for what was one.
    pub fn mark(&self) -> Option<Mark> {
        let origin = self.origin.as_ref().filter(|_| self.stage != Stage::Source)?;
        Some(Mark {
            partition: origin.partition,
            offset: origin.offset,
            timestamp_ms: self.time_ms,
        })
    }

    /// Whether its record came back already.
    pub fn is_marked(&self, pipeline: &Pipeline, marks: &Marks) -> bool {
        let own = self.origin.as_ref().is_some_and(|origin| origin.topic == pipeline.input.topic);
        own && self.mark().is_some_and(|mark| marks.contains(&mark))
    }

    /// A record of the dead-letter topic; `None` when it is not a dead letter of weir's.
    pub(crate) fn of_record(topic: &str, record: Record<'_>) -> Option<DeadLetter> {
        let dead_letter = weir_kafka::DeadLetter::read(record)?;
        Some(DeadLetter {
            home: Home::Topic(RecordCoordinates {
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
            cut: dead_letter.truncated.is_some(),
            times: replay::times(weir_kafka::DeadLetter::original_headers(record)),
            column: None,
            code: None,
        })
    }

    /// A row of a sink's dead letters.
    pub(crate) fn of_row(input: &str, sink: &Arc<str>, row: StoredDeadLetter) -> DeadLetter {
        DeadLetter {
            home: Home::Table { sink: sink.clone(), id: row.id, at: row.coordinates.clone() },
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
            cut: false,
            times: 0,
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
            home: Home::Topic(record_of("calls.dead-letters")),
            stage,
            reason: reason.into(),
            detail: String::new(),
            origin: Some(record_of("calls")),
            time_ms: 5,
            key: None,
            schema_id: None,
            cut: false,
            times: 0,
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
            home: Home::Table { sink: sink.into(), id: 1, at },
            origin,
            ..of_topic(Stage::Sink, "value_too_long", 0)
        }
    }
}
