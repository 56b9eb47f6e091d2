//! The write side of a table in PostgreSQL.

use crate::postgres::encode::{Encoded, Origins};
use crate::postgres::write::Write;
use crate::postgres::{Error, Layout, PositionKey, Store, TableCheck};
use crate::target::{Part, Room, SourceRecords, Target, Transaction, Written};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use std::sync::{Arc, PoisonError, RwLock};
use weir_model::dead_letter::DeadLetter;
use weir_model::fault::{Class, Fault};
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Batch, Pipeline};
use weir_model::progress::Later;
use weir_model::protocol::{Claim, CommittedPosition, Offset, Partition};

/// Records in one transaction, even if `batch.records` allows more. Larger transactions are hardly
/// faster, take longer to repeat, and need 15 MiB per 10,000 records, because two of them are alive
/// at a time. Measured with `drain_bench` of weir-sink.
const MAX_RECORDS: usize = 30_000;

/// Connections besides one per worker. To take partitions over, one connection waits while another
/// terminates that of the predecessor.
const SPARE_CONNECTIONS: usize = 3;

/// The table of a sink, shared by its workers.
pub struct Postgres {
    store: Store,
    position_key: PositionKey,
    table: pipeline::Postgres,
    schema: SchemaRef,
    /// The pipeline's input topic, to which lineage refers.
    input_topic: String,
    limits: Batch,
    /// Replaced when the table has changed.
    layout: RwLock<Option<Arc<Layout>>>,
}

impl Postgres {
    /// The table of the sink `sink`; `schema` is the output schema, `cluster` the id of the Kafka
    /// cluster. Connects on first use only.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn new(
        pipeline: &Pipeline,
        sink: &str,
        table: &pipeline::Postgres,
        schema: SchemaRef,
        cluster: &str,
    ) -> Result<Postgres, Error> {
        let application = format!("sink {}/{sink}", pipeline.name);
        let connections = pipeline.workers.sink + SPARE_CONNECTIONS;
        Ok(Postgres {
            store: Store::new(&table.url, &application, connections)?,
            position_key: PositionKey {
                pipeline: pipeline.name.clone(),
                sink: sink.into(),
                topic: pipeline.output.topic.clone(),
                cluster: cluster.into(),
                table: table.table.clone(),
            },
            table: table.clone(),
            schema,
            input_topic: pipeline.input.topic.clone(),
            limits: pipeline.batch.clone(),
            layout: RwLock::default(),
        })
    }

    async fn check(&self) -> Result<TableCheck, Error> {
        self.store.check(&self.position_key.sink, &self.table, &self.schema).await
    }

    fn adopt(&self, check: TableCheck) {
        let layout = check.layout.map(Arc::new);
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = layout;
    }

    fn layout(&self) -> Option<Arc<Layout>> {
        self.layout.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Target for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    async fn prepare(&self) -> Result<Vec<Mistake>, crate::Error> {
        let check = self.check().await?;
        if check.layout.is_none() {
            return Ok(check.mistakes);
        }
        self.store.prepare().await?;
        self.store.apply(&check).await?;
        self.adopt(check);
        Ok(Vec::new())
    }

    async fn inspect(&self) -> Result<Vec<Mistake>, crate::Error> {
        let mut check = self.check().await?;
        let key = format!("sink.{}.table", self.position_key.sink);
        let changed = |statement: &String| {
            Mistake::new(&key, format!("the table changed; a restart would run: {statement}"))
        };
        check.mistakes.extend(check.statements.iter().map(changed));
        if check.mistakes.is_empty() {
            self.adopt(check);
            return Ok(Vec::new());
        }
        Ok(check.mistakes)
    }

    async fn ping(&self) -> Result<(), crate::Error> {
        Ok(self.store.ping().await?)
    }

    async fn acquire(
        &self,
        partitions: &[Partition],
    ) -> Result<Vec<CommittedPosition>, crate::Error> {
        Ok(self.store.acquire(&self.position_key, partitions).await?)
    }

    async fn has_rows(&self) -> Result<bool, crate::Error> {
        Ok(self.store.has_rows(&self.table.table.schema, &self.table.table.table).await?)
    }

    async fn later(
        &self,
        partition: Partition,
        next: Offset,
        last: Option<Offset>,
    ) -> Result<Later, crate::Error> {
        let lineage = self.table.lineage.then_some((self.input_topic.as_str(), last));
        Ok(self.store.later(&self.position_key, partition, next, lineage).await?)
    }

    fn begin(&self) -> Result<Box<dyn Transaction>, crate::Error> {
        let layout = self.layout().ok_or_else(|| {
            let text = format!("table {} was not prepared", self.table.table);
            crate::Error::new(Class::Configuration, text)
        })?;
        Ok(Box::new(RowTransaction {
            store: self.store.clone(),
            position_key: self.position_key.clone(),
            rows: Encoded::new(&layout)?,
            layout,
            lineage: self.table.lineage.then(|| self.input_topic.clone()),
            room: Room { records: self.limits.records.min(MAX_RECORDS), bytes: self.limits.bytes },
            records: PartRecords::default(),
            dead_letters: Vec::new(),
        }))
    }
}

/// A transaction that is being filled. It keeps the records behind its rows until the commit,
/// because the server may still refuse rows, which then become dead letters.
struct RowTransaction {
    store: Store,
    position_key: PositionKey,
    layout: Arc<Layout>,
    rows: Encoded,
    /// The input topic, if the table has lineage columns.
    lineage: Option<String>,
    /// What the transaction still accepts.
    room: Room,
    records: PartRecords,
    dead_letters: Vec<DeadLetter>,
}

#[async_trait]
impl Transaction for RowTransaction {
    fn add(&mut self, part: Part) -> Result<(), crate::Error> {
        let Part { rows, deletes, records, dead_letters, size } = part;
        let num_rows = rows.num_rows();
        let (partitions, offsets) = match self.lineage {
            Some(_) => {
                (0..num_rows).map(|row| (records.partition(row), records.source(row))).unzip()
            }
            None => (Vec::new(), Vec::new()),
        };
        let replays: Vec<Option<Offset>> = match self.layout.order() {
            Some(_) => (0..num_rows).map(|row| records.replay_of(row)).collect(),
            None => Vec::new(),
        };
        let origins = Origins {
            topic: self.lineage.as_deref().unwrap_or_default(),
            partitions: &partitions,
            offsets: &offsets,
            replays: &replays,
            deletes: deletes.as_ref(),
        };
        self.rows.add(&self.layout, &rows, origins)?;
        self.records.add(records, num_rows);
        self.dead_letters.extend(dead_letters);
        self.room.records = self.room.records.saturating_sub(size.records);
        self.room.bytes = self.room.bytes.saturating_sub(size.bytes);
        Ok(())
    }

    fn room(&self) -> Option<Room> {
        (self.room.records > 0 && self.room.bytes > 0).then_some(self.room)
    }

    async fn commit(&mut self, claims: Vec<Claim>) -> Result<Written, crate::Error> {
        let bytes = self.rows.num_bytes();
        let write = Write {
            position_key: &self.position_key,
            claims,
            layout: &self.layout,
            refused: self.rows.take_refused(),
            rows: &self.rows.finish(),
            dead_letters: &self.dead_letters,
            records: &self.records,
        };
        let committed = self.store.write(write).await?;
        if committed.superseded > 0 {
            tracing::info!(
                records = committed.superseded,
                table = %self.position_key.table,
                "came back from the dead letters and are older than their rows, which stay"
            );
        }
        let refused = committed.refused.into_iter().map(|refusal| refusal.fault.reason).collect();
        Ok(Written { outcome: committed.outcome, claims: committed.claims, refused, bytes })
    }
}

/// The records of all parts. Their rows are numbered consecutively.
#[derive(Default)]
struct PartRecords {
    parts: Vec<Box<dyn SourceRecords>>,
    /// The number of each part's first row.
    firsts: Vec<usize>,
    num_rows: usize,
}

impl PartRecords {
    fn add(&mut self, records: Box<dyn SourceRecords>, num_rows: usize) {
        self.parts.push(records);
        self.firsts.push(self.num_rows);
        self.num_rows += num_rows;
    }

    /// The part that contains row `row`, and the row's number within it.
    fn find(&self, row: usize) -> (&dyn SourceRecords, usize) {
        let part = self.firsts.partition_point(|first| *first <= row) - 1;
        (&*self.parts[part], row - self.firsts[part])
    }
}

impl SourceRecords for PartRecords {
    fn partition(&self, row: usize) -> Partition {
        let (part, row) = self.find(row);
        part.partition(row)
    }

    fn source(&self, row: usize) -> Offset {
        let (part, row) = self.find(row);
        part.source(row)
    }

    fn replay_of(&self, row: usize) -> Option<Offset> {
        let (part, row) = self.find(row);
        part.replay_of(row)
    }

    fn dead_letter(&self, row: usize, fault: Fault) -> DeadLetter {
        let (part, row) = self.find(row);
        part.dead_letter(row, fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_worker_has_a_connection_and_some_are_spare() {
        for workers in [1, 16, 17, 64] {
            let text = format!(
                "name = \"o\"\ninput = \
                 {{ topic = \"a\", schema = \"call.avsc\", partitions = 64 }}\n\
                 output = {{ topic = \"b\", schema = \"call.avsc\" }}\n\
                 workers = {{ sink = {workers} }}\n\
                 [[sink]]\nname = \"warehouse\"\ntype = \"postgres\"\ntable = \"t\"\n"
            );
            let folder =
                std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/telecom");
            let pipeline = Pipeline::parse(&text, &folder.join("o.toml"), &|_| None).unwrap();
            let pipeline::Target::Postgres(table) = &pipeline.sinks[0].target else { panic!() };
            let schema = Arc::new(arrow::datatypes::Schema::empty());
            let target = Postgres::new(&pipeline, "warehouse", table, schema, "cluster").unwrap();
            assert_eq!(target.store.max_connections(), workers + SPARE_CONNECTIONS);
        }
    }
}
