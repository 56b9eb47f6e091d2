//! One COPY of many rows.

use crate::postgres::insert::{Attempt, KEEP, UNDO, is_isolable};
use crate::postgres::layout::Layout;
use crate::postgres::{Error, Store};
use bytes::Bytes;
use deadpool_postgres::Transaction;
use futures_util::SinkExt;

/// Bytes per message of the COPY: large enough for a low overhead, small enough for the server to
/// work while the rest is being sent.
const CHUNK: usize = 128 * 1024;

/// Rows to copy.
pub(crate) struct Pieces {
    /// Header, rows and trailer.
    pub(crate) bytes: [Bytes; 3],
    pub(crate) num_rows: usize,
    /// Whether any of them came back from the dead letters, in a layout with an order.
    pub(crate) has_replays: bool,
    /// Whether a COPY came before, so that there may be something in the temporary table.
    pub(crate) is_part: bool,
}

impl Store {
    /// Stores rows, all or none of them, after the savepoint, which is moved behind them.
    pub(super) async fn copy(
        &self,
        transaction: &Transaction<'_>,
        layout: &Layout,
        rows: Pieces,
    ) -> Result<Attempt, Error> {
        let refused = match self.send(transaction, layout, rows).await {
            Ok(Some(superseded)) => {
                transaction.batch_execute(KEEP).await.map_err(|e| self.error(e))?;
                return Ok(Attempt::Stored { superseded });
            }
            Ok(None) => None,
            Err(Error::Database { report, .. }) if is_isolable(&report, layout) => Some(report),
            Err(other) => return Err(other),
        };
        transaction.batch_execute(UNDO).await.map_err(|e| self.error(e))?;
        Ok(Attempt::Refused(refused))
    }

    /// The rows that are superseded, if all others are stored: a trigger may leave rows out without
    /// an error.
    async fn send(
        &self,
        transaction: &Transaction<'_>,
        layout: &Layout,
        rows: Pieces,
    ) -> Result<Option<Vec<usize>>, Error> {
        let (num_rows, has_replays) = (rows.num_rows, rows.has_replays);
        let num_copied = self.copy_rows(transaction, layout, rows).await?;
        let fail = |e| self.error(e);
        let Some(staged) = &layout.staged else {
            return Ok((num_copied == num_rows as u64).then(Vec::new));
        };
        let order = staged.order.as_ref().filter(|_| has_replays);
        let merge = order.map_or(&staged.merge, |order| &order.merge);
        let merged = transaction.query_one(merge, &[]).await.map_err(fail)?;
        let (num_keys, num_stored): (i64, i64) =
            (merged.try_get(0).map_err(fail)?, merged.try_get(1).map_err(fail)?);
        let superseded: Option<Vec<i32>> = match order {
            Some(_) => merged.try_get(2).map_err(fail)?,
            None => None,
        };
        let superseded = superseded.unwrap_or_default().into_iter().map(|row| row as usize);
        Ok((staged.leaves_existing || num_keys == num_stored).then(|| superseded.collect()))
    }

    /// Sends rows to the table, or to the temporary one; returns how many it took.
    pub(super) async fn copy_rows(
        &self,
        transaction: &Transaction<'_>,
        layout: &Layout,
        rows: Pieces,
    ) -> Result<u64, Error> {
        let fail = |e| self.error(e);
        if let Some(staged) = layout.staged.as_ref().filter(|_| rows.is_part) {
            transaction.batch_execute(&staged.clear).await.map_err(fail)?;
        }
        let statement = transaction.prepare_cached(&layout.copy).await.map_err(fail)?;
        let sink = transaction.copy_in(&statement).await.map_err(fail)?;
        tokio::pin!(sink);
        for mut piece in rows.bytes {
            while !piece.is_empty() {
                let chunk = piece.split_to(piece.len().min(CHUNK));
                sink.feed(chunk).await.map_err(fail)?;
            }
        }
        sink.as_mut().finish().await.map_err(fail)
    }
}
