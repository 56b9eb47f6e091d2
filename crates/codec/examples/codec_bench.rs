//! Records per second on one core: `cargo run -p weir-codec --example codec_bench [RECORDS]`.
//!
//! Call records of about 90 bytes, in batches of 8192: encode, decode (validation included), decode
//! of two writer schemas that alternate record by record, and cast.

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_codec::registry::Settings;
use weir_codec::{Decoder, Encoded, Encoder, Registry, Schema, cast};
use weir_model::secret::Secret;

const CALL: &str = r#"{"type":"record","name":"Call","fields":[
 {"name":"caller_name","type":"string"},{"name":"receiver_name","type":"string"},
 {"name":"caller_id","type":"string"},{"name":"receiver_id","type":"string"},
 {"name":"start_datetime","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"end_datetime","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"call_duration","type":"int"},{"name":"network_provider","type":"string"},
 {"name":"total_amount","type":{"type":"bytes",
   "logicalType":"decimal","precision":10,"scale":2}}]}"#;

const BATCH: usize = 8192;

fn main() -> anyhow::Result<()> {
    let records: usize = std::env::args().nth(1).map_or(Ok(2_000_000), |n| n.parse())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let registry =
        Registry::new(Settings { urls: vec![Secret::new(serve()?)], ..Settings::default() })?;
    let schema = Schema::parse(CALL)?;
    let mut decoder = Decoder::new(schema.clone(), registry, runtime.handle().clone())?;
    let (mut first, mut second) = (Encoder::new(&schema, 1)?, Encoder::new(&schema, 2)?);
    let batches: Vec<RecordBatch> =
        (0..8).map(|n| calls(&schema, n * BATCH)).collect::<Result<_, _>>()?;
    let rounds = (records / BATCH / batches.len()).max(1);

    let encoded: Vec<Encoded> =
        batches.iter().map(|b| first.encode(b)).collect::<Result<_, _>>()?;
    let others: Vec<Encoded> =
        batches.iter().map(|b| second.encode(b)).collect::<Result<_, _>>()?;
    let values: Vec<Vec<Option<&[u8]>>> =
        encoded.iter().map(|e| (0..e.len()).map(|row| Some(e.get(row))).collect()).collect();
    let mixed: Vec<Vec<Option<&[u8]>>> = encoded
        .iter()
        .zip(&others)
        .map(|(a, b)| {
            (0..a.len())
                .map(|row| Some(if row % 2 == 0 { a.get(row) } else { b.get(row) }))
                .collect()
        })
        .collect();
    let bytes: usize = values.iter().flatten().flatten().map(|v| v.len()).sum();
    println!(
        "{} bytes per record, {} records per measurement",
        bytes / BATCH / batches.len(),
        rounds * BATCH * batches.len()
    );

    measure("encode", rounds, &batches, |batch| Ok(first.encode(batch)?.len()))?;
    measure("decode", rounds, &values, |values| Ok(decoder.decode(values)?.rows.len()))?;
    measure("decode, two schemas", rounds, &mixed, |values| {
        Ok(decoder.decode(values)?.rows.len())
    })?;
    measure("cast", rounds, &batches, |batch| Ok(cast(batch, &schema).rows.len()))?;
    Ok(())
}

/// The best of three, as records per second.
fn measure<T>(
    name: &str,
    rounds: usize,
    batches: &[T],
    mut work: impl FnMut(&T) -> anyhow::Result<usize>,
) -> anyhow::Result<()> {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        for _ in 0..rounds {
            for batch in batches {
                anyhow::ensure!(work(batch)? == BATCH, "{name}: rows are missing");
            }
        }
        best = best.min(start.elapsed());
    }
    let records = rounds * batches.len() * BATCH;
    println!("{name:<20} {:>6.2} M records/s", records as f64 / best.as_secs_f64() / 1e6);
    Ok(())
}

fn calls(schema: &Schema, from: usize) -> anyhow::Result<RecordBatch> {
    let text = |f: &dyn Fn(usize) -> String| {
        Arc::new((from..from + BATCH).map(|i| Some(f(i))).collect::<StringArray>()) as ArrayRef
    };
    let time = |f: &dyn Fn(usize) -> i64| {
        Arc::new(
            (from..from + BATCH)
                .map(|i| Some(f(i)))
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("+00:00"),
        ) as ArrayRef
    };
    let start = |i: usize| 1_700_000_000_000_000 + i as i64 * 1_000_003;
    let amounts: Decimal128Array =
        (from..from + BATCH).map(|i| Some((i * 37 % 30_000) as i128)).collect();
    let columns: Vec<ArrayRef> = vec![
        text(&|i| format!("Caller Name {}", i % 1000)),
        text(&|i| format!("Receiver Name {}", i * 7 % 1000)),
        text(&|i| format!("+4477{:08}", i * 7919 % 99_999_999)),
        text(&|i| format!("+4478{:08}", i * 31 % 99_999_999)),
        time(&start),
        time(&|i| start(i) + (i % 600) as i64 * 1_000_000),
        Arc::new((from..from + BATCH).map(|i| Some((i % 600) as i32)).collect::<Int32Array>()),
        text(&|i| ["Orange", "Vodafone", "Tele2"][i % 3].into()),
        Arc::new(amounts.with_precision_and_scale(10, 2)?),
    ];
    Ok(RecordBatch::try_new(schema.arrow(), columns)?)
}

/// A registry that has the same schema under every id.
fn serve() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let body = serde_json::json!({"schema": CALL}).to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(&stream).lines();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            if (&stream).write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    Ok(url)
}
