//! A broken environment loses no record, and a broken configuration stops the enricher.

use crate::support::*;
use std::time::Duration;
use weir_testkit::proxy::Mode;
use weir_testkit::{Proxy, Stack, wait_until};

#[test]
fn without_the_registry_it_waits_and_dead_letters_nothing() {
    let (proxy, url) = Proxy::in_front_of(Stack::shared().registry()).unwrap();
    proxy.set(Mode::Refuse);
    let pipeline = Pipeline::with(&url, "");
    pipeline.write_items(0..100);
    let mut enricher = pipeline.program("e-0").start().unwrap();
    let answer = wait_until("not ready", SOON, || {
        enricher.get("/ready").ok().filter(|a| a.status == 503 && a.body.contains("registry"))
    });
    assert!(enricher.is_live(), "{}", answer.body);
    proxy.set(Mode::Pass);
    enricher.wait_ready().unwrap();
    pipeline.wait_done();

    // Midway, only a schema that was not seen yet needs the registry.
    proxy.set(Mode::Refuse);
    pipeline.write_items(100..200);
    pipeline.wait_done();
    let id = register(&pipeline.input, INPUT_WITH_MORE);
    let records: Vec<_> =
        (200..300).map(|n| record(n, Some([item(id, n, Some("y")), vec![0]].concat()))).collect();
    pipeline.topics.write(&pipeline.input, &records).unwrap();
    wait_until("not ready", SOON, || {
        enricher.get("/ready").ok().filter(|a| a.status == 503 && a.body.contains("registry"))
    });
    assert!(enricher.is_live());
    proxy.set(Mode::Pass);
    enricher.wait_ready().unwrap();
    pipeline.wait_done();
    assert_eq!(pipeline.audit(), expected(0..300));
    assert!(pipeline.topics.read(&pipeline.dead_letters()).unwrap().is_empty());
}

const INPUT_WITH_MORE: &str = r#"{"type":"record","name":"Item","fields":[
    {"name":"id","type":"long"},
    {"name":"name","type":["null","string"]},
    {"name":"more","type":["null","long"],"default":null}]}"#;

#[test]
fn a_topic_of_nothing_but_bad_records_halts() {
    let more = "[dead_letters]\nhalt_share = 0.5\nhalt_after = \"1s\"\n[batch]\nrecords = 100\n";
    let pipeline = Pipeline::with(Stack::shared().registry(), more);
    let enricher = pipeline.start("e-0");
    let halted = wait_until("a halt", SOON, || {
        pipeline.write_items(-600..0);
        enricher.get("/ready").ok().filter(|a| a.status == 503 && a.body.contains("dead letters"))
    });
    assert!(enricher.is_live(), "{}", halted.body);
    let dead_letters = pipeline.topics.read(&pipeline.dead_letters()).unwrap();
    pipeline.write_items(-600..0);
    wait_until("another look", SOON, || enricher.is_live().then_some(()));
    assert_eq!(reasons(&dead_letters).into_iter().collect::<Vec<_>>(), ["negative"]);
    assert_eq!(pipeline.topics.read(&pipeline.dead_letters()).unwrap().len(), dead_letters.len());
    pipeline.audit();
}

#[test]
fn mistakes_in_the_file_end_it_with_all_of_them() {
    let pipeline = Pipeline::new();
    let file = pipeline.folder().join("pipeline.toml");
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("id < 0", "idd < 0")
        .replace("id * 2 AS twice", "nam AS twice");
    std::fs::write(&file, text).unwrap();
    let mut enricher = pipeline.program("e-0").start().unwrap();
    let status = enricher.wait(Duration::from_secs(20)).unwrap();
    assert_eq!(status.code(), Some(78), "{}", enricher.log());
    assert!(enricher.log().contains("idd") && enricher.log().contains("nam"), "{}", enricher.log());
}
