use weir_model::fault::Class;

/// Why a call to the registry failed. URLs in it never contain user or password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The registry has no such schema or subject, according to its own error code.
    #[error("the registry has no {what}")]
    NotFound {
        /// The schema or subject.
        what: String,
    },
    /// It is unreachable, slow or overloaded, or something else answers in its place. The call can
    /// be repeated later.
    #[error("the registry at {url} is unavailable: {why}")]
    Unavailable {
        /// The URL of the registry; with several, all of them.
        url: String,
        /// The cause.
        why: String,
    },
    /// It refuses these credentials.
    #[error(
        "the registry at {url} refuses access (HTTP {status}): \
         check the credentials in [registry] (user and password in the URL, or bearer_token)"
    )]
    Denied {
        /// The URL of the registry.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// It refuses the content of the request, such as an incompatible schema.
    #[error("the registry refuses {what}: {why}")]
    Refused {
        /// The refused schema or setting.
        what: String,
        /// The registry's message.
        why: String,
    },
    /// The stored schema is not an Avro schema that weir can read.
    #[error("{what}: {why}")]
    Invalid {
        /// The schema.
        what: String,
        /// The reason.
        why: String,
    },
    /// A setting of the registry cannot be used.
    #[error("registry.{key}: {why}")]
    Setting {
        /// The key below `[registry]`.
        key: String,
        /// The reason.
        why: String,
    },
}

impl Error {
    /// What to do about it. (An id that is not found or invalid is the fault of the *record* that
    /// names it; this class applies to all other callers, which need the schema.)
    pub fn class(&self) -> Class {
        match self {
            Error::Unavailable { .. } => Class::Environment,
            Error::NotFound { .. }
            | Error::Denied { .. }
            | Error::Refused { .. }
            | Error::Invalid { .. }
            | Error::Setting { .. } => Class::Configuration,
        }
    }

    pub(super) fn setting(key: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Setting { key: key.into(), why: why.into() }
    }
}
