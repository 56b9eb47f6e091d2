//! Errors of the sink.

use weir_model::fault::Class;
use weir_model::mistake::Mistakes;
use weir_service::Failure;

/// The failure that ended a sink, or that of one step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mistakes in the pipeline file or in the files that it names.
    #[error(transparent)]
    Configuration(#[from] Mistakes),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] weir_kafka::Error),
    /// Decoding, or the Schema Registry behind it.
    #[error(transparent)]
    Codec(#[from] weir_codec::Error),
    /// The Schema Registry.
    #[error(transparent)]
    Registry(#[from] weir_codec::registry::Error),
    /// The condition of `delete_when` on a whole batch: a bug in weir. Nothing was written.
    #[error(transparent)]
    Transform(#[from] weir_transform::Error),
    /// Arrow refused to assemble the rows of a batch: a bug in weir. Nothing was written.
    #[error("cannot assemble the rows of a batch: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The target.
    #[error(transparent)]
    Target(#[from] weir_store::Error),
    /// A claim whose counts do not add up: a bug in weir. Nothing was written.
    #[error("the counts do not add up, so nothing was written: {0}")]
    Protocol(#[from] weir_model::protocol::Error),
    /// The instance itself: its admin pages, threads or shutdown.
    #[error(transparent)]
    Service(#[from] weir_service::Error),
}

impl Failure for Error {
    fn class(&self) -> Class {
        match self {
            Error::Kafka(error) => error.class(),
            Error::Codec(error) => error.class(),
            Error::Registry(error) => error.class(),
            Error::Target(error) => error.class(),
            Error::Configuration(_)
            | Error::Protocol(_)
            | Error::Transform(_)
            | Error::Arrow(_) => Class::Configuration,
            Error::Service(_) => Class::Environment,
        }
    }
}
