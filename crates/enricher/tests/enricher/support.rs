//! A small pipeline with its own topics, an independent Avro encoder, and an auditor that follows
//! the lineage.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use weir_model::lineage::{HEADER, Lineage};
use weir_model::progress::Progress;
use weir_testkit::service::{Program, Service};
use weir_testkit::topics::{Record, Topics};
use weir_testkit::{Stack, http, random_name, wait_until};

pub(crate) const SOON: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;

const INPUT: &str = r#"{"type":"record","name":"Item","fields":[
    {"name":"id","type":"long"},
    {"name":"name","type":["null","string"]}]}"#;
const OUTPUT: &str = r#"{"type":"record","name":"ItemOut","fields":[
    {"name":"id","type":"long"},
    {"name":"name","type":["null","string"]},
    {"name":"twice","type":"long"}]}"#;

/// A pipeline: ids below 0 are rejected, ids that end in 9 are filtered, the others are doubled.
pub(crate) struct Pipeline {
    pub(crate) name: String,
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) topics: Topics,
    pub(crate) schema_id: u32,
    registry: String,
    /// Rules and SQL, as in the file.
    transform: String,
    folder: TempDir,
}

const TRANSFORM: &str = "[[reject]]\nname = \"negative\"\nwhen = \"id < 0\"\n\
    [transform]\nsql = \"SELECT id, name, id * 2 AS twice FROM input WHERE id % 10 <> 9\"\n";

impl Pipeline {
    pub(crate) fn new() -> Pipeline {
        Pipeline::with(Stack::shared().registry(), "")
    }

    /// `more` is appended to the pipeline file.
    pub(crate) fn with(registry: &str, more: &str) -> Pipeline {
        Pipeline::create(registry, (INPUT, OUTPUT), TRANSFORM, more)
    }

    /// A pipeline of other schemas, input and output, and other SQL.
    pub(crate) fn of(schemas: (&str, &str), sql: &str) -> Pipeline {
        let transform = format!("[transform]\nsql = '''{sql}'''\n");
        Pipeline::create(Stack::shared().registry(), schemas, &transform, "")
    }

    /// The same pipeline of values in another format, which rejects and filters nothing.
    pub(crate) fn reading(format: &str) -> Pipeline {
        // What comes before `[transform]` belongs to `[input]`.
        let transform = format!(
            "format = \"{format}\"\n[transform]\nsql = \"SELECT id, name, id * 2 AS twice FROM input\"\n"
        );
        Pipeline::create(Stack::shared().registry(), (INPUT, OUTPUT), &transform, "")
    }

    fn create(
        registry: &str,
        (input_schema, output_schema): (&str, &str),
        transform: &str,
        more: &str,
    ) -> Pipeline {
        let (name, input) = (random_name("items"), random_name("input"));
        let folder = TempDir::new().unwrap();
        let schema_id = register(&input, input_schema);
        let output = format!("{input}-out");
        let topics = Topics::new(Stack::shared().kafka());
        let (registry, transform) = (registry.into(), transform.into());
        let pipeline =
            Pipeline { name, input, output, topics, schema_id, registry, transform, folder };
        std::fs::write(pipeline.folder.path().join("input.avsc"), input_schema).unwrap();
        std::fs::write(pipeline.folder.path().join("output.avsc"), output_schema).unwrap();
        pipeline.write_file(&pipeline.name, more);
        for topic in [&pipeline.input, &pipeline.output, &pipeline.dead_letters()] {
            pipeline.topics.create(topic, PARTITIONS).unwrap();
        }
        pipeline
    }

    pub(crate) fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.input)
    }

    pub(crate) fn group(&self) -> String {
        format!("weir.{}.enricher", self.name)
    }

    /// The same topics, as another pipeline's.
    pub(crate) fn rename(&mut self, name: &str) {
        self.name = name.into();
        self.write_file(name, "");
    }

    fn write_file(&self, name: &str, more: &str) {
        let text = format!(
            "name = \"{name}\"\ndescription = \"test\"\n[kafka]\nbrokers = \"{}\"\n\
             session_timeout = \"6s\"\n[registry]\nurl = \"{}\"\n\
             [input]\ntopic = \"{}\"\nschema = \"input.avsc\"\npartitions = {PARTITIONS}\n\
             {}[output]\ntopic = \"{}\"\nschema = \"output.avsc\"\n\
             [[sink]]\nname = \"warehouse\"\ntype = \"postgres\"\n\
             url = \"postgres://weir@localhost:1/weir\"\ntable = \"t\"\nmode = \"append\"\n{more}",
            Stack::shared().kafka(),
            self.registry,
            self.input,
            self.transform,
            self.output,
        );
        std::fs::write(self.file(), text).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pipeline.toml")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn program(&self, instance: &str) -> Program {
        let file = self.file();
        Program::new(
            "weir-enricher",
            &[file.to_str().unwrap()],
            &BTreeMap::new(),
            self.folder.path(),
        )
        .env("WEIR_INSTANCE", instance)
    }

    pub(crate) fn start(&self, instance: &str) -> Service {
        let mut service = self.program(instance).start().unwrap();
        service.wait_ready().unwrap();
        service
    }

    /// Writes one good or bad item per id, spread over the partitions.
    pub(crate) fn write_items(&self, ids: std::ops::Range<i64>) {
        let records: Vec<_> =
            ids.map(|id| record(id, Some(item(self.schema_id, id, Some("näme"))))).collect();
        self.topics.write(&self.input, &records).unwrap();
    }

    /// Waits until the group has read to the end of the input.
    pub(crate) fn wait_done(&self) {
        wait_until("the end of the input", SOON, || {
            let ends = self.topics.ends(&self.input).ok()?;
            let committed = self.topics.committed(&self.group(), &self.input).ok()?;
            let done = ends
                .iter()
                .zip(&committed)
                .all(|(end, at)| *end == 0 || at.as_ref().is_some_and(|(next, _)| next == end));
            done.then_some(())
        });
    }

    /// The counts that were committed, summed up after a check of each.
    pub(crate) fn counts(&self) -> BTreeMap<i32, Progress> {
        let committed = self.topics.committed(&self.group(), &self.input).unwrap();
        (0..)
            .zip(committed)
            .filter_map(|(p, at)| Some((p, at?.1.parse::<Progress>().unwrap())))
            .collect()
    }

    /// Follows the lineage of every partition through output and dead letters, compares it with the
    /// counts, and returns the ids of the output.
    pub(crate) fn audit(&self) -> Vec<i64> {
        let emitted: Vec<Record> = [
            self.topics.read(&self.output).unwrap(),
            self.topics.read(&self.dead_letters()).unwrap(),
        ]
        .concat();
        for (partition, counts) in self.counts() {
            assert_eq!(counts.counters.unaccounted(), 0);
            let mut lineages: Vec<Lineage> =
                emitted.iter().filter(|r| r.partition == partition).map(lineage).collect();
            lineages.sort_by_key(|lineage| lineage.source);
            let (mut end, mut filtered) = (-1, 0);
            for link in &lineages {
                assert_eq!(
                    link.previous, end,
                    "partition {partition}, source {}: lost or doubled",
                    link.source
                );
                end = link.source;
                filtered += link.filtered;
            }
            assert_eq!(counts.last, (end >= 0).then_some(end));
            assert_eq!(counts.counters.written + counts.counters.dead, lineages.len() as u64);
            assert_eq!(counts.counters.filtered, filtered + counts.filtered_since);
        }
        let mut ids: Vec<_> = self
            .topics
            .read(&self.output)
            .unwrap()
            .iter()
            .map(|r| decode_id(r.value.as_deref().unwrap()))
            .collect();
        ids.sort_unstable();
        ids
    }
}

fn lineage(record: &Record) -> Lineage {
    Lineage::decode(record.header(HEADER).expect("a lineage header")).expect("a lineage")
}

/// What the pipeline's SQL lets through.
pub(crate) fn expected(ids: std::ops::Range<i64>) -> Vec<i64> {
    ids.filter(|id| *id >= 0 && id % 10 != 9).collect()
}

pub(crate) fn record(id: i64, value: Option<Vec<u8>>) -> Record {
    Record {
        partition: id.rem_euclid(i64::from(PARTITIONS)) as i32,
        key: Some(id.to_string().into_bytes()),
        value,
        ..Record::default()
    }
}

/// Registers a schema for the values of a topic.
pub(crate) fn register(topic: &str, schema: &str) -> u32 {
    register_as(&format!("{topic}-value"), &json!({ "schema": schema }))
}

/// Registers a schema of any type under any subject.
pub(crate) fn register_as(subject: &str, schema: &Value) -> u32 {
    let url = format!("{}/subjects/{subject}/versions", Stack::shared().registry());
    let answer = http::send("POST", &url, schema).unwrap();
    answer["id"].as_u64().unwrap() as u32
}

/// Avro by hand: frame, zigzag id, optional name.
pub(crate) fn item(schema_id: u32, id: i64, name: Option<&str>) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(schema_id.to_be_bytes());
    long(id, &mut bytes);
    match name {
        None => long(0, &mut bytes),
        Some(name) => {
            long(1, &mut bytes);
            long(name.len() as i64, &mut bytes);
            bytes.extend(name.as_bytes());
        }
    }
    bytes
}

pub(crate) fn long(value: i64, into: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        into.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    into.push(rest as u8);
}

pub(crate) fn decode_id(value: &[u8]) -> i64 {
    let (mut raw, mut shift) = (0u64, 0);
    for byte in &value[5..] {
        raw |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

/// Reasons of all dead letters, each once.
pub(crate) fn reasons(dead_letters: &[Record]) -> BTreeSet<String> {
    dead_letters.iter().map(|r| r.header_text("weir-reason").unwrap().to_string()).collect()
}
