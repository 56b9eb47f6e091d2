//! What is in the way of reading the records of a writer's schema.

use std::fmt;

/// What one field has that a reader cannot take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The path of the field from the record: `customer.tags[].name`; map values are `{}`; empty for
    /// the record itself.
    pub path: String,
    /// What it is or lacks, to be read after the path.
    pub what: String,
}

impl Problem {
    pub(crate) fn new(path: &str, what: impl Into<String>) -> Problem {
        Problem { path: path.into(), what: what.into() }
    }

    /// All in one sentence.
    pub(crate) fn list(problems: &[Problem]) -> String {
        let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
        texts.join("; ")
    }

    /// The field of the record itself in which it is.
    pub fn field(&self) -> &str {
        self.path.split(['.', '[', '{']).next().unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.path {
            "" => f.write_str(&self.what),
            path => write!(f, "`{path}` {}", self.what),
        }
    }
}
