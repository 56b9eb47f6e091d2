//! What is unavailable costs time and no record. These tests stop things, so they have a stack of
//! their own.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

#[path = "support/pipeline.rs"]
mod support;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use weir_kafka::reader::Span;
use weir_kafka::scan;
use weir_model::pipeline::Pipeline;
use weir_producer::{Options, run};
use weir_service::{CancellationToken, Health, Metrics, Settings};
use weir_testkit::{Component, Stack, random_name, wait_until};

const LONG: Duration = Duration::from_secs(90);
const RECORDS: usize = 80_000;

fn pipeline(stack: &Stack) -> Arc<Pipeline> {
    let source = format!(
        "type = \"synthetic\"\ngenerator = \"call_records\"\nrecords = {RECORDS}\nrate = 10000\n\
         partitions = 2"
    );
    support::pipeline(stack, &source, "schema = \"call.avsc\"\nkey = \"caller_id\"")
}

fn metric(metrics: &Metrics, name: &str) -> f64 {
    let page = String::from_utf8(metrics.render().unwrap()).unwrap();
    page.lines()
        .filter(|l| l.starts_with(name))
        .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[test]
fn registry_and_broker_may_go_and_come_back() {
    let stack = Stack::start(weir_testkit::Options::default()).unwrap();
    let pipeline = pipeline(&stack);
    let metrics = Metrics::new("producer", &pipeline.name);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ready = move || {
        weir_testkit::http::get(&format!("http://{free}/ready")).ok().map(|answer| answer.body)
    };
    let settings = Settings { listen: free, instance: random_name("producer"), stable: false };
    let health = Health::new(&metrics);
    let options = Options { settings, metrics: metrics.clone(), health, exit_when_done: true };
    stack.stop(Component::Registry).unwrap();
    let producer = std::thread::spawn({
        let pipeline = pipeline.clone();
        move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(pipeline, options, CancellationToken::new()))
        }
    });
    let says = |what: &'static str| move || ready().filter(|text| text.contains(what)).map(drop);
    wait_until("the registry to be missed", LONG, says("\"registry\":\"the registry at"));
    assert_eq!(metric(&metrics, "weir_records_written_total"), 0.0);
    stack.resume(Component::Registry).unwrap();
    wait_until("records", LONG, || {
        (metric(&metrics, "weir_records_written_total") > 10_000.0).then_some(())
    });
    wait_until("readiness", LONG, says("\"ready\":true"));
    stack.kill(Component::Broker(0)).unwrap();
    wait_until(
        "the broker to be missed",
        Duration::from_secs(20),
        says("\"kafka\":\"no answer for"),
    );
    stack.resume(Component::Broker(0)).unwrap();
    producer.join().unwrap().unwrap();

    let mut keys = 0;
    let spans: Vec<_> = (0..3).map(Span::all).collect();
    let mut values = std::collections::HashSet::new();
    scan(&pipeline.kafka, &pipeline.input.topic, &spans, |record| {
        keys += 1;
        values.insert(record.value().unwrap().to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((keys, values.len()), (RECORDS, RECORDS), "records and different records");
}
