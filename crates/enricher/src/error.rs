//! Why an enricher ends.

use std::net::SocketAddr;
use weir_model::fault::Class;
use weir_model::mistake::Mistakes;
use weir_service::{Failure, signals, workers};

/// The end of an enricher, or the failure of one step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline file, or what it names, is wrong.
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
    /// The transformation of a whole batch: a fault in weir. Nothing was written.
    #[error(transparent)]
    Transform(#[from] weir_transform::Error),
    /// A claim that does not add up: a fault in weir. Nothing was written.
    #[error("the books do not balance, so nothing was written: {0}")]
    Protocol(#[from] weir_model::protocol::Error),
    /// The admin pages have no address.
    #[error("cannot listen on {address}: {source}; set WEIR_LISTEN to a free address")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A worker panicked or could not be started.
    #[error("{0}")]
    Worker(String),
    /// The drain took too long.
    #[error(transparent)]
    NotDrained(#[from] signals::NotDrained),
}

impl Failure for Error {
    fn class(&self) -> Class {
        match self {
            Error::Configuration(_) => Class::Configuration,
            Error::Kafka(error) => error.class(),
            Error::Registry(error) => error.class(),
            Error::Codec(error) => error.class(),
            Error::Transform(_) | Error::Protocol(_) => Class::Configuration,
            Error::Listen { .. } | Error::Worker(_) | Error::NotDrained(_) => Class::Environment,
        }
    }
}

impl From<workers::Error<Error>> for Error {
    fn from(error: workers::Error<Error>) -> Error {
        match error {
            workers::Error::Failed(error) => error,
            other => Error::Worker(other.to_string()),
        }
    }
}
