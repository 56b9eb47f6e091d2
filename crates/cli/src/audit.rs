//! `weir audit`: one table, hop by hop, from counters that every service commits together with its
//! data.

pub(crate) mod counts;
mod deep;
pub(crate) mod lineage;
mod verdict;

pub(crate) use verdict::{Verdict, grouped};

use anyhow::Result;
use std::process::ExitCode;
use weir_model::pipeline::Pipeline;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir audit deploy/pipelines/telecom.toml\n  weir audit deploy/pipelines/telecom.toml --deep --json\n\n\
    Exit code: 0 every record is accounted for, 1 not, or it could not be told, 78 mistakes in the file."
)]
pub(crate) struct Args {
    /// The pipeline file.
    pub(crate) file: std::path::PathBuf,
    /// Read topics and targets again and recompute everything independently of the books.
    #[arg(long)]
    pub(crate) deep: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the verdict; the exit code is 0 only if every record is accounted for.
///
/// # Errors
/// When the broker or a database is away, or the file has mistakes.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let mut verdict = verdict(&pipeline).await?;
    if args.deep {
        let findings = deep::findings(&pipeline, &verdict).await?;
        verdict.findings.extend(findings);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&json(&verdict))?);
    } else {
        print!("{verdict}");
    }
    Ok(if verdict.clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn json(verdict: &Verdict) -> serde_json::Value {
    let mut value = serde_json::json!(verdict);
    value["clean"] = verdict.clean().into();
    value
}

/// Whether every hop has read all that the one before it handed on, going by the books alone.
///
/// # Errors
/// When the broker or a database is away.
pub(crate) async fn arrived(pipeline: &Pipeline) -> Result<bool> {
    let books = counts::take(pipeline).await?;
    Ok(books.arrived()
        && (pipeline.source.is_some() || books.verdict(pipeline).await?.nothing_waits()))
}

/// Compares the books of all hops; the pipeline may run meanwhile.
///
/// # Errors
/// When the broker or a database is away.
pub(crate) async fn verdict(pipeline: &Pipeline) -> Result<Verdict> {
    counts::take(pipeline).await?.verdict(pipeline).await
}
