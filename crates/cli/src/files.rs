//! `weir files`: the files of a sink that count, and those that writers left behind.

use anyhow::{Result, bail};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use weir_audit::format::grouped;
use weir_model::mistake::did_you_mean;
use weir_model::pipeline::Pipeline;
use weir_store::TargetReader;
use weir_store::reader::CommittedFile;

/// The arguments of `weir files`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the files that count: those whose transaction was committed, one path per line.
    #[command(
        after_help = "Example, with DuckDB:\n  weir files ls calls.toml | duckdb -c \"select \
            count(*) from read_parquet((select list(path) from read_csv('/dev/stdin', header = \
            false, columns = {'path': 'varchar'})))\""
    )]
    Ls(Ls),
    /// List the files that do not count, because their writer was killed before the commit, and with
    /// --yes delete them. May run beside the sink.
    Sweep(Sweep),
}

#[derive(Debug, clap::Args)]
struct Ls {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// Of this sink only.
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Print JSON: path, rows, size, hash and transaction of each file.
    #[arg(long)]
    json: bool,
    /// Print a manifest as Redshift's COPY reads it.
    #[arg(long, conflicts_with = "json")]
    manifest: bool,
}

#[derive(Debug, clap::Args)]
struct Sweep {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// Of this sink only.
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Leave younger files alone, such as 30m or 24h: a writer may be about to commit them. It could
    /// not any more, and would have to write them again.
    #[arg(long, default_value = "1h", value_parser = duration)]
    older_than: Duration,
    /// Delete them.
    #[arg(long)]
    yes: bool,
}

/// Prints the files, or deletes what does not count.
///
/// # Errors
/// When the target is unavailable, or the file has mistakes.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        Command::Ls(args) => list(args).await?,
        Command::Sweep(args) => sweep(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(args: Ls) -> Result<()> {
    let pipeline = Pipeline::load(&args.file)?;
    let mut all = Vec::new();
    for (_, target) in targets(&pipeline, args.sink.as_deref())? {
        if let Some(files) = target.files() {
            all.extend(files.list().await?);
        }
    }
    match (args.json, args.manifest) {
        (true, _) => println!("{}", serde_json::to_string_pretty(&all)?),
        (_, true) => println!("{}", serde_json::to_string_pretty(&manifest(&all))?),
        _ => all.iter().for_each(|file| println!("{}", file.path)),
    }
    Ok(())
}

fn manifest(files: &[CommittedFile]) -> serde_json::Value {
    let entry = |file: &CommittedFile| {
        let meta = serde_json::json!({"content_length": file.bytes});
        serde_json::json!({"url": file.path, "mandatory": true, "meta": meta})
    };
    serde_json::json!({"entries": files.iter().map(entry).collect::<Vec<_>>()})
}

async fn sweep(args: Sweep) -> Result<()> {
    let pipeline = Pipeline::load(&args.file)?;
    for (sink, target) in targets(&pipeline, args.sink.as_deref())? {
        let Some(files) = target.files() else { continue };
        let orphans = files.orphans(args.older_than).await?;
        let found = match args.yes {
            true => files.sweep(orphans).await?,
            false => orphans,
        };
        found.iter().for_each(|orphan| println!("{}", orphan.path));
        let bytes = found.iter().map(|orphan| orphan.bytes).sum();
        let what = match (args.yes, found.is_empty()) {
            (_, true) => "nothing to delete",
            (true, _) => "deleted",
            (false, _) => "do not count; --yes deletes them",
        };
        let num_files = grouped(found.len() as u64);
        eprintln!("{sink}: {num_files} files, {} bytes: {what}", grouped(bytes));
    }
    Ok(())
}

/// The sinks that keep their rows in files.
fn targets(
    pipeline: &Pipeline,
    only: Option<&str>,
) -> Result<Vec<(String, Arc<dyn TargetReader>)>> {
    let mut targets = Vec::new();
    for sink in pipeline.sinks.iter().filter(|sink| only.is_none_or(|only| sink.name == only)) {
        let target = weir_store::reader::open(pipeline, sink)?;
        match (target.files().is_some(), only) {
            (true, _) => targets.push((sink.name.clone(), target)),
            (false, Some(name)) => bail!("sink {name} keeps its rows in {}", target.name()),
            (false, None) => {}
        }
    }
    if targets.is_empty() {
        let names = || pipeline.sinks.iter().map(|sink| sink.name.as_str());
        match only {
            Some(name) => bail!("the file has no sink {name}{}", did_you_mean(name, names())),
            None => bail!("no sink of {} keeps its rows in files", pipeline.file.display()),
        }
    }
    Ok(targets)
}

/// `90s`, `30m`, `24h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    let number = number.parse::<u64>().ok().filter(|_| seconds > 0);
    let seconds = number.and_then(|number| number.checked_mul(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "is not a duration such as 30m or 24h".into())
}
