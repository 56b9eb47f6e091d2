//! The ends of the lineage: where each reader stands must be where its lineage says it is. Sums can
//! agree although records are missing, when as many others came in.

use crate::Result;
use crate::counts::{Positions, RecordCounts};
use crate::format::grouped;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_kafka::reader::{Span, scan};
use weir_kafka::{ReceivedDeadLetter as DeadLetter, Record, admin};
use weir_model::fault::Stage;
use weir_model::lineage::Lineage;
use weir_model::pipeline::Pipeline;
use weir_model::protocol::{Offset, Partition};

/// Positions that contradict the lineage. Partitions in which a loss was accepted are left out:
/// their positions were moved on purpose.
pub(crate) fn findings(pipeline: &Pipeline, counts: &RecordCounts) -> Result<Vec<String>> {
    let mut findings = emitted_last(pipeline, counts)?;
    findings.extend(filtered_since(pipeline, counts)?);
    for sink in &pipeline.sinks {
        if let Some(positions) = counts.sink(&sink.name) {
            findings.extend(read_last(pipeline, &sink.name, positions, counts)?);
        }
    }
    Ok(findings)
}

/// Between the record emitted last and the enricher's position lie the filtered ones and no other.
fn filtered_since(pipeline: &Pipeline, counts: &RecordCounts) -> Result<Vec<String>> {
    let topic = &pipeline.input.topic;
    let watermarks = admin::describe(&pipeline.kafka, topic)?.unwrap_or_default();
    let mut spans = Vec::new();
    for log in &watermarks {
        let Some((Some(next), progress)) = counts.enricher().get(&log.partition) else { continue };
        let from = progress.last.map_or(0, |last| last.saturating_add(1));
        if from >= log.first && *next <= log.end && !counts.moved(log.partition) {
            spans.push(Span { partition: log.partition, from: Some(from), until: Some(*next) });
        }
    }
    let mut found: BTreeMap<Partition, u64> = spans.iter().map(|s| (s.partition, 0)).collect();
    scan(&pipeline.kafka, topic, &spans, |record| {
        *found.entry(record.partition()).or_default() += 1;
        ControlFlow::Continue(())
    })?;
    let wrong = found.into_iter().filter_map(|(partition, found)| {
        let (next, progress) = counts.enricher().get(&partition)?;
        (found != progress.filtered_since).then(|| {
            format!(
                "enricher {topic}[{partition}]: {} records lie between the one emitted last ({}) \
                 and the position {}, the counts say that {} were filtered there",
                grouped(found),
                shown(progress.last),
                shown(*next),
                grouped(progress.filtered_since)
            )
        })
    });
    Ok(wrong.collect())
}

/// The last record in output and dead letters is the one that the enricher committed as its last.
fn emitted_last(pipeline: &Pipeline, counts: &RecordCounts) -> Result<Vec<String>> {
    let whole = |topic: &str| -> Result<Vec<_>> {
        let watermarks = admin::describe(&pipeline.kafka, topic)?.unwrap_or_default();
        Ok(watermarks.into_iter().map(|log| (log.partition, log.first, log.end)).collect())
    };
    let (output, dead_letters) = (&pipeline.output.topic, &pipeline.dead_letters.topic);
    let mut ends = last_sources(pipeline, output, whole(output)?)?;
    for (partition, source) in last_sources(pipeline, dead_letters, whole(dead_letters)?)? {
        let end = ends.entry(partition).or_insert(source);
        *end = source.max(*end);
    }
    // What moved in the meantime has another end by now.
    let later = crate::counts::enricher(pipeline)?;
    let wrong = ends.into_iter().filter_map(|(partition, end)| {
        let before = counts.enricher().get(&partition)?;
        let still = later.get(&partition) == Some(before) && !counts.moved(partition);
        (still && before.1.last != Some(end)).then(|| {
            format!(
                "enricher {}[{partition}]: the lineage ends at input record {end}, the position \
                 says {}",
                pipeline.input.topic,
                shown(before.1.last)
            )
        })
    });
    Ok(wrong.collect())
}

/// The last record in front of a sink's position is the one that the sink committed as its last.
fn read_last(
    pipeline: &Pipeline,
    sink: &str,
    positions: &Positions,
    counts: &RecordCounts,
) -> Result<Vec<String>> {
    let topic = &pipeline.output.topic;
    let watermarks = admin::describe(&pipeline.kafka, topic)?.unwrap_or_default();
    let read = watermarks.into_iter().filter_map(|log| {
        let next = positions.get(&log.partition)?.0?;
        (next <= log.end && !counts.moved(log.partition)).then_some((
            log.partition,
            log.first,
            next,
        ))
    });
    let ends = last_sources(pipeline, topic, read.collect())?;
    let wrong = ends.into_iter().filter_map(|(partition, end)| {
        let (next, progress) = positions.get(&partition)?;
        (progress.last != Some(end)).then(|| {
            format!(
                "{sink} {topic}[{partition}]: the record in front of the position {} came from \
                 input record {end}, the position says {}",
                shown(*next),
                shown(progress.last)
            )
        })
    });
    Ok(wrong.collect())
}

/// The highest source offset among the last records with a lineage in each span `(partition, first,
/// end)`, since a record may be in the topic a second time; none where there is no such record. Read
/// backwards in growing steps: markers take offsets too.
fn last_sources(
    pipeline: &Pipeline,
    topic: &str,
    mut spans: Vec<(Partition, Offset, Offset)>,
) -> Result<BTreeMap<Partition, Offset>> {
    let mut found: BTreeMap<Partition, Offset> = BTreeMap::new();
    let mut width = 64;
    while !spans.is_empty() {
        let from = |(_, first, end): &(Partition, Offset, Offset)| (end - width).max(*first);
        let sought: Vec<Span> = spans
            .iter()
            .map(|span| Span { partition: span.0, from: Some(from(span)), until: Some(span.2) })
            .collect();
        scan(&pipeline.kafka, topic, &sought, |record| {
            if let Some(source) = emitted_from(record, topic == pipeline.dead_letters.topic) {
                let end = found.entry(record.partition()).or_insert(source);
                *end = source.max(*end);
            }
            ControlFlow::Continue(())
        })?;
        spans.retain(|span| !found.contains_key(&span.0) && from(span) > span.1);
        width *= 64;
    }
    Ok(found)
}

fn emitted_from(record: Record<'_>, dead_letter: bool) -> Option<Offset> {
    let lineage = record.lineage().filter(Lineage::is_possible)?;
    let by_producer = dead_letter && DeadLetter::read(record)?.stage == Stage::Source;
    (!by_producer).then_some(lineage.source)
}

fn shown(offset: Option<Offset>) -> String {
    offset.map_or("none".into(), |offset| offset.to_string())
}
