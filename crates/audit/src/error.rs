//! Errors of audits and of operator actions.

use weir_model::mistake::Mistakes;

/// A failure of an audit or of an operator action. Nothing was changed unless the message mentions
/// it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mistakes in the pipeline file or in the files that it names.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] weir_kafka::Error),
    /// The target of a sink.
    #[error(transparent)]
    Target(#[from] weir_store::Error),
    /// The Schema Registry.
    #[error(transparent)]
    Registry(#[from] weir_codec::registry::Error),
    /// A schema, or the decoding of records.
    #[error(transparent)]
    Codec(#[from] weir_codec::Error),
    /// SQL over records.
    #[error(transparent)]
    Transform(#[from] weir_transform::Error),
    /// The action is not possible now, or not in this situation.
    #[error("{0}")]
    Refused(String),
}

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Returns [`Error::Refused`] with a formatted text.
macro_rules! refuse {
    ($($text:tt)*) => {
        return Err($crate::Error::Refused(format!($($text)*)))
    };
}

pub(crate) use refuse;
