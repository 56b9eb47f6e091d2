//! `weir topics`: the content of the pipeline's topics and the lag of each reader.

use crate::table;
use anyhow::Result;
use std::process::ExitCode;
use weir_audit::format::grouped;
use weir_audit::topics::{self, Row};
use weir_model::pipeline::Pipeline;

/// The arguments of `weir topics`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir topics deploy/pipelines/telecom.toml\n  \
        weir topics deploy/pipelines/telecom.toml --json")]
pub(crate) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints a row per topic and partition.
///
/// # Errors
/// When the broker is unavailable, or the file has mistakes.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let topics = topics::read(&pipeline).await?;
    for sink in &topics.silent {
        eprintln!("the target of sink {sink} is unavailable: its lag is not shown");
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&topics.rows)?),
        false => print(&topics.rows),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(rows: &[Row]) {
    let cells = |row: &Row| {
        let lag: Vec<String> =
            row.lag.iter().map(|(name, lag)| format!("{name} {}", grouped(*lag))).collect();
        let last = row.last.map_or("–".into(), |last| grouped(last as u64));
        let (records, bytes) = (grouped(row.records), grouped(row.bytes));
        [
            row.topic.clone(),
            row.partition.to_string(),
            grouped(row.first as u64),
            last,
            records,
            bytes,
            lag.join(" · "),
        ]
    };
    let header =
        ["topic", "partition", "first", "last", "records", "bytes", "lag"].map(String::from);
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    table::lines(&rows, |column| (1..6).contains(&column))
        .iter()
        .for_each(|line| println!("{line}"));
}
