//! Generated call records: record = f(seed, sequence). Sequence s belongs to source partition s mod
//! partitions.
//!
//! The function is pure and the same on every machine: it uses whole numbers only. A share of the
//! records can be invalid on purpose, in ways that every later step has to deal with; [`Oracle`]
//! computes what must become of each sequence.

mod call;
mod columns;
mod draw;
mod invalid;
mod oracle;
mod providers;

pub use call::{Record, record};
pub use invalid::Kind;
pub use oracle::{Expected, Oracle};

use crate::source::{Chunk, Error, Limit, Reader, Source};
use columns::Columns;
use invalid::{Corruption, Invalid};
use serde_json::{Value, json};
use weir_codec::Schema;
use weir_model::mistake::Mistake;
use weir_model::pipeline;

/// The only generator.
const GENERATOR: &str = "call_records";

/// The source.
pub struct Synthetic {
    generator: Generator,
    columns: Columns,
    partitions: u32,
    records: u64,
}

/// Everything that determines the record of a sequence number.
#[derive(Clone)]
struct Generator {
    seed: u64,
    invalid: Invalid,
}

impl Synthetic {
    /// A source for records of `schema`.
    ///
    /// # Errors
    /// An unknown generator or kind, and fields that the generator has no values for.
    pub fn new(config: &pipeline::Synthetic, schema: &Schema) -> Result<Synthetic, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        if config.generator != GENERATOR {
            mistakes.push(Mistake::new(
                "source.generator",
                format!("unknown generator; there is `{GENERATOR}`"),
            ));
        }
        let invalid = Invalid::new(config).map_err(|m| mistakes.push(*m)).ok();
        let columns = Columns::new(schema).map_err(|m| mistakes.extend(m)).ok();
        match (invalid, columns) {
            (Some(invalid), Some(columns)) if mistakes.is_empty() => {
                let generator = Generator { seed: config.seed, invalid };
                Ok(Synthetic {
                    generator,
                    columns,
                    partitions: config.partitions,
                    records: config.records,
                })
            }
            _ => Err(mistakes),
        }
    }
}

impl Source for Synthetic {
    fn partitions(&self) -> u32 {
        self.partitions
    }

    fn open(&self, partition: u32, position: Option<&Value>) -> Result<Box<dyn Reader>, Error> {
        let step = u64::from(self.partitions);
        let next = match position {
            None => u64::from(partition),
            Some(position) => {
                position["sequence"].as_u64().ok_or_else(|| Error::Lost(foreign(position)))?
            }
        };
        if next % step != u64::from(partition) {
            return Err(Error::Lost(format!(
                "sequence {next} does not belong to partition {partition} of {step}; \
                 source.partitions is fixed for the life of a pipeline"
            )));
        }
        let end = if self.records == 0 { u64::MAX } else { self.records };
        Ok(Box::new(Sequence {
            generator: self.generator.clone(),
            columns: self.columns.clone(),
            next,
            step,
            end,
            corrupted: Vec::new(),
        }))
    }
}

fn foreign(position: &Value) -> String {
    format!(
        "position {position} is not one of a synthetic source; was the pipeline's source replaced \
         under the same name?"
    )
}

struct Sequence {
    generator: Generator,
    columns: Columns,
    next: u64,
    step: u64,
    end: u64,
    /// Rows of the last chunk whose bytes are corrupted on purpose; ascending.
    corrupted: Vec<(usize, Corruption)>,
}

impl Reader for Sequence {
    fn read(&mut self, limit: Limit) -> Result<Chunk, Error> {
        let left = self.end.saturating_sub(self.next).div_ceil(self.step);
        let rows = left.min(limit.records as u64) as usize;
        let mut building = self.columns.build(rows);
        self.corrupted.clear();
        for row in 0..rows {
            let (call, kind) = self.generator.call(self.next);
            building.push(&call);
            let corruption = kind.and_then(|kind| kind.corruption(&call));
            self.corrupted.extend(corruption.map(|corruption| (row, corruption)));
            self.next += self.step;
        }
        let batch =
            building.finish().map_err(|e| Error::Unfit(format!("generating call records: {e}")))?;
        let position = json!({ "sequence": self.next });
        Ok(Chunk::new(batch, position, self.next >= self.end))
    }

    fn replacement(&self, row: usize, value: &[u8]) -> Option<Vec<u8>> {
        let index = self.corrupted.binary_search_by_key(&row, |(row, _)| *row).ok()?;
        let mut bytes = value.to_vec();
        (self.corrupted[index].1)(&mut bytes);
        Some(bytes)
    }
}

impl Generator {
    /// The call of a sequence number, made invalid if it must be.
    fn call(&self, sequence: u64) -> (call::Call, Option<Kind>) {
        let mut call = call::call(self.seed, sequence);
        let kind = self.invalid.kind(self.seed, sequence);
        if let Some(kind) = kind {
            kind.distort(&mut call, self.seed, sequence);
        }
        (call, kind)
    }
}

#[cfg(test)]
mod tests;
