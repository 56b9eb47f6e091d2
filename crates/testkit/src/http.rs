//! Small blocking HTTP calls for tests: admin pages of services, the registry.

use anyhow::{Context, Result, bail};
use reqwest::Client;
use std::sync::LazyLock;
use std::time::Duration;

/// No connection is kept: the services of tests come and go.
static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    let client =
        Client::builder().timeout(Duration::from_secs(5)).pool_max_idle_per_host(0).build();
    client.expect("a client without certificates of its own has nothing to fail at")
});

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
        let request = CLIENT.request(method, url);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send().await.with_context(|| url.to_string())?;
        Ok(Answer { status: response.status().as_u16(), body: response.text().await? })
    })
}
