//! How much of a bare binary COPY is left when every batch is a transaction with position and
//! books.
//!
//! `cargo run -p weir-store --example copy_bench -- postgres://… [rows] [rows per batch]`

use anyhow::{Context, Result, bail};
use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use bytes::Bytes;
use futures_util::SinkExt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;
use weir_model::fault::Fault;
use weir_model::pipeline::{Mode, Postgres};
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Claim, Outcome, Partition};
use weir_model::secret::Secret;
use weir_store::{DeadLetter, Layout, Origin, Origins, PositionKey, Store, Write};

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("the URL of a database")?;
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse::<usize>());
    let (rows, per_batch) = (number(1_000_000)?, number(10_000)?);
    let batch = batch(per_batch)?;
    let batches = rows / per_batch;
    let store = Store::new(&Secret::new(&url), "bench")?;
    store.prepare().await?;
    for round in 0..3 {
        let layout = table(&store, &url, &format!("t{round}"), &batch).await?;
        let encoding = Instant::now();
        let encoded = layout.encode(&batch, ORIGINS)?;
        let encoding = encoding.elapsed();
        let bare = bare(&url, &format!("t{round}b"), &store, &batch, batches).await?;
        let ours = ours(&store, &layout, &batch, batches, &format!("t{round}")).await?;
        let rate = |took: Duration| (batches * per_batch) as f64 / took.as_secs_f64();
        println!(
            "bare {:.0} rows/s · in transactions of {per_batch} {:.0} rows/s · ratio {:.2} · encode {:.1} M rows/s · {} B/row",
            rate(bare),
            rate(ours),
            bare.as_secs_f64() / ours.as_secs_f64(),
            per_batch as f64 / encoding.as_secs_f64() / 1e6,
            encoded.bytes().len() / per_batch,
        );
    }
    Ok(())
}

const ORIGINS: Origins<'static> = Origins { topic: "", partitions: &[], offsets: &[] };

fn batch(rows: usize) -> Result<RecordBatch> {
    let text = |stem: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(
            (0..rows).map(|i| format!("{stem}{:07}", i * 7919 % 1_000_003)),
        ))
    };
    let time = |plus: i64| -> ArrayRef {
        let times = (0..rows as i64).map(|i| 1_700_000_000_000_000 + i * 1_000_003 + plus);
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("+00:00"))
    };
    let decimal = |scale| -> Result<ArrayRef> {
        Ok(Arc::new(
            Decimal128Array::from_iter_values((0..rows as i128).map(|i| i * 37))
                .with_precision_and_scale(10, scale)?,
        ))
    };
    Ok(RecordBatch::try_from_iter([
        ("caller_name", text("Caller Name ")),
        ("receiver_name", text("Receiver Na ")),
        ("caller_id", text("+4915")),
        ("receiver_id", text("+4916")),
        ("start_datetime", time(0)),
        ("end_datetime", time(60_000_000)),
        ("call_duration", Arc::new(Int32Array::from_iter_values(0..rows as i32)) as ArrayRef),
        ("network_provider", text("Provider")),
        ("total_amount", decimal(2)?),
        ("processing_timestamp", time(1)),
        ("country", Arc::new(StringArray::from_iter_values((0..rows).map(|_| "DE"))) as ArrayRef),
        (
            "network_type",
            Arc::new(StringArray::from_iter_values((0..rows).map(|_| "5G"))) as ArrayRef,
        ),
        ("rate_per_minute", decimal(4)?),
    ])?)
}

async fn table(store: &Store, url: &str, name: &str, batch: &RecordBatch) -> Result<Layout> {
    let target = Postgres {
        url: Secret::new(url),
        schema: "bench".into(),
        table: name.into(),
        mode: Mode::Append,
        columns: Default::default(),
        lineage: false,
    };
    let fit = store.fit("bench", &target, &batch.schema()).await?;
    store.apply(&fit).await?;
    fit.layout.with_context(|| format!("{:?}", fit.mistakes))
}

/// One COPY of all batches: what `\copy … (FORMAT binary)` does.
async fn bare(
    url: &str,
    name: &str,
    store: &Store,
    batch: &RecordBatch,
    batches: usize,
) -> Result<Duration> {
    let layout = table(store, url, name, batch).await?;
    let encoded = layout.encode(batch, ORIGINS)?.bytes().clone();
    let rows = encoded.slice(19..encoded.len() - 2);
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    let started = Instant::now();
    let sink = client
        .copy_in::<_, Bytes>(&format!("COPY bench.{name} FROM STDIN (FORMAT binary)"))
        .await?;
    tokio::pin!(sink);
    sink.feed(encoded.slice(..19)).await?;
    for _ in 0..batches {
        for start in (0..rows.len()).step_by(128 * 1024) {
            sink.feed(rows.slice(start..rows.len().min(start + 128 * 1024))).await?;
        }
    }
    sink.feed(encoded.slice(encoded.len() - 2..)).await?;
    sink.as_mut().finish().await?;
    Ok(started.elapsed())
}

/// A transaction per batch; encoding is not overlapped here, as it is in the sink.
async fn ours(
    store: &Store,
    layout: &Layout,
    batch: &RecordBatch,
    batches: usize,
    name: &str,
) -> Result<Duration> {
    let position_key = PositionKey {
        pipeline: "bench".into(),
        sink: name.into(),
        topic: "t".into(),
        cluster: "c".into(),
    };
    let committed = store.acquire(&position_key, &[0, 1, 2]).await?;
    let mut claims: Vec<Claim> = committed
        .into_iter()
        .map(|s| Claim {
            partition: s.partition,
            fence: s.fence,
            expected: s.next,
            next: s.next.unwrap_or(0),
            progress: s.progress,
        })
        .collect();
    let delta = Progress {
        counters: Counters { read: 1, written: 1, ..Counters::default() },
        last: Some(0),
        filtered_since: 0,
    };
    let started = Instant::now();
    for _ in 0..batches {
        let encoded = tokio::task::block_in_place(|| layout.encode(batch, ORIGINS))?;
        for claim in &mut claims {
            claim.next += 1;
            claim.progress = claim.progress.then(&delta);
        }
        let written = store
            .write(Write {
                position_key: &position_key,
                claims: &claims,
                layout,
                rows: &encoded,
                dead_letters: &[],
                origin: &Nobody,
            })
            .await?;
        if written.outcome != Outcome::Committed {
            bail!("{:?}", written.outcome);
        }
        claims.iter_mut().for_each(|c| c.expected = Some(c.next));
    }
    Ok(started.elapsed())
}

struct Nobody;

impl Origin for Nobody {
    fn partition(&self, _: usize) -> Partition {
        0
    }

    fn dead_letter(&self, row: usize, fault: Fault) -> DeadLetter {
        DeadLetter {
            partition: 0,
            offset: row as i64,
            source: None,
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp_ms: None,
            schema_id: None,
            fault,
            column: None,
            sqlstate: None,
        }
    }
}
