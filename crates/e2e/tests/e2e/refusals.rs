use crate::{DONE_WITHIN, drain, start_all, turn};
use weir_e2e::expectation::{BETWEEN, Expectation};
use weir_e2e::flow::SERVICES;
use weir_e2e::{Flow, Settings};
use weir_testkit::{Stack, wait_until};

/// The table gets a rule that the pipeline does not know, so PostgreSQL is the first to refuse.
#[test]
fn a_value_that_postgres_refuses_becomes_a_dead_letter_and_its_neighbours_are_written() {
    let _turn = turn();
    let settings = Settings {
        records: 20_000,
        invalid_kinds: vec!["name_too_long", "nul_in_text"],
        ..Settings::default()
    };
    let flow = Flow::new(Stack::shared(), &settings).unwrap();
    let mut sink = flow.program(SERVICES[2], 0).start().unwrap();
    let database = &flow.database;
    wait_until("the sink's table", DONE_WITHIN, || {
        sink.expect_running().unwrap();
        database.text("SELECT to_regclass('telecom.telecom_data')::text").unwrap()
    });
    database
        .execute(
            "ALTER TABLE telecom.telecom_data ADD CONSTRAINT an_hour CHECK (call_duration <= 3600)",
        )
        .unwrap();
    drain(
        &flow,
        vec![
            flow.program(SERVICES[0], 0).start().unwrap(),
            flow.program(SERVICES[1], 0).start().unwrap(),
            sink,
        ],
    );

    let expected = Expectation::of(&flow).unwrap();
    let (long, short): (Vec<_>, Vec<_>) =
        expected.rows.into_iter().partition(|row| seconds(row) > 3600);
    assert!(!long.is_empty(), "some calls last longer than an hour");
    weir_e2e::verdict::check_rows(&flow, &short).unwrap();
    let count = |sql: &str| usize::try_from(database.number(sql).unwrap()).unwrap();
    assert_eq!(
        count(
            "SELECT count(*) FROM weir.dead_letters WHERE sqlstate = '23514' AND detail LIKE \
             '%an_hour%'"
        ),
        long.len()
    );
    let dead_lettered = "SELECT count(*) FROM weir.dead_letters WHERE column_name = 'caller_name' \
        AND (reason, sqlstate) IN (('value_too_long', '22001'), ('character_not_storable', \
        '22021'))";
    assert_eq!(count(dead_lettered), expected.table_dead_letters.len());
    assert_eq!(
        count("SELECT count(*) FROM weir.dead_letters"),
        expected.table_dead_letters.len() + long.len()
    );
    // Every refused record shared its transaction with records that were written.
    assert_eq!(
        count("SELECT count(*) FROM weir.positions WHERE dead > 0 AND written > 10 * dead"),
        3
    );
    flow.weir(&["audit", &flow.file().to_string_lossy()]).unwrap();
}

#[test]
fn a_pipeline_file_with_a_mistake_ends_every_service_with_code_78() {
    let _turn = turn();
    let flow = Flow::new(Stack::shared(), &Settings::default()).unwrap();
    let text = std::fs::read_to_string(flow.file()).unwrap();
    std::fs::write(flow.file(), text.replace("records =", "recrods =")).unwrap();
    for mut service in start_all(&flow) {
        let status = service.wait(DONE_WITHIN).unwrap();
        assert_eq!(status.code(), Some(78), "{}", service.log());
        assert!(
            service.log().contains("recrods") && service.log().contains("records"),
            "{}",
            service.log()
        );
    }
}

fn seconds(row: &str) -> i64 {
    row.split(BETWEEN).nth(6).unwrap().parse().unwrap()
}
