//! Comparing the rows of a table with the records they were made from.

use crate::postgres::encode::{Encoded, Origins};
use crate::postgres::layout::Source;
use crate::postgres::sql::{ident, qualified};
use crate::postgres::{Error, Store};
use arrow::array::RecordBatch;
use tokio_postgres::Row;
use weir_model::pipeline::{Mode, Postgres, Tombstones};
use weir_model::protocol::{Offset, Partition};

/// A temporary table with the columns of the sink's table: what is copied into it goes through the
/// same types, so that a rounded number or a padded text is no difference.
const EXPECTED: &str = "weir_expected";

impl Store {
    /// The input records of those `rows`, which have exactly the output schema, of which the table
    /// has a row with another value in any column. All rows of a record are given together; those
    /// that are not in the table are left out. Writes a temporary table only.
    ///
    /// # Errors
    /// The server is unreachable, the table does not fit, or the role may not create temporary
    /// tables.
    pub async fn differing(
        &self,
        sink: &str,
        table: &Postgres,
        rows: &RecordBatch,
        origins: Origins<'_>,
    ) -> Result<Vec<(Partition, Offset)>, Error> {
        // Every record has a row of its own here.
        let appended = Postgres {
            mode: Mode::Append,
            key: Vec::new(),
            tombstones: Tombstones::Skip,
            delete_when: None,
            ..table.clone()
        };
        let Some(layout) = self.check(sink, &appended, &rows.schema()).await?.layout else {
            return Err(Error::Batch("the table does not fit the output schema".into()));
        };
        let layout = layout.appending_to(EXPECTED).map_err(|e| Error::Batch(e.to_string()))?;
        let mut encoded = Encoded::new(&layout)?;
        encoded.add(&layout, rows, origins)?;
        let rows = encoded.finish();
        let name = qualified(&table.table.schema, &table.table.table);
        let texts = |alias: &str| {
            let own = layout.columns.iter().filter(|c| matches!(c.source, Source::Field(_)));
            let texts = own.map(|column| format!(", {alias}.{}::text", ident(&column.name)));
            format!(
                "{alias}.weir_topic, {alias}.weir_partition, {alias}.weir_offset{}",
                texts.collect::<String>()
            )
        };
        // A record can have several rows, which nothing tells apart but their values.
        let query = format!(
            "SELECT DISTINCT d.weir_partition, d.weir_offset FROM (SELECT {} FROM {name} t \
             WHERE EXISTS (SELECT FROM {EXPECTED} o WHERE o.weir_topic = t.weir_topic AND \
             o.weir_partition = t.weir_partition AND o.weir_offset = t.weir_offset) \
             EXCEPT ALL SELECT {} FROM {EXPECTED} e) d",
            texts("t"),
            texts("e")
        );
        let fail = |e| self.error(e);
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(fail)?;
        let prepare = format!(
            "SET LOCAL statement_timeout = 0; \
             CREATE TEMPORARY TABLE {EXPECTED} (LIKE {name}) ON COMMIT DROP"
        );
        transaction.batch_execute(&prepare).await.map_err(fail)?;
        // What the columns refuse is a dead letter and not a row.
        self.insert(&transaction, &layout, &rows).await?;
        let found = transaction.query(&query, &[]).await.map_err(fail)?;
        let origin = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
        found.iter().map(origin).collect::<Result<_, _>>().map_err(fail)
    }
}
