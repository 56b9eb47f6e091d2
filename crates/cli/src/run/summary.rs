//! The result of a run: rows, dead letters, throughput, latency, and next commands.

use super::gauge::Gauge;
use crate::table;
use anyhow::Result;
use weir_audit::format::grouped;
use weir_model::pipeline::Pipeline;
use weir_store::reader::{ReasonCount, Sample};

const ROWS: usize = 5;
const DEAD_LETTERS: usize = 3;
/// The table is cut to the width of a terminal.
const WIDTH: usize = 150;

/// Prints everything.
pub(crate) async fn print(pipeline: &Pipeline, hops: &[Gauge]) -> Result<()> {
    let mut reasons = weir_audit::dead::topic_reasons(pipeline)?;
    for sink in &pipeline.sinks {
        let target = weir_store::reader::open(pipeline, sink)?;
        println!(" {} ({} rows)", target.name(), grouped(target.count_rows().await?));
        print_sample(&target.sample(ROWS).await?);
        reasons.extend(target.dead_letter_reasons().await?);
    }
    print_dead_letters(reasons);
    println!(
        " hop           records/s     latency p50     latency p99   from the input record's Kafka \
         timestamp to this hop's commit"
    );
    for hop in hops {
        let latency = |share| hop.latency(share).map_or("–".into(), format_duration);
        println!(
            " {:12} {:>10}  {:>14}  {:>14}",
            hop.name,
            hop.rate().map_or("–".into(), grouped),
            latency(0.5),
            latency(0.99)
        );
    }
    let file = pipeline.file.display();
    let next = [
        (format!("weir run {file}"), "keep it flowing at its configured rate"),
        (
            format!("weir dead list {file}"),
            "what could not be processed; weir dead replay brings it back",
        ),
        (format!("weir audit {file} --deep"), "read topics and tables again and recompute"),
    ];
    let own =
        if pipeline.file.starts_with("deploy/pipelines") { " (make run starts them)" } else { "" };
    println!("\n next, while Kafka and the target run{own}:");
    let width = next.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    next.iter().for_each(|(command, what)| println!("   {command:width$}  {what}"));
    Ok(())
}

fn format_duration(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

fn print_dead_letters(mut reasons: Vec<ReasonCount>) {
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.count));
    let total: u64 = reasons.iter().map(|reason| reason.count).sum();
    let counts: Vec<String> = reasons
        .iter()
        .map(|reason| format!("{} {}", reason.reason, grouped(reason.count)))
        .collect();
    println!("\n dead letters: {}        {}", grouped(total), counts.join(" · "));
    for (number, ReasonCount { reason, example, detail, .. }) in
        reasons.iter().take(DEAD_LETTERS).enumerate()
    {
        println!("   #{}  {example}  {reason}  {detail}", number + 1);
    }
    println!();
}

fn print_sample(sample: &Sample) {
    // No cell is wider than the line is; a row can be many megabytes.
    let cell = |value: &Option<String>| {
        value.as_deref().map_or_else(|| "∅".into(), |text| text.chars().take(WIDTH).collect())
    };
    let rows: Vec<Vec<String>> = std::iter::once(sample.columns.clone())
        .chain(sample.rows.iter().map(|row| row.iter().map(cell).collect()))
        .collect();
    for line in table::lines(&rows, |_| false) {
        let cut: String = line.chars().take(WIDTH).collect();
        println!("   {}{}", cut.trim_end(), if line.chars().count() > WIDTH { " …" } else { "" });
    }
}
