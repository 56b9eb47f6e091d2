//! What a file seems to be, for `weir init`: its format, how its texts are written, and the fields
//! of its records. A guess comes from a sample, and never takes a value for another one: what can be
//! read in two ways stays a text.

mod csv;
mod json;
mod texts;

use super::list::List;
use super::{format_of, short, unavailable};
use crate::source::Error;
use arrow::datatypes::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::path::Path;
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
        FileFormat::Json => json::guess(&name, &sample(path)?)?,
        FileFormat::Parquet => parquet(path)?,
        FileFormat::Avro => avro(path)?,
    };
    if guess.fields.is_empty() {
        return Err(Error::Unfit(format!("{name}: no column of it can be a field")));
    }
    Ok((name, guess))
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

/// A name that Avro and PostgreSQL take; `taken` are those of the fields before.
fn field_name(column: &str, taken: &[GuessedField]) -> String {
    let ascii = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = weir_codec::similar_name(column).chars().map(ascii).collect();
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.insert_str(0, "c_");
    }
    name.truncate(60);
    let mut free = name.clone();
    let mut number = 2;
    while taken.iter().any(|field| field.name == free) {
        free = format!("{name}_{number}");
        number += 1;
    }
    free
}

/// A Parquet file names the types of its columns.
fn parquet(path: &Path) -> Result<Guess, Error> {
    let name = short(path);
    let file = File::open(path).map_err(|e| unavailable(path, &e))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .map_err(|e| Error::Unfit(format!("{name} cannot be read as Parquet: {e}")))?;
    let (mut fields, mut left_out) = (Vec::new(), Vec::new());
    for column in builder.schema().fields() {
        match avro_type(column.data_type()) {
            Some(avro_type) => fields.push(GuessedField {
                name: field_name(column.name(), &fields),
                column: column.name().clone(),
                avro_type,
                nullable: column.is_nullable(),
                why: String::new(),
            }),
            None => left_out.push((
                column.name().clone(),
                format!("{} has no plain Avro type", column.data_type()),
            )),
        }
    }
    Ok(Guess { format: "parquet", settings: Vec::new(), fields, left_out, sampled: None })
}

/// The type that holds every value of a column; `None`: there is none.
fn avro_type(data_type: &DataType) -> Option<Value> {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second | TimeUnit::Millisecond => "millis",
        TimeUnit::Microsecond => "micros",
        TimeUnit::Nanosecond => "nanos",
    };
    Some(match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => json!("int"),
        DataType::UInt8 | DataType::UInt16 => json!("int"),
        DataType::Int64 | DataType::UInt32 => json!("long"),
        DataType::Float16 | DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => json!("string"),
        DataType::Dictionary(_, values) => avro_type(values)?,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => json!("bytes"),
        DataType::Date32 => json!({"type": "int", "logicalType": "date"}),
        DataType::Time32(TimeUnit::Millisecond) => {
            json!({"type": "int", "logicalType": "time-millis"})
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            json!({"type": "long", "logicalType": "time-micros"})
        }
        DataType::Timestamp(of, zone) => {
            let local = if zone.is_some() { "" } else { "local-" };
            json!({"type": "long", "logicalType": format!("{local}timestamp-{}", unit(of))})
        }
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            json!({
                "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale
            })
        }
        _ => return None,
    })
}

/// An Avro file holds its schema.
fn avro(path: &Path) -> Result<Guess, Error> {
    let name = short(path);
    let mut file = std::io::BufReader::new(File::open(path).map_err(|e| unavailable(path, &e))?);
    let text = weir_codec::container_schema(&mut file)
        .map_err(|error| Error::Unfit(format!("{name} {error}")))?;
    let schema: Value = serde_json::from_str(&text)
        .map_err(|error| Error::Unfit(format!("{name}: its schema is no JSON: {error}")))?;
    let (mut fields, mut left_out) = (Vec::new(), Vec::new());
    for field in schema["fields"].as_array().into_iter().flatten() {
        let column = field["name"].as_str().unwrap_or_default().to_owned();
        let (avro_type, nullable) = without_null(&field["type"]);
        match avro_type {
            Some(avro_type) => fields.push(GuessedField {
                name: column.clone(),
                column,
                avro_type,
                nullable,
                why: String::new(),
            }),
            None => left_out.push((column, "a union of several types".into())),
        }
    }
    Ok(Guess { format: "avro", settings: Vec::new(), fields, left_out, sampled: None })
}

fn without_null(avro_type: &Value) -> (Option<Value>, bool) {
    let Some(branches) = avro_type.as_array() else { return (Some(avro_type.clone()), false) };
    let others: Vec<&Value> = branches.iter().filter(|branch| **branch != "null").collect();
    match others[..] {
        [one] => (Some(one.clone()), branches.len() > 1),
        _ => (None, false),
    }
}

#[cfg(test)]
mod tests;
