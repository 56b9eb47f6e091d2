//! `weir dead replay`: records come back from the dead letters to the input topic, where the
//! pipeline, mended meanwhile, processes them anew.
//!
//! Whatever refused it, a record always comes back to the input topic, so that the chain of the
//! output stays unbroken and the audit can count it. A dead letter of the enricher holds the record
//! itself; a dead letter of a sink leads to it by its lineage. Each record comes back once
//! ([`weir_kafka::replay`]), and one that came back and died again stays dead unless it is asked
//! for: no loop arises by itself.

mod choice;
mod copy;
mod mapping;
mod pace;
mod report;

use super::filter::Filter;
use super::read;
use anyhow::{Context, Result};
use choice::{Choice, Rules};
use copy::{Copier, Out};
use mapping::{Forecast, Repair};
use report::Report;
use std::process::ExitCode;
use weir_kafka::{admin, positions};
use weir_model::pipeline::Pipeline;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir dead replay deploy/pipelines/telecom.toml --reason negative_duration --dry-run\n  \
    weir dead replay deploy/pipelines/telecom.toml --reason negative_duration --rate 500\n  \
    weir dead replay deploy/pipelines/telecom.toml --sink warehouse \\\n      \
    --sql \"SELECT * EXCEPT (caller_name), substr(caller_name, 1, 50) AS caller_name FROM input\"\n\n\
    May be interrupted and repeated: a record comes back once. Exit code: 0 all that were chosen came back, now or before; 1 some did not; \
    78 mistakes in the file or the SQL."
)]
pub(super) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// At most so many records.
    #[arg(long)]
    limit: Option<usize>,
    /// Records per second; 0 for as fast as possible.
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Say what would come back and what the pipeline as it is now would do with it; change
    /// nothing.
    #[arg(long)]
    dry_run: bool,
    /// Repair the records on their way: SELECT … FROM input, with all fields of the input schema as
    /// its result. What it filters stays dead.
    #[arg(long, value_name = "SELECT")]
    sql: Option<String>,
    /// How often one record may come back in all: records that came back and died again stay dead
    /// unless this is raised.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max_replays: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: Filter,
}

/// Replays and prints what came of it.
///
/// # Errors
/// Mistakes in the file or the SQL; broker, registry or database away; another replayer of the
/// pipeline has begun. What came back until then is printed before.
pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let repair = match &args.sql {
        Some(sql) => Some(Repair::new(&pipeline, sql).await?),
        None => None,
    };
    let forecast = if args.dry_run { Some(Forecast::new(&pipeline)?) } else { None };
    let out = tokio::task::block_in_place(|| open(&pipeline, args.dry_run))?;
    let mut report = Report::new(&pipeline, args.dry_run);
    let choice = choose(&pipeline, &args, &out, &mut report).await?;
    let limits = copy::Limits { rate: args.rate, max_replays: args.max_replays };
    let mut copier = Copier::new(&pipeline, out, (repair, forecast), limits, &mut report);
    let copied = tokio::task::block_in_place(|| copier.copy(&choice));
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    copied.context("what came back until then is marked; the same command goes on from there")?;
    Ok(if report.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// From here on nobody else replays this pipeline, unless nothing is to be changed.
fn open(pipeline: &Pipeline, dry_run: bool) -> Result<Out> {
    let topic = &pipeline.input.topic;
    admin::partitions(&pipeline.kafka, topic)?.with_context(|| {
        format!("topic {topic} does not exist: this pipeline has never run here")
    })?;
    // A pipeline that other programs fill may never have needed the topic that the marks go to.
    if !dry_run && admin::partitions(&pipeline.kafka, positions::TOPIC)?.is_none() {
        let mistakes = admin::ensure(&pipeline.kafka, &admin::topics(pipeline))?;
        anyhow::ensure!(mistakes.is_empty(), pipeline.mistakes(mistakes));
    }
    Ok(Out::open(pipeline, dry_run)?)
}

/// Looks at every dead letter that is meant and decides what becomes of it.
async fn choose(
    pipeline: &Pipeline,
    args: &Args,
    out: &Out,
    report: &mut Report,
) -> Result<Choice> {
    let mut rules = Rules::new(pipeline, out.marks(), args.max_replays);
    if pipeline.sinks.len() > 1 {
        for sink in &pipeline.sinks {
            rules.refused_by(&sink.name, read::of_sink(pipeline, &sink.name).await?);
        }
    }
    let mut choice = Choice::new(args.limit);
    read::each(pipeline, &args.filter, |dead_letter| {
        choice.add(&dead_letter, rules.judge(&dead_letter), report)
    })
    .await?;
    Ok(choice)
}
