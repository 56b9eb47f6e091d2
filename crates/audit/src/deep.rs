//! `weir audit --deep`: recomputes everything from the topics and targets, without trusting any
//! counter.

use crate::Result;
use crate::counts::{REPLAY, enricher};
use crate::format::grouped;
use crate::identity;
use crate::lineage::{self, Disowned, EmittedRecord, EmittedTo, PartitionLineage};
use crate::offset_set::ranges;
use crate::verdict::Verdict;
use std::collections::BTreeMap;
use weir_kafka::replay;
use weir_model::lineage::{Lineage, Row};
use weir_model::pipeline::Pipeline;
use weir_model::progress::Progress;
use weir_model::protocol::{Offset, Partition};

/// Every contradiction between the topics and targets and the counts of `verdict`; empty if there
/// is none.
pub async fn findings(pipeline: &Pipeline, verdict: &Verdict) -> Result<Vec<String>> {
    let disowned = disowned(pipeline).await?;
    let (lineages, mut findings) = tokio::task::block_in_place(|| -> Result<_> {
        let lineages = lineage::read(pipeline, &verdict.accepted, &disowned)?;
        let mut findings = follow_all(pipeline, &lineages)?;
        findings.extend(foreign(pipeline, &lineages));
        findings.extend(from_source(pipeline, verdict, &lineages));
        replays(pipeline, verdict, &mut findings)?;
        Ok((lineages, findings))
    })?;
    for sink in &pipeline.sinks {
        findings.extend(identity::findings(pipeline, sink, &lineages).await?);
    }
    Ok(findings)
}

/// What [`findings`] cannot see.
pub fn limits(pipeline: &Pipeline) -> Vec<String> {
    let merged = pipeline.sinks.iter().filter(|sink| !sink.target.keeps_every_record());
    let limit = |name: &str| {
        format!(
            "{name}: that rows are missing is not seen where they are merged by key: one row \
             stands for many records"
        )
    };
    merged.map(|sink| limit(&sink.name)).collect()
}

/// Records of the output that did not come through the pipeline and that every sink has made a dead
/// letter. They are handled: the verdict counts them apart.
pub(crate) async fn disowned(pipeline: &Pipeline) -> Result<Disowned> {
    let mut by_all: Option<Disowned> = None;
    for sink in &pipeline.sinks {
        let dead_letters = weir_store::reader::open(pipeline, sink)?.dead_letters().await?;
        let own = Disowned::by(&pipeline.output.topic, dead_letters);
        match &mut by_all {
            Some(by_all) => by_all.retain(&own),
            None => by_all = Some(own),
        }
    }
    Ok(by_all.unwrap_or_default())
}

/// Records of the output and of the dead letters that the enricher did not write, and that are not
/// handled.
fn foreign(pipeline: &Pipeline, lineages: &BTreeMap<Partition, PartitionLineage>) -> Vec<String> {
    let mut findings = Vec::new();
    for (partition, lineage) in lineages {
        for (topic, emitted_to) in [
            (&pipeline.output.topic, EmittedTo::Output),
            (&pipeline.dead_letters.topic, EmittedTo::DeadLetters),
        ] {
            let own = lineage.foreign.iter().filter(|(to, _)| *to == emitted_to);
            let offsets = ranges(own.map(|(_, offset)| *offset), MAX_REPORTED);
            if !offsets.is_empty() {
                findings.push(format!(
                    "{topic}[{partition}]: records that did not come through the enricher, at \
                     offset {offsets}"
                ));
            }
        }
    }
    findings
}

/// The dead letters of the producer.
fn from_source(
    pipeline: &Pipeline,
    verdict: &Verdict,
    lineages: &BTreeMap<Partition, PartitionLineage>,
) -> Option<String> {
    let found: u64 = lineages.values().map(|lineage| lineage.num_from_source).sum();
    let counted = verdict.hops.iter().find(|hop| hop.name == "producer")?.counters.dead;
    let gone = lineages.values().any(|lineage| lineage.incomplete) && found < counted;
    (found != counted && !gone).then(|| {
        format!(
            "{}: {} dead letters of the producer found, {} in the counts",
            pipeline.dead_letters.topic,
            grouped(found),
            grouped(counted)
        )
    })
}

/// There must be one mark for each replayed record.
fn replays(pipeline: &Pipeline, verdict: &Verdict, findings: &mut Vec<String>) -> Result<()> {
    let marks = replay::marks(pipeline)?.len() as u64;
    let counted =
        verdict.hops.iter().find(|hop| hop.name == REPLAY).map_or(0, |hop| hop.counters.written);
    if marks != counted {
        findings.push(format!(
            "{} dead letters are marked as replayed, {} in the counts",
            grouped(marks),
            grouped(counted)
        ));
    }
    Ok(())
}

/// Follows the lineage of every partition through output and dead letters.
fn follow_all(
    pipeline: &Pipeline,
    lineages: &BTreeMap<Partition, PartitionLineage>,
) -> Result<Vec<String>> {
    let (empty, mut findings) = (PartitionLineage::default(), Vec::new());
    for (partition, (_, progress)) in enricher(pipeline)? {
        let emitted = lineages.get(&partition).unwrap_or(&empty);
        follow(partition, emitted, &progress, &mut findings);
    }
    Ok(findings)
}

/// The maximum number of records out of order that are reported individually.
pub(crate) const MAX_REPORTED: usize = 5;

/// Compares the lineage of one partition, and the totals that follow from it, with the counts that
/// the enricher committed.
fn follow(
    partition: Partition,
    emitted: &PartitionLineage,
    counts: &Progress,
    findings: &mut Vec<String>,
) {
    let continuity = emitted.check();
    findings.extend(
        continuity
            .broken
            .iter()
            .take(MAX_REPORTED)
            .map(|(record, previous)| broken(partition, record, *previous)),
    );
    if continuity.broken.len() > MAX_REPORTED {
        findings.push(format!(
            "partition {partition}: {} more records out of order",
            grouped((continuity.broken.len() - MAX_REPORTED) as u64)
        ));
    }
    let counted = [
        ("written", emitted.count(EmittedTo::Output), counts.counters.written),
        ("dead", emitted.count(EmittedTo::DeadLetters), counts.counters.dead),
        (
            "filtered",
            continuity.filtered.saturating_add(counts.filtered_since),
            counts.counters.filtered,
        ),
        ("unnested", continuity.unnested, counts.counters.unnested),
    ];
    for (what, found, counted) in counted {
        // Records that retention removed cannot be counted.
        if found > counted || (found < counted && !emitted.incomplete) {
            findings.push(format!(
                "partition {partition}: {} records {what} in the topics, {} in the counts",
                grouped(found),
                grouped(counted)
            ));
        }
    }
    if let Some(end) = continuity.end.filter(|end| *end != counts.last.unwrap_or(-1)) {
        findings.push(format!(
            "partition {partition}: the lineage ends at input record {end}, the counts at {:?}",
            counts.last
        ));
    }
}

fn broken(partition: Partition, record: &EmittedRecord, previous: Offset) -> String {
    let Lineage { source, previous: named, row: Row { index, count }, .. } = record.lineage;
    let written_to =
        format!("{:?}[{partition}]@{}", record.emitted_to, record.offset).to_lowercase();
    match source == previous {
        true if count > 1 => format!(
            "partition {partition}: {written_to}, row {} of the {count} of input record {source}, \
             does not follow the row before it",
            index.saturating_add(1)
        ),
        true => format!(
            "partition {partition}: input record {source} was emitted twice, again as {written_to}"
        ),
        false => format!(
            "partition {partition}: {written_to} names input record {named} as its predecessor, \
             but its predecessor is {previous}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::progress::Counters;

    fn record(source: i64, previous: i64, filtered: u64) -> EmittedRecord {
        EmittedRecord {
            lineage: Lineage::new(source, previous, filtered),
            emitted_to: EmittedTo::Output,
            offset: source,
        }
    }

    fn counts(written: u64, filtered: u64, last: i64) -> Progress {
        let read = written + filtered;
        Progress {
            counters: Counters { read, written, filtered, ..Counters::default() },
            last: Some(last),
            ..Progress::default()
        }
    }

    fn found(records: Vec<EmittedRecord>, counts: Progress) -> Vec<String> {
        let mut findings = Vec::new();
        follow(0, &PartitionLineage::of(records), &counts, &mut findings);
        findings
    }

    #[test]
    fn an_unbroken_lineage_with_offset_gaps_is_clean() {
        assert_eq!(
            found(vec![record(0, -1, 0), record(4, 0, 0), record(9, 4, 1)], counts(3, 1, 9)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_missing_record_is_found_even_if_the_counts_agree() {
        let findings = found(vec![record(0, -1, 0), record(9, 4, 0)], counts(2, 0, 9));
        assert!(
            findings[0]
                .contains("names input record 4 as its predecessor, but its predecessor is 0"),
            "{findings:?}"
        );
    }

    #[test]
    fn a_record_emitted_twice_is_found() {
        let findings =
            found(vec![record(0, -1, 0), record(1, 0, 0), record(1, 0, 0)], counts(3, 0, 1));
        assert!(findings[0].contains("emitted twice"), "{findings:?}");
    }

    #[test]
    fn counts_above_the_content_of_the_topics_are_found() {
        assert!(
            found(vec![record(0, -1, 0)], counts(2, 0, 0))[0]
                .contains("1 records written in the topics, 2 in the counts")
        );
    }
}
