//! `weir schema`: the pipeline's schemas and the registry.

use anyhow::{Result, bail};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use weir_codec::registry::LatestSchema;
use weir_codec::{Losses, Problem, Registry, Schema, WriterSchema, diff, losses};
use weir_model::pipeline::Pipeline;
use weir_transform::Plan;

/// The subcommands of `weir schema`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir schema diff deploy/pipelines/telecom.toml\n  \
        weir schema compatibility deploy/pipelines/telecom.toml\n  \
        weir schema register deploy/pipelines/telecom.toml --compatibility FULL")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Register the input and the output schema under their subjects.
    Register {
        #[command(flatten)]
        common: Common,
        /// Also set what the registry will accept later: BACKWARD, FORWARD, FULL, each also with
        /// _TRANSITIVE, or NONE.
        #[arg(long)]
        compatibility: Option<String>,
    },
    /// Ask the registry whether it would accept the schemas; exit code 1 when not.
    Compatibility(Common),
    /// Show what the files change against the registry's latest versions, and which records could
    /// then not be read (lines with !); exit code 1 when anything differs.
    Diff(Common),
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The result for one subject.
struct Finding {
    subject: String,
    /// There is no difference or objection.
    good: bool,
    lines: Vec<String>,
}

/// Runs the subcommand.
///
/// # Errors
/// When the registry is unavailable or refuses, or the file has mistakes.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let common = match &args.verb {
        Verb::Register { common, .. } | Verb::Compatibility(common) | Verb::Diff(common) => common,
    };
    let pipeline = Pipeline::load(&common.file)?;
    let registry = Registry::new(&pipeline.registry)?;
    let mut findings = Vec::new();
    // Values in JSON and Protobuf, and change events, have another schema in the registry or none.
    let (input, output) = (&pipeline.input, &pipeline.output);
    let paths = input.is_registered().then_some((true, &input.schema));
    for (is_input, path) in paths.into_iter().chain([(false, &output.schema)]) {
        let schema = Schema::load(path)?;
        let subject = match is_input {
            true => pipeline.input_subject(schema.name()),
            false => pipeline.output_subject(schema.name()),
        };
        findings.push(match &args.verb {
            Verb::Register { compatibility, .. } => {
                register(&registry, subject, &schema, compatibility.as_deref()).await?
            }
            Verb::Compatibility(_) => compatible(&registry, subject, &schema).await?,
            Verb::Diff(_) => difference(&registry, subject, &pipeline, path, &schema).await?,
        });
    }
    print(&findings, common.json)?;
    Ok(if findings.iter().all(|finding| finding.good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn register(
    registry: &Registry,
    subject: String,
    schema: &Schema,
    compatibility: Option<&str>,
) -> Result<Finding> {
    let reasons = registry.compatible(&subject, schema).await?;
    if !reasons.is_empty() {
        bail!(
            "the registry would not accept the schema for {subject}:\n  {}",
            reasons.join("\n  ")
        );
    }
    let id = registry.register(&subject, schema).await?;
    let mut lines = vec![format!("id {id}")];
    if let Some(level) = compatibility {
        registry.set_compatibility(&subject, level).await?;
        lines.push(format!("compatibility {level}"));
    }
    Ok(Finding { subject, good: true, lines })
}

async fn compatible(registry: &Registry, subject: String, schema: &Schema) -> Result<Finding> {
    let reasons = registry.compatible(&subject, schema).await?;
    let lines = if reasons.is_empty() { vec!["compatible".into()] } else { reasons.clone() };
    Ok(Finding { subject, good: reasons.is_empty(), lines })
}

async fn difference(
    registry: &Registry,
    subject: String,
    pipeline: &Pipeline,
    path: &Path,
    schema: &Schema,
) -> Result<Finding> {
    let Some(LatestSchema { id, version, schema: latest }) = registry.latest(&subject).await?
    else {
        return Ok(Finding { subject, good: false, lines: vec!["not registered yet".into()] });
    };
    let mut lines = diff(&latest, schema.written());
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let is_input = path == pipeline.input.schema;
    let reads = if is_input { fields_that_are_read(pipeline)? } else { BTreeSet::new() };
    let reader = |problem: &Problem| match is_input {
        true if reads.contains(problem.field()) => "; the pipeline reads it".to_string(),
        true => format!("; the pipeline does not read it: leave it out of {file}"),
        false => String::new(),
    };
    let read = format!("records of version {version}, read with {file}");
    lines.extend(breaks(&read, &latest, schema.written(), reader));
    // Without a source, nothing of this pipeline writes records with the file.
    if !is_input || pipeline.source.is_some() {
        let written = format!("records written with {file}, read with version {version}");
        lines.extend(breaks(&written, schema.written(), &latest, |_| String::new()));
    }
    let good = lines.is_empty();
    if good {
        lines.push(format!("equal to version {version}, id {id}"));
    }
    Ok(Finding { subject, good, lines })
}

/// The top-level fields of the input that key, rules and SQL read.
fn fields_that_are_read(pipeline: &Pipeline) -> Result<BTreeSet<String>> {
    let (input, output) =
        (Schema::load(&pipeline.input.schema)?, Schema::load(&pipeline.output.schema)?);
    let plan = Plan::compile(input.arrow(), output.arrow(), pipeline)
        .map_err(|mistakes| pipeline.mistakes(mistakes))?;
    let columns = plan.columns_read().into_iter().map(str::to_string);
    Ok(columns.chain(pipeline.input.key.clone()).collect())
}

/// A line for each reason why `records` become dead letters, all of them or some.
fn breaks(
    records: &str,
    writer: &WriterSchema,
    reader: &WriterSchema,
    note: impl Fn(&Problem) -> String,
) -> Vec<String> {
    let Losses { all, some } = losses(writer, reader);
    let lost = all.iter().map(|problem| (problem, "all"));
    let lost = lost.chain(some.iter().map(|problem| (problem, "some")));
    lost.map(|(problem, which)| {
        format!("! {records}: {which} become dead letters, because {problem}{}", note(problem))
    })
    .collect()
}

fn print(findings: &[Finding], as_json: bool) -> Result<()> {
    if as_json {
        let list: Vec<_> = findings
            .iter()
            .map(|f| json!({"subject": f.subject, "good": f.good, "findings": f.lines}))
            .collect();
        println!("{}", serde_json::to_string_pretty(&list)?);
        return Ok(());
    }
    for Finding { subject, good, lines } in findings {
        println!("{} {subject}", if *good { "✔" } else { "✘" });
        lines.iter().for_each(|line| println!("    {line}"));
    }
    Ok(())
}
