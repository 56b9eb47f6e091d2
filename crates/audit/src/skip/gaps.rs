//! Finds positions outside their log, where reading would continue, and what would be lost. Changes
//! nothing.

use super::choice::given_up;
use super::continuations::{Continuation, enricher_continuation, sink_continuation};
use crate::counts::{self, ENRICHER, Positions, RecordCounts};
use crate::evidence::Evidence;
use crate::lineage;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use weir_kafka::{admin, proof};
use weir_model::accepted_loss::Skip;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::progress::Progress;
use weir_model::protocol::{CommittedPosition, Halt, Offset, Partition, PartitionState};

/// How long to wait for a moment at which nothing that is being counted changes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A service that reads.
#[derive(Debug, Clone, Copy)]
pub enum Hop<'a> {
    Enricher,
    Sink(&'a Sink),
}

/// A position outside its log.
#[derive(Debug)]
pub struct Lost {
    pub partition: Partition,
    /// The position, even if it was restored; `None` if only the position store had lost it and it
    /// is inside the log.
    pub from: Option<Offset>,
    /// The counts up to it.
    pub progress: Progress,
    pub halt: Halt,
    /// Where to continue with which counts, or why that is unknown.
    pub continuation: Continuation,
}

/// The lost positions of one hop.
#[derive(Debug)]
pub struct Gap {
    pub lost: Vec<Lost>,
    missing: Missing,
    /// Whether records were written during the counting.
    pub moving: bool,
}

/// The records that will be missing in the counts once the positions are moved.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Missing {
    /// The records that enter the topic are not counted.
    Uncounted,
    /// In front of the enricher: partitions of the source are not those of the topic.
    Together(i128),
    /// In front of a sink.
    Each(BTreeMap<Partition, i128>),
}

/// All hops of a pipeline, in the order of the flow.
pub fn hops(pipeline: &Pipeline) -> Vec<Hop<'_>> {
    std::iter::once(Hop::Enricher).chain(pipeline.sinks.iter().map(Hop::Sink)).collect()
}

/// The partitions of a hop whose positions lie outside their log, without counting anything.
///
/// # Errors
/// When the broker or a database is unavailable.
pub(crate) async fn outside(pipeline: &Pipeline, hop: Hop<'_>) -> Result<Vec<Partition>> {
    let counts = counts::read(pipeline).await?;
    let found = tokio::task::block_in_place(|| hop.halted(pipeline, &counts))?;
    Ok(found.into_iter().map(|(found, _)| found.committed.partition).collect())
}

/// Finds the lost positions of one hop.
///
/// # Errors
/// When the broker or a database is unavailable.
pub async fn find(pipeline: &Pipeline, hop: Hop<'_>) -> Result<Gap> {
    let started = Instant::now();
    loop {
        let before = counts::read(pipeline).await?;
        let (lost, missing) = tokio::task::block_in_place(|| -> Result<_> {
            let lost = hop.lost(pipeline, &before)?;
            let missing = if lost.is_empty() {
                Missing::Uncounted
            } else {
                hop.missing(pipeline, &before, &lost)?
            };
            Ok((lost, missing))
        })?;
        let moving = !lost.is_empty() && hop.moved(&lost, &before, &counts::read(pipeline).await?);
        if !moving || started.elapsed() > REQUEST_TIMEOUT {
            return Ok(Gap { lost, missing, moving });
        }
    }
}

impl Gap {
    /// How many records these skips of it give up; `None` if they are not counted.
    pub fn records(&self, skips: &[Skip]) -> Option<u64> {
        let missing = match &self.missing {
            Missing::Uncounted if skips.iter().all(|skip| skip.from.is_none()) => 0,
            Missing::Uncounted => return None,
            Missing::Together(missing) => *missing,
            Missing::Each(each) => skips.iter().filter_map(|skip| each.get(&skip.partition)).sum(),
        };
        Some(given_up(missing, skips))
    }

    /// The moves of the positions for which a new position is known.
    pub fn skips(&self) -> Vec<Skip> {
        self.lost.iter().filter_map(|lost| lost.skip().ok()).collect()
    }
}

impl Lost {
    /// The move, if the new position is known.
    pub(crate) fn skip(&self) -> std::result::Result<Skip, &str> {
        let (to, _) = self.continuation.as_ref().map_err(|why| &**why)?;
        let to = *to;
        Ok(Skip { partition: self.partition, from: self.from, to, emitted: None })
    }
}

impl Hop<'_> {
    /// Its name in the audit.
    pub fn name(&self) -> &str {
        match self {
            Hop::Enricher => ENRICHER,
            Hop::Sink(sink) => &sink.name,
        }
    }

    /// The topic it reads.
    pub fn topic<'a>(&self, pipeline: &'a Pipeline) -> &'a str {
        match self {
            Hop::Enricher => &pipeline.input.topic,
            Hop::Sink(_) => &pipeline.output.topic,
        }
    }

    /// Its consumer group.
    pub(crate) fn group(&self, pipeline: &Pipeline) -> String {
        match self {
            Hop::Enricher => pipeline.enricher_group(),
            Hop::Sink(sink) => pipeline.sink_group(&sink.name),
        }
    }

    fn positions<'b>(&self, counts: &'b RecordCounts) -> Result<&'b Positions> {
        match self {
            Hop::Enricher => Ok(counts.enricher()),
            Hop::Sink(sink) => counts
                .sink(&sink.name)
                .ok_or_else(|| Error::Refused(format!("no counts of sink {}", sink.name))),
        }
    }

    fn halted(
        &self,
        pipeline: &Pipeline,
        counts: &RecordCounts,
    ) -> Result<Vec<(PartitionState, Halt)>> {
        let mut found = counts::log(pipeline, self.topic(pipeline))?
            .committed_positions(self.positions(counts)?);
        match self {
            Hop::Enricher => {
                mark_foreign(pipeline, &mut found)?;
                proof::enricher(&pipeline.kafka, pipeline, &mut found)?;
            }
            Hop::Sink(sink) => {
                let target = Evidence::open(pipeline, sink)?;
                target.mark_begun(&mut found)?;
                proof::sink(pipeline, counts.copies(&sink.name), &mut found, &target)?;
            }
        }
        Ok(found.into_iter().filter_map(|found| found.halt().map(|halt| (found, halt))).collect())
    }

    fn lost(&self, pipeline: &Pipeline, counts: &RecordCounts) -> Result<Vec<Lost>> {
        let halted = self.halted(pipeline, counts)?;
        let lineages = match self {
            Hop::Enricher
                if halted.iter().any(|(_, halt)| !matches!(halt, Halt::Expired { .. })) =>
            {
                lineage::read(pipeline, counts.accepted(), &lineage::Disowned::default())?
            }
            _ => BTreeMap::new(),
        };
        let lost = halted.into_iter().map(|(mut found, halt)| {
            let continuation = match self {
                Hop::Enricher => enricher_continuation(pipeline, &mut found, halt, &lineages)?,
                Hop::Sink(sink) => sink_continuation(pipeline, sink, &found, halt, counts)?,
            };
            // A log that is read for the first time should begin with its first record.
            let from = match halt {
                Halt::Expired { from, .. } => Some(from),
                _ => found.committed.next,
            };
            let CommittedPosition { partition, progress, .. } = found.committed;
            Ok(Lost { partition, from, progress, halt, continuation })
        });
        lost.collect()
    }

    /// The records that will be missing in the counts once the positions are moved, by the
    /// arithmetic of the audit.
    fn missing(
        &self,
        pipeline: &Pipeline,
        counts: &RecordCounts,
        lost: &[Lost],
    ) -> Result<Missing> {
        let mut positions = self.positions(counts)?.clone();
        for lost in lost {
            if let Ok((to, progress)) = &lost.continuation {
                let (to, progress) = (*to, *progress);
                positions.insert(lost.partition, (Some(to), progress));
            }
        }
        let unread =
            counts::log(pipeline, self.topic(pipeline))?.unread(pipeline, &positions, |_| {})?;
        let read = |partition: &Partition| {
            let (_, progress) = positions.get(partition).copied().unwrap_or_default();
            i128::from(progress.counters.read)
                + i128::from(unread.get(partition).copied().unwrap_or_default())
        };
        if let Hop::Sink(sink) = self {
            let one = |(partition, (_, emitted)): (&Partition, &(Option<Offset>, Progress))| {
                let given_up = i128::from(counts.given_up_in(&sink.name, *partition));
                (*partition, i128::from(emitted.counters.written) - read(partition) - given_up)
            };
            return Ok(Missing::Each(counts.enricher().iter().map(one).collect()));
        }
        let Some(handed) = counts.handed() else { return Ok(Missing::Uncounted) };
        let arrived: i128 = positions.keys().map(read).sum();
        Ok(Missing::Together(i128::from(handed) - arrived - i128::from(counts.given_up(ENRICHER))))
    }

    /// Whether the counts changed in the meantime.
    fn moved(&self, lost: &[Lost], before: &RecordCounts, after: &RecordCounts) -> bool {
        match self {
            Hop::Enricher => {
                before.handed() != after.handed() || before.enricher() != after.enricher()
            }
            Hop::Sink(sink) => {
                let of = |counts: &RecordCounts, p| {
                    (
                        counts.enricher().get(p).copied(),
                        counts.sink(&sink.name).and_then(|l| l.get(p)).copied(),
                    )
                };
                lost.iter().any(|lost| of(before, &lost.partition) != of(after, &lost.partition))
            }
        }
    }
}

/// Marks the positions of the enricher that another program committed.
fn mark_foreign(pipeline: &Pipeline, found: &mut [PartitionState]) -> Result<()> {
    let (group, topic) = (pipeline.enricher_group(), &pipeline.input.topic);
    let committed = admin::committed_positions(&pipeline.kafka, &group, topic)?;
    for foreign in committed.unwrap_or_default().iter().filter(|committed| !committed.intact) {
        let same = found.iter_mut().filter(|f| f.committed.partition == foreign.partition);
        same.for_each(|found| found.committed.intact = false);
    }
    Ok(())
}
