//! Replay: records come back from the dead letters to the input topic, where the pipeline, fixed in
//! the meantime, processes them as new ones.
//!
//! Whichever service refused it, a record always comes back to the input topic, so that the lineage
//! of the output stays unbroken and the audit can count it. A dead letter of the enricher holds the
//! record itself; a dead letter of a sink leads to it by its lineage. Each record comes back once
//! ([`weir_kafka::replay`]). A record that came back and was dead-lettered again stays dead unless
//! it is asked for, so that no loop can arise.

mod choice;
mod copy;
mod mapping;
mod pace;
mod report;

use super::filter::Filter;
use super::read;
use crate::Result;
use crate::error::refuse;
use choice::{Choice, Rules};
use copy::{Copier, Out};
use mapping::{Forecast, Repair};
use weir_kafka::replay::Marks;
use weir_kafka::{admin, positions};
use weir_model::pipeline::Pipeline;

pub use report::{Few, Outlook, Report};

/// What is replayed, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which dead letters.
    pub filter: Filter,
    /// At most so many records.
    pub limit: Option<usize>,
    /// Records per second; 0 = unlimited.
    pub rate: u64,
    /// Compute what would come back and what the pipeline would do with it now; change nothing.
    pub dry_run: bool,
    /// SQL that repairs the records: `SELECT … FROM input`, with all fields of the input schema as
    /// its result. What it filters stays dead.
    pub sql: Option<String>,
    /// How often one record may come back in all.
    pub max_replays: u32,
}

/// The marks of the records that came back already.
///
/// # Errors
/// The broker is unavailable.
pub fn marks(pipeline: &Pipeline) -> Result<Marks> {
    Ok(tokio::task::block_in_place(|| weir_kafka::replay::marks(pipeline))?)
}

/// Replays. The report is complete also when the second value is an error: what came back until
/// then is marked, and a repeated call continues there.
///
/// # Errors
/// Mistakes in the file or the SQL; broker, registry or target unavailable: nothing came back.
pub async fn replay(pipeline: &Pipeline, options: &Options) -> Result<(Report, Result<()>)> {
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

/// Unless nothing is to be changed, no other replay of this pipeline can write from here on.
fn open(pipeline: &Pipeline, dry_run: bool) -> Result<Out> {
    let topic = &pipeline.input.topic;
    if admin::partitions(&pipeline.kafka, topic)?.is_none() {
        refuse!("topic {topic} does not exist: this pipeline has never run here");
    }
    // A pipeline whose input other programs write may never have needed the topic of the marks.
    if !dry_run && admin::partitions(&pipeline.kafka, positions::TOPIC)?.is_none() {
        let mistakes = admin::ensure(&pipeline.kafka, &admin::topics(pipeline))?;
        if !mistakes.is_empty() {
            return Err(pipeline.mistakes(mistakes).into());
        }
    }
    Ok(Out::open(pipeline, dry_run)?)
}

/// Decides for every dead letter that the filter takes.
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
