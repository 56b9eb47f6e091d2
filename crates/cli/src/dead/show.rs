//! `weir dead show`.

use super::list::Line;
use super::text;
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::process::ExitCode;
use weir_audit::dead::{self, Decoded, Location, WholeDeadLetter, replay};
use weir_model::coordinates::RecordCoordinates;
use weir_model::dead_letter::Header;
use weir_model::lineage::{self, Lineage};
use weir_model::pipeline::Pipeline;

/// The arguments of `weir dead show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir dead show deploy/pipelines/telecom.toml \
        'telecom-data[1]@4711'\n  \
        weir dead show deploy/pipelines/telecom.toml telecom-data/1@4711\n\n\
    The coordinates are those of the record in the input topic; `weir dead list FILE \
    --dead-letters` shows them.")]
pub(super) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// The coordinates of the record, `topic[partition]@offset`.
    dead_letter: RecordCoordinates,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the dead letters of one record: there may be one from each sink.
///
/// # Errors
/// There is none, or the broker or a database is unavailable.
pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let found = dead::find(&pipeline, &args.dead_letter).await?;
    if found.is_empty() {
        bail!(
            "no dead letter of {} has the coordinates {}; `weir dead list {} --dead-letters` \
             lists them",
            pipeline.name,
            args.dead_letter,
            args.file.display()
        );
    }
    let marks = replay::marks(&pipeline)?;
    let mut all = Vec::new();
    for (number, whole) in found.iter().enumerate() {
        let decoded = dead::decode(&pipeline, whole).await;
        let replayed = whole.dead_letter.is_marked(&pipeline, &marks);
        if args.json {
            all.push(as_json(whole, replayed, decoded));
        } else {
            print!("{}{}", if number > 0 { "\n" } else { "" }, describe(whole, replayed, decoded));
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&all)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(whole: &WholeDeadLetter, replayed: bool, decoded: Decoded) -> Value {
    let mut value = json!(Line::of(&whole.dead_letter, replayed));
    let header =
        |(name, value): &Header| json!({"name": name, "value": value.as_deref().map(text::bytes)});
    value["key"] = json!(whole.key.as_deref().map(text::bytes));
    value["headers"] = whole.headers.iter().map(header).collect();
    value["schema_id"] = json!(whole.dead_letter.schema_id);
    value["column"] = json!(whole.dead_letter.column);
    value["code"] = json!(whole.dead_letter.code);
    match decoded {
        Ok(fields) => value["record"] = fields.into_iter().collect(),
        Err(why) => {
            value["undecodable"] = why.into();
            value["bytes"] = json!(whole.value.as_deref().map(hex::encode));
        }
    }
    value
}

fn describe(whole: &WholeDeadLetter, replayed: bool, decoded: Decoded) -> String {
    let WholeDeadLetter { dead_letter, key, value, headers } = whole;
    let mut lines = vec![
        ("dead letter", dead_letter.coordinates().to_string()),
        ("stage", dead_letter.stage.to_string()),
        ("reason", dead_letter.reason.clone()),
        ("detail", dead_letter.detail.clone()),
    ];
    lines.extend(dead_letter.column.as_ref().map(|column| ("column", column.clone())));
    lines.extend(dead_letter.code.as_ref().map(|code| ("code", code.clone())));
    lines.push(("time", text::time(dead_letter.time_ms)));
    lines.push(("replayed", if replayed { "yes" } else { "no" }.into()));
    lines.push(("stored in", location(&dead_letter.location)));
    lines.push(("key", key.as_deref().map_or("none".into(), text::bytes)));
    lines.extend(headers.iter().map(|(name, value)| ("header", header(name, value.as_deref()))));
    lines.extend(dead_letter.schema_id.map(|id| ("schema id", id.to_string())));
    let mut out: String = lines
        .iter()
        .map(|(name, text)| format!("{name:11}  {}\n", text::printable(text)))
        .collect();
    match decoded {
        Ok(record) => out.push_str(&fields(&record)),
        Err(why) => {
            out.push_str(&format!(
                "{:11}  {}\n",
                "record",
                text::printable(&format!("not decoded: {why}"))
            ));
            let bytes = value.as_deref().map_or_else(|| vec!["no value".into()], text::dump);
            bytes.iter().for_each(|line| out.push_str(&format!("{:11}  {line}\n", "")));
        }
    }
    out
}

fn location(location: &Location) -> String {
    match location {
        Location::Topic(at) => at.to_string(),
        Location::Table { sink, id, at } => {
            format!("weir.dead_letters of sink {sink}, id {id}; read from {at}")
        }
    }
}

fn header(name: &str, value: Option<&[u8]>) -> String {
    let lineage = value
        .filter(|_| name == lineage::HEADER)
        .and_then(Lineage::decode)
        .map(|lineage| format!("input offset {}, after {}", lineage.source, lineage.previous));
    format!("{name} = {}", lineage.unwrap_or_else(|| value.map_or("null".into(), text::bytes)))
}

/// One field per line.
fn fields(record: &[(String, Value)]) -> String {
    let width = record.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(number, (name, value)): (usize, &(String, Value))| {
        let label = if number == 0 { "record" } else { "" };
        format!("{label:11}  {name:width$}  {}\n", text::printable(&value.to_string()))
    };
    record.iter().enumerate().map(line).collect()
}
