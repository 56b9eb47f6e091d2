//! The producers' positions: the compacted topic `weir.positions`, written in the same transaction
//! as the records that they belong to.

use crate::error::{Error, Result};
use crate::reader::{Span, scan};
use crate::transactional_producer::{Outgoing, TransactionalProducer};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_model::pipeline::Kafka;
use weir_model::progress::Progress;
use weir_model::protocol::Partition;

/// The topic.
pub const TOPIC: &str = "weir.positions";
/// Its fixed number of partitions: source partition `sp` is stored in partition `sp mod 16`.
pub const PARTITIONS: i32 = 16;

/// The position of a source partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Where reading continues; its format depends on the source.
    pub position: serde_json::Value,
    /// The counts up to there.
    pub progress: Progress,
}

/// The partition of the topic that stores the position of a source partition.
pub fn partition(source_partition: u32) -> Partition {
    (source_partition % PARTITIONS as u32) as Partition
}

/// The record's key.
pub fn key(pipeline: &str, source: &str, source_partition: u32) -> String {
    format!("{pipeline}/{source}/{source_partition}")
}

/// Adds a position to the producer's transaction.
pub fn write(
    producer: &mut TransactionalProducer,
    pipeline: &str,
    source: &str,
    source_partition: u32,
    position: &Position,
) -> Result<()> {
    let value = serde_json::to_vec(position)
        .map_err(|e| Error::waiting("writing a position", e.to_string()))?;
    producer.send(&Outgoing {
        topic: TOPIC,
        partition: Some(partition(source_partition)),
        key: Some(key(pipeline, source, source_partition).as_bytes()),
        value: Some(&value),
        timestamp_ms: None,
        headers: &[],
    })
}

/// Reads the positions of the given source partitions; those without an entry were never started.
/// Call it after the producer that writes them was opened, so that nothing can still arrive. Reads
/// to the real end of the log, behind transactions of other pipelines that are open.
pub fn read(
    kafka: &Kafka,
    pipeline: &str,
    source: &str,
    source_partitions: &[u32],
) -> Result<BTreeMap<u32, Position>> {
    let mut query = PositionQuery::new(pipeline, source, source_partitions);
    each(kafka, query.partitions(), |key, value| query.take(key, value))?;
    Ok(query.found)
}

/// Shows key and value of every record in these partitions of the topic to `visit`. Whatever
/// `visit` cannot make sense of, weir did not write: [`Error::Foreign`].
pub(crate) fn each(
    kafka: &Kafka,
    mut partitions: Vec<Partition>,
    mut visit: impl FnMut(&str, Option<&[u8]>) -> serde_json::Result<()>,
) -> Result<()> {
    partitions.sort_unstable();
    partitions.dedup();
    let spans: Vec<Span> = partitions.into_iter().map(Span::all).collect();
    let mut foreign = None;
    scan(kafka, TOPIC, &spans, |record| {
        let Some(key) = record.key().and_then(|key| std::str::from_utf8(key).ok()) else {
            return ControlFlow::Continue(());
        };
        let Err(error) = visit(key, record.value()) else { return ControlFlow::Continue(()) };
        let (partition, offset) = (record.partition(), record.offset());
        foreign = Some(Error::Foreign {
            topic: TOPIC.into(),
            partition,
            offset,
            what: error.to_string(),
        });
        ControlFlow::Break(())
    })?;
    foreign.map_or(Ok(()), Err)
}

/// The positions of one source, while the topic is read.
pub(crate) struct PositionQuery {
    source_partitions: BTreeMap<String, u32>,
    pub(crate) found: BTreeMap<u32, Position>,
}

impl PositionQuery {
    pub(crate) fn new(pipeline: &str, source: &str, source_partitions: &[u32]) -> PositionQuery {
        let source_partitions =
            source_partitions.iter().map(|sp| (key(pipeline, source, *sp), *sp)).collect();
        PositionQuery { source_partitions, found: BTreeMap::new() }
    }

    /// The partitions in which they are stored.
    pub(crate) fn partitions(&self) -> Vec<Partition> {
        self.source_partitions.values().map(|sp| partition(*sp)).collect()
    }

    pub(crate) fn take(&mut self, key: &str, value: Option<&[u8]>) -> serde_json::Result<()> {
        if let Some(source_partition) = self.source_partitions.get(key) {
            match value {
                Some(value) => {
                    drop(self.found.insert(*source_partition, serde_json::from_slice(value)?))
                }
                None => drop(self.found.remove(source_partition)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_partitions_spread_over_the_position_store() {
        assert_eq!((partition(0), partition(15), partition(16), partition(33)), (0, 15, 0, 1));
        assert_eq!(key("telecom", "synthetic", 3), "telecom/synthetic/3");
    }

    #[test]
    fn a_position_keeps_the_form_the_source_gave_it() {
        let position = Position {
            position: serde_json::json!({"file": "a.csv", "row": 7}),
            progress: Progress::default(),
        };
        let text = serde_json::to_string(&position).unwrap();
        assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), position);
    }
}
