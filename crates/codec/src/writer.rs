//! Decodes the records of one writer schema into the reader's columns.

use crate::avro_type::{AvroType, Field};
use crate::columns::{BatchBuilder, CheckedBatch, quoted};
use crate::error::Error;
use crate::frame::fault;
use crate::physical::{self, PhysicalSchemas};
use crate::resolve::{ColumnSource, resolve};
use crate::schema::{Schema, parse_avro, record_fields};
use crate::validate::Validator;
use apache_avro::Schema as Avro;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_avro::reader::{Decoder as LibraryDecoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use weir_model::bisect::Bisection;
use weir_model::fault::{Fault, VALUE_DOES_NOT_FIT};
use weir_model::frame;

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
    fields: Vec<Field>,
    validator: Validator,
    /// Indexes of the writer's fields that become columns, ascending.
    projected: Vec<usize>,
    columns: Vec<ColumnSource>,
    library: Option<Library>,
}

/// The library's decoder of the projected fields.
struct Library {
    schema_id: u32,
    schemas: PhysicalSchemas,
    decoder: LibraryDecoder,
}

impl WriterDecoder {
    /// Resolves the schema text that the registry has for `id`. The error is the fault of every
    /// record written with it.
    pub(crate) fn new(id: u32, text: &str, reader: &Schema) -> Result<WriterDecoder, Fault> {
        let refuse = |reason: &str, what: String| {
            fault(reason, format!("schema {id} of the writer: {what}"))
        };
        let avro = parse_avro(text).map_err(|e| refuse(e.reason("bad_schema"), e.to_string()))?;
        if !matches!(avro, Avro::Record(_)) {
            return Err(refuse("not_a_record", "it is not a record".into()));
        }
        let fields = record_fields(&avro)
            .map_err(|e| refuse(e.reason("incompatible_schema"), e.to_string()))?;
        let columns = resolve(&fields, reader.fields())
            .map_err(|problems| refuse("incompatible_schema", problems.join("; ")))?;
        WriterDecoder::compile(id, fields, columns, reader)
            .map_err(|e| refuse("incompatible_schema", e.to_string()))
    }

    fn compile(
        id: u32,
        fields: Vec<Field>,
        columns: Vec<ColumnSource>,
        reader: &Schema,
    ) -> Result<WriterDecoder, ArrowError> {
        let mut projected: Vec<usize> = columns
            .iter()
            .filter_map(|column| match column {
                ColumnSource::WriterField(index, _) => Some(*index),
                ColumnSource::Constant(_) => None,
            })
            .collect();
        projected.sort_unstable();
        projected.dedup();
        // Without projected fields there is nothing to decode.
        let library = match projected.is_empty() {
            true => None,
            false => Some(Library::new(id, physical::schemas(&fields, &projected))?),
        };
        let (reader, validator) = (reader.arrow(), Validator::new(&fields));
        Ok(WriterDecoder { reader, validator, fields, projected, columns, library })
    }

    /// Decodes the values with the indexes `picked`, ascending. All of them have the frame of this
    /// writer schema.
    pub(crate) fn decode(
        &mut self,
        values: &Values<'_>,
        picked: &[u32],
    ) -> Result<WriterBatch, Error> {
        let mut rows = Vec::with_capacity(picked.len());
        let mut faults = Vec::new();
        for &row in picked {
            let value = values[row as usize].unwrap_or_default();
            match self.validator.check(value, frame::LEN) {
                Ok(()) => rows.push(row),
                Err(fault) => faults.push((row, fault)),
            }
        }
        let decoded = match &mut self.library {
            Some(library) => Some(library.decode_valid(values, &mut rows, &mut faults)?),
            None => None,
        };
        faults.sort_by_key(|(row, _)| *row);
        self.convert(decoded, rows, faults).map_err(|e| Error::Library(e.to_string()))
    }

    /// From the library's columns to the reader's.
    fn convert(
        &self,
        decoded: Option<RecordBatch>,
        rows: Vec<u32>,
        mut faults: Vec<(u32, Fault)>,
    ) -> Result<WriterBatch, ArrowError> {
        let mut columns = BatchBuilder::new(self.reader.clone(), rows.len());
        for (field, source) in self.reader.fields().iter().zip(&self.columns) {
            match (source, &decoded) {
                (ColumnSource::WriterField(index, convert), Some(decoded)) => {
                    let column = self.projected.binary_search(index).unwrap_or_default();
                    let before = decoded.column(column);
                    columns.push(field.name(), before, convert(before)?, |array, row| {
                        self.conversion_fault(*index, array, row)
                    });
                }
                (ColumnSource::Constant(value), _) => {
                    let repeated = take(value, &UInt32Array::from(vec![0; rows.len()]), None)?;
                    columns.push(field.name(), &repeated, repeated.clone(), |_, _| {
                        fault(VALUE_DOES_NOT_FIT, "")
                    });
                }
                (ColumnSource::WriterField(..), None) => {
                    return Err(ArrowError::SchemaError("a column without a decoder".into()));
                }
            }
        }
        let CheckedBatch { batch, rows: converted, faults: more } = columns.finish()?;
        faults.extend(more.into_iter().map(|(row, fault)| (rows[row as usize], fault)));
        let rows = match converted {
            Some(converted) => converted.into_iter().map(|row| rows[row as usize]).collect(),
            None => rows,
        };
        Ok(WriterBatch { batch, rows, faults })
    }

    /// The fault of a value that the reader's type cannot hold.
    #[cold]
    fn conversion_fault(&self, index: usize, array: &ArrayRef, row: usize) -> Fault {
        let Field { name, avro_type, .. } = &self.fields[index];
        let (avro_type, _) = avro_type.optional();
        let value = quoted(array, row);
        if let AvroType::Enum(symbols) = avro_type {
            let number: Option<usize> = value.parse().ok();
            let symbol = number.and_then(|number| symbols.list.get(number)).unwrap_or(&value);
            return fault(
                "unknown_symbol",
                format!("{name}: the reader's schema does not have the symbol {symbol}"),
            );
        }
        fault(
            VALUE_DOES_NOT_FIT,
            format!("{name}: the {avro_type} {value} does not fit the type of the reader's schema"),
        )
    }
}

impl Library {
    fn new(schema_id: u32, schemas: PhysicalSchemas) -> Result<Library, ArrowError> {
        Ok(Library { decoder: build_decoder(schema_id, &schemas)?, schema_id, schemas })
    }

    /// Decodes `rows`, which were found valid. Should the library refuse one of them anyway, only
    /// that one becomes a fault.
    fn decode_valid(
        &mut self,
        values: &Values<'_>,
        rows: &mut Vec<u32>,
        faults: &mut Vec<(u32, Fault)>,
    ) -> Result<RecordBatch, Error> {
        let (mut batches, mut decoded) = (Vec::new(), Vec::with_capacity(rows.len()));
        let mut bisection = Bisection::new(rows.len());
        while let Some(range) = bisection.next_range() {
            let part = &rows[range.clone()];
            match self.decode(values, part) {
                Ok(batch) => {
                    batches.push(batch);
                    decoded.extend_from_slice(part);
                }
                Err(why) => {
                    self.rebuild()?;
                    if let Some(index) = bisection.split(range, None) {
                        faults.push((rows[index], fault("undecodable", why)));
                    }
                }
            }
        }
        *rows = decoded;
        if batches.len() == 1 {
            return Ok(batches.remove(0));
        }
        concat_batches(&self.decoder.schema(), &batches).map_err(|e| Error::Library(e.to_string()))
    }

    /// Decodes `rows` at once. After an error the decoder is unusable.
    fn decode(&mut self, values: &Values<'_>, rows: &[u32]) -> Result<RecordBatch, String> {
        for &row in rows {
            let value = values[row as usize].unwrap_or_default();
            let capacity = self.decoder.capacity();
            match self.decoder.decode(value) {
                Ok(consumed)
                    if consumed == value.len() && self.decoder.capacity() + 1 == capacity => {}
                Ok(consumed) => {
                    let size = value.len();
                    return Err(format!("the Avro library read {consumed} of {size} bytes"));
                }
                Err(error) => return Err(format!("the Avro library refuses the record: {error}")),
            }
        }
        match self.decoder.flush() {
            Ok(Some(batch)) if batch.num_rows() == rows.len() => Ok(batch),
            Ok(batch) => Err(format!(
                "the Avro library returned {} rows for {}",
                batch.map_or(0, |b| b.num_rows()),
                rows.len()
            )),
            Err(error) => Err(format!("the Avro library refuses the record: {error}")),
        }
    }

    fn rebuild(&mut self) -> Result<(), Error> {
        self.decoder = build_decoder(self.schema_id, &self.schemas)
            .map_err(|e| Error::Library(e.to_string()))?;
        Ok(())
    }
}

fn build_decoder(schema_id: u32, schemas: &PhysicalSchemas) -> Result<LibraryDecoder, ArrowError> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(schema_id), AvroSchema::new(schemas.writer.clone()))?;
    // The batch size only limits how many rows are collected before a flush; nothing is allocated
    // for it.
    let mut builder =
        ReaderBuilder::new().with_writer_schema_store(store).with_batch_size(u32::MAX as usize);
    if let Some(reader) = &schemas.reader {
        builder = builder.with_reader_schema(AvroSchema::new(reader.clone()));
    }
    builder.build_decoder()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_only_the_library_refuses_is_singled_out() {
        let text = r#"{"type":"record","name":"R","fields":[{"name":"x","type":"bytes"}]}"#;
        let mut writer = WriterDecoder::new(1, text, &Schema::parse(text).unwrap()).unwrap();
        let library = writer.library.as_mut().unwrap();
        // A library that decodes every datum as three bytes simulates a bug.
        library.schemas.writer = text.replace(
            "\"x\",\"type\":\"bytes\"",
            r#""c0","type":{"type":"fixed","name":"F","size":3}"#,
        );
        library.rebuild().unwrap();
        let values: Vec<Vec<u8>> = [2, 3, 2, 2, 0, 2, 1]
            .iter()
            .map(|n| [&[0, 0, 0, 0, 1, n * 2][..], &vec![b'x'; usize::from(*n)]].concat())
            .collect();
        let values: Vec<Option<&[u8]>> = values.iter().map(|v| Some(v.as_slice())).collect();
        for _ in 0..2 {
            let (mut rows, mut faults) = ((0..7).collect(), Vec::new());
            let batch = library.decode_valid(&values, &mut rows, &mut faults).unwrap();
            assert_eq!((batch.num_rows(), rows), (4, vec![0, 2, 3, 5]));
            let refused: Vec<(u32, &str)> =
                faults.iter().map(|(row, fault)| (*row, fault.reason.as_str())).collect();
            assert_eq!(refused, [(1, "undecodable"), (4, "undecodable"), (6, "undecodable")]);
        }
    }
}
