//! Registration and the latest version, through `schema_registry_converter`.
//!
//! Each URL has [`SrSettings`] of its own, and failover is that of [`Endpoints`]: the crate would
//! go on to the next URL after any error and only report the last one, so that a refused schema
//! could look like an unreachable host.
//!
//! The crate does not limit the size of a response. That is acceptable here, because these calls
//! are made when a service starts and by the CLI, and no record depends on them.

use super::Error;
use super::endpoint::{Authorization, Endpoint, Endpoints, Failure, describe, excerpt};
use super::settings::{Settings, Timeouts};
use crate::schema::{Reference, Schema};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_schema_by_subject, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    RawError, RegisteredSchema, SchemaType, SubjectNameStrategy, SuppliedReference, SuppliedSchema,
};
use std::sync::Arc;

/// Characters of a subject that are escaped in a URL. The crate itself only escapes `/`.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub(super) struct Converter {
    /// Per endpoint.
    settings: Vec<SrSettings>,
    endpoints: Arc<Endpoints>,
    timeouts: Timeouts,
}

/// A request to any endpoint.
enum Call<'a> {
    Register(&'a str, &'a Schema),
    Latest(&'a str),
}

impl Converter {
    pub(super) fn new(
        settings: &Settings,
        endpoints: Arc<Endpoints>,
        timeouts: Timeouts,
    ) -> Result<Converter, Error> {
        let settings = endpoints
            .list()
            .iter()
            .map(|endpoint| sr_settings(settings, endpoint, timeouts))
            .collect::<Result<_, _>>()?;
        Ok(Converter { settings, endpoints, timeouts })
    }

    /// Registers the schemas that `schema` refers to, then `schema` itself; returns its id.
    pub(super) async fn register(&self, subject: &str, schema: &Schema) -> Result<u32, Error> {
        let what = format!("the schema for subject {subject}");
        Ok(self.call(Call::Register(&escaped(subject), schema), &what).await?.id)
    }

    /// The latest version of `subject`, as the registry stores it.
    pub(super) async fn latest(&self, subject: &str) -> Result<RegisteredSchema, Error> {
        self.call(Call::Latest(&escaped(subject)), &format!("subject {subject}")).await
    }

    /// Makes the call to one endpoint after another until one is available.
    async fn call(&self, call: Call<'_>, what: &str) -> Result<RegisteredSchema, Error> {
        let mut failover = self.endpoints.failover();
        while let Some((index, endpoint)) = failover.next() {
            let answer = call_one(&self.settings[index], &call).await;
            let answer = answer.map_err(|error| self.error(endpoint, &error, what));
            if let Some(answer) = failover.answer(index, answer) {
                return answer;
            }
        }
        Err(failover.into_error())
    }

    fn error(&self, endpoint: &Endpoint, error: &SRCError, what: &str) -> Error {
        let error = innermost(error);
        if let Some(status) = http_status(&error.error) {
            return endpoint.error(failure(status, find::<RawError>(error)), what);
        }
        match find::<reqwest::Error>(error) {
            Some(http) if http.is_decode() => {
                endpoint.unexpected(what, &describe(http, self.timeouts.request))
            }
            Some(http) => endpoint.unavailable(describe(http, self.timeouts.request)),
            None => endpoint.unexpected(what, &excerpt(error.error.as_bytes())),
        }
    }
}

async fn call_one(settings: &SrSettings, call: &Call<'_>) -> Result<RegisteredSchema, SRCError> {
    match call {
        Call::Register(subject, schema) => {
            let supplied = SuppliedSchema::new(None, SchemaType::Avro, schema.text().into())
                .with_references(supplied(schema.references()));
            post_schema(settings, (*subject).into(), supplied).await
        }
        Call::Latest(subject) => {
            let strategy = SubjectNameStrategy::RecordNameStrategy((*subject).into());
            get_schema_by_subject(settings, &strategy).await
        }
    }
}

fn supplied(references: &[Reference]) -> Vec<SuppliedReference> {
    let mut all = Vec::with_capacity(references.len());
    for Reference { name, subject, schema, references } in references {
        let reference = SuppliedReference::new(name.clone(), subject.clone(), schema.clone());
        all.push(reference.with_references(supplied(references)));
    }
    all
}

fn sr_settings(
    settings: &Settings,
    endpoint: &Endpoint,
    timeouts: Timeouts,
) -> Result<SrSettings, Error> {
    let mut builder = SrSettings::new_builder(endpoint.url.clone());
    builder.set_timeout(timeouts.request);
    match &endpoint.authorization {
        Some(Authorization::Bearer(token)) => {
            builder.set_token_authorization(token.expose());
        }
        Some(Authorization::Basic { user, password }) => {
            let password = password.as_ref().map(|password| password.expose());
            builder.set_basic_authorization(user, password);
        }
        None => {}
    }
    // Headers and certificates are part of the client: the crate's own `add_header` panics on a
    // value that is not allowed in a header.
    builder
        .build_with(settings.client(timeouts)?)
        .map_err(|e| Error::setting("url", format!("no HTTP client: {}", e.error)))
}

fn escaped(subject: &str) -> String {
    utf8_percent_encode(subject, ESCAPED).to_string()
}

/// The error of the request that failed; that of a reference is wrapped into another one.
fn innermost(error: &SRCError) -> &SRCError {
    let mut innermost = error;
    while let Some(inner) =
        std::error::Error::source(innermost).and_then(|source| source.downcast_ref::<SRCError>())
    {
        innermost = inner;
    }
    innermost
}

/// The source of a kind, for which the crate keeps errors.
fn find<E: std::error::Error + 'static>(error: &SRCError) -> Option<&E> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref::<E>())
}

/// The crate has the HTTP status only in its message: "… failed with status 409 Conflict".
fn http_status(message: &str) -> Option<StatusCode> {
    let (_, status) = message.split_once("failed with status ")?;
    StatusCode::from_bytes(status.get(..3)?.as_bytes()).ok()
}

/// A response in another format than the registry's has the error code 0.
fn failure(status: StatusCode, error: Option<&RawError>) -> Failure {
    match error.filter(|error| error.error_code != 0) {
        Some(error) => Failure {
            status,
            error_code: Some(error.error_code.into()),
            message: excerpt(error.message.as_bytes()),
        },
        None => Failure { status, error_code: None, message: String::new() },
    }
}
