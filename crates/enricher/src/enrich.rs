//! Enriches a batch: decides what happens to each record. The only IO is a request to the registry
//! for an unknown schema.

use crate::config::Job;
use crate::error::Error;
use std::mem::take;
use std::sync::Arc;
use weir_codec::{Decoder, Encoded, Encoder, Registry};
use weir_kafka::Records;
use weir_model::fault::{Fault, Stage};

/// The maximum size that the lineage header adds to a record.
const LINEAGE_BYTES: usize = 64;

/// The fate of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is this row of the output.
    Emitted(u32),
    /// It is a dead letter with this fault.
    Dead(u32),
    /// The pipeline's SQL left it out.
    Filtered,
    /// It was read before, or was reassigned to another worker meanwhile: it is ignored here.
    Stale,
}

/// Records, enriched.
pub(crate) struct Enriched {
    /// One per record.
    pub(crate) fates: Vec<Fate>,
    /// The output's rows, framed.
    pub(crate) rows: Encoded,
    /// The dead letters' faults.
    pub(crate) faults: Vec<Fault>,
}

/// Enriches for one worker.
pub(crate) struct Enricher {
    job: Arc<Job>,
    decoder: Decoder,
    encoder: Encoder,
    /// The broker's limit for the size of a record.
    limit: usize,
}

impl Enricher {
    /// Output records are framed with `schema_id`.
    pub(crate) fn new(
        job: Arc<Job>,
        registry: Registry,
        runtime: tokio::runtime::Handle,
        schema_id: u32,
        limit: usize,
    ) -> Result<Enricher, Error> {
        let decoder = Decoder::new(job.input.clone(), registry, runtime)?;
        let encoder = Encoder::new(&job.output, schema_id)?;
        Ok(Enricher { job, decoder, encoder, limit })
    }

    /// Decodes, applies rules and SQL, encodes. `now_micros` is `now()` in the SQL.
    ///
    /// # Errors
    /// Class environment if the registry is unavailable; the batch is unchanged, and the call may
    /// be repeated.
    pub(crate) fn enrich(&mut self, records: &Records, now_micros: i64) -> Result<Enriched, Error> {
        let values: Vec<_> = records.values().collect();
        let decoded = self.decoder.decode(&values)?;
        let transformed = self.job.plan.apply(&decoded.batch, now_micros)?;
        let mut rows = self.encoder.encode(&transformed.output)?;
        let (emitted, unfit) = (take(&mut rows.rows), take(&mut rows.faults));

        let mut enriched =
            Enriched { fates: vec![Fate::Filtered; records.len()], rows, faults: Vec::new() };
        let record_of = |output: u32| {
            let input = transformed.rows[output as usize];
            decoded.rows[input as usize] as usize
        };
        for (row, output) in (0..).zip(emitted) {
            enriched.emit(record_of(output), row, records, self.limit);
        }
        for (output, fault) in unfit {
            enriched.refuse(record_of(output), Fault { stage: Stage::Transform, ..fault });
        }
        decoded
            .faults
            .into_iter()
            .for_each(|(record, fault)| enriched.refuse(record as usize, fault));
        for (input, fault) in transformed.faults {
            enriched.refuse(decoded.rows[input as usize] as usize, fault);
        }
        Ok(enriched)
    }
}

impl Enriched {
    fn emit(&mut self, record: usize, row: u32, records: &Records, limit: usize) {
        let bytes = self.rows.get(row as usize).len()
            + records.key(record).map_or(0, <[u8]>::len)
            + LINEAGE_BYTES;
        if bytes <= limit {
            self.fates[record] = Fate::Emitted(row);
            return;
        }
        let detail =
            format!("enriched, the record has {bytes} bytes, and message.max.bytes allows {limit}");
        self.refuse(record, Fault { stage: Stage::Transform, reason: "too_large".into(), detail });
    }

    fn refuse(&mut self, record: usize, fault: Fault) {
        self.fates[record] = Fate::Dead(self.faults.len() as u32);
        self.faults.push(fault);
    }
}
