//! `weir init`: a first pipeline for files, guessed from a sample.

use crate::table;
use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use weir_producer::source::file::guess::{self, Guess, GuessedField};

/// The arguments of `weir init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir init 'exports/*.csv' --name sales\n\n\
    Writes sales.toml and sales.avsc into the folder and says what was guessed and why. Nothing is \
    overwritten. Look at both, then: weir check sales.toml")]
pub(crate) struct Args {
    /// The files: a path or a pattern in quotes; .csv, .json, .jsonl, .ndjson, .parquet or .avro.
    files: String,
    /// The name of the pipeline, of its topics and its table.
    #[arg(long)]
    name: String,
    /// Where to write.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

/// Guesses and writes.
///
/// # Errors
/// No file, one that cannot be read, or a file that would be overwritten.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let good = args.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && args.name.starts_with(|c: char| c.is_ascii_lowercase());
    ensure!(good, "--name {}: lower-case letters, digits and hyphens, a letter first", args.name);
    let (sample, guess) = guess::guess(&args.files)?;
    let path = |ending: &str| args.folder.join(format!("{}.{ending}", args.name));
    let (pipeline, schema) = (path("toml"), path("avsc"));
    for file in [&pipeline, &schema] {
        ensure!(!file.exists(), "{} exists; nothing was written", file.display());
    }
    write(&schema, &schema_text(&args.name, &guess))?;
    write(&pipeline, &pipeline_text(args, &guess)?)?;
    print(&sample, &guess);
    println!("\n wrote {} and {}", pipeline.display(), schema.display());
    println!(" next:  weir check {}", pipeline.display());
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn schema_text(name: &str, guess: &Guess) -> String {
    let field = |field: &GuessedField| {
        let mut of = Map::new();
        of.insert("name".into(), json!(field.name));
        of.insert("type".into(), field.schema_type());
        if field.nullable {
            of.insert("default".into(), Value::Null);
        }
        format!("    {}", Value::Object(of))
    };
    let fields: Vec<String> = guess.fields.iter().map(field).collect();
    format!(
        "{{\n  \"type\": \"record\", \"name\": \"{}\",\n  \"fields\": [\n{}\n  ]\n}}\n",
        record_name(name),
        fields.join(",\n")
    )
}

/// `bird-strikes` → `BirdStrikes`.
fn record_name(name: &str) -> String {
    let part = |part: &str| {
        let mut chars = part.chars();
        chars.next().map_or_else(String::new, |c| c.to_ascii_uppercase().to_string())
            + chars.as_str()
    };
    name.split('-').map(part).collect()
}

fn pipeline_text(args: &Args, guess: &Guess) -> Result<String> {
    let Args { name, files, folder } = args;
    let files = match Path::new(files).is_absolute() || folder == Path::new(".") {
        true => PathBuf::from(files),
        // The pipeline file's folder is where relative paths begin.
        false => std::path::absolute(files).context("the path of the files")?,
    };
    let mut source = format!("[source]\ntype = \"file\"\npath = {}\n", toml(&json!(files)));
    for setting in &guess.settings {
        source.push_str(&format!("{} = {}\n", setting.key, toml(&setting.value)));
    }
    let renamed: Vec<String> = guess
        .fields
        .iter()
        .filter(|field| !weir_producer::source::file::is_same_name(&field.column, &field.name))
        .map(|field| format!("{} = {}\n", field.name, toml(&json!(field.column))))
        .collect();
    if !renamed.is_empty() {
        source.push_str(&format!("\n[source.columns]\n{}", renamed.concat()));
    }
    let table = name.replace('-', "_");
    Ok(format!(
        "name = \"{name}\"\n\n{source}\n[input]\ntopic = \"{name}\"\nschema = \"{name}.avsc\"\n\n\
         [transform]\nsql = \"SELECT * FROM input\"\n\n\
         [output]\ntopic = \"{name}-enriched\"\nschema = \"{name}.avsc\"\n\n\
         [[sink]]\nname = \"warehouse\"\ntype = \"postgres\"\ntable = \"public.{table}\"\n\
         lineage = true\n",
    ))
}

/// A text or a list of texts as TOML, which has the same escapes as JSON.
fn toml(value: &Value) -> String {
    value.to_string()
}

/// A type for people: `array of record (sku string, price decimal(7,2)?)`.
fn type_text(avro_type: &Value) -> String {
    if let Value::Array(branches) = avro_type {
        let others = branches.iter().filter(|branch| **branch != "null");
        let others: Vec<String> = others.map(type_text).collect();
        let null = if others.len() < branches.len() { "?" } else { "" };
        return others.join(" or ") + null;
    }
    let Value::Object(of) = avro_type else {
        return avro_type.as_str().unwrap_or_default().to_owned();
    };
    let inner = |key: &str| of.get(key).map(type_text).unwrap_or_default();
    match (of.get("logicalType").and_then(Value::as_str), inner("type").as_str()) {
        (Some("decimal"), _) => {
            format!("decimal({},{})", avro_type["precision"], avro_type["scale"])
        }
        (Some(name), _) => name.to_owned(),
        (None, "array") => format!("array of {}", inner("items")),
        (None, "map") => format!("map of {}", inner("values")),
        (None, "record") => {
            let members = avro_type["fields"].as_array().into_iter().flatten();
            let member = |member: &Value| {
                let name = member["name"].as_str().unwrap_or_default();
                format!("{name} {}", type_text(&member["type"]))
            };
            format!("record ({})", members.map(member).collect::<Vec<_>>().join(", "))
        }
        (None, other) => other.to_owned(),
    }
}

fn print(sample: &str, guess: &Guess) {
    let from = match guess.sampled {
        Some(sampled) => format!("from {sampled} records of {sample}; a sample, not a proof"),
        None => format!("as {sample} says itself"),
    };
    println!(" {} {from}", guess.format);
    for setting in &guess.settings {
        println!("   {} = {}   {}", setting.key, toml(&setting.value), setting.why);
    }
    let row = |field: &GuessedField| {
        let avro_type = type_text(&field.avro_type);
        let null = if field.nullable { "may be missing" } else { "" };
        [field.column.clone(), field.name.clone(), avro_type, null.into(), field.why.clone()]
    };
    let header = ["column", "field", "type", "", ""].map(String::from);
    let rows: Vec<_> = std::iter::once(header).chain(guess.fields.iter().map(row)).collect();
    table::lines(&rows, |_| false).iter().for_each(|line| println!("   {line}"));
    for (column, why) in &guess.left_out {
        println!("   left out: {column}: {why}");
    }
}
