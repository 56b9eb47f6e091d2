//! The write side of a sink's files.

use crate::files::error::{configuration, failed};
use crate::files::location::Location;
use crate::files::log::entry::Change;
use crate::files::log::{Appended, Log};
use crate::files::table::Table;
use crate::files::transaction::{Filling, Shared};
use crate::target::{Target, Transaction};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use weir_model::fault::Class;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Pipeline};
use weir_model::progress::Later;
use weir_model::protocol::{CommittedPosition, Offset, Partition};

/// The files of a sink, shared by its workers.
pub(crate) struct Files {
    shared: Arc<Shared>,
    sink: String,
    files: pipeline::Files,
    schema: SchemaRef,
    input_topic: String,
    cluster: String,
    table: OnceLock<Arc<Table>>,
}

impl Files {
    /// The files of the sink `sink`; `schema` is the output schema, `cluster` the id of the Kafka
    /// cluster. Connects on first use only.
    ///
    /// # Errors
    /// The address cannot be used.
    pub(crate) fn new(
        pipeline: &Pipeline,
        sink: &str,
        files: &pipeline::Files,
        schema: SchemaRef,
        cluster: &str,
    ) -> Result<Files, crate::Error> {
        Ok(Files::at(Location::open(files)?, pipeline, sink, files, schema, cluster))
    }

    /// The same in any place.
    pub(crate) fn at(
        location: Location,
        pipeline: &Pipeline,
        sink: &str,
        files: &pipeline::Files,
        schema: SchemaRef,
        cluster: &str,
    ) -> Files {
        let log = Log::new(location, &pipeline.name, sink);
        Files {
            shared: Arc::new(Shared {
                log,
                topic: pipeline.output.topic.clone(),
                file_prefix: file_prefix(&pipeline.name, sink),
                max_file_size: files.max_file_size as u64,
                max_file_rows: files.max_file_rows,
            }),
            sink: sink.into(),
            files: files.clone(),
            schema,
            input_topic: pipeline.input.topic.clone(),
            cluster: cluster.into(),
            table: OnceLock::new(),
        }
    }

    fn table(&self) -> Result<Table, Vec<Mistake>> {
        Table::new(&self.sink, &self.files, &self.schema, &self.input_topic)
    }

    /// The name of an object that says whether the store keeps its promise.
    fn probe(&self) -> String {
        format!("{}/probe", self.shared.log.folder())
    }

    /// Exactly once needs a store that creates an object only where there is none. Some servers that
    /// speak S3 ignore that condition, and would overwrite the log.
    async fn check_store(&self) -> Result<(), crate::Error> {
        let location = self.shared.log.location();
        let at = location.at(&self.probe())?;
        let fail = |e| failed("writing", location.name(), &e);
        let probe = || PutPayload::from_static(b"only if absent\n");
        location.store.put(&at, probe()).await.map_err(fail)?;
        match location.store.put_opts(&at, probe(), PutOptions::from(PutMode::Create)).await {
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(()),
            Ok(_) => Err(configuration(format!(
                "the store of {} overwrites an object that exists although it is told not to \
                 (If-None-Match: *), so nothing can be written exactly once there; use a server that \
                 has conditional writes",
                location.name()
            ))),
            Err(error) => Err(fail(error)),
        }
    }

    fn mistake(&self, error: crate::Error) -> Result<Vec<Mistake>, crate::Error> {
        match error.class() {
            Class::Environment => Err(error),
            _ => Ok(vec![Mistake::new(format!("sink.{}.path", self.sink), error.to_string())]),
        }
    }
}

/// What the names of a sink's files begin with.
pub(crate) fn file_prefix(pipeline: &str, sink: &str) -> String {
    format!("{pipeline}.{sink}-")
}

/// Raises the fences of the partitions, and reads their positions.
pub(crate) async fn acquire(
    log: &Log,
    topic: &str,
    cluster: &str,
    partitions: &[Partition],
) -> Result<Vec<CommittedPosition>, crate::Error> {
    let state = log.read().await?;
    if let Some(recorded) = state.other_cluster(topic, partitions, cluster) {
        return Err(configuration(format!(
            "the log in {} contains positions in topic {topic} of Kafka cluster {recorded}, but this \
             is cluster {cluster}: offsets of one cluster are not valid in another",
            log.location().full(log.folder())
        )));
    }
    let change = Change::Acquire {
        topic: topic.into(),
        cluster: cluster.into(),
        partitions: partitions.to_vec(),
    };
    match log.append(change).await? {
        Appended::Yes(state) => {
            Ok(partitions.iter().map(|partition| state.committed(topic, *partition)).collect())
        }
        Appended::Refused | Appended::Unknown => Err(crate::Error::new(
            Class::Environment,
            format!(
                "{} did not confirm that the partitions were taken over",
                log.location().name()
            ),
        )),
    }
}

/// Rows and dead letters behind a position. The log holds position and rows in one, so there are
/// some only where a position was moved back.
pub(crate) async fn later(
    log: &Log,
    topic: &str,
    partition: Partition,
    next: Offset,
    last: Option<Offset>,
) -> Result<Later, crate::Error> {
    let (mut rows, mut dead_letters) = (0, 0);
    let last = last.unwrap_or(-1);
    let mut letters = Vec::new();
    log.entries(|_, entry| {
        match entry.change {
            Change::Commit { topic: of, files, dead_letters, .. } if of == topic => {
                let sources = files.iter().flat_map(|file| &file.sources);
                let behind = sources.filter(|s| s.partition == partition && s.last > last);
                // Of a file with some on either side it is not known how many.
                rows += behind.map(|s| if s.first > last { s.rows } else { 1 }).sum::<u64>();
                letters.push(dead_letters);
            }
            Change::Clear => letters.clear(),
            _ => {}
        }
        Ok(())
    })
    .await?;
    for letters in letters {
        let letters = crate::files::scan::letters(log, letters).await?;
        let behind = letters.iter().filter(|l| l.partition() == partition && l.offset >= next);
        dead_letters += behind.count() as u64;
    }
    Ok(Later { rows: Some(rows), dead_letters })
}

#[async_trait]
impl Target for Files {
    fn kind(&self) -> &'static str {
        "files"
    }

    async fn prepare(&self) -> Result<Vec<Mistake>, crate::Error> {
        let table = match self.table() {
            Ok(table) => table,
            Err(mistakes) => return Ok(mistakes),
        };
        let ready = async {
            self.shared.log.location().create()?;
            self.check_store().await?;
            self.shared.log.read().await
        };
        if let Err(error) = ready.await {
            return self.mistake(error);
        }
        self.table.get_or_init(|| Arc::new(table));
        Ok(Vec::new())
    }

    async fn inspect(&self) -> Result<Vec<Mistake>, crate::Error> {
        match self.shared.log.check().await {
            Ok(()) => Ok(Vec::new()),
            Err(error) => self.mistake(error),
        }
    }

    async fn ping(&self) -> Result<(), crate::Error> {
        let location = self.shared.log.location();
        let found = location.store.head(&location.at(&self.probe())?).await;
        found.map(|_| ()).map_err(|e| failed("asking for an object", location.name(), &e))
    }

    async fn acquire(
        &self,
        partitions: &[Partition],
    ) -> Result<Vec<CommittedPosition>, crate::Error> {
        acquire(&self.shared.log, &self.shared.topic, &self.cluster, partitions).await
    }

    async fn has_rows(&self) -> Result<bool, crate::Error> {
        Ok(self.shared.log.read().await?.rows > 0)
    }

    async fn later(
        &self,
        partition: Partition,
        next: Offset,
        last: Option<Offset>,
    ) -> Result<Later, crate::Error> {
        later(&self.shared.log, &self.shared.topic, partition, next, last).await
    }

    fn linger(&self) -> Option<Duration> {
        Some(self.files.max_file_age)
    }

    fn begin(&self) -> Result<Box<dyn Transaction>, crate::Error> {
        let table = self.table.get().ok_or_else(|| {
            configuration(format!("{} was not prepared", self.shared.log.location().name()))
        })?;
        Ok(Box::new(Filling::new(self.shared.clone(), table.clone())))
    }
}
