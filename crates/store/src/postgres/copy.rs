//! Rows into the table, within a transaction that is open already. What the table refuses is
//! singled out under savepoints, so that one bad value costs its own row and no other.

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

/// Bytes per message of the COPY: large enough to be cheap, small enough that the server works
/// while the rest is on its way.
const CHUNK: usize = 128 * 1024;

impl Store {
    /// Puts all rows of `rows` that the table takes into it and returns the others.
    ///
    /// Bisecting: a refused range is cut at the row that the server named, or in the middle; a
    /// range of one row that is refused is the culprit. Whether the server named the right row does
    /// not matter for the result, only for the number of attempts.
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
        let mut todo: Vec<Range<usize>> = std::iter::once(0..rows.len()).collect();
        let mut boundaries = None;
        while let Some(range) = todo.pop() {
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
                Some(report) => cut(range, report.row, &mut todo),
            }
        }
        refused.sort_by_key(|r| r.row);
        Ok(refused)
    }

    /// One COPY under a savepoint. `Some` when the table refused a value: then nothing of it
    /// happened.
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

/// Pushes the parts of a refused range so that they are tried in the order of rows. What follows
/// the named row is halved at once: where one row is bad others often are, and a refused attempt
/// sends its rows in vain.
fn cut(range: Range<usize>, named: Option<usize>, todo: &mut Vec<Range<usize>>) {
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
    todo.extend(parts.into_iter().rev().filter(|part| !part.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the bisecting against a table that refuses `bad`, naming the row or not; returns what
    /// was singled out and placed.
    fn run(
        rows: usize,
        bad: &[usize],
        named: impl Fn(usize, usize) -> Option<usize>,
    ) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut refused, mut placed, mut attempts) = (Vec::new(), Vec::new(), 0);
        let mut todo: Vec<Range<usize>> = std::iter::once(0..rows).collect();
        while let Some(range) = todo.pop() {
            attempts += 1;
            match bad.iter().find(|b| range.contains(b)) {
                None => placed.extend(range),
                Some(b) if range.len() == 1 => refused.push(*b),
                Some(b) => cut(range.clone(), named(range.start, *b), &mut todo),
            }
        }
        (refused, placed, attempts)
    }

    #[test]
    fn exactly_the_bad_rows_are_singled_out() {
        let bad = [0, 1, 17, 500, 998, 999];
        let good: Vec<usize> = (0..1000).filter(|r| !bad.contains(r)).collect();
        let exact = run(1000, &bad, |start, row| Some(row - start));
        let silent = run(1000, &bad, |_, _| None);
        let wrong = run(1000, &bad, |start, row| Some(row - start + 3));
        for (refused, placed, _) in [&exact, &silent, &wrong] {
            assert_eq!(refused, &bad);
            assert_eq!(placed, &good);
        }
        assert!(exact.2 < silent.2);
    }

    #[test]
    fn one_bad_row_in_ten_thousand_costs_a_handful_of_attempts() {
        assert_eq!(run(10_000, &[5_000], |start, row| Some(row - start)).2, 5);
        assert!(run(10_000, &[5_000], |_, _| None).2 <= 30);
    }
}
