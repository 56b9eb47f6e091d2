use crate::{finish, start_all, turn};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use weir_e2e::flow::SERVICES;
use weir_e2e::{Flow, Settings};
use weir_testkit::proxy::Mode;
use weir_testkit::{Component, Options, Proxy, Service, Stack, wait_until};

/// These tests stop components, so they have their own stack.
static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::start(Options::default()).unwrap());

const SETTINGS: Settings = Settings {
    records: 60_000,
    rate: 4_000,
    invalid_share: 0.02,
    invalid_kinds: Vec::new(),
    seed: 10,
    batch: 1_000,
    workers: 1,
    registry: None,
};
/// For a service to say that something is unavailable.
const NOTICED_WITHIN: Duration = Duration::from_secs(45);
/// From the return of a component to the next committed record.
const RESUMED_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn a_broker_that_restarts_costs_seconds_and_no_record() {
    let _turn = turn();
    let flow = Flow::new(&STACK, &SETTINGS).unwrap();
    let services = start_all(&flow);
    reach(&flow, 10_000);
    let stopped = Stopped::kill(Component::Broker(0));
    services.iter().for_each(|service| waits_for(service, "kafka"));
    drop(stopped);
    resumes(&flow, &services);
    STACK.restart(Component::Broker(0)).unwrap();
    resumes(&flow, &services);
    finish(&flow, services);
}

#[test]
fn a_registry_that_is_unavailable_at_start_and_midway_costs_no_record() {
    let _turn = turn();
    let (proxy, url) = Proxy::in_front_of(STACK.registry()).unwrap();
    let flow = Flow::new(&STACK, &Settings { registry: Some(url), ..SETTINGS }).unwrap();
    proxy.set(Mode::Refuse);
    let mut services = start_all(&flow);
    services.iter().for_each(|service| waits_for(service, "registry"));
    proxy.set(Mode::Pass);
    resumes(&flow, &services);
    reach(&flow, 10_000);

    proxy.set(Mode::Refuse);
    // Enrichers that know their schemas continue; one that starts now has to ask the registry.
    services.remove(1).kill().unwrap();
    services.insert(1, flow.program(SERVICES[1], 0).start().unwrap());
    waits_for(&services[1], "registry");
    proxy.set(Mode::Pass);
    resumes(&flow, &services);
    finish(&flow, services);
}

#[test]
fn a_database_that_restarts_or_drops_a_copy_costs_seconds_and_no_record() {
    let _turn = turn();
    let flow = Flow::new(&STACK, &SETTINGS).unwrap();
    let services = start_all(&flow);
    reach(&flow, 10_000);
    let stopped = Stopped::kill(Component::Postgres);
    waits_for(&services[2], "postgres");
    drop(stopped);
    resumes(&flow, &services);
    STACK.restart(Component::Postgres).unwrap();
    resumes(&flow, &services);

    // A lock that blocks writers stops a COPY in the middle, until its connection is closed.
    let (holder, killer) = (flow.fresh_database().unwrap(), flow.fresh_database().unwrap());
    holder.execute("BEGIN; LOCK TABLE telecom.telecom_data IN SHARE MODE").unwrap();
    let end_copies = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
        WHERE datname = current_database() AND query ILIKE 'copy %' AND wait_event_type = 'Lock'";
    wait_until("a COPY to end", NOTICED_WITHIN, || {
        (killer.number(end_copies).unwrap() >= 1).then_some(())
    });
    wait_until("the sink to notice", NOTICED_WITHIN, || {
        services[2].log().contains("57P01").then_some(())
    });
    holder.execute("COMMIT").unwrap();
    resumes(&flow, &services);
    finish(&flow, services);
}

/// A component that was killed and comes back when this is dropped, also for the tests after one
/// that failed.
struct Stopped(Component);

impl Stopped {
    fn kill(component: Component) -> Stopped {
        STACK.kill(component).unwrap();
        Stopped(component)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        STACK.resume(self.0).unwrap();
    }
}

fn reach(flow: &Flow, records: u64) {
    wait_until("work under way", NOTICED_WITHIN, || {
        (flow.progress("weir-sink") >= records).then_some(())
    });
}

/// The service names what it waits for, is not ready, and lives.
fn waits_for(service: &Service, dependency: &str) {
    let up = format!("dependency=\"{dependency}\"");
    let what = format!(
        "{} reports that {dependency} is unavailable; {:?}",
        service.name(),
        service.get("/ready")
    );
    wait_until(&what, NOTICED_WITHIN, || {
        (!service.is_ready() && service.metric("weir_dependency_up", &up).is_ok_and(|up| up == 0.0))
            .then_some(())
    });
    assert!(service.is_live(), "{} lives while it waits for {dependency}", service.name());
}

fn resumes(flow: &Flow, services: &[Service]) {
    let (start, before) = (Instant::now(), flow.progress("weir-sink"));
    let records = flow.source().unwrap().records;
    wait_until("records flow again", RESUMED_WITHIN, || {
        let now = flow.progress("weir-sink");
        (now > before || now >= records * 9 / 10).then_some(())
    });
    println!("resumed after {:?}", start.elapsed());
    for service in services {
        let what = format!("{} is ready again; {:?}", service.name(), service.get("/ready"));
        wait_until(&what, RESUMED_WITHIN, || service.is_ready().then_some(()));
    }
}
