//! The settings of `[registry]` and what is made of them: endpoints and an HTTP client.

use super::Error;
use super::endpoint::{Authorization, Endpoint};
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, ClientBuilder, Url};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_model::secret::Secret;

/// How the registry is reached.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `http://` or `https://` URLs, tried in this order; at least one. A URL may contain user and
    /// password for basic authentication (`https://user:password@host`).
    pub urls: Vec<Secret>,
    /// Sent as `Authorization: Bearer …`; excludes user and password in the URLs.
    pub bearer_token: Option<Secret>,
    /// Sent with every request.
    pub headers: BTreeMap<String, Secret>,
    /// A PEM file with certificates that are trusted in addition to those of the system.
    pub ca_file: Option<PathBuf>,
}

impl From<&weir_model::pipeline::Registry> for Settings {
    fn from(registry: &weir_model::pipeline::Registry) -> Settings {
        Settings {
            urls: registry.url.clone(),
            bearer_token: registry.bearer_token.clone(),
            headers: registry.headers.clone(),
            ca_file: registry.ca_file.clone(),
        }
    }
}

/// Time limits of one request to one endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    /// From the connection to the last byte of the response.
    pub(super) request: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { connect: Duration::from_secs(3), request: Duration::from_secs(10) }
    }
}

impl Settings {
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        if self.urls.is_empty() {
            return Err(Error::setting("url", "at least one URL is required"));
        }
        let mut endpoints = Vec::new();
        for (index, url) in self.urls.iter().enumerate() {
            let key = if self.urls.len() == 1 { "url".into() } else { format!("url[{index}]") };
            endpoints.push(self.endpoint(&key, url)?);
        }
        Ok(endpoints)
    }

    fn endpoint(&self, key: &str, url: &Secret) -> Result<Endpoint, Error> {
        let mut base = Url::parse(url.expose()).map_err(|e| {
            Error::setting(key, format!("not a URL ({e}); an example is http://localhost:8081"))
        })?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            let scheme = base.scheme();
            let why = format!("begins with `{scheme}:`; it must begin with http:// or https://");
            return Err(Error::setting(key, why));
        }
        if base.query().is_some() || base.fragment().is_some() {
            let why = "must not have a query or a fragment; use registry.headers for API keys";
            return Err(Error::setting(key, why));
        }
        let authorization = self.authorization(key, &base)?;
        if base.set_username("").is_err() || base.set_password(None).is_err() {
            return Err(Error::setting(key, "has no host"));
        }
        Ok(Endpoint::new(base, authorization))
    }

    fn authorization(&self, key: &str, url: &Url) -> Result<Option<Authorization>, Error> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let has_user = !url.username().is_empty() || url.password().is_some();
        match (&self.bearer_token, has_user) {
            (Some(_), true) => {
                Err(Error::setting(key, "has user and password, but registry.bearer_token is set"))
            }
            (Some(token), false) => Ok(Some(Authorization::Bearer(token.clone()))),
            (None, true) => Ok(Some(Authorization::Basic {
                user: decode(url.username()),
                password: url.password().map(|password| Secret::new(decode(password))),
            })),
            (None, false) => Ok(None),
        }
    }

    /// A client with these headers, certificates and time limits.
    pub(super) fn client(&self, timeouts: Timeouts) -> Result<ClientBuilder, Error> {
        // A redirect could send the credentials to another host. Instead, the new URL must be
        // configured.
        let mut builder = ClientBuilder::new()
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.request)
            .redirect(Policy::none())
            .default_headers(self.header_map()?);
        if let Some(path) = &self.ca_file {
            builder = builder.tls_certs_merge(certificates(path)?);
        }
        Ok(builder)
    }

    fn header_map(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let key = format!("headers.{name}");
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| Error::setting(&key, "not a valid name of an HTTP header"))?;
            let mut value = HeaderValue::from_str(value.expose())
                .map_err(|_| Error::setting(&key, "has characters that HTTP does not allow"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    let failed = |why: String| Error::setting("ca_file", format!("{}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|e| failed(format!("cannot be read: {e}")))?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|e| failed(format!("is not PEM: {e}")))?;
    if certificates.is_empty() {
        return Err(failed("contains no certificate".into()));
    }
    Ok(certificates)
}
