//! A pipeline of its own for each test: topics, schema, database, and an enricher's stand-in that
//! writes records with lineage.

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::task::JoinHandle;
use weir_codec::{Encoder, Registry, Schema};
use weir_kafka::transactional_producer::Outgoing;
use weir_kafka::{TransactionalProducer, admin};
use weir_model::lineage::{HEADER, Lineage};
use weir_model::pipeline::Pipeline;
use weir_model::protocol::Outcome;
use weir_service::{CancellationToken, Health, Metrics, Settings};
use weir_sink::{Error, OpenTarget, Options, run_targets};
use weir_testkit::{Database, Stack, random_name};

pub(crate) const SCHEMA: &str = r#"{"type": "record", "name": "Sale", "fields": [
    {"name": "id", "type": "int"}, {"name": "name", "type": ["null", "string"], "default": null}]}"#;

/// How long a test waits for what must happen.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) database: Database,
    producer: TransactionalProducer,
    encoder: Encoder,
    /// Per partition: next source offset, and the one before it.
    lineages: BTreeMap<i32, (i64, i64)>,
    _folder: tempfile::TempDir,
}

impl World {
    /// With one PostgreSQL table; `keys` are added to its `[[sink]]`.
    pub(crate) fn new(keys: &str) -> World {
        World::table(&format!("lineage = true\n{keys}"))
    }

    /// The same with these `keys` alone.
    pub(crate) fn table(keys: &str) -> World {
        let url = Stack::shared().create_database("sink").unwrap();
        let sink = format!(
            "name = \"warehouse\"\ntype = \"postgres\"\nurl = \"{url}\"\ntable = \"shop.sale\"\n\
             {keys}"
        );
        World::with(&sink, Database::connect(&url).unwrap())
    }

    /// With this `[[sink]]`.
    fn with(sink: &str, database: Database) -> World {
        let stack = Stack::shared();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sale.avsc"), SCHEMA).unwrap();
        let name = random_name("sales");
        let text = format!(
            r#"
name = "{name}"
[kafka]
brokers = "{}"
session_timeout = "6s"
[registry]
url = "{}"
[input]
topic = "{name}-in"
schema = "sale.avsc"
partitions = 3
[transform]
sql = "SELECT * FROM input"
[output]
topic = "{name}-out"
schema = "sale.avsc"
[batch]
records = 500
[[sink]]
{sink}
"#,
            stack.kafka(),
            stack.registry(),
        );
        let pipeline =
            Pipeline::parse(&text, &folder.path().join("sales.toml"), &|_| None).unwrap();
        assert_eq!(admin::ensure(&pipeline.kafka, &admin::topics(&pipeline)).unwrap(), []);
        let schema = Schema::parse(SCHEMA).unwrap();
        let registry = Registry::new(&pipeline.registry).unwrap();
        let id =
            block(registry.register(&pipeline.output_subject(schema.name()), &schema)).unwrap();
        World {
            producer: TransactionalProducer::open(&pipeline.kafka, &format!("{name}-feed"))
                .unwrap(),
            encoder: Encoder::new(&schema, id).unwrap(),
            database,
            pipeline: Arc::new(pipeline),
            lineages: BTreeMap::new(),
            _folder: folder,
        }
    }

    /// Writes rows `(id, name)` in one transaction, row `id` to partition `id % 3`.
    pub(crate) fn feed<'a>(&mut self, rows: impl IntoIterator<Item = (i32, &'a str)>) {
        let rows: Vec<(i32, &str)> = rows.into_iter().collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.0))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1))),
        ];
        let batch = RecordBatch::try_new(Schema::parse(SCHEMA).unwrap().arrow(), columns).unwrap();
        let encoded = self.encoder.encode(&batch).unwrap();
        let values: Vec<(i32, Vec<u8>)> = rows
            .iter()
            .enumerate()
            .map(|(i, row)| (row.0.rem_euclid(3), encoded.get(i).to_vec()))
            .collect();
        self.feed_raw(&values);
    }

    /// Writes values as they are, with lineage.
    pub(crate) fn feed_raw(&mut self, values: &[(i32, Vec<u8>)]) {
        let records: Vec<_> = values
            .iter()
            .map(|(partition, value)| (*partition, value.as_slice(), Some(self.link(*partition))))
            .collect();
        self.transact(&records);
    }

    /// Writes records with the lineage that is given.
    pub(crate) fn transact(&mut self, records: &[(i32, &[u8], Option<Lineage>)]) {
        self.producer.begin().unwrap();
        for (partition, value, lineage) in records {
            let bytes = lineage.map(|l| l.encode());
            let headers: Vec<_> = bytes.iter().map(|b| (HEADER, Some(b.as_ref()))).collect();
            let record = Outgoing {
                topic: &self.pipeline.output.topic,
                partition: Some(*partition),
                key: Some(b"key"),
                value: Some(value),
                timestamp_ms: Some(
                    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64,
                ),
                headers: &headers,
            };
            self.producer.send(&record).unwrap();
        }
        assert_eq!(self.producer.commit(None), Outcome::Committed);
    }

    /// From here on the input offsets start over.
    pub(crate) fn begin_anew(&mut self) {
        self.lineages.clear();
    }

    /// The next lineage of a partition; source offsets have gaps, as transactions leave them.
    fn link(&mut self, partition: i32) -> Lineage {
        let (next, previous) = self.lineages.entry(partition).or_insert((0, -1));
        let lineage = Lineage::new(*next, *previous, 0);
        (*previous, *next) = (*next, *next + 1 + *next % 2);
        lineage
    }

    pub(crate) fn start(&self) -> Instance {
        Instance::start(self.pipeline.clone())
    }

    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.database.number(sql).unwrap()
    }

    /// Waits until so many records are in the counts.
    pub(crate) fn wait_for(&self, read: i64) {
        weir_testkit::wait_until(&format!("{read} records in the counts"), REQUEST_TIMEOUT, || {
            (self.counted() == read).then_some(())
        });
    }

    /// Records read according to the position rows; 0 before there are any.
    pub(crate) fn counted(&self) -> i64 {
        self.database.number("SELECT coalesce(sum(read), 0) FROM weir.positions").unwrap_or(0)
    }
}

/// A sink running in this process.
pub(crate) struct Instance {
    metrics: Metrics,
    listen: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Instance {
    fn start(pipeline: Arc<Pipeline>) -> Instance {
        Instance::start_with(pipeline, Box::new(weir_store::target::open))
    }

    /// With targets that `open` makes.
    pub(crate) fn start_with(pipeline: Arc<Pipeline>, open: OpenTarget) -> Instance {
        let (metrics, stop) = (Metrics::new("sink", &pipeline.name), CancellationToken::new());
        // Free a moment ago; the sink does not tell which one it would take itself.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let settings = Settings { listen, instance: random_name("sink"), stable: false };
        let health = Health::new(&metrics);
        let options = Options { settings, metrics: metrics.clone(), health, only: None };
        let task = tokio::spawn(run_targets(pipeline, options, open, stop.clone()));
        Instance { metrics, listen, stop, task }
    }

    /// Drains it, as SIGTERM would.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.stop.cancel();
        self.end().await
    }

    /// Waits for it to end by itself.
    pub(crate) async fn end(self) -> Result<(), Error> {
        self.task.await.unwrap()
    }

    /// The answer of `/ready` or another admin page.
    pub(crate) fn ask(&self, page: &str) -> String {
        weir_testkit::http::get(&format!("http://{}{page}", self.listen))
            .map(|answer| answer.body)
            .unwrap_or_default()
    }

    /// Waits until `/ready` says this.
    pub(crate) fn wait_until_it_says(&self, words: &str) {
        weir_testkit::wait_until(words, REQUEST_TIMEOUT, || {
            self.ask("/ready").contains(words).then_some(())
        });
    }

    fn page(&self) -> String {
        String::from_utf8(self.metrics.render().unwrap()).unwrap()
    }

    /// The value of the first series of this name.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.page();
        let line =
            page.lines().find(|l| l.starts_with(name) && l[name.len()..].starts_with(['{', ' ']));
        line.and_then(|l| l.rsplit(' ').next()).and_then(|v| v.parse().ok()).unwrap_or(0.0)
    }
}

/// Runs a future to its end inside or outside of a runtime.
pub(crate) fn block<T: Send>(future: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(future)
        };
        scope.spawn(run).join().unwrap()
    })
}
