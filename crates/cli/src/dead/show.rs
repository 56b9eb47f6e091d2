//! `weir dead show`.

use super::coordinates::RecordCoordinates;
use super::dead_letter::{DeadLetter, Home, Line};
use super::filter::Filter;
use super::read;
use super::text;
use anyhow::{Result, bail};
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use serde_json::{Value, json};
use std::process::ExitCode;
use tokio::runtime::Handle;
use weir_codec::{Decoder, Registry, Schema};
use weir_kafka::replay;
use weir_model::fault::Stage;
use weir_model::lineage::{self, Lineage};
use weir_model::pipeline::Pipeline;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir dead show deploy/pipelines/telecom.toml 'telecom-data[1]@4711'\n  \
    weir dead show deploy/pipelines/telecom.toml telecom-data/1@4711\n\n\
    The coordinates are those of the record in the input topic; `weir dead list FILE --dead-letters` shows them."
)]
pub(super) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// Where the record was, `topic[partition]@offset`.
    dead_letter: RecordCoordinates,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

type Decoded = Result<Vec<(String, Value)>, String>;

/// A dead letter with everything in it.
struct Whole {
    dead_letter: DeadLetter,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Prints the dead letters of one record: there may be one from each sink.
///
/// # Errors
/// There is none; broker or database away.
pub(super) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let found = find(&pipeline, &args.dead_letter).await?;
    if found.is_empty() {
        bail!(
            "no dead letter of {} is about {}; `weir dead list {} --dead-letters` shows where they are",
            pipeline.name,
            args.dead_letter,
            args.file.display()
        );
    }
    let marks = tokio::task::block_in_place(|| replay::marks(&pipeline))?;
    let mut all = Vec::new();
    for (number, whole) in found.iter().enumerate() {
        let decoded = decode(&pipeline, whole).await;
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

async fn find(pipeline: &Pipeline, place: &RecordCoordinates) -> Result<Vec<Whole>> {
    let mut found = tokio::task::block_in_place(|| in_topic(pipeline, place))?;
    for sink in Filter::default().sinks(pipeline)? {
        for dead_letter in read::of_sink(pipeline, &sink.name)
            .await?
            .into_iter()
            .filter(|dead_letter| is_at(dead_letter, place))
        {
            let Home::Table { id, .. } = dead_letter.home else { continue };
            let content = read::store(pipeline, &sink.name)?.content(id).await?.unwrap_or_default();
            found.push(Whole {
                key: dead_letter.key.clone(),
                value: content.value,
                headers: content.headers,
                dead_letter,
            });
        }
    }
    Ok(found)
}

fn is_at(dead_letter: &DeadLetter, place: &RecordCoordinates) -> bool {
    let (Home::Topic(at) | Home::Table { at, .. }) = &dead_letter.home;
    dead_letter.origin.as_ref() == Some(place) || at == place
}

fn in_topic(pipeline: &Pipeline, place: &RecordCoordinates) -> Result<Vec<Whole>> {
    let mut found = Vec::new();
    read::in_topic(pipeline, |dead_letter, record| {
        if is_at(&dead_letter, place) {
            let headers = weir_kafka::DeadLetter::original_headers(record);
            let headers = headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
                .collect();
            found.push(Whole {
                dead_letter,
                key: record.key().map(<[u8]>::to_vec),
                value: record.value().map(<[u8]>::to_vec),
                headers,
            });
        }
    })?;
    Ok(found)
}

/// The record's fields in the order of its schema, or why they cannot be had.
async fn decode(pipeline: &Pipeline, whole: &Whole) -> Decoded {
    let (Some(value), Some(id)) = (&whole.value, whole.dead_letter.schema_id) else {
        return Err("it does not name a schema".into());
    };
    if whole.dead_letter.cut {
        return Err("the dead letter holds only its beginning".into());
    }
    let registry = Registry::new(&pipeline.registry).map_err(|e| e.to_string())?;
    // With its own schema every field can be seen; one that weir cannot read whole is read as the
    // pipeline reads it.
    let file = if whole.dead_letter.stage == Stage::Sink {
        &pipeline.output.schema
    } else {
        &pipeline.input.schema
    };
    let reader = match registry.schema(id).await {
        Ok(schema) => schema,
        Err(_) => Schema::load(file).map_err(|e| e.to_string())?,
    };
    let mut decoder =
        Decoder::new(reader, registry, Handle::current()).map_err(|e| e.to_string())?;
    let decoded = tokio::task::block_in_place(|| decoder.decode(&[Some(value)]))
        .map_err(|e| e.to_string())?;
    match decoded.faults.first() {
        Some((_, fault)) => Err(format!("{}: {}", fault.reason, fault.detail)),
        None => row(&decoded.batch).map_err(|e| e.to_string()),
    }
}

/// The only row of a batch.
fn row(batch: &RecordBatch) -> Result<Vec<(String, Value)>> {
    let mut text = Vec::new();
    let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, arrow::json::writer::LineDelimited>(&mut text);
    writer.write(batch)?;
    writer.finish()?;
    let mut record: Value = serde_json::from_slice(&text)?;
    let mut fields = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let value = record[field.name()].take();
        // A number of JSON is a double to most who read it, and a decimal is to be exact.
        let decimal = matches!(field.data_type(), DataType::Decimal128(..)) && !value.is_null();
        let value = if decimal { array_value_to_string(column, 0)?.into() } else { value };
        fields.push((field.name().clone(), value));
    }
    Ok(fields)
}

fn as_json(whole: &Whole, replayed: bool, decoded: Decoded) -> Value {
    let mut value = json!(Line::of(&whole.dead_letter, replayed));
    let header = |(name, value): &(String, Option<Vec<u8>>)| json!({"name": name, "value": value.as_deref().map(text::bytes)});
    value["key"] = json!(whole.key.as_deref().map(text::bytes));
    value["headers"] = whole.headers.iter().map(header).collect();
    value["schema_id"] = json!(whole.dead_letter.schema_id);
    value["column"] = json!(whole.dead_letter.column);
    value["sqlstate"] = json!(whole.dead_letter.sqlstate);
    match decoded {
        Ok(fields) => value["record"] = fields.into_iter().collect(),
        Err(why) => {
            value["undecodable"] = why.into();
            value["bytes"] = json!(whole.value.as_deref().map(hex::encode));
        }
    }
    value
}

fn describe(whole: &Whole, replayed: bool, decoded: Decoded) -> String {
    let Whole { dead_letter, key, value, headers } = whole;
    let mut lines = vec![
        ("dead letter", dead_letter.coordinates().to_string()),
        ("stage", dead_letter.stage.to_string()),
        ("reason", dead_letter.reason.clone()),
        ("detail", dead_letter.detail.clone()),
    ];
    lines.extend(dead_letter.column.as_ref().map(|column| ("column", column.clone())));
    lines.extend(dead_letter.sqlstate.as_ref().map(|state| ("sqlstate", state.clone())));
    lines.push(("time", text::time(dead_letter.time_ms)));
    lines.push(("replayed", if replayed { "yes" } else { "no" }.into()));
    lines.push(("lies in", home(&dead_letter.home)));
    lines.push(("key", key.as_deref().map_or("none".into(), text::bytes)));
    lines.extend(headers.iter().map(|(name, value)| ("header", header(name, value.as_deref()))));
    lines.extend(dead_letter.schema_id.map(|id| ("schema id", id.to_string())));
    let mut out: String = lines
        .iter()
        .map(|(name, text)| format!("{name:10}  {}\n", text::printable(text)))
        .collect();
    match decoded {
        Ok(record) => out.push_str(&fields(&record)),
        Err(why) => {
            out.push_str(&format!(
                "{:10}  {}\n",
                "record",
                text::printable(&format!("not decoded: {why}"))
            ));
            let bytes = value.as_deref().map_or_else(|| vec!["no value".into()], text::dump);
            bytes.iter().for_each(|line| out.push_str(&format!("{:10}  {line}\n", "")));
        }
    }
    out
}

fn home(home: &Home) -> String {
    match home {
        Home::Topic(place) => place.to_string(),
        Home::Table { sink, id, at } => {
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

/// A field a line.
fn fields(record: &[(String, Value)]) -> String {
    let width = record.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(number, (name, value)): (usize, &(String, Value))| {
        let label = if number == 0 { "record" } else { "" };
        format!("{label:10}  {name:width$}  {}\n", text::printable(&value.to_string()))
    };
    record.iter().enumerate().map(line).collect()
}
