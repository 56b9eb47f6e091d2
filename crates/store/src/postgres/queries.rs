//! Counts and samples for the audit and for the operator's commands.

use crate::postgres::positions::{PositionKey, prepared};
use crate::postgres::sql::qualified;
use crate::postgres::{Error, Store};
use crate::reader::{ReasonCount, Sample};
use futures_util::TryStreamExt;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::{FromSql, ToSql};
use weir_model::progress::Later;
use weir_model::protocol::{Offset, Partition};

impl Store {
    /// Counts the rows of a table by reading it; 0 if the table does not exist.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn count_rows(&self, schema: &str, table: &str) -> Result<u64, Error> {
        let name = qualified(schema, table);
        let count = format!("SELECT count(*) FROM {name}");
        Ok(self.ask::<i64>(&name, &count).await?.map_or(0, |count| count as u64))
    }

    /// Whether a table has any row; `false` if it does not exist.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn has_rows(&self, schema: &str, table: &str) -> Result<bool, Error> {
        let name = qualified(schema, table);
        let any = format!("SELECT EXISTS (SELECT FROM {name})");
        Ok(self.ask(&name, &any).await?.unwrap_or(false))
    }

    /// Counts the rows whose lineage columns are empty, by reading the table; 0 if it does not exist or
    /// has no such columns yet.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn rows_without_origin(&self, schema: &str, table: &str) -> Result<u64, Error> {
        let name = qualified(schema, table);
        let named = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND \
                     attname = 'weir_offset' AND NOT attisdropped)";
        let client = self.client().await?;
        let named = client.query_one(named, &[&name]).await.and_then(|row| row.try_get(0));
        if !named.map_err(|e| self.error(e))? {
            return self.count_rows(schema, table).await;
        }
        let count = format!("SELECT count(*) FROM {name} WHERE weir_offset IS NULL");
        Ok(self.ask::<i64>(&name, &count).await?.map_or(0, |count| count as u64))
    }

    /// Counts the dead letters of the partition from `next` on, and the rows that came from a later
    /// record of the input topic than `lineage` names, where the table has lineage columns; that
    /// reads the whole table.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn later(
        &self,
        position_key: &PositionKey,
        partition: Partition,
        next: Offset,
        lineage: Option<(&str, Option<Offset>)>,
    ) -> Result<Later, Error> {
        let PositionKey { pipeline, sink, topic, .. } = position_key;
        let name = position_key.qualified_table();
        let mut client = self.client().await?;
        let run = async {
            let transaction = client.build_transaction().read_only(true).start().await?;
            transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
            let of = [pipeline, sink, topic].map(|text| text as &(dyn ToSql + Sync));
            let dead = transaction
                .query_one(LATER_DEAD_LETTERS, &[of[0], of[1], of[2], &partition, &next])
                .await?;
            let exists = "SELECT to_regclass($1) IS NOT NULL";
            let exists: bool = transaction.query_one(exists, &[&name]).await?.try_get(0)?;
            let rows = match lineage {
                Some((input, last)) if exists => {
                    let later = format!(
                        "SELECT count(*) FROM {name} WHERE weir_topic = $1 AND weir_partition = $2 \
                         AND weir_offset > $3"
                    );
                    let last = last.unwrap_or(-1);
                    let rows = transaction.query_one(&later, &[&input, &partition, &last]).await?;
                    Some(rows.try_get::<_, i64>(0)?.unsigned_abs())
                }
                Some(_) => Some(0),
                None => None,
            };
            Ok(Later { rows, dead_letters: dead.try_get::<_, i64>(0)?.unsigned_abs() })
        };
        run.await.map_err(|e| self.error(e))
    }

    /// The one value that `query` selects; `None` if there is no table `name`.
    async fn ask<T: for<'a> FromSql<'a>>(
        &self,
        name: &str,
        query: &str,
    ) -> Result<Option<T>, Error> {
        let fail = |e| self.error(e);
        let client = self.client().await?;
        let exists = "SELECT to_regclass($1) IS NOT NULL";
        let exists = client.query_one(exists, &[&name]).await.and_then(|row| row.try_get(0));
        if !exists.map_err(fail)? {
            return Ok(None);
        }
        client.query_one(query, &[]).await.and_then(|row| row.try_get(0)).map_err(fail)
    }

    /// Shows the lineage columns of all rows of a table that came from `topic` to `visit`, row by
    /// row; none if the table does not exist.
    ///
    /// # Errors
    /// The server is unreachable, or the role has no SELECT privilege.
    pub async fn origins(
        &self,
        schema: &str,
        table: &str,
        topic: &str,
        visit: &mut (dyn FnMut(Partition, Offset) + Send),
    ) -> Result<(), Error> {
        let name = qualified(schema, table);
        let mut client = self.client().await?;
        let run = async {
            let transaction = client.build_transaction().read_only(true).start().await?;
            let exists =
                transaction.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await?;
            if !exists.try_get::<_, bool>(0)? {
                return Ok(());
            }
            // It lasts as long as the table is large.
            transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
            let query =
                format!("SELECT weir_partition, weir_offset FROM {name} WHERE weir_topic = $1");
            let mut rows = std::pin::pin!(transaction.query_raw(&query, [topic]).await?);
            while let Some(row) = rows.try_next().await? {
                // A row whose lineage is NULL is not weir's.
                if let (Some(partition), Some(offset)) = (row.try_get(0)?, row.try_get(1)?) {
                    visit(partition, offset);
                }
            }
            Ok(())
        };
        run.await.map_err(|e| self.error(e))
    }

    /// A sink's dead letters by reason, most frequent first; none if weir's tables do not exist.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn dead_letter_reasons(
        &self,
        pipeline: &str,
        sink: &str,
    ) -> Result<Vec<ReasonCount>, Error> {
        let client = self.client().await?;
        if !prepared(&client).await.map_err(|e| self.error(e))? {
            return Ok(Vec::new());
        }
        let rows = client.query(REASONS, &[&pipeline, &sink]).await.map_err(|e| self.error(e))?;
        let reason = |row: &tokio_postgres::Row| {
            let count = row.try_get::<_, i64>(1)? as u64;
            Ok(ReasonCount {
                reason: row.try_get(0)?,
                count,
                example: row.try_get(2)?,
                detail: row.try_get(3)?,
            })
        };
        rows.iter().map(reason).collect::<Result<_, _>>().map_err(|e| self.error(e))
    }

    /// Any `limit` rows of a table.
    ///
    /// # Errors
    /// The server cannot be reached, the table does not exist, or the role lacks SELECT.
    pub async fn sample(&self, schema: &str, table: &str, limit: usize) -> Result<Sample, Error> {
        let query = format!("SELECT * FROM {} LIMIT {limit}", qualified(schema, table));
        let mut sample = Sample { columns: Vec::new(), rows: Vec::new() };
        // The simple protocol returns every type as text.
        for message in self.client().await?.simple_query(&query).await.map_err(|e| self.error(e))? {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    sample.columns = columns.iter().map(|c| c.name().to_owned()).collect()
                }
                SimpleQueryMessage::Row(row) => sample
                    .rows
                    .push((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
                _ => {}
            }
        }
        Ok(sample)
    }
}

const LATER_DEAD_LETTERS: &str = "SELECT count(*) FROM weir.dead_letters WHERE pipeline = $1 \
     AND sink = $2 AND topic = $3 AND partition = $4 AND \"offset\" >= $5";

const REASONS: &str = "SELECT reason, count(*), \
     (array_agg(format('%s[%s]@%s', topic, partition, \"offset\") ORDER BY id))[1], \
     (array_agg(detail ORDER BY id))[1] FROM weir.dead_letters \
     WHERE pipeline = $1 AND sink = $2 GROUP BY reason ORDER BY count(*) DESC, reason";
