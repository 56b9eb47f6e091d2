//! `weir audit`: one table, hop by hop, from counters that every service commits together with its
//! data.

use crate::table;
use anyhow::Result;
use std::process::ExitCode;
use weir_audit::format::grouped;
use weir_audit::verdict::Hop;
use weir_audit::{Verdict, deep};
use weir_model::pipeline::Pipeline;

/// The arguments of `weir audit`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir audit deploy/pipelines/telecom.toml\n  weir audit deploy/pipelines/telecom.toml --deep --json\n\n\
    Exit code: 0 every record is accounted for, 1 if not or if it is unknown, 78 mistakes in the file."
)]
pub(crate) struct Args {
    /// The pipeline file.
    pub(crate) file: std::path::PathBuf,
    /// Read topics and targets again and recompute everything independently of the counts.
    #[arg(long)]
    pub(crate) deep: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints the verdict; the exit code is 0 only if every record is accounted for.
///
/// # Errors
/// When the broker or a database is unavailable, or the file has mistakes.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let mut verdict = weir_audit::verdict(&pipeline).await?;
    if args.deep {
        let findings = deep::findings(&pipeline, &verdict).await?;
        verdict.findings.extend(findings);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&json(&verdict))?);
    } else {
        print!("{}", text(&verdict));
    }
    Ok(if verdict.clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn json(verdict: &Verdict) -> serde_json::Value {
    let mut value = serde_json::json!(verdict);
    value["clean"] = verdict.clean().into();
    value
}

/// The table for a terminal.
pub(crate) fn text(verdict: &Verdict) -> String {
    let judgement = if verdict.clean() {
        "everything is accounted for"
    } else {
        "NOT everything is accounted for"
    };
    let header =
        ["hop", "read", "written", "filtered", "dead", "waiting", "unaccounted"].map(String::from);
    let rows: Vec<[String; 7]> =
        std::iter::once(header).chain(verdict.hops.iter().map(cells)).collect();
    let mut lines = vec![format!("audit {:42} {judgement}", verdict.pipeline)];
    lines.extend(table::lines(&rows, |column| column > 0));
    lines.extend(verdict.accepted.iter().map(|accepted| format!("accepted loss  {accepted}")));
    lines.extend(verdict.notes.iter().map(|note| format!("· {note}")));
    lines.extend(verdict.findings.iter().map(|finding| format!("✘ {finding}")));
    lines.iter().map(|line| format!(" {line}\n")).collect()
}

fn cells(hop: &Hop) -> [String; 7] {
    let c = &hop.counters;
    let waiting = hop.waiting.map_or("–".into(), grouped);
    let unaccounted = format!(
        "{}{}",
        if hop.unaccounted < 0 { "−" } else { "" },
        grouped(hop.unaccounted.unsigned_abs() as u64)
    );
    [
        hop.name.clone(),
        grouped(c.read),
        grouped(c.written),
        grouped(c.filtered),
        grouped(c.dead),
        waiting,
        unaccounted,
    ]
}
