//! Rows that the table refuses.

use crate::postgres::error::Report;
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
    /// PostgreSQL's error code.
    pub sqlstate: String,
}

impl Refusal {
    /// The refusal of row `row` by the server.
    pub(crate) fn by_server(row: usize, report: &Report) -> Refusal {
        let column = report.column.as_ref().map(|c| format!("column {c}: ")).unwrap_or_default();
        let constraint =
            report.constraint.as_ref().map(|c| format!(" (constraint {c})")).unwrap_or_default();
        Refusal {
            row,
            fault: Fault {
                stage: Stage::Sink,
                reason: reason(&report.sqlstate).into(),
                detail: format!("{column}{}{constraint}", report.message),
            },
            column: report.column.clone(),
            sqlstate: report.sqlstate.clone(),
        }
    }
}

/// A bounded set, because reasons become metric labels.
fn reason(sqlstate: &str) -> &'static str {
    match sqlstate {
        "22001" => "value_too_long",
        "22003" => "number_out_of_range",
        "22007" | "22008" => "datetime_out_of_range",
        "22021" | "22P05" => "character_not_storable",
        "22P02" => "invalid_text",
        "23502" => "null_not_allowed",
        "23503" => "foreign_key",
        "23505" => "duplicate_key",
        "23514" => "check_failed",
        "23P01" => "exclusion",
        "54000" => "limit_exceeded",
        _ => "refused_by_table",
    }
}
