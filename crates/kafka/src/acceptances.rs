//! Losses that an operator accepted, on record in the compacted topic `weir.positions` under `pipeline/skipped/hop/partition@time`,
//! written in the transaction that moves the group's offsets.

use crate::error::{Error, Result};
use crate::positions::TOPIC;
use crate::reader::{Span, scan};
use crate::unit::{Outgoing, Unit};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_model::acceptance::Acceptance;
use weir_model::pipeline::{Kafka, Pipeline};
use weir_model::protocol::{Offset, Partition};

/// They are few: one partition keeps them all.
const PARTITION: Partition = 0;

fn prefix(pipeline: &str) -> String {
    format!("{pipeline}/skipped/")
}

fn key(pipeline: &str, acceptance: &Acceptance) -> String {
    let first = acceptance.skips.first().map_or(0, |skip| skip.partition);
    format!("{}{}/{first}@{}", prefix(pipeline), acceptance.hop, acceptance.at)
}

/// Adds the record of an accepted loss to the unit's transaction.
pub fn write(unit: &mut Unit, pipeline: &str, acceptance: &Acceptance) -> Result<()> {
    let value = serde_json::to_vec(acceptance).map_err(|e| Error::waiting("writing an accepted loss", e.to_string()))?;
    unit.send(&Outgoing {
        topic: TOPIC,
        partition: Some(PARTITION),
        key: Some(key(pipeline, acceptance).as_bytes()),
        value: Some(&value),
        timestamp_ms: None,
        headers: &[],
    })
}

/// All accepted losses of a pipeline, in the order of their keys: by hop, partition and time. Reads to the real end of the log.
pub fn read(kafka: &Kafka, pipeline: &str) -> Result<Vec<Acceptance>> {
    let mut found: BTreeMap<String, Acceptance> = BTreeMap::new();
    if crate::admin::partitions(kafka, TOPIC)?.is_none() {
        return Ok(Vec::new());
    }
    let prefix = prefix(pipeline);
    let mut foreign = None;
    scan(kafka, TOPIC, &[Span::all(PARTITION)], |record| {
        let key = record.key().and_then(|key| std::str::from_utf8(key).ok()).filter(|key| key.starts_with(&prefix));
        let Some(key) = key else { return ControlFlow::Continue(()) };
        match record.value().map(serde_json::from_slice) {
            None => drop(found.remove(key)),
            Some(Ok(acceptance)) => drop(found.insert(key.to_owned(), acceptance)),
            Some(Err(error)) => {
                let (partition, offset) = (record.partition(), record.offset());
                foreign = Some(Error::Foreign { topic: TOPIC.into(), partition, offset, what: error.to_string() });
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    foreign.map_or_else(|| Ok(found.into_values().collect()), Err)
}

/// Whether the record at `offset` of the output topic is the first that was emitted after an operator let the enricher begin anew in that
/// partition, in an input log that was truncated or created anew.
pub fn begins_anew(pipeline: &Pipeline, partition: Partition, offset: Offset) -> Result<bool> {
    let (kafka, topic) = (&pipeline.kafka, &pipeline.output.topic);
    let skips: Vec<_> = read(kafka, &pipeline.name)?.into_iter().flat_map(|acceptance| acceptance.skips).collect();
    let ends = skips
        .iter()
        .filter(|skip| skip.partition == partition && skip.restarts())
        .filter_map(|skip| skip.emitted)
        .map(|emitted| emitted.output);
    let Some(end) = ends.filter(|end| *end <= offset).max() else { return Ok(false) };
    let extents = crate::admin::describe(kafka, topic)?.unwrap_or_default();
    let first = extents.iter().find(|extent| extent.partition == partition).map_or(end, |extent| extent.first);
    let mut between = false;
    scan(kafka, topic, &[Span { partition, from: Some(end.max(first)), until: Some(offset) }], |_| {
        between = true;
        ControlFlow::Break(())
    })?;
    Ok(!between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::acceptance::Skip;

    #[test]
    fn each_act_has_a_key_of_its_own_that_no_other_kind_of_record_has() {
        let act = |at: &str| Acceptance {
            hop: "enricher".into(),
            topic: "calls".into(),
            skips: vec![Skip { partition: 2, from: Some(10), to: 500, emitted: None }],
            records: Some(1),
            reason: String::new(),
            at: at.into(),
        };
        assert_eq!(key("telecom", &act("2026-01-31T12:00:00.5Z")), "telecom/skipped/enricher/2@2026-01-31T12:00:00.5Z");
        assert_ne!(key("telecom", &act("1")), key("telecom", &act("2")));
        assert!(!crate::positions::key("telecom", "synthetic", 2).starts_with(&prefix("telecom")));
    }
}
