use crate::{finish, turn};
use weir_e2e::chaos::{self, Plan, Report};
use weir_e2e::flow::SERVICES;
use weir_e2e::{Flow, Settings};
use weir_testkit::Stack;

const SETTINGS: Settings = Settings {
    records: 240_000,
    rate: 8_000,
    invalid_share: 0.02,
    invalid_kinds: Vec::new(),
    seed: 7,
    batch: 1_000,
    workers: 1,
    registry: None,
};

#[test]
fn thirty_kills_lose_and_double_nothing() {
    let _turn = turn();
    let flow = Flow::new(Stack::shared(), &SETTINGS).unwrap();
    let plans = SERVICES.map(|service| Plan { service, slots: 1, kills: 10, leaves: 0 });
    let (services, reports) = chaos::run(&flow, &plans, 20_250_101).unwrap();
    assert_eq!(reports, [(); 3].map(|()| Report { kills: 10, leaves: 0 }));
    // Each sink that took over raised the fence of all three partitions.
    assert!(flow.fences().unwrap() >= 3 * 10, "{} fences", flow.fences().unwrap());
    finish(&flow, services);
}

#[test]
fn processes_that_join_leave_and_die_lose_and_double_nothing() {
    let _turn = turn();
    let flow = Flow::new(Stack::shared(), &Settings { seed: 8, ..SETTINGS }).unwrap();
    let plans = SERVICES.map(|service| Plan { service, slots: 2, kills: 3, leaves: 3 });
    let (services, reports) = chaos::run(&flow, &plans, 20_250_202).unwrap();
    assert_eq!(reports, [(); 3].map(|()| Report { kills: 3, leaves: 3 }));
    assert!(flow.fences().unwrap() >= 3 * 6, "{} fences", flow.fences().unwrap());
    finish(&flow, services);
}
