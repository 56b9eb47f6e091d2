//! From a TOML document to a [`Pipeline`]: every section is read by its own declaration.

use super::Pipeline;
use super::input::Input;
use super::reader::{Reader, Table};
use super::section::{Finish, Section};
use super::sections::{
    Batch, DeadLetters, Kafka, Lookup, Output, Registry, Reject, Top, Transform, Workers,
};
use super::source::Source;
use super::spans::{Spans, line_at};
use super::target::{Sink, Target};
use crate::mistake::Mistake;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, Error};

/// All sections in the order of the reference.
pub(super) fn sections() -> Vec<&'static Section> {
    let mut sections = vec![&Top::SECTION, &Kafka::SECTION, &Registry::SECTION];
    sections.extend(Source::SECTIONS);
    sections.extend([
        &Input::SECTION,
        &Lookup::SECTION,
        &Reject::SECTION,
        &Transform::SECTION,
        &Output::SECTION,
        &DeadLetters::SECTION,
    ]);
    sections.extend(Target::SECTIONS);
    sections.extend([&Batch::SECTION, &Workers::SECTION]);
    sections
}

/// Text that is not TOML: nothing else can be checked. The source line is not shown, because it may
/// contain a secret.
pub(super) fn syntax(text: &str, errors: &[Error]) -> Vec<Mistake> {
    let mistake = |e: &Error| {
        Mistake::new("", format!("not TOML: {}", e.message()))
            .line(e.span().map(|s| line_at(text, s.start)))
    };
    errors.iter().map(mistake).collect()
}

/// The pipeline, complete only when `reader` recorded no mistakes.
pub(super) fn pipeline(
    file: &Path,
    document: &Spanned<DeTable<'_>>,
    reader: &Reader<'_>,
    spans: &Spans,
) -> Pipeline {
    let root = Table::root(reader, document.get_ref());
    let names: Vec<&str> =
        sections().into_iter().map(|section| section.name).filter(|n| !n.is_empty()).collect();
    root.only(&Top::SECTION, &names);
    let top = Top::read(&root);
    let table = required(&root, &Input::SECTION);
    let mut input = Input::read(&table);
    input.finish(&table);
    let mut dead_letters = DeadLetters::read(&root.table(&DeadLetters::SECTION));
    if dead_letters.topic.is_empty() {
        dead_letters.topic = format!("{}.dead-letters", input.topic);
    }
    Pipeline {
        file: file.to_owned(),
        name: top.name,
        description: top.description,
        kafka: Kafka::read(&root.table(&Kafka::SECTION)),
        registry: Registry::read(&root.table(&Registry::SECTION)),
        source: Source::read_from(&root),
        input,
        lookups: each(&root, &Lookup::SECTION, Lookup::read),
        rejects: each(&root, &Reject::SECTION, Reject::read),
        transform: Transform::read(&root.table(&Transform::SECTION)),
        output: Output::read(&required(&root, &Output::SECTION)),
        dead_letters,
        sinks: sinks(&root),
        batch: Batch::read(&root.table(&Batch::SECTION)),
        workers: Workers::read(&root.table(&Workers::SECTION)),
        spans: spans.clone(),
    }
}

fn required<'a>(root: &Table<'a>, section: &Section) -> Table<'a> {
    let table = root.table(section);
    if !table.present() && !root.contains(section.name) {
        root.report(section.name, format!("is missing; it must be a table [{}]", section.name));
    }
    table
}

fn each<T>(root: &Table<'_>, section: &Section, read: fn(&Table<'_>) -> T) -> Vec<T> {
    let tables = root.list(section.name);
    tables.iter().for_each(|table| table.only(section, &[]));
    tables.iter().map(read).collect()
}

fn sinks(root: &Table<'_>) -> Vec<Sink> {
    let tables = root.list(Sink::LIST);
    if tables.is_empty() && !root.contains(Sink::LIST) {
        root.report(Sink::LIST, "is missing; there must be at least one table [[sink]]");
    }
    tables.iter().filter_map(Sink::read).collect()
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
        ("partitioner", "the same key must always go to the same partition"),
        ("enable.partition.eof", "weir reads the log's end itself"),
    ];
    OWNED.iter().find(|(owned, _)| *owned == name).map(|(_, instead)| *instead)
}
