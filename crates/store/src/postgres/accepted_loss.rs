//! Losses that an operator accepted: one transaction moves the position row and records the loss.

use crate::postgres::positions::{PositionKey, prepared};
use crate::postgres::{Error, Store};
use crate::reader::Move;
use tokio_postgres::Row;
use weir_model::accepted_loss::{AcceptedLoss, Skip};

impl Store {
    /// Moves the position and records the loss. `false`: another writer has taken the partition
    /// over in the meantime, and nothing was changed.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks privileges. If the answer to COMMIT is lost,
    /// the position row shows whether the position was moved.
    pub async fn accept(
        &self,
        position_key: &PositionKey,
        to: &Move,
        reason: &str,
    ) -> Result<bool, Error> {
        let fail = |e| self.error(e);
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(fail)?;
        let PositionKey { pipeline, sink, topic, .. } = position_key;
        let counters = &to.progress.counters;
        let count = |records: u64| i64::try_from(records).unwrap_or(i64::MAX);
        let [read, written, filtered, dead] =
            [counters.read, counters.written, counters.filtered, counters.dead].map(count);
        let moved = transaction
            .execute(
                MOVE,
                &[
                    pipeline,
                    sink,
                    topic,
                    &to.partition,
                    &to.fence,
                    &to.from,
                    &to.to,
                    &to.progress.last,
                    &read,
                    &written,
                    &filtered,
                    &dead,
                ],
            )
            .await
            .map_err(fail)?;
        if moved != 1 {
            transaction.rollback().await.map_err(fail)?;
            return Ok(false);
        }
        let records = count(to.records);
        transaction
            .execute(
                RECORD,
                &[pipeline, sink, topic, &to.partition, &to.from, &to.to, &records, &reason],
            )
            .await
            .map_err(fail)?;
        transaction.commit().await.map_err(fail)?;
        Ok(true)
    }

    /// All losses that were accepted for a sink, oldest first.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn accepted_losses(
        &self,
        pipeline: &str,
        sink: &str,
    ) -> Result<Vec<AcceptedLoss>, Error> {
        let fail = |e| self.error(e);
        let client = self.client().await?;
        if !prepared(&client).await.map_err(fail)? {
            return Ok(Vec::new());
        }
        let rows = client.query(LIST, &[&pipeline, &sink]).await.map_err(fail)?;
        rows.iter().map(accepted_loss).collect::<Result<_, _>>().map_err(fail)
    }
}

fn accepted_loss(row: &Row) -> Result<AcceptedLoss, tokio_postgres::Error> {
    Ok(AcceptedLoss {
        hop: row.try_get(0)?,
        topic: row.try_get(1)?,
        skips: vec![Skip {
            partition: row.try_get(2)?,
            from: row.try_get(3)?,
            to: row.try_get(4)?,
            emitted: None,
        }],
        records: Some(row.try_get::<_, i64>(5)?.unsigned_abs()),
        reason: row.try_get(6)?,
        at: row.try_get(7)?,
    })
}

const MOVE: &str = "UPDATE weir.positions \
     SET next_offset = $7::bigint, last_source = $8, updated_at = now(), \
     last_read_offset = $7::bigint - 1, last_read_fingerprint = NULL, \
     read = $9::bigint, written = $10, filtered = $11, dead = $12, \
     superseded = CASE WHEN $9::bigint = 0 THEN 0 ELSE superseded END \
     WHERE pipeline = $1 AND sink = $2 AND topic = $3 AND partition = $4 \
     AND fence = $5 AND coalesce(next_offset, 0) = $6";

const RECORD: &str = "INSERT INTO weir.accepted_losses \
     (pipeline, sink, topic, partition, from_offset, to_offset, records, reason) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

const LIST: &str = "SELECT sink, topic, partition, from_offset, to_offset, records, reason, \
     to_char(accepted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
     FROM weir.accepted_losses WHERE pipeline = $1 AND sink = $2 ORDER BY id";
