//! A dead letter with everything that is known about it.

use super::dead_letter::{DeadLetter, Location};
use super::read;
use crate::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use serde_json::Value;
use tokio::runtime::Handle;
use weir_codec::{Decoder, JsonObject, Registry, Schema};
use weir_model::coordinates::RecordCoordinates;
use weir_model::dead_letter::Header;
use weir_model::fault::Stage;
use weir_model::frame;
use weir_model::pipeline::{Pipeline, ValueFormat};

/// The record's fields in the order of its schema, or why they cannot be shown.
pub type Decoded = std::result::Result<Vec<(String, Value)>, String>;

/// A dead letter with its content.
#[derive(Debug, Clone)]
pub struct WholeDeadLetter {
    /// What is known without the content.
    pub dead_letter: DeadLetter,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub value: Option<Vec<u8>>,
    /// The record's own headers.
    pub headers: Vec<Header>,
}

/// The dead letters of one record: there may be one from each sink.
///
/// # Errors
/// The broker or a target is unavailable.
pub async fn find(
    pipeline: &Pipeline,
    coordinates: &RecordCoordinates,
) -> Result<Vec<WholeDeadLetter>> {
    let mut found = tokio::task::block_in_place(|| in_topic(pipeline, coordinates))?;
    for sink in &pipeline.sinks {
        let target = weir_store::reader::open(pipeline, sink)?;
        for dead_letter in read::of_sink(pipeline, sink).await? {
            let Location::Table { id, .. } = dead_letter.location else { continue };
            if !is_at(&dead_letter, coordinates) {
                continue;
            }
            let content = target.dead_letter_content(id).await?.unwrap_or_default();
            found.push(WholeDeadLetter {
                key: dead_letter.key.clone(),
                value: content.value,
                headers: content.headers,
                dead_letter,
            });
        }
    }
    Ok(found)
}

fn is_at(dead_letter: &DeadLetter, coordinates: &RecordCoordinates) -> bool {
    let (Location::Topic(at) | Location::Table { at, .. }) = &dead_letter.location;
    dead_letter.origin.as_ref() == Some(coordinates) || at == coordinates
}

fn in_topic(pipeline: &Pipeline, coordinates: &RecordCoordinates) -> Result<Vec<WholeDeadLetter>> {
    let mut found = Vec::new();
    read::in_topic(pipeline, |dead_letter, record| {
        if is_at(&dead_letter, coordinates) {
            let headers = weir_kafka::ReceivedDeadLetter::original_headers(record);
            let owned =
                |(name, value): (&str, Option<&[u8]>)| (name.to_owned(), value.map(<[u8]>::to_vec));
            found.push(WholeDeadLetter {
                dead_letter,
                key: record.key().map(<[u8]>::to_vec),
                value: record.value().map(<[u8]>::to_vec),
                headers: headers.into_iter().map(owned).collect(),
            });
        }
    })?;
    Ok(found)
}

/// Decodes the record of a dead letter with its own schema, if possible.
pub async fn decode(pipeline: &Pipeline, whole: &WholeDeadLetter) -> Decoded {
    if whole.dead_letter.truncated {
        return Err("the dead letter contains only its beginning".into());
    }
    let is_input = whole.dead_letter.stage != Stage::Sink;
    let Some(value) = &whole.value else { return Err("it has no value".into()) };
    match pipeline.input.format {
        ValueFormat::Json if is_input => return members(value),
        ValueFormat::JsonSchema if is_input => return members(without_frame(whole, value)),
        ValueFormat::Protobuf if is_input => return columns(pipeline, whole, value),
        ValueFormat::Avro if is_input && has_guid(whole, value) => {
            return columns(pipeline, whole, value);
        }
        _ => {}
    }
    let Some(id) = whole.dead_letter.schema_id else {
        return Err("it does not name a schema".into());
    };
    let registry = Registry::new(&pipeline.registry).map_err(|e| e.to_string())?;
    // Its own schema shows every field. A schema that weir cannot read completely is replaced by
    // the pipeline's.
    let file = match whole.dead_letter.stage {
        Stage::Sink => &pipeline.output.schema,
        _ => &pipeline.input.schema,
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

/// The columns that the pipeline reads of a value.
fn columns(pipeline: &Pipeline, whole: &WholeDeadLetter, value: &[u8]) -> Decoded {
    let registry = Registry::new(&pipeline.registry).map_err(|e| e.to_string())?;
    let reader = Schema::load(&pipeline.input.schema).map_err(|e| e.to_string())?;
    let decoder = Decoder::new(reader, registry, Handle::current()).map_err(|e| e.to_string())?;
    let headers: Vec<(u32, &[u8])> = schema_header(whole).map(|id| (0, id)).into_iter().collect();
    let mut decoder = match pipeline.input.format {
        ValueFormat::Protobuf => decoder.of_protobuf(),
        _ => decoder,
    };
    let decoded = tokio::task::block_in_place(|| decoder.decode_with(&[Some(value)], &headers))
        .map_err(|e| e.to_string())?;
    match decoded.faults.first() {
        Some((_, fault)) => Err(format!("{}: {}", fault.reason, fault.detail)),
        None => row(&decoded.batch).map_err(|e| e.to_string()),
    }
}

/// The header that names the schema of the value.
fn schema_header(whole: &WholeDeadLetter) -> Option<&[u8]> {
    let last = whole.headers.iter().rfind(|(name, _)| name == frame::VALUE_HEADER);
    last.and_then(|(_, value)| value.as_deref())
}

/// Whether the schema of the value is named by a GUID, or in a header.
fn has_guid(whole: &WholeDeadLetter, value: &[u8]) -> bool {
    schema_header(whole).is_some() || frame::guid(value).is_some()
}

/// The value behind the id of its schema.
fn without_frame<'a>(whole: &WholeDeadLetter, value: &'a [u8]) -> &'a [u8] {
    let len = match (frame::schema_id(value), frame::guid(value)) {
        _ if schema_header(whole).is_some() => 0,
        (Some(_), _) => frame::LEN,
        (_, Some(_)) => frame::GUID_LEN,
        (None, None) => 0,
    };
    &value[len..]
}

/// The members of a JSON object, by name. A number that would lose digits is shown as a text.
fn members(value: &[u8]) -> Decoded {
    let object =
        JsonObject::parse(value).map_err(|what| format!("it is no JSON object: {what}"))?;
    let member = |name: &str, raw: &str| {
        let is_raw = |value: &Value| serde_json::to_string(value).is_ok_and(|text| text == raw);
        let exact = serde_json::from_str(raw).ok().filter(is_raw);
        (name.to_owned(), exact.unwrap_or_else(|| raw.into()))
    };
    let mut members: Vec<_> =
        object.members().map(|(name, value)| member(name, value.get())).collect();
    members.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(members)
}

/// The only row of a batch.
fn row(batch: &RecordBatch) -> std::result::Result<Vec<(String, Value)>, ArrowError> {
    let mut text = Vec::new();
    let builder = arrow::json::WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, arrow::json::writer::LineDelimited>(&mut text);
    writer.write(batch)?;
    writer.finish()?;
    let mut record: Value =
        serde_json::from_slice(&text).map_err(|e| ArrowError::JsonError(e.to_string()))?;
    let mut fields = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let value = record[field.name()].take();
        // Most JSON parsers read numbers as doubles, and a decimal must remain exact.
        let decimal = matches!(field.data_type(), DataType::Decimal128(..)) && !value.is_null();
        let value = if decimal { array_value_to_string(column, 0)?.into() } else { value };
        fields.push((field.name().clone(), value));
    }
    Ok(fields)
}
