//! Which records a sink has written: every one that it read, once, and no other.

use crate::deep::MAX_REPORTED;
use crate::format::grouped;
use crate::lineage::{EmittedTo, PartitionLineage};
use crate::offset_set::{OffsetCounts, OffsetSet, ranges};
use crate::{FOREIGN, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use weir_kafka::reader::{Span, scan};
use weir_kafka::{Record, admin};
use weir_model::lineage::Lineage;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::progress::Counters;
use weir_model::protocol::{Offset, Partition};
use weir_store::TargetReader;
use weir_store::reader::StoredDeadLetter;

type Lineages = BTreeMap<Partition, PartitionLineage>;

/// Compares the rows and the dead letters of a sink with the output topic and with its counts.
pub(crate) async fn findings(
    pipeline: &Pipeline,
    sink: &Sink,
    lineages: &Lineages,
) -> Result<Vec<String>> {
    let target = weir_store::reader::open(pipeline, sink)?;
    let unnests = weir_transform::unnests(&pipeline.transform.sql)
        || lineages.values().any(PartitionLineage::unnested);
    let mut partitions: BTreeMap<Partition, PartitionCheck> = BTreeMap::new();
    for position in target.positions().await? {
        if position.topic == pipeline.output.topic {
            let (partition, progress) = (position.committed.partition, position.committed.progress);
            let mut check = PartitionCheck::new(lineages.get(&partition), progress.last);
            (check.counters, check.unnested) = (progress.counters, unnests);
            partitions.insert(partition, check);
        }
    }
    let mut origins = |partition, offset| partitions.entry(partition).or_default().row(offset);
    let named = target.origins(&mut origins).await?;
    let mut dead_letters = target.dead_letters().await?;
    for dead_letter in &dead_letters {
        partitions.entry(dead_letter.coordinates.partition).or_default().dead_letter(dead_letter);
    }
    let complete = sink.target.keeps_every_record();
    let mut findings = Vec::new();
    for (partition, check) in &partitions {
        let what = format!("{} {}[{partition}]", sink.name, pipeline.output.topic);
        let found = check.findings(named, complete && named).into_iter();
        findings.extend(found.map(|finding| format!("{what}: {finding}")));
    }
    if complete {
        let counted: u64 = partitions.values().map(|check| check.counters.written).sum();
        let found = target.count_rows().await?;
        if found != counted {
            findings.push(format!(
                "{}: {}: {} rows found, {} in the counts",
                sink.name,
                target.name(),
                grouped(found),
                grouped(counted)
            ));
        }
    }
    let damages = target.damages().await?.into_iter();
    findings.extend(damages.map(|damage| format!("{}: {damage}", sink.name)));
    // Where offsets of the output started over, a dead letter may name a record of the old log.
    let restarted: BTreeSet<Partition> = target
        .accepted_losses()
        .await?
        .iter()
        .flat_map(|accepted| &accepted.skips)
        .filter(|skip| skip.restarts())
        .map(|skip| skip.partition)
        .collect();
    dead_letters.retain(|found| !restarted.contains(&found.coordinates.partition));
    findings.extend(contents(pipeline, sink, &*target, &dead_letters).await?);
    Ok(findings)
}

/// One partition of a sink.
#[derive(Debug, Default)]
struct PartitionCheck {
    counters: Counters,
    /// The records that the sink has read, by their input offset, as far as the output holds them.
    expected: OffsetCounts,
    /// Its rows and dead letters, by the input offsets of their records.
    seen: OffsetCounts,
    rows: u64,
    dead: u64,
    /// Offsets before this one are no longer in the output.
    from: Offset,
    /// Whether several rows were made of a record.
    unnested: bool,
    /// Input offsets started over: an offset does not name one record.
    ambiguous: bool,
    /// Output offsets of records that did not come through the enricher.
    foreign: OffsetSet,
    /// Dead letters without a lineage, by their output offset.
    no_lineage: OffsetSet,
}

impl PartitionCheck {
    fn new(lineage: Option<&PartitionLineage>, last: Option<Offset>) -> PartitionCheck {
        let mut check = PartitionCheck::default();
        let Some(lineage) = lineage else { return check };
        check.ambiguous = lineage.restarted();
        for record in lineage.output().filter(|record| Some(record.lineage.source) <= last) {
            let Lineage { source, row, .. } = record.lineage;
            // One that is in the topic a second time is not a row.
            if check.expected.count(source) <= row.index {
                check.expected.add(source);
            }
        }
        if lineage.incomplete {
            let first = lineage.output().map(|record| record.lineage.source).min();
            check.from = first.unwrap_or(Offset::MAX);
        }
        let output = lineage.foreign.iter().filter(|(to, _)| *to == EmittedTo::Output);
        let disowned = lineage.disowned.iter();
        output
            .map(|(_, offset)| offset)
            .chain(disowned)
            .for_each(|offset| _ = check.foreign.insert(*offset));
        check
    }

    fn row(&mut self, source: Offset) {
        self.rows += 1;
        self.seen.add(source);
    }

    fn dead_letter(&mut self, dead_letter: &StoredDeadLetter) {
        self.dead += 1;
        match dead_letter.source {
            Some(source) if !is_foreign(dead_letter) => self.seen.add(source),
            _ => _ = self.no_lineage.insert(dead_letter.coordinates.offset),
        }
    }

    /// `named`: the rows name their input records; `complete`: each record has a row.
    fn findings(&self, named: bool, complete: bool) -> Vec<String> {
        let mut findings = Vec::new();
        let mut add = |what: &str, offsets: &mut dyn Iterator<Item = Offset>| {
            let offsets = ranges(offsets, MAX_REPORTED);
            if !offsets.is_empty() {
                findings.push(format!("{what} {offsets}"));
            }
        };
        if named && !self.ambiguous {
            let unexpected =
                |offset: &Offset| *offset >= self.from && self.expected.count(*offset) == 0;
            // How many rows a record had that is no longer in the output is not known.
            let known = |offset: &Offset| !self.unnested || self.from == 0 || *offset > self.from;
            let twice = |offset: &Offset| {
                self.seen.count(*offset) > self.expected.count(*offset).max(1) && known(offset)
            };
            add("written twice: input records", &mut self.seen.iter().filter(twice));
            add(
                "rows or dead letters that it has not read: input records",
                &mut self.seen.iter().filter(unexpected),
            );
            if complete {
                let missing =
                    |offset: &Offset| self.seen.count(*offset) < self.expected.count(*offset);
                add(
                    "neither a row nor a dead letter: input records",
                    &mut self.expected.iter().filter(missing),
                );
            }
        }
        if self.from == 0 {
            let unknown = |offset: &Offset| !self.foreign.contains(*offset);
            add(
                "dead letters without a lineage whose record is not in the topic: offsets",
                &mut self.no_lineage.iter().filter(unknown),
            );
        }
        let counted = [
            ("dead letters", self.dead, self.counters.dead, true),
            ("rows", self.rows, self.counters.written, complete),
            (
                "records read",
                self.counters.written + self.counters.dead + self.counters.filtered,
                self.counters.read,
                true,
            ),
        ];
        for (what, found, counted, compared) in counted {
            if compared && found != counted {
                findings.push(format!(
                    "{} {what} found, {} in the counts",
                    grouped(found),
                    grouped(counted)
                ));
            }
        }
        findings
    }
}

/// Compares the dead letters of a sink with the records that they were made from.
async fn contents(
    pipeline: &Pipeline,
    sink: &Sink,
    target: &dyn TargetReader,
    dead_letters: &[StoredDeadLetter],
) -> Result<Vec<String>> {
    let topic = &pipeline.output.topic;
    // A hash of each, and whether it is of the record without its lineage.
    let mut stored: HashMap<(Partition, Offset), (u64, bool)> = HashMap::new();
    for dead_letter in dead_letters.iter().filter(|found| *found.coordinates.topic == **topic) {
        let Some(content) = target.dead_letter_content(dead_letter.id).await? else { continue };
        let at = (dead_letter.coordinates.partition, dead_letter.coordinates.offset);
        let foreign = is_foreign(dead_letter);
        let source = dead_letter.source.filter(|_| !foreign);
        let hash = hash(dead_letter.key.as_deref(), content.value.as_deref(), source);
        stored.insert(at, (hash, foreign));
    }
    if stored.is_empty() {
        return Ok(Vec::new());
    }
    let mut wrong: BTreeMap<Partition, Vec<Offset>> = BTreeMap::new();
    tokio::task::block_in_place(|| -> Result<()> {
        let watermarks = admin::describe(&pipeline.kafka, topic)?.unwrap_or_default();
        let mut spans = Vec::new();
        for log in &watermarks {
            let own = stored.keys().filter(|(partition, _)| *partition == log.partition);
            let offsets = own.map(|(_, offset)| *offset).filter(|offset| *offset >= log.first);
            if let (Some(first), Some(last)) = (offsets.clone().min(), offsets.max()) {
                let (from, until) = (Some(first), Some(last.saturating_add(1)));
                spans.push(Span { partition: log.partition, from, until });
            }
        }
        scan(&pipeline.kafka, topic, &spans, |record| {
            let at = (record.partition(), record.offset());
            let differs = |(hash, foreign)| hash != of_record(record, foreign);
            if stored.remove(&at).is_some_and(differs) {
                wrong.entry(at.0).or_default().push(at.1);
            }
            ControlFlow::Continue(())
        })?;
        // What is left names records that are not there, unless retention took them.
        let first = |partition| watermarks.iter().find(|log| log.partition == partition);
        for (partition, offset) in stored.into_keys() {
            if first(partition).is_none_or(|log| offset >= log.first) {
                wrong.entry(partition).or_default().push(offset);
            }
        }
        Ok(())
    })?;
    let finding = |(partition, mut offsets): (Partition, Vec<Offset>)| {
        offsets.sort_unstable();
        format!(
            "{} {topic}[{partition}]: dead letters that differ from the record they name, at \
             offset {}",
            sink.name,
            ranges(offsets.into_iter(), MAX_REPORTED)
        )
    };
    Ok(wrong.into_iter().map(finding).collect())
}

fn is_foreign(dead_letter: &StoredDeadLetter) -> bool {
    FOREIGN.contains(&dead_letter.fault.reason.as_str())
}

fn of_record(record: Record<'_>, foreign: bool) -> u64 {
    let lineage = record.lineage().filter(|_| !foreign);
    hash(record.key(), record.value(), lineage.map(|lineage| lineage.source))
}

fn hash(key: Option<&[u8]>, value: Option<&[u8]>, source: Option<Offset>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, value, source).hash(&mut hasher);
    hasher.finish()
}
