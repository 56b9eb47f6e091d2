//! A backlog of call records in the output topic, drained into PostgreSQL by one `weir-sink`
//! process: rows per second, CPU, memory.
//!
//! `cargo build -p weir-sink --bins --examples`, then `weir-stack exec --
//! target/debug/examples/drain_bench [records] [rate] [batch]`; with a rate it shows latency
//! instead.

#![allow(clippy::disallowed_methods)] // it paces itself on a thread of its own

use anyhow::{Context, Result};
use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_codec::{Encoder, Registry, Schema};
use weir_kafka::transactional_producer::Outgoing;
use weir_kafka::{TransactionalProducer, admin};
use weir_model::lineage::{HEADER, Lineage};
use weir_model::pipeline::Pipeline;

const PARTITIONS: i64 = 3;
const CHUNK: i64 = 10_000;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number =
        |default: i64| arguments.next().map_or(Ok(default), |text| text.parse::<i64>());
    let (records, rate, batch) = (number(1_000_000)?, number(0)?, number(50_000)?);
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let name = format!("drain-{}", std::process::id());
    let text = std::fs::read_to_string(root.join("deploy/pipelines/telecom.toml"))?
        .replace("name = \"telecom\"", &format!("name = \"{name}\""))
        .replace("\"telecom-data", &format!("\"{name}"))
        .replace("telecom.telecom_data", &format!("telecom.{}", name.replace('-', "_")))
        .replace("\"../reference", &format!("\"{}/deploy/reference", root.display()))
        .replace("\"../../schemas", &format!("\"{}/schemas", root.display()));
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("telecom.toml");
    std::fs::write(&file, format!("{text}\n[batch]\nrecords = {batch}\n"))?;
    let pipeline = Pipeline::load(&file)?;
    let mistakes = admin::ensure(&pipeline.kafka, &admin::topics(&pipeline))?;
    anyhow::ensure!(mistakes.is_empty(), "{mistakes:?}");
    let schema = Schema::load(&pipeline.output.schema)?;
    let subject = pipeline.output_subject(schema.name());
    let id = Registry::new(&pipeline.registry)?.register(&subject, &schema).await?;
    let mut feed = Feed {
        producer: TransactionalProducer::open(&pipeline.kafka, &name)?,
        encoder: Encoder::new(&schema, id)?,
        schema,
        sent: 0,
    };
    if rate > 0 {
        let sink = Sink::start(&file)?;
        sink.wait_for("weir_dependency_up", 1)?;
        tokio::task::block_in_place(|| feed.paced(&pipeline, records, rate))?;
        sink.wait_for("weir_records_written_total", records)?;
        println!("at {rate} records/s: {}", sink.latencies()?);
        return Ok(());
    }
    while feed.sent < records {
        feed.send(&pipeline, CHUNK.min(records - feed.sent))?;
    }
    drop(feed);
    let started = Instant::now();
    let sink = Sink::start(&file)?;
    let first = sink.wait_for("weir_records_written_total", 1)?;
    sink.wait_for("weir_records_written_total", records)?;
    let all = started.elapsed();
    println!(
        "{records} records: {:.0}/s since the start, {:.0}/s after the first batch, {:.2} µs CPU \
         per record, {}",
        records as f64 / all.as_secs_f64(),
        (records - first.1) as f64 / (all - first.0).as_secs_f64(),
        sink.cpu_seconds()? * 1e6 / records as f64,
        sink.memory()?
    );
    Ok(())
}

/// A `weir-sink` process, killed at the end.
struct Sink {
    process: std::process::Child,
    address: std::net::SocketAddr,
    started: Instant,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Sink {
    fn start(file: &std::path::Path) -> Result<Sink> {
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let program = std::env::current_exe()?
            .parent()
            .and_then(|p| p.parent())
            .context("no folder")?
            .join("weir-sink");
        let mut command = std::process::Command::new(program);
        command.arg(file).env("WEIR_LISTEN", address.to_string()).env("WEIR_LOG", "warn");
        Ok(Sink { process: command.spawn()?, address, started: Instant::now() })
    }

    fn page(&self) -> String {
        weir_testkit::http::get(&format!("http://{}/metrics", self.address))
            .map(|a| a.body)
            .unwrap_or_default()
    }

    fn value(&self, name: &str) -> f64 {
        let page = self.page();
        page.lines()
            .find(|l| l.starts_with(name))
            .and_then(|l| l.rsplit(' ').next())
            .and_then(|v| v.parse().ok())
            .unwrap_or(0.0)
    }

    /// When a counter reached `least`, and its value then.
    fn wait_for(&self, name: &str, least: i64) -> Result<(Duration, i64)> {
        loop {
            let value = self.value(name) as i64;
            if value >= least {
                return Ok((self.started.elapsed(), value));
            }
            anyhow::ensure!(
                self.started.elapsed() < Duration::from_secs(600),
                "{name} stays at {value}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The buckets of the latency histogram, as cumulated shares.
    fn latencies(&self) -> Result<String> {
        let (page, total) = (self.page(), self.value("weir_latency_seconds_count"));
        let bucket = |line: &str| -> Option<String> {
            let le = line.split("le=\"").nth(1)?.split('"').next()?.to_owned();
            let share = line.rsplit(' ').next()?.parse::<f64>().ok()? / total * 100.0;
            (share > 0.0).then(|| format!("≤{le}s {share:.2}%"))
        };
        let shares: Vec<String> = page
            .lines()
            .filter(|l| l.starts_with("weir_latency_seconds_bucket"))
            .filter_map(bucket)
            .collect();
        let end =
            shares.iter().position(|s| s.ends_with(" 100.00%")).map_or(shares.len(), |i| i + 1);
        Ok(shares[..end].join(" · "))
    }

    fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields: Vec<&str> =
            stat.rsplit(')').next().context("stat")?.split_whitespace().collect();
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
    }

    fn memory(&self) -> Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = |name: &str| {
            status
                .lines()
                .find(|l| l.starts_with(name))
                .map(|l| l.replace('\t', " "))
                .unwrap_or_default()
        };
        Ok(format!("{}, {}", line("VmHWM"), line("VmRSS")))
    }
}

struct Feed {
    producer: TransactionalProducer,
    encoder: Encoder,
    schema: Schema,
    sent: i64,
}

impl Feed {
    /// One transaction.
    fn send(&mut self, pipeline: &Pipeline, records: i64) -> Result<()> {
        let encoded = self.encoder.encode(&batch(&self.schema, self.sent, records)?)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as i64;
        self.producer.begin()?;
        for row in 0..records {
            let at = self.sent + row;
            let lineage = Lineage::new(at / PARTITIONS, at / PARTITIONS - 1, 0).encode();
            let record = Outgoing {
                topic: &pipeline.output.topic,
                partition: Some((at % PARTITIONS) as i32),
                key: Some(b"+491501234567"),
                value: Some(encoded.get(row as usize)),
                timestamp_ms: Some(now),
                headers: &[(HEADER, Some(lineage.as_ref()))],
            };
            self.producer.send(&record)?;
        }
        self.producer.commit(None);
        self.sent += records;
        Ok(())
    }

    /// Ten transactions a second.
    fn paced(&mut self, pipeline: &Pipeline, records: i64, rate: i64) -> Result<()> {
        let started = Instant::now();
        while self.sent < records {
            self.send(pipeline, (rate / 10).min(records - self.sent))?;
            let due = Duration::from_secs_f64(self.sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        Ok(())
    }
}

fn batch(schema: &Schema, from: i64, rows: i64) -> Result<RecordBatch> {
    let text = |stem: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            (from..from + rows).map(|i| format!("{stem}{:07}", i * 7919 % 1_000_003)),
        ))
    };
    let same = |text: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..rows).map(|_| text)))
    };
    let time = |plus: i64| -> ArrayRef {
        let times = (from..from + rows).map(|i| 1_700_000_000_000_000 + i * 1_000_003 + plus);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00"))
    };
    let decimal = |scale| -> Result<ArrayRef> {
        let values = (from..from + rows).map(|i| i128::from(i % 100_000) * 37);
        Ok(Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(10, scale)?))
    };
    let seconds: ArrayRef =
        Arc::new(Int32Array::from_iter_values((from..from + rows).map(|i| (i % 3600) as i32)));
    let columns = vec![
        text("Caller Name "),
        text("Receiver Na "),
        text("+4915"),
        text("+4916"),
        time(0),
        time(60_000_000),
        seconds,
        text("Provider"),
        decimal(2)?,
        time(1),
        same("DE"),
        same("5G"),
        decimal(4)?,
    ];
    Ok(RecordBatch::try_new(schema.arrow(), columns)?)
}
