//! From one Arrow batch to framed records.

use crate::columns::{BatchBuilder, CheckedBatch, quoted};
use crate::convert::Convert;
use crate::error::Error;
use crate::frame::fault;
use crate::physical;
use crate::schema::Schema;
use crate::to_physical::to_physical;
use arrow::array::{Array, BooleanArray, new_empty_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow_avro::schema::{FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::format::AvroSoeFormat;
use arrow_avro::writer::{EncodedRows, Encoder as LibraryEncoder, WriterBuilder};
use std::collections::{BTreeMap, HashMap};
use weir_model::bisect::Bisection;
use weir_model::fault::{Fault, VALUE_DOES_NOT_FIT};

/// Encodes for one worker, with one schema.
pub struct Encoder {
    schema: Schema,
    /// Per column, from its own type to the one that the library encodes.
    conversions: Vec<Convert>,
    physical: SchemaRef,
    library: LibraryEncoder,
}

impl Encoder {
    /// An encoder for records of `schema`, which has this `id` in the registry.
    pub fn new(schema: &Schema, id: u32) -> Result<Encoder, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Library(e.to_string());
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let json = physical::schemas(schema.fields(), &all).writer;
        let conversions: Vec<Convert> =
            schema.fields().iter().map(|field| to_physical(field.avro_type.optional().0)).collect();
        let fields = physical_fields(schema, &conversions).map_err(|e| failed(&e))?;
        let described = ArrowSchema::new_with_metadata(
            fields,
            HashMap::from([(SCHEMA_METADATA_KEY.to_string(), json)]),
        );
        // The strategy is named explicitly, because the conversion from a fingerprint drops the id.
        let builder =
            WriterBuilder::new(described).with_fingerprint_strategy(FingerprintStrategy::Id(id));
        let library = builder.build_encoder::<AvroSoeFormat>().map_err(|e| failed(&e))?;
        Ok(Encoder { schema: schema.clone(), conversions, physical: library.schema(), library })
    }

    /// Encodes the rows that the schema can hold. The columns must have exactly the types of
    /// [`Schema::arrow`]. A row with a value that its Avro type does not have (a symbol, a UUID, a
    /// size, more digits, a null where none is allowed) is a fault of that row alone, and so is a
    /// row that the library refuses.
    ///
    /// # Errors
    /// [`Error::Batch`] for columns of other types or number, which no row could pass.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Encoded, Error> {
        let CheckedBatch { batch, rows, faults } = self.physical_batch(batch)?;
        let rows = rows.unwrap_or_else(|| (0..batch.num_rows() as u32).collect());
        match self.encode_at_once(&batch) {
            Ok(values) => Ok(Encoded { values, rows, faults }),
            Err(_) => self.encode_accepted(&batch, &rows, faults),
        }
    }

    /// Checks the columns and converts them to those that the library encodes.
    fn physical_batch(&self, batch: &RecordBatch) -> Result<CheckedBatch, Error> {
        let expected = self.schema.arrow();
        if batch.num_columns() != expected.fields().len() {
            let (actual, expected) = (batch.num_columns(), expected.fields().len());
            return Err(Error::Batch(format!("{actual} columns; the schema has {expected}")));
        }
        let mut columns = BatchBuilder::new(self.physical.clone(), batch.num_rows());
        let conversions = self.schema.fields().iter().zip(&self.conversions);
        for ((column, data_type), (field, convert)) in batch
            .columns()
            .iter()
            .zip(expected.fields().iter().map(|field| field.data_type()))
            .zip(conversions)
        {
            let mistake = |what: String| Error::Batch(format!("column {} {what}", field.name));
            if column.data_type() != data_type {
                let actual = column.data_type();
                return Err(mistake(format!("is {actual}; the schema needs {data_type}")));
            }
            let physical =
                convert(column).map_err(|e| mistake(format!("is not convertible: {e}")))?;
            columns.push(&field.name, column, physical, |array, row| {
                let (avro_type, _) = field.avro_type.optional();
                fault(
                    VALUE_DOES_NOT_FIT,
                    format!("{}: `{}` does not fit {avro_type}", field.name, quoted(array, row)),
                )
            });
        }
        columns.finish().map_err(|e| Error::Batch(e.to_string()))
    }

    fn encode_at_once(&mut self, batch: &RecordBatch) -> Result<EncodedRows, String> {
        let encoded = self.library.encode(batch);
        // Flushed in any case, so that rows of a failed batch do not precede those of the next.
        let values = self.library.flush();
        encoded.map_err(|error| format!("the Avro library refuses the record: {error}"))?;
        match values.len() == batch.num_rows() {
            true => Ok(values),
            false => Err(format!("{} records for {} rows", values.len(), batch.num_rows())),
        }
    }

    /// Encodes the rows of a refused batch that the library accepts. `rows` has the original row
    /// of each.
    #[cold]
    fn encode_accepted(
        &mut self,
        batch: &RecordBatch,
        rows: &[u32],
        faults: Vec<(u32, Fault)>,
    ) -> Result<Encoded, Error> {
        let mut faults: BTreeMap<u32, Fault> = faults.into_iter().collect();
        let mut accepted = vec![true; rows.len()];
        let mut bisection = Bisection::new(rows.len());
        while let Some(range) = bisection.next_range() {
            if let Err(why) = self.encode_at_once(&batch.slice(range.start, range.len()))
                && let Some(row) = bisection.split(range, None)
            {
                accepted[row] = false;
                faults.insert(rows[row], fault(VALUE_DOES_NOT_FIT, why));
            }
        }
        let batch = filter_record_batch(batch, &BooleanArray::from(accepted.clone()))
            .map_err(|e| Error::Library(e.to_string()))?;
        let values = self.encode_at_once(&batch).map_err(Error::Library)?;
        let rows = rows.iter().zip(accepted).filter(|(_, accepted)| *accepted);
        let rows = rows.map(|(row, _)| *row).collect();
        Ok(Encoded { values, rows, faults: faults.into_iter().collect() })
    }
}

/// The library's columns: names as in [`crate::physical`], types as after the conversions.
fn physical_fields(
    schema: &Schema,
    conversions: &[Convert],
) -> Result<Vec<ArrowField>, ArrowError> {
    let mut fields = Vec::with_capacity(conversions.len());
    for (index, (field, convert)) in schema.arrow().fields().iter().zip(conversions).enumerate() {
        let data_type = convert(&new_empty_array(field.data_type()))?.data_type().clone();
        let name = physical::column_name(index);
        fields.push(ArrowField::new(name, data_type, field.is_nullable()));
    }
    Ok(fields)
}

/// The encoded values of one batch.
#[derive(Debug)]
pub struct Encoded {
    values: EncodedRows,
    /// The row of the batch that each value was encoded from; ascending.
    pub rows: Vec<u32>,
    /// The rows that could not be encoded; ascending. Their stage is [`Stage::Decode`]; a caller at
    /// another stage sets its own.
    ///
    /// [`Stage::Decode`]: weir_model::fault::Stage::Decode
    pub faults: Vec<(u32, Fault)>,
}

impl Encoded {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value with this index: 5 bytes of frame, then the datum.
    ///
    /// # Panics
    /// When there is no such value.
    pub fn get(&self, index: usize) -> &[u8] {
        let offsets = self.values.offsets();
        &self.values.bytes()[offsets[index]..offsets[index + 1]]
    }
}

#[cfg(test)]
mod tests;
