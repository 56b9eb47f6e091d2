//! The content of the pipeline's topics and the lag of each service.

use crate::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_kafka::admin;
use weir_kafka::reader::{Span, scan};
use weir_model::pipeline::Pipeline;
use weir_model::protocol::{Offset, Partition};

/// One partition of one topic.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: Partition,
    /// First offset of the log.
    pub first: Offset,
    /// Offset of the last data record; absent when there is none.
    pub last: Option<Offset>,
    /// Data records, without transaction markers and aborted records.
    pub records: u64,
    /// Bytes of keys, values and headers of the data records, uncompressed.
    pub bytes: u64,
    /// Per reader, the data records that it has not read yet.
    pub lag: BTreeMap<String, u64>,
}

/// The topics of a pipeline, and the sinks whose targets did not answer, so that their lag is
/// missing.
#[derive(Debug)]
pub struct Topics {
    /// A row per topic and partition.
    pub rows: Vec<Row>,
    /// Names of sinks.
    pub silent: Vec<String>,
}

/// Reads the topics of a pipeline from their beginning to their end.
///
/// # Errors
/// When the broker is unavailable.
pub async fn read(pipeline: &Pipeline) -> Result<Topics> {
    let (positions, silent) = positions(pipeline).await?;
    let rows = tokio::task::block_in_place(|| rows(pipeline, &positions))?;
    Ok(Topics { rows, silent })
}

/// Reader → topic → partition → next offset.
type Positions = BTreeMap<String, (String, BTreeMap<Partition, Offset>)>;

async fn positions(pipeline: &Pipeline) -> Result<(Positions, Vec<String>)> {
    let (mut positions, mut silent) = (Positions::new(), Vec::new());
    let topic = &pipeline.output.topic;
    for sink in &pipeline.sinks {
        // An unavailable target must not hide the content of Kafka.
        let Ok(found) = weir_store::reader::open(pipeline, sink)?.positions().await else {
            silent.push(sink.name.clone());
            continue;
        };
        let own = found.into_iter().filter(|position| position.topic == *topic);
        let next = own.filter_map(|own| Some((own.committed.partition, own.committed.next?)));
        positions.insert(sink.name.clone(), (topic.clone(), next.collect()));
    }
    let (group, topic) = (pipeline.enricher_group(), &pipeline.input.topic);
    let committed =
        tokio::task::block_in_place(|| admin::committed_positions(&pipeline.kafka, &group, topic))?;
    let next =
        committed.unwrap_or_default().into_iter().filter_map(|c| Some((c.partition, c.next?)));
    positions.insert("enricher".into(), (topic.clone(), next.collect()));
    Ok((positions, silent))
}

fn rows(pipeline: &Pipeline, positions: &Positions) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for topic in [&pipeline.input.topic, &pipeline.output.topic, &pipeline.dead_letters.topic] {
        let Some(watermarks) = admin::describe(&pipeline.kafka, topic)? else { continue };
        let readers: Vec<_> = positions
            .iter()
            .filter(|(_, (read, _))| read == topic)
            .map(|(name, (_, next))| (name, next))
            .collect();
        let start = rows.len();
        rows.extend(watermarks.iter().map(|watermarks| Row {
            topic: topic.clone(),
            partition: watermarks.partition,
            first: watermarks.first,
            last: None,
            records: 0,
            bytes: 0,
            lag: readers.iter().map(|(name, _)| ((*name).clone(), 0)).collect(),
        }));
        let spans: Vec<Span> = watermarks
            .iter()
            .map(|e| Span { partition: e.partition, from: Some(e.first), until: Some(e.end) })
            .collect();
        let own = &mut rows[start..];
        scan(&pipeline.kafka, topic, &spans, |record| {
            if let Some(row) = own.iter_mut().find(|row| row.partition == record.partition()) {
                row.last = Some(record.offset());
                row.records += 1;
                let headers: usize = record
                    .headers()
                    .map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len))
                    .sum();
                row.bytes += (record.key().map_or(0, <[u8]>::len)
                    + record.value().map_or(0, <[u8]>::len)
                    + headers) as u64;
                for (name, next) in &readers {
                    if record.offset() >= next.get(&row.partition).copied().unwrap_or(0) {
                        *row.lag.entry((*name).clone()).or_default() += 1;
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(rows)
}
