use crate::{finish, start_all, turn};
use weir_e2e::{Flow, Settings};
use weir_testkit::Stack;

#[test]
fn table_and_dead_letters_equal_the_recomputed_expectation() {
    let _turn = turn();
    let flow = Flow::new(Stack::shared(), &Settings { records: 240_000, workers: 2, ..Settings::default() }).unwrap();
    let expected = finish(&flow, start_all(&flow));

    let dead = expected.topic_letters.len() + expected.table_letters.len();
    assert!(expected.rows.len() + dead == 240_000 && (4_000..6_000).contains(&dead), "{dead} dead letters");
    assert!(expected.reasons().len() >= 6, "{:?}", expected.reasons());
}
