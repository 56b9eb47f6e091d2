//! The promises of the whole path, each shown on the real programs and the real components. One at a time: they measure waiting, and
//! some take components away.

mod client;
mod kills;
mod oracle;
mod outages;
mod refusals;
mod zombies;

use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use weir_e2e::Flow;
use weir_e2e::expectation::Expectation;
use weir_e2e::flow::SERVICES;
use weir_testkit::Service;

const DONE_WITHIN: Duration = Duration::from_secs(180);

/// A test holds this as long as it runs.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One process of each service.
fn start_all(flow: &Flow) -> Vec<Service> {
    SERVICES.iter().map(|service| flow.program(service, 0).start().unwrap()).collect()
}

/// Waits for the end of the source at the end of the path, drains every service, and gives the verdict.
fn finish(flow: &Flow, services: Vec<Service>) -> Expectation {
    if let Err(error) = flow.wait_done(DONE_WITHIN) {
        let words = services.iter().map(|service| format!("{}: {:?}\n{}", service.name(), service.get("/ready"), tail(&service.log())));
        panic!("{error:#}\n{}", words.collect::<Vec<_>>().join("\n"));
    }
    for service in services {
        assert_eq!(service.metric("weir_unaccounted_records", "").unwrap(), 0.0, "{}", service.name());
        let name = service.name().to_string();
        assert!(service.stop().unwrap().success(), "{name} drains with code 0");
    }
    weir_e2e::verdict::check(flow).unwrap()
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

/// How many partitions a service works on, from `/status`.
fn held(service: &Service) -> usize {
    fn count(value: &Value) -> usize {
        match value {
            Value::Object(map) if map.contains_key("partition") => usize::from(map.get("state").is_none_or(|state| state == "running")),
            Value::Object(map) => map.values().map(count).sum(),
            Value::Array(list) => list.iter().map(count).sum(),
            _ => 0,
        }
    }
    service.status().map_or(0, |status| count(&status))
}
