//! Records that are gone from a log halt the partition and fail the audit until an operator accepts
//! the loss; then everything continues and adds up.
#![allow(clippy::unwrap_used)]

use std::time::Duration;
use weir_e2e::{Flow, Settings};
use weir_kafka::positions;
use weir_testkit::topics::Record;
use weir_testkit::{Service, Stack, wait_until};

const SOON: Duration = Duration::from_secs(30);
const REASON: &str = "kept too short";

fn flow(invalid_share: f64) -> Flow {
    let settings =
        Settings { records: 3_000, invalid_share, batch: 500, seed: 11, ..Settings::default() };
    let flow = Flow::new(Stack::shared(), &settings).unwrap();
    run(&flow, 3_000);
    flow
}

/// All services in one process, until all records of the source have arrived; the exit code is the
/// audit's.
fn run(flow: &Flow, records: u64) -> String {
    let file = flow.file().to_string_lossy();
    flow.weir(&["run", &file, "--until-done", "--rate", "0", "--records", &records.to_string()])
        .unwrap()
}

/// Runs the producer alone up to `records` in total, until the topic contains `there` of them.
fn produce(flow: &Flow, records: u64, there: u64) {
    let text = std::fs::read_to_string(flow.file()).unwrap();
    std::fs::write(
        flow.file(),
        text.replace("records = 3000\n", &format!("records = {records}\n")),
    )
    .unwrap();
    let producer = start(flow, "weir-producer");
    wait_until("the producer", SOON, || {
        (flow.topics.count(&flow.pipeline.input.topic).ok()? >= there).then_some(())
    });
    assert!(producer.stop().unwrap().success());
}

fn start(flow: &Flow, service: &str) -> Service {
    flow.program(service, 0).start().unwrap()
}

fn weir(flow: &Flow, command: &str, options: &[&str]) -> Result<String, String> {
    let file = flow.file().to_string_lossy().into_owned();
    flow.weir(&[&[command, &file], options].concat()).map_err(|error| error.to_string())
}

/// Removes the first half of the records of a partition that a reader at `next` has not read;
/// returns where the log begins then and how many records were removed.
fn lose(flow: &Flow, topic: &str, partition: i32, next: i64) -> (i64, usize, usize) {
    let records = flow.topics.read(topic).unwrap();
    let unread: Vec<i64> = records
        .iter()
        .filter(|r| r.partition == partition && r.offset >= next)
        .map(|r| r.offset)
        .collect();
    let lost = unread.len() / 2;
    assert!(lost > 10, "there is something to lose");
    flow.topics.delete_records(topic, partition, unread[lost]).unwrap();
    (unread[lost], lost, unread.len())
}

fn halts(service: &Service, text: &str) {
    wait_until(text, SOON, || {
        service
            .get("/ready")
            .ok()
            .filter(|answer| answer.status != 200 && answer.body.contains(text))
    });
    assert!(service.get("/ready").unwrap().body.contains("weir skip FILE"));
}

/// Nothing is accepted while the reader is running; afterwards it is, and then the command shows no
/// gap.
fn accept(flow: &Flow, service: Service) -> String {
    let accept = ["--accept", "--reason", REASON];
    let refused = weir(flow, "skip", &accept).unwrap_err();
    assert!(refused.contains("still has running members"), "{refused}");
    assert!(service.stop().unwrap().success());
    let text = weir(flow, "skip", &accept).unwrap();
    assert!(weir(flow, "skip", &[]).unwrap().contains("no position is outside its log"));
    text
}

fn contains(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in\n{text}"));
}

/// `--deep` finds nothing wrong, with this many records given up.
fn adds_up(flow: &Flow, given_up: usize) {
    let audit = weir(flow, "audit", &["--deep", "--json"]).unwrap();
    let audit: serde_json::Value = serde_json::from_str(&audit).unwrap();
    let losses = audit["accepted_losses"].as_array().unwrap();
    assert_eq!(
        losses.iter().map(|loss| loss["records"].as_u64().unwrap()).sum::<u64>(),
        given_up as u64,
        "{audit}"
    );
    assert!(audit["clean"] == true && !losses.is_empty(), "{audit}");
}

#[test]
fn lost_records_are_skipped_only_after_an_operator_accepts_it() {
    let flow = flow(0.02);
    produce(&flow, 6_000, 6_000);
    let before_enricher = lost_before_the_enricher(&flow);
    let before_sink = lost_before_the_sink(&flow);
    let audited = run(&flow, 6_000);
    contains(&audited, &["everything is accounted for", &before_enricher.act, &before_sink.act]);
    adds_up(&flow, before_enricher.records + before_sink.records);
}

struct Loss {
    act: String,
    records: usize,
}

fn lost_before_the_enricher(flow: &Flow) -> Loss {
    let topic = &flow.pipeline.input.topic;
    let next = flow.topics.committed(&flow.pipeline.enricher_group(), topic).unwrap()[1]
        .as_ref()
        .unwrap()
        .0;
    let (cut, records, unread) = lose(flow, topic, 1, next);
    let enricher = start(flow, "weir-enricher");
    wait_until("the other partitions", SOON, || {
        (flow.enricher_counts().ok()?.read == 6_000 - unread as u64).then_some(())
    });
    let loss = is_shown_and_accepted(
        flow,
        enricher,
        &format!("enricher {topic}[1]"),
        (next, cut),
        records,
    );
    let enricher = start(flow, "weir-enricher");
    wait_until("what is left of it", SOON, || {
        (flow.enricher_counts().ok()?.read == 6_000 - records as u64).then_some(())
    });
    assert!(enricher.stop().unwrap().success());
    loss
}

fn lost_before_the_sink(flow: &Flow) -> Loss {
    let topic = &flow.pipeline.output.topic;
    let next = flow
        .fresh_database()
        .unwrap()
        .number("SELECT next_offset FROM weir.positions WHERE partition = 2")
        .unwrap();
    let (cut, records, unread) = lose(flow, topic, 2, next);
    let sink = start(flow, "weir-sink");
    let others = flow.enricher_counts().unwrap().written - unread as u64;
    wait_until("the other partitions", SOON, || {
        (flow.sink_counts().ok()?.read == others).then_some(())
    });
    is_shown_and_accepted(flow, sink, &format!("warehouse {topic}[2]"), (next, cut), records)
}

/// Halt, audit and command name the same range, and the command how many records the counts miss.
fn is_shown_and_accepted(
    flow: &Flow,
    service: Service,
    partition: &str,
    (next, cut): (i64, i64),
    records: usize,
) -> Loss {
    let range = format!("offsets {next} to {} are gone", cut - 1);
    halts(&service, &range);
    contains(
        &weir(flow, "audit", &[]).unwrap_err(),
        &["NOT everything", &format!("{partition}: halted: {range}")],
    );
    let shown = weir(flow, "skip", &[]).unwrap_err();
    contains(
        &shown,
        &[&range, &format!("{records} records are unaccounted for"), &format!("continue at {cut}")],
    );
    let act = format!("accepted loss  {partition} {next}..{cut}: {records} records, \"{REASON}\"");
    contains(&accept(flow, service), &[&act]);
    Loss { act, records }
}

/// Kafka deletes the group's positions together with the topic, so they have to be restored first.
/// There are many invalid records, so that some partition starts over with dead letters that the
/// sink does not see.
#[test]
fn a_recreated_input_topic_is_read_from_its_beginning_and_deleted_offsets_are_restored() {
    let flow = flow(0.5);
    let topic = &flow.pipeline.input.topic;
    flow.topics.delete(topic).unwrap();
    flow.topics.create(topic, 3).unwrap();
    produce(&flow, 4_000, 1_000);
    let enricher = start(&flow, "weir-enricher");
    halts(&enricher, "the output holds data of this pipeline");
    contains(
        &weir(&flow, "skip", &[]).unwrap_err(),
        &["continue at 0", "no record is unaccounted for"],
    );
    contains(&accept(&flow, enricher), &["back to 0", ": 0 records"]);
    contains(&run(&flow, 4_000), &["everything is accounted for"]);
    adds_up(&flow, 0);

    // The same again with the topic unchanged: the counts are restored from the lineage, and
    // nothing is given up.
    flow.topics.delete_group(&flow.pipeline.enricher_group()).unwrap();
    contains(&weir(&flow, "skip", &[]).unwrap_err(), &["nothing is given up"]);
    contains(&weir(&flow, "skip", &["--accept", "--reason", REASON]).unwrap(), &[": 0 records"]);
    adds_up(&flow, 0);
}

#[test]
fn a_recreated_output_topic_is_read_from_its_beginning() {
    let flow = flow(0.02);
    let topic = &flow.pipeline.output.topic;
    flow.topics.delete(topic).unwrap();
    flow.topics.create(topic, 3).unwrap();
    produce(&flow, 4_000, 4_000);
    let enricher = start(&flow, "weir-enricher");
    wait_until("the enricher", SOON, || (flow.enricher_counts().ok()?.read == 4_000).then_some(()));
    assert!(enricher.stop().unwrap().success());
    let sink = start(&flow, "weir-sink");
    halts(&sink, "truncated or recreated");
    contains(
        &weir(&flow, "skip", &[]).unwrap_err(),
        &["continue at 0", "no record is unaccounted for"],
    );
    contains(&accept(&flow, sink), &["back to 0", ": 0 records"]);
    contains(&run(&flow, 4_000), &["everything is accounted for"]);
    adds_up(&flow, 0);
}

/// Topics are deleted, and the source begins again; the new log ends before the old positions or
/// behind them. While the table holds rows of the old one, nothing is passed over unseen.
#[test]
fn a_pipeline_that_was_started_over_is_read_from_its_beginning() {
    for again in [1_000, 3_000, 4_500] {
        let flow = flow(0.02);
        start_over(&flow);
        produce(&flow, again, again);
        let enricher = start(&flow, "weir-enricher");
        wait_until("the enricher", SOON, || {
            (flow.enricher_counts().ok()?.read == again).then_some(())
        });
        assert!(enricher.stop().unwrap().success());
        let sink = start(&flow, "weir-sink");
        halts(&sink, "recreated");
        assert!(sink.stop().unwrap().success());
        contains(&weir(&flow, "skip", &[]).unwrap_err(), &["still holds rows"]);
        let accept = ["--accept", "--reason", REASON];
        contains(&weir(&flow, "skip", &accept).unwrap_err(), &["still holds rows"]);

        let table = flow.pipeline.sinks[0].target.name();
        let database = flow.fresh_database().unwrap();
        database.execute(&format!("DELETE FROM {table}")).unwrap();
        contains(&weir(&flow, "skip", &[]).unwrap_err(), &["continue at 0"]);
        contains(&weir(&flow, "skip", &accept).unwrap(), &[": 0 records"]);
        contains(&run(&flow, again), &["everything is accounted for"]);
        let rows = database.number(&format!("SELECT count(*) FROM {table}")).unwrap();
        assert_eq!(rows as u64, flow.sink_counts().unwrap().written, "{again} records");
    }
}

/// Deletes the topics, and what the producer remembers.
fn start_over(flow: &Flow) {
    let pipeline = &flow.pipeline;
    for topic in [&pipeline.input.topic, &pipeline.output.topic, &pipeline.dead_letters.topic] {
        flow.topics.delete(topic).unwrap();
        flow.topics.create(topic, 3).unwrap();
    }
    let source = pipeline.source.as_ref().unwrap();
    let forgotten: Vec<Record> = (0..source.partitions())
        .map(|number| Record {
            partition: positions::partition(number),
            key: Some(positions::key(&pipeline.name, source.kind(), number).into_bytes()),
            ..Record::default()
        })
        .collect();
    flow.topics.write(positions::TOPIC, &forgotten).unwrap();
}

/// An enricher's position that was moved is found again, wherever it was moved to.
#[test]
fn a_position_that_was_moved_is_found_again_and_nothing_is_lost_or_doubled() {
    let flow = flow(0.02);
    let (group, topic) = (flow.pipeline.enricher_group(), &flow.pipeline.input.topic);
    let (next, metadata) = flow.topics.committed(&group, topic).unwrap().remove(0).unwrap();
    for (moved, metadata) in
        [(next - 100, ""), (next - 100, &*metadata), (next + 1, &*metadata), (0, "")]
    {
        flow.topics.commit(&group, topic, 0, moved, metadata).unwrap();
        contains(&weir(&flow, "skip", &[]).unwrap_err(), &["moved the position"]);
        contains(
            &weir(&flow, "skip", &["--accept", "--reason", REASON]).unwrap(),
            &[": 0 records"],
        );
        contains(&run(&flow, 3_000), &["everything is accounted for"]);
        adds_up(&flow, 0);
    }
    // A position without a commit of its own has no proof, so each move is one of a fresh pipeline.
    for by in [2, -2] {
        let flow = self::flow(0.02);
        let database = flow.fresh_database().unwrap();
        let moved = format!(
            "UPDATE weir.positions SET next_offset = next_offset + {by} WHERE partition = 0"
        );
        database.execute(&moved).unwrap();
        contains(&weir(&flow, "skip", &[]).unwrap_err(), &["moved the position"]);
        contains(
            &weir(&flow, "skip", &["--accept", "--reason", REASON]).unwrap(),
            &[": 0 records"],
        );
        contains(&run(&flow, 3_000), &["everything is accounted for"]);
    }
}

/// An older state of `weir.positions`, as a copy of the tables that are written.
const SAVE: &str = "CREATE SCHEMA saved; CREATE TABLE saved.positions AS TABLE weir.positions";
const PUT_BACK: &str = "UPDATE weir.positions p SET next_offset = s.next_offset, read = s.read, \
     written = s.written, dead = s.dead, last_source = s.last_source, \
     last_read_offset = s.last_read_offset, last_read_fingerprint = s.last_read_fingerprint \
     FROM saved.positions s WHERE p.partition = s.partition";

/// The group remembers where the sink was, and the counts there; the rows show that it is right.
#[test]
fn older_positions_that_were_put_back_are_found_again() {
    let settings = Settings { records: 3_000, batch: 500, seed: 13, ..Settings::default() };
    let flow = Flow::new(Stack::shared(), &settings).unwrap();
    let file = std::fs::read_to_string(flow.file()).unwrap();
    let lineage = file.replace("type = \"postgres\"", "type = \"postgres\"\nlineage = true");
    assert_ne!(lineage, file);
    std::fs::write(flow.file(), lineage).unwrap();
    run(&flow, 3_000);
    let database = flow.fresh_database().unwrap();
    database.execute(SAVE).unwrap();
    produce(&flow, 4_000, 4_000);
    run(&flow, 4_000);
    database.execute(PUT_BACK).unwrap();
    let text = "an older one was put back";
    contains(&weir(&flow, "audit", &[]).unwrap_err(), &["HALTED", text, "weir skip FILE"]);
    contains(&weir(&flow, "skip", &[]).unwrap_err(), &[text, "no record is unaccounted for"]);
    let sink = start(&flow, "weir-sink");
    halts(&sink, text);
    contains(&accept(&flow, sink), &[": 0 records"]);
    contains(&run(&flow, 4_000), &["everything is accounted for"]);
    adds_up(&flow, 0);
}

/// Where the table has no lineage columns, only an operator knows.
#[test]
fn a_database_without_lineage_columns_that_was_restored_is_read_on_from_when_an_operator_says_so() {
    let settings = Settings { records: 3_000, batch: 500, seed: 12, ..Settings::default() };
    let flow = Flow::new(Stack::shared(), &settings).unwrap();
    assert!(!flow.pipeline.sinks[0].target.has_lineage());
    run(&flow, 3_000);
    let (database, table) = (flow.fresh_database().unwrap(), flow.pipeline.sinks[0].target.name());
    let save = format!(
        "{SAVE}; CREATE TABLE saved.rows AS TABLE {table}; \
         CREATE TABLE saved.dead AS SELECT id FROM weir.dead_letters"
    );
    database.execute(&save).unwrap();
    produce(&flow, 4_000, 4_000);
    run(&flow, 4_000);
    let restore = format!(
        "{PUT_BACK}; DELETE FROM {table}; INSERT INTO {table} TABLE saved.rows; \
         DELETE FROM weir.dead_letters WHERE id NOT IN (SELECT id FROM saved.dead)"
    );
    database.execute(&restore).unwrap();
    let sink = start(&flow, "weir-sink");
    halts(&sink, "an older one was put back");
    contains(&weir(&flow, "skip", &[]).unwrap_err(), &["--hop warehouse --restored"]);
    let refused = weir(&flow, "skip", &["--restored"]).unwrap_err();
    contains(&refused, &["still has running members"]);
    assert!(sink.stop().unwrap().success());
    contains(&weir(&flow, "skip", &["--restored"]).unwrap(), &["reads on at"]);
    contains(&run(&flow, 4_000), &["everything is accounted for"]);
    let rows = database.number(&format!("SELECT count(*) FROM {table}")).unwrap();
    assert_eq!(rows as u64, flow.sink_counts().unwrap().written);
}
