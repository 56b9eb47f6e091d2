use crate::{finish, start_all, turn};
use std::process::Command;
use weir_e2e::{Flow, Settings};
use weir_testkit::{Stack, cache};

const PACKAGES: &str = "confluent-kafka[avro,schemaregistry]==2.11.1";

/// Confluent's Python client reads the enriched topic with nothing but the broker's and the
/// registry's address.
#[test]
fn a_stock_consumer_reads_the_same_rows_as_the_table() {
    let _turn = turn();
    let rules = [
        "negative_duration",
        "ends_before_start",
        "duration_mismatch",
        "negative_amount",
        "truncated",
        "unknown_schema",
    ];
    let flow = Flow::new(
        Stack::shared(),
        &Settings { records: 20_000, invalid_kinds: rules.to_vec(), ..Settings::default() },
    )
    .unwrap();
    let expected = finish(&flow, start_all(&flow));

    let python = cache::cached("python-confluent-kafka-2.11.1", |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        run(Command::new(folder.join("bin/python")).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            PACKAGES,
        ]));
        Ok(())
    });
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/client.py");
    let arguments = [
        script,
        &flow.env["WEIR_KAFKA"],
        &flow.env["WEIR_REGISTRY"],
        &flow.pipeline.output.topic,
        &expected.rows.len().to_string(),
    ];
    let printed = run(Command::new(python.unwrap().join("bin/python")).args(arguments));
    let mut rows: Vec<_> = printed.split_terminator('\n').collect();
    rows.sort_unstable();
    assert_eq!(rows.len(), expected.rows.len());
    let differing = rows.iter().zip(&expected.rows).find(|(found, expected)| *found != expected);
    assert_eq!(differing, None);
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; Debian: apt-get install python3-venv")
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
