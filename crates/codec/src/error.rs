//! Errors of schemas, encoders and whole batches. The fault of a single record is not an error: see
//! [`crate::Decoded`].

use crate::frame::detail_of;
use crate::registry::error as registry;
use std::path::{Path, PathBuf};
use weir_model::fault::Class;

/// Why the codec failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schema file cannot be read.
    #[error("cannot read the schema {path}: {source}", path = path.display())]
    Unreadable {
        /// The file, as it was named.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The text is not a schema that weir supports.
    #[error(
        "{file}{what}",
        file = file.as_ref().map(|f| format!("{}: ", f.display())).unwrap_or_default()
    )]
    Schema {
        /// The file, when the schema came from one.
        file: Option<PathBuf>,
        /// What is wrong, with the path of the field.
        what: String,
    },
    /// The text is a schema beyond a limit: of its length, its types, its depth or its symbols.
    #[error("{0}")]
    TooLarge(String),
    /// The registry is unavailable, or it refuses the request.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A batch does not have the columns of its schema: the caller's mistake, not a record's fault.
    #[error("the batch does not match its Avro schema: {0}")]
    Batch(String),
    /// Arrow refused the columns of decoded records: more than 2 GiB of text in one, or a bug.
    #[error("the columns of a batch cannot be built: {0}")]
    Columns(String),
}

impl Error {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Error::Registry(error) => error.class(),
            Error::Unreadable { .. }
            | Error::Schema { .. }
            | Error::TooLarge(_)
            | Error::Batch(_)
            | Error::Columns(_) => Class::Configuration,
        }
    }

    pub(crate) fn schema(what: impl Into<String>) -> Error {
        Error::Schema { file: None, what: detail_of(what) }
    }

    /// The same, with the file of the schema.
    pub(crate) fn in_file(self, path: &Path) -> Error {
        match self {
            Error::Schema { file: None, what } => Error::Schema { file: Some(path.into()), what },
            Error::TooLarge(what) => Error::TooLarge(format!("{}: {what}", path.display())),
            other => other,
        }
    }

    /// The reason of records whose schema has this error: `otherwise`, or that it is too large.
    pub(crate) fn reason(&self, otherwise: &'static str) -> &'static str {
        match self {
            Error::TooLarge(_) => "schema_too_large",
            _ => otherwise,
        }
    }
}

/// The text of an error with those of its causes that it does not have yet.
pub(crate) fn with_causes(mut text: String, error: &dyn std::error::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
