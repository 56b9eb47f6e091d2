//! From framed records to one Arrow batch of the reader's schema.

use crate::error::Error;
use crate::frame::{self, Frame, SchemaHeaders, fault};
use crate::protobuf::ProtobufDecoder;
use crate::registry::{self, Registry, SchemaText};
use crate::schema::Schema;
use crate::schema_id::SchemaId;
use crate::writer::{Values, WriterBatch, WriterDecoder};
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use std::time::Duration;
use tokio::runtime::Handle;
use weir_model::fault::Fault;

/// Most resolved writer schemas per decoder; the least recently used one is evicted.
const MAX_WRITERS: usize = 256;
/// How long one batch asks for its schemas: a transaction may be open meanwhile.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(5);

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
    is_protobuf: bool,
    /// The rows, if the records are events of Debezium about them.
    events_of: Option<Schema>,
    registry: Registry,
    runtime: Handle,
    /// How long one batch may ask the registry.
    look_up_limit: Duration,
    writers: HashMap<SchemaId, CachedWriter>,
    /// Number of batches so far, the time of the least-recently-used cache.
    num_batches: u64,
}

struct CachedWriter {
    /// The last batch that used it.
    last_used: u64,
    /// The fault applies to every record with this schema id.
    decoder: Result<Writer, Fault>,
}

/// Decodes the records of one writer schema.
enum Writer {
    Avro(Box<WriterDecoder>),
    Protobuf(Box<ProtobufDecoder>),
}

/// The values with one schema and frames of one length.
struct SchemaGroup {
    frame: Frame,
    /// Indexes of the values, ascending.
    rows: Vec<u32>,
}

impl Decoder {
    /// A decoder into `reader`. [`Decoder::decode`] blocks while it waits for the registry, so it
    /// must not be called on a thread of `runtime`.
    pub fn new(reader: Schema, registry: Registry, runtime: Handle) -> Result<Decoder, Error> {
        Ok(Decoder {
            reader,
            is_protobuf: false,
            events_of: None,
            registry,
            runtime,
            look_up_limit: LOOK_UP_LIMIT,
            writers: HashMap::new(),
            num_batches: 0,
        })
    }

    /// The same, but one call of [`Decoder::decode`] asks the registry for `limit` at most.
    pub fn with_look_up_limit(self, limit: Duration) -> Decoder {
        Decoder { look_up_limit: limit.min(LOOK_UP_LIMIT), ..self }
    }

    /// The same for values in Protobuf.
    pub fn of_protobuf(self) -> Decoder {
        Decoder { is_protobuf: true, ..self }
    }

    /// The same for events of Debezium about rows of this schema; the reader is that of events.
    pub(crate) fn of_events(self, row: Schema) -> Decoder {
        Decoder { events_of: Some(row), ..self }
    }

    /// Decodes `values` in order.
    ///
    /// # Errors
    /// When the registry is unavailable, refuses access, or has not answered for all schema ids
    /// within the limit. No value is decoded then; the call can be repeated with the same values,
    /// and goes on with the ids that are left.
    pub fn decode(&mut self, values: &Values<'_>) -> Result<Decoded, Error> {
        self.decode_with(values, &[])
    }

    /// The same for values of which `headers` say the schema of some.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode_with(
        &mut self,
        values: &Values<'_>,
        headers: &SchemaHeaders<'_>,
    ) -> Result<Decoded, Error> {
        check_size(values)?;
        self.num_batches += 1;
        let of_frame = if self.is_protobuf { frame::frame } else { frame::plain_frame };
        let Grouped { groups, mut faults } = group_by_schema(values, headers, of_frame);
        let unusable = self.look_up(&groups)?;
        let mut parts = Vec::with_capacity(groups.len());
        for SchemaGroup { frame, rows } in groups {
            match self.writer(frame.id, unusable.get(&frame.id))? {
                Ok(writer) => {
                    let mut part = match writer {
                        Writer::Avro(decoder) => decoder.decode_at(values, &rows, frame.len)?,
                        Writer::Protobuf(decoder) => {
                            decoder.decode(values, &rows, frame, headers)?
                        }
                    };
                    faults.append(&mut part.faults);
                    parts.push(part);
                }
                Err(fault) => faults.extend(rows.into_iter().map(|row| (row, fault.clone()))),
            }
        }
        faults.sort_by_key(|(row, _)| *row);
        let (batch, rows) = merge(parts, &self.reader)?;
        Ok(Decoded { batch, rows, faults })
    }

    /// Asks the registry for the schemas that are new; returns the errors of those that have none.
    fn look_up(&self, groups: &[SchemaGroup]) -> Result<HashMap<SchemaId, registry::Error>, Error> {
        let ids = groups.iter().map(|group| group.frame.id);
        let mut new: Vec<SchemaId> = ids.filter(|id| !self.writers.contains_key(id)).collect();
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            return Ok(HashMap::new());
        }
        Ok(self.runtime.block_on(self.registry.look_up(&new, self.look_up_limit))?)
    }

    /// The decoder of the records with schema `id`, or the fault of all of them. `error` is the
    /// registry's, if it has no usable schema with this id.
    fn writer(
        &mut self,
        id: SchemaId,
        error: Option<&registry::Error>,
    ) -> Result<Result<&mut Writer, Fault>, Error> {
        if let Some(fault) = error.and_then(unusable_schema) {
            return Ok(Err(fault));
        }
        if !self.writers.contains_key(&id) {
            let text = match self.runtime.block_on(self.registry.text(id)) {
                Ok(text) => text,
                Err(error) => return unusable_schema(&error).map(Err).ok_or(error.into()),
            };
            let decoder = self.new_writer(&id.to_string(), &text);
            if let Err(Fault { reason, .. }) = &decoder {
                tracing::warn!(schema = %id, reason, "records of this schema cannot be read");
            }
            self.make_room();
            self.writers.insert(id, CachedWriter { last_used: self.num_batches, decoder });
        }
        let Some(writer) = self.writers.get_mut(&id) else {
            return Ok(Err(fault("unknown_schema", format!("the registry has no {id}"))));
        };
        writer.last_used = self.num_batches;
        Ok(writer.decoder.as_mut().map_err(|fault| fault.clone()))
    }

    /// `name` is that of the schema. The error is the fault of every record of it.
    fn new_writer(&self, name: &str, text: &SchemaText) -> Result<Writer, Fault> {
        let other = |error| {
            let other = unusable_schema(&error);
            other.unwrap_or_else(|| fault("bad_schema", error.to_string()))
        };
        if self.is_protobuf {
            let text = text.protobuf(name).map_err(other)?;
            let decoder = ProtobufDecoder::new(name, text, &self.reader)?;
            return Ok(Writer::Protobuf(Box::new(decoder)));
        }
        let text = text.avro(name).map_err(other)?;
        let events_of = self.events_of.as_ref();
        let decoder = WriterDecoder::new(name, text, &self.reader, events_of)?;
        Ok(Writer::Avro(Box::new(decoder)))
    }

    /// Evicts the least recently used writer when there are too many.
    fn make_room(&mut self) {
        if self.writers.len() < MAX_WRITERS {
            return;
        }
        let oldest = self.writers.iter().min_by_key(|(_, writer)| writer.last_used);
        if let Some(id) = oldest.map(|(id, _)| *id) {
            self.writers.remove(&id);
        }
    }
}

/// A column holds 2 GiB at most.
pub(crate) fn check_size(values: &Values<'_>) -> Result<(), Error> {
    let total: usize = values.iter().flatten().map(|value| value.len()).sum();
    match i32::try_from(total) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Batch(format!(
            "{total} bytes of records at once; a column holds 2 GiB at most"
        ))),
    }
}

/// The fault of every record whose schema the registry answers with `error`; `None` when the error
/// says nothing about the schema.
fn unusable_schema(error: &registry::Error) -> Option<Fault> {
    error.reason().map(|reason| fault(reason, error.to_string()))
}

/// The values by schema id; those without a readable frame are faults.
struct Grouped {
    groups: Vec<SchemaGroup>,
    faults: Vec<(u32, Fault)>,
}

fn group_by_schema(
    values: &Values<'_>,
    headers: &SchemaHeaders<'_>,
    of_frame: impl Fn(Option<&[u8]>, Option<&[u8]>) -> Result<Frame, Fault>,
) -> Grouped {
    let mut groups: Vec<SchemaGroup> = Vec::new();
    let mut index_by_frame: HashMap<Frame, usize> = HashMap::new();
    let mut faults = Vec::new();
    // Records of one schema come in long runs, mostly one run for the whole batch.
    let mut current = usize::MAX;
    let mut headers = frame::Headers::new(headers);
    for (row, value) in (0u32..).zip(values) {
        let frame = match of_frame(*value, headers.of(row)) {
            Ok(frame) => frame,
            Err(fault) => {
                faults.push((row, fault));
                continue;
            }
        };
        if groups.get(current).is_none_or(|group| group.frame != frame) {
            current = *index_by_frame.entry(frame).or_insert_with(|| {
                groups.push(SchemaGroup { frame, rows: Vec::new() });
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
        return interleave(&parts).map_err(|e| Error::Columns(e.to_string()));
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
