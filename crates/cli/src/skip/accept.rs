//! Moves positions and puts that on record, in one transaction, while nobody else reads.

use super::gaps::{Gap, Hop, Lost, look, outside};
use anyhow::{Context, Result, bail, ensure};
use jiff::{Timestamp, Unit as Time};
use std::time::{Duration, Instant};
use weir_kafka::{Consumer, Rebalance, TransactionalProducer, accepted_loss, admin};
use weir_model::accepted_loss::{AcceptedLoss, Emitted, Skip};
use weir_model::fault::Class;
use weir_model::pipeline::{Pipeline, Sink, Target};
use weir_model::protocol::{Claim, Outcome, Partition};
use weir_store::{Move, PositionKey, Store};

/// For the group to be joined, and for transactions of those who are gone to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// Accepts what is lost at a hop; returns what is on record now, nothing if no position is outside
/// its log.
///
/// # Errors
/// When others are at work, when it cannot be told where to go on or how much is given up, or when
/// a server is away.
pub(crate) async fn accept(
    pipeline: &Pipeline,
    hop: Hop<'_>,
    partition: Option<Partition>,
    reason: &str,
) -> Result<Vec<AcceptedLoss>> {
    let mut outside = outside(pipeline, hop).await?;
    outside.retain(|found| partition.is_none_or(|partition| partition == *found));
    // A hop that has nothing to accept need not be stopped for it.
    if outside.is_empty() {
        return Ok(Vec::new());
    }
    tokio::task::block_in_place(|| nobody_works(pipeline, hop))?;
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

fn nobody_works(pipeline: &Pipeline, hop: Hop<'_>) -> Result<()> {
    let mut members = admin::members(&pipeline.kafka, &hop.group(pipeline))?;
    members.sort();
    ensure!(
        members.is_empty(),
        "{} still has members at work ({}): stop them first; one that was killed counts until its session times out, {} s",
        hop.name(),
        members.join(", "),
        pipeline.kafka.session_timeout.as_secs_f32()
    );
    Ok(())
}

/// What is known must be enough to go on without losing or doubling more.
fn moves(gap: &Gap, hop: Hop<'_>, partition: Option<Partition>) -> Result<Vec<Skip>> {
    let upstream = if matches!(hop, Hop::Enricher) { "input topic" } else { "output topic" };
    ensure!(
        !gap.moving,
        "records keep arriving in the {upstream}, so those that are lost cannot be counted: stop what writes to it for a moment"
    );
    let skip = |lost: &Lost| {
        lost.skip().map_err(|why| anyhow::anyhow!("partition {}: {why}", lost.partition))
    };
    chosen(gap, partition).map(skip).collect()
}

/// The group is joined, so that nobody else can; the position moves with the proof of membership,
/// in the transaction that holds the record of the act. A member that comes in between makes the
/// broker refuse it.
async fn enricher(
    pipeline: &Pipeline,
    partition: Option<Partition>,
    reason: &str,
) -> Result<Vec<AcceptedLoss>> {
    let consumer = tokio::task::block_in_place(|| alone(pipeline))?;
    let gap = look(pipeline, Hop::Enricher).await?;
    ensure!(
        partition.is_none() || gap.lost.len() < 2,
        "{} partitions have lost records, and only all of them together can be counted: accept them without --partition",
        gap.lost.len()
    );
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
        at: Timestamp::now().round(Time::Millisecond)?.to_string(),
    };
    let claims: Vec<Claim> = chosen(&gap, partition).filter_map(claim).collect();
    tokio::task::block_in_place(|| commit(pipeline, &consumer, &claims, &accepted_loss))?;
    Ok(vec![accepted_loss])
}

/// Nobody emits now, so what comes behind these ends comes from after the skip.
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
    let (next, progress) = lost.way.ok()?;
    Some(Claim { partition: lost.partition, fence: 0, expected: lost.from, next, progress })
}

/// A consumer that is the group's only member, with all transactions ended that still touch its
/// positions.
fn alone(pipeline: &Pipeline) -> Result<Consumer> {
    let (kafka, topic, group) = (&pipeline.kafka, &pipeline.input.topic, pipeline.enricher_group());
    let all = admin::partitions(kafka, topic)?
        .with_context(|| format!("topic {topic} does not exist"))?;
    let mut consumer = Consumer::join(kafka, &group, topic, "weir-skip")?;
    let started = Instant::now();
    while !owns(&mut consumer, &all)? {
        ensure!(
            started.elapsed() < REQUEST_TIMEOUT,
            "group {group} did not let us in within {} s",
            REQUEST_TIMEOUT.as_secs()
        );
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
        ensure!(partitions == all, "an enricher has started meanwhile: stop it first");
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
    let mut unit =
        TransactionalProducer::open(&pipeline.kafka, &format!("weir.{}.skip", pipeline.name))?;
    unit.begin()?;
    accepted_loss::write(&mut unit, &pipeline.name, accepted_loss)?;
    let outcome = unit.commit(Some((consumer, claims)));
    let fault = unit.fault().map_or_else(|| "no reason given".into(), |fault| fault.to_string());
    match outcome {
        Outcome::Committed => Ok(()),
        Outcome::Refused => bail!("nothing was changed: {fault}"),
        Outcome::Unknown => bail!(
            "it is not known whether it was done: {fault}; position and record move together, so `weir skip` tells"
        ),
    }
}

/// The fence is raised as for a new owner, so that whoever wrote before can do so no more; then
/// position and record move together.
async fn sink(
    pipeline: &Pipeline,
    sink: &Sink,
    partitions: &[Partition],
    reason: &str,
) -> Result<Vec<AcceptedLoss>> {
    let Target::Postgres(target) = &sink.target;
    let store = Store::new(&target.url, &format!("skip {}/{}", pipeline.name, sink.name))?;
    let cluster = tokio::task::block_in_place(|| admin::cluster_id(&pipeline.kafka))?;
    let ledger = PositionKey {
        pipeline: pipeline.name.clone(),
        sink: sink.name.clone(),
        topic: pipeline.output.topic.clone(),
        cluster,
    };
    let held = store.acquire(&ledger, partitions).await?;
    let mut gap = look(pipeline, Hop::Sink(sink)).await?;
    gap.lost.retain(|lost| partitions.contains(&lost.partition));
    let skips = moves(&gap, Hop::Sink(sink), None)?;
    for (lost, skip) in gap.lost.iter().zip(&skips) {
        let committed = held.iter().find(|held| held.partition == lost.partition);
        let (Some(committed), Some(from), Ok((to, progress))) = (committed, lost.from, lost.way)
        else {
            continue;
        };
        let records = gap.records(&[*skip]).unwrap_or_default();
        let order = Move {
            partition: lost.partition,
            fence: committed.fence,
            from,
            to,
            last: progress.last,
            records,
        };
        let moved = store.accept(&ledger, &order, reason).await?;
        ensure!(
            moved,
            "partition {}: a sink has started meanwhile and nothing was changed there: stop it first",
            lost.partition
        );
    }
    let mut all = store.accepted(&pipeline.name).await?;
    all.retain(|a| a.hop == sink.name && a.topic == ledger.topic);
    Ok(all.split_off(all.len().saturating_sub(skips.len())))
}
