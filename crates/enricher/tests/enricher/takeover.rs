//! When an enricher dies, is fenced or comes back, nothing is lost and nothing is duplicated.

use crate::support::*;
use weir_kafka::TransactionalProducer;
use weir_model::pipeline::Kafka;
use weir_testkit::{Stack, random_name, wait_until};

#[test]
fn counts_and_lineage_survive_a_restart() {
    let pipeline = Pipeline::new();
    pipeline.write_items(0..500);
    let first = pipeline.start("e-0");
    pipeline.wait_done();
    assert!(first.stop().unwrap().success());
    let before = pipeline.counts();
    assert_eq!(before.values().map(|b| b.counters.read).sum::<u64>(), 500);

    pipeline.write_items(500..1000);
    let second = pipeline.start("e-0");
    pipeline.wait_done();
    assert_eq!(pipeline.audit(), expected(0..1000));
    assert_eq!(pipeline.counts().values().map(|b| b.counters.read).sum::<u64>(), 1000);
    // The running totals of a process begin with the process.
    assert_eq!(second.metric("weir_records_read_total", "").unwrap(), 500.0);
}

#[test]
fn a_killed_enricher_is_replaced_by_another_without_loss() {
    let pipeline = Pipeline::new();
    let mut survivor = pipeline.start("e-0");
    for round in 0..3 {
        let victim = pipeline.start(&format!("e-{}", round + 1));
        wait_until("a share for the victim", SOON, || {
            (!victim.status().ok()?["partitions"].as_array()?.is_empty()).then_some(())
        });
        pipeline.write_items(round * 3000..round * 3000 + 2000);
        victim.kill().unwrap();
        pipeline.write_items(round * 3000 + 2000..(round + 1) * 3000);
        pipeline.wait_done();
    }
    survivor.expect_running().unwrap();
    assert_eq!(pipeline.audit(), expected(0..9000));
    assert!(survivor.metric("weir_rebalances_total", "").unwrap() >= 3.0);
}

#[test]
fn a_transaction_that_is_fenced_is_read_again() {
    let pipeline = Pipeline::new();
    let enricher = pipeline.start("e-0");
    let kafka = Kafka {
        brokers: Stack::shared().kafka().into(),
        properties: Default::default(),
        replication: 1,
        session_timeout: SOON,
        transaction_timeout: SOON,
    };
    let id = format!("weir.{}.enricher.e-0.0", pipeline.name);
    for round in 0..3 {
        // Another producer takes over the transactional id; the enricher must notice, fence it in
        // turn, and rewind.
        TransactionalProducer::open(&kafka, &id).unwrap();
        pipeline.write_items(round * 1000..(round + 1) * 1000);
        pipeline.wait_done();
    }
    assert_eq!(pipeline.audit(), expected(0..3000));
    let reinitializations = enricher.metric("weir_producer_reinitializations_total", "").unwrap();
    assert!(
        reinitializations >= 4.0,
        "{reinitializations}, but one at the start and one per takeover:\n{}",
        enricher.log()
    );
}

#[test]
fn an_enricher_that_slept_too_long_does_not_write_into_its_successors_work() {
    let pipeline = Pipeline::new();
    let sleeper = pipeline.start("e-0");
    pipeline.write_items(0..1000);
    wait_until("some work", SOON, || {
        (sleeper.metric("weir_records_read_total", "").ok()? > 0.0).then_some(())
    });
    sleeper.pause().unwrap();
    let successor = pipeline.start("e-1");
    pipeline.write_items(1000..2000);
    pipeline.wait_done();
    sleeper.wake().unwrap();
    pipeline.write_items(2000..3000);
    pipeline.wait_done();
    assert_eq!(pipeline.audit(), expected(0..3000));
    drop(successor);
}

#[test]
fn a_group_without_offsets_beside_a_filled_output_halts() {
    let mut pipeline = Pipeline::new();
    pipeline.write_items(0..300);
    let first = pipeline.start("e-0");
    pipeline.wait_done();
    assert!(first.stop().unwrap().success());
    let before = pipeline.topics.read(&pipeline.output).unwrap().len();

    // Another name is another group: one that has no offsets, as if they had expired.
    pipeline.rename(&random_name("items"));
    let second = pipeline.program("e-0").start().unwrap();
    let answer = wait_until("a halt", SOON, || {
        second.get("/ready").ok().filter(|a| a.body.contains("position was lost"))
    });
    assert_eq!(answer.status, 503);
    assert!(second.is_live());
    assert_eq!(pipeline.topics.read(&pipeline.output).unwrap().len(), before);
}
