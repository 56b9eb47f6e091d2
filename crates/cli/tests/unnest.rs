//! A pipeline that makes a row of each line of an order: every row lands once, the counts close, and
//! the audit sees what is missing or too much.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use weir_testkit::service::{Program, Service};
use weir_testkit::topics::Record;
use weir_testkit::{Database, Stack, Topics, random_name, wait_until};

const ORDERS: i64 = 6_000;

const INPUT: &str = r#"{"type": "record", "name": "Order", "fields": [
    {"name": "id", "type": "long"},
    {"name": "customer", "type": "string"},
    {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
        {"name": "sku", "type": "string"}, {"name": "qty", "type": "int"}]}}}]}"#;

const OUTPUT: &str = r#"{"type": "record", "name": "OrderLine", "fields": [
    {"name": "order_id", "type": "long"},
    {"name": "number", "type": "long"},
    {"name": "customer", "type": "string"},
    {"name": "sku", "type": "string"},
    {"name": "qty", "type": "int"}]}"#;

const SQL: &str = "SELECT id AS order_id, line.ordinality AS number, customer, sku, qty
    FROM input CROSS JOIN unnest(lines) WITH ORDINALITY AS line
    WHERE qty <> 0";

/// The lines of an order: none, one or several; now and then one that the rule refuses, that WHERE
/// leaves out, or that the table refuses.
fn lines(id: i64) -> Vec<(String, i32)> {
    let line = |n: i64| {
        let qty = match (id % 41, id % 29) {
            (0, _) if n == 1 => -1,
            (_, 0) => 0,
            _ => (id + n) as i32 % 9 + 1,
        };
        let sku = if id % 501 == 2 && n == 0 { "far-too-long" } else { "sku" };
        (format!("{sku}{n}"), qty)
    };
    (0..id % 6).map(line).collect()
}

struct Expected {
    /// `order number sku qty`.
    rows: BTreeSet<String>,
    /// By what is counted.
    counts: BTreeMap<&'static str, u64>,
    refused_by_table: u64,
}

fn expected() -> Expected {
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut rows, mut refused_by_table) = (BTreeSet::new(), 0);
    let mut count = |what, n: usize| *counts.entry(what).or_default() += n as u64;
    for id in 0..ORDERS {
        count("read", 1);
        let lines = lines(id);
        if lines.iter().any(|(_, qty)| *qty < 0) {
            count("dead", 1);
            continue;
        }
        let kept: Vec<_> = (1..).zip(&lines).filter(|(_, (_, qty))| *qty != 0).collect();
        match kept.len() {
            0 => count("filtered", 1),
            written => {
                count("written", written);
                count("unnested", written - 1);
            }
        }
        for (number, (sku, qty)) in kept {
            if sku.len() > 8 {
                refused_by_table += 1;
            } else {
                rows.insert(format!("{id} {number} {sku} {qty}"));
            }
        }
    }
    Expected { rows, counts, refused_by_table }
}

struct Case {
    folder: TempDir,
    name: String,
    database: Database,
}

impl Case {
    fn new() -> Case {
        let url = Stack::shared().create_database("unnest").unwrap();
        let database = Database::connect(&url).unwrap();
        let (folder, name) = (TempDir::new().unwrap(), random_name("unnest"));
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        write("in.avsc", INPUT);
        write("out.avsc", OUTPUT);
        write(
            "p.toml",
            &format!(
                "name = \"{name}\"\n\
                 [input]\ntopic = \"{name}\"\nschema = \"in.avsc\"\npartitions = 2\n\
                 format = \"json\"\n\
                 [[reject]]\nname = \"negative\"\nwhen = \"line.qty < 0\"\n\
                 [transform]\nsql = '''{SQL}'''\n\
                 [output]\ntopic = \"{name}-out\"\nschema = \"out.avsc\"\n\
                 [batch]\nrecords = 25\n\
                 [[sink]]\nname = \"w\"\ntype = \"postgres\"\nurl = \"{url}\"\n\
                 table = \"public.t\"\nlineage = true\n\
                 [sink.columns]\nsku = \"varchar(8)\"\n"
            ),
        );
        Case { folder, name, database }
    }

    fn start(&self, program: &str) -> Service {
        let env: BTreeMap<_, _> = Stack::shared().env().into_iter().collect();
        let file = self.folder.path().join("p.toml");
        let program = Program::new(program, &[file.to_str().unwrap()], &env, self.folder.path());
        program.start().unwrap()
    }

    fn weir(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        let file = self.folder.path().join("p.toml");
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|a| if *a == "FILE" { file.to_str().unwrap() } else { a })
            .collect();
        let output = command.args(&arguments).envs(Stack::shared().env()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn audit(&self) -> (bool, String) {
        self.weir(&["audit", "FILE", "--deep", "--content"])
    }

    fn number(&self, sql: &str) -> u64 {
        self.database.number(sql).unwrap_or(0) as u64
    }
}

#[test]
fn every_line_of_every_order_lands_once_through_kills() {
    let (case, expected) = (Case::new(), expected());
    let topics = Topics::new(Stack::shared().kafka());
    topics.create(&case.name, 2).unwrap();
    let record = |id: i64| {
        let lines = lines(id).into_iter().map(|(sku, qty)| json!({"sku": sku, "qty": qty}));
        let order = json!({"id": id, "customer": "Ada", "lines": lines.collect::<Value>()});
        let value = Some(order.to_string().into_bytes());
        let (partition, key) = ((id % 2) as i32, Some(id.to_string().into()));
        Record { partition, key, value, ..Record::default() }
    };
    topics.write(&case.name, &(0..ORDERS).map(record).collect::<Vec<_>>()).unwrap();
    let (checked, text) = case.weir(&["check", "FILE"]);
    assert!(checked, "{text}");

    let all = (expected.rows.len() as u64, expected.refused_by_table);
    let landed = || {
        (
            case.number("SELECT count(*) FROM t"),
            case.number("SELECT count(*) FROM weir.dead_letters"),
        )
    };
    let mut services = ["weir-enricher", "weir-sink"].map(|program| case.start(program));
    for kill in 1..=6 {
        let part = all.0 * kill / 8;
        wait_until("more rows", Duration::from_secs(60), || (landed().0 >= part).then_some(()));
        let at = kill as usize % 2;
        let again = case.start(services[at].name());
        std::mem::replace(&mut services[at], again).kill().unwrap();
    }
    wait_until("all rows", Duration::from_secs(60), || (landed() == all).then_some(()));
    for service in services {
        assert!(service.stop().unwrap().success());
    }

    let rows = case.database.texts("SELECT concat_ws(' ', order_id, number, sku, qty) FROM t");
    let rows: BTreeSet<String> = rows.unwrap().into_iter().flatten().flatten().collect();
    assert_eq!(rows, expected.rows);
    let (clean, text) = case.audit();
    assert!(clean, "{text}");
    let (_, text) = case.weir(&["audit", "FILE", "--json"]);
    let audit: Value = serde_json::from_str(&text).unwrap();
    let hops = audit["hops"].as_array().unwrap();
    let enricher = hops.iter().find(|hop| hop["name"].as_str().unwrap().contains("enricher"));
    for (what, count) in &expected.counts {
        assert_eq!(enricher.unwrap()[what], *count, "{what}: {text}");
    }
    // The rows of an order are in one transaction of the table.
    let apart = "SELECT count(*) FROM (SELECT FROM t GROUP BY weir_partition, weir_offset \
                 HAVING count(DISTINCT t.xmin::text) > 1) apart";
    assert_eq!(case.number(apart), 0);

    let (_, text) = case.weir(&["dead", "replay", "FILE", "--dry-run"]);
    assert!(text.contains("one of the rows that the SQL makes of its input record"), "{text}");

    // An order with several rows.
    let of = "WHERE order_id = 3 AND number = 2";
    for (change, words) in [
        (format!("UPDATE t SET qty = 1000 {of}"), "rows that differ from their record"),
        (format!("INSERT INTO t SELECT * FROM t {of}"), "written twice: input records"),
        (format!("DELETE FROM t {of}"), "neither a row nor a dead letter: input records"),
    ] {
        case.database.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept AS TABLE t").unwrap();
        case.database.execute(&change).unwrap();
        let (clean, text) = case.audit();
        assert!(!clean && text.contains(words), "{change}: {text}");
        case.database.execute("TRUNCATE t; INSERT INTO t TABLE kept").unwrap();
    }
    let (clean, text) = case.audit();
    assert!(clean, "{text}");
}
