//! Every key of a pipeline file, declared once: the reader and the reference both follow this list.

use super::names::{self, Check};

/// What a key's value is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A text that passes a check.
    Text(Check),
    /// The same; neither value nor source text is ever shown.
    Secret(Check),
    /// A file that exists, relative to the pipeline file.
    File,
    /// A whole number between two bounds.
    Integer(i64, i64),
    /// A number between 0 and 1.
    Share,
    /// Milliseconds between two bounds, written as "250ms", "5s", "2m".
    Duration(u64, u64),
    /// Bytes between two bounds, written as an integer or as "16MiB".
    Size(u64, u64),
    /// true or false.
    Flag,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// One text or a list of texts, each of which passes a check.
    Texts(Check),
    /// A table of texts: a check for its keys, one for its values.
    Map(Check, Check),
    /// The same, whose values may be secret, and whose dots need no quotes.
    Secrets,
}

/// What happens when a key is absent.
#[derive(Clone, Copy)]
pub(super) enum Absent {
    /// It is a mistake.
    Refused,
    /// The same as if this had been written.
    Is(&'static str),
    /// What the reference says about it.
    Means(&'static str),
}

/// One key.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) absent: Absent,
    /// The unit of a number; empty where the value carries it or has none.
    pub(super) unit: &'static str,
    /// One line of Markdown for the reference.
    pub(super) doc: &'static str,
}

/// One table of the file, or a list of tables.
pub(super) struct Section {
    /// As in `[name]`; empty for the top of the file.
    pub(super) name: &'static str,
    /// Written `[[name]]`: any number of them.
    pub(super) list: bool,
    /// The choice that these keys belong to: `type = "…"`.
    pub(super) variant: Option<&'static str>,
    /// One line of Markdown for the reference.
    pub(super) doc: &'static str,
    pub(super) keys: &'static [&'static Key],
}

/// All sections in the order of the reference.
pub(super) const SECTIONS: [&Section; 14] = [
    &TOP,
    &KAFKA,
    &REGISTRY,
    &SYNTHETIC,
    &FILE,
    &INPUT,
    &LOOKUP,
    &REJECT,
    &TRANSFORM,
    &OUTPUT,
    &DEAD_LETTERS,
    &POSTGRES,
    &BATCH,
    &WORKERS,
];

macro_rules! keys {
    ($($const:ident = $name:literal $kind:expr, $absent:expr, $unit:literal, $doc:literal;)*) => {
        $(pub(super) const $const: Key = Key { name: $name, kind: $kind, absent: $absent, unit: $unit, doc: $doc };)*
    };
}

use Absent::{Is, Means, Refused};
use Kind::*;

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

keys! {
    NAME = "name" Text(names::name), Refused, "", "Part of group ids, transactional ids and of the keys in weir's books: never change it while the pipeline has data in flight.";
    DESCRIPTION = "description" Text(names::any), Is(""), "", "For people.";

    BROKERS = "brokers" Text(names::brokers), Is("${WEIR_KAFKA:-localhost:9092}"), "", "Bootstrap list, `host:port,host:port`.";
    REPLICATION = "replication" Integer(1, 100), Is("1"), "replicas", "Replication factor of the topics that weir creates.";
    SESSION_TIMEOUT = "session_timeout" Duration(SECOND, HOUR / 2), Is("10s"), "", "After this long without a heartbeat an instance's partitions go to others.";
    TRANSACTION_TIMEOUT = "transaction_timeout" Duration(SECOND, HOUR / 4), Is("30s"), "", "The broker aborts a transaction that stays open for longer; until then it blocks readers.";
    PROPERTIES = "properties" Secrets, Means("none"), "", "librdkafka settings passed through, such as `security.protocol`; those that delivery depends on are weir's and refused here.";

    REGISTRY_URL = "url" Secret(names::http_url), Is("${WEIR_REGISTRY:-http://localhost:8081}"), "", "Schema Registry (Confluent's REST interface), with its path when it has one; may carry `user:password@`.";

    TYPE_SOURCE = "type" Choice(&["synthetic", "file"]), Refused, "", "Where records come from. Without `[source]` other programs fill the input topic.";
    GENERATOR = "generator" Choice(&["call_records"]), Refused, "", "Which records are made; record = f(seed, sequence).";
    RATE = "rate" Integer(0, 1_000_000_000), Is("0"), "records/s", "Over all partitions of the source; 0 = as fast as possible.";
    RECORDS = "records" Integer(0, i64::MAX), Is("0"), "records", "How many in all; 0 = for ever.";
    SEED = "seed" Integer(0, i64::MAX), Is("0"), "", "The same seed gives the same records.";
    PARTITIONS_SOURCE = "partitions" Integer(1, 1024), Is("1"), "", "Independent parts of the source, shared among the producer's workers and instances; fixed for the life of the pipeline.";
    INVALID_SHARE = "invalid_share" Share, Is("0"), "", "Share of records made invalid on purpose, 0.0–1.0.";
    INVALID_KINDS = "invalid_kinds" Texts(names::rule), Means("all kinds"), "", "Which kinds of invalid records, each equally likely.";
    PATH = "path" Text(names::filled), Refused, "", "A path or glob, relative to the pipeline file; files are read in the order of their names.";
    FORMAT = "format" Choice(&["parquet", "csv", "json"]), Means("from the name's ending"), "", "`json` is one object a line.";
    COLUMNS_SOURCE = "columns" Map(names::identifier, names::filled), Means("same names"), "", "Field of the input schema → column of the file, where the two differ by more than case and punctuation.";
    NULLS = "nulls" Texts(names::any), Means("only the empty text"), "", "Texts that mean null in CSV, besides the empty one.";

    TOPIC_INPUT = "topic" Text(names::topic), Refused, "", "What the producer writes and the enricher reads; created when missing.";
    SCHEMA = "schema" File, Refused, "", "Avro schema file, a record.";
    KEY_INPUT = "key" Text(names::filled), Means("no key"), "", "Field whose text becomes the record's key; records without one are spread evenly.";
    PARTITIONS_INPUT = "partitions" Integer(1, 100_000), Is("3"), "", "Of the input, output and dead-letter topic.";

    NAME_LOOKUP = "name" Text(names::lookup), Refused, "", "The table's name in the SQL.";
    FILE_LOOKUP = "file" File, Refused, "", "CSV with a header line.";
    KEY_LOOKUP = "key" Texts(names::filled), Refused, "", "The column, or list of columns, that is unique and that joins use.";

    NAME_REJECT = "name" Text(names::rule), Refused, "", "The reason in the dead letter.";
    WHEN = "when" Text(names::filled), Refused, "", "Boolean SQL over what `FROM` of `transform.sql` offers. The first rule that is true sends the record to the dead letters; null is not true.";

    SQL = "sql" Text(names::filled), Is("SELECT * FROM input"), "", "One row in, at most one row out; `LEFT JOIN` of lookups by their key; rows that `WHERE` drops are counted as filtered.";

    TOPIC_OUTPUT = "topic" Text(names::topic), Refused, "", "What the enricher writes and the sinks read; created when missing.";

    TOPIC_DEAD = "topic" Text(names::topic), Means("the input topic's name + `.dead-letters`"), "", "Records that were refused, with their original bytes.";
    HALT_SHARE = "halt_share" Share, Is("0.5"), "", "A share of dead letters above this, 0.0–1.0 …";
    HALT_AFTER = "halt_after" Duration(SECOND, 24 * HOUR), Is("60s"), "", "… for at least this long and at least 1,000 records halts the enricher, or the sink; 1.0 above never does.";

    NAME_SINK = "name" Text(names::name), Refused, "", "Part of the consumer group and of the books' key: never change it while the pipeline has data in flight.";
    TYPE_SINK = "type" Choice(&["postgres"]), Refused, "", "Kind of target.";
    URL_POSTGRES = "url" Secret(names::postgres_url), Is("${WEIR_POSTGRES:-postgres://weir@localhost:5432/weir}"), "", "`postgres://user:password@host:port/database`.";
    TABLE = "table" Text(names::table), Refused, "", "`schema.table`, or a table in `public`; created when missing.";
    MODE = "mode" Choice(&["append", "upsert"]), Is("append"), "", "`append`: every record is a row. `upsert`: the last record of a key is the row.";
    KEY_SINK = "key" Texts(names::identifier), Means("none; `upsert` needs it"), "", "Columns of the unique index behind `upsert`.";
    COLUMNS_SINK = "columns" Map(names::identifier, names::column_type), Means("types that follow from the Avro schema"), "", "Column → PostgreSQL type where another one is wanted, such as `varchar(50)`.";
    LINEAGE = "lineage" Flag, Is("false"), "", "Adds `weir_topic`, `weir_partition`, `weir_offset` of the input record to every row.";

    RECORDS_BATCH = "records" Integer(1, 10_000_000), Is("50000"), "records", "At most this many in one transaction.";
    BYTES = "bytes" Size(1 << 10, 1 << 30), Is("16MiB"), "", "At most about this many bytes of record values in one transaction.";
    LINGER = "linger" Duration(0, HOUR / 60), Is("10ms"), "", "How long the first record of a batch waits for company while the topic has nothing more to give.";

    PRODUCER = "producer" Integer(1, 256), Is("1"), "threads", "Threads per process, each a member of the group that shares the source's partitions.";
    ENRICHER = "enricher" Integer(1, 256), Is("1"), "threads", "Threads per process, each a member of the enricher's consumer group.";
    SINK = "sink" Integer(1, 256), Is("1"), "threads", "Threads per process and sink, each a member of the sink's consumer group.";
}

const fn section(name: &'static str, doc: &'static str, keys: &'static [&'static Key]) -> Section {
    Section { name, list: false, variant: None, doc, keys }
}

pub(super) const TOP: Section = section("", "At the top of the file.", &[&NAME, &DESCRIPTION]);
pub(super) const KAFKA: Section = section(
    "kafka",
    "How to reach the brokers; optional.",
    &[&BROKERS, &REPLICATION, &SESSION_TIMEOUT, &TRANSACTION_TIMEOUT, &PROPERTIES],
);
pub(super) const REGISTRY: Section =
    section("registry", "The Schema Registry; optional.", &[&REGISTRY_URL]);
pub(super) const SYNTHETIC: Section = Section {
    variant: Some("synthetic"),
    ..section(
        "source",
        "Generated records; optional.",
        &[
            &TYPE_SOURCE,
            &GENERATOR,
            &RATE,
            &RECORDS,
            &SEED,
            &PARTITIONS_SOURCE,
            &INVALID_SHARE,
            &INVALID_KINDS,
        ],
    )
};
pub(super) const FILE: Section = Section {
    variant: Some("file"),
    ..section(
        "source",
        "Files: Parquet, CSV or newline-delimited JSON; optional.",
        &[&TYPE_SOURCE, &PATH, &FORMAT, &RATE, &PARTITIONS_SOURCE, &COLUMNS_SOURCE, &NULLS],
    )
};
pub(super) const INPUT: Section = section(
    "input",
    "Between producer and enricher.",
    &[&TOPIC_INPUT, &SCHEMA, &KEY_INPUT, &PARTITIONS_INPUT],
);
pub(super) const LOOKUP: Section = Section {
    list: true,
    ..section(
        "lookup",
        "Reference tables for the SQL; any number.",
        &[&NAME_LOOKUP, &FILE_LOOKUP, &KEY_LOOKUP],
    )
};
pub(super) const REJECT: Section = Section {
    list: true,
    ..section("reject", "Rules, in order; any number.", &[&NAME_REJECT, &WHEN])
};
pub(super) const TRANSFORM: Section =
    section("transform", "What happens to each record; optional.", &[&SQL]);
pub(super) const OUTPUT: Section =
    section("output", "Between enricher and sinks.", &[&TOPIC_OUTPUT, &SCHEMA]);
pub(super) const DEAD_LETTERS: Section = section(
    "dead_letters",
    "Where refused records go, and the breaker; optional.",
    &[&TOPIC_DEAD, &HALT_SHARE, &HALT_AFTER],
);
pub(super) const POSTGRES: Section = Section {
    list: true,
    variant: Some("postgres"),
    ..section(
        "sink",
        "Targets; at least one.",
        &[&NAME_SINK, &TYPE_SINK, &URL_POSTGRES, &TABLE, &MODE, &KEY_SINK, &COLUMNS_SINK, &LINEAGE],
    )
};
pub(super) const BATCH: Section = section(
    "batch",
    "How much is worked on at once; optional.",
    &[&RECORDS_BATCH, &BYTES, &LINGER],
);
pub(super) const WORKERS: Section =
    section("workers", "Threads; optional.", &[&PRODUCER, &ENRICHER, &SINK]);
