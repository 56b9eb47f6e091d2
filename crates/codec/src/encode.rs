//! One Arrow batch → framed records.

use crate::convert::{self, Convert};
use crate::error::Error;
use crate::physical;
use crate::schema::Schema;
use arrow::array::Array;
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_avro::schema::{FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::format::AvroSoeFormat;
use arrow_avro::writer::{EncodedRows, Encoder as Library, WriterBuilder};
use std::collections::HashMap;
use std::sync::Arc;

/// Encodes for one worker, with one schema.
pub struct Encoder {
    schema: Schema,
    /// For each column: its own type → the one the library encodes from.
    lowering: Vec<Convert>,
    physical: SchemaRef,
    library: Library,
}

impl Encoder {
    /// An encoder of records of `schema`, which the registry knows as `id`.
    pub fn new(schema: &Schema, id: u32) -> Result<Encoder, Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Library(e.to_string());
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let (json, _) = physical::schemas(schema.fields(), &all);
        let lowering: Vec<Convert> =
            schema.fields().iter().map(|field| convert::lower(field.shape.optional().0)).collect();
        let fields = lowered_fields(schema, &lowering).map_err(|e| failed(&e))?;
        let described = ArrowSchema::new_with_metadata(
            fields,
            HashMap::from([(SCHEMA_METADATA_KEY.to_string(), json)]),
        );
        // Named explicitly: the conversion from a fingerprint forgets the id.
        let builder =
            WriterBuilder::new(described).with_fingerprint_strategy(FingerprintStrategy::Id(id));
        let library = builder.build_encoder::<AvroSoeFormat>().map_err(|e| failed(&e))?;
        Ok(Encoder { schema: schema.clone(), lowering, physical: library.schema(), library })
    }

    /// Encodes every row. The columns must be exactly [`Schema::arrow`], without nulls where none
    /// are allowed: [`crate::fit`] sees to that. A batch that is not so is refused whole, since a
    /// fault here is the caller's and not a record's.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Encoded, Error> {
        let columns = self.lowered(batch)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.physical.clone(), columns, &options);
        let outcome = batch.map_err(|e| Error::Batch(e.to_string()))?;
        let encoded = self.library.encode(&outcome);
        // Flushed in either case, so that rows of a failed batch do not precede those of the next.
        let rows = self.library.flush();
        encoded.map_err(|e| Error::Library(e.to_string()))?;
        match rows.len() == outcome.num_rows() {
            true => Ok(Encoded(rows)),
            false => Err(Error::Library(format!(
                "{} records for {} rows",
                rows.len(),
                outcome.num_rows()
            ))),
        }
    }

    /// Checks the columns and turns them into those that the library takes.
    fn lowered(&self, batch: &RecordBatch) -> Result<Vec<Arc<dyn Array>>, Error> {
        let wanted = self.schema.arrow();
        if batch.num_columns() != wanted.fields().len() {
            return Err(Error::Batch(format!(
                "{} columns; the schema has {}",
                batch.num_columns(),
                wanted.fields().len()
            )));
        }
        let mut columns = Vec::with_capacity(batch.num_columns());
        for ((field, column), lower) in
            wanted.fields().iter().zip(batch.columns()).zip(&self.lowering)
        {
            if column.data_type() != field.data_type() {
                let text = format!(
                    "column {} is {}; the schema needs {}",
                    field.name(),
                    column.data_type(),
                    field.data_type()
                );
                return Err(Error::Batch(text));
            }
            if column.null_count() > 0 && !field.is_nullable() {
                return Err(Error::Batch(format!(
                    "column {} has nulls, which the schema does not allow",
                    field.name()
                )));
            }
            let low =
                lower(column).map_err(|e| Error::Batch(format!("column {}: {e}", field.name())))?;
            if low.null_count() > column.null_count() {
                return Err(Error::Batch(format!(
                    "column {} has values that its Avro type cannot hold",
                    field.name()
                )));
            }
            columns.push(low);
        }
        Ok(columns)
    }
}

/// The library's columns: names as in [`crate::physical`], types as the lowering gives them.
fn lowered_fields(schema: &Schema, lowering: &[Convert]) -> Result<Vec<ArrowField>, ArrowError> {
    let arrow = schema.arrow();
    let fields = arrow.fields().iter().zip(lowering).enumerate().map(|(index, (field, lower))| {
        let empty = arrow::array::new_empty_array(field.data_type());
        Ok(ArrowField::new(
            physical::column_name(index),
            lower(&empty)?.data_type().clone(),
            field.is_nullable(),
        ))
    });
    fields.collect()
}

/// The values of one batch, row by row.
#[derive(Debug)]
pub struct Encoded(EncodedRows);

impl Encoded {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The record value of `row`: 5 bytes of frame, then the datum. Panics when there is no such
    /// row.
    pub fn get(&self, row: usize) -> &[u8] {
        let offsets = self.0.offsets();
        &self.0.bytes()[offsets[row]..offsets[row + 1]]
    }
}

#[cfg(test)]
mod tests;
