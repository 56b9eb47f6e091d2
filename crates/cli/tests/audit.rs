//! The audit finds what is wrong and names it: halts, records that are not where they belong, and
//! counters, positions and dead letters that somebody changed.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;
use weir_e2e::{Flow, Settings};
use weir_testkit::topics::Record;
use weir_testkit::{Service, Stack, random_name, wait_until};

const RECORDS: u64 = 3_000;
const TABLE: &str = "telecom.telecom_data";

/// A pipeline through which all records of its source have gone, with dead letters of the enricher
/// and of the sink, and whose table has the lineage columns.
fn flow() -> Flow {
    let settings = Settings {
        records: RECORDS,
        invalid_share: 0.05,
        invalid_kinds: vec!["name_too_long", "negative_duration"],
        batch: 500,
        seed: 5,
        ..Settings::default()
    };
    let flow = Flow::new(Stack::shared(), &settings).unwrap();
    let text = std::fs::read_to_string(flow.file()).unwrap();
    let with_lineage = text.replace("mode = \"append\"\n", "mode = \"append\"\nlineage = true\n");
    assert_ne!(text, with_lineage);
    std::fs::write(flow.file(), with_lineage).unwrap();
    weir(&flow, "run", &["--until-done", "--rate", "0"]).unwrap();
    flow
}

fn weir(flow: &Flow, command: &str, options: &[&str]) -> Result<String, String> {
    let file = flow.file().to_string_lossy().into_owned();
    flow.weir(&[&[command, &file], options].concat()).map_err(|error| error.to_string())
}

/// What was planted, with which statements, and what the audit has to say about it.
struct Falsification {
    what: &'static str,
    sql: String,
    said: Vec<String>,
}

fn falsifications(flow: &Flow) -> Vec<Falsification> {
    let database = flow.fresh_database().unwrap();
    let offset = |number| {
        let sql = format!(
            "SELECT weir_offset FROM {TABLE} WHERE weir_partition = 0 ORDER BY 1 OFFSET {number} \
             LIMIT 1"
        );
        database.number(&sql).unwrap()
    };
    let (lost, doubled, moved) = (offset(3), offset(7), offset(11));
    let at = |offset| format!("WHERE weir_partition = 0 AND weir_offset = {offset}");
    let swap = |column: &str| {
        format!(
            "UPDATE weir.positions SET {column} = {column} - 1 WHERE partition = 0; \
             UPDATE weir.positions SET {column} = {column} + 1 WHERE partition = 1"
        )
    };
    let dead = |column: &str| {
        let sql = format!("SELECT {column} FROM weir.dead_letters ORDER BY id LIMIT 1");
        database.number(&sql).unwrap()
    };
    let (id, partition, dead_offset) = (dead("id"), dead("partition"), dead("\"offset\""));
    let dead_at = |change: &str| format!("UPDATE weir.dead_letters SET {change} WHERE id = {id}");
    let topic = &flow.pipeline.output.topic;
    let neither = |offset| format!("neither a row nor a dead letter: input records {offset}");
    let twice = |offset| format!("written twice: input records {offset}");
    let case = |what, sql: String, said: &[String]| Falsification { what, sql, said: said.into() };
    let differs = format!(
        "warehouse {topic}[{partition}]: dead letters that differ from the record they name, at \
         offset {dead_offset}"
    );
    vec![
        case(
            "a row is deleted and another doubled",
            format!(
                "DELETE FROM {TABLE} {}; INSERT INTO {TABLE} SELECT * FROM {TABLE} {}",
                at(lost),
                at(doubled)
            ),
            &[neither(lost), twice(doubled)],
        ),
        case(
            "the offset of a row is changed",
            format!("UPDATE {TABLE} SET weir_offset = 1000000007 {}", at(moved)),
            &[neither(moved), "it has not read: input records 1000000007".into()],
        ),
        case(
            "the partition of a row is changed",
            format!("UPDATE {TABLE} SET weir_partition = 1, weir_offset = 999999 {}", at(moved)),
            &[
                neither(moved),
                "[1]: rows or dead letters that it has not read: input records \
                999999"
                    .into(),
            ],
        ),
        case(
            "a cell is changed",
            format!("UPDATE {TABLE} SET call_duration = call_duration + 1 {}", at(moved)),
            &[format!("[0]: rows that differ from their record: input records {moved}")],
        ),
        case("counters are moved", swap("read"), &["records read found".into()]),
        case(
            "counters of both kinds are moved",
            format!("{}; {}", swap("read"), swap("written")),
            &["[0]: ".into(), "rows found".into()],
        ),
        case(
            "a dead letter is altered",
            dead_at(
                "value = value || \
            '\\x00'",
            ),
            std::slice::from_ref(&differs),
        ),
        case(
            "the key of a dead letter is \
            altered",
            dead_at("key = 'x'"),
            std::slice::from_ref(&differs),
        ),
        case(
            "the source of a dead letter is altered",
            dead_at(
                "source_offset = \
            7777777",
            ),
            &[differs],
        ),
        case(
            "a dead letter is moved to another record",
            dead_at("\"offset\" = 8888888"),
            &["dead letters that differ from the record they name, at offset 8888888".into()],
        ),
        case(
            "a dead letter is doubled",
            "INSERT INTO weir.dead_letters (pipeline, sink, topic, partition, \"offset\", \
             source_offset, key, value, headers, stage, reason, detail) SELECT pipeline, sink, \
             topic, partition, \"offset\", source_offset, key, value, headers, stage, reason, \
             detail FROM weir.dead_letters ORDER BY id LIMIT 1"
                .into(),
            &["written twice".into(), "dead letters found".into()],
        ),
        case(
            "the end of the lineage of a position is changed",
            "UPDATE weir.positions SET last_source = last_source - 1 WHERE partition = 2".into(),
            &["the position says".into()],
        ),
        case(
            "the cluster of a position is changed",
            "UPDATE weir.positions SET cluster_id = 'elsewhere' WHERE partition = 2".into(),
            &["its position belongs to Kafka cluster elsewhere".into()],
        ),
    ]
}

/// Saves and restores what the falsifications change.
fn with_backup(flow: &Flow, change: impl FnOnce(&weir_testkit::Database)) {
    const TABLES: [&str; 3] = [TABLE, "weir.positions", "weir.dead_letters"];
    let database = flow.fresh_database().unwrap();
    for (number, table) in TABLES.iter().enumerate() {
        database.execute(&format!("CREATE TABLE backup_{number} AS TABLE {table}")).unwrap();
    }
    change(&database);
    for (number, table) in TABLES.iter().enumerate() {
        let restore = format!(
            "DELETE FROM {table}; INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE \
             backup_{number}; DROP TABLE backup_{number}"
        );
        database.execute(&restore).unwrap();
    }
}

#[test]
fn every_falsification_is_found_and_named() {
    let flow = flow();
    weir(&flow, "audit", &["--deep", "--content"]).unwrap();
    for Falsification { what, sql, said } in falsifications(&flow) {
        with_backup(&flow, |database| {
            database.execute(&sql).unwrap();
            let text = weir(&flow, "audit", &["--deep", "--content"]).expect_err(what);
            for said in said {
                assert!(text.contains(&said), "{what}: `{said}` is not in\n{text}");
            }
        });
    }
    weir(&flow, "audit", &["--deep"]).unwrap();
    foreign_records_are_named(&flow);
}

/// Last, for they cannot be taken back.
fn foreign_records_are_named(flow: &Flow) {
    let topic = &flow.pipeline.dead_letters.topic;
    let copied = flow.topics.read(topic).unwrap().swap_remove(0);
    let without_lineage = Record {
        headers: copied.headers.into_iter().filter(|(name, _)| name != "weir-lineage").collect(),
        ..copied
    };
    let foreign = Record { partition: 1, value: Some(b"?".to_vec()), ..Record::default() };
    for (what, record) in [("a copy without lineage", without_lineage), ("a foreign", foreign)] {
        let partition = record.partition;
        flow.topics.write(topic, &[record]).unwrap();
        let offset = flow.topics.ends(topic).unwrap()[partition as usize] - 1;
        let text = weir(flow, "audit", &["--deep"]).expect_err(what);
        let named = format!("{topic}[{partition}]: records that did not come through the enricher");
        let line = text.lines().find(|line| line.contains(&named)).unwrap_or_default();
        assert!(line.contains(&offset.to_string()), "{what}: {offset} is not in\n{text}");
    }
    let forged = Record {
        value: Some(b"?".to_vec()),
        headers: vec![("weir-lineage".into(), Some([&[1][..], &[255; 24][..]].concat()))],
        ..Record::default()
    };
    flow.topics.write(&flow.pipeline.output.topic, &[forged]).unwrap();
    let text = weir(flow, "audit", &["--deep"]).unwrap_err();
    let named = format!("{}[0]: records that did not come through", flow.pipeline.output.topic);
    assert!(text.contains(&named), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_foreign_record_hides_no_loss_and_a_halted_partition_is_not_everything_accounted_for() {
    let flow = flow();
    let topic = &flow.pipeline.output.topic;
    // A record that is not the pipeline's, and one that is in the topic a second time: dead letters,
    // and nothing is missing, before they are read and after.
    let again = flow.topics.read(topic).unwrap().swap_remove(0);
    let other = Record { value: Some(b"?".to_vec()), ..Record::default() };
    flow.topics.write(topic, &[other, again]).unwrap();
    let foreign = "(no_lineage, foreign_lineage): 2";
    let text = weir(&flow, "audit", &[]).unwrap();
    assert!(text.contains("2 records wait") && text.contains(foreign), "{text}");
    let named = "records that did not come through the enricher";
    let text = weir(&flow, "audit", &["--deep"]).unwrap_err();
    assert!(text.contains(named), "{text}");
    let sink = flow.program("weir-sink", 0).start().unwrap();
    wait_until("the dead letters", Duration::from_secs(30), || {
        let sql = "SELECT count(*) FROM weir.dead_letters WHERE reason LIKE '%_lineage'";
        (flow.fresh_database().ok()?.number(sql).ok()? == 2).then_some(())
    });
    assert!(sink.stop().unwrap().success());
    let text = weir(&flow, "audit", &[]).unwrap();
    assert!(text.contains("everything is accounted for") && text.contains(foreign), "{text}");
    // They are handled, and no contradiction any more, as long as the dead letters are there.
    let text = weir(&flow, "audit", &["--deep", "--content"]).unwrap();
    assert!(text.contains(foreign), "{text}");
    with_backup(&flow, |database| {
        database.execute("DELETE FROM weir.dead_letters WHERE reason = 'no_lineage'").unwrap();
        let text = weir(&flow, "audit", &["--deep"]).unwrap_err();
        assert!(text.contains(named), "{text}");
    });

    // Positions that somebody moved: no service is asked, the log itself shows it.
    for by in [-2, -100] {
        with_backup(&flow, |database| {
            let sql = "UPDATE weir.positions SET next_offset = next_offset";
            database.execute(&format!("{sql} + {by} WHERE partition = 1")).unwrap();
            let text = weir(&flow, "audit", &[]).unwrap_err();
            let halt = format!("■ warehouse {topic}[1]: halted: ");
            assert!(text.contains(&halt) && text.contains("moved the position"), "{text}");
        });
    }

    // A row of the counts is lost: sums would agree with the foreign record.
    with_backup(&flow, |database| {
        let lose =
            "UPDATE weir.positions SET read = read - 1, written = written - 1 WHERE partition = 0";
        database.execute(lose).unwrap();
        let text = weir(&flow, "audit", &[]).unwrap_err();
        assert!(text.contains("NOT everything is accounted for"), "{text}");
    });

    // Records that wait, then records that cannot be read any more.
    let text = std::fs::read_to_string(flow.file()).unwrap();
    std::fs::write(flow.file(), text.replace("records = 3000\n", "records = 6000\n")).unwrap();
    let services =
        ["weir-producer", "weir-enricher"].map(|service| flow.program(service, 0).start().unwrap());
    wait_until("the output", Duration::from_secs(60), || {
        (flow.enricher_counts().ok()?.read == 6_000).then_some(())
    });
    services.into_iter().for_each(|service| assert!(service.stop().unwrap().success()));
    let text = weir(&flow, "audit", &[]).unwrap();
    assert!(text.contains("nothing is missing") && text.contains("records wait"), "{text}");
    assert!(text.contains("no instance is running"), "{text}");
    let next = "SELECT next_offset FROM weir.positions WHERE partition = 2";
    let next = flow.fresh_database().unwrap().number(next).unwrap();
    let unread = flow.topics.read(topic).unwrap();
    let unread: Vec<i64> = unread
        .into_iter()
        .filter(|record| record.partition == 2 && record.offset >= next)
        .map(|record| record.offset)
        .collect();
    flow.topics.delete_records(topic, 2, unread[10]).unwrap();
    let text = weir(&flow, "audit", &[]).unwrap_err();
    let halt = format!("warehouse {topic}[2]: halted: offsets {next} to");
    assert!(text.contains(&halt) && text.contains("weir skip FILE"), "{text}");

    // A run to the end ends, says who halted and why, and does not succeed.
    let text = weir(&flow, "run", &["--until-done", "--rate", "0"]).unwrap_err();
    assert!(text.contains("a service is halted"), "{text}");
    assert!(text.contains(&format!("{topic}[2]: halted: offsets {next} to")), "{text}");
    let claims = |line: &str| line.contains("everything") && !line.contains("NOT everything");
    assert!(!text.lines().any(claims), "{text}");
}

#[test]
fn records_of_another_writer_in_the_input_topic_are_named_and_a_doubled_transaction_is_not_theirs()
{
    let flow = flow();
    let topic = &flow.pipeline.input.topic;
    let run = || {
        let services =
            ["weir-enricher", "weir-sink"].map(|service| flow.program(service, 0).start().unwrap());
        let written: u64 = flow.topics.count(topic).unwrap();
        wait_until("all records", Duration::from_secs(30), || {
            let (enricher, sink) = (flow.enricher_counts().ok()?, flow.sink_counts().ok()?);
            (enricher.read == written && sink.read == enricher.written).then_some(())
        });
        services.into_iter().for_each(|service| assert!(service.stop().unwrap().success()));
    };
    // A record like any other, and one that nobody can decode.
    let all = flow.topics.read(topic).unwrap();
    let is_first = |record: &&Record| record.header("weir-written").is_some();
    let like = all.iter().find(|record| !is_first(record)).unwrap().clone();
    let other = Record { value: Some(b"?".to_vec()), ..Record::default() };
    flow.topics.write(topic, &[like, other]).unwrap();
    let named = "no producer of this pipeline wrote; they are processed like all others: 2";
    let text = weir(&flow, "audit", &[]).unwrap();
    assert!(text.contains("nothing is missing") && text.contains(named), "{text}");
    run();
    let text = weir(&flow, "audit", &["--deep"]).unwrap();
    assert!(text.contains("everything is accounted for") && text.contains(named), "{text}");

    // What the producer wrote is there a second time.
    let again = all.iter().find(is_first).unwrap().clone();
    flow.topics.write(topic, &[again]).unwrap();
    run();
    let text = weir(&flow, "audit", &[]).unwrap_err();
    assert!(text.contains("NOT everything") && text.contains("\u{2212}3"), "{text}");
}

/// Pages and log of a service.
fn public(service: &Service) -> String {
    let pages = ["/status", "/metrics", "/ready", "/live"];
    let pages = pages.map(|page| service.get(page).unwrap().body);
    pages.concat() + &service.log()
}

#[test]
fn what_a_dead_letter_holds_is_in_no_log_and_on_no_page() {
    const CARD: &str = "4111111111111111";
    let flow = flow();
    flow.fresh_database()
        .unwrap()
        .execute(&format!(
            "ALTER TABLE {TABLE} ADD CONSTRAINT no_long_call CHECK (call_duration <= 3600) NOT \
             VALID"
        ))
        .unwrap();
    let text = std::fs::read_to_string(flow.file()).unwrap();
    std::fs::write(flow.file(), text.replace("records = 3000\n", "records = 6000\n")).unwrap();
    // What no decoder takes, in front of the enricher and in front of the sink.
    for topic in [&flow.pipeline.input.topic, &flow.pipeline.output.topic] {
        let value = Some(format!("\0\0\0\0\u{1}{CARD}").into_bytes());
        let key = Some(CARD.as_bytes().to_vec());
        flow.topics.write(topic, &[Record { key, value, ..Record::default() }]).unwrap();
    }
    let services = ["weir-producer", "weir-enricher", "weir-sink"]
        .map(|service| flow.program(service, 0).start().unwrap());
    wait_until("all records", Duration::from_secs(60), || {
        let (enricher, sink) = (flow.enricher_counts().ok()?, flow.sink_counts().ok()?);
        (enricher.read > 6_000 && sink.read > enricher.written).then_some(())
    });
    let database = flow.fresh_database().unwrap();
    let stored = database
        .texts(
            "SELECT detail FROM weir.dead_letters UNION SELECT caller_name FROM \
            telecom.telecom_data",
        )
        .unwrap();
    let mut details: Vec<String> = stored.into_iter().flatten().flatten().collect();
    let checked = details.iter().filter(|detail| detail.contains("no_long_call")).count();
    assert!(checked > 0, "the server refused rows");
    let dead_letters = flow.topics.read(&flow.pipeline.dead_letters.topic).unwrap();
    details
        .extend(dead_letters.iter().filter_map(|r| r.header_text("weir-detail").map(Into::into)));
    details.push(CARD.into());
    for service in services {
        let public = public(&service);
        let leaked = details.iter().find(|text| text.len() > 5 && public.contains(*text));
        assert_eq!(leaked, None, "{} shows it:\n{public}", service.name());
        assert!(service.stop().unwrap().success());
    }
}

/// With its services stopped, so that only what is stored tells.
#[test]
fn a_source_that_is_not_the_one_that_was_read_is_a_halt() {
    let (stack, name) = (Stack::shared(), random_name("files"));
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text).unwrap();
    let schema = r#"{"type": "record", "name": "R", "fields": [{"name": "id", "type": "int"}]}"#;
    write("r.avsc", schema);
    write("b.csv", "id\n1\n2\n");
    write(
        "p.toml",
        &format!(
            "name = \"{name}\"\n[source]\ntype = \"file\"\npath = \"*.csv\"\n\
             [input]\ntopic = \"{name}\"\nschema = \"r.avsc\"\npartitions = 1\n\
             [transform]\nsql = \"SELECT * FROM input\"\n\
             [output]\ntopic = \"{name}-out\"\nschema = \"r.avsc\"\n\
             [[sink]]\nname = \"w\"\ntype = \"postgres\"\nurl = \"{}\"\ntable = \"public.t\"\n",
            stack.create_database("audit").unwrap()
        ),
    );
    let weir = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(arguments)
            .current_dir(folder.path())
            .envs(stack.env())
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (success, text) = weir(&["run", "p.toml", "--until-done"]);
    assert!(success, "{text}");
    let halted = |what: &str| {
        let (success, text) = weir(&["audit", "p.toml"]);
        assert!(!success && text.contains("HALTED") && text.contains(what), "{what}:\n{text}");
        assert!(text.contains("producer source[0]: halted"), "{what}:\n{text}");
    };
    write("b.csv", "id\n1\n3\n");
    halted("is not the file that was read before");
    write("b.csv", "id\n1");
    halted("is not the file that was read before");
    // A text file may grow, and files may come behind those that were read.
    write("b.csv", "id\n1\n2\n3\n");
    write("c.csv", "id\n4\n");
    let (success, text) = weir(&["audit", "p.toml"]);
    assert!(success, "{text}");
    write("a.csv", "id\n5\n");
    halted("files may only be added behind those that were read");
    std::fs::remove_file(folder.path().join("a.csv")).unwrap();
    let (success, text) = weir(&["run", "p.toml", "--until-done"]);
    assert!(success && text.contains("everything is accounted for"), "{text}");
}
