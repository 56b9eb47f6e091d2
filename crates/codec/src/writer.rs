//! Everything needed to read the records of one writer schema into the reader's columns.

use crate::columns::{Columns, Settled, quoted};
use crate::error::Error;
use crate::frame::{self, fault};
use crate::physical;
use crate::resolve::{Source, resolve};
use crate::schema::{Schema, parse_avro, record_fields};
use crate::shape::{Field, Shape};
use crate::validate::Validator;
use apache_avro::Schema as Avro;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{concat_batches, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_avro::reader::{Decoder as Library, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use weir_model::fault::Fault;

/// Values of one record batch, as they came from the topic.
pub(crate) type Values<'a> = [Option<&'a [u8]>];

/// The rows of one writer schema in a batch.
pub(crate) struct Part {
    pub(crate) batch: RecordBatch,
    /// Index into the values, for each row.
    pub(crate) rows: Vec<u32>,
    pub(crate) faults: Vec<(u32, Fault)>,
}

/// A writer schema, compiled against the reader's.
pub(crate) struct Writer {
    reader: SchemaRef,
    fields: Vec<Field>,
    validator: Validator,
    /// Fields of the writer that become columns, ascending.
    kept: Vec<usize>,
    columns: Vec<Source>,
    recipe: Recipe,
    /// `None` when no field is kept: then there is nothing to decode.
    library: Option<Library>,
}

/// What the library's decoder is built from, again after each of its errors.
struct Recipe {
    id: u32,
    writer: String,
    reduced: Option<String>,
}

impl Writer {
    /// Compiles the schema text that the registry holds under `id`. The error is the fault of every
    /// record written with it.
    pub(crate) fn new(id: u32, text: &str, reader: &Schema) -> Result<Writer, Fault> {
        let refuse = |reason: &str, what: String| {
            fault(reason, format!("schema {id} of the writer: {what}"))
        };
        let avro = parse_avro(text).map_err(|e| refuse("bad_schema", e.to_string()))?;
        if !matches!(avro, Avro::Record(_)) {
            return Err(refuse("not_a_record", "it is not a record".into()));
        }
        let fields =
            record_fields(&avro).map_err(|e| refuse("incompatible_schema", e.to_string()))?;
        let columns = resolve(&fields, reader.fields())
            .map_err(|problems| refuse("incompatible_schema", problems.join("; ")))?;
        Writer::compile(id, fields, columns, reader)
            .map_err(|e| refuse("incompatible_schema", e.to_string()))
    }

    fn compile(
        id: u32,
        fields: Vec<Field>,
        columns: Vec<Source>,
        reader: &Schema,
    ) -> Result<Writer, ArrowError> {
        let mut kept: Vec<usize> = columns
            .iter()
            .filter_map(|c| if let Source::Field(index, _) = c { Some(*index) } else { None })
            .collect();
        kept.sort_unstable();
        kept.dedup();
        let (writer, reduced) = physical::schemas(&fields, &kept);
        let recipe = Recipe { id, writer, reduced };
        let library = if kept.is_empty() { None } else { Some(recipe.build()?) };
        Ok(Writer {
            reader: reader.arrow(),
            validator: Validator::new(&fields),
            fields,
            kept,
            columns,
            recipe,
            library,
        })
    }

    /// Decodes those of `values` that `picked` names, ascending; all are framed with this writer's
    /// id.
    pub(crate) fn decode(&mut self, values: &Values<'_>, picked: &[u32]) -> Result<Part, Error> {
        let mut rows = Vec::with_capacity(picked.len());
        let mut faults = Vec::new();
        for &row in picked {
            let value = values[row as usize].unwrap_or_default();
            match self.validator.check(value, frame::LEN) {
                Ok(()) => rows.push(row),
                Err(fault) => faults.push((row, fault)),
            }
        }
        let decoded = self.library_batch(values, &mut rows, &mut faults)?;
        self.convert(decoded, rows, faults).map_err(|e| Error::Library(e.to_string()))
    }

    /// All rows at once; when the library stumbles over one that was found valid, the others must
    /// not pay for it.
    fn library_batch(
        &mut self,
        values: &Values<'_>,
        rows: &mut Vec<u32>,
        faults: &mut Vec<(u32, Fault)>,
    ) -> Result<Option<RecordBatch>, Error> {
        let Some(library) = self.library.as_mut() else { return Ok(None) };
        if let Ok(batch) = run(library, values, rows) {
            return Ok(Some(batch));
        }
        let (mut batches, mut good) = (Vec::new(), Vec::new());
        self.isolate(values, rows, &mut batches, &mut good, faults)?;
        faults.sort_by_key(|(row, _)| *row);
        *rows = good;
        let schema = self
            .library
            .as_ref()
            .map(Library::schema)
            .ok_or_else(|| Error::Library("no decoder".into()))?;
        concat_batches(&schema, &batches).map(Some).map_err(|e| Error::Library(e.to_string()))
    }

    /// Halves `rows` until the ones that the library refuses stand alone.
    fn isolate(
        &mut self,
        values: &Values<'_>,
        rows: &[u32],
        batches: &mut Vec<RecordBatch>,
        good: &mut Vec<u32>,
        faults: &mut Vec<(u32, Fault)>,
    ) -> Result<(), Error> {
        let mut library = self.recipe.build().map_err(|e| Error::Library(e.to_string()))?;
        let outcome = run(&mut library, values, rows);
        self.library = Some(library);
        match (outcome, rows) {
            (Ok(batch), _) => {
                batches.push(batch);
                good.extend_from_slice(rows);
            }
            (Err(why), [row]) => {
                self.library =
                    Some(self.recipe.build().map_err(|e| Error::Library(e.to_string()))?);
                faults.push((*row, fault("undecodable", why)));
            }
            (Err(_), _) => {
                let (left, right) = rows.split_at(rows.len() / 2);
                self.isolate(values, left, batches, good, faults)?;
                self.isolate(values, right, batches, good, faults)?;
            }
        }
        Ok(())
    }

    /// The library's columns → the reader's.
    fn convert(
        &self,
        decoded: Option<RecordBatch>,
        rows: Vec<u32>,
        mut faults: Vec<(u32, Fault)>,
    ) -> Result<Part, ArrowError> {
        let mut columns = Columns::new(self.reader.clone(), rows.len());
        for source in &self.columns {
            match (source, &decoded) {
                (Source::Field(index, convert), Some(decoded)) => {
                    let place = self.kept.binary_search(index).unwrap_or_default();
                    let before = decoded.column(place);
                    columns
                        .push(before, convert(before)?, |array, row| self.lost(*index, array, row));
                }
                (Source::Constant(value), _) => {
                    let repeated = take(value, &UInt32Array::from(vec![0; rows.len()]), None)?;
                    columns
                        .push(&repeated, repeated.clone(), |_, _| fault("value_does_not_fit", ""));
                }
                (Source::Field(..), None) => {
                    return Err(ArrowError::SchemaError("a column without a decoder".into()));
                }
            }
        }
        let Settled { batch, rows: kept, faults: lost } = columns.finish()?;
        faults.extend(lost.into_iter().map(|(row, fault)| (rows[row as usize], fault)));
        let rows = match kept {
            Some(kept) => kept.into_iter().map(|row| rows[row as usize]).collect(),
            None => rows,
        };
        Ok(Part { batch, rows, faults })
    }

    /// The fault of a value that the reader's type cannot hold.
    #[cold]
    fn lost(&self, index: usize, array: &ArrayRef, row: usize) -> Fault {
        let field = &self.fields[index];
        let (shape, _) = field.shape.optional();
        let value = quoted(array, row);
        if let Shape::Enum(symbols) = shape {
            let symbol =
                value.parse().ok().and_then(|n: usize| symbols.list.get(n)).unwrap_or(&value);
            return fault(
                "unknown_symbol",
                format!("{}: the reader's schema does not know the symbol {symbol}", field.name),
            );
        }
        fault(
            "value_does_not_fit",
            format!(
                "{}: the {shape} {value} does not fit the type of the reader's schema",
                field.name
            ),
        )
    }
}

impl Recipe {
    fn build(&self) -> Result<Library, ArrowError> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        store.set(Fingerprint::Id(self.id), AvroSchema::new(self.writer.clone()))?;
        // The size only limits how many rows may gather before a flush; nothing is allocated for
        // it.
        let mut builder =
            ReaderBuilder::new().with_writer_schema_store(store).with_batch_size(u32::MAX as usize);
        if let Some(reduced) = &self.reduced {
            builder = builder.with_reader_schema(AvroSchema::new(reduced.clone()));
        }
        builder.build_decoder()
    }
}

/// Decodes `rows`; an error leaves the decoder unusable.
fn run(library: &mut Library, values: &Values<'_>, rows: &[u32]) -> Result<RecordBatch, String> {
    for &row in rows {
        let value = values[row as usize].unwrap_or_default();
        let capacity = library.capacity();
        match library.decode(value) {
            Ok(consumed) if consumed == value.len() && library.capacity() + 1 == capacity => {}
            Ok(consumed) => {
                return Err(format!("the Avro library read {consumed} of {} bytes", value.len()));
            }
            Err(error) => return Err(format!("the Avro library refuses the record: {error}")),
        }
    }
    match library.flush() {
        Ok(Some(batch)) if batch.num_rows() == rows.len() => Ok(batch),
        Ok(None) if rows.is_empty() => Ok(RecordBatch::new_empty(library.schema())),
        Ok(batch) => Err(format!(
            "the Avro library gave {} rows for {}",
            batch.map_or(0, |b| b.num_rows()),
            rows.len()
        )),
        Err(error) => Err(format!("the Avro library refuses the record: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_only_the_library_refuses_is_singled_out() {
        let text = r#"{"type":"record","name":"R","fields":[{"name":"x","type":"bytes"}]}"#;
        let mut writer = Writer::new(1, text, &Schema::parse(text).unwrap()).unwrap();
        // A library that takes every datum for three bytes stands for one with a bug.
        writer.recipe.writer = text.replace(
            "\"x\",\"type\":\"bytes\"",
            r#""c0","type":{"type":"fixed","name":"F","size":3}"#,
        );
        writer.library = Some(writer.recipe.build().unwrap());
        let values: Vec<Vec<u8>> = [2, 3, 2, 2, 0, 2, 1]
            .iter()
            .map(|n| [&[0, 0, 0, 0, 1, n * 2][..], &vec![b'x'; usize::from(*n)]].concat())
            .collect();
        let values: Vec<Option<&[u8]>> = values.iter().map(|v| Some(v.as_slice())).collect();
        for _ in 0..2 {
            let (mut rows, mut faults) = ((0..7).collect(), Vec::new());
            let batch = writer.library_batch(&values, &mut rows, &mut faults).unwrap().unwrap();
            assert_eq!((batch.num_rows(), rows), (4, vec![0, 2, 3, 5]));
            let refused: Vec<(u32, &str)> =
                faults.iter().map(|(row, fault)| (*row, fault.reason.as_str())).collect();
            assert_eq!(refused, [(1, "undecodable"), (4, "undecodable"), (6, "undecodable")]);
        }
    }
}
