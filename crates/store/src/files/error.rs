//! Errors of folders and object stores, and their classes.

use std::error::Error as StdError;
use std::io;
use weir_model::fault::Class;

/// What a store answered while weir did something with a file; its class says who has to act.
///
/// A bucket that does not exist, missing rights and a folder that cannot be written are the
/// operator's. Everything else passes: a server that is away or overloaded, a full disk, credentials
/// that expired and are fetched again, a clock that is off.
pub(crate) fn failed(doing: &str, place: &str, error: &object_store::Error) -> crate::Error {
    crate::Error::new(class(error), format!("{doing} in {place}: {}", reason(error)))
}

/// The same for a local file.
pub(crate) fn local(doing: &str, error: &io::Error) -> crate::Error {
    crate::Error::new(Class::Environment, format!("{doing}: {error}"))
}

/// A mistake that only an operator can repair.
pub(crate) fn configuration(what: String) -> crate::Error {
    crate::Error::new(Class::Configuration, what)
}

/// An Arrow batch that does not have the output schema, or a writer that refuses one: a bug in weir.
pub(crate) fn bug(error: impl std::fmt::Display) -> crate::Error {
    crate::Error::new(Class::Configuration, format!("cannot encode a batch: {error}"))
}

/// What S3 answers when the credentials or the clock are to blame, which passes.
const PASSING: [&str; 5] =
    ["ExpiredToken", "RequestTimeTooSkewed", "TokenRefreshRequired", "SlowDown", "RequestTimeout"];

fn class(error: &object_store::Error) -> Class {
    use object_store::Error as E;
    let text = reason(error);
    if PASSING.iter().any(|code| text.contains(code)) {
        return Class::Environment;
    }
    match error {
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => Class::Configuration,
        E::NotSupported { .. } | E::NotImplemented { .. } | E::InvalidPath { .. } => {
            Class::Configuration
        }
        E::UnknownConfigurationKey { .. } => Class::Configuration,
        E::NotFound { .. } if text.contains("NoSuchBucket") => Class::Configuration,
        E::Generic { .. } if text.contains("NoSuchBucket") => Class::Configuration,
        E::Generic { .. } if text.contains("redirect without LOCATION") => Class::Configuration,
        _ if forbidden(error) => Class::Configuration,
        _ => Class::Environment,
    }
}

/// Whether the operating system does not allow it.
fn forbidden(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(
            kind,
            Some(
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::InvalidFilename
            )
        )
    })
}

fn chain<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The error and its causes, each once.
fn reason(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    for cause in chain(error).skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn StdError + Send + Sync>>) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: source.into() }
    }

    fn at(source: &str) -> (String, Box<dyn StdError + Send + Sync>) {
        ("a".into(), source.into())
    }

    #[test]
    fn rights_and_buckets_are_the_operators_and_the_rest_passes() {
        let denied = |text: &str| {
            let (path, source) = at(text);
            object_store::Error::PermissionDenied { path, source }
        };
        let missing = |text: &str| {
            let (path, source) = at(text);
            object_store::Error::NotFound { path, source }
        };
        for (error, expected) in [
            (denied("AccessDenied"), Class::Configuration),
            (denied("<Code>ExpiredToken</Code>"), Class::Environment),
            (denied("<Code>RequestTimeTooSkewed</Code>"), Class::Environment),
            (missing("<Code>NoSuchBucket</Code>"), Class::Configuration),
            (missing("<Code>NoSuchKey</Code>"), Class::Environment),
            (generic("503 SlowDown"), Class::Environment),
            (generic("connection refused"), Class::Environment),
            (generic(io::Error::from(io::ErrorKind::StorageFull)), Class::Environment),
            (generic(io::Error::from(io::ErrorKind::PermissionDenied)), Class::Configuration),
        ] {
            assert_eq!(class(&error), expected, "{error}");
        }
    }
}
