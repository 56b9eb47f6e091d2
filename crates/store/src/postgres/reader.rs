//! The read side of a table in PostgreSQL.

use crate::postgres::encode::Origins;
use crate::postgres::{Error, PositionKey, Store, TableCheck};
use crate::reader::{
    DeadLetterContent, Move, ReasonCount, Sample, SinkPosition, StoredDeadLetter, TargetCheck,
    TargetReader,
};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::pipeline::{self, Pipeline};
use weir_model::progress::Later;
use weir_model::protocol::{CommittedPosition, Offset, Partition};

/// A command asks one thing after the other; taking partitions over needs a second connection.
const CONNECTIONS: usize = 3;

/// See the module.
pub struct Reader {
    store: Store,
    table: pipeline::Postgres,
    name: String,
    pipeline: String,
    sink: String,
    /// The topic that the sink reads.
    topic: String,
    /// The topic that the lineage columns refer to.
    input_topic: String,
}

impl Reader {
    /// The table of the sink `sink`. Connects on first use only.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn new(
        pipeline: &Pipeline,
        sink: &str,
        table: &pipeline::Postgres,
    ) -> Result<Reader, Error> {
        let application = format!("reader {}/{sink}", pipeline.name);
        Ok(Reader {
            store: Store::new(&table.url, &application, CONNECTIONS)?,
            name: table.table.to_string(),
            table: table.clone(),
            pipeline: pipeline.name.clone(),
            sink: sink.into(),
            topic: pipeline.output.topic.clone(),
            input_topic: pipeline.input.topic.clone(),
        })
    }

    /// The condition of this sink's rows in weir's tables.
    fn own(&self) -> String {
        format!("pipeline = {} AND sink = {}", text(&self.pipeline), text(&self.sink))
    }

    fn position_key(&self, cluster: &str) -> PositionKey {
        PositionKey {
            pipeline: self.pipeline.clone(),
            sink: self.sink.clone(),
            topic: self.topic.clone(),
            cluster: cluster.into(),
            table: self.table.table.clone(),
        }
    }
}

#[async_trait]
impl TargetReader for Reader {
    fn name(&self) -> &str {
        &self.name
    }

    async fn positions(&self) -> Result<Vec<SinkPosition>, crate::Error> {
        Ok(self.store.positions(&self.pipeline, &self.sink).await?)
    }

    async fn began(&self) -> Result<Vec<Partition>, crate::Error> {
        Ok(self.store.began(&self.position_key("")).await?)
    }

    async fn accepted_losses(&self) -> Result<Vec<AcceptedLoss>, crate::Error> {
        Ok(self.store.accepted_losses(&self.pipeline, &self.sink).await?)
    }

    async fn dead_letters(&self) -> Result<Vec<StoredDeadLetter>, crate::Error> {
        Ok(self.store.dead_letters(&self.pipeline, &self.sink).await?)
    }

    async fn dead_letter_content(
        &self,
        id: i64,
    ) -> Result<Option<DeadLetterContent>, crate::Error> {
        Ok(self.store.dead_letter_content(id).await?)
    }

    async fn dead_letter_reasons(&self) -> Result<Vec<ReasonCount>, crate::Error> {
        Ok(self.store.dead_letter_reasons(&self.pipeline, &self.sink).await?)
    }

    async fn count_rows(&self) -> Result<u64, crate::Error> {
        Ok(self.store.count_rows(&self.table.table.schema, &self.table.table.table).await?)
    }

    async fn rows_without_origin(&self) -> Result<u64, crate::Error> {
        let pipeline::TableName { schema, table } = &self.table.table;
        match self.table.lineage {
            true => Ok(self.store.rows_without_origin(schema, table).await?),
            false => Ok(0),
        }
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
        Ok(self.store.later(&self.position_key(""), partition, next, lineage).await?)
    }

    fn delete_later(
        &self,
        partition: Partition,
        next: Offset,
        last: Option<Offset>,
    ) -> Option<String> {
        let position_key = self.position_key("");
        let last = last.unwrap_or(-1);
        self.table.lineage.then(|| {
            format!(
                "DELETE FROM {} WHERE weir_topic = {} AND weir_partition = {partition} AND \
                 weir_offset > {last}; DELETE FROM weir.dead_letters WHERE {} AND topic = {} AND \
                 partition = {partition} AND \"offset\" >= {next}",
                position_key.qualified_table(),
                text(&self.input_topic),
                self.own(),
                text(&self.topic)
            )
        })
    }

    fn delete_all(&self) -> Option<String> {
        let table = self.position_key("").qualified_table();
        let state = ["positions", "beginnings", "dead_letters"]
            .map(|table| format!("; DELETE FROM weir.{table} WHERE {}", self.own()));
        Some(format!("TRUNCATE {table}{}", state.concat()))
    }

    async fn origins(
        &self,
        visit: &mut (dyn FnMut(Partition, Offset) + Send),
    ) -> Result<bool, crate::Error> {
        if self.table.lineage {
            let (schema, table) = (&self.table.table.schema, &self.table.table.table);
            self.store.origins(schema, table, &self.input_topic, visit).await?;
        }
        Ok(self.table.lineage)
    }

    fn compares_rows(&self) -> bool {
        true
    }

    async fn differing(
        &self,
        rows: &RecordBatch,
        partitions: &[Partition],
        offsets: &[Offset],
    ) -> Result<Vec<(Partition, Offset)>, crate::Error> {
        if !self.table.lineage || rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let topic = &self.input_topic;
        let origins = Origins { topic, partitions, offsets, replays: &[], deletes: None };
        Ok(self.store.differing(&self.sink, &self.table, rows, origins).await?)
    }

    async fn sample(&self, limit: usize) -> Result<Sample, crate::Error> {
        Ok(self.store.sample(&self.table.table.schema, &self.table.table.table, limit).await?)
    }

    async fn check(&self, schema: &SchemaRef) -> Result<TargetCheck, crate::Error> {
        let check = self.store.check(&self.sink, &self.table, schema).await?;
        Ok(TargetCheck { outlook: outlook(&check), mistakes: check.mistakes })
    }

    async fn acquire(
        &self,
        cluster: &str,
        partitions: &[Partition],
    ) -> Result<Vec<CommittedPosition>, crate::Error> {
        Ok(self.store.acquire(&self.position_key(cluster), partitions).await?)
    }

    async fn accept(&self, cluster: &str, to: &Move, reason: &str) -> Result<bool, crate::Error> {
        Ok(self.store.accept(&self.position_key(cluster), to, reason).await?)
    }

    async fn clear(&self) -> Result<(), crate::Error> {
        Ok(self.store.clear(&self.pipeline, &self.sink).await?)
    }
}

/// A text as SQL writes it.
fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What the sink will do to the database when it starts.
fn outlook(check: &TableCheck) -> String {
    let num_added = check.statements.iter().filter(|s| s.starts_with("ALTER TABLE")).count();
    match (check.statements.iter().any(|s| s.starts_with("CREATE TABLE")), num_added) {
        (true, _) => "will be created".into(),
        (false, 0) => "fits".into(),
        (false, 1) => "fits; 1 column will be added".into(),
        (false, num_added) => format!("fits; {num_added} columns will be added"),
    }
}
