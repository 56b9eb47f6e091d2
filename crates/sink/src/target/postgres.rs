//! A table in PostgreSQL.

use crate::Error;
use crate::target::{Batch, Target, Written};
use arrow::datatypes::SchemaRef;
use std::sync::{Arc, PoisonError, RwLock};
use weir_model::fault::Fault;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Pipeline};
use weir_model::protocol::{Claim, CommittedPosition, Partition};
use weir_store::{
    DeadLetter, Encoded, Layout, Origin, Origins, PositionKey, Store, TableCheck, Write,
};

/// See the module.
pub struct Postgres {
    store: Store,
    position_key: PositionKey,
    table: pipeline::Postgres,
    schema: SchemaRef,
    /// The pipeline's input topic: what lineage points to.
    source: String,
    /// Made anew when the table changed.
    layout: RwLock<Option<Arc<Layout>>>,
}

/// Rows as COPY takes them, for the layout that they were encoded for.
pub struct Form {
    layout: Arc<Layout>,
    rows: Encoded,
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
        Ok(Postgres {
            store: Store::new(&table.url, &format!("sink {}/{sink}", pipeline.name))?,
            position_key: PositionKey {
                pipeline: pipeline.name.clone(),
                sink: sink.into(),
                topic: pipeline.output.topic.clone(),
                cluster: cluster.into(),
            },
            table: table.clone(),
            schema,
            source: pipeline.input.topic.clone(),
            layout: RwLock::default(),
        })
    }

    async fn fit(&self) -> Result<TableCheck, Error> {
        Ok(self.store.fit(&self.position_key.sink, &self.table, &self.schema).await?)
    }

    fn adopt(&self, fit: TableCheck) {
        *self.layout.write().unwrap_or_else(PoisonError::into_inner) = fit.layout.map(Arc::new);
    }

    fn layout(&self) -> Result<Arc<Layout>, Error> {
        let layout = self.layout.read().unwrap_or_else(PoisonError::into_inner);
        layout.clone().ok_or_else(|| {
            Error::Unfit(format!(
                "table {}.{} was not prepared",
                self.table.schema, self.table.table
            ))
        })
    }
}

impl Target for Postgres {
    type Form = Form;

    fn kind(&self) -> &'static str {
        "postgres"
    }

    async fn prepare(&self) -> Result<Vec<Mistake>, Error> {
        let fit = self.fit().await?;
        if fit.layout.is_none() {
            return Ok(fit.mistakes);
        }
        self.store.prepare().await?;
        self.store.apply(&fit).await?;
        self.adopt(fit);
        Ok(Vec::new())
    }

    async fn inspect(&self) -> Result<Vec<Mistake>, Error> {
        let mut fit = self.fit().await?;
        let key = format!("sink.{}.table", self.position_key.sink);
        fit.mistakes.extend(
            fit.statements.iter().map(|s| {
                Mistake::new(&key, format!("the table changed; a restart would run: {s}"))
            }),
        );
        if fit.mistakes.is_empty() {
            self.adopt(fit);
            return Ok(Vec::new());
        }
        Ok(fit.mistakes)
    }

    async fn ping(&self) -> Result<(), Error> {
        Ok(self.store.ping().await?)
    }

    async fn acquire(&self, partitions: &[Partition]) -> Result<Vec<CommittedPosition>, Error> {
        Ok(self.store.acquire(&self.position_key, partitions).await?)
    }

    fn encode(&self, batch: &Batch) -> Result<Form, Error> {
        let layout = self.layout()?;
        let (partitions, offsets) =
            if self.table.lineage { lineage(batch) } else { Default::default() };
        let rows = layout.encode(
            &batch.rows,
            Origins { topic: &self.source, partitions: &partitions, offsets: &offsets },
        )?;
        Ok(Form { layout, rows })
    }

    async fn write(&self, batch: &Batch, form: &Form, claims: &[Claim]) -> Result<Written, Error> {
        let dead_letters: Vec<DeadLetter> = batch
            .faults
            .iter()
            .map(|(index, fault)| batch.dead_letter(*index as usize, fault.clone()))
            .collect();
        let origin = Rows(batch);
        let write = Write {
            position_key: &self.position_key,
            claims,
            layout: &form.layout,
            rows: &form.rows,
            dead_letters: &dead_letters,
            origin: &origin,
        };
        let written = self.store.write(write).await?;
        let refused = written
            .refused
            .into_iter()
            .map(|r| (origin.partition(r.row), r.fault.reason))
            .collect();
        Ok(Written { outcome: written.outcome, refused, bytes: form.rows.bytes().len() })
    }
}

/// For each row, the partition and offset of the input record. Rows have a lineage: records without
/// one are faults.
fn lineage(batch: &Batch) -> (Vec<i32>, Vec<i64>) {
    let origin = |index: &u32| {
        let index = *index as usize;
        (batch.records.partition(index), batch.records.lineage(index).map_or(-1, |l| l.source))
    };
    batch.origins.iter().map(origin).unzip()
}

struct Rows<'a>(&'a Batch);

impl Origin for Rows<'_> {
    fn partition(&self, row: usize) -> Partition {
        self.0.records.partition(self.0.origins[row] as usize)
    }

    fn dead_letter(&self, row: usize, fault: Fault) -> DeadLetter {
        self.0.dead_letter(self.0.origins[row] as usize, fault)
    }
}
