//! The verb: what becomes of each record of a batch. No IO but the registry's, for schemas not seen before.

use crate::config::Job;
use crate::error::Error;
use std::sync::Arc;
use weir_codec::{Decoder, Encoded, Encoder, Registry};
use weir_kafka::Records;
use weir_model::fault::{Fault, Stage};

/// Records that go through Arrow at once: their columns stay in the processor's cache, and memory does not grow with the transaction.
const PART: usize = 8192;

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is this row of the output.
    Emitted(Row),
    /// It is a dead letter with this fault.
    Dead(u32),
    /// The pipeline's SQL left it out.
    Filtered,
}

/// A row of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    part: u32,
    row: u32,
}

/// A batch, enriched.
#[derive(Default)]
pub(crate) struct Enriched {
    /// One per record.
    pub(crate) fates: Vec<Fate>,
    /// The dead letters' faults.
    pub(crate) faults: Vec<Fault>,
    /// The output's rows, framed, part by part.
    parts: Vec<Encoded>,
}

/// Enriches for one worker.
pub(crate) struct Enricher {
    job: Arc<Job>,
    decoder: Decoder,
    encoder: Encoder,
    /// Bytes of key and value that the broker takes in one record.
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
    /// Environment when the registry is away; the batch is as it was, and the call may be repeated.
    pub(crate) fn enrich(&mut self, records: &Records, now_micros: i64) -> Result<Enriched, Error> {
        let values: Vec<_> = records.values().collect();
        let mut enriched = Enriched { fates: vec![Fate::Filtered; records.len()], ..Enriched::default() };
        for (part, values) in values.chunks(PART).enumerate() {
            let decoded = self.decoder.decode(values)?;
            let transformed = self.job.plan.apply(&decoded.batch, now_micros)?;
            enriched.parts.push(self.encoder.encode(&transformed.output)?);
            let record = |index: u32| part * PART + index as usize;
            for (row, input) in (0..).zip(&transformed.rows) {
                enriched.emit(record(decoded.rows[*input as usize]), row, records, self.limit);
            }
            decoded.faults.into_iter().for_each(|(index, fault)| enriched.refuse(record(index), fault));
            for (input, fault) in transformed.faults {
                enriched.refuse(record(decoded.rows[input as usize]), fault);
            }
        }
        Ok(enriched)
    }
}

impl Enriched {
    /// The bytes of a row.
    pub(crate) fn row(&self, at: Row) -> &[u8] {
        self.parts[at.part as usize].get(at.row as usize)
    }

    /// For the part encoded last.
    fn emit(&mut self, record: usize, row: u32, records: &Records, limit: usize) {
        let at = Row { part: self.parts.len() as u32 - 1, row };
        let bytes = self.row(at).len() + records.key(record).map_or(0, <[u8]>::len);
        if bytes <= limit {
            self.fates[record] = Fate::Emitted(at);
            return;
        }
        let detail = format!("enriched, the record has {bytes} bytes, and message.max.bytes allows {limit}");
        self.refuse(record, Fault { stage: Stage::Transform, reason: "too_large".into(), detail });
    }

    fn refuse(&mut self, record: usize, fault: Fault) {
        self.fates[record] = Fate::Dead(self.faults.len() as u32);
        self.faults.push(fault);
    }

    /// Bytes of all rows that are emitted.
    pub(crate) fn bytes(&self) -> usize {
        let row = |fate: &Fate| if let Fate::Emitted(at) = fate { self.row(*at).len() } else { 0 };
        self.fates.iter().map(row).sum()
    }
}

#[cfg(test)]
impl Fate {
    /// Some row, for tests that do not look at it.
    pub(crate) fn emitted() -> Fate {
        Fate::Emitted(Row { part: 0, row: 0 })
    }
}
