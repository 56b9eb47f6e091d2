//! From one Arrow batch to framed records.

use crate::convert::Convert;
use crate::error::Error;
use crate::physical;
use crate::schema::Schema;
use crate::to_physical::to_physical;
use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_avro::schema::{FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::format::AvroSoeFormat;
use arrow_avro::writer::{EncodedRows, Encoder as LibraryEncoder, WriterBuilder};
use std::collections::HashMap;

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

    /// Encodes every row. The columns must be exactly [`Schema::arrow`], without nulls where none
    /// are allowed, as [`crate::cast`] returns them.
    ///
    /// # Errors
    /// [`Error::Batch`] for any other batch: that is the caller's mistake and not a record's fault.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Encoded, Error> {
        let columns = self.physical_columns(batch)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.physical.clone(), columns, &options)
            .map_err(|e| Error::Batch(e.to_string()))?;
        let encoded = self.library.encode(&batch);
        // Flushed in any case, so that rows of a failed batch do not precede those of the next.
        let rows = self.library.flush();
        encoded.map_err(|e| Error::Library(e.to_string()))?;
        if rows.len() != batch.num_rows() {
            let (records, rows) = (rows.len(), batch.num_rows());
            return Err(Error::Library(format!("{records} records for {rows} rows")));
        }
        Ok(Encoded(rows))
    }

    /// Checks the columns and converts them to those that the library encodes.
    fn physical_columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
        let expected = self.schema.arrow();
        if batch.num_columns() != expected.fields().len() {
            let (actual, expected) = (batch.num_columns(), expected.fields().len());
            return Err(Error::Batch(format!("{actual} columns; the schema has {expected}")));
        }
        let mut columns = Vec::with_capacity(batch.num_columns());
        let fields = expected.fields().iter().zip(batch.columns());
        for ((field, column), convert) in fields.zip(&self.conversions) {
            columns.push(
                physical_column(field, column, convert)
                    .map_err(|what| Error::Batch(format!("column {} {what}", field.name())))?,
            );
        }
        Ok(columns)
    }
}

fn physical_column(
    field: &ArrowField,
    column: &ArrayRef,
    convert: &Convert,
) -> Result<ArrayRef, String> {
    if column.data_type() != field.data_type() {
        return Err(format!("is {}; the schema needs {}", column.data_type(), field.data_type()));
    }
    if column.null_count() > 0 && !field.is_nullable() {
        return Err("has nulls, which the schema does not allow".into());
    }
    let physical = convert(column).map_err(|e| format!("cannot be converted: {e}"))?;
    if physical.null_count() > column.null_count() {
        return Err("has values that its Avro type cannot hold".into());
    }
    Ok(physical)
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
pub struct Encoded(EncodedRows);

impl Encoded {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The record value of `row`: 5 bytes of frame, then the datum.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn get(&self, row: usize) -> &[u8] {
        let offsets = self.0.offsets();
        &self.0.bytes()[offsets[row]..offsets[row + 1]]
    }
}

#[cfg(test)]
mod tests;
