//! Errors of PostgreSQL and their classes.

use crate::postgres::sqlstate::Origin;
use std::time::Duration;
use tokio_postgres::error::DbError;
use weir_model::fault::Class;

/// A failure while talking to PostgreSQL. The transaction in which it happened was not committed.
/// (A lost answer to COMMIT is [`weir_model::protocol::Outcome::Unknown`] and not an error.) Never
/// contains a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection URL cannot be used. The reason does not contain the URL.
    #[error("invalid connection URL: {0}")]
    Url(String),
    /// The server cannot be reached, or the connection broke.
    #[error("{server}: {reason}")]
    Unreachable {
        /// host:port/database.
        server: String,
        /// What failed.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{server}: {}", .report.without_values())]
    Database {
        /// host:port/database.
        server: String,
        /// The server's answer.
        report: Box<Report>,
    },
    /// The table took no row of a batch, and the error does not tell whether the rows are to blame
    /// or the table. A record is not given up for what may be the table's.
    #[error(
        "{server}: {}. The table took none of the {rows} rows that were waiting for it, and the \
         error does not tell whether they or the table are to blame. They are tried again: when the \
         table takes another row with them, those that it refuses become dead letters. Repair what \
         the error names (a trigger, a function, a type of the table); if the table is right as it \
         is, the next record of the pipeline that it takes shows that",
        .report.without_values()
    )]
    NoneStored {
        /// host:port/database.
        server: String,
        /// The number of rows.
        rows: usize,
        /// The server's answer to the first of them.
        report: Box<Report>,
    },
    /// The server did not answer in time.
    #[error("{server}: no answer within {} s while {doing}", .after.as_secs())]
    Slow {
        /// host:port/database.
        server: String,
        /// What it was asked to do, as in "no answer within 10 s while …".
        doing: &'static str,
        /// The time limit.
        after: Duration,
    },
    /// The position rows were written for another Kafka cluster.
    #[error(
        "weir.positions contains positions of {pipeline}/{sink} in topic {topic} of Kafka cluster \
         {recorded}, but this is cluster {actual}: offsets of one cluster are not valid in another"
    )]
    OtherCluster {
        /// The pipeline.
        pipeline: String,
        /// The sink.
        sink: String,
        /// The topic.
        topic: String,
        /// Cluster id in the row.
        recorded: String,
        /// Cluster id of the connected brokers.
        actual: String,
    },
    /// The table or `weir.positions` was replaced without the other.
    #[error(
        "{replaced} is not the one that the positions of {pipeline}/{sink} were written with: it \
         was replaced or restored alone, so rows may be missing or come twice. Restore both from \
         the same backup; or, if rows and positions are right as they are: UPDATE weir.positions \
         SET target_oid = NULL, positions_oid = NULL WHERE pipeline = '{pipeline}' AND sink = \
         '{sink}'"
    )]
    Restored {
        /// What has another identity: the table, or `weir.positions`.
        replaced: String,
        /// The pipeline.
        pipeline: String,
        /// The sink.
        sink: String,
    },
    /// An Arrow batch that does not have the schema of the layout: a bug in the caller.
    #[error("the batch does not match the table's layout: {0}")]
    Batch(String),
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> crate::Error {
        crate::Error::new(error.class(), error)
    }
}

/// An error answer of the server.
#[derive(Debug, Clone)]
pub struct Report {
    /// Five characters: see PostgreSQL's appendix "Error Codes".
    pub sqlstate: String,
    /// The primary message.
    pub message: String,
    /// The detail message.
    pub detail: Option<String>,
    /// The column, if the server names one.
    pub column: Option<String>,
    /// The constraint, if the server names one.
    pub constraint: Option<String>,
    /// The row within the COPY, from 0, that the server was reading when it failed. Only a hint:
    /// for constraints that are checked in bulk it comes some rows later.
    pub row: Option<usize>,
    /// The server was processing something within the statement: a row, a trigger, a function.
    pub(crate) has_context: bool,
    /// The statement's parameter, from 0, whose value was being read.
    pub(crate) parameter: Option<usize>,
}

impl Report {
    pub(crate) fn new(error: &DbError) -> Report {
        let context = error.where_().and_then(copy_context);
        Report {
            sqlstate: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            column: error
                .column()
                .map(str::to_owned)
                .or_else(|| context.as_ref().and_then(|c| c.1.clone())),
            constraint: error.constraint().map(str::to_owned),
            row: context.map(|c| c.0),
            has_context: error.where_().is_some(),
            parameter: error.where_().and_then(parameter_context),
        }
    }

    /// The answer for logs and admin pages. What the server says about values, in its detail always
    /// and in the message of a refused value or of a trigger, is for dead letters alone.
    fn without_values(&self) -> String {
        let quotes_none = ["08", "0A", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58"];
        let class = self.sqlstate.get(..2).unwrap_or_default();
        let what = if quotes_none.contains(&class) { &self.message } else { "a value was refused" };
        let column = self.column.as_ref().map(|name| format!(", column {name}"));
        let constraint = self.constraint.as_ref().map(|name| format!(", constraint {name}"));
        let (column, constraint) = (column.unwrap_or_default(), constraint.unwrap_or_default());
        format!("{what} (SQLSTATE {}{column}{constraint})", self.sqlstate)
    }

    /// Whom the error comes from.
    pub(crate) fn origin(&self) -> Origin {
        match self.sqlstate.as_str() {
            // While rows are read, it means that a column got too few bytes: its type is not that
            // of the layout. (Connection poolers use the same code for their own errors.)
            "08P01" if self.row.is_some() => Origin::Table,
            code => Origin::of(code),
        }
    }
}

impl Error {
    /// Who has to act, and therefore what happens next.
    pub fn class(&self) -> Class {
        match self {
            Error::Unreachable { .. } | Error::Slow { .. } => Class::Environment,
            Error::Url(_) | Error::Batch(_) => Class::Configuration,
            Error::OtherCluster { .. } | Error::Restored { .. } => Class::Loss,
            Error::Database { report, .. } => report.origin().class(),
            Error::NoneStored { .. } => Class::Configuration,
        }
    }

    /// The SQLSTATE, if the server answered.
    pub fn sqlstate(&self) -> Option<&str> {
        self.report().map(|r| r.sqlstate.as_str())
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Error::Database { report, .. } | Error::NoneStored { report, .. } => Some(report),
            _ => None,
        }
    }
}

/// `COPY calls, line 12, column caller_name` → row 11 and the column. In other languages of
/// `lc_messages` the context is not recognised; then refused ranges are halved.
fn copy_context(context: &str) -> Option<(usize, Option<String>)> {
    let line = context.lines().find(|l| l.starts_with("COPY "))?;
    let (_, rest) = line.rsplit_once(", line ")?;
    let (number, column) = match rest.split_once(", column ") {
        Some((number, column)) => (number, Some(column)),
        None => (rest, None),
    };
    let number: usize = number.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
    Some((number.checked_sub(1)?, column.map(|c| c.split(':').next().unwrap_or(c).to_owned())))
}

/// `unnamed portal parameter $2` → 1.
fn parameter_context(context: &str) -> Option<usize> {
    let (_, number) = context.lines().next()?.split_once(" parameter $")?;
    let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse::<usize>().ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_quotes_of_a_row_is_not_in_the_text_for_logs() {
        let value = "4111111111111111";
        for sqlstate in ["22P02", "22001", "23505", "23514", "54000", "P0001", "XX000", "42804", ""]
        {
            let quotes = !sqlstate.starts_with("42");
            let report = Report {
                sqlstate: sqlstate.into(),
                message: if quotes { format!("invalid: \"{value}\"") } else { "types".into() },
                detail: Some(format!("Key (card)=({value}) already exists.")),
                column: Some("card".into()),
                constraint: Some("cards_pkey".into()),
                row: None,
                has_context: false,
                parameter: None,
            };
            let text = Error::Database { server: "s".into(), report: report.into() }.to_string();
            assert!(!text.contains(value) && text.contains("column card"), "{text}");
            assert!(text.contains(sqlstate) && text.contains("cards_pkey"), "{text}");
        }
    }

    #[test]
    fn the_servers_context_names_row_and_column() {
        assert_eq!(
            copy_context("COPY telecom_data, line 5001, column caller_name"),
            Some((5000, Some("caller_name".into())))
        );
        assert_eq!(copy_context("COPY t, line 3"), Some((2, None)));
        assert_eq!(copy_context("COPY t, Zeile 3, Spalte x"), None);
        assert_eq!(copy_context("SQL statement \"…\""), None);
        assert_eq!(parameter_context("unnamed portal parameter $2"), Some(1));
        assert_eq!(parameter_context("unnamed portal parameter $12 = '…'"), Some(11));
        assert_eq!(parameter_context("COPY t, line 3"), None);
    }
}
