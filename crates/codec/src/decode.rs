//! From framed records to one Arrow batch of the reader's schema.

use crate::error::Error;
use crate::frame::{self, fault};
use crate::registry::{self, Registry};
use crate::schema::Schema;
use crate::writer::{Values, WriterBatch, WriterDecoder};
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use tokio::runtime::Handle;
use weir_model::fault::Fault;

/// Most resolved writer schemas per decoder; the least recently used one is evicted.
const MAX_WRITERS: usize = 256;

/// The result of decoding a batch of record values.
#[derive(Debug)]
pub struct Decoded {
    /// Exactly [`Schema::arrow`] of the reader.
    pub batch: RecordBatch,
    /// For each row of `batch` the index of its value; ascending.
    pub rows: Vec<u32>,
    /// The values that could not be decoded, by index; ascending.
    pub faults: Vec<(u32, Fault)>,
}

/// Decodes for one worker. Writer schemas are fetched from the registry when they first occur.
pub struct Decoder {
    reader: Schema,
    registry: Registry,
    runtime: Handle,
    writers: HashMap<u32, CachedWriter>,
    /// Number of batches so far, the time of the least-recently-used cache.
    num_batches: u64,
}

struct CachedWriter {
    /// The last batch that used it.
    last_used: u64,
    /// The fault applies to every record with this schema id.
    decoder: Result<Box<WriterDecoder>, Fault>,
}

/// The values with one schema id.
struct SchemaGroup {
    id: u32,
    /// Indexes of the values, ascending.
    rows: Vec<u32>,
}

impl Decoder {
    /// A decoder into `reader`. [`Decoder::decode`] blocks while it waits for the registry, so it
    /// must not be called on a thread of `runtime`.
    pub fn new(reader: Schema, registry: Registry, runtime: Handle) -> Result<Decoder, Error> {
        Ok(Decoder { reader, registry, runtime, writers: HashMap::new(), num_batches: 0 })
    }

    /// Decodes `values` in order.
    ///
    /// # Errors
    /// When the registry is unavailable or refuses access. No value is decoded then; the call can
    /// be repeated with the same values.
    pub fn decode(&mut self, values: &Values<'_>) -> Result<Decoded, Error> {
        let total: usize = values.iter().flatten().map(|value| value.len()).sum();
        if i32::try_from(total).is_err() {
            return Err(Error::Batch(format!(
                "{total} bytes of records at once; a column holds 2 GiB at most"
            )));
        }
        self.num_batches += 1;
        let Grouped { groups, mut faults } = group_by_schema(values);
        let missing = self.load_writers(&groups)?;
        let mut parts = Vec::with_capacity(groups.len());
        for SchemaGroup { id, rows } in groups {
            match self.writers.get_mut(&id).map(|writer| &mut writer.decoder) {
                Some(Ok(decoder)) => {
                    let mut part = decoder.decode(values, &rows)?;
                    faults.append(&mut part.faults);
                    parts.push(part);
                }
                Some(Err(fault)) => faults.extend(rows.into_iter().map(|row| (row, fault.clone()))),
                None => {
                    debug_assert!(missing.contains(&id));
                    faults.extend(rows.into_iter().map(|row| (row, unknown_schema(id))))
                }
            }
        }
        self.evict_writers();
        faults.sort_by_key(|(row, _)| *row);
        let (batch, rows) = merge(parts, &self.reader)?;
        Ok(Decoded { batch, rows, faults })
    }

    /// Resolves the writer schemas of all groups; returns the ids that the registry does not have.
    fn load_writers(&mut self, groups: &[SchemaGroup]) -> Result<Vec<u32>, Error> {
        let mut new = Vec::new();
        for SchemaGroup { id, .. } in groups {
            match self.writers.get_mut(id) {
                Some(writer) => writer.last_used = self.num_batches,
                None => new.push(*id),
            }
        }
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self.runtime.block_on(self.registry.texts(&new))?;
        let mut missing = Vec::new();
        for (id, answer) in new.into_iter().zip(answers) {
            let decoder = match answer {
                Ok(text) => WriterDecoder::new(id, &text, &self.reader).map(Box::new),
                Err(registry::Error::NotFound { .. }) => {
                    missing.push(id);
                    continue;
                }
                Err(registry::Error::Invalid { what, why }) => {
                    Err(fault("not_avro", format!("{what}: {why}")))
                }
                Err(other) => return Err(other.into()),
            };
            if let Err(fault) = &decoder {
                tracing::warn!(
                    schema_id = id,
                    reason = fault.reason,
                    "records of this schema cannot be read"
                );
            }
            self.writers.insert(id, CachedWriter { last_used: self.num_batches, decoder });
        }
        Ok(missing)
    }

    /// Evicts the least recently used writers beyond the limit.
    fn evict_writers(&mut self) {
        while self.writers.len() > MAX_WRITERS {
            let Some(oldest) =
                self.writers.iter().min_by_key(|(_, writer)| writer.last_used).map(|(id, _)| *id)
            else {
                return;
            };
            self.writers.remove(&oldest);
        }
    }
}

fn unknown_schema(id: u32) -> Fault {
    fault("unknown_schema", format!("the registry has no schema {id}"))
}

/// The values by schema id; those without a readable frame are faults.
struct Grouped {
    groups: Vec<SchemaGroup>,
    faults: Vec<(u32, Fault)>,
}

fn group_by_schema(values: &Values<'_>) -> Grouped {
    let mut groups: Vec<SchemaGroup> = Vec::new();
    let mut index_by_id: HashMap<u32, usize> = HashMap::new();
    let mut faults = Vec::new();
    // Records of one schema come in long runs, mostly one run for the whole batch.
    let mut current = usize::MAX;
    for (row, value) in (0u32..).zip(values) {
        let id = match frame::schema_id(*value) {
            Ok(id) => id,
            Err(fault) => {
                faults.push((row, fault));
                continue;
            }
        };
        if groups.get(current).is_none_or(|group| group.id != id) {
            current = *index_by_id.entry(id).or_insert_with(|| {
                groups.push(SchemaGroup { id, rows: Vec::new() });
                groups.len() - 1
            });
        }
        groups[current].rows.push(row);
    }
    Grouped { groups, faults }
}

/// The rows of all parts in the order of their values.
fn merge(mut parts: Vec<WriterBatch>, reader: &Schema) -> Result<(RecordBatch, Vec<u32>), Error> {
    parts.retain(|part| !part.rows.is_empty());
    if parts.len() > 1 {
        return interleave(&parts).map_err(|e| Error::Library(e.to_string()));
    }
    Ok(match parts.pop() {
        Some(part) => (part.batch, part.rows),
        None => (RecordBatch::new_empty(reader.arrow()), Vec::new()),
    })
}

fn interleave(parts: &[WriterBatch]) -> Result<(RecordBatch, Vec<u32>), ArrowError> {
    let num_rows = parts.iter().map(|part| part.rows.len()).sum();
    // Each value's index, with its part and the row within that part.
    let mut order: Vec<(u32, (usize, usize))> = Vec::with_capacity(num_rows);
    for (index, part) in parts.iter().enumerate() {
        order.extend(part.rows.iter().enumerate().map(|(row, value)| (*value, (index, row))));
    }
    order.sort_unstable();
    let (rows, sources): (Vec<u32>, Vec<(usize, usize)>) = order.into_iter().unzip();
    let batches: Vec<&RecordBatch> = parts.iter().map(|part| &part.batch).collect();
    Ok((interleave_record_batch(&batches, &sources)?, rows))
}

#[cfg(test)]
mod tests;
