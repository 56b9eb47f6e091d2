//! What can go wrong with a schema, an encoder or a whole batch. A single record's fault is not an
//! error: see [`crate::Decoded`].

use crate::registry::error as registry;
use std::path::PathBuf;
use weir_model::fault::Class;

/// Why the codec cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schema file cannot be read.
    #[error("cannot read the schema {path}: {source}", path = path.display())]
    Unreadable {
        /// The file, as it was named.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a schema that weir can carry.
    #[error("{file}{what}", file = file.as_ref().map(|f| format!("{}: ", f.display())).unwrap_or_default())]
    Schema {
        /// The file it stands in, when it stands in one.
        file: Option<PathBuf>,
        /// What is wrong, with the path of the field.
        what: String,
    },
    /// The registry did not give an answer that can be worked with.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A batch does not have the columns that its schema promises: the caller's mistake, not a
    /// record's.
    #[error("the batch does not fit its Avro schema: {0}")]
    Batch(String),
    /// The Avro library refused what was checked before: a bug.
    #[error("the Avro library failed on checked data: {0}")]
    Library(String),
}

impl Error {
    /// What is to be done about it.
    pub fn class(&self) -> Class {
        match self {
            Error::Registry(error) => error.class(),
            Error::Unreadable { .. }
            | Error::Schema { .. }
            | Error::Batch(_)
            | Error::Library(_) => Class::Configuration,
        }
    }

    pub(crate) fn schema(what: impl Into<String>) -> Error {
        Error::Schema { file: None, what: what.into() }
    }
}
