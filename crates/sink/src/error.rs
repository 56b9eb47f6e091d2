//! Why a sink ends, or what one step of it failed with.

use weir_model::fault::Class;
use weir_model::mistake::Mistakes;
use weir_service::Failure;

/// The end of a sink, or the failure of one step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline file, or what it names, is wrong.
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
    /// The target.
    #[error(transparent)]
    Target(#[from] weir_store::Error),
    /// A claim that does not add up: a fault in weir. Nothing was written.
    #[error("the counts do not add up, so nothing was written: {0}")]
    Protocol(#[from] weir_model::protocol::Error),
    /// The instance itself: its pages, its threads, its drain.
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
            Error::Configuration(_) | Error::Protocol(_) => Class::Configuration,
            Error::Service(_) => Class::Environment,
        }
    }
}
