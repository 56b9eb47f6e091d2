//! What a file seems to be, for `weir init`: its format, how its texts are written, and the fields
//! of its records. A guess comes from a sample, and never takes a value for another one: what can be
//! read in two ways stays a text.

mod avro;
mod csv;
mod json;
mod parquet;
mod texts;

use super::list::List;
use super::{format_of, short, unavailable};
use crate::source::Error;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use weir_codec::Schema;
use weir_model::pipeline::FileFormat;

/// Bytes of a text file that are looked at.
const SAMPLE_BYTES: u64 = 1 << 20;

/// What was guessed.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// `csv`, as in `source.format`.
    pub format: &'static str,
    /// Keys of `[source]` that differ from their defaults, and why.
    pub settings: Vec<Setting>,
    /// The fields in the order of the file; those of JSON by their names.
    pub fields: Vec<GuessedField>,
    /// Columns that no field can hold, and why.
    pub left_out: Vec<(String, String)>,
    /// How many records were looked at; `None`: the file says itself what it holds.
    pub sampled: Option<usize>,
}

/// A key of `[source]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name.
    pub key: &'static str,
    /// Its value.
    pub value: Value,
    /// What showed it.
    pub why: String,
}

/// A field of the input schema.
#[derive(Debug, Clone, PartialEq)]
pub struct GuessedField {
    /// Its name in the schema.
    pub name: String,
    /// Its column in the file.
    pub column: String,
    /// Its type as in an Avro schema, without null.
    pub avro_type: Value,
    /// Whether some values are missing.
    pub nullable: bool,
    /// What showed it; may be empty.
    pub why: String,
}

/// Guesses from the first file that matches `pattern`; also the name of that file.
///
/// # Errors
/// No file, an unknown format, or a file that cannot be read.
pub fn guess(pattern: &str) -> Result<(String, Guess), Error> {
    let list = List::find(pattern)?;
    let Some((_, path)) = list.get(0) else {
        return Err(Error::Unfit(format!("no file matches {pattern}")));
    };
    let name = short(path);
    let format = format_of(path).ok_or_else(|| {
        Error::Unfit(format!("{name}: its name does not end in .csv, .json, .parquet or .avro"))
    })?;
    let guess = match format {
        FileFormat::Csv => csv::guess(&name, &sample(path)?)?,
        FileFormat::Json => json::guess(path)?,
        FileFormat::Parquet => parquet::guess(path)?,
        FileFormat::Avro => avro::guess(path)?,
    };
    let guess = usable(guess);
    if guess.fields.is_empty() {
        return Err(Error::Unfit(format!("{name}: no column of it can be a field")));
    }
    Ok((name, guess))
}

/// Without the fields that the schema of a pipeline cannot have.
fn usable(mut guess: Guess) -> Guess {
    let mut kept: Vec<Value> = Vec::new();
    let fields = std::mem::take(&mut guess.fields);
    for field in fields {
        kept.push(json!({"name": field.name, "type": field.schema_type()}));
        let schema = json!({"type": "record", "name": "Guess", "fields": kept});
        match Schema::parse(&schema.to_string()) {
            Ok(_) => guess.fields.push(field),
            Err(error) => {
                kept.pop();
                guess.left_out.push((field.column, error.to_string()));
            }
        }
    }
    guess
}

impl GuessedField {
    /// The type as in a schema.
    pub fn schema_type(&self) -> Value {
        match (self.nullable, &self.avro_type) {
            (false, avro_type) => avro_type.clone(),
            (true, Value::Array(branches)) => {
                let null = Value::from("null");
                std::iter::once(&null)
                    .chain(branches.iter().filter(|b| **b != null))
                    .cloned()
                    .collect()
            }
            (true, avro_type) => json!(["null", avro_type]),
        }
    }
}

/// The beginning of a file.
struct Sample {
    bytes: Vec<u8>,
    /// The file goes on behind it.
    is_cut: bool,
}

fn sample(path: &Path) -> Result<Sample, Error> {
    let file = File::open(path).map_err(|e| unavailable(path, &e))?;
    let mut bytes = Vec::new();
    let read = file.take(SAMPLE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|e| unavailable(path, &e))?;
    let is_cut = bytes.len() as u64 > SAMPLE_BYTES;
    bytes.truncate(SAMPLE_BYTES as usize);
    Ok(Sample { bytes, is_cut })
}

/// A member of a record inside of a field, whose name in the file must be similar to that of the
/// field: nothing else leads to it.
fn member_name(column: &str, taken: &[Value]) -> Result<String, String> {
    let name = avro_name(column);
    let is_taken = taken.iter().any(|member| member["name"] == name);
    match weir_codec::similar_name(&name) == weir_codec::similar_name(column) && !is_taken {
        true => Ok(name),
        false => Err("no name in a schema leads to this one".into()),
    }
}

/// The name of a record type inside of another value: its path, so that there are no two.
fn record_name(path: &str) -> String {
    avro_name(path)
}

/// A record with these members: name, type and whether it may be missing.
fn record(path: &str, fields: Vec<Value>) -> Value {
    json!({"type": "record", "name": record_name(path), "fields": fields})
}

fn member(name: &str, avro_type: Value, nullable: bool) -> Value {
    match nullable {
        true => json!({"name": name, "type": ["null", avro_type], "default": null}),
        false => json!({"name": name, "type": avro_type}),
    }
}

/// A name that Avro and PostgreSQL take.
fn avro_name(column: &str) -> String {
    let ascii = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = weir_codec::similar_name(column).chars().map(ascii).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.insert_str(0, "c_");
    }
    name.truncate(60);
    name
}

/// The name of a field; `taken` are those before.
fn field_name(column: &str, taken: &[GuessedField]) -> String {
    let name = avro_name(column);
    let mut free = name.clone();
    let mut number = 2;
    while taken.iter().any(|field| field.name == free) {
        free = format!("{name}_{number}");
        number += 1;
    }
    free
}

#[cfg(test)]
mod tests;
