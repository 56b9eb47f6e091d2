//! One pipeline under test: the shipped call-record pipeline with its own names, database and
//! sizes.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use toml::Table;
use weir_codec::Schema;
use weir_model::pipeline::{self, Pipeline};
use weir_model::progress::{Counters, Progress};
use weir_testkit::{Database, Program, Stack, Topics, random_name, service, wait};

/// The services, in the order of the flow.
pub const SERVICES: [&str; 3] = ["weir-producer", "weir-enricher", "weir-sink"];

/// The settings that a test can change.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The total number of records.
    pub records: u64,
    /// Records per second; 0 = as fast as possible.
    pub rate: u64,
    /// Share of invalid ones.
    pub invalid_share: f64,
    /// Kinds of invalid ones; empty = all.
    pub invalid_kinds: Vec<&'static str>,
    /// Seed of the records.
    pub seed: u64,
    /// Records in one transaction at most.
    pub batch: usize,
    /// Workers in each process.
    pub workers: usize,
    /// URL of the registry, when it is not the stack's (a proxy's, say).
    pub registry: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        let (invalid_share, invalid_kinds) = (0.02, Vec::new());
        Settings {
            records: 100_000,
            rate: 0,
            invalid_share,
            invalid_kinds,
            seed: 42,
            batch: 5_000,
            workers: 1,
            registry: None,
        }
    }
}

/// A pipeline file on disk, a database for it, and how to start its services.
pub struct Flow {
    /// The file, parsed.
    pub pipeline: Pipeline,
    /// The target database.
    pub database: Database,
    /// Kafka.
    pub topics: Topics,
    /// `WEIR_…` variables.
    pub env: BTreeMap<String, String>,
    folder: tempfile::TempDir,
}

impl Flow {
    /// Writes the pipeline file and creates the database.
    pub fn new(stack: &Stack, settings: &Settings) -> Result<Flow> {
        Flow::with_sinks(stack, settings, "")
    }

    /// The same with more sinks, in TOML. `FOLDER` in it is the folder of the pipeline file.
    pub fn with_sinks(stack: &Stack, settings: &Settings, sinks: &str) -> Result<Flow> {
        let folder = tempfile::Builder::new().prefix("weir-e2e-").tempdir()?;
        let mut env = stack.env();
        env.insert("WEIR_POSTGRES".into(), stack.create_database("e2e")?);
        if let Some(url) = &settings.registry {
            env.insert("WEIR_REGISTRY".into(), url.clone());
        }
        let file = folder.path().join("pipeline.toml");
        let sinks = sinks.replace("FOLDER", &folder.path().to_string_lossy());
        std::fs::write(&file, format!("{}\n{sinks}", pipeline_file(settings)?))?;
        let text = std::fs::read_to_string(&file)?;
        let pipeline = Pipeline::parse(&text, &file, &|name| env.get(name).cloned())?;
        let database = Database::connect(&env["WEIR_POSTGRES"])?;
        Ok(Flow { pipeline, database, topics: Topics::new(stack.kafka()), env, folder })
    }

    /// The pipeline file.
    pub fn file(&self) -> &Path {
        &self.pipeline.file
    }

    /// A service in its replica slot.
    pub fn program(&self, service: &str, slot: usize) -> Program {
        let instance = format!("{}-{slot}", service.trim_start_matches("weir-"));
        let file = self.file().to_string_lossy().into_owned();
        Program::new(service, &[&file], &self.env, self.folder.path())
            .env("WEIR_INSTANCE", &instance)
    }

    /// The synthetic source.
    pub fn source(&self) -> Result<&pipeline::Synthetic> {
        match &self.pipeline.source {
            Some(pipeline::Source::Synthetic(source)) => Ok(source),
            other => anyhow::bail!("the pipeline under test has a synthetic source, not {other:?}"),
        }
    }

    /// Roughly how many records a service has processed, according to what is committed;
    /// transaction markers count as records.
    pub fn progress(&self, service: &str) -> u64 {
        let (input, sink) = (
            &self.pipeline.input.topic,
            "SELECT coalesce(sum(read), 0)::bigint FROM weir.positions",
        );
        match service {
            "weir-producer" => self
                .topics
                .ends(input)
                .map_or(0, |ends| ends.iter().map(|end| end.unsigned_abs()).sum()),
            "weir-enricher" => self.enricher_counts().map_or(0, |counts| counts.read),
            _ => self
                .fresh_database()
                .and_then(|database| database.number(sink))
                .map_or(0, i64::unsigned_abs),
        }
    }

    /// The counts in the enricher's committed offsets, over all partitions.
    pub fn enricher_counts(&self) -> Result<Counters> {
        let committed =
            self.topics.committed(&self.pipeline.enricher_group(), &self.pipeline.input.topic)?;
        let mut sum = Counters::default();
        for (_, metadata) in committed.into_iter().flatten() {
            sum += metadata.parse::<Progress>()?.counters;
        }
        Ok(sum)
    }

    /// The counts in the sink's position rows, over all partitions.
    pub fn sink_counts(&self) -> Result<Counters> {
        let sql = "SELECT sum(read), sum(written), sum(filtered), sum(dead) FROM weir.positions";
        let rows = self.fresh_database()?.texts(sql)?;
        let number = |column: usize| -> Result<u64> {
            Ok(rows[0][column].as_deref().unwrap_or("0").parse()?)
        };
        Ok(Counters {
            read: number(0)?,
            written: number(1)?,
            filtered: number(2)?,
            dead: number(3)?,
            ..Counters::default()
        })
    }

    /// Sum of the fences of the sink's position rows: each change of ownership raises one.
    pub fn fences(&self) -> Result<i64> {
        self.fresh_database()?.number("SELECT coalesce(sum(fence), 0)::bigint FROM weir.positions")
    }

    /// Waits until the enricher has processed every record of the source, and the sink every record
    /// of the enricher.
    pub fn wait_done(&self, limit: Duration) -> Result<()> {
        let records = self.source()?.records;
        let done = wait::try_wait_until(limit, || {
            let (enricher, sink) = (self.enricher_counts().ok()?, self.sink_counts().ok()?);
            (enricher.read >= records && sink.read >= enricher.written).then_some(())
        });
        done.with_context(|| {
            format!(
                "not done after {limit:?}: enricher {:?}, sink {:?}",
                self.enricher_counts(),
                self.sink_counts()
            )
        })
    }

    /// The registry's id of the input schema.
    pub fn input_schema_id(&self) -> Result<u32> {
        let schema = Schema::load(&self.pipeline.input.schema)?;
        let url = format!(
            "{}/subjects/{}/versions/latest",
            self.env["WEIR_REGISTRY"],
            self.pipeline.input_subject(schema.name())
        );
        let answer = weir_testkit::http::get(&url)?;
        let body: Value = serde_json::from_str(&answer.body)?;
        let id = body["id"].as_u64().with_context(|| format!("{url}: {body}"))?;
        Ok(u32::try_from(id)?)
    }

    /// Runs `weir` with arguments; its output when it succeeds.
    pub fn weir(&self, arguments: &[&str]) -> Result<String> {
        let output =
            Command::new(service::binary("weir")?).args(arguments).envs(&self.env).output()?;
        let text =
            [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)]
                .concat();
        ensure!(
            output.status.success(),
            "weir {} failed with {}:\n{text}",
            arguments.join(" "),
            output.status
        );
        Ok(text)
    }

    /// A connection that no restart has broken.
    pub fn fresh_database(&self) -> Result<Database> {
        Database::connect(&self.env["WEIR_POSTGRES"])
    }
}

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf()
}

fn pipeline_file(settings: &Settings) -> Result<String> {
    let shipped = root().join("deploy/pipelines");
    let mut file: Table = std::fs::read_to_string(shipped.join("telecom.toml"))?.parse()?;
    let name = random_name("calls");
    let absolute = |path: &str| shipped.join(path).to_string_lossy().into_owned();
    file.insert("name".into(), name.clone().into());
    let kafka = table(&mut file, "kafka")?;
    kafka.insert("session_timeout".into(), "2s".into());
    kafka.insert("transaction_timeout".into(), "10s".into());
    let source = table(&mut file, "source")?;
    source.insert("records".into(), i64::try_from(settings.records)?.into());
    source.insert("rate".into(), i64::try_from(settings.rate)?.into());
    source.insert("seed".into(), i64::try_from(settings.seed)?.into());
    source.insert("invalid_share".into(), settings.invalid_share.into());
    source.insert("invalid_kinds".into(), settings.invalid_kinds.clone().into());
    for (section, topic) in [("input", name.clone()), ("output", format!("{name}-enriched"))] {
        let section = table(&mut file, section)?;
        let schema = section["schema"].as_str().context("schema")?.to_string();
        section.insert("topic".into(), topic.into());
        section.insert("schema".into(), absolute(&schema).into());
    }
    for lookup in file["lookup"].as_array_mut().context("lookup")? {
        let path = lookup["file"].as_str().context("file")?.to_string();
        lookup.as_table_mut().context("lookup")?.insert("file".into(), absolute(&path).into());
    }
    table(&mut file, "batch")?.insert("records".into(), i64::try_from(settings.batch)?.into());
    let workers = table(&mut file, "workers")?;
    for service in ["producer", "enricher", "sink"] {
        workers.insert(service.into(), i64::try_from(settings.workers)?.into());
    }
    Ok(file.to_string())
}

fn table<'a>(file: &'a mut Table, key: &str) -> Result<&'a mut Table> {
    let entry = file.entry(key).or_insert_with(|| Table::new().into());
    entry.as_table_mut().with_context(|| format!("{key} is a table"))
}
