//! `weir dead list`.

use super::filter::{self, FilterArgs};
use super::text;
use crate::table;
use anyhow::Result;
use serde::Serialize;
use std::process::ExitCode;
use weir_audit::dead::{self, DeadLetter, Group, replay};
use weir_audit::format::grouped;
use weir_model::coordinates::RecordCoordinates;
use weir_model::pipeline::Pipeline;

/// The arguments of `weir dead list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir dead list deploy/pipelines/telecom.toml\n  \
    weir dead list deploy/pipelines/telecom.toml --reason negative_duration --since 2h \
    --dead-letters --limit 5")]
pub(super) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// One line for each dead letter instead of counts, in the order of the records' timestamps.
    #[arg(long)]
    dead_letters: bool,
    /// With --dead-letters: show at most this many, the latest ones.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// A dead letter as it appears in `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) dead_letter: &'a RecordCoordinates,
    pub(crate) stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sink: Option<&'a str>,
    pub(crate) reason: &'a str,
    pub(crate) detail: &'a str,
    pub(crate) time: String,
    pub(crate) replayed: bool,
}

impl<'a> Line<'a> {
    pub(crate) fn of(dead_letter: &'a DeadLetter, replayed: bool) -> Line<'a> {
        Line {
            dead_letter: dead_letter.coordinates(),
            stage: dead_letter.stage.as_str(),
            sink: dead_letter.sink(),
            reason: &dead_letter.reason,
            detail: &dead_letter.detail,
            time: text::time(dead_letter.time_ms),
            replayed,
        }
    }
}

/// Prints counts or dead letters.
///
/// # Errors
/// When the broker or a database is unavailable, or the file has mistakes.
pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let filter = args.filter.into_filter();
    let marks = replay::marks(&pipeline)?;
    if args.dead_letters {
        let latest = dead::latest(&pipeline, &filter, args.limit).await?;
        if latest.is_empty() {
            filter::warn(&pipeline, &filter).await?;
        }
        let lines: Vec<Line<'_>> = latest
            .iter()
            .map(|dead_letter| Line::of(dead_letter, dead_letter.is_marked(&pipeline, &marks)))
            .collect();
        match args.json {
            true => println!("{}", serde_json::to_string_pretty(&lines)?),
            false => {
                print_lines(&lines);
                if lines.len() == args.limit {
                    println!("the latest {}; --limit shows more", grouped(args.limit as u64));
                }
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let groups = dead::groups(&pipeline, &filter, &marks).await?;
    if groups.is_empty() {
        filter::warn(&pipeline, &filter).await?;
    }
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&groups)?),
        false => print_groups(&pipeline, &groups),
    }
    Ok(ExitCode::SUCCESS)
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
