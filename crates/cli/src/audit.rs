//! `weir audit`: one table, hop by hop, from counters that every service commits together with its
//! data.

use crate::table;
use anyhow::Result;
use std::process::ExitCode;
use weir_audit::format::grouped;
use weir_audit::verdict::{Halt, Hop};
use weir_audit::{Verdict, content, deep};
use weir_codec::Schema;
use weir_kafka::positions;
use weir_model::pipeline::Pipeline;
use weir_producer::source;

/// The arguments of `weir audit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir audit deploy/pipelines/telecom.toml\n  \
        weir audit deploy/pipelines/telecom.toml --deep --json\n\n\
    Exit code: 0 every record is accounted for or waits its turn, 1 not, or a service is halted, \
    or it could not be told, 78 mistakes in the file.")]
pub(crate) struct Args {
    /// The pipeline file.
    pub(crate) file: std::path::PathBuf,
    /// Read topics and targets again and recompute everything independently of the counts.
    #[arg(long)]
    pub(crate) deep: bool,
    /// Also compare every row with the record it was made from (tables with `lineage = true`).
    #[arg(long, requires = "deep")]
    pub(crate) content: bool,
    /// With --content: compare one record of so many.
    #[arg(long, default_value_t = 1, requires = "content")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sample: u64,
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
    tokio::task::block_in_place(|| source(&pipeline, &mut verdict))?;
    if args.deep {
        let findings = deep::findings(&pipeline, &verdict).await?;
        verdict.findings.extend(findings);
        verdict.notes.extend(deep::limits(&pipeline));
    }
    if args.content {
        let compared = content::compare(&pipeline, args.sample).await?;
        verdict.findings.extend(compared.findings);
        verdict.notes.extend(compared.notes);
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&json(&verdict))?);
    } else {
        print!("{}", text(&verdict));
    }
    Ok(if verdict.clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Adds the partitions of the source in which a producer would halt at its start, since the source is
/// not the one any more that was read.
fn source(pipeline: &Pipeline, verdict: &mut Verdict) -> Result<()> {
    let Some(config) = &pipeline.source else { return Ok(()) };
    let source = match source::build(pipeline, &Schema::load(&pipeline.input.schema)?) {
        Ok(source) => source,
        Err(mistakes) => {
            let what = mistakes.into_iter().map(|mistake| mistake.what).collect::<Vec<_>>();
            verdict.notes.push(format!("producer: no producer would start: {}", what.join("; ")));
            return Ok(());
        }
    };
    let all: Vec<u32> = (0..source.partitions()).collect();
    let positions = positions::read(&pipeline.kafka, &pipeline.name, config.kind(), &all)?;
    for (partition, position) in positions {
        match source.open(partition, Some(&position.position)) {
            Ok(_) | Err(source::Error::Unavailable { .. }) => {}
            Err(error) => verdict.halts.push(Halt {
                hop: "producer".into(),
                what: format!("source[{partition}]"),
                reason: error.to_string(),
            }),
        }
    }
    Ok(())
}

fn json(verdict: &Verdict) -> serde_json::Value {
    let mut value = serde_json::json!(verdict);
    value["clean"] = verdict.clean().into();
    value
}

/// The table for a terminal.
pub(crate) fn text(verdict: &Verdict) -> String {
    let header =
        ["hop", "read", "unnested", "written", "filtered", "dead", "waiting", "unaccounted"];
    let mut rows = vec![header.map(String::from).to_vec()];
    rows.extend(verdict.hops.iter().map(cells));
    if verdict.hops.iter().all(|hop| hop.counters.unnested == 0) {
        rows.iter_mut().for_each(|row| drop(row.remove(2)));
    }
    let mut lines = vec![format!("audit {:42} {}", verdict.pipeline, verdict.summary())];
    lines.extend(table::lines(&rows, |column| column > 0));
    lines.extend(verdict.accepted.iter().map(|accepted| format!("accepted loss  {accepted}")));
    let halt = |halt: &Halt| format!("■ {} {}: halted: {}", halt.hop, halt.what, halt.reason);
    lines.extend(verdict.halts.iter().map(halt));
    lines.extend(verdict.notes.iter().map(|note| format!("· {note}")));
    lines.extend(verdict.findings.iter().map(|finding| format!("✘ {finding}")));
    lines.iter().map(|line| format!(" {line}\n")).collect()
}

fn cells(hop: &Hop) -> Vec<String> {
    let c = &hop.counters;
    let waiting = hop.waiting.map_or("–".into(), grouped);
    let unaccounted = format!(
        "{}{}",
        if hop.unaccounted < 0 { "−" } else { "" },
        grouped(hop.unaccounted.unsigned_abs() as u64)
    );
    vec![
        hop.name.clone(),
        grouped(c.read),
        grouped(c.unnested),
        grouped(c.written),
        grouped(c.filtered),
        grouped(c.dead),
        waiting,
        unaccounted,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::progress::Counters;

    #[test]
    fn records_too_many_are_shown_with_their_sign_and_never_as_accounted_for() {
        for (unaccounted, shown) in [(0, "0"), (1, "1"), (-1, "−1"), (-1_234_567, "−1,234,567")]
        {
            let hop = Hop {
                name: "warehouse".into(),
                counters: Counters::default(),
                waiting: Some(0),
                accepted: 0,
                foreign: 0,
                unaccounted,
            };
            let verdict = Verdict {
                pipeline: "telecom".into(),
                hops: vec![hop],
                accepted: Vec::new(),
                halts: Vec::new(),
                findings: Vec::new(),
                notes: Vec::new(),
            };
            let text = text(&verdict);
            let row = text.lines().find(|line| line.contains("warehouse")).unwrap();
            assert_eq!(row.split_whitespace().last(), Some(shown), "{text}");
            assert_eq!(text.contains("NOT everything"), unaccounted != 0, "{text}");
            assert_eq!(json(&verdict)["clean"], unaccounted == 0);
        }
    }
}
