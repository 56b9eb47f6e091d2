//! Decodes the records of one writer schema into the reader's columns.

use crate::column::ColumnBuilder;
use crate::connect::{annotated, unitless, without_type};
use crate::error::Error;
use crate::frame::fault;
use crate::problem::Problem;
use crate::read::RecordReader;
use crate::schema::{Schema, parse_avro};
use crate::walk::{Recursive, Walk, recursive_checks};
use crate::writer_schema::WriterSchema;
use apache_avro::Schema as Avro;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use weir_model::fault::Fault;

/// The values of a batch of records, as they were read from the topic.
pub(crate) type Values<'a> = [Option<&'a [u8]>];

/// The decoded records of one writer schema in a batch.
pub(crate) struct WriterBatch {
    pub(crate) batch: RecordBatch,
    /// For each row of `batch` the index of its value.
    pub(crate) rows: Vec<u32>,
    /// By index of the value.
    pub(crate) faults: Vec<(u32, Fault)>,
}

/// A writer schema, resolved against the reader's.
pub(crate) struct WriterDecoder {
    reader: SchemaRef,
    record: RecordReader,
    recursive: Recursive,
}

impl WriterDecoder {
    /// Resolves the text of a schema, which people know as `name`. `events_of`: the schema of the
    /// rows, if the records are events of Debezium about them. The error is the fault of every
    /// record written with it.
    pub(crate) fn new(
        name: &str,
        text: &str,
        reader: &Schema,
        events_of: Option<&Schema>,
    ) -> Result<WriterDecoder, Fault> {
        let refuse =
            |reason: &str, what: String| fault(reason, format!("{name} of the writer: {what}"));
        let text = annotated(text, events_of.unwrap_or(reader).fields());
        let avro = parse_avro(&text).map_err(|e| refuse(e.reason("bad_schema"), e.to_string()))?;
        if !matches!(avro, Avro::Record(_)) {
            return Err(refuse("not_a_record", "it is not a record".into()));
        }
        let writer = WriterSchema::of(&avro, &text)
            .map_err(|e| refuse(e.reason("incompatible_schema"), e.to_string()))?;
        // Every number of an event, and those of others that have a type of Debezium.
        let named = events_of.is_none().then(|| without_type(&text));
        if let Some(what) = unitless(writer.fields(), reader.fields(), "", named.as_ref()) {
            return Err(refuse("incompatible_schema", what));
        }
        let record = RecordReader::new(writer.fields(), reader.fields(), "")
            .map_err(|problems| refuse("incompatible_schema", Problem::list(&problems)))?;
        let recursive = recursive_checks(writer.recursive());
        Ok(WriterDecoder { reader: reader.arrow(), record, recursive })
    }

    /// Decodes the values with the indexes `picked`, ascending. All of them are records of this writer
    /// schema that begin at byte `start`.
    pub(crate) fn decode_at(
        &mut self,
        values: &Values<'_>,
        picked: &[u32],
        start: usize,
    ) -> Result<WriterBatch, Error> {
        let fields = self.reader.fields().iter();
        let mut columns: Vec<ColumnBuilder> =
            fields.map(|field| ColumnBuilder::new(field.data_type())).collect();
        let mut rows = Vec::with_capacity(picked.len());
        let mut faults = Vec::new();
        for &row in picked {
            let value = values[row as usize].unwrap_or_default();
            let mut walk = Walk::new(value, start, &self.recursive);
            match self.record.read(&mut walk, &mut columns).and_then(|()| walk.finish()) {
                Ok(()) => rows.push(row),
                Err(violation) => {
                    columns.iter_mut().for_each(|column| column.truncate(rows.len()));
                    faults.push((row, violation.into_fault()));
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = columns
            .iter_mut()
            .map(ColumnBuilder::finish)
            .collect::<Result<_, _>>()
            .and_then(|columns| {
                RecordBatch::try_new_with_options(self.reader.clone(), columns, &options)
            })
            .map_err(|e| Error::Columns(e.to_string()))?;
        Ok(WriterBatch { batch, rows, faults })
    }
}
