use weir_model::fault::Class;

/// Why the registry did not help. URLs in it never carry user or password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has no such schema or subject, and says so in its own terms.
    #[error("the registry has no {what}")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// It is away, slow, overloaded, or something else answers in its place: try again later.
    #[error("the registry at {url} is not available: {why}")]
    Unavailable {
        /// Which registry.
        url: String,
        /// The cause.
        why: String,
    },
    /// It refuses these credentials.
    #[error(
        "the registry at {url} refuses access (HTTP {status}): check user and password in registry.url"
    )]
    Denied {
        /// Which registry.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// It refuses what it was given, such as an incompatible schema.
    #[error("the registry refuses {what}: {why}")]
    Refused {
        /// What it was given.
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
    /// `registry.url` is not the URL of a registry.
    #[error("registry.url: {0}")]
    Url(String),
}

impl Error {
    /// What is to be done about it. (When a *record* names an id that is not found or invalid, that
    /// is the record's fault; this is for everybody else, who needs the schema.)
    pub fn class(&self) -> Class {
        match self {
            Error::Unavailable { .. } => Class::Environment,
            Error::NotFound { .. }
            | Error::Denied { .. }
            | Error::Refused { .. }
            | Error::Invalid { .. }
            | Error::Url(_) => Class::Configuration,
        }
    }
}
