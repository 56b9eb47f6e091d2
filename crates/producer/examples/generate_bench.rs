//! How fast one core generates call records and encodes them, without Kafka.
//!
//! `cargo run -p weir-producer --example generate_bench [RECORDS]`

use std::path::Path;
use std::time::{Duration, Instant};
use weir_codec::{Encoder, Schema};
use weir_model::pipeline::Synthetic as Config;
use weir_producer::source::{Limit, Source, synthetic::Synthetic};

const BATCH: usize = 50_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records = std::env::args().nth(1).map_or(Ok(5_000_000), |text| text.parse::<u64>())?;
    let schema = Schema::load(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/telecom/call.avsc"),
    )?;
    let config = Config {
        generator: "call_records".into(),
        rate: 0,
        records,
        seed: 42,
        partitions: 1,
        invalid_share: 0.02,
        invalid_kinds: Vec::new(),
    };
    let source = Synthetic::new(&config, &schema).map_err(|mistakes| format!("{mistakes:?}"))?;
    let mut reader = source.open(0, None)?;
    let mut encoder = Encoder::new(&schema, 1)?;
    let (mut generating, mut encoding, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
    loop {
        let started = Instant::now();
        let chunk = reader.read(Limit { records: BATCH, bytes: usize::MAX })?;
        let generated = Instant::now();
        let encoded = encoder.encode(&chunk.batch)?;
        encoding += generated.elapsed();
        generating += generated - started;
        bytes += (0..encoded.len()).map(|row| encoded.get(row).len()).sum::<usize>();
        if chunk.end {
            break;
        }
    }
    let line = |what: &str, time: Duration| {
        let each = time.as_nanos() as f64 / records as f64;
        println!("{what:<9} {:>11.0} records/s {each:>7.1} ns each", 1e9 / each);
    };
    println!("{records} records of {:.1} bytes", bytes as f64 / records as f64);
    line("generate", generating);
    line("encode", encoding);
    line("together", generating + encoding);
    Ok(())
}
