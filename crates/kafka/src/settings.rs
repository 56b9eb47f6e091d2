//! Client settings: the user's properties first, those that delivery depends on last, each with its
//! reason.

use crate::error::{Error, Result};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use std::time::Duration;
use weir_model::pipeline::Kafka;

/// Creates a client; `doing` is for the error text. The config goes no further than here, because
/// its `Debug` shows passwords.
pub(crate) fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(
    config: &ClientConfig,
    context: C,
    doing: &str,
) -> Result<T> {
    config.create_with_context(context).map_err(|e| Error::call(doing, &e))
}

/// What every client has in common: defaults that the user may change, then the user's properties,
/// then settings that they must not change.
fn base(kafka: &Kafka, defaults: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("socket.keepalive.enable", "true");
    config.set("reconnect.backoff.ms", "50");
    config.set("reconnect.backoff.max.ms", "2000");
    for (key, value) in defaults {
        config.set(*key, *value);
    }
    for (key, value) in &kafka.properties {
        config.set(key, value.expose());
    }
    config.set("bootstrap.servers", &kafka.brokers);
    // Brokers close idle connections; that is not worth a line.
    config.set("log.connection.close", "false");
    config.set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// A member of a consumer group that reads one topic from explicit positions.
pub(crate) fn member(kafka: &Kafka, group: &str, client: &str) -> ClientConfig {
    let mut config = reading(kafka);
    config.set("group.id", group);
    config.set("client.id", client);
    // Positions are decided by the position store, and committed with the data. Nobody else may
    // write them.
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    // Eager: a rebalance takes everything away first, so that what is owned is never in doubt.
    // KIP-848 would be cooperative.
    config.set("group.protocol", "classic");
    config.set("partition.assignment.strategy", "roundrobin");
    config.set("session.timeout.ms", kafka.session_timeout.as_millis().to_string());
    let heartbeat =
        (kafka.session_timeout / 4).clamp(Duration::from_millis(250), Duration::from_secs(3));
    config.set("heartbeat.interval.ms", heartbeat.as_millis().to_string());
    // A worker polls at least every few hundred milliseconds, also while it waits for a broken
    // environment: five minutes of silence is a hanging thread, and its partitions go to others. It
    // must not be below the session timeout.
    config.set("max.poll.interval.ms", kafka.session_timeout.as_millis().max(300_000).to_string());
    config
}

/// Reads without membership: audits, positions, tests.
pub(crate) fn reader(kafka: &Kafka, committed: bool) -> ClientConfig {
    let mut config = reading(kafka);
    config.set("group.id", "weir.reader");
    config.set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true");
    if !committed {
        config.set("isolation.level", "read_uncommitted");
    }
    config
}

/// Asks for a group's offsets without joining it.
pub(crate) fn group_offsets(kafka: &Kafka, group: &str) -> ClientConfig {
    let mut config = reading(kafka);
    config.set("group.id", group);
    config.set("enable.auto.commit", "false");
    config
}

/// Whatever there is, at once, and memory that stays flat under any backlog: a queued message costs
/// several times its bytes.
///
/// librdkafka decompresses a whole response before its queue's limits apply, and these count values
/// only, neither keys nor headers. So responses are small; a broker gives a whole batch, however
/// large. Less than this costs CPU and rate. What bounds a hostile topic: `deploy/README.md`.
const READING: [(&str, &str); 7] = [
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.max.bytes", "65536"),
    ("fetch.message.max.bytes", "65536"),
    // The default of a second stalls a fast reader whenever its queue was full.
    ("fetch.queue.backoff.ms", "10"),
    ("queued.min.messages", "10000"),
    ("queued.max.messages.kbytes", "8192"),
];

fn reading(kafka: &Kafka) -> ClientConfig {
    let mut config = base(kafka, &READING);
    // A limit of what is written; a reader only compares it with `fetch.max.bytes`.
    config.set("message.max.bytes", "1000");
    // An aborted transaction never happened; it also makes fetched group offsets stable ones.
    config.set("isolation.level", "read_committed");
    // A position outside the log is a loss to be named, never a silent jump.
    config.set("auto.offset.reset", "error");
    config.set("allow.auto.create.topics", "false");
    config
}

/// Large batches for throughput; the queue is short, because a full one makes `send` wait instead
/// of taking memory.
const WRITING: [(&str, &str); 6] = [
    ("linger.ms", "10"),
    ("batch.size", "1000000"),
    ("batch.num.messages", "20000"),
    ("compression.type", "lz4"),
    ("queue.buffering.max.messages", "50000"),
    ("queue.buffering.max.kbytes", "16384"),
];

/// How long a producer waits before it repeats a request: long enough to tell a repeated one from a
/// slow one.
pub(crate) const RETRY_BACKOFF: Duration = Duration::from_millis(400);

/// A transactional producer, whose topics take batches of `most` bytes.
pub(crate) fn transactional_producer(
    kafka: &Kafka,
    transactional_id: &str,
    most: Option<usize>,
) -> ClientConfig {
    let mut config = base(kafka, &WRITING);
    let batch = config.get("batch.size").and_then(|size| size.parse::<usize>().ok());
    // The broker refuses a batch that is too large, however small its records are.
    if let Some(most) = most.filter(|most| batch.is_none_or(|batch| *most < batch)) {
        config.set("batch.size", most.max(1).to_string());
    }
    // Implies idempotence, acks=all and unlimited retries.
    config.set("transactional.id", transactional_id);
    config.set("client.id", transactional_id);
    config.set("transaction.timeout.ms", kafka.transaction_timeout.as_millis().to_string());
    // Java's hash, so that other programs find a key's partition where they expect it.
    config.set("partitioner", "murmur2_random");
    // A repeated request is recognised by its duration: see
    // `transactional_producer::verdict::CallTiming`.
    config.set("retry.backoff.ms", RETRY_BACKOFF.as_millis().to_string());
    // Only failures are of interest; a report for each record would cost as much as sending it.
    config.set("delivery.report.only.error", "true");
    config
}

/// Topics and cluster metadata.
pub(crate) fn admin(kafka: &Kafka) -> ClientConfig {
    base(kafka, &[])
}

/// librdkafka's log lines, handed to tracing. What an operator must act on surfaces as errors of
/// calls, so these stay low.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "librdkafka reports a failure");
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::debug!(facility, message, "librdkafka reports a problem")
        }
        _ => tracing::trace!(facility, message, "librdkafka log line"),
    }
}

/// librdkafka's client-wide errors: lost connections mostly, which it repairs by itself.
pub(crate) fn error(error: &KafkaError, reason: &str) {
    tracing::debug!(%error, reason, "librdkafka reports a client error");
}

/// A context that only logs.
pub(crate) struct LoggingContext;

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, e: KafkaError, reason: &str) {
        error(&e, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for LoggingContext {}
