//! `make bench`: each service against a bare loop that moves the same bytes, in one run on one
//! machine; then memory, latency and the real flights. Absolute figures depend on the machine; the
//! ratios are what counts.
//!
//! Needs a stack in the environment (`weir-stack exec -- weir-bench`), `psql` and the repository's
//! root as working directory. `weir-bench services pair nested memory latency flights` runs only the named
//! parts; `WEIR_BENCH_RECORDS` sets the size of a run.

#[path = "bench/nested.rs"]
mod nested;
#[path = "bench/pipeline.rs"]
mod pipeline;
#[path = "bench/watch.rs"]
mod watch;

use anyhow::{Context, Result, bail};
use pipeline::Bench;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use watch::{Measured, Watched, quantile};

const READ: &str = "weir_records_read_total";
const WRITTEN: &str = "weir_records_written_total";
const LATENCY: &str = "weir_latency_seconds";
const LIMIT: Duration = Duration::from_secs(600);
/// Records in a transaction of the floors: what `batch.records` is by default.
const BATCH: &str = "50000";

fn main() -> Result<()> {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let run = |part: &str| parts.is_empty() || parts.iter().any(|named| named == part);
    let records =
        std::env::var("WEIR_BENCH_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000_000);
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    println!("weir bench · {records} call records · figures of one run on this machine\n");
    if run("services") {
        services(folder, records)?;
    }
    if run("pair") {
        pair(folder, records)?;
    }
    if run("nested") {
        nested::compare(folder, records)?;
    }
    if run("memory") {
        memory(folder, records * 5 / 3)?;
    }
    if run("latency") {
        latency(folder, 1_000, 60)?;
        latency(folder, 10_000, 60)?;
    }
    if run("flights") {
        flights()?;
    }
    Ok(())
}

/// Producer, enricher and sink, one after the other, each with the machine to itself and its floor
/// beside it.
fn services(folder: &Path, records: u64) -> Result<()> {
    let bench = pipeline::write(folder, "services", records, 0, 0.0)?;
    println!(
        "one service at a time            records/s   µs CPU/record   of the floor: rate   CPU"
    );

    let mut producer = Watched::start("weir-producer", &bench.file)?;
    let ours = producer.until(WRITTEN, records, LIMIT)?;
    producer.stop()?;
    let floor = bare(&[
        "produce",
        &brokers()?,
        &bench.input,
        &format!("{}-floor", bench.name),
        &records.to_string(),
        BATCH,
    ])?;
    compare("producer", "bare transactional produce", ours, floor);

    let mut enricher = Watched::start("weir-enricher", &bench.file)?;
    let ours = enricher.until(READ, records, LIMIT)?;
    enricher.stop()?;
    let floor = bare(&[
        "pass",
        &brokers()?,
        &bench.input,
        &format!("{}-floor", bench.name),
        &records.to_string(),
        BATCH,
    ])?;
    compare("enricher", "bare consume and produce", ours, floor);

    let mut sink = Watched::start("weir-sink", &bench.file)?;
    let ours = sink.until(READ, records, LIMIT)?;
    sink.stop()?;
    let floor = copy(folder, &bench)?;
    compare("sink", "bare \\copy (FORMAT binary)", ours, floor);
    println!();
    Ok(())
}

/// Enricher and sink together drain a backlog, with Kafka and PostgreSQL on the same processors.
fn pair(folder: &Path, records: u64) -> Result<()> {
    let bench = pipeline::write(folder, "pair", records, 0, 0.0)?;
    backlog(&bench.file, records)?;
    let mut enricher = Watched::start("weir-enricher", &bench.file)?;
    let mut sink = Watched::start("weir-sink", &bench.file)?;
    watch::until(LIMIT, || {
        enricher.sample(READ)?;
        Ok(sink.sample(READ)? >= records)
    })?;
    enricher.sample(READ)?;
    let (first, second) = (enricher.measured(), sink.measured());
    let floor = copy(folder, &bench)?;
    let seconds = sink.last_at() - enricher.first_at().min(sink.first_at());
    let rate = records as f64 / seconds;
    println!("enricher + sink, one backlog of {records} records");
    println!(
        "  {:.0} records/s = {:.2} of the bare \\copy ({:.0} rows/s)",
        rate,
        rate / floor.rate(),
        floor.rate()
    );
    println!(
        "  CPU per record: enricher {:.2} µs + sink {:.2} µs = {:.2} µs",
        first.micros(),
        second.micros(),
        first.micros() + second.micros()
    );
    println!(
        "  peak memory: enricher {:.0} MiB, sink {:.0} MiB\n",
        first.peak_mib, second.peak_mib
    );
    enricher.stop()?;
    sink.stop()
}

/// Resident memory of each service on a long backlog.
fn memory(folder: &Path, records: u64) -> Result<()> {
    let bench = pipeline::write(folder, "memory", records, 0, 0.0)?;
    println!("memory over {records} records     a third    end      peak (MiB)");
    for service in ["weir-producer", "weir-enricher", "weir-sink"] {
        let mut watched = Watched::start(service, &bench.file)?;
        let m = watched.until(READ, records, LIMIT)?;
        watched.stop()?;
        println!("  {service:28} {:>8.0} {:>8.0} {:>8.0}", m.third_mib, m.end_mib, m.peak_mib);
    }
    println!();
    Ok(())
}

/// From the input record's Kafka timestamp to COMMIT, all three services at a steady rate with
/// default settings. The first sixth of the run is not counted: topics are created then, consumer
/// groups find their members, and the registry is asked for the first ids.
fn latency(folder: &Path, rate: u64, seconds: u64) -> Result<()> {
    let records = rate * seconds;
    let bench = pipeline::write(folder, &format!("latency{rate}"), records, rate, 0.02)?;
    let mut enricher = Watched::start("weir-enricher", &bench.file)?;
    let mut sink = Watched::start("weir-sink", &bench.file)?;
    enricher.ready()?;
    sink.ready()?;
    let mut producer = Watched::start("weir-producer", &bench.file)?;
    producer.until(READ, records / 6, LIMIT)?;
    let before = sink.page()?;
    producer.until(READ, records, LIMIT)?;
    let produced = producer.sample(WRITTEN)?;
    enricher.until(READ, produced, LIMIT)?;
    let enriched = enricher.sample(WRITTEN)?;
    sink.until(READ, enriched, LIMIT)?;
    let page = sink.page()?;
    let at = |share| {
        quantile(&before, &page, LATENCY, share)
            .map_or("?".into(), |s: f64| format!("{:.0} ms", s * 1e3))
    };
    println!(
        "latency at {rate} records/s, Kafka timestamp to COMMIT: p50 {} · p99 {} · p99.9 {}",
        at(0.5),
        at(0.99),
        at(0.999)
    );
    for service in [producer, enricher, sink] {
        service.stop()?;
    }
    Ok(())
}

/// Three million real flights, source file to table.
fn flights() -> Result<()> {
    let started = Instant::now();
    let weir = std::env::current_exe()?.with_file_name("weir");
    let output = Command::new(weir)
        .args(["run", "deploy/pipelines/flights.toml", "--until-done", "--rate", "0"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!(
        "\nflights, {:.0} s from start to audit, exit {}:\n{text}",
        started.elapsed().as_secs_f64(),
        output.status
    );
    if !output.status.success() {
        bail!("the flights pipeline failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn backlog(file: &Path, records: u64) -> Result<()> {
    let mut producer = Watched::start("weir-producer", file)?;
    producer.until(WRITTEN, records, LIMIT)?;
    producer.stop()
}

fn compare(name: &str, floor_name: &str, ours: Measured, floor: Measured) {
    // psql's floor works in the server, so it has no figure of its own.
    let micros = (floor.cpu > 0.0).then(|| floor.micros());
    let (of_floor, micros) = match micros {
        Some(micros) => (format!("{:.2}", micros / ours.micros()), format!("{micros:.2}")),
        None => ("–".into(), "–".into()),
    };
    println!(
        "  {name:28} {:>11.0}   {:>13.2}   {:>18.2}  {of_floor:>5}",
        ours.rate(),
        ours.micros(),
        ours.rate() / floor.rate()
    );
    println!("    {floor_name:26} {:>11.0}   {micros:>13}", floor.rate());
    println!(
        "    memory: peak {:.0} MiB, at a third {:.0}, at the end {:.0}",
        ours.peak_mib, ours.third_mib, ours.end_mib
    );
}

fn brokers() -> Result<String> {
    std::env::var("WEIR_KAFKA")
        .context("no stack in the environment: run `make bench`, or weir-stack exec -- weir-bench")
}

/// A bare librdkafka loop in a process of its own.
fn bare(args: &[&str]) -> Result<Measured> {
    let program = std::env::current_exe()?.with_file_name("examples").join("bare");
    let output = Command::new(&program)
        .args(args)
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!("{} {args:?}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    }
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let number = |key: &str| report[key].as_f64().with_context(|| format!("no {key} in {report}"));
    Ok(Measured {
        records: number("records")? as u64,
        seconds: number("seconds")?,
        cpu: number("cpu_seconds")?,
        peak_mib: number("max_rss")? / 1048576.0,
        ..Measured::default()
    })
}

/// `\copy` of the very rows that the sink wrote, into an equal empty table.
fn copy(folder: &Path, bench: &Bench) -> Result<Measured> {
    let rows = folder.join("rows.copy");
    let equal = format!("{}_equal", bench.table);
    psql(&format!("\\copy {} TO '{}' (FORMAT binary)", bench.table, rows.display()))?;
    psql(&format!("CREATE TABLE {equal} (LIKE {} INCLUDING ALL)", bench.table))?;
    let started = Instant::now();
    let said = psql(&format!("\\copy {equal} FROM '{}' (FORMAT binary)", rows.display()))?;
    let seconds = started.elapsed().as_secs_f64();
    psql(&format!("DROP TABLE {equal}"))?;
    std::fs::remove_file(&rows)?;
    let records = said
        .trim()
        .rsplit(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .with_context(|| format!("psql said {said:?}"))?;
    Ok(Measured { records, seconds, ..Measured::default() })
}

fn psql(command: &str) -> Result<String> {
    let url =
        std::env::var("WEIR_POSTGRES").context("no stack in the environment: run `make bench`")?;
    let output = Command::new("psql")
        .args([url.as_str(), "-X", "-v", "ON_ERROR_STOP=1", "-c", command])
        .output()
        .context("psql is missing")?;
    if !output.status.success() {
        bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
