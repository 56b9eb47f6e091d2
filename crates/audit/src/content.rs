//! `weir audit --deep --content`: every row against the record it was made from.

use crate::Result;
use crate::deep::{MAX_REPORTED, disowned};
use crate::format::grouped;
use crate::lineage::Disowned;
use crate::offset_set::ranges;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use tokio::runtime::Handle;
use weir_codec::{Decoder, Registry, Schema};
use weir_kafka::reader::{Span, scan};
use weir_kafka::{Records, admin};
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::protocol::{Offset, Partition};
use weir_store::TargetReader;

/// Records that are compared at once.
const CHUNK: usize = 50_000;

/// The result of [`compare`].
#[derive(Debug, Default)]
pub struct Compared {
    /// Rows that differ from their record.
    pub findings: Vec<String>,
    /// What was not compared.
    pub notes: Vec<String>,
}

/// Compares the rows with their records, one record in `sample`. Targets that do not name the input
/// records of their rows are left out, with a note.
///
/// # Errors
/// When the broker, the registry or a target is unavailable.
pub async fn compare(pipeline: &Pipeline, sample: u64) -> Result<Compared> {
    let mut compared = Compared::default();
    let disowned = disowned(pipeline).await?;
    for sink in &pipeline.sinks {
        if !sink.target.has_lineage() {
            compared.notes.push(format!(
                "{}: rows are not compared with their records: without `lineage = true` they do \
                 not name them",
                sink.name
            ));
            continue;
        }
        let target = weir_store::reader::open(pipeline, sink)?;
        if !target.compares_rows() {
            compared.notes.push(format!(
                "{}: rows are not compared with their records: {} cannot be asked for them",
                sink.name,
                target.name()
            ));
            continue;
        }
        let unnamed = target.rows_without_origin().await?;
        if unnamed > 0 {
            compared.notes.push(format!(
                "{}: {} rows without lineage are not compared with their records",
                sink.name,
                grouped(unnamed)
            ));
        }
        let mut next = BTreeMap::new();
        for position in target.positions().await? {
            if position.topic == pipeline.output.topic {
                next.insert(position.committed.partition, position.committed.next);
            }
        }
        let mut comparison = Comparison::new(pipeline, &*target)?;
        tokio::task::block_in_place(|| comparison.run(pipeline, &next, sample, &disowned))?;
        compared.findings.extend(comparison.findings(pipeline, sink));
    }
    Ok(compared)
}

struct Comparison<'a> {
    target: &'a dyn TargetReader,
    decoder: Decoder,
    records: Records,
    differing: BTreeMap<Partition, Vec<Offset>>,
}

impl<'a> Comparison<'a> {
    fn new(pipeline: &Pipeline, target: &'a dyn TargetReader) -> Result<Comparison<'a>> {
        let registry = Registry::new(&pipeline.registry)?;
        let schema = Schema::load(&pipeline.output.schema)?;
        let decoder = Decoder::new(schema, registry, Handle::current())?;
        Ok(Comparison { target, decoder, records: Records::new(), differing: BTreeMap::new() })
    }

    /// Reads what the sink has read: up to `next`.
    fn run(
        &mut self,
        pipeline: &Pipeline,
        next: &BTreeMap<Partition, Option<Offset>>,
        sample: u64,
        disowned: &Disowned,
    ) -> Result<()> {
        let topic = &pipeline.output.topic;
        let watermarks = admin::describe(&pipeline.kafka, topic)?.unwrap_or_default();
        let read = watermarks.iter().filter_map(|log| {
            let until = (*next.get(&log.partition)?)?;
            Some(Span { partition: log.partition, from: Some(log.first), until: Some(until) })
        });
        let (mut number, mut failed) = (0_u64, None);
        // Retention can take some of the rows of the first input record.
        let mut first: BTreeMap<Partition, (Offset, bool)> = BTreeMap::new();
        scan(&pipeline.kafka, topic, &read.collect::<Vec<_>>(), |record| {
            let lineage = record.lineage().filter(|_| !disowned.contains(record));
            let begins = lineage.is_none_or(|lineage| lineage.row.index == 0);
            // Rows of one input record are compared together.
            if begins && self.records.len() >= CHUNK {
                failed = self.compare().err();
            }
            number += u64::from(begins);
            let is_whole = lineage.is_some_and(|lineage| {
                let first = first.entry(record.partition()).or_insert((lineage.source, begins));
                first.1 || lineage.source != first.0
            });
            if is_whole && number.is_multiple_of(sample) {
                self.records.push(record);
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(()), Err)?;
        self.compare()
    }

    fn compare(&mut self) -> Result<()> {
        let values: Vec<Option<&[u8]>> = self.records.iter().map(|r| r.value()).collect();
        let decoded = self.decoder.decode(&values)?;
        let origin = |row: &u32| {
            let source = self.records.lineage(*row as usize).map_or(-1, |lineage| lineage.source);
            (self.records.partition(*row as usize), source)
        };
        let (partitions, offsets): (Vec<Partition>, Vec<Offset>) =
            decoded.rows.iter().map(origin).unzip();
        let asked = self.target.differing(&decoded.batch, &partitions, &offsets);
        for (partition, offset) in Handle::current().block_on(asked)? {
            self.differing.entry(partition).or_default().push(offset);
        }
        self.records.clear();
        Ok(())
    }

    fn findings(self, pipeline: &Pipeline, sink: &Sink) -> impl Iterator<Item = String> {
        let what = format!("{} {}", sink.name, pipeline.output.topic);
        self.differing.into_iter().map(move |(partition, mut offsets)| {
            offsets.sort_unstable();
            let offsets = ranges(offsets.into_iter(), MAX_REPORTED);
            format!(
                "{what}[{partition}]: rows that differ from their record: input records {offsets}"
            )
        })
    }
}
