//! Everything that `weir.positions` contains for a pipeline, in one read.

use crate::positions::Position;
use crate::reader::{Span, scan};
use crate::{Result, accepted_loss, admin, positions};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::pipeline::{Kafka, Pipeline};
use weir_model::protocol::{Offset, Partition};

/// The positions and accepted losses of a pipeline.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct PositionStore {
    /// The positions of each source's partitions, in the order in which the sources were given.
    pub positions: Vec<BTreeMap<u32, Position>>,
    /// Losses that operators accepted in the enricher's input, by partition and time.
    pub accepted: Vec<AcceptedLoss>,
}

/// Reads the positions of `sources` (name and partitions) and the accepted losses, to the real end
/// of the log; both empty when there is no such topic yet.
pub fn read(kafka: &Kafka, pipeline: &str, sources: &[(&str, &[u32])]) -> Result<PositionStore> {
    let mut queries: Vec<_> = sources
        .iter()
        .map(|(source, partitions)| positions::PositionQuery::new(pipeline, source, partitions))
        .collect();
    let mut accepted = accepted_loss::AcceptedLossQuery::new(pipeline);
    if admin::partitions(kafka, positions::TOPIC)?.is_some() {
        let kept = queries
            .iter()
            .flat_map(positions::PositionQuery::partitions)
            .chain([accepted_loss::PARTITION]);
        positions::each(kafka, kept.collect(), |key, value| {
            queries.iter_mut().try_for_each(|query| query.take(key, value))?;
            accepted.take(key, value)
        })?;
    }
    Ok(PositionStore {
        positions: queries.into_iter().map(|query| query.found).collect(),
        accepted: accepted.found(),
    })
}

/// The offsets in a partition of the output topic of the first records that were emitted after an
/// operator let the enricher start over in an input log that was truncated or recreated.
///
/// # Errors
/// The broker does not answer; ask again.
pub fn restarts(pipeline: &Pipeline, partition: Partition) -> Result<Vec<Offset>> {
    let (kafka, topic) = (&pipeline.kafka, &pipeline.output.topic);
    let skips = read(kafka, &pipeline.name, &[])?
        .accepted
        .into_iter()
        .flat_map(|accepted_loss| accepted_loss.skips)
        .filter(|skip| skip.partition == partition && skip.restarts());
    // Where the output ended at that time.
    let ends: Vec<Offset> = skips.filter_map(|skip| skip.emitted).map(|e| e.output).collect();
    if ends.is_empty() {
        return Ok(Vec::new());
    }
    let watermarks = admin::describe(kafka, topic)?.unwrap_or_default();
    let log = watermarks.iter().find(|watermarks| watermarks.partition == partition);
    let mut first = Vec::new();
    for end in ends {
        let from = log.map_or(end, |log| log.first.max(end));
        scan(kafka, topic, &[Span { partition, from: Some(from), until: None }], |record| {
            first.push(record.offset());
            ControlFlow::Break(())
        })?;
    }
    Ok(first)
}
