//! weir's own client of the registry's REST interface: one request, one answer, limited in time and
//! size, with all kinds of failure told apart.
//!
//! Why it exists beside `schema_registry_converter`: its answers to a fetch by id decide whether
//! records are dead-lettered. For that, a gateway's 404 must be told from the registry's own 404
//! with an error code, an HTML page with status 200 from a schema, and an endless response must be
//! cut off. The crate keeps the HTTP status only as text, reads responses of any size, and turns a
//! response that is not the registry's JSON into the error code 0. It also has no calls for
//! compatibility, configuration and the list of schema types.

use super::Error;
use super::endpoint::{Authorization, Endpoint, Endpoints, Failure, describe, excerpt, not_json};
use super::settings::{Settings, Timeouts};
use super::stored::StoredSchema;
use super::verdict::{SchemaVerdict, Success};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// Longest response, in bytes: a schema of 1 MiB with its quotes escaped.
const MAX_RESPONSE_BYTES: usize = 4 << 20;

/// An id that no registry gives in practice, although it could: a request for it shows whether the
/// registry answers.
const UNUSED_ID: u32 = i32::MAX as u32;

pub(super) struct Http {
    client: Client,
    endpoints: Arc<Endpoints>,
    timeouts: Timeouts,
}

/// A response as far as it was read.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    is_too_long: bool,
}

/// A request to any endpoint.
struct Request<'a> {
    method: Method,
    path: &'a [&'a str],
    query: Option<&'a str>,
    body: Option<&'a Value>,
    /// What is asked for, for error messages.
    what: &'a str,
}

/// The registry's format of an error.
#[derive(Deserialize)]
struct RegistryError {
    error_code: i64,
    #[serde(default)]
    message: String,
}

impl Http {
    pub(super) fn new(
        settings: &Settings,
        endpoints: Arc<Endpoints>,
        timeouts: Timeouts,
    ) -> Result<Http, Error> {
        let client = settings.client(timeouts)?.build().map_err(|e| {
            Error::setting("url", format!("no HTTP client: {}", describe(&e, timeouts.request)))
        })?;
        Ok(Http { client, endpoints, timeouts })
    }

    /// The stored schema at `path`, which is asked for because a record names it, directly or not.
    /// The module `verdict` says which errors are that schema's own.
    pub(super) async fn schema(&self, path: &[&str], what: &str) -> Result<StoredSchema, Error> {
        let request = Request { method: Method::GET, path, query: None, body: None, what };
        let mut failover = self.endpoints.failover();
        while let Some((index, endpoint)) = failover.next() {
            let answer = self.schema_from(endpoint, &request).await;
            if let Some(answer) = failover.answer(index, answer) {
                return answer;
            }
        }
        Err(failover.into_error())
    }

    async fn schema_from(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
    ) -> Result<StoredSchema, Error> {
        match self.schema_verdict(endpoint, request).await? {
            SchemaVerdict::Schema(stored) => Ok(stored),
            SchemaVerdict::Own(error) | SchemaVerdict::General(error) => Err(error),
            SchemaVerdict::OwnIfOthersAnswer { own, general } => {
                match self.answers_for_others(endpoint).await {
                    true => Err(own),
                    false => Err(general),
                }
            }
        }
    }

    async fn schema_verdict(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
    ) -> Result<SchemaVerdict, Error> {
        let answer = self.send(endpoint, request).await?;
        if answer.status.is_success() {
            let longer_than = answer.is_too_long.then_some(MAX_RESPONSE_BYTES);
            let success = Success { body: &answer.body, longer_than };
            return Ok(SchemaVerdict::of_success(endpoint, &success, request.what));
        }
        let mut failure = failure(answer.status, &answer.body);
        // A registry that does not know GUIDs has no such path, and may say so without an error code.
        if answer.status == StatusCode::NOT_FOUND && request.path.get(1) == Some(&"guids") {
            failure.error_code.get_or_insert(0);
        }
        Ok(SchemaVerdict::of_failure(endpoint, failure, request.what))
    }

    /// Whether the endpoint answers a request for another schema as a registry does.
    async fn answers_for_others(&self, endpoint: &Endpoint) -> bool {
        let id = UNUSED_ID.to_string();
        let (path, what) = (["schemas", "ids", &id], "an unused schema id");
        let request = Request { method: Method::GET, path: &path, query: None, body: None, what };
        matches!(
            self.schema_verdict(endpoint, &request).await,
            Ok(SchemaVerdict::Schema(_) | SchemaVerdict::Own(_))
        )
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        what: &str,
    ) -> Result<T, Error> {
        self.call(Request { method: Method::GET, path, query: None, body: None, what }).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &str,
        body: &Value,
        what: &str,
    ) -> Result<T, Error> {
        let (query, body) = (Some(query), Some(body));
        self.call(Request { method: Method::POST, path, query, body, what }).await
    }

    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &Value,
        what: &str,
    ) -> Result<T, Error> {
        let body = Some(body);
        self.call(Request { method: Method::PUT, path, query: None, body, what }).await
    }

    /// Sends the request to one endpoint after another until one is available.
    async fn call<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Error> {
        let mut failover = self.endpoints.failover();
        while let Some((index, endpoint)) = failover.next() {
            let answer = self.call_one(endpoint, &request).await;
            if let Some(answer) = failover.answer(index, answer) {
                return answer;
            }
        }
        Err(failover.into_error())
    }

    async fn call_one<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        request: &Request<'_>,
    ) -> Result<T, Error> {
        let Answer { status, body, is_too_long } = self.send(endpoint, request).await?;
        if !status.is_success() {
            return Err(endpoint.error(failure(status, &body), request.what));
        }
        if is_too_long {
            let why = format!("its response is longer than {MAX_RESPONSE_BYTES} bytes");
            return Err(endpoint.unavailable(why));
        }
        serde_json::from_slice(&body)
            .map_err(|e| endpoint.unexpected(request.what, &not_json(&e, &body)))
    }

    async fn send(&self, endpoint: &Endpoint, request: &Request<'_>) -> Result<Answer, Error> {
        let failed = |e: reqwest::Error| endpoint.unavailable(describe(&e, self.timeouts.request));
        let response = self.prepare(endpoint, request)?.send().await.map_err(failed)?;
        read(response).await.map_err(failed)
    }

    fn prepare(&self, endpoint: &Endpoint, request: &Request<'_>) -> Result<RequestBuilder, Error> {
        let mut url = endpoint.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(request.path)),
            Err(()) => return Err(Error::setting("url", "has no path")),
        }
        url.set_query(request.query);
        let mut builder = self
            .client
            .request(request.method.clone(), url)
            .header("Accept", "application/vnd.schemaregistry.v1+json, application/json");
        builder = match &endpoint.authorization {
            Some(Authorization::Bearer(token)) => builder.bearer_auth(token.expose()),
            Some(Authorization::Basic { user, password }) => {
                builder.basic_auth(user, password.as_ref().map(|password| password.expose()))
            }
            None => builder,
        };
        Ok(match request.body {
            Some(body) => builder
                .header("Content-Type", "application/vnd.schemaregistry.v1+json")
                .body(body.to_string()),
            None => builder,
        })
    }
}

/// Reads the response up to the limit.
async fn read(mut response: Response) -> Result<Answer, reqwest::Error> {
    let status = response.status();
    let (mut body, mut is_too_long) = (Vec::new(), false);
    while let Some(chunk) = response.chunk().await? {
        let num_free = MAX_RESPONSE_BYTES - body.len();
        if chunk.len() > num_free {
            is_too_long = true;
            body.extend_from_slice(&chunk[..num_free]);
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body, is_too_long })
}

fn failure(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<RegistryError>(body) {
        Ok(error) => Failure {
            status,
            error_code: Some(error.error_code),
            message: excerpt(error.message.as_bytes()),
        },
        Err(_) => Failure { status, error_code: None, message: excerpt(body) },
    }
}
