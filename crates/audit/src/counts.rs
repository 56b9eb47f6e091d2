//! The counts of every hop, read from where they are committed.

use crate::ends;
use crate::error::{Result, refuse};
use crate::evidence::Evidence;
use crate::format::grouped;
use crate::verdict::{self, Halt, HandedOn, Verdict};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_kafka::reader::{Span, scan};
use weir_kafka::{Record, admin, position_store, positions, proof, replay};
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::pipeline::{Pipeline, Sink, Source};
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{CommittedPosition, Offset, Partition, PartitionState, Proof};

/// Next offset (`None`: nothing was ever committed) and counts of each partition.
pub(crate) type Positions = BTreeMap<Partition, (Option<Offset>, Progress)>;

/// All counts of one pipeline, read at about the same time.
#[derive(Debug)]
pub(crate) struct RecordCounts {
    producer: Option<Counters>,
    /// Records that came back from the dead letters to the input topic.
    replay: Counters,
    enricher: Positions,
    sinks: Vec<(String, Positions)>,
    /// Of each sink, the records that came back and were older than their row.
    superseded: BTreeMap<String, u64>,
    /// Of each sink, the copies of its positions that its group holds.
    copies: BTreeMap<String, Vec<CommittedPosition>>,
    /// Sinks whose positions belong to another Kafka cluster.
    other_cluster: Vec<Halt>,
    /// Losses that operators accepted.
    accepted: Vec<AcceptedLoss>,
}

/// Reads all counts, downstream first: what a later hop has read was written before.
pub(crate) async fn read(pipeline: &Pipeline) -> Result<RecordCounts> {
    let mut sinks = Vec::new();
    let mut accepted = Vec::new();
    let cluster = tokio::task::block_in_place(|| admin::cluster_id(&pipeline.kafka))?;
    let mut other_cluster = Vec::new();
    let mut superseded = BTreeMap::new();
    let mut copies = BTreeMap::new();
    for sink in &pipeline.sinks {
        // Before the positions, which may move on.
        let copied = tokio::task::block_in_place(|| proof::copies(pipeline, &sink.name))?;
        copies.insert(sink.name.clone(), copied);
        let found = sink_positions(pipeline, sink, &cluster).await?;
        sinks.push((sink.name.clone(), found.positions));
        superseded.insert(sink.name.clone(), found.superseded);
        other_cluster.extend(found.elsewhere);
        accepted.extend(found.accepted);
    }
    tokio::task::block_in_place(|| {
        let enricher = enricher(pipeline)?;
        let Upstream { producer, replay, accepted: own } = upstream(pipeline)?;
        accepted.splice(..0, own);
        Ok(RecordCounts {
            producer,
            replay,
            enricher,
            sinks,
            superseded,
            copies,
            other_cluster,
            accepted,
        })
    })
}

impl RecordCounts {
    /// Whether each hop has read at least as many records as the one before it wrote.
    pub(crate) fn arrived(&self) -> bool {
        let enricher = total(&self.enricher);
        self.producer.is_none_or(|producer| {
            producer.written + self.replay.written <= enricher.read + self.given_up(ENRICHER)
        }) && self.sinks.iter().all(|(name, positions)| {
            total(positions).read + self.given_up(name) >= enricher.written
        })
    }

    /// Counts the unread records of the topics and compares. The pipeline may be running.
    /// `foreign`: dead letters of each sink that did not come through the pipeline.
    pub(crate) fn verdict(
        &self,
        pipeline: &Pipeline,
        foreign: &BTreeMap<String, u64>,
    ) -> Result<Verdict> {
        tokio::task::block_in_place(|| {
            let (input, output) =
                (log(pipeline, &pipeline.input.topic)?, log(pipeline, &pipeline.output.topic)?);
            let counts = |name: &str, counters, waiting| verdict::HopCounts {
                name: name.into(),
                counters,
                waiting,
                accepted: self.given_up(name),
                foreign: foreign.get(name).copied().unwrap_or(0),
            };
            let producer = self.producer.map(|counters| counts("producer", counters, None));
            let replay =
                (self.replay != Counters::default()).then(|| counts(REPLAY, self.replay, None));
            let unread: u64 = input.unread(pipeline, &self.enricher, |_| {})?.values().sum();
            let mut enricher = counts(ENRICHER, total(&self.enricher), Some(unread));
            let mut halts = self.other_cluster.clone();
            let mut found = input.committed_positions(&self.enricher);
            proof::last_read(&pipeline.kafka, &input.topic, &mut found)?;
            halts.extend(halted(ENRICHER, &input, found).into_values());
            let mut sinks = Vec::new();
            for (name, positions) in &self.sinks {
                let mut found = output.committed_positions(positions);
                if let Some(sink) = pipeline.sinks.iter().find(|sink| sink.name == *name) {
                    let target = Evidence::open(pipeline, sink)?;
                    target.mark_begun(&mut found)?;
                    proof::sink(pipeline, self.copies(name), &mut found, &target)?;
                    // A sink that has begun in the meantime has lost nothing.
                    let later = target.positions(&pipeline.output.topic)?;
                    found.retain(|state| {
                        state.proof != Proof::Lost || !later.contains(&state.committed.partition)
                    });
                }
                let halted = halted(name, &output, found);
                let mut num_foreign = 0;
                let unread = output.unread(pipeline, positions, |record| {
                    // Where the position is wrong, nothing can be said of the records after it.
                    let judged = !halted.contains_key(&record.partition());
                    num_foreign += u64::from(judged && self.is_foreign(&record, positions));
                })?;
                let mut sink = counts(name, total(positions), Some(unread.values().sum()));
                sink.foreign += num_foreign;
                sinks.push(sink);
                halts.extend(halted.into_values());
            }
            // Read after the counting: everything that was counted had been written by then.
            let later = handed(pipeline)?;
            let arrived = enricher.counters.read + unread + enricher.accepted;
            let surplus = later.produced.map_or(0, |produced| arrived.saturating_sub(produced));
            if surplus > 0 && written_once(pipeline)? {
                enricher.foreign = surplus;
            }
            let mut verdict =
                Verdict::new(&pipeline.name, producer, replay, enricher, sinks, later);
            let superseded = self.superseded.iter().filter(|(_, records)| **records > 0);
            verdict.notes.extend(superseded.map(|(name, records)| {
                format!(
                    "{name}: records that came back from the dead letters, counted as written, and \
                     were older than the row of their key, which stayed: {}",
                    grouped(*records)
                )
            }));
            verdict.accepted.clone_from(&self.accepted);
            verdict.halts = halts;
            verdict.findings = ends::findings(pipeline, self)?;
            Ok(verdict)
        })
    }

    /// Whether the enricher has read exactly what the producer and replays wrote: without records
    /// of other programs, the counts alone tell whether everything has arrived.
    pub(crate) fn exact(&self) -> bool {
        self.handed() == Some(total(&self.enricher).read + self.given_up(ENRICHER))
    }

    /// The unread records of all hops.
    pub(crate) fn num_waiting(&self, pipeline: &Pipeline) -> Result<u64> {
        tokio::task::block_in_place(|| {
            let unread = |topic: &str, positions: &Positions| -> Result<u64> {
                Ok(log(pipeline, topic)?.unread(pipeline, positions, |_| {})?.values().sum())
            };
            let mut waiting = unread(&pipeline.input.topic, &self.enricher)?;
            for (_, positions) in &self.sinks {
                waiting += unread(&pipeline.output.topic, positions)?;
            }
            Ok(waiting)
        })
    }

    /// Whether an operator moved a position of this partition, or let its offsets start over.
    pub(crate) fn moved(&self, partition: Partition) -> bool {
        let skips = self.accepted.iter().flat_map(|accepted| &accepted.skips);
        skips.into_iter().any(|skip| skip.partition == partition)
    }

    /// Records that operators gave up at a hop.
    pub(crate) fn given_up(&self, hop: &str) -> u64 {
        self.accepted.iter().filter(|a| a.hop == hop).filter_map(|a| a.records).sum()
    }

    /// The same for one partition of a sink: each accepted loss of a sink concerns one partition.
    pub(crate) fn given_up_in(&self, hop: &str, partition: Partition) -> u64 {
        let there = |a: &&AcceptedLoss| {
            a.hop == hop && a.skips.iter().any(|skip| skip.partition == partition)
        };
        self.accepted.iter().filter(there).filter_map(|a| a.records).sum()
    }

    /// Whether input offsets started over in a partition, as an operator accepted it.
    pub(crate) fn restarted(&self, partition: Partition) -> bool {
        let skips = self.accepted.iter().filter(|a| a.hop == ENRICHER).flat_map(|a| &a.skips);
        skips.filter(|skip| skip.restarts()).any(|skip| skip.partition == partition)
    }

    /// Losses that operators accepted.
    pub(crate) fn accepted(&self) -> &[AcceptedLoss] {
        &self.accepted
    }

    /// The enricher's counts.
    pub(crate) fn enricher(&self) -> &Positions {
        &self.enricher
    }

    /// A sink's counts.
    pub(crate) fn sink(&self, name: &str) -> Option<&Positions> {
        self.sinks.iter().find(|(sink, _)| sink == name).map(|(_, positions)| positions)
    }

    /// The copies of a sink's positions, which were read before the positions.
    pub(crate) fn copies(&self, name: &str) -> &[CommittedPosition] {
        self.copies.get(name).map_or(&[], Vec::as_slice)
    }

    /// Records written to the input topic by the producer and from the dead letters; `None` when
    /// other programs write to it as well.
    pub(crate) fn handed(&self) -> Option<u64> {
        self.producer.map(|producer| producer.written + self.replay.written)
    }

    /// Whether a record that a sink has not read yet did not come through the enricher, or is in the
    /// topic a second time: the sink makes it a dead letter.
    fn is_foreign(&self, record: &Record<'_>, positions: &Positions) -> bool {
        let Some(lineage) = record.lineage() else { return true };
        if self.moved(record.partition()) {
            return false;
        }
        let last = positions.get(&record.partition()).and_then(|(_, progress)| progress.last);
        let again = |last| match lineage.row.index {
            0 => lineage.source <= last,
            // The sink may have read the ones before it.
            _ => lineage.source < last,
        };
        !lineage.is_possible() || last.is_some_and(again)
    }
}

/// The positions at which a hop halts, because they are outside their log or are not where it stopped.
fn halted(hop: &str, log: &Log, found: Vec<PartitionState>) -> BTreeMap<Partition, Halt> {
    let halt = |state: PartitionState| {
        let (halt, partition) = (state.halt()?, state.committed.partition);
        let what = format!("{}[{partition}]", log.topic);
        let reason = format!("{halt}; {}", halt.remedy());
        Some((partition, Halt { hop: hop.into(), what, reason }))
    };
    found.into_iter().filter_map(halt).collect()
}

/// The name of the hop that every pipeline has.
pub const ENRICHER: &str = "enricher";
/// The name under which records that came back from the dead letters are counted.
pub const REPLAY: &str = "replay";

/// The first and the end offsets of a topic.
pub(crate) struct Log {
    topic: String,
    watermarks: Vec<admin::Watermarks>,
}

/// Reads the offsets of a topic; a topic that does not exist has no partitions.
pub(crate) fn log(pipeline: &Pipeline, topic: &str) -> Result<Log> {
    Ok(Log {
        topic: topic.into(),
        watermarks: admin::describe(&pipeline.kafka, topic)?.unwrap_or_default(),
    })
}

impl Log {
    /// The positions of a reader in it; nothing is proven yet.
    pub(crate) fn committed_positions(&self, positions: &Positions) -> Vec<PartitionState> {
        let found = self.watermarks.iter().map(|watermarks| {
            let (next, progress) =
                positions.get(&watermarks.partition).copied().unwrap_or_default();
            let committed = CommittedPosition {
                partition: watermarks.partition,
                fence: 0,
                next,
                progress,
                intact: true,
            };
            PartitionState {
                committed,
                low: watermarks.first,
                high: watermarks.end,
                proof: Proof::default(),
            }
        });
        found.collect()
    }

    /// Data records of each partition between the position and the end of the log, counted by
    /// reading them: offsets have gaps. If the log begins after the position, only the remaining
    /// records are counted. Each is shown to `visit`.
    pub(crate) fn unread(
        &self,
        pipeline: &Pipeline,
        positions: &Positions,
        mut visit: impl FnMut(Record<'_>),
    ) -> Result<BTreeMap<Partition, u64>> {
        let span = |watermarks: &admin::Watermarks| {
            let next = positions.get(&watermarks.partition).and_then(|(next, _)| *next);
            Span {
                partition: watermarks.partition,
                from: Some(next.unwrap_or(watermarks.first).max(watermarks.first)),
                until: Some(watermarks.end),
            }
        };
        let spans: Vec<Span> = self.watermarks.iter().map(span).collect();
        let mut records: BTreeMap<Partition, u64> =
            self.watermarks.iter().map(|watermarks| (watermarks.partition, 0)).collect();
        scan(&pipeline.kafka, &self.topic, &spans, |record| {
            *records.entry(record.partition()).or_default() += 1;
            visit(record);
            ControlFlow::Continue(())
        })?;
        Ok(records)
    }
}

fn total(positions: &Positions) -> Counters {
    sum(positions.values().map(|(_, progress)| progress))
}

fn sum<'a>(counts: impl Iterator<Item = &'a Progress>) -> Counters {
    counts.fold(Counters::default(), |mut sum, progress| {
        sum += progress.counters;
        sum
    })
}

/// The content of `weir.positions`.
struct Upstream {
    /// Written to the input topic by the producer, when the pipeline has one.
    producer: Option<Counters>,
    /// Written to the input topic from the dead letters.
    replay: Counters,
    /// Losses accepted in front of the enricher.
    accepted: Vec<AcceptedLoss>,
}

fn upstream(pipeline: &Pipeline) -> Result<Upstream> {
    let replayed: Vec<u32> = (0..pipeline.input.partitions.unsigned_abs()).collect();
    let produced: Vec<u32> = (0..pipeline.source.as_ref().map_or(0, Source::partitions)).collect();
    let mut sources: Vec<(&str, &[u32])> = vec![(replay::SOURCE, &replayed)];
    sources.extend(pipeline.source.as_ref().map(|source| (source.kind(), produced.as_slice())));
    let positions = position_store::read(&pipeline.kafka, &pipeline.name, &sources)?;
    let mut sums = positions
        .positions
        .iter()
        .map(|positions| sum(positions.values().map(|position| &position.progress)));
    let replay = sums.next().unwrap_or_default();
    let producer = sums.next();
    let mut accepted = positions.accepted;
    accepted.retain(|accepted_loss| {
        accepted_loss.hop == ENRICHER && accepted_loss.topic == pipeline.input.topic
    });
    Ok(Upstream { producer, replay, accepted })
}

/// Whether the input topic holds each transaction of the producer once, as far as its counts say:
/// then other records there are of other programs. A producer that begins again, or goes back,
/// counts again what it had counted. Reads the input topic.
fn written_once(pipeline: &Pipeline) -> Result<bool> {
    let Some(source) = &pipeline.source else { return Ok(false) };
    let all: Vec<u32> = (0..source.partitions()).collect();
    let counted = positions::read(&pipeline.kafka, &pipeline.name, source.kind(), &all)?;
    let counted: BTreeMap<String, u64> = counted
        .into_iter()
        .map(|(number, position)| {
            let key = positions::key(&pipeline.name, source.kind(), number);
            (key, position.progress.counters.written)
        })
        .collect();
    Ok(proof::written(pipeline)?.iter().all(|(key, said)| {
        let end = counted.get(key).copied().unwrap_or(0);
        once(said, end)
    }))
}

/// Whether transactions that begin at these counts are all different ones, of the first `end`
/// records.
fn once(said: &[Option<u64>], end: u64) -> bool {
    let mut sorted = said.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len() == said.len() && said.iter().all(|count| count.is_some_and(|count| count < end))
}

fn handed(pipeline: &Pipeline) -> Result<HandedOn> {
    let Upstream { producer, replay, .. } = upstream(pipeline)?;
    Ok(HandedOn {
        produced: producer.map(|producer| producer.written + replay.written),
        emitted: total(&enricher(pipeline)?).written,
    })
}

pub(crate) fn enricher(pipeline: &Pipeline) -> Result<Positions> {
    let (group, topic) = (pipeline.enricher_group(), &pipeline.input.topic);
    let Some(positions) = admin::committed_positions(&pipeline.kafka, &group, topic)? else {
        refuse!(
            "topic {topic} does not exist: start the producer or the enricher first, they create it"
        );
    };
    let position =
        |committed: CommittedPosition| (committed.partition, (committed.next, committed.progress));
    Ok(positions.into_iter().map(position).collect())
}

/// What a sink's target knows.
struct OfSink {
    positions: Positions,
    /// Records that came back and were older than their row.
    superseded: u64,
    accepted: Vec<AcceptedLoss>,
    /// The positions belong to another cluster.
    elsewhere: Option<Halt>,
}

async fn sink_positions(pipeline: &Pipeline, sink: &Sink, cluster: &str) -> Result<OfSink> {
    let (target, topic) = (weir_store::reader::open(pipeline, sink)?, &pipeline.output.topic);
    let mut positions: Positions =
        (0..pipeline.input.partitions).map(|partition| (partition, Default::default())).collect();
    let (mut elsewhere, mut superseded) = (None, 0);
    for position in target.positions().await? {
        if position.topic == *topic {
            superseded += position.superseded;
            if let Some(other) = position.cluster.filter(|other| other != cluster) {
                elsewhere = Some(Halt {
                    hop: sink.name.clone(),
                    what: format!("{topic}[{}]", position.committed.partition),
                    reason: format!(
                        "its position belongs to Kafka cluster {other}, but this is cluster \
                         {cluster}: offsets of one cluster are not valid in another"
                    ),
                });
            }
            let CommittedPosition { partition, next, progress, .. } = position.committed;
            positions.insert(partition, (next, progress));
        }
    }
    let mut accepted = target.accepted_losses().await?;
    accepted.retain(|accepted_loss| accepted_loss.topic == *topic);
    Ok(OfSink { positions, superseded, accepted, elsewhere })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_that_were_written_twice_or_are_not_in_the_counts_are_not_once() {
        assert!(once(&[], 0) && once(&[Some(0)], 1) && once(&[Some(500), Some(0)], 600));
        for (said, end) in [
            (&[Some(0), Some(0)][..], 600),
            (&[Some(0), Some(500), Some(500)], 600),
            (&[Some(600)], 600),
            (&[Some(0)], 0),
            (&[Some(0), None], 600),
        ] {
            assert!(!once(said, end), "{said:?} {end}");
        }
    }
}
