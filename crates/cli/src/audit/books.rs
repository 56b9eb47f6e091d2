//! The books of every hop, from the ledgers they are committed to.

use super::verdict::{self, Verdict};
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_kafka::reader::{Span, scan};
use weir_kafka::{admin, positions, replay};
use weir_model::pipeline::{Pipeline, Sink, Target};
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Offset, Partition};
use weir_store::Store;

/// Next offset (`None`: nothing was ever committed) and books of each partition.
type Ledger = BTreeMap<Partition, (Option<Offset>, Progress)>;

/// All books of one pipeline at about one moment.
#[derive(Debug, PartialEq)]
pub(crate) struct Books {
    producer: Option<Counters>,
    /// Records that came back from the dead letters to the input topic.
    replay: Counters,
    enricher: Ledger,
    sinks: Vec<(String, Ledger)>,
}

/// Reads all books, downstream first: what a later hop has read was written before.
pub(crate) async fn take(pipeline: &Pipeline) -> Result<Books> {
    let mut sinks = Vec::new();
    for sink in &pipeline.sinks {
        sinks.push((sink.name.clone(), sink_ledger(pipeline, sink).await?));
    }
    tokio::task::block_in_place(|| {
        let enricher = enricher(pipeline)?;
        let (producer, replay) = producer_and_replay(pipeline)?;
        Ok(Books { producer, replay, enricher, sinks })
    })
}

impl Books {
    /// Whether each hop has read what the one before it wrote.
    pub(crate) fn arrived(&self) -> bool {
        let enricher = total(&self.enricher);
        self.producer.is_none_or(|producer| producer.written + self.replay.written == enricher.read)
            && self.sinks.iter().all(|(_, ledger)| total(ledger).read == enricher.written)
    }

    /// Counts what waits in the topics and compares.
    pub(crate) async fn verdict(&self, pipeline: &Pipeline) -> Result<Verdict> {
        tokio::task::block_in_place(|| {
            let hop = |name: &str, topic: &str, ledger: &Ledger| -> Result<verdict::Books> {
                let waiting = Some(waiting(pipeline, topic, ledger)?);
                Ok(verdict::Books { name: name.into(), counters: total(ledger), waiting })
            };
            let upstream = |name: &str, counters| verdict::Books { name: name.into(), counters, waiting: None };
            let producer = self.producer.map(|counters| upstream("producer", counters));
            let replay = (self.replay != Counters::default()).then(|| upstream("replay", self.replay));
            let enricher = hop("enricher", &pipeline.input.topic, &self.enricher)?;
            let sinks = self.sinks.iter().map(|(name, ledger)| hop(name, &pipeline.output.topic, ledger)).collect::<Result<_>>()?;
            Ok(Verdict::new(&pipeline.name, producer, replay, enricher, sinks))
        })
    }
}

fn total(ledger: &Ledger) -> Counters {
    ledger.values().fold(Counters::default(), |mut sum, (_, progress)| {
        sum += progress.counters;
        sum
    })
}

/// What was written to the input topic; the producer's share only when the pipeline has one.
fn producer_and_replay(pipeline: &Pipeline) -> Result<(Option<Counters>, Counters)> {
    let (kind, produced) = pipeline.source.as_ref().map_or(("", 0), |source| (source.kind(), source.partitions()));
    let mut sums = [Counters::default(); 2];
    if admin::partitions(&pipeline.kafka, positions::TOPIC)?.is_some() {
        let produced: Vec<u32> = (0..produced).collect();
        let replayed: Vec<u32> = (0..pipeline.input.partitions.unsigned_abs()).collect();
        let sources: [(&str, &[u32]); 2] = [(kind, &produced), (replay::SOURCE, &replayed)];
        let found = positions::read_all(&pipeline.kafka, &pipeline.name, &sources)?;
        for (sum, positions) in sums.iter_mut().zip(found) {
            positions.values().for_each(|position| *sum += position.progress.counters);
        }
    }
    Ok((pipeline.source.is_some().then_some(sums[0]), sums[1]))
}

/// What the books say about records that came back from the dead letters.
pub(super) fn take_replay(pipeline: &Pipeline) -> Result<Counters> {
    producer_and_replay(pipeline).map(|(_, replay)| replay)
}

fn enricher(pipeline: &Pipeline) -> Result<Ledger> {
    let topic = &pipeline.input.topic;
    let partitions = admin::partitions(&pipeline.kafka, topic)?
        .with_context(|| format!("topic {topic} does not exist: start the producer or the enricher first, they create it"))?;
    let standings = admin::standings(&pipeline.kafka, &pipeline.enricher_group(), topic, &partitions)?;
    Ok(standings.into_iter().map(|s| (s.partition, (s.next, s.progress))).collect())
}

async fn sink_ledger(pipeline: &Pipeline, sink: &Sink) -> Result<Ledger> {
    let Target::Postgres(target) = &sink.target;
    let books = Store::new(&target.url, "weir-audit")?.books(&pipeline.name).await?;
    let mine = books.into_iter().filter(|book| book.sink == sink.name && book.topic == pipeline.output.topic);
    let mut ledger: Ledger = mine.map(|book| (book.standing.partition, (book.standing.next, book.standing.progress))).collect();
    for partition in 0..pipeline.input.partitions {
        ledger.entry(partition).or_default();
    }
    Ok(ledger)
}

/// Data records between the position and the end of the log, counted by reading them: offsets have gaps.
fn waiting(pipeline: &Pipeline, topic: &str, ledger: &Ledger) -> Result<u64> {
    let Some(extents) = admin::describe(&pipeline.kafka, topic)? else { return Ok(0) };
    let spans: Vec<Span> = extents
        .iter()
        .map(|extent| {
            let next = ledger.get(&extent.partition).and_then(|(next, _)| *next);
            Span { partition: extent.partition, from: Some(next.unwrap_or(extent.first)), until: Some(extent.end) }
        })
        .collect();
    let mut records = 0;
    scan(&pipeline.kafka, topic, &spans, |_| {
        records += 1;
        ControlFlow::Continue(())
    })?;
    Ok(records)
}
