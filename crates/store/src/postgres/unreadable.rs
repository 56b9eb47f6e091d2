//! Texts that are no values of their column's type, all at once. A merge that fails does not say at
//! which row.

use crate::postgres::encode::CopyData;
use crate::postgres::insert::UNDO;
use crate::postgres::layout::Layout;
use crate::postgres::{Error, Store};
use deadpool_postgres::Transaction;
use std::collections::BTreeSet;

impl Store {
    /// The rows of the COPY with a text that the server cannot read, after the savepoint. None if it
    /// cannot tell: servers before version 16 and some types of extensions do not.
    pub(super) async fn unreadable(
        &self,
        transaction: &Transaction<'_>,
        layout: &Layout,
        rows: &CopyData,
    ) -> Result<BTreeSet<usize>, Error> {
        let query = layout.staged.as_ref().and_then(|staged| staged.unreadable.as_ref());
        let Some(query) = query else { return Ok(BTreeSet::new()) };
        let found = async {
            self.copy_rows(transaction, layout, rows.whole()).await?;
            let row = transaction.query_one(query, &[]).await;
            let numbers: Result<Option<Vec<i32>>, _> = row.and_then(|row| row.try_get(0));
            numbers.map_err(|e| self.error(e))
        };
        let found = match found.await {
            Ok(numbers) => numbers.unwrap_or_default(),
            Err(Error::Database { .. }) => Vec::new(),
            Err(other) => return Err(other),
        };
        transaction.batch_execute(UNDO).await.map_err(|e| self.error(e))?;
        Ok(found.into_iter().filter_map(|number| rows.position(number as usize)).collect())
    }
}
