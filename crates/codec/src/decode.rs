//! Framed records → one Arrow batch of the reader's schema.

use crate::error::Error;
use crate::frame::{self, fault};
use crate::registry::{self, Registry};
use crate::schema::Schema;
use crate::writer::{Part, Values, Writer};
use arrow::compute::interleave_record_batch;
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use tokio::runtime::Handle;
use weir_model::fault::Fault;

/// Compiled writer schemas kept per decoder; the one not used for longest makes room.
const MAX_WRITERS: usize = 256;

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
    writers: HashMap<u32, Known>,
    /// Counts batches, to see which writer was not used for longest.
    clock: u64,
}

/// What is known about a schema id.
struct Known {
    used: u64,
    /// The fault is that of every record with this id.
    writer: Result<Box<Writer>, Fault>,
}

/// The values of one schema id, in order.
type Group = (u32, Vec<u32>);

impl Decoder {
    /// A decoder into `reader`. The runtime has threads of its own, and [`Decoder::decode`] is not
    /// called on one of them: it waits there for the registry.
    pub fn new(reader: Schema, registry: Registry, runtime: Handle) -> Result<Decoder, Error> {
        Ok(Decoder { reader, registry, runtime, writers: HashMap::new(), clock: 0 })
    }

    /// Decodes `values` in order. An error means that the registry could not be asked: nothing is
    /// consumed, call again later.
    pub fn decode(&mut self, values: &Values<'_>) -> Result<Decoded, Error> {
        let total: usize = values.iter().flatten().map(|value| value.len()).sum();
        if i32::try_from(total).is_err() {
            return Err(Error::Batch(format!(
                "{total} bytes of records at once; a column holds 2 GiB at most"
            )));
        }
        self.clock += 1;
        let (groups, mut faults) = group(values);
        let missing = self.learn(&groups)?;
        let mut parts = Vec::with_capacity(groups.len());
        for (id, picked) in groups {
            match self.writers.get_mut(&id).map(|known| &mut known.writer) {
                Some(Ok(writer)) => {
                    let mut part = writer.decode(values, &picked)?;
                    faults.append(&mut part.faults);
                    parts.push(part);
                }
                Some(Err(fault)) => {
                    faults.extend(picked.into_iter().map(|row| (row, fault.clone())))
                }
                None => faults.extend(picked.into_iter().map(|row| (row, unknown(id, &missing)))),
            }
        }
        self.forget();
        faults.sort_by_key(|(row, _)| *row);
        let (batch, rows) = merge(parts, &self.reader)?;
        Ok(Decoded { batch, rows, faults })
    }

    /// Compiles the writer schemas of all groups; returns the ids that the registry does not have.
    fn learn(&mut self, groups: &[Group]) -> Result<Vec<u32>, Error> {
        let mut wanted = Vec::new();
        for (id, _) in groups {
            match self.writers.get_mut(id) {
                Some(known) => known.used = self.clock,
                None => wanted.push(*id),
            }
        }
        if wanted.is_empty() {
            return Ok(wanted);
        }
        let answers = self.runtime.block_on(self.registry.documents(&wanted))?;
        let mut missing = Vec::new();
        for (id, answer) in wanted.into_iter().zip(answers) {
            let writer = match answer {
                Ok(document) => Writer::new(id, &document, &self.reader).map(Box::new),
                Err(registry::Error::NotFound { .. }) => {
                    missing.push(id);
                    continue;
                }
                Err(registry::Error::Invalid { what, why }) => {
                    Err(fault("not_avro", format!("{what}: {why}")))
                }
                Err(environment) => return Err(environment.into()),
            };
            if let Err(fault) = &writer {
                tracing::warn!(
                    schema_id = id,
                    reason = fault.reason,
                    detail = fault.detail,
                    "records of this schema cannot be read"
                );
            }
            self.writers.insert(id, Known { used: self.clock, writer });
        }
        Ok(missing)
    }

    /// Lets go of the writers not used for longest.
    fn forget(&mut self) {
        while self.writers.len() > MAX_WRITERS {
            let Some(oldest) =
                self.writers.iter().min_by_key(|(_, known)| known.used).map(|(id, _)| *id)
            else {
                return;
            };
            self.writers.remove(&oldest);
        }
    }
}

fn unknown(id: u32, missing: &[u32]) -> Fault {
    debug_assert!(missing.contains(&id));
    fault("unknown_schema", format!("the registry has no schema {id}"))
}

/// Sorts the values by schema id; those without a readable frame are faults.
fn group(values: &Values<'_>) -> (Vec<Group>, Vec<(u32, Fault)>) {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut faults = Vec::new();
    // Records of one schema come in long runs, mostly one run for the whole batch.
    let mut current: Option<(u32, usize)> = None;
    for (row, value) in (0u32..).zip(values) {
        match frame::schema_id(*value) {
            Ok(id) => {
                let place = match current {
                    Some((same, place)) if same == id => place,
                    _ => *places.entry(id).or_insert_with(|| {
                        groups.push((id, Vec::new()));
                        groups.len() - 1
                    }),
                };
                current = Some((id, place));
                groups[place].1.push(row);
            }
            Err(fault) => faults.push((row, fault)),
        }
    }
    (groups, faults)
}

/// The rows of all parts in the order of their values.
fn merge(mut parts: Vec<Part>, reader: &Schema) -> Result<(RecordBatch, Vec<u32>), Error> {
    parts.retain(|part| !part.rows.is_empty());
    if parts.len() > 1 {
        return interleave(&parts).map_err(|e| Error::Library(e.to_string()));
    }
    Ok(match parts.pop() {
        Some(part) => (part.batch, part.rows),
        None => (RecordBatch::new_empty(reader.arrow()), Vec::new()),
    })
}

fn interleave(parts: &[Part]) -> Result<(RecordBatch, Vec<u32>), arrow::error::ArrowError> {
    let mut order: Vec<(u32, (usize, usize))> =
        Vec::with_capacity(parts.iter().map(|part| part.rows.len()).sum());
    for (number, part) in parts.iter().enumerate() {
        order.extend(part.rows.iter().enumerate().map(|(place, row)| (*row, (number, place))));
    }
    order.sort_unstable();
    let (rows, places): (Vec<u32>, Vec<(usize, usize)>) = order.into_iter().unzip();
    let batches: Vec<&RecordBatch> = parts.iter().map(|part| &part.batch).collect();
    Ok((interleave_record_batch(&batches, &places)?, rows))
}

#[cfg(test)]
mod tests;
