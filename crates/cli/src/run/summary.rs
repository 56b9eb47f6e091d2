//! What came out: rows, dead letters, throughput and latency, and where to look next.

use super::gauge::Gauge;
use crate::audit::grouped;
use crate::table;
use anyhow::Result;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_kafka::DeadLetter;
use weir_kafka::reader::scan_all;
use weir_model::pipeline::{Pipeline, Target};
use weir_store::{Reason, Sample, Store};

const ROWS: usize = 5;
const DEAD_LETTERS: usize = 3;
/// The table is cut to what a terminal can hold.
const WIDTH: usize = 150;

/// Prints everything.
pub(crate) async fn print(pipeline: &Pipeline, hops: &[Gauge]) -> Result<()> {
    let mut reasons = tokio::task::block_in_place(|| in_topic(pipeline))?;
    for sink in &pipeline.sinks {
        let Target::Postgres(target) = &sink.target;
        let store = Store::new(&target.url, "weir-run")?;
        let rows = store.count_rows(&target.schema, &target.table).await?;
        println!(" {}.{} ({} rows)", target.schema, target.table, grouped(rows));
        show(&store.sample(&target.schema, &target.table, ROWS).await?);
        reasons.extend(store.dead_letter_reasons(&pipeline.name, &sink.name).await?);
    }
    dead_letters(reasons);
    println!(
        " hop           records/s     latency p50     latency p99   from the input record's Kafka timestamp to this hop's commit"
    );
    for hop in hops {
        let latency = |share| hop.latency(share).map_or("–".into(), format_duration);
        println!(
            " {:12} {:>10}  {:>14}  {:>14}",
            hop.name,
            grouped(hop.rate() as u64),
            latency(0.5),
            latency(0.99)
        );
    }
    let file = pipeline.file.display();
    println!("\n next:  make run            keep it flowing at its configured rate");
    println!(
        "        weir dead list {file}        what could not be processed; weir dead replay brings it back"
    );
    println!("        weir audit {file} --deep     read topics and tables again and recompute");
    println!("        README.md, “A pipeline of your own in five minutes”");
    Ok(())
}

fn format_duration(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

/// The dead-letter topic by reason, each with its first dead letter.
fn in_topic(pipeline: &Pipeline) -> Result<Vec<Reason>> {
    let mut found: BTreeMap<String, Reason> = BTreeMap::new();
    scan_all(&pipeline.kafka, &pipeline.dead_letters.topic, |record| {
        if let Some(dead_letter) = DeadLetter::read(record) {
            let example = || {
                format!("{}[{}]@{}", dead_letter.topic, dead_letter.partition, dead_letter.offset)
            };
            let first = || Reason {
                reason: dead_letter.reason.clone(),
                count: 0,
                example: example(),
                detail: dead_letter.detail.clone(),
            };
            found.entry(dead_letter.reason.clone()).or_insert_with(first).count += 1;
        }
        ControlFlow::Continue(())
    })?;
    Ok(found.into_values().collect())
}

fn dead_letters(mut reasons: Vec<Reason>) {
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    let total: u64 = reasons.iter().map(|reason| reason.count).sum();
    let counts: Vec<String> = reasons
        .iter()
        .map(|reason| format!("{} {}", reason.reason, grouped(reason.count)))
        .collect();
    println!("\n dead letters: {}        {}", grouped(total), counts.join(" · "));
    for (number, Reason { reason, example, detail, .. }) in
        reasons.iter().take(DEAD_LETTERS).enumerate()
    {
        println!("   #{}  {example}  {reason}  {detail}", number + 1);
    }
    println!();
}

fn show(sample: &Sample) {
    let cell = |value: &Option<String>| value.clone().unwrap_or_else(|| "∅".into());
    let rows: Vec<Vec<String>> = std::iter::once(sample.columns.clone())
        .chain(sample.rows.iter().map(|row| row.iter().map(cell).collect()))
        .collect();
    for line in table::lines(&rows, |_| false) {
        let cut: String = line.chars().take(WIDTH).collect();
        println!("   {}{}", cut.trim_end(), if line.chars().count() > WIDTH { " …" } else { "" });
    }
}
