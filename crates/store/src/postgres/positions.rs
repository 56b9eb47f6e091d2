//! `weir.positions`: the position of each sink in each partition, its fence, and the counters that
//! were committed with it.

use crate::postgres::sql::qualified;
use crate::postgres::{Error, Store};
use crate::reader::SinkPosition;
use std::time::Duration;
use tokio_postgres::Row;
use weir_model::pipeline::TableName;
use weir_model::progress::{Counters, LastRead, Progress};
use weir_model::protocol::{CommittedPosition, Offset, Partition};

/// Advisory lock that serialises first starts. An arbitrary number.
const PREPARE_LOCK: i64 = 0x7765_6972;

/// How long a predecessor's transaction is waited for. One that drains needs less. One that hangs
/// in a COPY would keep its row locks: the server cannot cancel a COPY that waits for data, it can
/// only terminate its connection.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(3);

/// The DDL of a first start. Every statement may be repeated.
const SCHEMA: &str = include_str!("schema.sql");

/// Identifies the rows of a sink in `weir.positions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionKey {
    /// The pipeline's name.
    pub pipeline: String,
    /// The sink's name.
    pub sink: String,
    /// The topic that the sink reads.
    pub topic: String,
    /// Id of the Kafka cluster that the offsets belong to.
    pub cluster: String,
    /// The table that the rows go to.
    pub table: TableName,
}

impl PositionKey {
    /// The table as SQL names it.
    pub(crate) fn qualified_table(&self) -> String {
        qualified(&self.table.schema, &self.table.table)
    }
}

impl Store {
    /// Creates the schema `weir` and its tables if they are missing. Several processes may do so at
    /// the same time.
    ///
    /// # Errors
    /// Class configuration: the role lacks the privileges to create them.
    pub async fn prepare(&self) -> Result<(), Error> {
        let mut client = self.client().await?;
        if prepared(&client).await.map_err(|e| self.error(e))? {
            return Ok(());
        }
        let run = async {
            let transaction = client.transaction().await?;
            transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&PREPARE_LOCK]).await?;
            transaction.batch_execute(SCHEMA).await?;
            transaction.commit().await
        };
        run.await.map_err(|e| self.error(e))
    }

    /// Takes `partitions` over: increments the fence of each, then reads its position. From then on
    /// every transaction with an older fence is refused. Waits for a predecessor's open
    /// transaction, and terminates its connection if it does not finish.
    ///
    /// # Errors
    /// [`Error::OtherCluster`]: the rows belong to another Kafka cluster. [`Error::Restored`]: the
    /// table or `weir.positions` was replaced without the other.
    pub async fn acquire(
        &self,
        position_key: &PositionKey,
        partitions: &[Partition],
    ) -> Result<Vec<CommittedPosition>, Error> {
        let mut sorted = partitions.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut client = self.client().await?;
        let pid: i32 = client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .and_then(|r| r.try_get(0))
            .map_err(|e| self.error(e))?;
        let take = self.take(&mut client, position_key, &sorted);
        tokio::pin!(take);
        loop {
            match tokio::time::timeout(PREDECESSOR_TIMEOUT, &mut take).await {
                Ok(done) => return done,
                Err(_) => self.evict(pid).await?,
            }
        }
    }

    async fn take(
        &self,
        client: &mut deadpool_postgres::Client,
        position_key: &PositionKey,
        sorted: &[Partition],
    ) -> Result<Vec<CommittedPosition>, Error> {
        let fail = |e| self.error(e);
        let transaction = client.transaction().await.map_err(fail)?;
        let statement = transaction.prepare_cached(TAKE).await.map_err(fail)?;
        let table = position_key.qualified_table();
        let mut committed_positions = Vec::with_capacity(sorted.len());
        // In the order of partitions, as every writer does, so that two of them cannot deadlock.
        for partition in sorted {
            let row = transaction
                .query_one(
                    &statement,
                    &[
                        &position_key.pipeline,
                        &position_key.sink,
                        &position_key.topic,
                        partition,
                        &position_key.cluster,
                        &table,
                    ],
                )
                .await
                .map_err(fail)?;
            let recorded: String = row.try_get(10).map_err(fail)?;
            if recorded != position_key.cluster {
                return Err(Error::OtherCluster {
                    pipeline: position_key.pipeline.clone(),
                    sink: position_key.sink.clone(),
                    topic: position_key.topic.clone(),
                    recorded,
                    actual: position_key.cluster.clone(),
                });
            }
            self.check_tables(&transaction, position_key, &row).await?;
            committed_positions.push(committed(&row, 0).map_err(fail)?);
        }
        let began = self.began_in(&transaction, position_key).await?;
        for position in &mut committed_positions {
            let has_begun = began.contains(&position.partition);
            if position.next.is_none() {
                position.intact = !has_begun;
            } else if !has_begun {
                // Positions of the version before have none.
                self.note_beginning(&transaction, position_key, position.partition).await?;
            }
        }
        transaction.commit().await.map_err(fail)?;
        Ok(committed_positions)
    }

    /// Remembers that the sink has written records of a partition, so that a position that is
    /// missing later is not taken for a beginning.
    pub(crate) async fn note_beginning(
        &self,
        transaction: &deadpool_postgres::Transaction<'_>,
        position_key: &PositionKey,
        partition: Partition,
    ) -> Result<(), Error> {
        let PositionKey { pipeline, sink, topic, .. } = position_key;
        transaction
            .execute(BEGIN, &[pipeline, sink, topic, &partition])
            .await
            .map_err(|e| self.error(e))?;
        Ok(())
    }

    async fn began_in(
        &self,
        client: &impl deadpool_postgres::GenericClient,
        position_key: &PositionKey,
    ) -> Result<Vec<Partition>, Error> {
        let PositionKey { pipeline, sink, topic, .. } = position_key;
        let rows =
            client.query(BEGAN, &[pipeline, sink, topic]).await.map_err(|e| self.error(e))?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|e| self.error(e))
    }

    /// The partitions that the sink has ever written; none if weir's tables do not exist.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn began(&self, position_key: &PositionKey) -> Result<Vec<Partition>, Error> {
        let client = self.client().await?;
        if !prepared(&client).await.map_err(|e| self.error(e))? {
            return Ok(Vec::new());
        }
        self.began_in(&client, position_key).await
    }

    /// Whether table and position still belong together. Each is named in the position row by its
    /// oid. When one of them has another oid, it was replaced, for instance by a restored one, and
    /// rows would be missing or come twice. When both have, they were restored together.
    async fn check_tables(
        &self,
        transaction: &deadpool_postgres::Transaction<'_>,
        position_key: &PositionKey,
        row: &Row,
    ) -> Result<(), Error> {
        let fail = |e| self.error(e);
        let oid = |index: usize| row.try_get::<_, Option<u32>>(index).map_err(fail);
        let differs = |recorded: Option<u32>, found: Option<u32>| {
            recorded.is_some() && found.is_some() && recorded != found
        };
        match (differs(oid(11)?, oid(12)?), differs(oid(13)?, oid(14)?)) {
            (false, false) => Ok(()),
            (true, true) => {
                let PositionKey { pipeline, sink, topic, .. } = position_key;
                let partition: Partition = row.try_get(0).map_err(fail)?;
                let table = position_key.qualified_table();
                transaction
                    .execute(ADOPT, &[pipeline, sink, topic, &partition, &table])
                    .await
                    .map_err(fail)?;
                Ok(())
            }
            (is_table, _) => Err(Error::Restored {
                replaced: match is_table {
                    true => position_key.table.to_string(),
                    false => "weir.positions".into(),
                },
                pipeline: position_key.pipeline.clone(),
                sink: position_key.sink.clone(),
            }),
        }
    }

    /// Terminates the connections of weir that block the backend `pid`. Their owner has lost the
    /// partitions, so its transactions would be refused, and their records are read again.
    async fn evict(&self, pid: i32) -> Result<(), Error> {
        let client = self.client().await?;
        let rows = client
            .query(
                "SELECT a.pid, a.application_name, pg_terminate_backend(a.pid) \
                 FROM pg_stat_activity a WHERE a.pid = ANY (pg_blocking_pids($1)) \
                 AND a.usename = current_user AND starts_with(a.application_name, $2)",
                &[&pid, &crate::postgres::pool::APPLICATION],
            )
            .await
            .map_err(|e| self.error(e))?;
        for row in rows {
            let (pid, name): (i32, String) = (row.get(0), row.get(1));
            tracing::warn!(
                pid,
                application = name,
                "terminated the connection of a predecessor that kept its partitions locked"
            );
        }
        Ok(())
    }

    /// The position rows of a sink, by topic and partition; none if weir's tables do not exist.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn positions(&self, pipeline: &str, sink: &str) -> Result<Vec<SinkPosition>, Error> {
        let client = self.client().await?;
        if !prepared(&client).await.map_err(|e| self.error(e))? {
            return Ok(Vec::new());
        }
        let rows = client.query(POSITIONS, &[&pipeline, &sink]).await.map_err(|e| self.error(e))?;
        let position = |row: &Row| {
            let (topic, committed) = (row.try_get(0)?, committed(row, 1)?);
            let superseded = row.try_get::<_, i64>(12)?.unsigned_abs();
            Ok(SinkPosition { topic, committed, cluster: row.try_get(11)?, superseded })
        };
        rows.iter().map(position).collect::<Result<_, _>>().map_err(|e| self.error(e))
    }

    /// Deletes a sink's positions, beginnings, dead letters and accepted losses.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks DELETE; then nothing was deleted.
    pub async fn clear(&self, pipeline: &str, sink: &str) -> Result<(), Error> {
        let mut client = self.client().await?;
        if !prepared(&client).await.map_err(|e| self.error(e))? {
            return Ok(());
        }
        let run = async {
            let transaction = client.transaction().await?;
            for table in ["positions", "beginnings", "dead_letters", "accepted_losses"] {
                let delete = format!("DELETE FROM weir.{table} WHERE pipeline = $1 AND sink = $2");
                transaction.execute(&delete, &[&pipeline, &sink]).await?;
            }
            transaction.commit().await
        };
        run.await.map_err(|e| self.error(e))
    }
}

/// One statement inserts the row, or waits for its lock and increments the fence, and returns the
/// latest committed position. So nothing can happen between fence and position.
const TAKE: &str = "INSERT INTO weir.positions AS p \
     (pipeline, sink, topic, partition, cluster_id, fence, target_oid, positions_oid) \
     VALUES ($1, $2, $3, $4, $5, 1, to_regclass($6)::oid, 'weir.positions'::regclass::oid) \
     ON CONFLICT (pipeline, sink, topic, partition) \
     DO UPDATE SET fence = p.fence + 1, updated_at = now(), \
     target_oid = coalesce(p.target_oid, EXCLUDED.target_oid), \
     positions_oid = coalesce(p.positions_oid, EXCLUDED.positions_oid) \
     RETURNING partition, fence, next_offset, read, written, filtered, dead, last_source, \
     last_read_offset, last_read_fingerprint, cluster_id, target_oid, to_regclass($6)::oid, \
     positions_oid, 'weir.positions'::regclass::oid";

const BEGIN: &str = "INSERT INTO weir.beginnings (pipeline, sink, topic, partition) \
     VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

const BEGAN: &str = "SELECT partition FROM weir.beginnings \
     WHERE pipeline = $1 AND sink = $2 AND topic = $3";

/// Table and position were restored together.
const ADOPT: &str = "UPDATE weir.positions SET target_oid = to_regclass($5)::oid, \
     positions_oid = 'weir.positions'::regclass::oid \
     WHERE pipeline = $1 AND sink = $2 AND topic = $3 AND partition = $4";

const POSITIONS: &str = "SELECT topic, partition, fence, next_offset, read, written, filtered, \
     dead, last_source, last_read_offset, last_read_fingerprint, cluster_id, superseded \
     FROM weir.positions WHERE pipeline = $1 AND sink = $2 \
     ORDER BY topic, partition";

/// Whether weir's tables exist, with all their columns.
pub(crate) async fn prepared(
    client: &deadpool_postgres::Client,
) -> Result<bool, tokio_postgres::Error> {
    client.query_one(PREPARED, &[]).await?.try_get(0)
}

const PREPARED: &str = "SELECT bool_and(to_regclass('weir.' || name) IS NOT NULL) \
     AND (SELECT count(*) = 3 FROM pg_attribute WHERE attrelid = to_regclass('weir.positions') \
     AND attname IN ('last_read_fingerprint', 'positions_oid', 'superseded')) \
     FROM unnest(ARRAY['positions', 'beginnings', 'dead_letters', 'accepted_losses', \
     'deleted_keys']) AS name";

/// Columns from `at`: partition, fence, next_offset, read, written, filtered, dead, last_source,
/// last_read_offset, last_read_fingerprint.
fn committed(row: &Row, at: usize) -> Result<CommittedPosition, tokio_postgres::Error> {
    let count = |index: usize| row.try_get::<_, i64>(at + index).map(|n| n.max(0) as u64);
    let fingerprint = row.try_get::<_, Option<i64>>(at + 9)?.map(i64::cast_unsigned);
    let last_read = row.try_get::<_, Option<Offset>>(at + 8)?;
    Ok(CommittedPosition {
        partition: row.try_get(at)?,
        fence: row.try_get(at + 1)?,
        next: row.try_get::<_, Option<Offset>>(at + 2)?,
        progress: Progress {
            counters: Counters {
                read: count(3)?,
                written: count(4)?,
                filtered: count(5)?,
                dead: count(6)?,
                ..Counters::default()
            },
            last: row.try_get(at + 7)?,
            filtered_since: 0,
            last_read: last_read.map(|offset| LastRead { offset, fingerprint }),
        },
        intact: true,
    })
}
