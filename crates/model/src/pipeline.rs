//! One pipeline: what a pipeline file says, parsed and validated. Services and `weir` read the same
//! file.

mod assemble;
mod expand;
mod keys;
mod names;
mod places;
mod reader;
mod reference;
mod rules;
mod units;

pub use reference::reference;

use crate::mistake::{Mistake, Mistakes};
use crate::secret::Secret;
use places::Places;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// A whole pipeline file. Paths in it are already resolved against the file's folder.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file it was read from, as the user named it.
    pub file: PathBuf,
    /// `name`: part of group ids, transactional ids and keys in the ledgers:
    /// `[a-z][a-z0-9-]{0,62}`.
    pub name: String,
    /// `description`: for people.
    pub description: String,
    /// `[kafka]`.
    pub kafka: Kafka,
    /// `[registry]`.
    pub registry: Registry,
    /// `[source]`; absent when other programs fill the input topic.
    pub source: Option<Source>,
    /// `[input]`.
    pub input: Input,
    /// `[[lookup]]`.
    pub lookups: Vec<Lookup>,
    /// `[[reject]]`, in order: the first that is true names the reason.
    pub rejects: Vec<Reject>,
    /// `[transform]`.
    pub transform: Transform,
    /// `[output]`.
    pub output: Output,
    /// `[dead_letters]`.
    pub dead_letters: DeadLetters,
    /// `[[sink]]`, at least one, names unique.
    pub sinks: Vec<Sink>,
    /// `[batch]`.
    pub batch: Batch,
    /// `[workers]`.
    pub workers: Workers,
    places: Places,
}

/// `[kafka]`: how to reach the brokers.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// `brokers`: bootstrap list, `host:port,host:port`.
    pub brokers: String,
    /// `properties`: librdkafka settings passed through, e.g. `"security.protocol"`; those that
    /// delivery depends on are set after them.
    pub properties: BTreeMap<String, Secret>,
    /// `replication`: replication factor of the topics that weir creates.
    pub replication: i32,
    /// `session_timeout`: after this long without a heartbeat an instance's partitions go to
    /// others.
    pub session_timeout: Duration,
    /// `transaction_timeout`: the broker aborts a transaction left open for longer.
    pub transaction_timeout: Duration,
}

/// `[registry]`: the Schema Registry (Confluent's REST interface).
#[derive(Debug, Clone)]
pub struct Registry {
    /// `url`, with its path when it has one; may carry user:password.
    pub url: Secret,
}

/// `[source]`.
#[derive(Debug, Clone)]
pub enum Source {
    /// `type = "synthetic"`.
    Synthetic(Synthetic),
    /// `type = "file"`.
    File(FileSource),
}

/// Generated records: record = f(seed, sequence).
#[derive(Debug, Clone)]
pub struct Synthetic {
    /// `generator`: which record; `call_records`.
    pub generator: String,
    /// `rate`: records per second over all partitions of the source; 0 = as fast as possible.
    pub rate: u64,
    /// `records`: how many in all; 0 = for ever.
    pub records: u64,
    /// `seed`.
    pub seed: u64,
    /// `partitions`: independent sequences, shared among the producer's workers and instances;
    /// fixed for the life of the pipeline.
    pub partitions: u32,
    /// `invalid_share`: share of records made invalid on purpose, 0.0–1.0.
    pub invalid_share: f64,
    /// `invalid_kinds`: which kinds, each equally likely; the generator knows the list. Empty means
    /// all of them.
    pub invalid_kinds: Vec<String>,
}

/// Files: Parquet, CSV or newline-delimited JSON.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// `path`: a path or glob; files are read in the order of their names.
    pub path: String,
    /// `format`: by default from the file name's ending.
    pub format: Option<FileFormat>,
    /// `rate`: records per second; 0 = as fast as possible.
    pub rate: u64,
    /// `partitions`: files are dealt to this many partitions of the source by their order.
    pub partitions: u32,
    /// `columns`: field of the input schema → column of the file, where the two differ by more than
    /// case and punctuation.
    pub columns: BTreeMap<String, String>,
    /// `nulls`: texts that mean null in CSV, besides the empty one.
    pub nulls: Vec<String>,
}

/// Format of a source's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileFormat {
    /// `parquet`.
    Parquet,
    /// `csv`, with a header line.
    Csv,
    /// `json`: one object a line.
    Json,
}

/// `[input]`: what the producer writes and the enricher reads.
#[derive(Debug, Clone)]
pub struct Input {
    /// `topic`.
    pub topic: String,
    /// `schema`: an Avro schema file, a record; it is the reader schema of the enricher.
    pub schema: PathBuf,
    /// `key`: the field whose text becomes the record's key; none = no key, spread evenly.
    pub key: Option<String>,
    /// `partitions` of the topic, the output topic and the dead-letter topic.
    pub partitions: i32,
}

/// `[[lookup]]`: a reference table.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// `name`: the table's name in the SQL.
    pub name: String,
    /// `file`: CSV with a header line.
    pub file: PathBuf,
    /// `key`: the unique column or columns.
    pub key: Vec<String>,
}

/// `[[reject]]`.
#[derive(Debug, Clone)]
pub struct Reject {
    /// `name`: the reason in the dead letter: `[a-z][a-z0-9_]{0,62}`.
    pub name: String,
    /// `when`: a boolean SQL expression over the columns of the input, and of lookups via `lookup`
    /// tables joined in `transform.sql`.
    pub when: String,
}

/// `[transform]`.
#[derive(Debug, Clone)]
pub struct Transform {
    /// `sql`: one row in, at most one row out.
    pub sql: String,
}

/// `[output]`: what the enricher writes and the sinks read.
#[derive(Debug, Clone)]
pub struct Output {
    /// `topic`.
    pub topic: String,
    /// `schema`: an Avro schema file, a record.
    pub schema: PathBuf,
}

/// `[dead_letters]`.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    /// `topic`; default: the input topic's name + `.dead-letters`.
    pub topic: String,
    /// `halt_share`: breaker: a share of dead letters above this, 0.0–1.0 …
    pub halt_share: f64,
    /// `halt_after`: … for at least this long (and at least 1,000 records) halts the enricher, or
    /// the sink.
    pub halt_after: Duration,
}

/// `[[sink]]`.
#[derive(Debug, Clone)]
pub struct Sink {
    /// `name`: part of the group id and of the position store's key: `[a-z][a-z0-9-]{0,62}`.
    pub name: String,
    /// `type` and what belongs to it.
    pub target: Target,
}

/// Where a sink writes.
#[derive(Debug, Clone)]
pub enum Target {
    /// `type = "postgres"`.
    Postgres(Postgres),
}

impl Target {
    /// The table, folder or collection that the rows go to, for people.
    pub fn name(&self) -> String {
        match self {
            Target::Postgres(postgres) => format!("{}.{}", postgres.schema, postgres.table),
        }
    }

    /// Whether each record is a row of its own, so that the rows can be counted and a record that
    /// comes again is a second row. An upsert keeps one row per key.
    pub fn keeps_every_record(&self) -> bool {
        match self {
            Target::Postgres(postgres) => postgres.mode == Mode::Append,
        }
    }
}

/// A table in PostgreSQL.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// `url`: `postgres://user:password@host:port/database`.
    pub url: Secret,
    /// `table`: schema part of `schema.table`; default `public`.
    pub schema: String,
    /// `table`: table part of `schema.table`.
    pub table: String,
    /// `mode`.
    pub mode: Mode,
    /// `columns`: column → PostgreSQL type, where the type that follows from the Avro schema is not
    /// the wanted one (`varchar(50)`).
    pub columns: BTreeMap<String, String>,
    /// `lineage`: adds `weir_topic`, `weir_partition`, `weir_offset` (of the input record) to every
    /// row.
    pub lineage: bool,
}

/// How rows enter the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// `append`: every record is a row.
    Append,
    /// `upsert`: the last record of a key is the row; `key` names the columns of a unique index.
    Upsert {
        /// `key`.
        key: Vec<String>,
    },
}

/// `[batch]`: how much is worked on at once.
#[derive(Debug, Clone)]
pub struct Batch {
    /// `records`: at most this many in one transaction.
    pub records: usize,
    /// `bytes`: at most about this many bytes of record values in one transaction.
    pub bytes: usize,
    /// `linger`: how long the first record of a batch waits for company while the topic has nothing
    /// more to give.
    pub linger: Duration,
}

/// `[workers]`: threads per process; each is one member of the service's consumer group.
#[derive(Debug, Clone)]
pub struct Workers {
    /// `producer`.
    pub producer: usize,
    /// `enricher`.
    pub enricher: usize,
    /// `sink`.
    pub sink: usize,
}

impl Pipeline {
    /// Reads and validates a pipeline file, with the variables of this process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once. No message holds a secret, a variable's value or
    /// the content of a file.
    pub fn load(path: &Path) -> Result<Pipeline, Mistakes> {
        let unreadable = |e| {
            Mistakes::new(
                path,
                vec![Mistake::new("", format!("cannot read it: {}", expand::reason(&e)))],
            )
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Pipeline::parse(&text, path, &|name| std::env::var(name).ok())
    }

    /// The same from a text: `path` names it, and relative paths start in its folder.
    ///
    /// # Errors
    /// As [`Pipeline::load`].
    pub fn parse(
        text: &str,
        path: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Pipeline, Mistakes> {
        let (document, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(Mistakes::new(path, assemble::syntax(text, &errors)));
        }
        let places = Places::of(text, document.get_ref());
        let folder = path.parent().unwrap_or(Path::new(""));
        let reader = reader::Reader::new(expand::Surroundings { folder, env }, &places);
        let pipeline = assemble::pipeline(path, &document, &reader, &places);
        rules::check(&pipeline, &reader);
        let mistakes = reader.into_mistakes();
        if mistakes.is_empty() { Ok(pipeline) } else { Err(Mistakes::new(path, mistakes)) }
    }

    /// The 1-based line of a key such as `transform.sql`, `reject[0].when` or
    /// `sink.warehouse.table`; of the table around it when the file does not have the key.
    pub fn locate(&self, key: &str) -> Option<usize> {
        self.places.line(key)
    }

    /// Mistakes that others found in this pipeline, given their lines, and in SQL the wrong word
    /// underlined.
    pub fn mistakes(&self, list: Vec<Mistake>) -> Mistakes {
        let place = |mut mistake: Mistake| {
            let name = mistake.what.split('`').nth(1);
            if let Some((line, excerpt)) =
                name.and_then(|name| self.places.find(&mistake.key, name))
            {
                mistake.line.get_or_insert(line);
                mistake.excerpt = Some(excerpt);
            }
            let line = mistake.line.or_else(|| self.locate(&mistake.key));
            mistake.line(line)
        };
        Mistakes::new(&self.file, list.into_iter().map(place).collect())
    }

    /// Consumer group of the enricher.
    pub fn enricher_group(&self) -> String {
        format!("weir.{}.enricher", self.name)
    }

    /// Consumer group in which the producers share the source's partitions.
    pub fn producer_group(&self) -> String {
        format!("weir.{}.producer", self.name)
    }

    /// Consumer group of the sink `name`.
    pub fn sink_group(&self, name: &str) -> String {
        format!("weir.{}.sink.{name}", self.name)
    }

    /// Registry subject of the input topic's values.
    pub fn input_subject(&self) -> String {
        format!("{}-value", self.input.topic)
    }

    /// Registry subject of the output topic's values.
    pub fn output_subject(&self) -> String {
        format!("{}-value", self.output.topic)
    }
}

impl Source {
    /// The source's name in the position store `weir.positions`: its `type`.
    pub fn kind(&self) -> &'static str {
        match self {
            Source::Synthetic(_) => "synthetic",
            Source::File(_) => "file",
        }
    }

    /// How many partitions the source has: each has one position and one transactional producer.
    pub fn partitions(&self) -> u32 {
        match self {
            Source::Synthetic(source) => source.partitions,
            Source::File(source) => source.partitions,
        }
    }
}
