//! `weir topics`: what the pipeline's topics hold and how far each service is behind.

use crate::audit::grouped;
use crate::table;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;
use weir_kafka::admin;
use weir_kafka::reader::{Span, scan};
use weir_model::pipeline::{Pipeline, Target};
use weir_model::protocol::{Offset, Partition};
use weir_store::Store;

/// What to do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir topics deploy/pipelines/telecom.toml\n  weir topics deploy/pipelines/telecom.toml --json"
)]
pub(crate) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One partition of one topic.
#[derive(Debug, Serialize)]
struct Row {
    topic: String,
    partition: Partition,
    /// First offset of the log.
    first: Offset,
    /// Offset of the last data record; absent when there is none.
    last: Option<Offset>,
    /// Data records: without markers of transactions and without aborted ones.
    records: u64,
    /// Bytes of keys, values and headers of the data records, uncompressed.
    bytes: u64,
    /// Per reader, data records it has not read yet.
    lag: BTreeMap<String, u64>,
}

/// Prints a row per topic and partition.
///
/// # Errors
/// When the broker is away, or the file has mistakes.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let pipeline = Pipeline::load(&args.file)?;
    let positions = positions(&pipeline).await?;
    let rows = tokio::task::block_in_place(|| rows(&pipeline, &positions))?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print(&rows);
    }
    Ok(ExitCode::SUCCESS)
}

/// Reader → topic → partition → next offset.
type Positions = BTreeMap<String, (String, BTreeMap<Partition, Offset>)>;

async fn positions(pipeline: &Pipeline) -> Result<Positions> {
    let mut positions = Positions::new();
    for sink in &pipeline.sinks {
        let Target::Postgres(target) = &sink.target;
        // Lag is a convenience: a database that is away must not hide what Kafka holds.
        let Ok(books) = Store::new(&target.url, "weir-topics")?.books(&pipeline.name).await else {
            eprintln!("the target of sink {} does not answer: its lag is not shown", sink.name);
            continue;
        };
        let mine = books
            .into_iter()
            .filter(|book| book.sink == sink.name && book.topic == pipeline.output.topic);
        let next = mine
            .filter_map(|book| Some((book.committed.partition, book.committed.next?)))
            .collect();
        positions.insert(sink.name.clone(), (pipeline.output.topic.clone(), next));
    }
    let enricher = tokio::task::block_in_place(|| -> Result<_> {
        let topic = &pipeline.input.topic;
        let committed_positions =
            admin::committed_positions(&pipeline.kafka, &pipeline.enricher_group(), topic)?
                .unwrap_or_default();
        Ok(committed_positions.into_iter().filter_map(|s| Some((s.partition, s.next?))).collect())
    })?;
    positions.insert("enricher".into(), (pipeline.input.topic.clone(), enricher));
    Ok(positions)
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

fn print(rows: &[Row]) {
    let cells = |row: &Row| {
        let lag: Vec<String> =
            row.lag.iter().map(|(name, lag)| format!("{name} {}", grouped(*lag))).collect();
        let last = row.last.map_or("–".into(), |last| grouped(last as u64));
        let (records, bytes) = (grouped(row.records), grouped(row.bytes));
        [
            row.topic.clone(),
            row.partition.to_string(),
            grouped(row.first as u64),
            last,
            records,
            bytes,
            lag.join(" · "),
        ]
    };
    let header =
        ["topic", "partition", "first", "last", "records", "bytes", "lag"].map(String::from);
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    table::lines(&rows, |column| (1..6).contains(&column))
        .iter()
        .for_each(|line| println!("{line}"));
}
