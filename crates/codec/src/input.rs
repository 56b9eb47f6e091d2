//! The records of a pipeline's input topic, whatever their format: values and keys.

use crate::connect::annotated;
use crate::debezium::{self, Changes};
use crate::decode::{Decoded, Decoder};
use crate::diff::{Losses, losses};
use crate::error::Error;
use crate::frame::{SchemaHeaders, fault, of_rows};
use crate::json::JsonRules;
use crate::json_decoder::JsonDecoder;
use crate::problem::Problem;
use crate::registry::Registry;
use crate::schema::Schema;
use crate::writer::{Values, WriterDecoder};
use crate::writer_schema::WriterSchema;
use arrow::array::{ArrayRef, BinaryArray, StringArray, StructArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use weir_model::fault::Fault;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{Input, KeyFormat, UnknownFields, Unwrap, ValueFormat};

/// Decodes the values of a pipeline's input topic.
pub struct InputDecoder {
    format: Format,
    /// The schema of the rows, if the values are events of Debezium about them.
    events_of: Option<Schema>,
}

enum Format {
    /// Framed Avro or Protobuf.
    Framed(Box<Decoder>),
    /// JSON objects.
    Json(JsonDecoder),
}

/// Decoded values.
#[derive(Debug)]
pub struct InputBatch {
    /// The rows.
    pub decoded: Decoded,
    /// What the events about them say; `None` if the values are rows.
    pub changes: Option<Changes>,
}

impl InputDecoder {
    /// A decoder of values as `input` says they are written, into the columns of `schema`.
    ///
    /// # Errors
    /// The schema cannot be read from this format.
    pub fn new(
        input: &Input,
        schema: Schema,
        registry: Registry,
        runtime: Handle,
    ) -> Result<InputDecoder, Error> {
        let events_of = (input.unwrap == Unwrap::Debezium).then(|| schema.clone());
        let reader = match &events_of {
            Some(row) => debezium::envelope(row)?,
            None => schema,
        };
        let json = |reader| JsonDecoder::new(reader, rules(input));
        let format = match (input.format, &events_of) {
            (ValueFormat::Avro, None) => {
                Format::Framed(Box::new(Decoder::new(reader, registry, runtime)?))
            }
            (ValueFormat::Avro, Some(row)) => {
                let decoder = Decoder::new(reader, registry, runtime)?;
                Format::Framed(Box::new(decoder.of_events(row.clone())))
            }
            (ValueFormat::Protobuf, _) => {
                let decoder = Decoder::new(reader, registry, runtime)?;
                Format::Framed(Box::new(decoder.of_protobuf()))
            }
            (ValueFormat::Json, None) => Format::Json(json(reader)?),
            (ValueFormat::Json, Some(_)) => Format::Json(json(reader)?.of_events()),
            (ValueFormat::JsonSchema, None) => Format::Json(json(reader)?.of_framed()),
            (ValueFormat::JsonSchema, Some(_)) => {
                Format::Json(json(reader)?.of_framed().of_events())
            }
        };
        Ok(InputDecoder { format, events_of })
    }

    /// The same, but one call of [`InputDecoder::decode`] asks the registry for `limit` at most.
    pub fn with_look_up_limit(self, limit: Duration) -> InputDecoder {
        let format = match self.format {
            Format::Framed(decoder) => Format::Framed(Box::new(decoder.with_look_up_limit(limit))),
            json @ Format::Json(_) => json,
        };
        InputDecoder { format, ..self }
    }

    /// Decodes `values` in order; `headers` say the schema of those that are not framed.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode(
        &mut self,
        values: &Values<'_>,
        headers: &SchemaHeaders<'_>,
    ) -> Result<InputBatch, Error> {
        let decoded = match &mut self.format {
            Format::Framed(decoder) => decoder.decode_with(values, headers)?,
            Format::Json(decoder) => decoder.decode_with(values, headers)?,
        };
        Ok(match &self.events_of {
            Some(row) => {
                let (decoded, changes) = debezium::unwrap(decoded, row.arrow())?;
                InputBatch { decoded, changes: Some(changes) }
            }
            None => InputBatch { decoded, changes: None },
        })
    }
}

fn rules(input: &Input) -> JsonRules {
    JsonRules {
        numbers_as_text: input.numbers_as_text,
        refuse_unknown: input.unknown_fields == UnknownFields::Refuse,
        similar_names: false,
    }
}

/// What the keys of the input topic are: those of the output topic are the same.
#[derive(Debug, Clone)]
pub struct KeyType {
    format: KeyFormat,
    /// Whether Connect wrote them.
    connect: bool,
    schema: Option<Schema>,
}

impl KeyType {
    /// Reads the schema of the keys, if they have one.
    ///
    /// # Errors
    /// The schema cannot be used.
    pub fn load(input: &Input) -> Result<KeyType, Error> {
        let schema = input.key_schema.as_deref().map(Schema::load).transpose()?;
        let is_json = matches!(input.key_format, KeyFormat::Json | KeyFormat::JsonSchema);
        if let (true, Some(schema), Some(path)) = (is_json, &schema, &input.key_schema) {
            readable(schema, path)?;
        }
        let connect = input.unwrap == Unwrap::Debezium;
        Ok(KeyType { format: input.key_format, connect, schema })
    }

    /// The type of a column of keys.
    pub fn arrow(&self) -> DataType {
        match (&self.schema, self.format) {
            (Some(schema), _) => DataType::Struct(nullable(schema)),
            (None, KeyFormat::Bytes) => DataType::Binary,
            (None, _) => DataType::Utf8,
        }
    }
}

/// For people.
impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.format {
            KeyFormat::Text => "text",
            KeyFormat::Bytes => "bytes",
            KeyFormat::Json | KeyFormat::JsonSchema => "JSON objects",
            KeyFormat::Avro => "Avro records",
            KeyFormat::Protobuf => "messages of Protobuf",
        })
    }
}

/// Everything inside another value is nullable in Arrow's sense.
fn nullable(schema: &Schema) -> arrow::datatypes::Fields {
    let arrow = schema.arrow();
    arrow.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect()
}

fn readable(schema: &Schema, path: &Path) -> Result<(), Error> {
    JsonDecoder::new(schema.clone(), JsonRules::default())
        .map(|_| ())
        .map_err(|error| error.in_file(path))
}

/// Which values that were written with `writer` cannot be read as `input` says; `schema` is that of
/// the rows.
pub fn losses_of_input(input: &Input, schema: &Schema, writer: &WriterSchema) -> Losses {
    let refused = |reader: &Schema, events_of| {
        let decoder = WriterDecoder::new("the schema", writer.text(), reader, events_of);
        decoder.err().map(|fault| fault.detail)
    };
    let (refused, found) = match input.unwrap {
        Unwrap::None => {
            let annotated = WriterSchema::parse(&annotated(writer.text(), schema.fields()));
            let found = losses(annotated.as_ref().unwrap_or(writer), schema.written());
            (refused(schema, None).filter(|_| found.all.is_empty()), found)
        }
        Unwrap::Debezium => match debezium::envelope(schema) {
            Ok(envelope) => (refused(&envelope, Some(schema)), Losses::default()),
            Err(error) => (Some(error.to_string()), Losses::default()),
        },
    };
    match refused {
        None => found,
        Some(what) => Losses { all: vec![Problem::new("", what)], some: Vec::new() },
    }
}

/// The mistakes of `[input]` that its schemas show, and what its keys are.
///
/// # Errors
/// The mistakes.
pub fn check_input(input: &Input, schema: &Schema) -> Result<KeyType, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    if input.format.is_json()
        && let Err(error) = readable(schema, &input.schema)
    {
        mistakes.push(Mistake::new("input.schema", error.to_string()));
    }
    if input.unwrap == Unwrap::Debezium
        && let Err(error) = debezium::envelope(schema)
    {
        mistakes.push(Mistake::new("input.schema", error.to_string()));
    }
    match KeyType::load(input) {
        Ok(key) if mistakes.is_empty() => Ok(key),
        Ok(_) => Err(mistakes),
        Err(error) => {
            mistakes.push(Mistake::new("input.key_schema", error.to_string()));
            Err(mistakes)
        }
    }
}

/// Decodes keys.
pub struct KeyDecoder {
    key: KeyType,
    record: Option<InputDecoder>,
}

impl KeyDecoder {
    /// A decoder of such keys.
    ///
    /// # Errors
    /// The schema cannot be read from the format.
    pub fn new(key: &KeyType, registry: Registry, runtime: Handle) -> Result<KeyDecoder, Error> {
        let record = match (&key.schema, key.format) {
            (None, _) => None,
            (Some(schema), KeyFormat::Avro | KeyFormat::Protobuf) => {
                let decoder = Decoder::new(schema.clone(), registry, runtime)?;
                Some(Format::Framed(Box::new(match key.format {
                    KeyFormat::Protobuf => decoder.of_protobuf(),
                    _ => decoder,
                })))
            }
            (Some(schema), format) => {
                let decoder = JsonDecoder::new(schema.clone(), JsonRules::default())?;
                let decoder = if key.connect { decoder.of_connect() } else { decoder };
                Some(Format::Json(match format {
                    KeyFormat::JsonSchema => decoder.of_framed(),
                    _ => decoder,
                }))
            }
        };
        let record = record.map(|format| InputDecoder { format, events_of: None });
        Ok(KeyDecoder { key: key.clone(), record })
    }

    /// The same, but one call of [`KeyDecoder::decode`] asks the registry for `limit` at most.
    pub fn with_look_up_limit(self, limit: Duration) -> KeyDecoder {
        KeyDecoder { record: self.record.map(|record| record.with_look_up_limit(limit)), ..self }
    }

    /// A column with the value of each key, null where there is none, and the keys that have
    /// none, by index; ascending. `headers` say the schema of those that are not framed.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode(
        &mut self,
        keys: &Values<'_>,
        headers: &SchemaHeaders<'_>,
    ) -> Result<(ArrayRef, Vec<(u32, Fault)>), Error> {
        if let Some(record) = &mut self.record {
            return records(record, keys, headers, &nullable_of(&self.key));
        }
        if self.key.format == KeyFormat::Bytes {
            return Ok((Arc::new(BinaryArray::from_iter(keys)), Vec::new()));
        }
        let mut faults = Vec::new();
        let text = |(row, key): (u32, &Option<&[u8]>)| {
            let text = std::str::from_utf8((*key)?);
            text.map_err(|error| faults.push((row, not_text(&error)))).ok().map(String::from)
        };
        let texts: StringArray = (0u32..).zip(keys).map(text).collect();
        Ok((Arc::new(texts), faults))
    }
}

fn nullable_of(key: &KeyType) -> arrow::datatypes::Fields {
    key.schema.as_ref().map(nullable).unwrap_or_default()
}

fn not_text(error: &std::str::Utf8Error) -> Fault {
    let at = error.valid_up_to();
    fault(
        "bad_key",
        format!("the key is not UTF-8 from byte {at}; key_format = \"bytes\" reads any"),
    )
}

fn records(
    decoder: &mut InputDecoder,
    keys: &Values<'_>,
    headers: &SchemaHeaders<'_>,
    fields: &arrow::datatypes::Fields,
) -> Result<(ArrayRef, Vec<(u32, Fault)>), Error> {
    let present: Vec<u32> =
        (0u32..).zip(keys).filter(|(_, key)| key.is_some()).map(|(row, _)| row).collect();
    let values: Vec<Option<&[u8]>> = present.iter().map(|row| keys[*row as usize]).collect();
    let headers = of_rows(headers, &present);
    let Decoded { batch, rows, faults } = decoder.decode(&values, &headers)?.decoded;
    let mut found: Vec<Option<u32>> = vec![None; keys.len()];
    for (at, row) in (0u32..).zip(rows) {
        found[present[row as usize] as usize] = Some(at);
    }
    let decoded = StructArray::try_new_with_length(
        fields.clone(),
        batch.columns().to_vec(),
        None,
        batch.num_rows(),
    );
    let columns = |e: arrow::error::ArrowError| Error::Columns(e.to_string());
    let array = take(&decoded.map_err(columns)?, &UInt32Array::from(found), None);
    let faults = faults.into_iter().map(|(row, why)| {
        let detail = format!("the key: {}", why.detail);
        (present[row as usize], fault("bad_key", detail))
    });
    Ok((array.map_err(columns)?, faults.collect()))
}
