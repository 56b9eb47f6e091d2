//! Values in Protobuf → columns of the reader's schema.
//!
//! A value is framed by the registry: behind the schema's id come the indexes that say which message
//! of the file it is (the module `indexes`). The file and what it imports are compiled with `protox`
//! (`compile`), and its messages are matched with the reader's records once per schema (`plan`). The
//! bytes are walked here (`wire`, `message`) and not by a library, because `prost-reflect` says of
//! bytes that are no message neither where nor, for a number that is cut to 32 bits, that it is; it
//! is the oracle in the tests.
//!
//! What is in a message and not in the reader's schema is passed over, as every reader of Protobuf
//! does. A field is found by its name, by its name in JSON, or by an alias of the reader's field.
//! Values follow the rules of [`weir_model::cast`] (`scalar`); the messages that come with Protobuf
//! are values of their own (`well_known`).

mod compile;
mod indexes;
mod json;
mod message;
mod plan;
mod scalar;
mod well_known;
mod wire;

use crate::cell::Cell;
use crate::column::ColumnBuilder;
use crate::error::Error;
use crate::frame::{Frame, SchemaHeaders, bad_header, fault};
use crate::problem::Problem;
use crate::registry::ProtobufText;
use crate::schema::Schema;
use crate::writer::{Values, WriterBatch};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use message::{Budget, Part};
use plan::MessageReader;
use prost_reflect::FileDescriptor;
use std::collections::HashMap;
use weir_model::fault::Fault;

/// Decodes the records of one writer schema.
pub(crate) struct ProtobufDecoder {
    /// That of the schema.
    name: String,
    reader: Schema,
    file: FileDescriptor,
    /// By the indexes of the message. The fault is that of every record of the message.
    messages: HashMap<Vec<u32>, Result<MessageReader, Fault>>,
}

impl ProtobufDecoder {
    /// Compiles the text of a schema, which people know as `name`. The error is the fault of every
    /// record written with it.
    pub(crate) fn new(
        name: &str,
        text: &ProtobufText,
        reader: &Schema,
    ) -> Result<ProtobufDecoder, Fault> {
        let file = compile::compile(text)
            .map_err(|why| fault(why.reason, format!("{name} of the writer: {}", why.what)))?;
        let messages = HashMap::new();
        Ok(ProtobufDecoder { name: name.into(), reader: reader.clone(), file, messages })
    }

    /// Decodes the values with the indexes `picked`, ascending, which all have this frame.
    pub(crate) fn decode(
        &mut self,
        values: &Values<'_>,
        picked: &[u32],
        frame: Frame,
        headers: &SchemaHeaders<'_>,
    ) -> Result<WriterBatch, Error> {
        let arrow = self.reader.arrow();
        let mut columns: Vec<ColumnBuilder> =
            arrow.fields().iter().map(|field| ColumnBuilder::new(field.data_type())).collect();
        let (mut rows, mut faults) = (Vec::with_capacity(picked.len()), Vec::new());
        let mut indexes = Vec::new();
        for &row in picked {
            let value = values[row as usize].unwrap_or_default();
            match self.read(value, frame, header_of(row, frame, headers), &mut indexes) {
                Ok(cells) => {
                    columns.iter_mut().zip(&cells).for_each(|(column, cell)| column.push(cell));
                    rows.push(row);
                }
                Err(fault) => faults.push((row, fault)),
            }
        }
        let batch = batch(arrow, &mut columns, rows.len())?;
        Ok(WriterBatch { batch, rows, faults })
    }

    fn read<'a>(
        &'a mut self,
        value: &'a [u8],
        frame: Frame,
        header: Option<&[u8]>,
        indexes: &mut Vec<u32>,
    ) -> Result<Vec<Cell<'a>>, Fault> {
        let num_bytes = match header {
            None => indexes::read(value, frame.len, indexes)?,
            Some(header) => {
                let start = header.len() - frame.rest(value, Some(header)).len();
                let end = indexes::read(header, start, indexes).map_err(|_| bad_header(header))?;
                if end != header.len() {
                    return Err(bad_header(header));
                }
                0
            }
        };
        let message = self.message(indexes)?;
        let mut budget = Budget::of(value);
        let whole = Part { start: num_bytes, end: value.len() };
        message.read(value, &[whole], &mut budget).map_err(|violation| violation.into_fault())
    }

    fn message(&mut self, indexes: &[u32]) -> Result<&MessageReader, Fault> {
        if !self.messages.contains_key(indexes) {
            let Some(message) = indexes::find(&self.file, indexes) else {
                let detail = format!("{} has no message {indexes:?}", self.name);
                return Err(fault("unknown_message", detail));
            };
            let reader = MessageReader::new(&message, self.reader.fields(), "").map_err(|p| {
                let (name, why) = (&self.name, Problem::list(&p));
                let of = format!("{} in {name} of the writer", message.full_name());
                fault("incompatible_schema", format!("{of}: {why}"))
            });
            self.messages.insert(indexes.into(), reader);
        }
        match self.messages.get(indexes) {
            Some(reader) => reader.as_ref().map_err(Clone::clone),
            None => Err(fault("unknown_message", format!("no message {indexes:?}"))),
        }
    }
}

/// The problems of reading the first message of a schema into the columns of `reader`.
pub(crate) fn problems(text: &ProtobufText, reader: &Schema) -> Vec<Problem> {
    let file = match compile::compile(text) {
        Ok(file) => file,
        Err(why) => return vec![Problem::new("", why.what)],
    };
    match indexes::find(&file, &[0]) {
        Some(message) => {
            MessageReader::new(&message, reader.fields(), "").err().unwrap_or_default()
        }
        None => vec![Problem::new("", "it has no message")],
    }
}

/// The header of a value that is framed by one.
fn header_of<'a>(row: u32, frame: Frame, headers: &SchemaHeaders<'a>) -> Option<&'a [u8]> {
    if frame.len > 0 {
        return None;
    }
    let at = headers.binary_search_by_key(&row, |(of, _)| *of).ok()?;
    headers.get(at).map(|(_, header)| *header)
}

fn batch(
    arrow: SchemaRef,
    columns: &mut [ColumnBuilder],
    num_rows: usize,
) -> Result<RecordBatch, Error> {
    let options = RecordBatchOptions::new().with_row_count(Some(num_rows));
    columns
        .iter_mut()
        .map(ColumnBuilder::finish)
        .collect::<Result<_, _>>()
        .and_then(|columns| RecordBatch::try_new_with_options(arrow, columns, &options))
        .map_err(|e| Error::Columns(e.to_string()))
}

#[cfg(test)]
mod tests;
