//! Where reading goes on behind a gap: reads what is left, and changes nothing.

use super::choice::{RecordEvidence, after_the_last_record_of_a_sink, after_what_was_read};
use crate::Result;
use crate::counts::RecordCounts;
use crate::evidence::Evidence;
use crate::lineage::PartitionLineage;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::ControlFlow;
use weir_kafka::Record;
use weir_kafka::proof::{self, Evidence as _};
use weir_kafka::reader::{Span, scan};
use weir_model::lineage::Lineage;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::progress::Progress;
use weir_model::protocol::{CommittedPosition, Halt, Offset, Partition, PartitionState, Proof};

/// The position to continue at with its counters, or why it cannot be told.
pub type Continuation = std::result::Result<(Offset, Progress), Cow<'static, str>>;

const INCOMPLETE_LINEAGE: &str = "the output and the dead letters no longer hold all that was \
    emitted, or not as one lineage, so the counts cannot be found again; put the group's offsets \
    back, with the metadata they had, or, to begin again with an empty pipeline, delete the \
    output and the dead letters as well";

const WRITTEN_ANEW: &str = "the log was written anew from its first record, while the target \
    still holds rows of the one before, so going on might lose or double some; empty the table, \
    and everything in the log is read, or put the position row back";

/// A position that was forgotten is found again first; it may lie outside the log all the same,
/// since Kafka forgets the positions of a topic that is deleted.
pub(super) fn enricher_continuation(
    pipeline: &Pipeline,
    found: &mut PartitionState,
    halt: Halt,
    lineages: &BTreeMap<Partition, PartitionLineage>,
) -> Result<Continuation> {
    let lineage = lineages.get(&found.committed.partition);
    match halt {
        Halt::Expired { to, .. } => Ok(Ok((to, found.committed.progress))),
        Halt::Truncated { .. } => {
            let to = resume(pipeline, found, lineage.is_some_and(|lineage| lineage.incomplete))?;
            Ok(to.map(|to| (to, found.committed.progress)).map_err(Cow::from))
        }
        Halt::Disproved { .. } if found.committed.intact => {
            if let Some(found_again) = after_last_read(pipeline, &pipeline.input.topic, found)? {
                // It was only moved: nothing is given up between the two.
                found.committed.next = None;
                return Ok(Ok(found_again));
            }
            let to = resume(pipeline, found, lineage.is_some_and(|lineage| lineage.incomplete))?;
            Ok(to.map(|to| (to, found.committed.progress)).map_err(Cow::from))
        }
        Halt::PositionMissing | Halt::Disproved { .. } | Halt::PutBack { .. } => {
            let Some(counts) = lineage.and_then(PartitionLineage::counts) else {
                return Ok(Err(INCOMPLETE_LINEAGE.into()));
            };
            let next = counts.last.map_or(found.low, |last| last + 1);
            let mut again = PartitionState {
                committed: CommittedPosition {
                    next: Some(next),
                    progress: counts,
                    intact: true,
                    ..found.committed.clone()
                },
                ..*found
            };
            again.proof = Proof::Consistent;
            let Some(halt) = again.halt() else {
                // The log may be another one with as many records.
                let incomplete = lineage.is_some_and(|lineage| lineage.incomplete);
                let to = resume(pipeline, &again, incomplete)?;
                found.committed.next = Some(next).filter(|next| Ok(*next) != to);
                return Ok(to.map(|to| (to, counts)).map_err(Cow::from));
            };
            let continuation = enricher_continuation(pipeline, &mut again, halt, lineages);
            *found = again;
            continuation
        }
    }
}

/// The position behind the record that was read last, if the log still holds that record: then
/// only the position was moved.
fn after_last_read(
    pipeline: &Pipeline,
    topic: &str,
    found: &PartitionState,
) -> Result<Option<(Offset, Progress)>> {
    let progress = found.committed.progress;
    let Some(read) = progress.last_read.filter(|r| (found.low..found.high).contains(&r.offset))
    else {
        return Ok(None);
    };
    let there = proof::holds(&pipeline.kafka, topic, found.committed.partition, read)?;
    Ok(there.then_some((read.offset + 1, progress)))
}

/// Where to go on in a log that ends before the position, or holds other records before it.
fn resume(
    pipeline: &Pipeline,
    found: &PartitionState,
    incomplete: bool,
) -> Result<std::result::Result<Offset, &'static str>> {
    let emitted = emitted(pipeline, found)?;
    let mut left = Vec::new();
    let span = Span {
        partition: found.committed.partition,
        from: Some(found.low),
        until: Some(found.high),
    };
    scan(&pipeline.kafka, &pipeline.input.topic, &[span], |record| {
        left.push((record.offset(), evidence(&record)));
        ControlFlow::Continue(())
    })?;
    Ok(after_what_was_read(found.low, left, &emitted, incomplete))
}

/// What was emitted from the offsets that the log holds now.
fn emitted(
    pipeline: &Pipeline,
    found: &PartitionState,
) -> Result<BTreeMap<Offset, Vec<RecordEvidence>>> {
    let mut emitted: BTreeMap<Offset, Vec<RecordEvidence>> = BTreeMap::new();
    for topic in [&pipeline.output.topic, &pipeline.dead_letters.topic] {
        scan(&pipeline.kafka, topic, &[Span::all(found.committed.partition)], |record| {
            if let Some(lineage) =
                record.lineage().filter(|l| (found.low..found.high).contains(&l.source))
            {
                emitted.entry(lineage.source).or_default().push(evidence(&record));
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(emitted)
}

fn evidence(record: &Record<'_>) -> RecordEvidence {
    let hash = |key: &[u8]| {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    };
    RecordEvidence { timestamp_ms: record.timestamp_ms(), key: record.key().map(hash) }
}

/// Reading goes on at a record whose predecessor in the lineage may be gone, so the end of the lineage
/// becomes what that record names.
pub(super) fn sink_continuation(
    pipeline: &Pipeline,
    sink: &Sink,
    found: &PartitionState,
    halt: Halt,
    counts: &RecordCounts,
) -> Result<Continuation> {
    let partition = found.committed.partition;
    let mut progress = found.committed.progress;
    let target = Evidence::open(pipeline, sink)?;
    let to = match halt {
        Halt::PositionMissing | Halt::PutBack { .. } => {
            return from_copy(&target, found, counts);
        }
        Halt::Expired { .. } => Ok(found.low),
        Halt::Truncated { .. } | Halt::Disproved { .. } => {
            if let Some(found_again) = after_last_read(pipeline, &pipeline.output.topic, found)? {
                return Ok(Ok(found_again));
            }
            if !target.has_rows()? {
                return Ok(Ok((found.low, Progress::default())));
            }
            let left = lineages(pipeline, found, usize::MAX)?;
            let (_, emitted) = counts.enricher().get(&partition).copied().unwrap_or_default();
            if is_whole(&left, emitted.counters.written) {
                return Ok(Err(WRITTEN_ANEW.into()));
            }
            let restarted = counts.restarted(partition);
            after_the_last_record_of_a_sink((found.low, found.high), progress.last, left, restarted)
        }
    };
    let to = match to {
        Ok(to) => to,
        Err(why) => return Ok(Err(why.into())),
    };
    let rest = PartitionState { low: to, ..found.clone() };
    if let Some((_, next)) = lineages(pipeline, &rest, 1)?.first() {
        progress.last = (next.previous >= 0).then_some(next.previous);
    }
    Ok(Ok((to, progress)))
}

/// Where the copy of a lost position says that the sink was, if the target holds just what was written
/// until there.
fn from_copy(
    target: &Evidence<'_>,
    found: &PartitionState,
    counts: &RecordCounts,
) -> Result<Continuation> {
    let CommittedPosition { partition, next, progress: before, .. } = found.committed;
    let from = next.unwrap_or(0);
    let begin_again = || match target.target.delete_all() {
        Some(statements) => {
            format!("or, with the sink stopped, let it begin at the first record: {statements}")
        }
        None => "or empty the target, and the sink begins at the first record".into(),
    };
    let otherwise = || match target.target.delete_later(partition, from, before.last) {
        Some(statements) if next.is_some() => format!(
            "put the row of weir.positions back, or delete what lies behind it, which is then \
             written again: {statements}"
        ),
        _ if next.is_some() => format!(
            "put the row of weir.positions back; or, if the target was restored with it, read on with \
             --restored; {}",
            begin_again()
        ),
        _ => format!("put the row of weir.positions back; {}", begin_again()),
    };
    let copies = counts.copies(&target.sink.name);
    let copy = copies.iter().find(|copy| copy.partition == partition && copy.intact);
    let Some((to, progress)) = copy.and_then(|copy| Some((copy.next?, copy.progress))) else {
        return Ok(Err(format!("nothing remembers where the sink was; {}", otherwise()).into()));
    };
    if target.later(partition, to, progress.last)?.any() == Some(true) {
        let what = "the target holds what was written after the position that the group remembers";
        return Ok(Err(format!("{what}; {}", otherwise()).into()));
    }
    let there = target.later(partition, from, before.last)?;
    let (now, then) = (progress.counters, before.counters);
    let complete = target.sink.target.keeps_every_record();
    let rows = there.rows.filter(|_| complete);
    if rows.is_none() && complete && next.is_some() && restored_rows(target, counts)? {
        let what = "the table has as many rows as when the position was here, so it was restored \
                    with it: read on with --restored";
        return Ok(Err(what.into()));
    }
    if there.dead_letters != now.dead - then.dead.min(now.dead)
        || rows.is_some_and(|rows| rows != now.written - then.written.min(now.written))
    {
        let what = format!("the target does not hold just what was written from {from} to {to}");
        return Ok(Err(format!("{what}; {}", otherwise()).into()));
    }
    Ok(Ok((to, progress)))
}

/// Whether a table without lineage has just the rows that the positions count, and not those that
/// the copies count.
fn restored_rows(target: &Evidence<'_>, counts: &RecordCounts) -> Result<bool> {
    let name = &target.sink.name;
    let Some(positions) = counts.sink(name) else { return Ok(false) };
    let copied = |partition: &Partition| {
        let copies = counts.copies(name).iter().filter(|copy| copy.intact);
        let copy = copies.into_iter().find(|copy| copy.partition == *partition);
        copy.map_or(0, |copy| copy.progress.counters.written)
    };
    let counted: u64 = positions.values().map(|(_, progress)| progress.counters.written).sum();
    let ahead: u64 = positions
        .iter()
        .map(|(partition, (_, progress))| copied(partition).max(progress.counters.written))
        .sum();
    Ok(ahead != counted && target.count_rows()? == counted)
}

/// The first `most` lineages that a log holds, with their offsets.
fn lineages(
    pipeline: &Pipeline,
    found: &PartitionState,
    most: usize,
) -> Result<Vec<(Offset, Lineage)>> {
    let mut left = Vec::new();
    let partition = found.committed.partition;
    let span = Span { partition, from: Some(found.low), until: Some(found.high) };
    scan(&pipeline.kafka, &pipeline.output.topic, &[span], |record| {
        left.extend(record.lineage().map(|lineage| (record.offset(), lineage)));
        if left.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(left)
}

/// Whether a log holds all that the enricher, by its own counts, has ever written to it: then
/// nothing of it is missing, and a position that does not fit belongs to another log.
fn is_whole(left: &[(Offset, Lineage)], written: u64) -> bool {
    left.first().is_some_and(|(_, first)| first.previous == -1) && left.len() as u64 == written
}
