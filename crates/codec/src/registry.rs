//! The Schema Registry, through Confluent's REST interface.
//!
//! A schema id never changes its meaning, so schemas are cached. Of errors only those are that
//! belong to an id (the table in the module `verdict` says which), and only for a while: see
//! [`MISSING_ID_TTL`]. So a topic full of foreign bytes causes neither a storm of requests nor a
//! pause per batch. What is in the way of the registry is never taken for its answer.
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
mod verdict;

pub use cache::MISSING_ID_TTL;
pub use error::Error;
pub use settings::Settings;
pub(crate) use stored::{ProtobufText, SchemaText};

use crate::datum::uuid_text;
use crate::problem::Problem;
use crate::protobuf;
use crate::schema::Schema;
use crate::schema_id::SchemaId;
use crate::writer_schema::WriterSchema;
use cache::{Cache, RECHECK};
use converter::Converter;
use endpoint::Endpoints;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::Http;
use serde::Deserialize;
use serde_json::{Value, json};
use settings::Timeouts;
use std::collections::HashMap;
use std::fmt;
use std::iter::repeat;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use stored::StoredSchema;
use tokio::time::{sleep, timeout};

/// Pauses before repeating a request whose answer may change at any moment: an id that was just
/// registered on another node, a subject that another service is creating.
const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];

/// Most ids that one call asks for at a time.
const MAX_CONCURRENT: usize = 32;

/// Locks for fetching, each for some ids.
const NUM_FETCHING: usize = 256;

/// A client of one registry; clones share its cache and its connections.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    endpoints: Arc<Endpoints>,
    http: Http,
    converter: Converter,
    cache: Mutex<Cache>,
    /// By id: held while a schema is fetched, so that workers that meet a new id together fetch it
    /// once.
    fetching: [tokio::sync::Mutex<()>; NUM_FETCHING],
}

/// The latest version of a subject.
#[derive(Debug)]
pub struct LatestSchema {
    /// The schema's id, as it is written in records.
    pub id: u32,
    /// The version within the subject, from 1.
    pub version: u32,
    /// The schema, with referenced types included. Whoever registered it may have used types that
    /// weir does not read.
    pub schema: WriterSchema,
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
            fetching: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
        })))
    }

    /// The schema with this id, which must be one that weir can both read and write.
    pub async fn schema(&self, id: u32) -> Result<Schema, Error> {
        let what = format!("schema {id}");
        let text = self.text(id.into()).await?;
        Schema::parse(text.avro(&what)?).map_err(|e| invalid(&e, &what))
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
        let what = format!("subject {subject}");
        let Some((id, version, text)) = self.latest_text(subject).await? else { return Ok(None) };
        let schema = WriterSchema::parse(text.avro(&what)?).map_err(|e| invalid(&e, &what))?;
        Ok(Some(LatestSchema { id, version, schema }))
    }

    /// The latest version of `subject`, and why its first message in Protobuf cannot be read as
    /// `reader`; `None` when the subject does not exist.
    pub async fn latest_message(
        &self,
        subject: &str,
        reader: &Schema,
    ) -> Result<Option<(u32, Vec<Problem>)>, Error> {
        let what = format!("subject {subject}");
        let Some((_, version, text)) = self.latest_text(subject).await? else { return Ok(None) };
        Ok(Some((version, protobuf::problems(text.protobuf(&what)?, reader))))
    }

    /// Id, version and text of the latest version.
    async fn latest_text(&self, subject: &str) -> Result<Option<(u32, u32, SchemaText)>, Error> {
        let registered = match self.0.converter.latest(subject).await {
            Ok(registered) => registered,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let what = format!("subject {subject}");
        let (id, version) = (registered.id, registered.version);
        let version = version.ok_or_else(|| {
            let why = "the registry does not say which version is the latest".into();
            Error::Invalid { reason: "bad_schema", what: what.clone(), why }
        })?;
        let text = StoredSchema::from(registered).complete(&self.0.http, &what).await?;
        Ok(Some((id, version, text)))
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

    /// Asks for the schemas of `ids` that are not known yet, several at a time; returns the errors of
    /// those that have no usable schema. Afterwards [`Registry::text`] has the others at hand.
    ///
    /// # Errors
    /// An error of the whole call is one of the environment or the configuration and says nothing
    /// about any id. When not all are answered `within` this time, it is [`Error::Unavailable`];
    /// what was answered is remembered, so that repeated calls come to an end.
    pub(crate) async fn look_up(
        &self,
        ids: &[SchemaId],
        within: Duration,
    ) -> Result<HashMap<SchemaId, Error>, Error> {
        match timeout(within, self.look_up_all(ids)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Unavailable {
                url: self.urls(),
                why: format!(
                    "it did not answer for all of {} schema ids within {} s; \
                     those that are left are asked for again",
                    ids.len(),
                    within.as_secs_f64()
                ),
            }),
        }
    }

    async fn look_up_all(&self, ids: &[SchemaId]) -> Result<HashMap<SchemaId, Error>, Error> {
        let mut errors = HashMap::new();
        let mut open = ids.to_vec();
        let mut delays = RETRY_DELAYS.into_iter().chain(repeat(RECHECK));
        loop {
            for (id, error) in self.errors_of(&open).await? {
                match error {
                    Some(error) => drop(errors.insert(id, error)),
                    None => drop(errors.remove(&id)),
                }
            }
            open.retain(|id| errors.contains_key(id) && may_exist(*id));
            open.retain(|id| !self.cache().is_decided(*id));
            if open.is_empty() {
                return Ok(errors);
            }
            // A few are asked for again soon; of many, each costs the registry one more request.
            let soon = delays.next().filter(|_| open.len() <= MAX_CONCURRENT);
            sleep(soon.unwrap_or(RECHECK)).await;
        }
    }

    /// Asks for `ids` and returns each with its own error, if it has one.
    async fn errors_of(&self, ids: &[SchemaId]) -> Result<Vec<(SchemaId, Option<Error>)>, Error> {
        stream::iter(ids.iter().copied())
            .map(|id| async move {
                match self.text(id).await {
                    Ok(_) => Ok((id, None)),
                    Err(error) if error.reason().is_some() => Ok((id, Some(error))),
                    Err(other) => Err(other),
                }
            })
            .buffer_unordered(MAX_CONCURRENT)
            .try_collect()
            .await
    }

    /// The schema with everything that it refers to. Asks once at most.
    pub(crate) async fn text(&self, id: SchemaId) -> Result<Arc<SchemaText>, Error> {
        if !may_exist(id) {
            return Err(not_found(id));
        }
        if let Some(answer) = self.known(id) {
            return answer;
        }
        let number = match id {
            SchemaId::Number(id) => id as usize,
            SchemaId::Guid(guid) => usize::from(guid[15]),
        };
        let _fetching = self.0.fetching[number % NUM_FETCHING].lock().await;
        if let Some(answer) = self.known(id) {
            return answer;
        }
        match self.fetch(id).await {
            Ok(text) => {
                let text = Arc::new(text);
                self.cache().insert(id, text.clone());
                Ok(text)
            }
            Err(error) => {
                if error.reason().is_some() {
                    self.cache().insert_error(id, &error, Instant::now());
                }
                // Ids that do not exist come by the thousand; a schema that cannot be used does not.
                if matches!(error, Error::Invalid { .. } | Error::Withheld { .. }) {
                    tracing::warn!(schema = %id, %error, "records of this schema cannot be read");
                }
                Err(error)
            }
        }
    }

    async fn fetch(&self, id: SchemaId) -> Result<SchemaText, Error> {
        let what = id.to_string();
        let (of, name) = match id {
            SchemaId::Number(id) => ("ids", id.to_string()),
            SchemaId::Guid(guid) => ("guids", uuid_text(&guid)),
        };
        let stored = self.0.http.schema(&["schemas", of, &name], &what).await?;
        stored.complete(&self.0.http, &what).await
    }

    /// Never held across an await. A panic of another thread leaves the cache consistent.
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, id: SchemaId) -> Option<Result<Arc<SchemaText>, Error>> {
        self.cache().answer(id, Instant::now())
    }

    fn urls(&self) -> String {
        let urls: Vec<&str> = self.0.endpoints.list().iter().map(|e| e.url.as_str()).collect();
        urls.join(" or ")
    }
}

/// Whether a registry can have given this id. Ids are positive 32-bit integers with a sign; for a
/// larger one, registries answer with whatever their HTTP library says about the path.
fn may_exist(id: SchemaId) -> bool {
    match id {
        SchemaId::Number(id) => i32::try_from(id).is_ok(),
        SchemaId::Guid(_) => true,
    }
}

fn invalid(error: &crate::Error, what: &str) -> Error {
    Error::invalid(error.reason("bad_schema"), what, error.to_string())
}

fn not_found(id: SchemaId) -> Error {
    Error::NotFound { what: id.to_string() }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({})", self.urls())
    }
}

#[cfg(test)]
impl Registry {
    /// A registry that has these schemas cached and is unavailable for everything else.
    pub(crate) fn with_cached(texts: &[(u32, &str)]) -> Registry {
        let urls = vec![weir_model::secret::Secret::new("http://127.0.0.1:9")];
        let registry = Registry::new(Settings { urls, ..Settings::default() }).unwrap();
        for (id, text) in texts {
            let text = SchemaText::Avro((*text).into());
            registry.cache().insert((*id).into(), Arc::new(text));
        }
        registry
    }

    /// The same, with the schema of a GUID.
    pub(crate) fn with_guid(self, guid: [u8; 16], text: &str) -> Registry {
        self.cache().insert(SchemaId::Guid(guid), Arc::new(SchemaText::Avro(text.into())));
        self
    }

    /// A registry that has this schema of Protobuf cached under several ids.
    pub(crate) fn with_messages(ids: &[SchemaId], text: &ProtobufText) -> Registry {
        let registry = Registry::with_cached(&[]);
        for id in ids {
            let ProtobufText { text, imports } = text;
            let text = ProtobufText { text: text.clone(), imports: imports.clone() };
            registry.cache().insert(*id, Arc::new(SchemaText::Protobuf(text)));
        }
        registry
    }

    /// The same, with `missing` taken as missing for a while.
    pub(crate) fn with_missing(self, missing: &[u32]) -> Registry {
        let until = Instant::now() + MISSING_ID_TTL;
        missing.iter().for_each(|id| self.cache().insert_missing((*id).into(), until));
        self
    }
}

#[cfg(test)]
mod tests;
