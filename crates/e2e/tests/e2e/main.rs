//! The promises of the whole path, each shown on the real programs and the real components. They
//! run one at a time, because they measure waiting and some stop components.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

mod client;
mod files;
mod kills;
mod memory;
mod oracle;
mod outages;
mod refusals;
mod verdict;
mod zombies;

use serde_json::Value;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use weir_e2e::Flow;
use weir_e2e::expectation::Expectation;
use weir_e2e::flow::SERVICES;
use weir_testkit::Service;

const DONE_WITHIN: Duration = Duration::from_secs(120);

/// A test holds this as long as it runs.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One process of each service.
fn start_all(flow: &Flow) -> Vec<Service> {
    SERVICES.iter().map(|service| flow.program(service, 0).start().unwrap()).collect()
}

/// Waits for the end of the source at the end of the path, drains every service, and gives the
/// verdict.
fn finish(flow: &Flow, services: Vec<Service>) -> Expectation {
    drain(flow, services);
    weir_e2e::verdict::check(flow).unwrap()
}

/// Waits for the end of the source at the end of the path and drains every service.
fn drain(flow: &Flow, services: Vec<Service>) {
    flow.wait_done(DONE_WITHIN).unwrap();
    for service in services {
        assert_eq!(
            service.metric("weir_unaccounted_records", "").unwrap(),
            0.0,
            "{}",
            service.name()
        );
        stop(vec![service]);
    }
}

/// Stops services, each of which drains.
fn stop(services: Vec<Service>) {
    for service in services {
        let name = service.name().to_string();
        assert!(service.stop().unwrap().success(), "{name} drains with code 0");
    }
}

/// How many partitions a service works on, from `/status`.
fn held(service: &Service) -> usize {
    fn running(partition: &Value) -> bool {
        partition.get("state").is_none_or(|state| state == "running")
    }
    fn count(value: &Value) -> usize {
        let Value::Object(map) = value else { return 0 };
        let own = map
            .get("partitions")
            .and_then(Value::as_array)
            .map_or(0, |list| list.iter().filter(|p| running(p)).count());
        own + map.values().map(count).sum::<usize>()
    }
    service.status().map_or(0, |status| count(&status))
}
