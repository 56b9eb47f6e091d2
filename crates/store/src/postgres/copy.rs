//! COPY of rows into the table, within an open transaction. Rows that the table refuses are
//! isolated under savepoints, so that one bad value affects its own row only.

use crate::postgres::encode::CopyData;
use crate::postgres::error::Report;
use crate::postgres::layout::Layout;
use crate::postgres::refusal::Refusal;
use crate::postgres::{Error, Store};
use bytes::Bytes;
use deadpool_postgres::Transaction;
use futures_util::SinkExt;
use std::ops::Range;
use weir_model::fault::Class;

/// Bytes per message of the COPY: large enough for a low overhead, small enough for the server to
/// work while the rest is being sent.
const CHUNK: usize = 128 * 1024;

impl Store {
    /// Inserts all rows that the table accepts, and returns the refused ones.
    ///
    /// A refused range is bisected: at the row that the server named, or in the middle. A refused
    /// range of one row is the bad row. If the server names the wrong row, the result is the same
    /// after more attempts.
    pub(crate) async fn insert(
        &self,
        transaction: &mut Transaction<'_>,
        layout: &Layout,
        rows: &CopyData,
    ) -> Result<Vec<Refusal>, Error> {
        let mut refused = Vec::new();
        if rows.is_empty() {
            return Ok(refused);
        }
        if let Some(upsert) = &layout.upsert {
            transaction.batch_execute(&upsert.stage).await.map_err(|e| self.error(e))?;
        }
        let mut ranges: Vec<Range<usize>> = std::iter::once(0..rows.len()).collect();
        let mut boundaries = None;
        while let Some(range) = ranges.pop() {
            let pieces = match range.len() == rows.len() {
                true => rows.pieces().into(),
                false => rows
                    .part(boundaries.get_or_insert_with(|| rows.boundaries()), range.clone())
                    .into(),
            };
            match self.attempt(transaction, layout, pieces).await? {
                None => {}
                Some(report) if range.len() == 1 => {
                    refused.push(Refusal::by_server(rows.origin(range.start), &report))
                }
                Some(report) => bisect(range, report.row, &mut ranges),
            }
        }
        refused.sort_by_key(|r| r.row);
        Ok(refused)
    }

    /// One COPY under a savepoint. `Some`: the table refused a value, and the COPY was rolled back.
    async fn attempt(
        &self,
        transaction: &mut Transaction<'_>,
        layout: &Layout,
        pieces: Vec<Bytes>,
    ) -> Result<Option<Box<Report>>, Error> {
        let savepoint = transaction.savepoint("weir_rows").await.map_err(|e| self.error(e))?;
        match self.copy(&savepoint, layout, pieces).await {
            Ok(()) => savepoint.commit().await.map(|()| None).map_err(|e| self.error(e)),
            Err(Error::Database { report, .. }) if report.class() == Class::Record => {
                savepoint.rollback().await.map_err(|e| self.error(e))?;
                Ok(Some(report))
            }
            Err(other) => Err(other),
        }
    }

    async fn copy(
        &self,
        transaction: &Transaction<'_>,
        layout: &Layout,
        pieces: Vec<Bytes>,
    ) -> Result<(), Error> {
        let fail = |e| self.error(e);
        let statement = transaction.prepare_cached(&layout.copy).await.map_err(fail)?;
        let sink = transaction.copy_in(&statement).await.map_err(fail)?;
        tokio::pin!(sink);
        for mut piece in pieces {
            while !piece.is_empty() {
                let chunk = piece.split_to(piece.len().min(CHUNK));
                sink.feed(chunk).await.map_err(fail)?;
            }
        }
        sink.as_mut().finish().await.map_err(fail)?;
        if let Some(upsert) = &layout.upsert {
            transaction.execute(&upsert.merge, &[]).await.map_err(fail)?;
            transaction.execute(&upsert.clear, &[]).await.map_err(fail)?;
        }
        Ok(())
    }
}

/// Splits a refused range, in the order of its rows. The rows after the named one are halved at
/// once: where one row is bad others often are, and each refused attempt sends its rows for
/// nothing.
fn bisect(range: Range<usize>, named: Option<usize>, ranges: &mut Vec<Range<usize>>) {
    let Range { start, end } = range;
    let parts = match named.map(|row| start + row).filter(|row| *row < end) {
        Some(row) => {
            let middle = row + 1 + (end - row - 1) / 2;
            [start..row, row..row + 1, row + 1..middle, middle..end]
        }
        None => {
            let middle = start + (end - start) / 2;
            [start..middle, middle..end, end..end, end..end]
        }
    };
    ranges.extend(parts.into_iter().rev().filter(|part| !part.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Result {
        refused: Vec<usize>,
        inserted: Vec<usize>,
        num_attempts: usize,
    }

    /// Bisects against a table that refuses `bad`; `named` is the row that the server names for a
    /// range's start and a bad row.
    fn run(rows: usize, bad: &[usize], named: impl Fn(usize, usize) -> Option<usize>) -> Result {
        let mut result = Result::default();
        let mut ranges: Vec<Range<usize>> = std::iter::once(0..rows).collect();
        while let Some(range) = ranges.pop() {
            result.num_attempts += 1;
            match bad.iter().find(|row| range.contains(row)) {
                None => result.inserted.extend(range),
                Some(row) if range.len() == 1 => result.refused.push(*row),
                Some(row) => bisect(range.clone(), named(range.start, *row), &mut ranges),
            }
        }
        result
    }

    #[test]
    fn exactly_the_bad_rows_are_isolated() {
        let bad = [0, 1, 17, 500, 998, 999];
        let good: Vec<usize> = (0..1000).filter(|r| !bad.contains(r)).collect();
        let exact = run(1000, &bad, |start, row| Some(row - start));
        let silent = run(1000, &bad, |_, _| None);
        let wrong = run(1000, &bad, |start, row| Some(row - start + 3));
        for result in [&exact, &silent, &wrong] {
            assert_eq!(result.refused, bad);
            assert_eq!(result.inserted, good);
        }
        assert!(exact.num_attempts < silent.num_attempts);
    }

    #[test]
    fn one_bad_row_in_ten_thousand_costs_a_handful_of_attempts() {
        assert_eq!(run(10_000, &[5_000], |start, row| Some(row - start)).num_attempts, 5);
        assert!(run(10_000, &[5_000], |_, _| None).num_attempts <= 30);
    }
}
