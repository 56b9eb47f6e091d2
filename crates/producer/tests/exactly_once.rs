//! The promise of the producer, against a real Kafka: what is in the input topic is what the source
//! holds, each record once.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

#[path = "support/running.rs"]
mod running;
#[path = "support/pipeline.rs"]
mod support;

use running::{LONG, Rows, Running, rows};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use weir_codec::{Registry, Schema};
use weir_kafka::positions::{self, Position};
use weir_kafka::reader::Span;
use weir_kafka::{Outgoing, ReceivedDeadLetter, TransactionalProducer, admin, proof, scan};
use weir_model::pipeline::{Pipeline, Source};
use weir_model::protocol::Outcome;
use weir_producer::Error;
use weir_producer::synthetic::Oracle;
use weir_testkit::{Stack, wait_until};

/// A pipeline of its own in the shared stack.
fn pipeline(source: &str, input: &str) -> Arc<Pipeline> {
    support::pipeline(Stack::shared(), source, input)
}

fn calls(records: u64, partitions: u32, rate: u64) -> Arc<Pipeline> {
    let source = format!(
        "type = \"synthetic\"\ngenerator = \"call_records\"\nseed = 7\nrecords = {records}\n\
         partitions = {partitions}\nrate = {rate}\ninvalid_share = 0.05"
    );
    pipeline(&source, "schema = \"call.avsc\"\nkey = \"caller_id\"\npartitions = 3")
}

/// What must be in the topic: the oracle's records.
fn expected(pipeline: &Pipeline) -> Rows {
    let schema = Schema::load(&pipeline.input.schema).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registry = Registry::new(&pipeline.registry).unwrap();
    let id = runtime.block_on(registry.latest(&pipeline.input_subject(""))).unwrap().unwrap().id;
    let Some(Source::Synthetic(config)) = &pipeline.source else {
        panic!("not a synthetic source")
    };
    let oracle = Oracle::new(config, &schema, id).unwrap();
    let mut rows: Rows = (0..config.records)
        .map(|sequence| oracle.expect(sequence))
        .map(|expected| (Some(expected.record.caller_id.into_bytes()), expected.payload))
        .collect();
    rows.sort();
    rows
}

fn assert_exact(pipeline: &Pipeline) {
    let (found, expected) = (rows(pipeline, &pipeline.input.topic), expected(pipeline));
    assert_eq!(found.len(), expected.len(), "records in the topic");
    assert!(found == expected, "the records differ from the oracle's");
}

/// The counts of all source partitions.
fn counts(pipeline: &Pipeline) -> BTreeMap<u32, Position> {
    let source = pipeline.source.as_ref().unwrap();
    let all: Vec<_> = (0..source.partitions()).collect();
    positions::read(&pipeline.kafka, &pipeline.name, source.kind(), &all).unwrap()
}

#[test]
fn every_record_arrives_once_and_the_counts_agree() {
    let pipeline = calls(60_000, 3, 0);
    Running::start(&pipeline, true).end().unwrap();
    assert_exact(&pipeline);
    let counts = counts(&pipeline);
    assert_eq!(counts.len(), 3);
    assert!(
        counts
            .values()
            .all(|b| b.progress.counters.read == 20_000 && b.progress.counters.written == 20_000),
        "{counts:?}"
    );
}

#[test]
fn a_producer_that_is_stopped_again_and_again_neither_loses_nor_repeats() {
    let pipeline = calls(150_000, 2, 20_000);
    for _ in 0..4 {
        let running = Running::start(&pipeline, true);
        wait_until("some records", LONG, || {
            (running.written() > 4_000 || running.thread.is_finished()).then_some(())
        });
        running.stop();
    }
    Running::start(&pipeline, true).end().unwrap();
    assert_exact(&pipeline);
}

/// However the topic of positions came to forget: a producer that finds its own records in the
/// input topic does not begin.
#[test]
fn a_position_that_was_forgotten_is_no_beginning() {
    let pipeline = calls(3_000, 2, 0);
    Running::start(&pipeline, true).end().unwrap();
    assert_exact(&pipeline);
    forget(&pipeline, 1);
    let running = Running::start(&pipeline, false);
    // The machine asks a second time before it halts.
    wait_until("a second look, and the end of the other partition", LONG, || {
        let asked = running.metric("weir_producer_reinitializations_total") >= 1.0;
        (asked && running.metric("weir_source_partitions_done") >= 1.0).then_some(())
    });
    running.stop();
    assert_exact(&pipeline);
    let found = proof::producers(&pipeline, "synthetic", 3).unwrap();
    assert_eq!((found.contains(&1), found.contains(&2)), (true, false));
    // Another pipeline's records in the same topic are none of its own.
    let mut other = Pipeline::clone(&pipeline);
    other.name = weir_testkit::random_name("other");
    Running::start(&Arc::new(other), true).end().unwrap();
    assert_eq!(rows(&pipeline, &pipeline.input.topic).len(), 2 * expected(&pipeline).len());
}

/// Deletes the position of a source partition.
fn forget(pipeline: &Pipeline, source_partition: u32) {
    let id = weir_testkit::random_name("forget");
    let mut producer = TransactionalProducer::open(&pipeline.kafka, &id).unwrap();
    let key = positions::key(&pipeline.name, "synthetic", source_partition);
    producer.begin().unwrap();
    let tombstone = Outgoing {
        topic: positions::TOPIC,
        partition: Some(positions::partition(source_partition)),
        key: Some(key.as_bytes()),
        value: None,
        timestamp_ms: None,
        headers: &[],
    };
    producer.send(&tombstone).unwrap();
    assert_eq!(producer.commit(None), Outcome::Committed);
}

#[test]
fn two_producers_share_the_partitions_and_one_takes_over_all() {
    let pipeline = calls(200_000, 4, 20_000);
    let (first, second) = (Running::start(&pipeline, true), Running::start(&pipeline, true));
    wait_until("both to write", LONG, || {
        (first.written() > 1_000 && second.written() > 1_000).then_some(())
    });
    assert_eq!(first.metric("weir_source_partitions_owned"), 2.0);
    first.stop();
    second.end().unwrap();
    assert_exact(&pipeline);
}

#[test]
fn a_fenced_zombie_writes_nothing_that_counts() {
    let pipeline = calls(30_000, 1, 0);
    assert!(admin::ensure(&pipeline.kafka, &admin::topics(&pipeline)).unwrap().is_empty());
    let id = format!("{}.0", pipeline.producer_group());
    let mut zombie = TransactionalProducer::open(&pipeline.kafka, &id).unwrap();
    zombie.begin().unwrap();
    let record = Outgoing {
        topic: &pipeline.input.topic,
        partition: Some(0),
        key: None,
        value: Some(b"from a zombie"),
        timestamp_ms: None,
        headers: &[],
    };
    zombie.send(&record).unwrap();
    Running::start(&pipeline, true).end().unwrap();
    assert_ne!(zombie.commit(None), Outcome::Committed);
    assert_exact(&pipeline);
}

#[test]
fn a_producer_that_is_fenced_while_it_works_continues_from_the_committed_position() {
    let pipeline = calls(200_000, 1, 15_000);
    let running = Running::start(&pipeline, true);
    for (num_fenced, more) in [(1.0, 10_000), (2.0, 25_000), (3.0, 40_000)] {
        wait_until("some records", LONG, || (running.written() > more).then_some(()));
        let id = format!("{}.0", pipeline.producer_group());
        drop(TransactionalProducer::open(&pipeline.kafka, &id).unwrap());
        // Two of them before the producer notices would be one for it.
        wait_until("the reinitialization", LONG, || {
            let reinitializations = running.metric("weir_producer_reinitializations_total");
            (reinitializations >= num_fenced).then_some(())
        });
    }
    running.end().unwrap();
    assert_exact(&pipeline);
}

#[test]
fn malformed_lines_are_dead_letters_in_the_same_transaction() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("flight.avsc"), FLIGHT).unwrap();
    std::fs::write(
        folder.path().join("a.csv"),
        "Code,Miles (stat.)\nAA,12\nBB,twelve\nCC,7,8\n\"D\"\"D\",9\n",
    )
    .unwrap();
    let source = format!("type = \"file\"\npath = \"{}/*.csv\"", folder.path().display());
    let input = format!(
        "schema = \"{}/flight.avsc\"\nkey = \"code\"\npartitions = 3",
        folder.path().display()
    );
    let pipeline = pipeline(&source, &input);
    Running::start(&pipeline, true).end().unwrap();
    let keys: Vec<_> = rows(&pipeline, &pipeline.input.topic)
        .into_iter()
        .map(|(key, _)| String::from_utf8(key.unwrap()).unwrap())
        .collect();
    assert_eq!(keys, ["AA", "D\"D"]);
    let mut dead_letters = Vec::new();
    let spans: Vec<_> = (0..3).map(Span::all).collect();
    scan(&pipeline.kafka, &pipeline.dead_letters.topic, &spans, |record| {
        dead_letters
            .push((ReceivedDeadLetter::read(record).unwrap(), record.value().unwrap().to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    let said: Vec<_> = dead_letters
        .iter()
        .map(|(l, value)| (l.reason.as_str(), l.offset, value.as_slice()))
        .collect();
    assert_eq!(
        said,
        [("value_does_not_fit", 3, &b"BB,twelve"[..]), ("malformed_line", 4, &b"CC,7,8"[..])]
    );
    assert_eq!(
        dead_letters[0].0.detail,
        "a.csv line 3, column `Miles (stat.)`: `twelve` is not a whole number"
    );
    let counters = counts(&pipeline)[&0].progress.counters;
    assert_eq!((counters.read, counters.written, counters.dead), (4, 2, 2));
}

#[test]
fn a_record_that_is_too_large_for_the_broker_is_a_dead_letter_and_its_neighbours_are_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("flight.avsc"), FLIGHT).unwrap();
    let long = "x".repeat(1_020_000);
    std::fs::write(folder.path().join("a.csv"), format!("code,miles stat\nAA,1\n{long},2\nCC,3\n"))
        .unwrap();
    let source = format!("type = \"file\"\npath = \"{}/*.csv\"", folder.path().display());
    let input = format!("schema = \"{}/flight.avsc\"\npartitions = 1", folder.path().display());
    let pipeline = pipeline(&source, &input);
    Running::start(&pipeline, true).end().unwrap();
    assert_eq!(rows(&pipeline, &pipeline.input.topic).len(), 2);
    let mut dead_letters = Vec::new();
    scan(&pipeline.kafka, &pipeline.dead_letters.topic, &[Span::all(0)], |record| {
        dead_letters.push(ReceivedDeadLetter::read(record).unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(
        (dead_letters.len(), dead_letters[0].reason.as_str(), dead_letters[0].offset),
        (1, "record_too_large", 3)
    );
    assert!(dead_letters[0].truncated.unwrap() > 1_020_000);
}

const FLIGHT: &str = r#"{"type":"record","name":"Flight","fields":[
    {"name":"code","type":"string"},
    {"name":"miles_stat","type":"int"}]}"#;

#[test]
fn a_broken_pipeline_does_not_start_and_names_every_mistake() {
    let pipeline = pipeline(
        "type = \"synthetic\"\ngenerator = \"call_records\"\ninvalid_kinds = [\"none_such\"]",
        "schema = \"call.avsc\"\nkey = \"caller\"\npartitions = 3",
    );
    let error = Running::start(&pipeline, true).end().unwrap_err();
    assert!(matches!(error, Error::Configuration(_)));
    let text = error.to_string();
    assert!(
        text.contains("2 mistakes")
            && text.contains("none_such")
            && text.contains("no field `caller`"),
        "{text}"
    );
}
