use crate::{finish, start_all, stop, turn};
use std::time::Duration;
use weir_e2e::{Flow, Settings};
use weir_testkit::{Stack, wait_until};

#[test]
fn table_and_dead_letters_equal_the_recomputed_expectation() {
    let _turn = turn();
    let flow = Flow::new(
        Stack::shared(),
        &Settings { records: 240_000, workers: 2, ..Settings::default() },
    )
    .unwrap();
    let expected = finish(&flow, start_all(&flow));

    let dead = expected.topic_dead_letters.len() + expected.table_dead_letters.len();
    assert!(
        expected.rows.len() + dead == 240_000 && (4_000..6_000).contains(&dead),
        "{dead} dead letters"
    );
    assert!(expected.reasons().len() >= 6, "{:?}", expected.reasons());
}

#[test]
fn an_audit_of_a_running_pipeline_raises_no_false_alarm() {
    let _turn = turn();
    // The source lasts for minutes, so that it is still running when the last audit ends.
    let records = 5_000_000;
    let flow =
        Flow::new(Stack::shared(), &Settings { records, rate: 12_000, ..Settings::default() })
            .unwrap();
    let services = start_all(&flow);
    wait_until("work under way", Duration::from_secs(60), || {
        (flow.progress("weir-sink") > 0).then_some(())
    });
    let audit = || flow.weir(&["audit", &flow.file().to_string_lossy()]).unwrap();
    let mut progress = Vec::new();
    for _ in 0..3 {
        audit();
        progress.push(flow.progress("weir-sink"));
    }
    assert!(progress.is_sorted_by(|a, b| a < b), "records arrive between audits: {progress:?}");
    stop(services);
    audit();
}
