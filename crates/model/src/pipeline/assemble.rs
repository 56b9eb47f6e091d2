//! From a TOML document to a [`Pipeline`]: one function per section.

use super::keys::{self, SECTIONS};
use super::places::{Places, line_at};
use super::reader::{Reader, Table};
use super::{
    Batch, DeadLetters, FileFormat, FileSource, Input, Kafka, Lookup, Mode, Output, Pipeline,
    Postgres, Registry, Reject, Sink, Source, Synthetic, Target, Transform, Workers, names,
};
use crate::mistake::Mistake;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, Error};

/// Text that is not TOML: nothing else can be said about it. The source line is not shown, it may
/// hold a secret.
pub(super) fn syntax(text: &str, errors: &[Error]) -> Vec<Mistake> {
    let mistake = |e: &Error| {
        Mistake::new("", format!("not TOML: {}", e.message()))
            .line(e.span().map(|s| line_at(text, s.start)))
    };
    errors.iter().map(mistake).collect()
}

/// The pipeline, complete only when `reader` took down no mistakes.
pub(super) fn pipeline(
    file: &Path,
    document: &Spanned<DeTable<'_>>,
    reader: &Reader<'_>,
    places: &Places,
) -> Pipeline {
    let root = Table::root(reader, document.get_ref());
    let sections: Vec<&str> = SECTIONS.iter().map(|s| s.name).filter(|n| !n.is_empty()).collect();
    root.only(&keys::TOP, &sections);
    let input = input(&root);
    Pipeline {
        file: file.to_owned(),
        name: root.text(&keys::NAME),
        description: root.text(&keys::DESCRIPTION),
        kafka: kafka(&root),
        registry: registry(&root),
        source: source(&root),
        lookups: root.list(keys::LOOKUP.name).iter().map(lookup).collect(),
        rejects: root.list(keys::REJECT.name).iter().map(reject).collect(),
        transform: transform(&root),
        output: output(&root),
        dead_letters: dead_letters(&root, &input),
        sinks: sinks(&root),
        batch: batch(&root),
        workers: workers(&root),
        input,
        places: places.clone(),
    }
}

fn required<'a>(root: &Table<'a>, section: &keys::Section) -> Table<'a> {
    let table = root.table(section);
    if !table.present() && !root.contains(section.name) {
        root.report(section.name, format!("is missing; a table [{}] is wanted", section.name));
    }
    table
}

fn kafka(root: &Table<'_>) -> Kafka {
    let table = root.table(&keys::KAFKA);
    Kafka {
        brokers: table.text(&keys::BROKERS),
        properties: table.secrets(&keys::PROPERTIES),
        replication: int(table.integer(&keys::REPLICATION)),
        session_timeout: table.duration(&keys::SESSION_TIMEOUT),
        transaction_timeout: table.duration(&keys::TRANSACTION_TIMEOUT),
    }
}

fn registry(root: &Table<'_>) -> Registry {
    Registry { url: root.table(&keys::REGISTRY).secret(&keys::REGISTRY_URL) }
}

fn source(root: &Table<'_>) -> Option<Source> {
    let table = root.subtable(keys::SYNTHETIC.name);
    if !table.present() {
        return None;
    }
    match table.text(&keys::TYPE_SOURCE).as_str() {
        "synthetic" => {
            table.only(&keys::SYNTHETIC, &[]);
            Some(Source::Synthetic(synthetic(&table)))
        }
        "file" => {
            table.only(&keys::FILE, &[]);
            Some(Source::File(file_source(&table)))
        }
        // the type is a mistake of its own; which keys belong here cannot be known
        _ => None,
    }
}

fn synthetic(table: &Table<'_>) -> Synthetic {
    Synthetic {
        generator: table.text(&keys::GENERATOR),
        rate: natural(table.integer(&keys::RATE)),
        records: natural(table.integer(&keys::RECORDS)),
        seed: natural(table.integer(&keys::SEED)),
        partitions: int(table.integer(&keys::PARTITIONS_SOURCE)),
        invalid_share: table.share(&keys::INVALID_SHARE),
        invalid_kinds: table.texts(&keys::INVALID_KINDS),
    }
}

fn file_source(table: &Table<'_>) -> FileSource {
    let path = table.text(&keys::PATH);
    let format = table.maybe_text(&keys::FORMAT).and_then(|f| format_of(&f));
    if format.is_none()
        && !path.is_empty()
        && !table.has(&keys::FORMAT)
        && format_of(path.rsplit('.').next().unwrap_or("")).is_none()
    {
        table.report(
            keys::FORMAT.name,
            "is missing, and the path does not end in .parquet, .csv, .json, .jsonl or .ndjson",
        );
    }
    let path = if path.is_empty() {
        path
    } else {
        table.folder().join(path).to_string_lossy().into_owned()
    };
    FileSource {
        path,
        format,
        rate: natural(table.integer(&keys::RATE)),
        partitions: int(table.integer(&keys::PARTITIONS_SOURCE)),
        columns: table.map(&keys::COLUMNS_SOURCE),
        nulls: table.texts(&keys::NULLS),
    }
}

/// The format that a name or a file name's ending stands for.
fn format_of(name: &str) -> Option<FileFormat> {
    match name {
        "parquet" => Some(FileFormat::Parquet),
        "csv" => Some(FileFormat::Csv),
        "json" | "jsonl" | "ndjson" => Some(FileFormat::Json),
        _ => None,
    }
}

fn input(root: &Table<'_>) -> Input {
    let table = required(root, &keys::INPUT);
    Input {
        topic: table.text(&keys::TOPIC_INPUT),
        schema: table.file(&keys::SCHEMA),
        key: table.maybe_text(&keys::KEY_INPUT),
        partitions: int(table.integer(&keys::PARTITIONS_INPUT)),
    }
}

fn lookup(table: &Table<'_>) -> Lookup {
    table.only(&keys::LOOKUP, &[]);
    Lookup {
        name: table.text(&keys::NAME_LOOKUP),
        file: table.file(&keys::FILE_LOOKUP),
        key: table.texts(&keys::KEY_LOOKUP),
    }
}

fn reject(table: &Table<'_>) -> Reject {
    table.only(&keys::REJECT, &[]);
    Reject { name: table.text(&keys::NAME_REJECT), when: table.text(&keys::WHEN) }
}

fn transform(root: &Table<'_>) -> Transform {
    Transform { sql: root.table(&keys::TRANSFORM).text(&keys::SQL) }
}

fn output(root: &Table<'_>) -> Output {
    let table = required(root, &keys::OUTPUT);
    Output { topic: table.text(&keys::TOPIC_OUTPUT), schema: table.file(&keys::SCHEMA) }
}

fn dead_letters(root: &Table<'_>, input: &Input) -> DeadLetters {
    let table = root.table(&keys::DEAD_LETTERS);
    DeadLetters {
        topic: table
            .maybe_text(&keys::TOPIC_DEAD)
            .unwrap_or_else(|| format!("{}.dead-letters", input.topic)),
        halt_share: table.share(&keys::HALT_SHARE),
        halt_after: table.duration(&keys::HALT_AFTER),
    }
}

fn sinks(root: &Table<'_>) -> Vec<Sink> {
    let tables = root.list(keys::POSTGRES.name);
    if tables.is_empty() && !root.contains(keys::POSTGRES.name) {
        root.report(keys::POSTGRES.name, "is missing; at least one table [[sink]] is wanted");
    }
    tables.iter().map(sink).collect()
}

fn sink(table: &Table<'_>) -> Sink {
    table.only(&keys::POSTGRES, &[]);
    // `postgres` is the only choice so far; another one is already taken down as a mistake
    table.text(&keys::TYPE_SINK);
    Sink { name: table.text(&keys::NAME_SINK), target: Target::Postgres(postgres(table)) }
}

fn postgres(table: &Table<'_>) -> Postgres {
    let named = table.text(&keys::TABLE);
    let (schema, name) = names::split_table(&named);
    Postgres {
        url: table.secret(&keys::URL_POSTGRES),
        schema: schema.to_owned(),
        table: name.to_owned(),
        mode: mode(table),
        columns: table.map(&keys::COLUMNS_SINK),
        lineage: table.flag(&keys::LINEAGE),
    }
}

fn mode(table: &Table<'_>) -> Mode {
    let key = table.texts(&keys::KEY_SINK);
    match table.text(&keys::MODE).as_str() {
        "upsert" => {
            if key.is_empty() && !table.has(&keys::KEY_SINK) {
                table.report(
                    keys::KEY_SINK.name,
                    "is missing; mode = \"upsert\" needs the columns of a unique index",
                );
            }
            Mode::Upsert { key }
        }
        "append" => {
            if table.has(&keys::KEY_SINK) {
                table.report(
                    keys::KEY_SINK.name,
                    "belongs to mode = \"upsert\"; with \"append\" every record is a row",
                );
            }
            Mode::Append
        }
        _ => Mode::Append,
    }
}

fn batch(root: &Table<'_>) -> Batch {
    let table = root.table(&keys::BATCH);
    Batch {
        records: usize::try_from(table.integer(&keys::RECORDS_BATCH)).unwrap_or_default(),
        bytes: table.size(&keys::BYTES),
        linger: table.duration(&keys::LINGER),
    }
}

fn workers(root: &Table<'_>) -> Workers {
    let table = root.table(&keys::WORKERS);
    let count = |key| usize::try_from(table.integer(key)).unwrap_or_default();
    Workers {
        producer: count(&keys::PRODUCER),
        enricher: count(&keys::ENRICHER),
        sink: count(&keys::SINK),
    }
}

/// The bounds are checked; a number outside is already a mistake and of no further use.
fn int<T: TryFrom<i64> + Default>(number: i64) -> T {
    T::try_from(number).unwrap_or_default()
}

fn natural(number: i64) -> u64 {
    int(number)
}

/// Librdkafka settings that a pipeline file must not touch, with what to use instead.
pub(super) fn owned_property(name: &str) -> Option<&'static str> {
    const OWNED: [(&str, &str); 16] = [
        ("bootstrap.servers", "use kafka.brokers"),
        ("metadata.broker.list", "use kafka.brokers"),
        ("session.timeout.ms", "use kafka.session_timeout"),
        ("transaction.timeout.ms", "use kafka.transaction_timeout"),
        ("group.id", "it follows from the pipeline's name"),
        ("group.instance.id", "it would let a zombie keep its partitions"),
        ("transactional.id", "it follows from the pipeline's name and WEIR_INSTANCE"),
        ("enable.auto.commit", "positions are committed with the data"),
        ("enable.auto.offset.store", "positions are committed with the data"),
        ("auto.offset.reset", "a position outside the log must halt, not jump"),
        ("isolation.level", "records of aborted transactions must stay unseen"),
        ("enable.idempotence", "it is what keeps records from doubling"),
        ("acks", "a record counts when all replicas have it"),
        ("partition.assignment.strategy", "partitions are handed over all at once"),
        ("partitioner", "the same key must go to the same partition for ever"),
        ("enable.partition.eof", "weir reads the log's end itself"),
    ];
    OWNED.iter().find(|(owned, _)| *owned == name).map(|(_, instead)| *instead)
}
