//! Errors of the enricher.

use weir_model::fault::Class;
use weir_model::mistake::Mistakes;
use weir_service::Failure;

/// The failure that ended an enricher, or that of one step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mistakes in the pipeline file or in the files that it names.
    #[error(transparent)]
    Configuration(#[from] Mistakes),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] weir_kafka::Error),
    /// The Schema Registry.
    #[error(transparent)]
    Registry(#[from] weir_codec::registry::Error),
    /// Decoding or encoding of a whole batch.
    #[error(transparent)]
    Codec(#[from] weir_codec::Error),
    /// The transformation of a whole batch: a bug in weir. Nothing was written.
    #[error(transparent)]
    Transform(#[from] weir_transform::Error),
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
            Error::Configuration(_) => Class::Configuration,
            Error::Kafka(error) => error.class(),
            Error::Registry(error) => error.class(),
            Error::Codec(error) => error.class(),
            Error::Transform(_) | Error::Protocol(_) => Class::Configuration,
            Error::Service(_) => Class::Environment,
        }
    }
}
