//! `weir check`: checks the whole path of a pipeline before anything is deployed.

mod offline;
mod online;

use anyhow::Result;
use serde_json::{Value, json};
use std::process::ExitCode;
use weir_model::mistake::{Mistake, Mistakes};
use weir_model::pipeline::Pipeline;

/// The arguments of `weir check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir check deploy/pipelines/telecom.toml\n  \
        weir check deploy/pipelines/telecom.toml --offline --verbose\n\n\
    Exit code: 0 all is well, 78 mistakes in the file or in what it names, 1 something that had \
    to be asked is unavailable.")]
pub(crate) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// Skip the checks that need brokers, registry or database.
    #[arg(long)]
    offline: bool,
    /// List every check.
    #[arg(long, short)]
    verbose: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Passed; the text describes what was found and may be empty.
    Good(String),
    /// The mistakes are in the report.
    Mistaken,
    /// It could not be made, for this reason: a server is unavailable, or an earlier check failed.
    Open(String),
}

/// One statement about the pipeline and whether it is true.
#[derive(Debug)]
struct Check {
    /// "input schema", "rule negative_duration", …
    name: String,
    state: State,
}

/// All results so far.
#[derive(Debug, Default)]
struct Report {
    checks: Vec<Check>,
    mistakes: Vec<Mistake>,
    /// What the pipeline runs with, and an operator should know.
    warnings: Vec<String>,
}

impl Report {
    fn note(&mut self, name: impl Into<String>, state: State) {
        self.checks.push(Check { name: name.into(), state });
    }

    fn good(&mut self, name: impl Into<String>, found: impl Into<String>) {
        self.note(name, State::Good(found.into()));
    }

    /// Adds a check that passed if there are no mistakes.
    fn verdict(
        &mut self,
        name: impl Into<String>,
        mistakes: Vec<Mistake>,
        found: impl Into<String>,
    ) {
        let state = if mistakes.is_empty() { State::Good(found.into()) } else { State::Mistaken };
        self.mistakes.extend(mistakes);
        self.note(name, state);
    }

    fn passed(&self) -> usize {
        self.checks.iter().filter(|c| matches!(c.state, State::Good(_))).count()
    }

    fn open(&self) -> impl Iterator<Item = (&str, &str)> {
        self.checks.iter().filter_map(|c| match &c.state {
            State::Open(why) => Some((c.name.as_str(), why.as_str())),
            _ => None,
        })
    }
}

/// Checks the file and prints what was found.
///
/// # Errors
/// None for mistakes that it finds; they set the exit code.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let (report, mistakes) = match Pipeline::load(&args.file) {
        Ok(pipeline) => {
            let mut report = examine(&pipeline, args.offline).await;
            let mistakes = pipeline.mistakes(std::mem::take(&mut report.mistakes));
            (report, mistakes)
        }
        Err(mistakes) => (
            Report {
                checks: vec![Check { name: "pipeline file".into(), state: State::Mistaken }],
                ..Report::default()
            },
            mistakes,
        ),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&as_json(&report, &mistakes))?);
    } else {
        print(&args, &report, &mistakes);
    }
    Ok(match (mistakes.list.is_empty(), report.open().next()) {
        (false, _) => ExitCode::from(crate::CONFIGURATION),
        (true, Some(_)) => ExitCode::FAILURE,
        (true, None) => ExitCode::SUCCESS,
    })
}

/// Runs all checks that need no server; returns how many passed.
///
/// # Errors
/// The mistakes found.
pub(crate) async fn without_servers(pipeline: &Pipeline) -> Result<usize, Mistakes> {
    let mut report = examine(pipeline, true).await;
    match std::mem::take(&mut report.mistakes) {
        list if list.is_empty() => Ok(report.passed()),
        list => Err(pipeline.mistakes(list)),
    }
}

async fn examine(pipeline: &Pipeline, offline: bool) -> Report {
    let mut report = Report::default();
    report.good("pipeline file", "");
    let schemas = offline::examine(pipeline, &mut report);
    if !offline {
        online::examine(pipeline, &schemas, &mut report).await;
    }
    report
}

fn print(args: &Args, report: &Report, mistakes: &Mistakes) {
    if args.verbose {
        let width = report.checks.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
        for check in &report.checks {
            let (mark, text) = match &check.state {
                State::Good(found) => ("✔", found.as_str()),
                State::Mistaken => ("✘", ""),
                State::Open(why) => ("?", why.as_str()),
            };
            println!("{}", format!(" {mark} {:width$}  {text}", check.name).trim_end());
        }
        println!();
    }
    if !mistakes.list.is_empty() {
        eprint!("{mistakes}");
    }
    report.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    let plural = |n: usize| if n == 1 { "check" } else { "checks" };
    let (passed, open) = (report.passed(), report.open().count());
    if open > 0 {
        eprintln!(
            "{}: {passed} {} passed, {open} could not be made",
            args.file.display(),
            plural(passed)
        );
        if !args.verbose {
            report.open().for_each(|(name, why)| eprintln!("  {name}: {why}"));
        }
        if mistakes.list.is_empty() {
            eprintln!("  hint: --offline leaves out what needs brokers, registry or database");
        }
    } else if mistakes.list.is_empty() {
        println!("{}: {passed} {} passed", args.file.display(), plural(passed));
    }
}

fn as_json(report: &Report, mistakes: &Mistakes) -> Value {
    let check = |check: &Check| match &check.state {
        State::Good(found) => json!({"check": check.name, "state": "passed", "detail": found}),
        State::Mistaken => json!({"check": check.name, "state": "mistaken", "detail": ""}),
        State::Open(why) => json!({"check": check.name, "state": "open", "detail": why}),
    };
    let mistake =
        |m: &Mistake| json!({"line": m.line, "key": m.key, "what": m.what, "hint": m.hint});
    json!({
        "file": mistakes.file,
        "passed": report.passed(),
        "warnings": report.warnings,
        "checks": report.checks.iter().map(check).collect::<Vec<_>>(),
        "mistakes": mistakes.list.iter().map(mistake).collect::<Vec<_>>(),
    })
}
