//! Rows into the table, within an open transaction: all at once, and after a refusal in smaller and
//! smaller ranges, so that a bad row affects itself only.

use crate::postgres::encode::CopyData;
use crate::postgres::error::Report;
use crate::postgres::layout::Layout;
use crate::postgres::refusal::Refusal;
use crate::postgres::single_rows::SingleRows;
use crate::postgres::sqlstate::Origin;
use crate::postgres::{Error, Store};
use deadpool_postgres::Transaction;
use weir_model::bisect::Bisection;

/// The one savepoint of a transaction: what was stored so far is before it. It is moved and never
/// nested, because each level that wrote something holds a lock until the end of the transaction,
/// and the server has a limited number of them.
pub(super) const SAVEPOINT: &str = "SAVEPOINT weir_rows";
/// Moves the savepoint behind what was stored.
pub(super) const KEEP: &str = "RELEASE SAVEPOINT weir_rows; SAVEPOINT weir_rows";
/// Removes what was done since the savepoint, and keeps the savepoint.
pub(super) const UNDO: &str = "ROLLBACK TO SAVEPOINT weir_rows";

/// Ranges of at most this many rows are stored row by row. It costs as much as the COPY of a few
/// hundred rows, and hardly more round trips than one COPY, however many rows are refused.
const MAX_SINGLE_ROWS: usize = 30;

/// The result of a COPY of some rows.
pub(super) enum Attempt {
    /// All of them are stored, except those that are superseded by newer versions.
    Stored {
        /// Their numbers among all added rows.
        superseded: Vec<usize>,
    },
    /// None of them is, with the server's error, if it reported one. It may name a row, counted
    /// from the first of the COPY.
    Refused(Option<Box<Report>>),
}

/// What became of rows that were stored one by one.
#[derive(Default)]
pub(super) struct Judged {
    /// Rows that are stored.
    pub(super) num_stored: usize,
    pub(super) refused: Vec<Refusal>,
    /// Rows that came back from the dead letters and are older than what is there; by their numbers
    /// among all added rows.
    pub(super) superseded: Vec<usize>,
    /// A row that a refused COPY named, with the error: an INSERT is not told the column.
    pub(super) suspect: Option<(usize, Box<Report>)>,
    /// The first error that leaves open whether the row or the table is to blame.
    pub(super) doubt: Option<Box<Report>>,
}

/// The rows that are not in the table.
#[derive(Default)]
pub(crate) struct LeftOut {
    pub(crate) refused: Vec<Refusal>,
    /// Older than what is there; by their numbers among all added rows.
    pub(crate) superseded: Vec<usize>,
}

impl Store {
    /// Inserts all rows that the table accepts, and returns the others.
    ///
    /// # Errors
    /// Nothing may be committed. Class configuration: the table refused every row, with an error
    /// that may be its own.
    pub(crate) async fn insert(
        &self,
        transaction: &Transaction<'_>,
        layout: &Layout,
        rows: &CopyData,
    ) -> Result<LeftOut, Error> {
        if rows.is_empty() {
            return Ok(LeftOut::default());
        }
        if let Some(staged) = &layout.staged {
            transaction.batch_execute(&staged.stage).await.map_err(|e| self.error(e))?;
        }
        transaction.batch_execute(SAVEPOINT).await.map_err(|e| self.error(e))?;
        match self.copy(transaction, layout, rows.whole()).await? {
            Attempt::Stored { superseded } => Ok(LeftOut { superseded, ..LeftOut::default() }),
            Attempt::Refused(report) => {
                let judged = self.isolate(transaction, layout, rows, report).await?;
                self.verdict(judged, rows.len())
            }
        }
    }

    /// Stores the rows that the table accepts, after a COPY of all of them was refused.
    async fn isolate(
        &self,
        transaction: &Transaction<'_>,
        layout: &Layout,
        rows: &CopyData,
        report: Option<Box<Report>>,
    ) -> Result<Judged, Error> {
        let single_rows = SingleRows {
            store: self,
            transaction,
            layout,
            // Not from the cache: its parameters would keep the types of an earlier table.
            insert: transaction.prepare(&layout.insert).await.map_err(|e| self.error(e))?,
            probe: match layout.order() {
                Some(order) => {
                    let probe = transaction.prepare(&order.probe).await;
                    Some((order, probe.map_err(|e| self.error(e))?))
                }
                None => None,
            },
            rows,
            boundaries: rows.boundaries(),
        };
        let unreadable = self.unreadable(transaction, layout, rows).await?;
        // A row may delete, which one INSERT cannot: each goes through the temporary table.
        let max_single_rows = if layout.deletes() { 0 } else { MAX_SINGLE_ROWS };
        let mut judged = Judged::default();
        let mut bisection = Bisection::new(rows.len());
        let mut next = bisection.next_range();
        if let Some(whole) = next.take_if(|whole| whole.len() > max_single_rows.max(1)) {
            bisection.split(whole, judged.note_suspect(0, report));
        } else {
            judged.note_suspect(0, report);
        }
        while let Some(range) = next.take().or_else(|| bisection.next_range()) {
            if range.len() <= max_single_rows {
                single_rows.store(range, &mut judged).await?;
                continue;
            }
            let known = unreadable.range(range.clone()).next().filter(|_| range.len() > 1);
            if let Some(row) = known {
                bisection.split(range, Some(*row));
                continue;
            }
            let pieces = rows.part(&single_rows.boundaries, range.clone());
            match self.copy(transaction, layout, pieces).await? {
                Attempt::Stored { superseded } => {
                    judged.num_stored += range.len();
                    judged.superseded.extend(superseded);
                }
                Attempt::Refused(report) if range.len() == 1 => {
                    single_rows.refuse(range.start, report, &mut judged)?;
                }
                Attempt::Refused(report) => {
                    let suspect = judged.note_suspect(range.start, report);
                    bisection.split(range, suspect);
                }
            }
        }
        Ok(judged)
    }

    /// The refused rows, if they are to blame for their refusal.
    fn verdict(&self, judged: Judged, rows: usize) -> Result<LeftOut, Error> {
        match judged.doubt {
            Some(report) if judged.num_stored == 0 => {
                Err(Error::NoneStored { server: self.server().to_owned(), rows, report })
            }
            _ => Ok(LeftOut { refused: judged.refused, superseded: judged.superseded }),
        }
    }
}

impl Judged {
    /// Keeps and returns the row that the error of a COPY names; `first` is the first row of the
    /// COPY.
    fn note_suspect(&mut self, first: usize, report: Option<Box<Report>>) -> Option<usize> {
        self.suspect = report.and_then(|report| Some((first + report.row?, report)));
        self.suspect.as_ref().map(|(row, _)| *row)
    }
}

/// Whether rows one by one can show which of them an error comes from. An error without context is
/// not about a row, but of the statement itself, unless the statement reads values.
pub(super) fn is_isolable(report: &Report, layout: &Layout) -> bool {
    match report.origin() {
        Origin::Row => true,
        Origin::RowOrTable => report.has_context || layout.reads_values(),
        Origin::Table | Origin::Environment => false,
    }
}
