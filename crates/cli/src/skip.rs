//! `weir skip`: shows positions outside their log, and accepts such losses so that reading
//! continues.

use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use weir_audit::format::grouped;
use weir_audit::skip::{self, Gap, Hop, Lost};
use weir_model::pipeline::Pipeline;
use weir_model::protocol::{Halt, Partition};

/// The arguments of `weir skip`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir skip deploy/pipelines/telecom.toml\n  \
    weir skip deploy/pipelines/telecom.toml --hop enricher --accept --reason \"retention was too \
    short, see INC-7\"\n\n\
    Exit code: 0 no position is outside its log, or what was is accepted now; 1 there are such \
    positions; 78 mistakes in the file.")]
pub(crate) struct Args {
    /// The pipeline file.
    file: PathBuf,
    /// Move the positions and record the loss; without this option nothing is changed.
    #[arg(long, requires = "reason")]
    accept: bool,
    /// The reason, which the audit shows.
    #[arg(long, requires = "accept")]
    reason: Option<String>,
    /// The target was restored together with the positions that were put back: read on from them.
    #[arg(long, conflicts_with = "accept")]
    restored: bool,
    /// Only this hop: `enricher`, or the name of a sink.
    #[arg(long)]
    hop: Option<String>,
    /// Only this partition.
    #[arg(long)]
    partition: Option<Partition>,
}

/// Shows the losses, or accepts them.
///
/// # Errors
/// When the broker or a database is unavailable, the file has mistakes, or accepting is refused.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let hops = hops(&pipeline, args.hop.as_deref())?;
    match &args.reason {
        _ if args.restored => restored(&pipeline, &hops, args.partition).await,
        Some(reason) => accept(&pipeline, &hops, args.partition, reason.trim()).await,
        None => show(&pipeline, &hops, &args).await,
    }
}

fn hops<'a>(pipeline: &'a Pipeline, only: Option<&str>) -> Result<Vec<Hop<'a>>> {
    let all = skip::hops(pipeline);
    let names: Vec<&str> = all.iter().map(Hop::name).collect();
    if let Some(only) = only {
        ensure!(
            names.contains(&only),
            "{} has no hop `{only}`; there are: {}",
            pipeline.name,
            names.join(", ")
        );
    }
    Ok(all.iter().copied().filter(|hop| only.is_none_or(|only| only == hop.name())).collect())
}

async fn show(pipeline: &Pipeline, hops: &[Hop<'_>], args: &Args) -> Result<ExitCode> {
    let mut outside = 0;
    for hop in hops {
        let mut gap = skip::find(pipeline, *hop).await?;
        gap.lost.retain(|lost| args.partition.is_none_or(|partition| partition == lost.partition));
        print(pipeline, *hop, &gap, &args.file);
        outside += gap.lost.len();
    }
    if outside == 0 {
        println!(" skip {}: no position is outside its log", pipeline.name);
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn print(pipeline: &Pipeline, hop: Hop<'_>, gap: &Gap, file: &Path) {
    for lost in &gap.lost {
        println!(
            " {}  {}[{}]: {}; {}",
            hop.name(),
            hop.topic(pipeline),
            lost.partition,
            lost.halt,
            continuation(lost)
        );
    }
    print_restored(hop, gap, file);
    let skips = gap.skips();
    if skips.is_empty() {
        return;
    }
    let moving = if gap.moving { ", counted while records arrive" } else { "" };
    match gap.records(&skips) {
        _ if gap.lost.iter().any(|lost| matches!(lost.halt, Halt::PutBack { .. })) => println!(
            "   the records between are taken as those that the target holds, and not written again"
        ),
        _ if skips.iter().all(|skip| skip.from.is_none()) => println!("   nothing is given up"),
        Some(0) => println!(
            "   no record is unaccounted for{moving}: transaction markers take offsets too"
        ),
        Some(1) => println!("   1 record is unaccounted for{moving}"),
        Some(records) => println!("   {} records are unaccounted for{moving}", grouped(records)),
        None => println!(
            "   records that enter {} are not counted, so the number of lost records is unknown",
            hop.topic(pipeline)
        ),
    }
    println!(
        "   to accept it: stop the readers, then\n   weir skip {} --hop {} --accept --reason \"…\"",
        file.display(),
        hop.name()
    );
}

/// Where only an operator knows whether the target went back with the position.
fn print_restored(hop: Hop<'_>, gap: &Gap, file: &Path) {
    let is_put_back = |lost: &Lost| matches!(lost.halt, Halt::PutBack { .. });
    if let Hop::Sink(sink) = hop
        && !sink.target.has_lineage()
        && gap.lost.iter().any(is_put_back)
    {
        println!(
            "   if the target was restored together with the position, read on from it:\n   \
             weir skip {} --hop {} --restored",
            file.display(),
            hop.name()
        );
    }
}

fn continuation(lost: &Lost) -> String {
    match (&lost.continuation, lost.from) {
        (Ok((to, _)), Some(from)) if lost.halt == Halt::PositionMissing => {
            format!("it was {from}, which lies outside the log; reading would continue at {to}")
        }
        (Ok((to, _)), _) => format!("reading would continue at {to}"),
        (Err(why), _) => why.to_string(),
    }
}

async fn accept(
    pipeline: &Pipeline,
    hops: &[Hop<'_>],
    partition: Option<Partition>,
    reason: &str,
) -> Result<ExitCode> {
    ensure!(!reason.is_empty(), "--reason must not be empty: the audit shows it");
    let mut any = false;
    for hop in hops {
        for accepted_loss in skip::accept(pipeline, *hop, partition, reason).await? {
            println!(" accepted loss  {accepted_loss}");
            any = true;
        }
    }
    if !any {
        println!(
            " skip {}: no position is outside its log, so there is nothing to accept",
            pipeline.name
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn restored(
    pipeline: &Pipeline,
    hops: &[Hop<'_>],
    partition: Option<Partition>,
) -> Result<ExitCode> {
    let mut any = false;
    for hop in hops {
        let Hop::Sink(sink) = hop else { continue };
        for (partition, next) in skip::restored(pipeline, sink, partition).await? {
            println!(
                " restored  {}  {}[{partition}]: reads on at {next}",
                sink.name, pipeline.output.topic
            );
            any = true;
        }
    }
    if !any {
        println!(" skip {}: no position of a sink was put back", pipeline.name);
    }
    Ok(ExitCode::SUCCESS)
}
