//! Rows one by one, each with a verdict of its own.

use crate::postgres::encode::CopyData;
use crate::postgres::error::Report;
use crate::postgres::insert::{Judged, KEEP, UNDO};
use crate::postgres::layout::{Layout, Order};
use crate::postgres::refusal::Refusal;
use crate::postgres::sqlstate::Origin;
use crate::postgres::{Error, Store};
use bytes::BytesMut;
use deadpool_postgres::Transaction;
use futures_util::future::join_all;
use std::error::Error as StdError;
use std::future::Future;
use std::ops::Range;
use tokio_postgres::Statement;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// Rows of which some are bad, in an open transaction.
pub(super) struct SingleRows<'a> {
    pub(super) store: &'a Store,
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) layout: &'a Layout,
    /// The layout's INSERT.
    pub(super) insert: Statement,
    /// The layout's order, and its probe.
    pub(super) probe: Option<(&'a Order, Statement)>,
    pub(super) rows: &'a CopyData,
    /// The rows' [`CopyData::boundaries`].
    pub(super) boundaries: Vec<usize>,
}

impl SingleRows<'_> {
    /// Stores the rows of `range` that the table accepts, in their order.
    ///
    /// All statements are sent at once, without waiting for an answer, and are the same whether a
    /// row is accepted or not. If it is, the savepoint is moved behind it, and there is nothing
    /// left to undo. If it is not, the server refuses to move the savepoint, and what is undone is
    /// the row alone.
    pub(super) async fn store(
        &self,
        range: Range<usize>,
        judged: &mut Judged,
    ) -> Result<(), Error> {
        let fail = |e| self.store.error(e);
        let results = join_all(range.clone().map(|row| async move {
            let fields = self.rows.fields(&self.boundaries, row).zip(&self.layout.columns);
            let fields: Vec<Field<'_>> =
                fields.map(|(value, column)| Field(value, column.wire.input)).collect();
            let probe = self.probe(&fields);
            tokio::join!(
                biased;
                probe,
                self.transaction.execute_raw(&self.insert, fields),
                self.transaction.batch_execute(KEEP),
                self.transaction.batch_execute(UNDO)
            )
        }))
        .await;
        for (row, (superseded, inserted, kept, undone)) in range.zip(results) {
            undone.map_err(fail)?;
            let superseded = superseded.map_err(fail)?;
            match inserted {
                Ok(num_rows) => {
                    kept.map_err(fail)?;
                    if num_rows > 0 || self.layout.leaves_existing() {
                        judged.num_stored += 1;
                    } else if superseded {
                        judged.num_stored += 1;
                        judged.superseded.push(self.rows.origin(row));
                    } else {
                        judged.refused.push(Refusal::not_stored(self.rows.origin(row)));
                    }
                }
                Err(error) => {
                    let report = match fail(error) {
                        Error::Database { report, .. } => report,
                        other => return Err(other),
                    };
                    self.refuse(row, Some(report), judged)?;
                }
            }
        }
        Ok(())
    }

    /// Makes a row refused that the server refused with this error, or without one, if the row may
    /// be to blame for it.
    pub(super) fn refuse(
        &self,
        row: usize,
        report: Option<Box<Report>>,
        judged: &mut Judged,
    ) -> Result<(), Error> {
        let origin = self.rows.origin(row);
        let refusal = match report {
            None => Refusal::not_stored(origin),
            Some(report) => {
                let mut report = self.blame(report, judged)?;
                report.column = column(&report, self.layout, row, judged);
                Refusal::by_server(origin, &report)
            }
        };
        judged.refused.push(refusal);
        Ok(())
    }

    /// Whether the table's row is newer than one that came back from the dead letters: the INSERT
    /// does not say why it stores nothing.
    fn probe<'f>(
        &'f self,
        fields: &[Field<'f>],
    ) -> impl Future<Output = Result<bool, tokio_postgres::Error>> + use<'f> {
        let came_back =
            self.probe.as_ref().filter(|(order, _)| fields[order.replay_of].0.is_some());
        let probe = came_back.map(|(order, statement)| {
            let parameters: Vec<Field<'f>> =
                order.probe_columns.iter().map(|column| fields[*column]).collect();
            (statement, parameters)
        });
        async move {
            let Some((statement, parameters)) = probe else { return Ok(false) };
            Ok(self.transaction.execute_raw(statement, parameters).await? > 0)
        }
    }

    /// The error of a single row, if the row may be to blame for it.
    fn blame(&self, report: Box<Report>, judged: &mut Judged) -> Result<Box<Report>, Error> {
        match report.origin() {
            Origin::Row => {}
            Origin::RowOrTable => {
                judged.doubt.get_or_insert_with(|| report.clone());
            }
            Origin::Table | Origin::Environment => {
                return Err(Error::Database { server: self.store.server().to_owned(), report });
            }
        }
        Ok(report)
    }
}

/// The column of the value that an error is about: as the error names it, or the COPY before it.
fn column(report: &Report, layout: &Layout, row: usize, judged: &Judged) -> Option<String> {
    let parameter = || layout.columns.get(report.parameter?).map(|column| column.name.clone());
    let copied = || match &judged.suspect {
        Some((suspect, copied)) if *suspect == row && copied.sqlstate == report.sqlstate => {
            copied.column.clone()
        }
        _ => None,
    };
    report.column.clone().or_else(parameter).or_else(copied)
}

/// A value in the binary format that COPY and parameters have in common, or in the input form of its
/// type, which the server reads.
#[derive(Debug, Clone, Copy)]
struct Field<'a>(Option<&'a [u8]>, bool);

impl ToSql for Field<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            None => Ok(IsNull::Yes),
            Some(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.1 { Format::Text } else { Format::Binary }
    }

    to_sql_checked!();
}
