use crate::frame::detail_of;
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
    /// It refuses to give this schema, and gives others.
    #[error("the registry does not give {what}: {why}")]
    Withheld {
        /// The schema.
        what: String,
        /// Status and message of the registry.
        why: String,
    },
    /// The stored schema is not one that weir can read.
    #[error("{what}: {why}")]
    Invalid {
        /// The reason of dead letters whose record names it: `bad_schema`, `not_avro`,
        /// `not_protobuf` or `schema_too_large`.
        reason: &'static str,
        /// The schema.
        what: String,
        /// What is wrong with it.
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
    /// What to do about it. (A schema that is not found, withheld or invalid is the fault of the
    /// *records* that name it; this class applies to all other callers, which need the schema.)
    pub fn class(&self) -> Class {
        match self {
            Error::Unavailable { .. } => Class::Environment,
            Error::NotFound { .. }
            | Error::Withheld { .. }
            | Error::Denied { .. }
            | Error::Refused { .. }
            | Error::Invalid { .. }
            | Error::Setting { .. } => Class::Configuration,
        }
    }

    /// The reason of the dead letters of records that name the schema; `None` when the error says
    /// nothing about that schema.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self {
            Error::NotFound { .. } => Some("unknown_schema"),
            Error::Withheld { .. } => Some("schema_refused"),
            Error::Invalid { reason, .. } => Some(reason),
            Error::Unavailable { .. }
            | Error::Denied { .. }
            | Error::Refused { .. }
            | Error::Setting { .. } => None,
        }
    }

    pub(super) fn invalid(reason: &'static str, what: &str, why: impl Into<String>) -> Error {
        Error::Invalid { reason, what: detail_of(what), why: detail_of(why) }
    }

    pub(super) fn setting(key: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Setting { key: key.into(), why: why.into() }
    }
}
