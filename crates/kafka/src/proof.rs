//! Whether a position is where its owner stopped, in the log that was read. The one place for it:
//! every hop asks here before it reads, and so do the operator's commands.
//!
//! A position is proven by the record before it, whose offset and fingerprint were committed with
//! it. A position that is not there is proven by the absence of everything that its owner would
//! have written: a position store that may have forgotten is never taken for a beginning.

use crate::reader::{Span, scan};
use crate::{Error, Result, admin, position_store, positions};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use weir_model::lineage::Row;
use weir_model::pipeline::{Kafka, Pipeline};
use weir_model::progress::{LastRead, Later};
use weir_model::protocol::{CommittedPosition, Offset, Partition, PartitionState, Proof};

/// The header that the producer gives to the first record of each of its transactions: whose
/// position has moved, as in the position store's key.
pub const SOURCE: &str = "weir-source";

/// Beside it: how many records that source partition had written before, as text.
pub const WRITTEN: &str = "weir-written";

/// What each transaction of the producer says was written before it, by the position store's key of
/// its source partition. `None`: it does not say.
///
/// # Errors
/// The broker does not answer.
pub fn written(pipeline: &Pipeline) -> Result<BTreeMap<String, Vec<Option<u64>>>> {
    let (kafka, topic) = (&pipeline.kafka, &pipeline.input.topic);
    let logs = admin::describe(kafka, topic)?.unwrap_or_default();
    let spans: Vec<Span> = logs.iter().map(|log| Span::all(log.partition)).collect();
    let mut written: BTreeMap<String, Vec<Option<u64>>> = BTreeMap::new();
    scan(kafka, topic, &spans, |record| {
        let text = |sought: &str| {
            let (_, value) = record.headers().find(|(name, _)| *name == sought)?;
            std::str::from_utf8(value?).ok()
        };
        if let Some(key) = text(SOURCE) {
            let count = text(WRITTEN).and_then(|text| text.parse().ok());
            written.entry(key.into()).or_default().push(count);
        }
        ControlFlow::Continue(())
    })?;
    Ok(written)
}

/// Fills in the proofs of the enricher's positions. `kafka` may have other timeouts than the
/// pipeline's.
///
/// # Errors
/// The broker does not answer; ask again.
pub fn enricher(kafka: &Kafka, pipeline: &Pipeline, found: &mut [PartitionState]) -> Result<()> {
    last_read(kafka, &pipeline.input.topic, found)?;
    let unset = unset(found);
    // What the pipeline's own producer wrote and nobody has read.
    if pipeline.source.is_some() {
        mark_late(found);
    }
    for topic in [&pipeline.output.topic, &pipeline.dead_letters.topic] {
        if !unset.is_empty() {
            mark(found, &admin::traces(kafka, topic, &unset)?, Proof::Lost);
        }
    }
    Ok(())
}

/// What a target holds, as far as a proof needs it. Each is asked only where something is wrong.
pub trait Evidence<E> {
    /// Whether it holds any row.
    ///
    /// # Errors
    /// The target is unavailable.
    fn has_rows(&self) -> Result<bool, E>;

    /// What it holds of the partition behind the position `next`, whose last record came from the
    /// input offset `last`.
    ///
    /// # Errors
    /// The target is unavailable.
    fn later(&self, partition: Partition, next: Offset, last: Option<Offset>) -> Result<Later, E>;
}

/// The copies of a sink's positions that its consumer group holds: committed after each write, for
/// lag tools, and authoritative for nothing. A copy that is ahead of its position shows that an
/// older position was put back, provided that the copies were read first, or behind its fence.
///
/// # Errors
/// The broker does not answer; ask again.
pub fn copies(pipeline: &Pipeline, sink: &str) -> Result<Vec<CommittedPosition>> {
    let (group, topic) = (pipeline.sink_group(sink), &pipeline.output.topic);
    Ok(admin::committed_positions(&pipeline.kafka, &group, topic)?.unwrap_or_default())
}

/// Fills in the proofs of a sink's positions by their `copies` (see [`copies`]). A position that
/// is missing is no beginning when the group or the target remembers it; the group forgets after a
/// week without members, the target never does. Returns which of the records of its input record the
/// one before each position is, as far as the log holds it.
///
/// # Errors
/// The broker or the target does not answer; ask again.
pub fn sink<E: From<Error>>(
    pipeline: &Pipeline,
    copies: &[CommittedPosition],
    found: &mut [PartitionState],
    target: &impl Evidence<E>,
) -> Result<BTreeMap<Partition, Row>, E> {
    let rows = last_read(&pipeline.kafka, &pipeline.output.topic, found)?;
    put_back(pipeline, copies, found, target)?;
    if unset(found).is_empty() {
        return Ok(rows);
    }
    mark_late(found);
    // A copy is no position, but nobody leaves one who has committed nothing.
    let hinted = |partition: Partition| {
        copies.iter().any(|copy| copy.partition == partition && copy.next.is_some())
    };
    let known: Vec<Partition> = found
        .iter()
        .map(|state| &state.committed)
        .filter(|committed| committed.next.is_none())
        .filter(|committed| !committed.intact || hinted(committed.partition))
        .map(|committed| committed.partition)
        .collect();
    if known.is_empty() {
        return Ok(rows);
    }
    let has_rows = target.has_rows()?;
    for partition in known {
        // Dead letters alone would come twice as well.
        if has_rows || target.later(partition, 0, None)?.any() == Some(true) {
            mark(found, &[partition], Proof::Lost);
        }
    }
    Ok(rows)
}

/// Fills in the proofs of positions that are behind their copies, or have none. An older position
/// is right only where the rows went back with it, as when a database is restored.
///
/// # Errors
/// The broker or the target does not answer; ask again.
pub fn put_back<E: From<Error>>(
    pipeline: &Pipeline,
    copies: &[CommittedPosition],
    found: &mut [PartitionState],
    target: &impl Evidence<E>,
) -> Result<(), E> {
    for state in found.iter_mut().filter(|state| state.halt().is_none()) {
        let CommittedPosition { partition, next, progress, .. } = &state.committed;
        let Some(next) = *next else { continue };
        let copy = copies.iter().find(|copy| copy.partition == *partition && copy.intact);
        let reached = copy.and_then(|copy| copy.next);
        if reached.is_some_and(|reached| reached <= next) {
            continue;
        }
        let later = target.later(*partition, next, progress.last)?.any();
        // Without a copy, only the target itself can show it.
        if later == Some(false) || reached.is_none() && later.is_none() {
            continue;
        }
        // Where input offsets started over, a larger one may be of an earlier record.
        if reached.is_some() || position_store::restarts(pipeline, *partition)?.is_empty() {
            state.proof = Proof::PutBack { reached };
        }
    }
    Ok(())
}

/// The source partitions, of the first `all`, whose records the input topic holds. Reads the whole
/// topic unless it holds some of each.
///
/// # Errors
/// The broker does not answer; ask again.
pub fn producers(pipeline: &Pipeline, source: &str, all: u32) -> Result<BTreeSet<u32>> {
    let (kafka, topic) = (&pipeline.kafka, &pipeline.input.topic);
    let key = |number| positions::key(&pipeline.name, source, number).into_bytes();
    let mut sought: BTreeMap<Vec<u8>, u32> = (0..all).map(|number| (key(number), number)).collect();
    let filled = admin::describe(kafka, topic)?.unwrap_or_default();
    let spans: Vec<Span> = filled
        .iter()
        .filter(|watermarks| watermarks.first < watermarks.end)
        .map(|watermarks| Span::all(watermarks.partition))
        .collect();
    let mut found = BTreeSet::new();
    scan(kafka, topic, &spans, |record| {
        let keys = record.headers().filter(|(name, _)| *name == SOURCE);
        found.extend(keys.filter_map(|(_, key)| sought.remove(key?)));
        if sought.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}

/// Whether the log holds this record.
///
/// # Errors
/// The broker does not answer; ask again.
pub fn holds(kafka: &Kafka, topic: &str, partition: Partition, read: LastRead) -> Result<bool> {
    let found = fingerprints(kafka, topic, &[(partition, read.offset)])?;
    let there = found.get(&partition).map(|(fingerprint, _)| *fingerprint);
    Ok(read.fingerprint.is_some() && there == read.fingerprint)
}

/// Fills in the proofs of positions that are set: compares the record before each with the one that
/// was read. Returns which of the records of its input record each of these is.
///
/// # Errors
/// The broker does not answer; ask again.
pub fn last_read(
    kafka: &Kafka,
    topic: &str,
    found: &mut [PartitionState],
) -> Result<BTreeMap<Partition, Row>> {
    let provable: BTreeMap<Partition, LastRead> = found
        .iter()
        .filter(|state| state.halt().is_none())
        .filter_map(|state| Some((state, state.committed.progress.last_read?)))
        .filter(|(state, read)| read.offset >= state.low && read.fingerprint.is_some())
        .map(|(state, read)| (state.committed.partition, read))
        .collect();
    if provable.is_empty() {
        return Ok(BTreeMap::new());
    }
    let sought: Vec<_> = provable.iter().map(|(p, read)| (*p, read.offset)).collect();
    let there = fingerprints(kafka, topic, &sought)?;
    let mut disproved = Vec::new();
    for (partition, read) in &provable {
        match there.get(partition) {
            Some((other, _)) if Some(*other) != read.fingerprint => disproved.push(*partition),
            // A compacted topic forgets records without being another one.
            None if !admin::compacted(kafka, topic)? => disproved.push(*partition),
            _ => {}
        }
    }
    mark(found, &disproved, Proof::Disproved);
    Ok(there.into_iter().filter_map(|(partition, (_, row))| Some((partition, row?))).collect())
}

/// The fingerprints of the records at these offsets, of those that are there, and which of the
/// records of its input record each is.
fn fingerprints(
    kafka: &Kafka,
    topic: &str,
    sought: &[(Partition, i64)],
) -> Result<BTreeMap<Partition, (u64, Option<Row>)>> {
    let spans: Vec<Span> = sought
        .iter()
        .map(|(partition, offset)| Span {
            partition: *partition,
            from: Some(*offset),
            until: Some(offset + 1),
        })
        .collect();
    let mut found = BTreeMap::new();
    scan(kafka, topic, &spans, |record| {
        let row = record.lineage().map(|lineage| lineage.row);
        found.insert(record.partition(), (record.fingerprint(), row));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn unset(found: &[PartitionState]) -> Vec<Partition> {
    let unset = found.iter().filter(|state| state.committed.next.is_none());
    unset.map(|state| state.committed.partition).collect()
}

/// Nothing was read yet of a log that this pipeline writes, and its beginning is gone.
fn mark_late(found: &mut [PartitionState]) {
    let late = found.iter_mut().filter(|s| s.committed.next.is_none() && s.low > 0);
    late.for_each(|state| state.proof = Proof::Late);
}

fn mark(found: &mut [PartitionState], partitions: &[Partition], proof: Proof) {
    let marked = found.iter_mut().filter(|s| partitions.contains(&s.committed.partition));
    marked.for_each(|state| state.proof = proof);
}
