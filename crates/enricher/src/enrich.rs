//! Enriches a batch: decides what happens to each record. The only IO is a request to the registry
//! for an unknown schema.

use crate::config::Job;
use crate::error::Error;
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;
use weir_codec::{
    Changes, Encoded, Encoder, InputBatch, InputDecoder, KeyDecoder, Registry, of_rows,
};
use weir_kafka::Records;
use weir_model::fault::{Fault, Stage};
use weir_model::frame::{KEY_HEADER, VALUE_HEADER};
use weir_model::pipeline::Unwrap;
use weir_transform::ChangeColumns;

/// The fate of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is these rows of the output, one or more.
    Emitted {
        /// The first one.
        row: u32,
        count: u32,
    },
    /// It is a dead letter with this fault.
    Dead(u32),
    /// It has no value, and is handed on without one.
    Tombstone,
    /// The pipeline's SQL left it out.
    Filtered,
    /// It was read before, or was reassigned to another worker meanwhile: it is ignored here.
    Stale,
}

/// Records, enriched.
pub(crate) struct Enriched {
    /// One per record. Those of the first records only, where the rows of all would take too much
    /// memory at once.
    pub(crate) fates: Vec<Fate>,
    /// The output's rows, framed.
    pub(crate) rows: Encoded,
    /// The dead letters' faults.
    pub(crate) faults: Vec<Fault>,
}

/// Enriches for one worker.
pub(crate) struct Enricher {
    job: Arc<Job>,
    decoder: InputDecoder,
    keys: KeyDecoder,
    encoder: Encoder,
}

impl Enricher {
    /// Output records are framed with `schema_id`. A call of [`Enricher::enrich`] asks the registry
    /// for new schemas for `look_up_limit` at most.
    pub(crate) fn new(
        job: Arc<Job>,
        registry: Registry,
        runtime: tokio::runtime::Handle,
        schema_id: u32,
        look_up_limit: Duration,
    ) -> Result<Enricher, Error> {
        let input = &job.pipeline.input;
        let keys = KeyDecoder::new(&job.key, registry.clone(), runtime.clone())?
            .with_look_up_limit(look_up_limit);
        let decoder = InputDecoder::new(input, job.input.clone(), registry, runtime)?
            .with_look_up_limit(look_up_limit);
        let encoder = Encoder::new(&job.output, schema_id)?;
        Ok(Enricher { job, decoder, keys, encoder })
    }

    /// Decodes, applies rules and SQL, encodes. `now_micros` is `now()` in the SQL.
    ///
    /// # Errors
    /// Class environment if the registry is unavailable; the batch is unchanged, and the call may
    /// be repeated.
    pub(crate) fn enrich(&mut self, records: &Records, now_micros: i64) -> Result<Enriched, Error> {
        let values: Vec<_> = records.values().collect();
        let headers = records.last_headers(VALUE_HEADER);
        let InputBatch { decoded, changes } = self.decoder.decode(&values, &headers)?;
        let changes = changes.map(|Changes { operation, source_time, position }| ChangeColumns {
            operation,
            source_time,
            position,
        });
        let (plan, topic) = (&self.job.plan, &self.job.pipeline.input.topic);
        let rows = || decoded.rows.iter().map(|row| records.get(*row as usize));
        let keys = |keys: &[Option<&[u8]>]| {
            let headers = of_rows(&records.last_headers(KEY_HEADER), &decoded.rows);
            self.keys.decode(keys, &headers)
        };
        let metadata = plan.metadata_columns(topic, rows, changes.as_ref(), keys)?;
        let transformed = plan.apply_with(&decoded.batch, metadata, now_micros)?;
        let mut rows = self.encoder.encode(&transformed.output)?;
        let (emitted, unfit) = (take(&mut rows.rows), take(&mut rows.faults));

        let behind = decoded.rows.get(transformed.num_taken);
        let num_taken = behind.map_or(records.len(), |record| *record as usize);
        let mut enriched =
            Enriched { fates: vec![Fate::Filtered; num_taken], rows, faults: Vec::new() };
        let record_of = |output: u32| {
            let input = transformed.rows[output as usize];
            decoded.rows[input as usize] as usize
        };
        for (row, output) in (0..).zip(emitted) {
            let fate = &mut enriched.fates[record_of(output)];
            *fate = match *fate {
                Fate::Emitted { row, count } => Fate::Emitted { row, count: count + 1 },
                _ => Fate::Emitted { row, count: 1 },
            };
        }
        for (output, fault) in unfit {
            enriched.refuse(record_of(output), Fault { stage: Stage::Transform, ..fault });
        }
        let tombstones = self.job.tombstones();
        let faults = decoded.faults.into_iter();
        for (record, fault) in faults.filter(|(record, _)| (*record as usize) < num_taken) {
            match tombstones.filter(|_| values[record as usize].is_none()) {
                Some(fate) => enriched.fates[record as usize] = fate,
                None => enriched.refuse(record as usize, fault),
            }
        }
        for (input, fault) in transformed.faults {
            enriched.refuse(decoded.rows[input as usize] as usize, fault);
        }
        Ok(enriched)
    }
}

impl Job {
    /// What becomes of a record without a value; `None` for a dead letter. Debezium writes one behind
    /// each delete, which the delete itself makes superfluous.
    fn tombstones(&self) -> Option<Fate> {
        match (self.pipeline.hands_on_tombstones(), self.pipeline.input.unwrap) {
            (true, _) => Some(Fate::Tombstone),
            (false, Unwrap::Debezium) => Some(Fate::Filtered),
            (false, Unwrap::None) => None,
        }
    }
}

impl Enriched {
    /// What the output topic gets of a record: the value of each of its rows, or one that is `None`
    /// for a tombstone.
    pub(crate) fn output(&self, record: usize) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        let (first, count, tombstone) = match self.fates[record] {
            Fate::Emitted { row, count } => (row, count, false),
            Fate::Tombstone => (0, 1, true),
            Fate::Dead(_) | Fate::Filtered | Fate::Stale => (0, 0, false),
        };
        (first..first + count).map(move |row| (!tombstone).then(|| self.rows.get(row as usize)))
    }

    /// Makes a dead letter of a record.
    pub(crate) fn refuse(&mut self, record: usize, fault: Fault) {
        self.fates[record] = Fate::Dead(self.faults.len() as u32);
        self.faults.push(fault);
    }
}
