//! Files beside the table: the union of those that count is the output topic, each record once.

use crate::{stop, turn};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use weir_e2e::chaos::{self, Plan, Report};
use weir_e2e::expectation::{BETWEEN, Expectation};
use weir_e2e::{Flow, Settings};
use weir_model::lineage::{self, Lineage};
use weir_testkit::{Stack, wait};

const SETTINGS: Settings = Settings {
    records: 120_000,
    rate: 6_000,
    invalid_share: 0.02,
    invalid_kinds: Vec::new(),
    seed: 11,
    batch: 1_000,
    workers: 1,
    registry: None,
};

/// Small and short-lived files, so that many transactions are under way when the sink is killed.
const SINKS: &str = r#"
[[sink]]
name = "lines"
type = "files"
path = "FOLDER/lines"
format = "json"
compression = "zstd"
max_file_age = "700ms"
max_file_rows = 3000
lineage = true
partition_by = "country"

[[sink]]
name = "lake"
type = "files"
path = "FOLDER/lake"
max_file_age = "1s"
max_file_rows = 5000
lineage = true
"#;

/// Records that a sink has read, by its own counts.
fn read(flow: &Flow, sink: &str) -> Option<u64> {
    let audit = std::process::Command::new(weir_testkit::service::binary("weir").ok()?)
        .args(["audit", &flow.file().to_string_lossy(), "--json"])
        .envs(&flow.env)
        .output()
        .ok()?;
    let audit: Value = serde_json::from_slice(&audit.stdout).ok()?;
    let hops = audit["hops"].as_array()?.iter();
    let own = hops.filter(|hop| hop["name"].as_str().is_some_and(|name| name.contains(sink)));
    Some(own.filter_map(|hop| hop["read"].as_u64()).sum())
}

#[test]
fn kills_of_a_sink_leave_each_record_in_exactly_one_file() {
    let _turn = turn();
    let flow = Flow::with_sinks(Stack::shared(), &SETTINGS, SINKS).unwrap();
    let calm = ["weir-producer", "weir-enricher"].map(|service| Plan {
        service,
        slots: 1,
        kills: 0,
        leaves: 0,
    });
    let sink = Plan { service: "weir-sink", slots: 2, kills: 8, leaves: 2 };
    let plans = [calm[0], calm[1], sink];
    let (services, reports) = chaos::run(&flow, &plans, 20_250_303).unwrap();
    assert_eq!(reports[2], Report { kills: 8, leaves: 2 });
    flow.wait_done(Duration::from_secs(120)).unwrap();
    let written = flow.enricher_counts().unwrap().written;
    for sink in ["lines", "lake"] {
        let all = || (read(&flow, sink)? >= written).then_some(());
        wait::try_wait_until(Duration::from_secs(60), all)
            .unwrap_or_else(|| panic!("{sink} has read {:?} of {written}", read(&flow, sink)));
    }
    stop(services);
    let expected = weir_e2e::verdict::check(&flow).unwrap();
    let output = flow.topics.read(&flow.pipeline.output.topic).unwrap();
    let lineage = |record: &weir_testkit::topics::Record| {
        let bytes = record.header(lineage::HEADER).unwrap();
        (record.partition, Lineage::decode(bytes).unwrap().source)
    };
    let mut emitted: Vec<(i32, i64)> = output.iter().map(lineage).collect();
    emitted.sort_unstable();
    let rows = rows(&flow);
    let mut found: Vec<(i32, i64)> = rows.keys().copied().collect();
    found.sort_unstable();
    assert!(found == emitted, "{} rows of {} records", found.len(), emitted.len());
    values_are_those_of_the_source(&rows, &expected);
    let file = flow.file().to_string_lossy().into_owned();
    let swept = flow.weir(&["files", "sweep", &file, "--older-than", "0s", "--yes"]).unwrap();
    let after = flow.weir(&["files", "sweep", &file, "--older-than", "0s"]).unwrap();
    assert!(
        after.contains("lines: 0 files") && after.contains("lake: 0 files"),
        "{swept}\n{after}"
    );
    let audit = flow.weir(&["audit", &file, "--deep", "--content"]).unwrap();
    assert!(audit.contains("rows are not compared with their records"), "{audit}");
    a_file_that_was_cut_is_found(&flow, &file);
}

fn a_file_that_was_cut_is_found(flow: &Flow, file: &str) {
    let listed = flow.weir(&["files", "ls", file, "--sink", "lake"]).unwrap();
    let path = listed.lines().next().unwrap();
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    let audit = flow.weir(&["audit", file, "--deep"]).unwrap_err().to_string();
    assert!(audit.contains(path) && audit.contains("was written with"), "{audit}");
    std::fs::write(path, bytes).unwrap();
    flow.weir(&["audit", file, "--deep"]).unwrap();
}

/// The rows of the sink `lines` by the input record that they name.
fn rows(flow: &Flow) -> BTreeMap<(i32, i64), Value> {
    let file = flow.file().to_string_lossy().into_owned();
    let listed = flow.weir(&["files", "ls", &file, "--sink", "lines"]).unwrap();
    let mut rows = BTreeMap::new();
    for path in listed.lines() {
        let (_, folder) = path.split_once("country=").unwrap();
        let country = folder.split('/').next().unwrap().replace("%20", " ");
        let bytes = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let mut row: Value = serde_json::from_slice(line).unwrap();
            row["country"] = country.clone().into();
            let at = (row["weir_partition"].as_i64().unwrap() as i32, row["weir_offset"].as_i64());
            let before = rows.insert((at.0, at.1.unwrap()), row);
            assert_eq!(before, None, "a second row of {at:?} in {path}");
        }
    }
    rows
}

/// The table holds the same rows, apart from those that are too long for its columns.
fn values_are_those_of_the_source(rows: &BTreeMap<(i32, i64), Value>, expected: &Expectation) {
    let columns = ["caller_name", "receiver_name", "caller_id", "receiver_id"];
    let key = |row: &Value| {
        let text = |name: &&str| row[*name].as_str().unwrap_or("NULL").to_owned();
        let country = match row["country"].as_str().unwrap() {
            "__HIVE_DEFAULT_PARTITION__" => "NULL",
            country => country,
        };
        format!(
            "{}|{}|{country}",
            columns.iter().map(text).collect::<Vec<_>>().join("|"),
            row["call_duration"]
        )
    };
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    rows.values().for_each(|row| *found.entry(key(row)).or_default() += 1);
    for row in &expected.rows {
        let values: Vec<&str> = row.split(BETWEEN).collect();
        let key = [&values[..4], &[values[6], values[9]]].concat().join("|");
        let count = found.get_mut(&key).unwrap_or_else(|| panic!("no row {key}"));
        *count = count.checked_sub(1).unwrap_or_else(|| panic!("too few rows {key}"));
    }
    let rest: usize = found.values().sum();
    assert_eq!(rest, expected.table_dead_letters.len(), "only what the table refuses is left");
}
