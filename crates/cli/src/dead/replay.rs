//! `weir dead replay`.

use super::filter::{self, FilterArgs};
use super::text::printable;
use anyhow::{Context, Result};
use std::process::ExitCode;
use weir_audit::dead::replay::{CountAndFirst, Options, Outlook, Report, replay};
use weir_audit::format::grouped;
use weir_model::pipeline::Pipeline;

/// The arguments of `weir dead replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir dead replay deploy/pipelines/telecom.toml --reason \
        negative_duration --dry-run\n  \
        weir dead replay deploy/pipelines/telecom.toml --reason negative_duration --rate 500\n  \
        weir dead replay deploy/pipelines/telecom.toml --sink warehouse \\\n      \
        --sql \"SELECT * EXCEPT (caller_name), substr(caller_name, 1, 50) AS caller_name FROM \
        input\"\n\n\
    May be interrupted and repeated: a record comes back once. Exit code: 0 all that were chosen \
    came back, now or before; 1 some did not; 78 mistakes in the file or the SQL.")]
pub(super) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// Replay at most this many records.
    #[arg(long)]
    limit: Option<usize>,
    /// Records per second; 0 for as fast as possible.
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    /// Show which records would come back and what the pipeline would do with them now; change
    /// nothing.
    #[arg(long)]
    dry_run: bool,
    /// Repair the records: SELECT … FROM input. The result must have all fields of the input
    /// schema. Records that it filters stay dead letters.
    #[arg(long, value_name = "SELECT")]
    sql: Option<String>,
    /// How often a record may come back in total: records that came back and were dead-lettered
    /// again come back only if this is raised.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max_replays: u32,
    /// Replay although a sink with mode = "upsert" has no lineage columns: a record that comes back
    /// replaces the row of its key, also a newer one.
    #[arg(long)]
    overwrite: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Replays and prints the result.
///
/// # Errors
/// Mistakes in the file or the SQL; broker, registry or target unavailable; another replay of the
/// pipeline has started. The records that came back until then are printed first.
pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let options = Options {
        filter: args.filter.into_filter(),
        limit: args.limit,
        rate: args.rate,
        dry_run: args.dry_run,
        sql: args.sql,
        max_replays: args.max_replays,
        overwrite: args.overwrite,
    };
    let (report, copied) = replay(&pipeline, &options).await?;
    if report.replayed + report.already == 0 {
        filter::warn(&pipeline, &options.filter).await?;
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report)?),
        false => print!("{}", text(&report)),
    }
    copied.context(
        "the records that came back until then are marked; the same command continues after them",
    )?;
    Ok(if report.complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What becomes of an older version in a sink that merges by key.
const OLDER: &str = " A record that is older than the row of its key changes nothing; `weir audit` \
                     counts these when the sink has read them.\n";

fn text(report: &Report) -> String {
    let verb = if report.dry_run { "would come back" } else { "came back" };
    let mut lines = vec![(report.replayed, format!("{verb} to {}", report.topic))];
    if let Some(Outlook { pass, filtered, dead }) = &report.forecast {
        lines.push((*pass, "  of these would pass the enricher with the current file".into()));
        lines.push((*filtered, "  of these would be filtered".into()));
        for (reason, count) in dead {
            lines.push((*count, format!("  of these would be dead-lettered again: {reason}")));
        }
    }
    lines.push((report.already, "had come back before".into()));
    let CountAndFirst { count, first } = &report.guarded;
    let guarded = format!(
        "stay dead: came back before and were dead-lettered again (see --max-replays), the first \
         {first}"
    );
    lines.push((*count, guarded));
    for (why, few) in &report.left {
        lines.push((few.count, format!("stay dead: {why}, the first {}", few.first)));
    }
    lines.push((report.beyond, "more than --limit".into()));
    let dry_run = if report.dry_run { " (dry run: nothing was changed)" } else { "" };
    let mut out = format!(" replay {}{dry_run}\n", report.pipeline);
    let shown: Vec<(String, String)> = lines
        .iter()
        .enumerate()
        .filter(|(number, (count, _))| *number == 0 || *count > 0)
        .map(|(_, (count, text))| (grouped(*count), printable(text)))
        .collect();
    let width = shown.iter().map(|(count, _)| count.len()).max().unwrap_or(0);
    for (count, text) in shown {
        out.push_str(&format!(" {count:>width$}  {text}\n"));
    }
    if report.ordered && report.replayed > 0 {
        out.push_str(OLDER);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let calls = || "calls".to_owned();
        Report {
            pipeline: calls(),
            topic: calls(),
            replayed: 9870,
            already: 12,
            ..Report::default()
        }
    }

    #[test]
    fn only_what_happened_is_printed() {
        assert_eq!(
            text(&report()),
            " replay calls\n 9,870  came back to calls\n    12  had come back before\n"
        );
        let nothing = Report { replayed: 0, already: 0, ..report() };
        assert_eq!(text(&nothing), " replay calls\n 0  came back to calls\n");
        let guarded = CountAndFirst { count: 2, first: "calls[0]@7".into() };
        let text = text(&Report { guarded, ..report() });
        assert!(
            text.contains("     2  stay dead: came back before and were dead-lettered again"),
            "{text}"
        );
    }
}
