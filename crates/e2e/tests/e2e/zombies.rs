use crate::{finish, held, turn};
use std::time::Duration;
use weir_e2e::{Flow, Settings};
use weir_testkit::{Service, Stack, wait_until};

const SOON: Duration = Duration::from_secs(60);
const ROUNDS: usize = 2;

#[test]
fn a_sink_that_wakes_after_its_session_writes_nothing() {
    outlived("weir-sink", &["weir-producer", "weir-enricher"], "weir_fence_losses_total");
}

#[test]
fn an_enricher_that_wakes_after_its_session_writes_nothing() {
    outlived(
        "weir-enricher",
        &["weir-producer", "weir-sink"],
        "weir_producer_reinitializations_total",
    );
}

/// Two processes of `service` share the partitions; one of them freezes while it works, the other
/// takes over, the first wakes.
fn outlived(service: &'static str, others: &[&'static str], fenced: &str) {
    let _turn = turn();
    let flow = Flow::new(
        Stack::shared(),
        &Settings { records: 120_000, rate: 6_000, batch: 1_000, seed: 9, ..Settings::default() },
    )
    .unwrap();
    let mut services: Vec<Service> =
        others.iter().map(|service| flow.program(service, 0).start().unwrap()).collect();
    let pair: Vec<Service> =
        (0..2).map(|slot| flow.program(service, slot).start().unwrap()).collect();
    for round in 0..ROUNDS {
        let (zombie, successor) = (&pair[round % 2], &pair[(round + 1) % 2]);
        wait_until(
            &format!("both have partitions: {:?}", [zombie.status(), successor.status()]),
            SOON,
            || (held(zombie) >= 1 && held(successor) >= 1).then_some(()),
        );
        let before = flow.progress(service);
        wait_until("work under way", SOON, || (flow.progress(service) > before).then_some(()));
        let noticed = || {
            zombie.metric("weir_rebalances_total", "").unwrap() + zombie.metric(fenced, "").unwrap()
        };
        let calm = noticed();

        zombie.pause().unwrap();
        wait_until("the successor has all partitions", SOON, || {
            (held(successor) == 3).then_some(())
        });
        let taken_over = flow.progress(service);
        wait_until("the successor continues", SOON, || {
            (flow.progress(service) > taken_over).then_some(())
        });
        zombie.wake().unwrap();

        wait_until("the zombie notices", SOON, || (noticed() > calm).then_some(()));
    }
    services.extend(pair);
    finish(&flow, services);
}
