//! The URLs of the registry, failover between them, and the meaning of a failed request.

use super::Error;
use super::verdict::{Verdict, verdict};
use crate::error::with_causes;
use reqwest::{StatusCode, Url};
use std::sync::atomic::{AtomicUsize, Ordering};
use weir_model::secret::Secret;

/// Longest text of the registry that is quoted in an error, in characters.
const MAX_QUOTED_CHARS: usize = 300;

/// One URL of the registry.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Without credentials.
    pub(super) base: Url,
    pub(super) authorization: Option<Authorization>,
    /// The base URL for error messages and for appending paths: without a slash at the end.
    pub(super) url: String,
}

/// The credentials for one URL.
#[derive(Debug, Clone)]
pub(super) enum Authorization {
    Bearer(Secret),
    Basic { user: String, password: Option<Secret> },
}

/// A response that is not a success.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    /// The registry's own error code; `None` when the response is not in the registry's format.
    pub(super) error_code: Option<i64>,
    /// The registry's message, or the beginning of whatever was sent instead.
    pub(super) message: String,
}

impl Endpoint {
    pub(super) fn new(base: Url, authorization: Option<Authorization>) -> Endpoint {
        let url = base.as_str().trim_end_matches('/').to_string();
        Endpoint { base, authorization, url }
    }

    pub(super) fn unavailable(&self, why: String) -> Error {
        Error::Unavailable { url: self.url.clone(), why: why.trim_end().into() }
    }

    /// The response is a success, but not a description of `what`.
    pub(super) fn unexpected(&self, what: &str, why: &str) -> Error {
        self.unavailable(format!("it answers with something other than {what}: {why}"))
    }

    /// The error of a request for `what` that was answered with `failure`.
    pub(super) fn error(&self, failure: Failure, what: &str) -> Error {
        let verdict = verdict(&failure);
        let Failure { status, message, .. } = failure;
        match (verdict, status.as_u16()) {
            (Verdict::Denied, status) => Error::Denied { url: self.url.clone(), status },
            (Verdict::NotFound, _) => Error::NotFound { what: what.into() },
            (Verdict::Refused, _) if message.is_empty() => {
                Error::Refused { what: what.into(), why: format!("HTTP {status}") }
            }
            (Verdict::Refused, _) => Error::Refused { what: what.into(), why: message },
            (Verdict::Unavailable, 404) => self.unavailable(format!(
                "it answers HTTP 404 to the request for {what}, but not as a registry does; \
                 is the path in registry.url right? {message}"
            )),
            (Verdict::Unavailable, 300..=399) => self.unavailable(format!(
                "it redirects (HTTP {status}), which is not followed; \
                 set registry.url to the new URL"
            )),
            (Verdict::Unavailable, _) => self.unavailable(format!("HTTP {status} {message}")),
        }
    }
}

/// All URLs of the registry.
#[derive(Debug)]
pub(super) struct Endpoints {
    list: Vec<Endpoint>,
    /// Index of the one that answered last. It is tried first, so that a host that is down does
    /// not delay every request.
    current: AtomicUsize,
}

impl Endpoints {
    /// `list` has at least one element.
    pub(super) fn new(list: Vec<Endpoint>) -> Endpoints {
        Endpoints { list, current: AtomicUsize::new(0) }
    }

    pub(super) fn list(&self) -> &[Endpoint] {
        &self.list
    }

    /// The URLs in the order in which one request tries them.
    pub(super) fn failover(&self) -> Failover<'_> {
        let first = self.current.load(Ordering::Relaxed);
        Failover { endpoints: self, first, num_tried: 0, failures: Vec::new() }
    }
}

/// One request, which goes on to the next URL while a registry is unavailable. Every other answer
/// is final: another instance of the same registry would refuse the same schema.
pub(super) struct Failover<'a> {
    endpoints: &'a Endpoints,
    first: usize,
    num_tried: usize,
    failures: Vec<Failed>,
}

struct Failed {
    url: String,
    why: String,
}

impl<'a> Failover<'a> {
    /// Index and URL to try next.
    pub(super) fn next(&mut self) -> Option<(usize, &'a Endpoint)> {
        if self.num_tried == self.endpoints.list.len() {
            return None;
        }
        let index = (self.first + self.num_tried) % self.endpoints.list.len();
        self.num_tried += 1;
        Some((index, &self.endpoints.list[index]))
    }

    /// The answer of the endpoint `index`, when it is final.
    pub(super) fn answer<T>(
        &mut self,
        index: usize,
        answer: Result<T, Error>,
    ) -> Option<Result<T, Error>> {
        if let Err(Error::Unavailable { url, why }) = answer {
            self.failures.push(Failed { url, why });
            return None;
        }
        self.endpoints.current.store(index, Ordering::Relaxed);
        Some(answer)
    }

    /// The error when no URL gave an answer.
    pub(super) fn into_error(self) -> Error {
        let num_failures = self.failures.len();
        let urls: Vec<&str> = self.failures.iter().map(|failed| failed.url.as_str()).collect();
        let url = urls.join(" or ");
        let reasons = self.failures.iter().map(|failed| match num_failures {
            1 => failed.why.clone(),
            _ => format!("{}: {}", failed.url, failed.why),
        });
        Error::Unavailable { url, why: reasons.collect::<Vec<_>>().join("; ") }
    }
}

/// The beginning of a text from outside, on one line.
pub(super) fn excerpt(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * MAX_QUOTED_CHARS)]);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(MAX_QUOTED_CHARS).collect()
}

/// Why a response is not the JSON that was expected, with its beginning. The library's message may
/// quote a whole value.
pub(super) fn not_json(error: &serde_json::Error, body: &[u8]) -> String {
    format!("{}, in {}", excerpt(error.to_string().as_bytes()), excerpt(body))
}

/// An error of the HTTP client with its causes, without the URL.
pub(super) fn describe(error: &reqwest::Error, timeout: std::time::Duration) -> String {
    let text = if error.is_timeout() {
        format!("no answer within {} s", timeout.as_secs_f64())
    } else {
        without_url(error)
    };
    with_causes(text, error)
}

fn without_url(error: &reqwest::Error) -> String {
    let text = error.to_string();
    match error.url() {
        Some(url) => text.replace(&format!(" for url ({url})"), ""),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};

    #[test]
    fn an_answer_that_is_one_long_text_is_quoted_in_part() {
        let body = format!("\"{}\"", "x".repeat(100_000));
        let error = serde_json::from_str::<Map<String, Value>>(&body).unwrap_err();
        assert!(error.to_string().len() > 100_000);
        assert!(not_json(&error, body.as_bytes()).len() < 1_000);
    }
}
