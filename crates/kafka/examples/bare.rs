//! The floors of the benchmarks: what librdkafka alone does with the same bytes, in transactions of
//! the same size. Nothing of weir's.
//!
//! ```text
//! bare fill    BROKERS TOPIC COUNT BYTES BATCH   writes COUNT records of BYTES arbitrary bytes
//! bare produce BROKERS FROM TO COUNT BATCH       writes up to 200,000 records of FROM repeatedly
//! bare pass    BROKERS FROM TO COUNT BATCH       consumes FROM and writes the same to TO
//! bare read    BROKERS FROM COUNT                consumes only
//! ```
//!
//! BATCH is the number of records in a transaction. Target topics are created when missing, with as
//! many partitions as FROM, or 3. Prints one line of JSON: {"records", "seconds", "cpu_seconds",
//! "max_rss"}, the last in bytes.

use anyhow::{Context, Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use weir_kafka::admin;
use weir_model::pipeline::Kafka;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const SAMPLE: usize = 200_000;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (records, seconds, cpu) = match args[..] {
        ["fill", brokers, topic, count, bytes, batch] => {
            create(brokers, topic, 3)?;
            let samples = arbitrary(bytes.parse()?);
            measured(|| produce(brokers, topic, &samples, count.parse()?, batch.parse()?))?
        }
        ["produce", brokers, from, to, count, batch] => {
            create_like(brokers, from, to)?;
            let samples = sample(brokers, from)?;
            measured(|| produce(brokers, to, &samples, count.parse()?, batch.parse()?))?
        }
        ["pass", brokers, from, to, count, batch] => {
            create_like(brokers, from, to)?;
            measured(|| pass(brokers, from, to, count.parse()?, batch.parse()?))?
        }
        ["read", brokers, from, count] => measured(|| read(brokers, from, count.parse()?))?,
        _ => {
            bail!("usage: bare fill|produce|pass|read BROKERS …; see the head of examples/bare.rs")
        }
    };
    let report = serde_json::json!({
        "records": records,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "max_rss": max_rss()?,
    });
    println!("{report}");
    Ok(())
}

fn create_like(brokers: &str, from: &str, to: &str) -> Result<()> {
    let partitions =
        admin::partitions(&kafka(brokers), from)?.with_context(|| format!("no topic {from}"))?;
    create(brokers, to, partitions.len() as i32)
}

/// The one thing that is taken from weir, and not measured.
fn create(brokers: &str, topic: &str, partitions: i32) -> Result<()> {
    let topic = admin::Topic {
        key: "output.topic",
        name: topic.into(),
        partitions,
        keep: admin::CleanupPolicy::Forever,
    };
    let mistakes = admin::ensure(&kafka(brokers), &[topic])?;
    anyhow::ensure!(mistakes.is_empty(), "{}", mistakes[0].what);
    Ok(())
}

fn kafka(brokers: &str) -> Kafka {
    let (session_timeout, transaction_timeout) = (REQUEST_TIMEOUT, REQUEST_TIMEOUT);
    Kafka {
        brokers: brokers.into(),
        properties: BTreeMap::new(),
        replication: 1,
        session_timeout,
        transaction_timeout,
    }
}

struct Sample {
    partition: i32,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

fn arbitrary(bytes: usize) -> Vec<Sample> {
    // A multiplicative generator: compresses about as badly as names and numbers do when half of
    // its bits are kept.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'a' + ((state >> 60) as u8)
    };
    (0..10_000)
        .map(|i| Sample {
            partition: i % 3,
            key: Some((0..12).map(|_| byte()).collect()),
            value: (0..bytes).map(|_| byte()).collect(),
        })
        .collect()
}

fn sample(brokers: &str, from: &str) -> Result<Vec<Sample>> {
    let consumer = consumer(brokers, from)?;
    let mut samples = Vec::new();
    let mut open = assigned(&consumer)?;
    while open > 0 && samples.len() < SAMPLE {
        match consumer.poll(REQUEST_TIMEOUT).context("no record came")? {
            Ok(m) => samples.push(Sample {
                partition: m.partition(),
                key: m.key().map(<[u8]>::to_vec),
                value: m.payload().unwrap_or_default().to_vec(),
            }),
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(samples)
}

fn produce(brokers: &str, to: &str, samples: &[Sample], count: u64, batch: u64) -> Result<u64> {
    let producer = producer(brokers)?;
    let mut written = 0;
    while written < count {
        producer.begin_transaction()?;
        for i in written..count.min(written + batch) {
            let sample = &samples[(i % samples.len() as u64) as usize];
            send(&producer, to, sample.partition, sample.key.as_deref(), &sample.value, None)?;
        }
        written = count.min(written + batch);
        drain(&producer);
        producer.commit_transaction(Timeout::Never)?;
    }
    Ok(written)
}

fn pass(brokers: &str, from: &str, to: &str, count: u64, batch: u64) -> Result<u64> {
    let (consumer, producer) = (consumer(brokers, from)?, producer(brokers)?);
    let (mut done, mut within) = (0, 0);
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    while done < count {
        let message = match consumer.poll(REQUEST_TIMEOUT).context("no record came")? {
            Ok(message) => message,
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        if within == 0 {
            producer.begin_transaction()?;
        }
        let (partition, time) = (message.partition(), message.timestamp().to_millis());
        send(&producer, to, partition, message.key(), message.payload().unwrap_or_default(), time)?;
        next.insert(partition, message.offset() + 1);
        done += 1;
        within += 1;
        if within == batch || done == count {
            within = 0;
            let mut offsets = TopicPartitionList::new();
            for (partition, offset) in &next {
                offsets.add_partition_offset(from, *partition, Offset::Offset(*offset))?;
            }
            drain(&producer);
            let group = consumer.group_metadata().context("no group")?;
            producer.send_offsets_to_transaction(&offsets, &group, Timeout::Never)?;
            producer.commit_transaction(Timeout::Never)?;
        }
    }
    Ok(done)
}

fn read(brokers: &str, from: &str, count: u64) -> Result<u64> {
    let consumer = consumer(brokers, from)?;
    let (mut done, mut bytes) = (0, 0);
    while done < count {
        match consumer.poll(REQUEST_TIMEOUT).context("no record came")? {
            Ok(message) => {
                bytes += message.payload_len();
                done += 1;
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::ensure!(bytes > 0, "only empty records");
    Ok(done)
}

fn send(
    producer: &BaseProducer,
    to: &str,
    partition: i32,
    key: Option<&[u8]>,
    value: &[u8],
    time: Option<i64>,
) -> Result<()> {
    let mut record = BaseRecord {
        topic: to,
        partition: Some(partition),
        payload: Some(value),
        key,
        timestamp: time,
        headers: None,
        delivery_opaque: (),
    };
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((error, back))
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
            {
                record = back;
                producer.poll(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

fn drain(producer: &BaseProducer) {
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
    }
}

/// Assigned to all partitions of the topic, from the beginning.
fn consumer(brokers: &str, topic: &str) -> Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", format!("bare.{}", std::process::id()))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.min.messages", "10000")
        .set("queued.max.messages.kbytes", "8192")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT)?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn assigned(consumer: &BaseConsumer) -> Result<usize> {
    Ok(consumer.assignment()?.count())
}

fn producer(brokers: &str) -> Result<BaseProducer> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("transactional.id", format!("bare.{}", std::process::id()))
        .set("linger.ms", "10")
        .set("batch.size", "1000000")
        .set("batch.num.messages", "20000")
        .set("compression.type", "lz4")
        .set("delivery.report.only.error", "true")
        .set("queue.buffering.max.messages", "50000")
        .set("queue.buffering.max.kbytes", "16384")
        .create()?;
    producer.init_transactions(REQUEST_TIMEOUT)?;
    Ok(producer)
}

fn measured(work: impl FnOnce() -> Result<u64>) -> Result<(u64, f64, f64)> {
    let (started, cpu) = (Instant::now(), cpu_seconds()?);
    let records = work()?;
    Ok((records, started.elapsed().as_secs_f64(), cpu_seconds()? - cpu))
}

/// User and system time of all threads, from the kernel's hundredths of a second.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("unexpected /proc/self/stat")?;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<Result<u64, _>>()?;
    Ok(ticks as f64 / 100.0)
}

fn max_rss() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .context("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
