//! Small blocking HTTP calls for tests: admin pages of services, the registry.

use anyhow::{Context, Result, bail};
use std::time::Duration;

/// Answer to an HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

/// `GET url`, whatever the status.
pub fn get(url: &str) -> Result<Answer> {
    call(reqwest::Method::GET, url, None)
}

/// Sends `body` as JSON; an error unless the status is 2xx.
pub fn send(method: &str, url: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
    let answer = call(method.parse()?, url, Some(body))?;
    if !(200..300).contains(&answer.status) {
        bail!("{method} {url}: {} {}", answer.status, answer.body);
    }
    serde_json::from_str(&answer.body).with_context(|| format!("{method} {url}: {}", answer.body))
}

fn call(method: reqwest::Method, url: &str, body: Option<&serde_json::Value>) -> Result<Answer> {
    crate::database::block(async {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let request = client.request(method, url);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.with_context(|| url.to_string())?;
        Ok(Answer { status: response.status().as_u16(), body: response.text().await? })
    })
}
