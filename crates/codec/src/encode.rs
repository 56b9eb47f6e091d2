//! One Arrow batch → framed records.

use crate::error::Error;
use crate::schema::Schema;
use arrow::record_batch::RecordBatch;

/// Encodes for one worker, with one schema.
pub struct Encoder {
    schema: Schema,
    id: u32,
}

impl Encoder {
    /// An encoder of records of `schema`, which the registry knows as `id`.
    pub fn new(schema: &Schema, id: u32) -> Result<Encoder, Error> {
        Ok(Encoder { schema: schema.clone(), id })
    }

    /// Encodes every row. The columns must be exactly [`Schema::arrow`], without nulls where none are allowed: [`crate::fit`] sees to that.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Encoded, Error> {
        if batch.schema().fields() != self.schema.arrow().fields() {
            return Err(Error::Batch(format!("not the columns of schema {}", self.id)));
        }
        Err(Error::Library("no encoder".into()))
    }
}

/// The values of one batch, row by row.
pub struct Encoded {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Encoded {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The record value of `row`: 5 bytes of frame, then the datum.
    pub fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}
