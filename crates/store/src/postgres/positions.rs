//! `weir.positions`: where each sink is in each partition, who may move it, and the counters that
//! moved with it.

use crate::postgres::{Error, Store};
use crate::reader::SinkPosition;
use std::time::Duration;
use tokio_postgres::Row;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{CommittedPosition, Offset, Partition};

/// Any number will do, as long as it is always the same: it serialises first starts.
const PREPARE_LOCK: i64 = 0x7765_6972;

/// A predecessor that drains needs less; one that hangs in the middle of a COPY would keep its row
/// locks for as long as it hangs, because the server cannot cancel a COPY that waits for data, only
/// end its connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// All of a first start, in the order of dependence. Every statement may be repeated.
const SCHEMA: &str = include_str!("schema.sql");

/// Whose rows in `weir.positions`.
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
}

impl Store {
    /// Creates the schema `weir` and its tables where they are missing. Any number of processes may
    /// do so at once.
    ///
    /// # Errors
    /// Class configuration when the role may not create them.
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

    /// Takes `partitions` over: raises the fence of each, then reads where it stands. From here on
    /// every transaction under an older fence is refused. Waits for a predecessor's open
    /// transaction, and ends its connection when it does not finish.
    ///
    /// # Errors
    /// [`Error::OtherCluster`] when the rows belong to another Kafka cluster.
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
            match tokio::time::timeout(REQUEST_TIMEOUT, &mut take).await {
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
                    ],
                )
                .await
                .map_err(fail)?;
            let recorded: String = row.try_get(9).map_err(fail)?;
            if recorded != position_key.cluster {
                return Err(Error::OtherCluster {
                    pipeline: position_key.pipeline.clone(),
                    sink: position_key.sink.clone(),
                    topic: position_key.topic.clone(),
                    recorded,
                    actual: position_key.cluster.clone(),
                });
            }
            committed_positions.push(committed(&row, 0).map_err(fail)?);
        }
        transaction.commit().await.map_err(fail)?;
        Ok(committed_positions)
    }

    /// Ends the connections of weir that block the backend `pid`. Their owner lost the partitions:
    /// whatever they still do would be refused, and ending them loses nothing that is not read
    /// again.
    async fn evict(&self, pid: i32) -> Result<(), Error> {
        let client = self.client().await?;
        let rows = client
            .query(
                "SELECT a.pid, a.application_name, pg_terminate_backend(a.pid) FROM pg_stat_activity a \
                 WHERE a.pid = ANY (pg_blocking_pids($1)) AND a.usename = current_user AND starts_with(a.application_name, $2)",
                &[&pid, &crate::postgres::pool::APPLICATION],
            )
            .await
            .map_err(|e| self.error(e))?;
        for row in rows {
            let (pid, name): (i32, String) = (row.get(0), row.get(1));
            tracing::warn!(
                pid,
                application = name,
                "ended the connection of a predecessor that kept its partitions locked"
            );
        }
        Ok(())
    }

    /// The position rows of a sink, by topic and partition; none when weir was never prepared in
    /// this database.
    ///
    /// # Errors
    /// When the server cannot be reached or the role may not read.
    pub async fn positions(&self, pipeline: &str, sink: &str) -> Result<Vec<SinkPosition>, Error> {
        let client = self.client().await?;
        if !prepared(&client).await.map_err(|e| self.error(e))? {
            return Ok(Vec::new());
        }
        let rows = client.query(POSITIONS, &[&pipeline, &sink]).await.map_err(|e| self.error(e))?;
        let position =
            |row: &Row| Ok(SinkPosition { topic: row.try_get(0)?, committed: committed(row, 1)? });
        rows.iter().map(position).collect::<Result<_, _>>().map_err(|e| self.error(e))
    }

    /// Deletes a sink's positions, dead letters and accepted losses.
    ///
    /// # Errors
    /// When the server cannot be reached or the role may not delete; then nothing was deleted.
    pub async fn clear(&self, pipeline: &str, sink: &str) -> Result<(), Error> {
        let mut client = self.client().await?;
        if !prepared(&client).await.map_err(|e| self.error(e))? {
            return Ok(());
        }
        let run = async {
            let transaction = client.transaction().await?;
            for table in ["positions", "dead_letters", "accepted_losses"] {
                let delete = format!("DELETE FROM weir.{table} WHERE pipeline = $1 AND sink = $2");
                transaction.execute(&delete, &[&pipeline, &sink]).await?;
            }
            transaction.commit().await
        };
        run.await.map_err(|e| self.error(e))
    }
}

/// Inserting, or waiting for the row's lock and raising the fence, and reading what the latest
/// committed version says, is one statement: nothing can come between fence and position.
const TAKE: &str = "INSERT INTO weir.positions AS p (pipeline, sink, topic, partition, cluster_id, fence) VALUES ($1, $2, $3, $4, $5, 1) \
     ON CONFLICT (pipeline, sink, topic, partition) DO UPDATE SET fence = p.fence + 1, updated_at = now() \
     RETURNING partition, fence, next_offset, read, written, filtered, dead, last_source, 0::bigint, cluster_id";

const POSITIONS: &str = "SELECT topic, partition, fence, next_offset, read, written, filtered, dead, last_source \
     FROM weir.positions WHERE pipeline = $1 AND sink = $2 ORDER BY topic, partition";

pub(crate) async fn prepared(
    client: &deadpool_postgres::Client,
) -> Result<bool, tokio_postgres::Error> {
    client.query_one(PREPARED, &[]).await?.try_get(0)
}

const PREPARED: &str = "SELECT bool_and(to_regclass('weir.' || name) IS NOT NULL) \
     FROM unnest(ARRAY['positions', 'dead_letters', 'accepted_losses']) AS name";

/// Columns from `at`: partition, fence, next_offset, read, written, filtered, dead, last_source.
fn committed(row: &Row, at: usize) -> Result<CommittedPosition, tokio_postgres::Error> {
    let count = |index: usize| row.try_get::<_, i64>(at + index).map(|n| n.max(0) as u64);
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
            },
            last: row.try_get(at + 7)?,
            filtered_since: 0,
        },
    })
}
