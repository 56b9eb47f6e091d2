//! Moves positions and records the loss in one transaction, while no other process reads.

use super::gaps::{Gap, Hop, Lost, find, outside};
use crate::error::refuse;
use crate::{Error, Result};
use jiff::{Timestamp, Unit};
use std::time::{Duration, Instant};
use weir_kafka::{Consumer, Rebalance, TransactionalProducer, accepted_loss, admin};
use weir_model::accepted_loss::{AcceptedLoss, Emitted, Skip};
use weir_model::fault::Class;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::progress::{LastRead, Progress};
use weir_model::protocol::{Claim, Halt, Offset, Outcome, Partition};
use weir_store::reader::Move;

/// The time limit for joining the group, and for open transactions of stopped members to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Accepts the losses of a hop and returns them; empty if no position is outside its log.
///
/// # Errors
/// Members are running, the new position or the number of lost records is unknown, or a server is
/// unavailable.
pub async fn accept(
    pipeline: &Pipeline,
    hop: Hop<'_>,
    partition: Option<Partition>,
    reason: &str,
) -> Result<Vec<AcceptedLoss>> {
    let mut outside = outside(pipeline, hop).await?;
    outside.retain(|found| partition.is_none_or(|partition| partition == *found));
    // A hop without losses does not have to be stopped.
    if outside.is_empty() {
        return Ok(Vec::new());
    }
    tokio::task::block_in_place(|| check_stopped(pipeline, hop))?;
    match hop {
        Hop::Enricher => enricher(pipeline, partition, reason).await,
        Hop::Sink(sink) => self::sink(pipeline, sink, &outside, reason).await,
    }
}

fn chosen(gap: &Gap, partition: Option<Partition>) -> impl Iterator<Item = &Lost> {
    gap.lost
        .iter()
        .filter(move |lost| partition.is_none_or(|partition| partition == lost.partition))
}

fn check_stopped(pipeline: &Pipeline, hop: Hop<'_>) -> Result<()> {
    let mut members = admin::members(&pipeline.kafka, &hop.group(pipeline))?;
    if members.is_empty() {
        return Ok(());
    }
    members.sort();
    refuse!(
        "{} still has running members ({}): stop them first; one that was killed counts until its \
         session times out, {} s",
        hop.name(),
        members.join(", "),
        pipeline.kafka.session_timeout.as_secs_f32()
    );
}

/// The moves of the positions, if enough is known to continue without losing or duplicating further
/// records.
fn moves(gap: &Gap, hop: Hop<'_>, partition: Option<Partition>) -> Result<Vec<Skip>> {
    let upstream = if matches!(hop, Hop::Enricher) { "input topic" } else { "output topic" };
    if gap.moving {
        refuse!(
            "records keep arriving in the {upstream}, so the lost ones cannot be counted: stop \
             what writes to it for a moment"
        );
    }
    let skip = |lost: &Lost| {
        lost.skip().map_err(|why| Error::Refused(format!("partition {}: {why}", lost.partition)))
    };
    chosen(gap, partition).map(skip).collect()
}

/// Joins the group, so that no other process has the partitions, and commits the position with the
/// group metadata in the transaction that records the loss. If another member joins in between, the
/// broker refuses the transaction.
async fn enricher(
    pipeline: &Pipeline,
    partition: Option<Partition>,
    reason: &str,
) -> Result<Vec<AcceptedLoss>> {
    let consumer = tokio::task::block_in_place(|| join_alone(pipeline))?;
    let gap = find(pipeline, Hop::Enricher).await?;
    if partition.is_some() && gap.lost.len() > 1 {
        refuse!(
            "{} partitions have lost records, and only all of them together can be counted: accept \
             them without --partition",
            gap.lost.len()
        );
    }
    let mut skips = moves(&gap, Hop::Enricher, partition)?;
    if skips.is_empty() {
        return Ok(Vec::new());
    }
    tokio::task::block_in_place(|| note_ends(pipeline, &mut skips))?;
    let accepted_loss = AcceptedLoss {
        hop: Hop::Enricher.name().into(),
        topic: pipeline.input.topic.clone(),
        records: gap.records(&skips),
        skips,
        reason: reason.into(),
        at: now(),
    };
    let claims: Vec<Claim> = chosen(&gap, partition).filter_map(claim).collect();
    tokio::task::block_in_place(|| commit(pipeline, &consumer, &claims, &accepted_loss))?;
    Ok(vec![accepted_loss])
}

/// Nothing is being emitted now, so everything after these ends was emitted after the skip.
fn note_ends(pipeline: &Pipeline, skips: &mut [Skip]) -> Result<()> {
    let ends = |topic: &str| admin::describe(&pipeline.kafka, topic).map(Option::unwrap_or_default);
    let (output, dead_letters) =
        (ends(&pipeline.output.topic)?, ends(&pipeline.dead_letters.topic)?);
    for skip in skips {
        let end = |watermarks: &[admin::Watermarks]| {
            watermarks
                .iter()
                .find(|watermarks| watermarks.partition == skip.partition)
                .map_or(0, |watermarks| watermarks.end)
        };
        skip.emitted = Some(Emitted { output: end(&output), dead_letters: end(&dead_letters) });
    }
    Ok(())
}

fn claim(lost: &Lost) -> Option<Claim> {
    let (next, mut progress) = lost.continuation.ok()?;
    progress.last_read = Some(LastRead { offset: next - 1, fingerprint: None });
    Some(Claim { partition: lost.partition, fence: 0, expected: lost.from, next, progress })
}

/// RFC 3339 in UTC, to the millisecond.
fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now).to_string()
}

/// A consumer that is the only member of the group, once all transactions with offsets of the group
/// have ended.
fn join_alone(pipeline: &Pipeline) -> Result<Consumer> {
    let (kafka, topic, group) = (&pipeline.kafka, &pipeline.input.topic, pipeline.enricher_group());
    let Some(all) = admin::partitions(kafka, topic)? else {
        refuse!("topic {topic} does not exist");
    };
    let mut consumer = Consumer::join(kafka, &group, topic, "weir-skip")?;
    let started = Instant::now();
    while !owns(&mut consumer, &all)? {
        if started.elapsed() > REQUEST_TIMEOUT {
            refuse!("group {group} could not be joined within {} s", REQUEST_TIMEOUT.as_secs());
        }
        consumer.idle(POLL_TIMEOUT);
    }
    consumer.start(&[])?;
    loop {
        match consumer.stable(&all) {
            Ok(_) => return Ok(consumer),
            Err(error)
                if error.class() != Class::Environment || started.elapsed() > REQUEST_TIMEOUT =>
            {
                return Err(error.into());
            }
            Err(_) => consumer.idle(POLL_TIMEOUT),
        }
    }
}

fn owns(consumer: &mut Consumer, all: &[Partition]) -> Result<bool> {
    for report in consumer.rebalances() {
        let Rebalance::Assigned(mut partitions) = report else { continue };
        partitions.sort_unstable();
        if partitions != all {
            refuse!("an enricher has started in the meantime: stop it first");
        }
        return Ok(true);
    }
    Ok(false)
}

fn commit(
    pipeline: &Pipeline,
    consumer: &Consumer,
    claims: &[Claim],
    accepted_loss: &AcceptedLoss,
) -> Result<()> {
    let transactional_id = format!("weir.{}.skip", pipeline.name);
    let mut producer = TransactionalProducer::open(&pipeline.kafka, &transactional_id)?;
    producer.begin()?;
    accepted_loss::write(&mut producer, &pipeline.name, accepted_loss)?;
    let outcome = producer.commit(Some((consumer, claims)));
    let fault =
        producer.fault().map_or_else(|| "no reason given".into(), |fault| fault.to_string());
    match outcome {
        Outcome::Committed => Ok(()),
        Outcome::Refused => refuse!("nothing was changed: {fault}"),
        Outcome::Unknown => refuse!(
            "the answer to the commit was lost: {fault}; `weir skip` shows whether the position \
             moved, and the record with it"
        ),
    }
}

/// Increments the fence as a new owner would, so that the previous owner can no longer write; then
/// moves the position and records the loss in one transaction.
async fn sink(
    pipeline: &Pipeline,
    sink: &Sink,
    partitions: &[Partition],
    reason: &str,
) -> Result<Vec<AcceptedLoss>> {
    let target = weir_store::reader::open(pipeline, sink)?;
    let cluster = tokio::task::block_in_place(|| admin::cluster_id(&pipeline.kafka))?;
    let acquired = target.acquire(&cluster, partitions).await?;
    let mut gap = find(pipeline, Hop::Sink(sink)).await?;
    gap.lost.retain(|lost| partitions.contains(&lost.partition));
    let skips = moves(&gap, Hop::Sink(sink), None)?;
    for (lost, skip) in gap.lost.iter().zip(&skips) {
        let committed = acquired.iter().find(|acquired| acquired.partition == lost.partition);
        let (Some(committed), Ok((to, progress))) = (committed, lost.continuation) else {
            continue;
        };
        let order = Move {
            partition: lost.partition,
            fence: committed.fence,
            from: committed.next.unwrap_or(0),
            to,
            progress,
            records: gap.records(&[*skip]).unwrap_or_default(),
        };
        if !target.accept(&cluster, &order, reason).await? {
            refuse!(
                "partition {}: a sink has started in the meantime and nothing was changed there: \
                 stop it first",
                lost.partition
            );
        }
        copy(pipeline, sink, &[(lost.partition, to, progress)])?;
    }
    let mut all = target.accepted_losses().await?;
    all.retain(|accepted_loss| accepted_loss.topic == pipeline.output.topic);
    Ok(all.split_off(all.len().saturating_sub(skips.len())))
}

/// The group remembers the position from now on, and not the one that it had before.
fn copy(pipeline: &Pipeline, sink: &Sink, to: &[(Partition, Offset, Progress)]) -> Result<()> {
    let (group, topic) = (pipeline.sink_group(&sink.name), &pipeline.output.topic);
    tokio::task::block_in_place(|| admin::copy_positions(&pipeline.kafka, &group, topic, to))?;
    Ok(())
}

/// Lets a sink read on from positions that were put back: the rows were put back with them. Returns
/// the positions; empty if none was put back.
///
/// # Errors
/// The sink is running, or a server is unavailable.
pub async fn restored(
    pipeline: &Pipeline,
    sink: &Sink,
    partition: Option<Partition>,
) -> Result<Vec<(Partition, Offset)>> {
    let gap = find(pipeline, Hop::Sink(sink)).await?;
    let put_back = chosen(&gap, partition).filter_map(|lost| match lost.halt {
        Halt::PutBack { next, .. } => Some((lost.partition, next, lost.progress)),
        _ => None,
    });
    let put_back: Vec<(Partition, Offset, Progress)> = put_back.collect();
    if put_back.is_empty() {
        return Ok(Vec::new());
    }
    tokio::task::block_in_place(|| check_stopped(pipeline, Hop::Sink(sink)))?;
    let target = weir_store::reader::open(pipeline, sink)?;
    for (partition, next, progress) in &put_back {
        if target.holds_later(*partition, *next, progress.last).await? == Some(true) {
            refuse!(
                "partition {partition}: {} holds what was written after the position {next}, so it \
                 was not restored with it",
                target.name()
            );
        }
    }
    copy(pipeline, sink, &put_back)?;
    Ok(put_back.into_iter().map(|(partition, next, _)| (partition, next)).collect())
}
