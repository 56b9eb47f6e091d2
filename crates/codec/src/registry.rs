//! The Schema Registry, through Confluent's REST interface.
//!
//! A schema id never changes its meaning, so schemas are cached. Errors are not cached, with one
//! exception: an id that stays missing after several attempts is taken as missing for
//! [`MISSING_ID_TTL`], so that a topic full of foreign bytes causes neither a storm of requests nor
//! a pause per batch. Only the registry's own error code counts as missing: a wrong path or a
//! gateway answers 404 as well, and no record may be dead-lettered because of that.
//!
//! Registration and the latest version go through `schema_registry_converter` (module `converter`);
//! everything that decides about records goes through weir's own client (module `http`, which says
//! why). Both honour the same [`Settings`], and both are tested with the same faults.

mod cache;
mod converter;
mod endpoint;
pub(crate) mod error;
mod http;
mod settings;
mod stored;

pub use cache::MISSING_ID_TTL;
pub use error::Error;
pub use settings::Settings;

use crate::schema::Schema;
use cache::Cache;
use converter::Converter;
use endpoint::Endpoints;
use http::Http;
use serde::Deserialize;
use serde_json::{Value, json};
use settings::Timeouts;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use stored::StoredSchema;
use tokio::time::{Instant, sleep};

/// Pauses before repeating a request whose answer may change at any moment: an id that was just
/// registered on another node, a subject that another service is creating.
const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];

/// A client of one registry; clones share its cache and its connections.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    endpoints: Arc<Endpoints>,
    http: Http,
    converter: Converter,
    cache: Mutex<Cache>,
    /// Held while schemas are fetched, so that workers that meet a new id together fetch it once.
    fetching: tokio::sync::Mutex<()>,
}

/// The latest version of a subject.
#[derive(Debug, Clone)]
pub struct LatestSchema {
    /// The schema's id, as it is written in records.
    pub id: u32,
    /// The version within the subject, from 1.
    pub version: u32,
    /// The schema, with referenced types included.
    pub schema: Schema,
}

impl Registry {
    /// A client for `[registry]`. Does not connect.
    ///
    /// # Errors
    /// [`Error::Setting`] when a URL, a header or the CA file cannot be used.
    pub fn new(settings: impl Into<Settings>) -> Result<Registry, Error> {
        Registry::with_timeouts(&settings.into(), Timeouts::default())
    }

    fn with_timeouts(settings: &Settings, timeouts: Timeouts) -> Result<Registry, Error> {
        let endpoints = Arc::new(Endpoints::new(settings.endpoints()?));
        Ok(Registry(Arc::new(Inner {
            http: Http::new(settings, endpoints.clone(), timeouts)?,
            converter: Converter::new(settings, endpoints.clone(), timeouts)?,
            endpoints,
            cache: Mutex::default(),
            fetching: tokio::sync::Mutex::new(()),
        })))
    }

    /// The schema with this id, which must be one that weir can both read and write.
    pub async fn schema(&self, id: u32) -> Result<Schema, Error> {
        parsed(&self.text(id).await?, &format!("schema {id}"))
    }

    /// Registers `schema`, and before it the schemas that it refers to, under `subject`; returns
    /// its id. The same schema gets the same id again.
    ///
    /// Many services may call this at the same time. A registry may refuse the second of two
    /// concurrent first registrations (Apicurio answers 409, "already exists"), so a refusal only
    /// counts when the compatibility rule confirms it, or when it persists.
    pub async fn register(&self, subject: &str, schema: &Schema) -> Result<u32, Error> {
        for delay in RETRY_DELAYS {
            match self.0.converter.register(subject, schema).await {
                Err(Error::Refused { .. })
                    if self.compatible(subject, schema).await?.is_empty() =>
                {
                    sleep(delay).await
                }
                answer => return answer,
            }
        }
        self.0.converter.register(subject, schema).await
    }

    /// The latest version of `subject`; `None` when the subject does not exist.
    pub async fn latest(&self, subject: &str) -> Result<Option<LatestSchema>, Error> {
        let registered = match self.0.converter.latest(subject).await {
            Ok(registered) => registered,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let what = format!("subject {subject}");
        let (id, version) = (registered.id, registered.version);
        let version = version.ok_or_else(|| {
            let why = "the registry does not say which version is the latest".into();
            Error::Invalid { what: what.clone(), why }
        })?;
        let stored = StoredSchema::from(registered);
        let text = stored.complete_text(&self.0.http, &what).await?;
        Ok(Some(LatestSchema { id, version, schema: parsed(&text, &what)? }))
    }

    /// Why `schema` cannot become the next version of `subject` under the registry's compatibility
    /// rule; empty when it can.
    pub async fn compatible(&self, subject: &str, schema: &Schema) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Compatibility {
            is_compatible: bool,
            #[serde(default)]
            messages: Vec<String>,
            /// Apicurio sends this instead of messages.
            reason: Option<String>,
        }
        let what = format!("the schema for subject {subject}");
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        // With referenced types included, since those may not be registered yet.
        let body = json!({"schema": schema.complete_text()});
        match self.0.http.post::<Compatibility>(&path, "verbose=true", &body, &what).await {
            Ok(answer) if answer.is_compatible => Ok(Vec::new()),
            Ok(answer) if !answer.messages.is_empty() => Ok(answer.messages),
            Ok(answer) => Ok(vec![answer.reason.unwrap_or_else(|| {
                "the registry's compatibility rule for this subject does not allow it".into()
            })]),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Sets the compatibility rule of `subject`: `NONE`, `BACKWARD`, `FORWARD`, `FULL`, or one of
    /// the last three with `_TRANSITIVE`. (For Apicurio, `NONE` means that the subject has no rule
    /// of its own and the registry's rule applies.)
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), Error> {
        let what = format!("the compatibility rule {level} for subject {subject}");
        let body = json!({"compatibility": level});
        self.0.http.put::<Value>(&["config", subject], &body, &what).await.map(drop)
    }

    /// Succeeds when the registry answers, and answers as a registry.
    pub async fn ping(&self) -> Result<(), Error> {
        self.0.http.get::<Vec<Value>>(&["schemas", "types"], "list of schema types").await.map(drop)
    }

    /// The schema texts of `ids`, in their order, each with its own error. An error of the whole
    /// call is one of the environment or the configuration and says nothing about any id.
    pub(crate) async fn texts(&self, ids: &[u32]) -> Result<Vec<Result<Arc<str>, Error>>, Error> {
        let mut answers: HashMap<u32, Result<Arc<str>, Error>> = HashMap::new();
        let mut delays = RETRY_DELAYS.iter();
        let mut open = ids.to_vec();
        loop {
            for id in &open {
                answers.insert(*id, self.text_or_own_error(*id).await?);
            }
            open.retain(|id| {
                matches!(answers.get(id), Some(Err(Error::NotFound { .. })))
                    && !self.cache().is_missing(*id)
            });
            // An id that was missing before is not retried: it had enough time to appear, and the
            // other records of the batch wait.
            let again: Vec<u32> = open.extract_if(.., |id| self.cache().was_missing(*id)).collect();
            self.remember_missing(&again);
            match delays.next() {
                Some(delay) if !open.is_empty() => sleep(*delay).await,
                _ => break,
            }
        }
        self.remember_missing(&open);
        Ok(ids.iter().map(|id| answers.remove(id).unwrap_or_else(|| Err(not_found(*id)))).collect())
    }

    /// The text of schema `id`, or the error that is due to this id.
    async fn text_or_own_error(&self, id: u32) -> Result<Result<Arc<str>, Error>, Error> {
        if self.cache().is_missing(id) {
            return Ok(Err(not_found(id)));
        }
        match self.text(id).await {
            Err(error @ (Error::NotFound { .. } | Error::Invalid { .. })) => Ok(Err(error)),
            Err(other) => Err(other),
            Ok(text) => Ok(Ok(text)),
        }
    }

    /// The text of schema `id`, with referenced types included.
    async fn text(&self, id: u32) -> Result<Arc<str>, Error> {
        if let Some(text) = self.cached(id) {
            return Ok(text);
        }
        let _fetching = self.0.fetching.lock().await;
        if let Some(text) = self.cached(id) {
            return Ok(text);
        }
        let what = format!("schema {id}");
        let stored: StoredSchema =
            self.0.http.get(&["schemas", "ids", &id.to_string()], &what).await?;
        let text: Arc<str> = stored.complete_text(&self.0.http, &what).await?.into();
        self.cache().insert(id, text.clone());
        Ok(text)
    }

    /// Never held across an await. A panic of another thread leaves the cache consistent.
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached(&self, id: u32) -> Option<Arc<str>> {
        self.cache().text(id)
    }

    fn remember_missing(&self, ids: &[u32]) {
        self.cache().remember_missing(ids, Instant::now() + MISSING_ID_TTL);
    }
}

fn parsed(text: &str, what: &str) -> Result<Schema, Error> {
    Schema::parse(text).map_err(|e| Error::Invalid { what: what.into(), why: e.to_string() })
}

fn not_found(id: u32) -> Error {
    Error::NotFound { what: format!("schema {id}") }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<&str> = self.0.endpoints.list().iter().map(|e| e.url.as_str()).collect();
        write!(f, "Registry({})", urls.join(", "))
    }
}

#[cfg(test)]
impl Registry {
    /// A registry that has these schemas cached and is unavailable for everything else.
    pub(crate) fn with_cached(texts: &[(u32, &str)]) -> Registry {
        let urls = vec![weir_model::secret::Secret::new("http://127.0.0.1:9")];
        let registry = Registry::new(Settings { urls, ..Settings::default() }).unwrap();
        for (id, text) in texts {
            registry.cache().insert(*id, Arc::from(*text));
        }
        registry
    }

    /// The same, with `missing` taken as missing for a while.
    pub(crate) fn with_missing(self, missing: &[u32]) -> Registry {
        self.remember_missing(missing);
        self
    }
}

#[cfg(test)]
mod tests;
