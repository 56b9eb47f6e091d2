//! Errors of the producer.

use crate::source;
use weir_model::fault::Class;
use weir_model::mistake::Mistakes;
use weir_service::Failure;

/// The failure that ended a producer, or that of one step.
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
    /// Encoding.
    #[error(transparent)]
    Codec(#[from] weir_codec::Error),
    /// The source.
    #[error(transparent)]
    Source(#[from] source::Error),
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
            Error::Source(source::Error::Lost(_)) | Error::Protocol(_) => Class::Loss,
            Error::Source(source::Error::Unfit(_)) | Error::Codec(_) => Class::Configuration,
            Error::Source(source::Error::Unavailable { .. }) | Error::Service(_) => {
                Class::Environment
            }
        }
    }
}
