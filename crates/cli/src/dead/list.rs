//! `weir dead list`.

use super::dead_letter::{DeadLetter, Line};
use super::filter::Filter;
use super::read;
use super::text;
use crate::audit::grouped;
use crate::table;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::ExitCode;
use weir_kafka::replay;
use weir_model::pipeline::Pipeline;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir dead list deploy/pipelines/telecom.toml\n  \
    weir dead list deploy/pipelines/telecom.toml --reason negative_duration --since 2h --dead-letters --limit 5")]
pub(super) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// One line for each dead letter instead of counts, in the order of the records' timestamps.
    #[arg(long)]
    dead_letters: bool,
    /// With --dead-letters: the latest so many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: Filter,
}

/// Dead letters that have stage, sink and reason in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Group {
    stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sink: Option<String>,
    reason: String,
    count: u64,
    replayed: u64,
    /// Kafka timestamps of the records, milliseconds since 1970.
    first_ms: i64,
    last_ms: i64,
    /// The coordinates of the first of them that was found.
    example: String,
}

/// Prints counts or dead letters.
///
/// # Errors
/// When the broker or a database is away, or the file has mistakes.
pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let marks = tokio::task::block_in_place(|| replay::marks(&pipeline))?;
    if args.dead_letters {
        let latest = latest(&pipeline, &args).await?;
        let lines: Vec<Line<'_>> = latest
            .iter()
            .map(|dead_letter| Line::of(dead_letter, dead_letter.is_marked(&pipeline, &marks)))
            .collect();
        if args.json {
            println!("{}", serde_json::to_string_pretty(&lines)?)
        } else {
            print_lines(&lines)
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut groups = Groups::default();
    read::each(&pipeline, &args.filter, |dead_letter| {
        groups.add(&dead_letter, dead_letter.is_marked(&pipeline, &marks))
    })
    .await?;
    let groups = groups.sorted();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&groups)?)
    } else {
        print_groups(&pipeline, &groups)
    }
    Ok(ExitCode::SUCCESS)
}

/// The dead letters with the latest timestamps, in their order. Never many more than these are
/// held.
async fn latest(pipeline: &Pipeline, args: &Args) -> Result<Vec<DeadLetter>> {
    let mut kept: Vec<DeadLetter> = Vec::new();
    let keep = |kept: &mut Vec<DeadLetter>| {
        kept.sort_by(|a, b| (a.time_ms, a.coordinates()).cmp(&(b.time_ms, b.coordinates())));
        kept.drain(..kept.len().saturating_sub(args.limit));
    };
    read::each(pipeline, &args.filter, |dead_letter| {
        kept.push(dead_letter);
        if kept.len() > args.limit * 2 + 1000 {
            keep(&mut kept);
        }
    })
    .await?;
    keep(&mut kept);
    Ok(kept)
}

#[derive(Default)]
struct Groups(BTreeMap<(&'static str, Option<String>, String), Group>);

impl Groups {
    fn add(&mut self, dead_letter: &DeadLetter, replayed: bool) {
        let (stage, sink) = (dead_letter.stage.as_str(), dead_letter.sink().map(str::to_owned));
        let group =
            self.0.entry((stage, sink.clone(), dead_letter.reason.clone())).or_insert_with(|| {
                Group {
                    stage,
                    sink,
                    reason: dead_letter.reason.clone(),
                    count: 0,
                    replayed: 0,
                    first_ms: dead_letter.time_ms,
                    last_ms: dead_letter.time_ms,
                    example: dead_letter.coordinates().to_string(),
                }
            });
        group.count += 1;
        group.replayed += u64::from(replayed);
        group.first_ms = group.first_ms.min(dead_letter.time_ms);
        group.last_ms = group.last_ms.max(dead_letter.time_ms);
    }

    fn sorted(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.0.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }
}

fn print_groups(pipeline: &Pipeline, groups: &[Group]) {
    let row = |group: &Group| {
        [
            text::printable(&group.reason),
            [Some(group.stage), group.sink.as_deref()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
            grouped(group.count),
            grouped(group.replayed),
            text::time(group.first_ms),
            text::time(group.last_ms),
            text::printable(&group.example),
        ]
    };
    let header =
        ["reason", "stage", "count", "replayed", "first", "last", "example"].map(String::from);
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(groups.iter().map(row)).collect();
    let sum = |count: fn(&Group) -> u64| grouped(groups.iter().map(count).sum());
    if !groups.is_empty() {
        table::lines(&rows, |column| [2, 3].contains(&column))
            .iter()
            .for_each(|line| println!("{line}"));
    }
    println!(
        "{}: {} dead letters, {} of them replayed",
        pipeline.name,
        sum(|group| group.count),
        sum(|group| group.replayed)
    );
}

fn print_lines(lines: &[Line<'_>]) {
    let row = |line: &Line<'_>| {
        let sink = line.sink.map_or_else(String::new, |sink| format!(" {sink}"));
        [
            text::printable(&line.dead_letter.to_string()),
            line.time.clone(),
            format!("{}{sink}", line.stage),
            text::printable(line.reason),
            if line.replayed { "yes" } else { "no" }.into(),
            text::shortened(line.detail, 80),
        ]
    };
    let header = ["dead letter", "time", "stage", "reason", "replayed", "detail"].map(String::from);
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(lines.iter().map(row)).collect();
    table::lines(&rows, |_| false).iter().for_each(|line| println!("{line}"));
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::{of_sink, of_topic};
    use super::*;
    use weir_model::fault::Stage;

    #[test]
    fn dead_letters_are_counted_by_stage_sink_and_reason() {
        let mut groups = Groups::default();
        for (offset, time_ms) in [(7, 30), (8, 10), (9, 20)] {
            groups
                .add(&DeadLetter { time_ms, ..of_topic(Stage::Rule, "late", offset) }, offset == 8);
        }
        groups.add(&of_topic(Stage::Decode, "late", 9), false);
        groups.add(&of_sink("warehouse", Some(4)), false);
        groups.add(&of_sink("lake", Some(4)), true);
        let sorted = groups.sorted();
        let late = &sorted[0];
        assert_eq!(
            (late.count, late.replayed, late.first_ms, late.last_ms, late.example.as_str()),
            (3, 1, 10, 30, "calls[0]@7")
        );
        assert_eq!(sorted.len(), 4);
    }
}
