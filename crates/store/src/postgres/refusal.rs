//! Rows that the table refuses.

use crate::postgres::error::Report;
use crate::postgres::sqlstate;
use weir_model::fault::{Fault, Stage};

/// A row that the table refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its number among the rows that were added to [`crate::postgres::Encoded`].
    pub row: usize,
    /// The reason.
    pub fault: Fault,
    /// The column, if it is known.
    pub column: Option<String>,
    /// PostgreSQL's error code; `None` if the server did not report an error.
    pub sqlstate: Option<String>,
}

impl Refusal {
    /// A value that `column` cannot hold, with the code that the server has for it.
    pub(crate) fn of_value(row: usize, column: &str, sqlstate: &str, what: String) -> Refusal {
        Refusal {
            row,
            fault: fault(sqlstate::reason(sqlstate), format!("column {column}: {what}")),
            column: Some(column.to_owned()),
            sqlstate: Some(sqlstate.to_owned()),
        }
    }

    /// The refusal of row `row` by the server.
    pub(crate) fn by_server(row: usize, report: &Report) -> Refusal {
        let column = report.column.as_ref().map(|c| format!("column {c}: ")).unwrap_or_default();
        let constraint =
            report.constraint.as_ref().map(|c| format!(" (constraint {c})")).unwrap_or_default();
        Refusal {
            row,
            fault: fault(
                sqlstate::reason(&report.sqlstate),
                format!("{column}{}{constraint}", report.message),
            ),
            column: report.column.clone(),
            sqlstate: Some(report.sqlstate.clone()),
        }
    }

    /// The server took row `row` without an error, but did not store it.
    pub(crate) fn not_stored(row: usize) -> Refusal {
        let detail = "the table did not store the row and reported no error: a BEFORE trigger of \
                      the table returned NULL for it";
        Refusal { row, fault: fault("not_stored", detail.into()), column: None, sqlstate: None }
    }
}

fn fault(reason: &str, detail: String) -> Fault {
    Fault { stage: Stage::Sink, reason: reason.into(), detail }
}
