//! What can go wrong with a target, whatever its kind.

use std::error::Error as StdError;
use std::fmt;
use weir_model::fault::Class;

/// A failure of a target: its class decides what happens next, its source says what happened.
/// Nothing was committed. (A lost answer to a commit is not an error but
/// [`weir_model::protocol::Outcome::Unknown`].) Never holds a password.
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

    /// Who has to act, and with it what happens next.
    pub fn class(&self) -> Class {
        self.class
    }
}

/// The text of the source: this type adds nothing to it.
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
