//! Why something went wrong, in classes that decide what happens next, and where a record was when
//! it was refused.

use std::fmt;

/// The class of a failure decides how it is handled; it is also the only error text that becomes a
/// metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The record's own fault: it goes to the dead letters and the pipeline continues.
    Record,
    /// Broker, registry, database or disk unavailable: wait with backoff, nothing is skipped.
    Environment,
    /// The pipeline file, a schema or a privilege is wrong: refuse to start, or halt with the admin
    /// page alive.
    Configuration,
    /// The log no longer contains the next records: halt the partition and name the range.
    Loss,
}

impl Class {
    /// The metric label and log value.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Record => "record",
            Class::Environment => "environment",
            Class::Configuration => "configuration",
            Class::Loss => "loss",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value is none of its field's type. One reason wherever it is noticed: in a file of any format,
/// in a decoded record, in a result of SQL and before a record is encoded.
pub const VALUE_DOES_NOT_FIT: &str = "value_does_not_fit";

/// There is no value, and the field has no default and does not allow null. One reason as well.
pub const VALUE_MISSING: &str = "value_missing";

/// The step that refused a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The producer could not turn the source's text into a record.
    Source,
    /// The enricher could not decode the bytes.
    Decode,
    /// A `[[reject]]` rule was true.
    Rule,
    /// An expression failed on the record, or its result does not fit the output schema.
    Transform,
    /// The sink could not decode the bytes, or the target refused the value.
    Sink,
}

impl Stage {
    /// The text in the `weir-stage` header and in `weir.dead_letters.stage`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Source => "source",
            Stage::Decode => "decode",
            Stage::Rule => "rule",
            Stage::Transform => "transform",
            Stage::Sink => "sink",
        }
    }

    /// The inverse of [`Stage::as_str`].
    pub fn parse(text: &str) -> Option<Stage> {
        [Stage::Source, Stage::Decode, Stage::Rule, Stage::Transform, Stage::Sink]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why one record became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The step that refused it.
    pub stage: Stage,
    /// A short name, the same for all records with this fault (`negative_duration`, `truncated`,
    /// `value_too_long`); bounded, so it may become a label.
    pub reason: String,
    /// One sentence for people: what, where in the record, which limit.
    pub detail: String,
}
