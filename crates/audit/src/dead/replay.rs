//! Replay: writes the records of dead letters to the input topic again. The pipeline, which was
//! fixed in the meantime, processes them like new records.
//!
//! A record always returns to the input topic, whichever service refused it, so that the lineage of
//! the output is unbroken and the audit can count the record. A dead letter of the enricher
//! contains the record itself; the lineage of a sink's dead letter names its input record. Each
//! record is replayed once ([`weir_kafka::replay`]). A record that was replayed and dead-lettered
//! again is replayed again only on request, so there are no loops.

mod choice;
mod copy;
mod mapping;
mod pace;
mod report;

use super::filter::Filter;
use super::read;
use crate::Result;
use crate::error::refuse;
use crate::format::grouped;
use choice::{Choice, Rules};
use copy::{Copier, Out};
use mapping::{Forecast, Repair};
use weir_kafka::replay::Marks;
use weir_kafka::{admin, positions};
use weir_model::pipeline::Pipeline;

pub use report::{CountAndFirst, Outlook, Report};

/// What to replay, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which dead letters.
    pub filter: Filter,
    /// The maximum number of records.
    pub limit: Option<usize>,
    /// Records per second; 0 = unlimited.
    pub rate: u64,
    /// Compute which records would be replayed and what the pipeline would do with them now; change
    /// nothing.
    pub dry_run: bool,
    /// SQL that repairs the records: `SELECT … FROM input`. The result must have all fields of the
    /// input schema. Records that it filters stay dead letters.
    pub sql: Option<String>,
    /// How often a record may be replayed in total.
    pub max_replays: u32,
    /// Replay although a sink merges by key and does not know which version is newer.
    pub overwrite: bool,
}

/// The marks of the records that were replayed already.
///
/// # Errors
/// The broker is unavailable.
pub fn marks(pipeline: &Pipeline) -> Result<Marks> {
    Ok(tokio::task::block_in_place(|| weir_kafka::replay::marks(pipeline))?)
}

/// Replays. The report is complete even if the second value is an error: the records replayed until
/// then are marked, and a repeated call continues after them.
///
/// # Errors
/// Mistakes in the file or the SQL; broker, registry or target unavailable; older versions could
/// replace newer rows: nothing was replayed.
pub async fn replay(pipeline: &Pipeline, options: &Options) -> Result<(Report, Result<()>)> {
    check_order(pipeline, options).await?;
    let repair = match &options.sql {
        Some(sql) => Some(Repair::new(pipeline, sql).await?),
        None => None,
    };
    let forecast = if options.dry_run { Some(Forecast::new(pipeline)?) } else { None };
    let out = tokio::task::block_in_place(|| open(pipeline, options.dry_run))?;
    let mut report = Report::new(pipeline, options.dry_run);
    let choice = choose(pipeline, options, &out, &mut report).await?;
    let limits = copy::Limits { rate: options.rate, max_replays: options.max_replays };
    let mut copier = Copier::new(pipeline, out, (repair, forecast), limits, &mut report);
    let copied = tokio::task::block_in_place(|| copier.copy(&choice));
    Ok((report, copied))
}

/// A record that comes back is the last one of its key, whatever came after its first time. Only a
/// target that knows the order keeps the newer row.
async fn check_order(pipeline: &Pipeline, options: &Options) -> Result<()> {
    let forgetful: Vec<String> = pipeline
        .sinks
        .iter()
        .filter(|sink| sink.target.forgets_order())
        .map(|sink| format!("{} ({})", sink.name, sink.target.name()))
        .collect();
    if options.overwrite {
        return Ok(());
    }
    if forgetful.is_empty() {
        return check_rows(pipeline).await;
    }
    refuse!(
        "sink {} merges by key and has no lineage columns, so an older record that comes back would \
         replace a newer row. With `lineage = true` in the sink, rows that are written from then on \
         are compared; --overwrite replays all the same",
        forgetful.join(", sink ")
    )
}

/// Rows that are older than their table's lineage columns cannot be compared either.
async fn check_rows(pipeline: &Pipeline) -> Result<()> {
    for sink in &pipeline.sinks {
        if sink.target.keeps_every_record() {
            continue;
        }
        let rows = weir_store::reader::open(pipeline, sink)?.rows_without_origin().await?;
        if rows > 0 {
            refuse!(
                "sink {} ({}) merges by key, and {} rows have no lineage, so that an older record that \
                 comes back would replace them; --overwrite replays all the same",
                sink.name,
                sink.target.name(),
                grouped(rows)
            );
        }
    }
    Ok(())
}

/// Unless this is a dry run, no other replay of this pipeline can write from here on.
fn open(pipeline: &Pipeline, dry_run: bool) -> Result<Out> {
    let topic = &pipeline.input.topic;
    if admin::partitions(&pipeline.kafka, topic)?.is_none() {
        refuse!("topic {topic} does not exist: this pipeline has never run here");
    }
    // If other programs write the input, the topic of the marks may not exist yet.
    if !dry_run && admin::partitions(&pipeline.kafka, positions::TOPIC)?.is_none() {
        let mistakes = admin::ensure(&pipeline.kafka, &admin::topics(pipeline))?;
        if !mistakes.is_empty() {
            return Err(pipeline.mistakes(mistakes).into());
        }
    }
    Ok(Out::open(pipeline, dry_run)?)
}

/// Decides about every dead letter that meets the filter.
async fn choose(
    pipeline: &Pipeline,
    options: &Options,
    out: &Out,
    report: &mut Report,
) -> Result<Choice> {
    let mut rules = Rules::new(pipeline, out.marks(), options.max_replays);
    if pipeline.sinks.len() > 1 {
        for sink in &pipeline.sinks {
            rules.refused_by(&sink.name, read::of_sink(pipeline, sink).await?);
        }
    }
    let mut choice = Choice::new(options.limit);
    read::each(pipeline, &options.filter, |dead_letter| {
        choice.add(&dead_letter, rules.decide(&dead_letter), report);
    })
    .await?;
    Ok(choice)
}
