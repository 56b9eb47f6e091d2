//! The sections that every pipeline has.

use super::names;
use super::section::Absent::{Is, Means, Refused};
use super::section::Kind::{
    Choice, Duration, File, Integer, SecretTexts, Secrets, Share, Size, Text, Texts,
};
use super::section::{Kind, list, section, table};
use super::subject::SubjectNameStrategy;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time;

/// Milliseconds.
const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

section! {
    /// At the top of the file.
    pub(super) struct Top = table(""), with [] {
        /// Part of group ids, transactional ids and of the keys of positions: never change it while
        /// the pipeline has data in flight.
        name: String = Text(names::name), Refused, "";
        /// For people.
        description: String = Text(names::any), Is(""), "";
    }
}

section! {
    /// How to reach the brokers; optional.
    pub struct Kafka = table("kafka"), with [] {
        /// Bootstrap list, `host:port,host:port`.
        brokers: String = Text(names::brokers), Is("${WEIR_KAFKA:-localhost:9092}"), "";
        /// Replication factor of the topics that weir creates.
        replication: i32 = Integer(1, 100), Is("1"), "replicas";
        /// After this long without a heartbeat an instance's partitions are assigned to others.
        session_timeout: time::Duration = Duration(SECOND, HOUR / 2), Is("10s"), "";
        /// The broker aborts a transaction that stays open for longer; until then it blocks
        /// readers.
        transaction_timeout: time::Duration = Duration(SECOND, HOUR / 4), Is("30s"), "";
        /// librdkafka settings passed through, such as `security.protocol`. Settings that delivery
        /// depends on are refused here.
        properties: BTreeMap<String, Secret> = Secrets, Means("none"), "";
    }
}

section! {
    /// The Schema Registry; optional.
    pub struct Registry = table("registry"), with [] {
        /// One or several addresses of the Schema Registry (Confluent's REST interface), tried in
        /// their order, each with its path when it has one; may carry `user:password@`.
        url: Vec<Secret> = SecretTexts(names::http_url), Is("${WEIR_REGISTRY:-http://localhost:8081}"), "";
        /// Token for bearer authentication.
        bearer_token: Option<Secret> = Kind::Secret(names::filled), Means("none"), "";
        /// Headers of every request.
        headers: BTreeMap<String, Secret> = Secrets, Means("none"), "";
        /// PEM file with the certificate authorities to trust besides the system's.
        ca_file: Option<PathBuf> = File, Means("none"), "";
    }
}

section! {
    /// Reference tables for the SQL; any number.
    pub struct Lookup = list("lookup"), with [] {
        /// The table's name in the SQL.
        name: String = Text(names::lookup), Refused, "";
        /// CSV with a header line.
        file: PathBuf = File, Refused, "";
        /// The column, or list of columns, that is unique and that joins use.
        key: Vec<String> = Texts(names::filled), Refused, "";
    }
}

section! {
    /// Rules, in order; any number.
    pub struct Reject = list("reject"), with [] {
        /// The reason in the dead letter.
        name: String = Text(names::rule), Refused, "";
        /// Boolean SQL over what `FROM` of `transform.sql` offers. The first rule that is true
        /// sends the record to the dead letters; null is not true.
        when: String = Text(names::filled), Refused, "";
    }
}

section! {
    /// What happens to each record; optional.
    pub struct Transform = table("transform"), with [] {
        /// One row in, at most one row out, or one for each element of a list with `unnest`; `LEFT JOIN`
        /// of lookups by their key; rows that `WHERE` drops are counted as filtered.
        sql: String = Text(names::filled), Is("SELECT * FROM input"), "";
    }
}

section! {
    /// Between enricher and sinks.
    pub struct Output = table("output"), with [] {
        /// What the enricher writes and the sinks read; created when missing.
        topic: String = Text(names::topic), Refused, "";
        /// Avro schema file, a record.
        schema: PathBuf = File, Refused, "";
        /// As that of `[input]`.
        subject_name_strategy: SubjectNameStrategy =
            Choice(SubjectNameStrategy::NAMES), Is("TopicNameStrategy"), "";
    }
}

section! {
    /// Where refused records go, and the breaker; optional.
    pub struct DeadLetters = table("dead_letters"), with [] {
        /// Records that were refused, with their original bytes.
        topic: String = Text(names::topic), Means("the input topic's name + `.dead-letters`"), "";
        /// A share of dead letters above this, 0.0–1.0 …
        halt_share: f64 = Share, Is("0.5"), "";
        /// … for at least this long and at least 1,000 records halts the enricher, or the sink; 1.0
        /// above never does.
        halt_after: time::Duration = Duration(SECOND, 24 * HOUR), Is("60s"), "";
    }
}

section! {
    /// How much is worked on at once; optional.
    pub struct Batch = table("batch"), with [] {
        /// At most this many in one transaction.
        records: usize = Integer(1, 10_000_000), Is("50000"), "records";
        /// At most about this many bytes of keys, values and headers in one transaction.
        bytes: usize = Size(1 << 10, 1 << 30), Is("16MiB"), "";
        /// Maximum wait before a partial batch is processed.
        linger: time::Duration = Duration(0, HOUR / 60), Is("10ms"), "";
    }
}

section! {
    /// Threads; optional.
    pub struct Workers = table("workers"), with [] {
        /// Threads per process, each a member of the group that shares the source's partitions.
        producer: usize = Integer(1, 256), Is("1"), "threads";
        /// Threads per process, each a member of the enricher's consumer group.
        enricher: usize = Integer(1, 256), Is("1"), "threads";
        /// Threads per process and sink, each a member of the sink's consumer group.
        sink: usize = Integer(1, 256), Is("1"), "threads";
    }
}
