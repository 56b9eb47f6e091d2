//! The transaction of a sink: positions, rows, dead letters and counters are committed together.

use crate::postgres::encode::CopyData;
use crate::postgres::layout::Layout;
use crate::postgres::pool::STATEMENT_TIMEOUT;
use crate::postgres::positions::PositionKey;
use crate::postgres::refusal::Refusal;
use crate::postgres::{Error, Store};
use crate::target::SourceRecords;
use deadpool_postgres::{Client, Transaction};
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use tokio_postgres::types::ToSql;
use weir_model::dead_letter::DeadLetter;
use weir_model::protocol::{Claim, Outcome, Partition};

/// Longer than the server's own timeouts: for a server that does not answer at all.
const DEADLINE: Duration = STATEMENT_TIMEOUT.saturating_mul(2);

/// The content of one transaction.
pub struct Write<'a> {
    /// The position rows.
    pub position_key: &'a PositionKey,
    /// One claim per partition of the batch. Their counters count every row as written, the refused
    /// ones included, and `dead_letters` as dead.
    pub claims: Vec<Claim>,
    /// The table.
    pub layout: &'a Layout,
    /// The rows for the table.
    pub rows: &'a CopyData,
    /// Rows that were refused before they were sent.
    pub refused: Vec<Refusal>,
    /// Records that could not be decoded.
    pub dead_letters: &'a [DeadLetter],
    /// The records behind the rows.
    pub records: &'a dyn SourceRecords,
}

/// The result of [`Store::write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The other fields are valid only with [`Outcome::Committed`]. [`Outcome::Refused`]: fence or
    /// position belong to another writer.
    pub outcome: Outcome,
    /// The claims with the counters that were committed: refused rows are dead, not written.
    pub claims: Vec<Claim>,
    /// The rows that the table refused, stored as dead letters.
    pub refused: Vec<Refusal>,
    /// The number of rows that came back from the dead letters and are older than what is there.
    /// They count as written, like a row that a later one of its key replaces.
    pub superseded: usize,
}

impl Store {
    /// Runs the transaction.
    ///
    /// # Errors
    /// Nothing was committed. Class environment: retry later. Class configuration: operator action
    /// is required.
    pub async fn write(&self, mut write: Write<'_>) -> Result<Committed, Error> {
        let mut client = self.client().await?;
        // Every writer locks the rows in the order of the partitions, to prevent deadlocks.
        write.claims.sort_unstable_by_key(|claim| claim.partition);
        mark_dead(&mut write.claims, write.records, &write.refused);
        let mut superseded = Vec::new();
        let result = self.transact(&mut client, &mut write, &mut superseded).await;
        if !matches!(result, Ok(Outcome::Committed | Outcome::Refused)) {
            discard(client);
        }
        Ok(Committed {
            outcome: result?,
            claims: write.claims,
            refused: write.refused,
            superseded: superseded.len(),
        })
    }

    async fn transact(
        &self,
        client: &mut Client,
        write: &mut Write<'_>,
        superseded: &mut Vec<usize>,
    ) -> Result<Outcome, Error> {
        let Some(transaction) = self.within(self.fill(client, write, superseded)).await? else {
            return Ok(Outcome::Refused);
        };
        match self.within(async { transaction.commit().await.map_err(|e| self.error(e)) }).await {
            Ok(()) => Ok(Outcome::Committed),
            Err(error) => {
                let outcome = unconfirmed(&error);
                tracing::warn!(%error, ?outcome, "commit was not confirmed");
                Ok(outcome)
            }
        }
    }

    /// Everything up to COMMIT; `None` when a claim does not hold.
    async fn fill<'c>(
        &self,
        client: &'c mut Client,
        write: &mut Write<'_>,
        superseded: &mut Vec<usize>,
    ) -> Result<Option<Transaction<'c>>, Error> {
        let transaction = client.transaction().await.map_err(|e| self.error(e))?;
        // Sent together, because small batches mostly wait for round trips.
        let (immediate, claimed) = tokio::join!(
            transaction.batch_execute(IMMEDIATE),
            self.claim(&transaction, write.position_key, &write.claims)
        );
        immediate.map_err(|e| self.error(e))?;
        if !claimed? {
            transaction.rollback().await.map_err(|e| self.error(e))?;
            return Ok(None);
        }
        for claim in write.claims.iter().filter(|claim| claim.expected.is_none()) {
            self.note_beginning(&transaction, write.position_key, claim.partition).await?;
        }
        let left_out = self.insert(&transaction, write.layout, write.rows).await?;
        *superseded = left_out.superseded;
        self.count_superseded(&transaction, write, superseded).await?;
        let refused = left_out.refused;
        if !refused.is_empty() {
            mark_dead(&mut write.claims, write.records, &refused);
            self.recount(&transaction, write.position_key, &write.claims).await?;
            write.refused.extend(refused);
            write.refused.sort_by_key(|refusal| refusal.row);
        }
        let mut dead_letters: Vec<DeadLetter> =
            write.refused.iter().map(|refusal| dead_letter(write.records, refusal)).collect();
        dead_letters.extend_from_slice(write.dead_letters);
        self.insert_dead_letters(&transaction, write.position_key, &dead_letters).await?;
        Ok(Some(transaction))
    }

    /// The compare-and-set. Its row locks are held until the end of the transaction, so another
    /// writer waits and is then refused. They are taken in the order of the claims, because
    /// requests are processed in the order in which they are sent.
    async fn claim(
        &self,
        transaction: &Transaction<'_>,
        position_key: &PositionKey,
        claims: &[Claim],
    ) -> Result<bool, Error> {
        let statement = transaction.prepare_cached(CLAIM).await.map_err(|e| self.error(e))?;
        let table = position_key.qualified_table();
        let one = async |claim: &Claim| {
            let c = &claim.progress.counters;
            let [read, written, filtered, dead] =
                [c.read, c.written, c.filtered, c.dead].map(|n| n as i64);
            let last_read = claim.progress.last_read;
            let offset = last_read.map(|read| read.offset);
            let fingerprint = last_read.and_then(|read| read.fingerprint).map(u64::cast_signed);
            let parameters: [&(dyn ToSql + Sync); 15] = [
                &position_key.pipeline,
                &position_key.sink,
                &position_key.topic,
                &claim.partition,
                &claim.fence,
                &claim.expected,
                &claim.next,
                &read,
                &written,
                &filtered,
                &dead,
                &claim.progress.last,
                &offset,
                &fingerprint,
                &table,
            ];
            transaction.execute(&statement, &parameters).await
        };
        let updated = try_join_all(claims.iter().map(one)).await.map_err(|e| self.error(e))?;
        Ok(updated.iter().all(|rows| *rows == 1))
    }

    /// Corrects the counters of position rows that this transaction has locked.
    async fn recount(
        &self,
        transaction: &Transaction<'_>,
        position_key: &PositionKey,
        claims: &[Claim],
    ) -> Result<(), Error> {
        let statement = transaction.prepare_cached(RECOUNT).await.map_err(|e| self.error(e))?;
        for claim in claims {
            let (written, dead) =
                (claim.progress.counters.written as i64, claim.progress.counters.dead as i64);
            transaction
                .execute(
                    &statement,
                    &[
                        &position_key.pipeline,
                        &position_key.sink,
                        &position_key.topic,
                        &claim.partition,
                        &written,
                        &dead,
                    ],
                )
                .await
                .map_err(|e| self.error(e))?;
        }
        Ok(())
    }

    /// Adds to the position rows what was superseded.
    async fn count_superseded(
        &self,
        transaction: &Transaction<'_>,
        write: &Write<'_>,
        superseded: &[usize],
    ) -> Result<(), Error> {
        let PositionKey { pipeline, sink, topic, .. } = write.position_key;
        for (partition, count) in by_partition(write.records, superseded.iter().copied()) {
            let count = count as i64;
            transaction
                .execute(SUPERSEDED, &[pipeline, sink, topic, &partition, &count])
                .await
                .map_err(|e| self.error(e))?;
        }
        Ok(())
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(done) => done,
            Err(_) => Err(Error::Slow {
                server: self.server().to_owned(),
                doing: "writing a batch",
                after: DEADLINE,
            }),
        }
    }
}

/// Deferred constraints would fail at COMMIT, when it is too late to isolate a row.
const IMMEDIATE: &str = "SET CONSTRAINTS ALL IMMEDIATE";

const CLAIM: &str = "UPDATE weir.positions SET next_offset = $7, read = $8, written = $9, \
     filtered = $10, dead = $11, last_source = $12, \
     last_read_offset = $13, last_read_fingerprint = $14, updated_at = now() \
     WHERE pipeline = $1 AND sink = $2 AND topic = $3 AND partition = $4 \
     AND fence = $5 AND next_offset IS NOT DISTINCT FROM $6 \
     AND coalesce(target_oid = to_regclass($15)::oid, true)";

const RECOUNT: &str = "UPDATE weir.positions SET written = $5, dead = $6 \
     WHERE pipeline = $1 AND sink = $2 AND topic = $3 AND partition = $4";

const SUPERSEDED: &str = "UPDATE weir.positions SET superseded = superseded + $5 \
     WHERE pipeline = $1 AND sink = $2 AND topic = $3 AND partition = $4";

fn by_partition(
    records: &dyn SourceRecords,
    rows: impl Iterator<Item = usize>,
) -> BTreeMap<Partition, u64> {
    let mut counts = BTreeMap::new();
    rows.for_each(|row| *counts.entry(records.partition(row)).or_default() += 1);
    counts
}

/// Counts refused rows as dead instead of written.
fn mark_dead(claims: &mut [Claim], records: &dyn SourceRecords, refused: &[Refusal]) {
    let num_refused = by_partition(records, refused.iter().map(|refusal| refusal.row));
    for claim in claims {
        claim.mark_dead(num_refused.get(&claim.partition).copied().unwrap_or_default());
    }
}

fn dead_letter(records: &dyn SourceRecords, refusal: &Refusal) -> DeadLetter {
    DeadLetter {
        column: refusal.column.clone(),
        code: refusal.sqlstate.clone(),
        ..records.dead_letter(refusal.row, refusal.fault.clone())
    }
}

/// The server's refusal of COMMIT is definite, except for the two codes that say otherwise.
/// Everything else is a lost answer.
fn unconfirmed(error: &Error) -> Outcome {
    match error.sqlstate() {
        Some("40003" | "08007") | None => Outcome::Unknown,
        // The connection was terminated, possibly after the commit.
        Some(code) if code.starts_with("57P") => Outcome::Unknown,
        Some(_) => Outcome::Refused,
    }
}

/// A connection in an unknown state must not go back to the pool. Closing it rolls its transaction
/// back.
fn discard(client: Client) {
    drop(Client::take(client));
}
