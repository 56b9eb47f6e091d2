//! `weir schema`: the pipeline's schemas and the registry.

use anyhow::{Result, bail};
use serde_json::json;
use std::process::ExitCode;
use weir_codec::registry::LatestSchema;
use weir_codec::{Registry, Schema, diff};
use weir_model::pipeline::{Pipeline, ValueFormat};

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
    /// Show what the files change against the registry's latest versions; exit code 1 when anything
    /// differs.
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
    // JSON values have no schema in the registry.
    let input = (pipeline.input_subject(), &pipeline.input.schema);
    let input = (pipeline.input.format == ValueFormat::Avro).then_some(input);
    let output = (pipeline.output_subject(), &pipeline.output.schema);
    for (subject, path) in input.into_iter().chain([output]) {
        let schema = Schema::load(path)?;
        findings.push(match &args.verb {
            Verb::Register { compatibility, .. } => {
                register(&registry, subject, &schema, compatibility.as_deref()).await?
            }
            Verb::Compatibility(_) => compatible(&registry, subject, &schema).await?,
            Verb::Diff(_) => difference(&registry, subject, &schema).await?,
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

async fn difference(registry: &Registry, subject: String, schema: &Schema) -> Result<Finding> {
    let Some(LatestSchema { id, version, schema: latest }) = registry.latest(&subject).await?
    else {
        return Ok(Finding { subject, good: false, lines: vec!["not registered yet".into()] });
    };
    let changes = diff(&latest, schema);
    let good = changes.is_empty();
    let lines = if good { vec![format!("equal to version {version}, id {id}")] } else { changes };
    Ok(Finding { subject, good, lines })
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
