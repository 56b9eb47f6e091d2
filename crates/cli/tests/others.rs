//! Records that other programs write: JSON without a registry, with keys, headers and tombstones.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use weir_testkit::topics::Record;
use weir_testkit::{Database, Stack, Topics, http, random_name, service};

const INPUT: &str = r#"{"type": "record", "name": "Order", "fields": [
  {"name": "id", "type": "long"},
  {"name": "name", "type": "string", "default": "nobody"},
  {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}},
  {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
  {"name": "customer", "type": {"type": "record", "name": "Customer", "fields": [
    {"name": "city", "type": "string"}]}},
  {"name": "tags", "type": {"type": "array", "items": "string"}, "default": []}]}"#;
const OUTPUT: &str = r#"{"type": "record", "name": "OrderRow", "fields": [
  {"name": "id", "type": "long"},
  {"name": "name", "type": "string"},
  {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}},
  {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
  {"name": "city", "type": "string"},
  {"name": "tags", "type": {"type": "array", "items": "string"}},
  {"name": "position", "type": "string"},
  {"name": "written_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "trace", "type": ["null", "string"]}]}"#;
const KEY: &str = r#"{"type": "record", "name": "Key", "fields": [
  {"name": "id", "aliases": ["order_id"], "type": "long"}]}"#;
const SQL: &str = "SELECT i.id, name, amount, at, i.customer.city AS city, tags, \
    concat(_topic, '/', _partition, '/', _offset) AS position, i._timestamp AS written_at, \
    _header['trace'] AS trace FROM input i WHERE _key['id'] = id OR _key IS NULL";

struct World {
    name: String,
    folder: tempfile::TempDir,
    database: Database,
    topics: Topics,
    env: BTreeMap<String, String>,
}

impl World {
    fn new(keys: &str, sink: &str) -> World {
        let (stack, name) = (Stack::shared(), random_name("orders"));
        let url = stack.create_database("orders").unwrap();
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in [("in.avsc", INPUT), ("out.avsc", OUTPUT), ("key.avsc", KEY)] {
            fs::write(folder.path().join(file), text).unwrap();
        }
        let text = format!(
            "name = \"{name}\"\n[input]\ntopic = \"{name}\"\nschema = \"in.avsc\"\npartitions = 1\n\
             format = \"json\"\n{keys}\
             [[reject]]\nname = \"negative\"\nwhen = \"amount < 0 AND _header['force'] IS NULL\"\n\
             [transform]\nsql = \"{SQL}\"\n\
             [output]\ntopic = \"{name}-out\"\nschema = \"out.avsc\"\n\
             [[sink]]\nname = \"w\"\ntype = \"postgres\"\nurl = \"{url}\"\ntable = \"shop.orders\"\n\
             {sink}"
        );
        fs::write(folder.path().join("p.toml"), text).unwrap();
        let topics = Topics::new(stack.kafka());
        topics.create(&name, 1).unwrap();
        let database = Database::connect(&url).unwrap();
        World { name, folder, database, topics, env: stack.env().into_iter().collect() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("p.toml")
    }

    /// `weir COMMAND FILE OPTIONS`; what it prints.
    fn weir(&self, command: &[&str], options: &[&str]) -> String {
        let mut weir = Command::new(service::binary("weir").unwrap());
        let done = weir.args(command).arg(self.file()).args(options).envs(&self.env).output();
        let done = done.unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "weir {command:?}: {text}{}",
            String::from_utf8_lossy(&done.stderr)
        );
        text
    }

    /// Writes records, and lets the pipeline run until they have arrived.
    fn run(&self, records: &[Record]) {
        self.topics.write(&self.name, records).unwrap();
        self.weir(&["run"], &["--until-done"]);
    }

    fn rows(&self, columns: &str) -> Vec<String> {
        let sql = format!("SELECT concat_ws('|', {columns}) FROM shop.orders ORDER BY id");
        self.database
            .texts(&sql)
            .unwrap()
            .into_iter()
            .map(|mut row| row.remove(0).unwrap())
            .collect()
    }

    /// Dead letters by reason.
    fn dead(&self) -> Vec<(String, String)> {
        let dead = self.topics.read(&format!("{}.dead-letters", self.name)).unwrap();
        let said = |record: &Record, name: &str| record.header_text(name).unwrap().to_owned();
        dead.iter().map(|r| (said(r, "weir-reason"), said(r, "weir-detail"))).collect()
    }

    /// The counts and, independently of them, topics and table.
    fn audit(&self) -> Value {
        let audit = self.weir(&["audit"], &["--deep", "--json"]);
        let audit: Value = serde_json::from_str(&audit).unwrap();
        assert_eq!(audit["clean"], true, "{audit}");
        audit
    }
}

fn key(id: i64) -> Option<Vec<u8>> {
    Some(format!("{{\"order_id\": {id}}}").into_bytes())
}

fn order(id: i64, amount: &str, more: &str) -> Record {
    let value = format!(
        "{{\"id\":{id},\"amount\":{amount},\"at\":\"2026-01-02T03:04:05.000006+01:00\",\
         \"customer\":{{\"city\":\"Köln\",\"zip\":5}}{more}}}"
    );
    Record {
        key: key(id),
        value: Some(value.into_bytes()),
        timestamp: 1_700_000_000_000 + id,
        ..Record::default()
    }
}

fn tombstone(id: i64) -> Record {
    Record { key: key(id), value: None, ..Record::default() }
}

const UPSERT: &str = "mode = \"upsert\"\nkey = \"id\"\nlineage = true\n";
const JSON_KEY: &str = "key_format = \"json\"\nkey_schema = \"key.avsc\"\n";

#[test]
fn json_of_another_program_arrives_with_its_key_place_time_and_headers() {
    let world = World::new(JSON_KEY, UPSERT);
    world.weir(&["check"], &[]);
    let header = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
    let traced = Record {
        headers: vec![header("trace", b"first"), header("trace", "zw\u{f6}lf".as_bytes())],
        ..order(2, "123456789012345678.90", ",\"name\":\"a\",\"tags\":[\"x\",\"y\"]")
    };
    let unread = Record { headers: vec![header("other", b"\xff")], ..order(3, "1", "") };
    let unreadable = Record { headers: vec![header("trace", b"\xff")], ..order(4, "1", "") };
    let bad_key = Record { key: Some(b"no json".to_vec()), ..order(5, "1", "") };
    let malformed = Record { value: Some(b"{\"id\":6".to_vec()), ..order(6, "1", "") };
    let another = Record { key: key(99), ..order(9, "1", "") };
    let records = [
        order(1, "0.10", ""),
        traced,
        unread,
        unreadable,
        bad_key,
        malformed,
        order(7, "\"1\"", ""),
        order(8, "-1", ""),
        another,
        tombstone(1),
        Record { key: None, ..order(10, "2", "") },
    ];
    world.run(&records);
    let rows = world.rows(
        "id, name, amount, at, city, tags, split_part(position, '/', 3), \
         extract(epoch FROM written_at)::text, trace",
    );
    let at = "2026-01-02 02:04:05.000006+00|Köln";
    assert_eq!(
        rows,
        [
            format!("1|nobody|0.10|{at}|{{}}|0|1700000000.001000"),
            format!("2|a|123456789012345678.90|{at}|{{x,y}}|1|1700000000.002000|zwölf"),
            format!("3|nobody|1.00|{at}|{{}}|2|1700000000.003000"),
            format!("10|nobody|2.00|{at}|{{}}|10|1700000000.010000"),
        ]
    );
    let dead = world.dead();
    let reasons: Vec<&str> = dead.iter().map(|(reason, _)| reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "bad_header",
            "bad_key",
            "malformed_json",
            "value_does_not_fit",
            "negative",
            "null_payload"
        ],
        "{dead:?}"
    );
    let shown = world.weir(&["dead", "show"], &[&format!("{}[0]@6", world.name)]);
    assert!(shown.contains("amount    \"1\"") && shown.contains("{\"city\":\"Köln\""), "{shown}");
    let audit = world.audit();
    let hops = audit["hops"].as_array().unwrap();
    let enricher = hops.iter().find(|hop| hop["name"] == "enricher").unwrap();
    let count = |what: &str| enricher[what].as_u64().unwrap();
    assert_eq!(
        (count("read"), count("written"), count("filtered"), count("dead")),
        (11, 4, 1, 6),
        "the record whose key is another one's is filtered"
    );
}

#[test]
fn a_tombstone_deletes_the_row_of_its_key_and_an_older_version_does_not_bring_it_back() {
    let sink = format!("{UPSERT}tombstones = \"delete\"\ndelete_when = \"name = 'gone'\"\n");
    let world = World::new(JSON_KEY, &sink);
    world.weir(&["check"], &[]);
    let text = |id| Record { key: Some(b"5".to_vec()), ..tombstone(id) };
    world.run(&[
        order(1, "-5", ""), // dead, replayed later
        order(1, "1", ""),
        order(2, "2", ""),
        order(3, "3", ""),
        tombstone(1),
        order(2, "2", ",\"name\":\"gone\""),
        order(4, "4", ""),
        tombstone(4),
        order(4, "4.50", ""),
        tombstone(77), // nothing to delete
        text(5),
        Record { key: None, ..tombstone(6) },
    ]);
    assert_eq!(world.rows("id, amount"), ["3|3.00", "4|4.50"]);
    world.audit();
    assert_eq!(
        world.database.texts("SELECT reason FROM weir.dead_letters").unwrap(),
        [[Some("bad_key".to_owned())], [Some("bad_key".to_owned())]]
    );
    let pipeline = fs::read_to_string(world.file()).unwrap();
    fs::write(world.file(), pipeline.replace("amount < 0 AND", "amount < -9 AND")).unwrap();
    world.weir(&["dead", "replay"], &["--reason", "negative", "--rate", "0"]);
    world.weir(&["run"], &["--until-done"]);
    assert_eq!(world.rows("id, amount"), ["3|3.00", "4|4.50"], "the deleted row stays deleted");
    assert_eq!(world.database.number("SELECT sum(superseded) FROM weir.positions").unwrap(), 1);
    world.audit();
    world.run(&[order(1, "9", "")]);
    assert_eq!(world.rows("id, amount"), ["1|9.00", "3|3.00", "4|4.50"], "a new one is a row");
    let audit = world.audit();
    let sink = audit["hops"].as_array().unwrap().last().unwrap();
    let count = |what: &str| sink[what].as_u64().unwrap();
    assert_eq!((count("read"), count("written"), count("dead")), (13, 11, 2), "{sink}");
}

#[test]
fn a_sink_may_skip_tombstones_that_another_one_deletes_by() {
    let sink = format!("{UPSERT}tombstones = \"delete\"\n");
    let world = World::new(JSON_KEY, &sink);
    let text = fs::read_to_string(world.file()).unwrap();
    let url = text.split("url = \"").nth(1).unwrap().split('"').next().unwrap();
    let history = format!(
        "[[sink]]\nname = \"history\"\ntype = \"postgres\"\nurl = \"{url}\"\n\
         table = \"shop.history\"\ntombstones = \"skip\"\n"
    );
    fs::write(world.file(), text.clone() + &history).unwrap();
    world.run(&[order(1, "1", ""), order(1, "2", ""), tombstone(1)]);
    let number = |sql: &str| world.database.number(sql).unwrap();
    assert_eq!(number("SELECT count(*) FROM shop.orders"), 0);
    assert_eq!(number("SELECT count(*) FROM shop.history"), 2);
    let filtered = "SELECT sum(filtered) FROM weir.positions WHERE sink = 'history'";
    assert_eq!((number(filtered), number("SELECT count(*) FROM weir.dead_letters")), (1, 0));
    world.audit();
}

/// A schema under a subject; its id.
fn register(subject: &str, schema: &str) -> u32 {
    let url = format!("{}/subjects/{subject}/versions", Stack::shared().registry());
    let answer = http::send("POST", &url, &json!({ "schema": schema })).unwrap();
    answer["id"].as_u64().unwrap() as u32
}

#[test]
fn keys_of_confluent_s_avro_serializer_are_read_and_delete_rows() {
    let sink = format!("{UPSERT}tombstones = \"delete\"\n");
    let world = World::new("key_format = \"avro\"\nkey_schema = \"key.avsc\"\n", &sink);
    let written = KEY.replace(r#""name": "id", "aliases": ["order_id"]"#, r#""name": "order_id""#);
    let schema_id = register(&format!("{}-key", world.name), &written);
    let key = |id: u8| Some([&[0][..], &schema_id.to_be_bytes(), &[id * 2]].concat());
    let with = |id: u8, record: Record| Record { key: key(id), ..record };
    world.run(&[
        with(1, order(1, "1", "")),
        with(2, order(2, "2", "")),
        with(1, tombstone(1)),
        Record { key: Some(vec![0, 0, 0]), ..order(3, "3", "") },
        Record { key: Some(vec![0, 0, 0]), ..tombstone(4) },
    ]);
    assert_eq!(world.rows("id, amount"), ["2|2.00"]);
    assert_eq!(world.dead().len(), 1, "{:?}", world.dead());
    assert_eq!(world.dead()[0].0, "bad_key");
    assert_eq!(world.database.number("SELECT count(*) FROM weir.dead_letters").unwrap(), 1);
    world.audit();
    let only_the_output = world.weir(&["schema", "compatibility"], &[]);
    let subjects = only_the_output.matches("-value").count();
    assert_eq!(subjects, 1, "{only_the_output}");
}
