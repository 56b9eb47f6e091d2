//! One request, one answer: bounded in time and size, and every kind of failure told apart.

use super::Error;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use weir_model::secret::Secret;

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// For the whole of a call, to the answer's last byte.
const WHOLE: Duration = Duration::from_secs(10);
/// Longest answer, in bytes: a schema of 1 MiB, with its quotes escaped.
const MAX_ANSWER: usize = 4 << 20;
/// Longest foreign text quoted in an error, in characters.
const QUOTED: usize = 300;

/// Not `Debug`: the URL may carry a password.
pub(super) struct Http {
    client: Client,
    base: Url,
    shown: String,
}

/// The registry's own form of an error.
#[derive(Deserialize)]
struct Complaint {
    error_code: i64,
    #[serde(default)]
    message: String,
}

impl Http {
    pub(super) fn new(url: &Secret) -> Result<Http, Error> {
        let base = Url::parse(url.expose()).map_err(|e| {
            Error::Url(format!("not a URL ({e}); an example is http://localhost:8081"))
        })?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(Error::Url(format!(
                "begins with `{}:`; it must begin with http:// or https://",
                base.scheme()
            )));
        }
        let mut shown = base.clone();
        shown.set_query(None);
        if shown.set_username("").is_err() || shown.set_password(None).is_err() {
            return Err(Error::Url("has no host".into()));
        }
        // A redirect could send the password to another host; whoever moved the registry has to say
        // so in the file.
        let client =
            Client::builder().connect_timeout(CONNECT).timeout(WHOLE).redirect(Policy::none());
        let client =
            client.build().map_err(|e| Error::Url(format!("no HTTP client: {}", causes(e))))?;
        Ok(Http { client, base, shown: shown.as_str().trim_end_matches('/').into() })
    }

    /// The URL without user and password.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        what: &str,
    ) -> Result<T, Error> {
        self.call(Method::GET, path, None, what).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &Value,
        what: &str,
    ) -> Result<T, Error> {
        self.call(Method::POST, path, Some(body), what).await
    }

    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &Value,
        what: &str,
    ) -> Result<T, Error> {
        self.call(Method::PUT, path, Some(body), what).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        what: &str,
    ) -> Result<T, Error> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(path)),
            Err(()) => return Err(Error::Url("has no path".into())),
        }
        if path.first() == Some(&"compatibility") {
            url.set_query(Some("verbose=true"));
        }
        let mut request = self
            .client
            .request(method, url)
            .header("Accept", "application/vnd.schemaregistry.v1+json, application/json");
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/vnd.schemaregistry.v1+json")
                .body(body.to_string());
        }
        let response = request.send().await.map_err(|e| self.unavailable(causes(e)))?;
        let status = response.status();
        let text = self.read(response).await?;
        self.judge(status, &text, what)
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unavailable(causes(e)))? {
            if text.len() + chunk.len() > MAX_ANSWER {
                return Err(
                    self.unavailable(format!("its answer is longer than {MAX_ANSWER} bytes"))
                );
            }
            text.extend_from_slice(&chunk);
        }
        Ok(text)
    }

    fn judge<T: DeserializeOwned>(
        &self,
        status: StatusCode,
        text: &[u8],
        what: &str,
    ) -> Result<T, Error> {
        if status.is_success() {
            return serde_json::from_slice(text).map_err(|e| {
                self.unavailable(format!(
                    "it answers HTTP {status} with something else than {what} ({e}): {}",
                    excerpt(text)
                ))
            });
        }
        let complaint: Option<Complaint> = serde_json::from_slice(text).ok();
        let words =
            complaint.as_ref().map_or_else(|| excerpt(text), |c| excerpt(c.message.as_bytes()));
        match (status.as_u16(), complaint.map(|c| c.error_code)) {
            (401 | 403, _) => Err(Error::Denied { url: self.shown.clone(), status: status.as_u16() }),
            (404, Some(40401..=40499)) => Err(Error::NotFound { what: what.into() }),
            (404, _) => {
                Err(self
                    .unavailable(format!("it answers HTTP 404, but not as a registry does; is the path in registry.url right? {words}")))
            }
            (400 | 409 | 422, _) => Err(Error::Refused { what: what.into(), why: words }),
            (300..=399, _) => {
                Err(self.unavailable(format!("it redirects (HTTP {status}), which is not followed; set registry.url to the new place")))
            }
            _ => Err(self.unavailable(format!("HTTP {status} {words}"))),
        }
    }

    fn unavailable(&self, why: String) -> Error {
        Error::Unavailable { url: self.shown.clone(), why: why.trim_end().into() }
    }
}

/// The beginning of a foreign text, on one line.
fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * QUOTED)]);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(QUOTED).collect()
}

/// An error of the HTTP client with its causes, without the URL.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = if error.is_timeout() {
        format!("no answer within {} s", WHOLE.as_secs())
    } else {
        error.to_string()
    };
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
