//! Errors of targets, independent of the kind.

use std::error::Error as StdError;
use std::fmt;
use weir_model::fault::Class;

/// A failure of a target. Its class decides what happens next; its source is the cause. Nothing was
/// committed. (A lost answer to a commit is [`weir_model::protocol::Outcome::Unknown`] and not an
/// error.) Never contains a password.
#[derive(Debug)]
pub struct Error {
    class: Class,
    source: Box<dyn StdError + Send + Sync>,
}

impl Error {
    /// An error of class `class`.
    pub fn new(class: Class, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error { class, source: source.into() }
    }

    /// Who has to act, and therefore what happens next.
    pub fn class(&self) -> Class {
        self.class
    }
}

/// The text of the source, with nothing added.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}
