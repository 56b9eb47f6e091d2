//! Rows per second of the telecom pipeline's rules and SQL on one core, by batch size.
//! `cargo run -p weir-transform --example transform_bench`

#[path = "../tests/transform/support.rs"]
mod support;

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, SchemaRef};
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{batch, joining, micros, pipeline, rejecting, schema};
use weir_transform::Plan;

const RULES: [(&str, &str); 4] = [
    ("negative_duration", "call_duration < 0"),
    ("ends_before_start", "end_datetime < start_datetime"),
    (
        "duration_mismatch",
        "(CAST(end_datetime AS BIGINT) - CAST(start_datetime AS BIGINT)) / 1000000 \
         <> call_duration",
    ),
    ("negative_amount", "total_amount < 0"),
];
const SQL: &str = "
    SELECT i.caller_name, i.receiver_name, i.caller_id, i.receiver_id,
           i.start_datetime, i.end_datetime, i.call_duration, i.network_provider, i.total_amount,
           now() AS processing_timestamp, p.country, p.network_type,
           CASE WHEN i.call_duration > 0
                THEN CAST(i.total_amount * 60 / i.call_duration AS DECIMAL(10, 4))
           END AS rate_per_minute
    FROM input i LEFT JOIN providers p ON i.network_provider = p.network_provider";
const PROVIDERS: &str = "network_provider,country,network_type\nOrange,FR,5G\nVodafone,GB,LTE\n\
    Tele2,SE,LTE\nO2,GB,5G\nThree,GB,5G\n";

fn calls() -> SchemaRef {
    schema(&[
        ("caller_name", DataType::Utf8, false),
        ("receiver_name", DataType::Utf8, false),
        ("caller_id", DataType::Utf8, false),
        ("receiver_id", DataType::Utf8, false),
        ("start_datetime", micros(), false),
        ("end_datetime", micros(), false),
        ("call_duration", DataType::Int32, false),
        ("network_provider", DataType::Utf8, false),
        ("total_amount", DataType::Decimal128(10, 2), false),
    ])
}

fn enriched() -> SchemaRef {
    let mut fields: Vec<_> = calls().fields().iter().map(|f| f.as_ref().clone()).collect();
    let more = schema(&[
        ("processing_timestamp", micros(), false),
        ("country", DataType::Utf8, true),
        ("network_type", DataType::Utf8, true),
        ("rate_per_minute", DataType::Decimal128(10, 4), true),
    ]);
    fields.extend(more.fields().iter().map(|f| f.as_ref().clone()));
    Arc::new(arrow::datatypes::Schema::new(fields))
}

/// Calls of which every `invalid`-th breaks a rule (0: none).
fn some_calls(num_rows: usize, invalid: usize) -> RecordBatch {
    let text = |f: fn(usize) -> String| {
        Arc::new(StringArray::from_iter_values((0..num_rows).map(f))) as ArrayRef
    };
    let start = |i: usize| 1_700_000_000_000_000 + i as i64 * 1_234_567;
    let duration = |i: usize| (i as i64 * 13) % 3600 + 1;
    let times = |f: &dyn Fn(usize) -> i64| {
        Arc::new(
            TimestampMicrosecondArray::from_iter_values((0..num_rows).map(f))
                .with_timezone("+00:00"),
        ) as ArrayRef
    };
    let broken = |i: usize| invalid > 0 && i % invalid == invalid - 1;
    let amounts =
        Decimal128Array::from_iter_values((0..num_rows).map(|i| (i as i128 * 37) % 100_000));
    batch(
        &calls(),
        vec![
            text(|i| format!("Caller Name {}", i % 1000)),
            text(|i| format!("Receiver Name {}", i % 777)),
            text(|i| format!("+4477{i:08}")),
            text(|i| format!("+4915{i:08}")),
            times(&start),
            times(&|i| start(i) + duration(i) * 1_000_000),
            Arc::new(
                (0..num_rows)
                    .map(|i| Some(if broken(i) { -1 } else { duration(i) as i32 }))
                    .collect::<Int32Array>(),
            ),
            text(|i| ["Orange", "Vodafone", "Tele2", "Unknown", "O2"][i % 5].to_string()),
            Arc::new(amounts.with_precision_and_scale(10, 2).expect("small amounts")),
        ],
    )
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let telecom = joining(
        rejecting(pipeline(SQL), &RULES),
        folder.path(),
        "providers",
        &["network_provider"],
        PROVIDERS,
    );
    let started = Instant::now();
    let plan = Plan::compile(calls(), enriched(), &telecom)
        .map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
    println!("compiled in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    for invalid in [0, 50] {
        println!("{}", if invalid == 0 { "no invalid records" } else { "2 % invalid records" });
        for num_rows in [1, 1024, 8192, 50_000] {
            let rows = some_calls(num_rows, invalid);
            let (mut batches, mut emitted, started) = (0_u64, 0, Instant::now());
            while started.elapsed() < Duration::from_secs(1) {
                emitted = plan.apply(&rows, 1_700_000_000_000_000 + batches as i64)?.rows.len();
                batches += 1;
            }
            let per_batch = started.elapsed().as_secs_f64() / batches as f64;
            println!(
                "  {num_rows:6} rows  {:9.1} µs a batch  {:11.0} rows/s  ({emitted} emitted)",
                per_batch * 1e6,
                num_rows as f64 / per_batch
            );
        }
    }
    Ok(())
}
