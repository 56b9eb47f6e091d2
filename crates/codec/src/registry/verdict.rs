//! What an answer of the registry means: one table for all calls.
//!
//! | status | body | any call | a call for one schema |
//! |---|---|---|---|
//! | 2xx | the schema | done | done |
//! | 2xx | a schema longer than the limit | environment | the schema's |
//! | 2xx | another JSON object | environment | the schema's, if others are answered |
//! | 2xx | anything else (a login page, half a body) | environment | environment |
//! | 401 | any | configuration | configuration |
//! | 403 | any | configuration | the schema's, if others are answered |
//! | 404 | the registry's error code 40401 to 40499 | not found | not found |
//! | 404 | another error code, as Apicurio's 0 | environment | not found, if others are answered |
//! | 404 | no error code: a gateway, a wrong path | environment | environment (see below) |
//! | 407, 408, 421, 425, 429 | any | environment | environment |
//! | other 4xx | any | configuration | the schema's, if others are answered |
//! | 3xx, 5xx, no answer | any | environment | environment |
//!
//! *Environment* is waited for, *configuration* ends a service. What is *the schema's*, and what is
//! not found, is the fault of the records that name the schema. "If others are answered": the same
//! URL is asked for another id at once, and answers as a registry does, with a schema or with "not
//! found". So one id that an access rule withholds does not stop a pipeline, and credentials that
//! are wrong for all ids do not turn records into dead letters. A GUID is not found either if the 404
//! has no error code and others are answered: a registry that does not know GUIDs has no such path.

use super::Error;
use super::endpoint::{Endpoint, Failure, not_json};
use super::stored::StoredSchema;
use serde_json::{Map, Value};

/// What a failure means for any call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The registry does not have it.
    NotFound,
    /// It refuses these credentials.
    Denied,
    /// It refuses the content of the request.
    Refused,
    /// It cannot answer, or something else answers in its place.
    Unavailable,
}

pub(super) fn verdict(failure: &Failure) -> Verdict {
    match (failure.status.as_u16(), failure.error_code) {
        (401 | 403, _) => Verdict::Denied,
        (404, Some(40401..=40499)) => Verdict::NotFound,
        (404 | 407 | 408 | 421 | 425 | 429, _) => Verdict::Unavailable,
        (400..=499, _) => Verdict::Refused,
        _ => Verdict::Unavailable,
    }
}

/// What an answer to a call for one schema means.
#[derive(Debug)]
pub(super) enum SchemaVerdict {
    Schema(StoredSchema),
    /// It says something about this schema: the error is its own.
    Own(Error),
    /// It is about this schema (`own`) if the registry answers for others, and about everything
    /// (`general`) if not.
    OwnIfOthersAnswer {
        own: Error,
        general: Error,
    },
    /// It says nothing about this schema.
    General(Error),
}

/// The beginning of a response that is not a failure.
pub(super) struct Success<'a> {
    pub(super) body: &'a [u8],
    /// It is longer than this many bytes, and `body` is only its beginning.
    pub(super) longer_than: Option<usize>,
}

impl SchemaVerdict {
    pub(super) fn of_success(
        endpoint: &Endpoint,
        success: &Success<'_>,
        what: &str,
    ) -> SchemaVerdict {
        if let Some(limit) = success.longer_than {
            let why = format!("its response is longer than {limit} bytes");
            return match is_beginning_of_schema(success.body) {
                true => SchemaVerdict::Own(Error::invalid("schema_too_large", what, why)),
                false => SchemaVerdict::General(endpoint.unavailable(why)),
            };
        }
        match serde_json::from_slice(success.body) {
            Ok(stored) => SchemaVerdict::Schema(stored),
            Err(error) => {
                let why = not_json(&error, success.body);
                let general = endpoint.unexpected(what, &why);
                match is_object(success.body) {
                    true => SchemaVerdict::OwnIfOthersAnswer {
                        own: Error::invalid("bad_schema", what, why),
                        general,
                    },
                    false => SchemaVerdict::General(general),
                }
            }
        }
    }

    pub(super) fn of_failure(endpoint: &Endpoint, failure: Failure, what: &str) -> SchemaVerdict {
        let Failure { status, error_code, message } = &failure;
        let own = match (verdict(&failure), status.as_u16(), error_code) {
            (Verdict::NotFound, ..) => {
                return SchemaVerdict::Own(Error::NotFound { what: what.into() });
            }
            (_, 404, Some(_)) => Some(Error::NotFound { what: what.into() }),
            (Verdict::Refused, ..) | (_, 403, _) => Some(Error::Withheld {
                what: what.into(),
                why: format!("HTTP {status} {message}").trim_end().into(),
            }),
            _ => None,
        };
        let general = endpoint.error(failure, what);
        match own {
            Some(own) => SchemaVerdict::OwnIfOthersAnswer { own, general },
            None => SchemaVerdict::General(general),
        }
    }
}

/// Whether the bytes begin a JSON object that has a schema: a registry's answer, not the endless
/// page of something else.
fn is_beginning_of_schema(body: &[u8]) -> bool {
    let is_cut = |error: serde_json::Error| error.is_eof();
    let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(body);
    body.trim_ascii_start().starts_with(b"{")
        && parsed.err().is_some_and(is_cut)
        && body.windows(8).any(|bytes| bytes == b"\"schema\"")
}

/// Whether the bytes are a whole JSON object, or would be one but for their content (a text that is
/// not Unicode).
fn is_object(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(_) => true,
        Err(error) => !error.is_eof() && body.starts_with(b"{\"") && body.ends_with(b"}"),
    }
}
