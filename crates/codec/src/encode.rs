//! From one Arrow batch to framed records.

use crate::error::Error;
use crate::schema::Schema;
use crate::write::{ColumnWriter, ValueWriter, field_writers};
use arrow::record_batch::RecordBatch;
use weir_model::fault::Fault;
use weir_model::frame;

/// Encodes for one worker, with one schema.
pub struct Encoder {
    schema: Schema,
    /// The frame of each value.
    prefix: [u8; frame::LEN],
    fields: Vec<(String, ValueWriter)>,
}

impl Encoder {
    /// An encoder for records of `schema`, which has this `id` in the registry.
    pub fn new(schema: &Schema, id: u32) -> Result<Encoder, Error> {
        let fields = field_writers(schema.fields())
            .ok_or_else(|| Error::schema("a field has no column type"))?;
        Ok(Encoder { schema: schema.clone(), prefix: frame::of(id), fields })
    }

    /// Encodes the rows that the schema can hold. The columns must have exactly the types of
    /// [`Schema::arrow`]. A row with a value that its Avro type does not have (a symbol, a UUID, a
    /// size, more digits, a null where none is allowed) is a fault of that row alone.
    ///
    /// # Errors
    /// [`Error::Batch`] for columns of other types or number, which no row could pass.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Encoded, Error> {
        let columns = self.columns(batch)?;
        let num_rows = batch.num_rows();
        let mut encoded = Encoded {
            bytes: Vec::with_capacity(num_rows * self.fields.len() * 8),
            ends: Vec::with_capacity(num_rows),
            rows: Vec::with_capacity(num_rows),
            faults: Vec::new(),
        };
        for row in 0..num_rows {
            encoded.bytes.extend_from_slice(&self.prefix);
            match write_row(&columns, row, &mut encoded.bytes) {
                Ok(()) => {
                    encoded.ends.push(encoded.bytes.len());
                    encoded.rows.push(row as u32);
                }
                Err(fault) => {
                    encoded.bytes.truncate(encoded.ends.last().copied().unwrap_or(0));
                    encoded.faults.push((row as u32, fault));
                }
            }
        }
        Ok(encoded)
    }

    fn columns<'a>(
        &'a self,
        batch: &'a RecordBatch,
    ) -> Result<Vec<(&'a str, ColumnWriter<'a>)>, Error> {
        let expected = self.schema.arrow();
        if batch.num_columns() != expected.fields().len() {
            let (actual, expected) = (batch.num_columns(), expected.fields().len());
            return Err(Error::Batch(format!("{actual} columns; the schema has {expected}")));
        }
        let fields = self.fields.iter().zip(expected.fields());
        let columns =
            batch.columns().iter().zip(fields).map(|(column, ((name, writer), field))| {
                let (actual, needed) = (column.data_type(), field.data_type());
                let bound =
                    Some(()).filter(|()| actual == needed).and_then(|()| writer.bind(column));
                bound.map(|bound| (name.as_str(), bound)).ok_or_else(|| {
                    Error::Batch(format!("column {name} is {actual}; the schema needs {needed}"))
                })
            });
        columns.collect()
    }
}

#[inline]
fn write_row(
    columns: &[(&str, ColumnWriter<'_>)],
    row: usize,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    for (name, column) in columns {
        if let Err(violation) = column.write(row, out) {
            return Err(violation.within(name).into_fault());
        }
    }
    Ok(())
}

/// The encoded values of one batch.
#[derive(Debug)]
pub struct Encoded {
    bytes: Vec<u8>,
    /// Where each value ends.
    ends: Vec<usize>,
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
        self.ends.len()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The value with this index: 5 bytes of frame, then the datum.
    ///
    /// # Panics
    /// When there is no such value.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}

#[cfg(test)]
mod tests;
