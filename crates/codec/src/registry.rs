//! The Schema Registry, through Confluent's REST interface.
//!
//! Successes are cached, since what an id means never changes. Errors are not, with one exception:
//! that an id does not exist is believed for [`MISSING_FOR`], the first time after it was asked for
//! repeatedly, so that a topic full of foreign bytes becomes neither a storm of requests nor a row
//! of pauses. A plain 404 is not such an answer: a wrong path or a gateway says 404 as well, and no
//! record may be lost to that.

pub(crate) mod error;
mod http;

pub use error::Error;

use crate::schema::Schema;
use apache_avro::Schema as Avro;
use http::Http;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long "no such id" is believed without asking again.
pub const MISSING_FOR: Duration = Duration::from_secs(10);
/// Pauses before an answer that others may just be changing is asked for again: an id that was
/// registered a moment ago on another node, a subject that somebody else is creating.
const ASK_AGAIN: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];
/// Schema texts, and missing ids, kept at most.
const MAX_CACHED: usize = 1024;
/// Schemas that one schema may refer to, directly or not.
const MAX_REFERENCES: usize = 64;

/// A client of one registry; clones share its cache and its connections.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    http: Http,
    cache: Mutex<Cache>,
    /// Held while schemas are fetched, so that workers who meet a new id together ask once.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Cache {
    documents: HashMap<u32, Arc<str>>,
    missing: HashMap<u32, Instant>,
}

/// A schema as the registry stores it.
#[derive(Deserialize)]
struct StoredDeadLetter {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    references: Option<Vec<Reference>>,
}

#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: u32,
}

impl Registry {
    /// A client for `[registry]`; does not connect.
    pub fn new(registry: &weir_model::pipeline::Registry) -> Result<Registry, Error> {
        let http = Http::new(&registry.url)?;
        Ok(Registry(Arc::new(Inner {
            http,
            cache: Mutex::default(),
            fetching: tokio::sync::Mutex::new(()),
        })))
    }

    /// The schema with this id, which must be one that weir can read and write whole.
    pub async fn schema(&self, id: u32) -> Result<Schema, Error> {
        let document = self.document(id).await?;
        Schema::parse(&document)
            .map_err(|e| Error::Invalid { what: format!("schema {id}"), why: e.to_string() })
    }

    /// Registers `schema` under `subject` and returns its id; the same schema again gets the same
    /// id. Safe to call by many at once: a registry may refuse the second of two first
    /// registrations that cross (Apicurio says 409, "already exists"), so a refusal is believed
    /// only when the registry's compatibility rule stands behind it, or when it stays.
    pub async fn register(&self, subject: &str, schema: &Schema) -> Result<u32, Error> {
        for pause in ASK_AGAIN {
            match self.register_once(subject, schema).await {
                Err(Error::Refused { .. })
                    if self.compatible(subject, schema).await?.is_empty() =>
                {
                    sleep(pause).await
                }
                answer => return answer,
            }
        }
        self.register_once(subject, schema).await
    }

    async fn register_once(&self, subject: &str, schema: &Schema) -> Result<u32, Error> {
        #[derive(Deserialize)]
        struct Registered {
            id: u32,
        }
        let what = format!("the schema for subject {subject}");
        let body = json!({"schema": schema.text()});
        let answer: Registered =
            self.0.http.post(&["subjects", subject, "versions"], &body, &what).await?;
        Ok(answer.id)
    }

    /// The newest version of `subject`: id, version, schema; `None` when the subject does not
    /// exist.
    pub async fn latest(&self, subject: &str) -> Result<Option<(u32, u32, Schema)>, Error> {
        #[derive(Deserialize)]
        struct Latest {
            id: u32,
            version: u32,
        }
        let what = format!("subject {subject}");
        match self.0.http.get::<Latest>(&["subjects", subject, "versions", "latest"], &what).await {
            Ok(latest) => Ok(Some((latest.id, latest.version, self.schema(latest.id).await?))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Why `schema` could not become the next version of `subject` under the registry's
    /// compatibility rule; empty when it could.
    pub async fn compatible(&self, subject: &str, schema: &Schema) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Verdict {
            is_compatible: bool,
            #[serde(default)]
            messages: Vec<String>,
            /// What Apicurio says instead of messages.
            reason: Option<String>,
        }
        let what = format!("the schema for subject {subject}");
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        match self.0.http.post::<Verdict>(&path, &json!({"schema": schema.text()}), &what).await {
            Ok(verdict) if verdict.is_compatible => Ok(Vec::new()),
            Ok(verdict) if !verdict.messages.is_empty() => Ok(verdict.messages),
            Ok(verdict) => Ok(vec![verdict.reason.unwrap_or_else(|| {
                "the registry's rule for this subject does not allow it".into()
            })]),
            Err(Error::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Sets the compatibility rule of `subject`: `NONE`, `BACKWARD`, `FORWARD`, `FULL`, or one of
    /// the latter with `_TRANSITIVE`. (Apicurio takes `NONE` for: no rule of its own, the
    /// registry's applies.)
    pub async fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), Error> {
        let what = format!("the compatibility rule {level} for subject {subject}");
        self.0
            .http
            .put::<Value>(&["config", subject], &json!({"compatibility": level}), &what)
            .await
            .map(drop)
    }

    /// Answers when the registry does, as a registry.
    pub async fn ping(&self) -> Result<(), Error> {
        self.0.http.get::<Vec<Value>>(&["schemas", "types"], "list of schema types").await.map(drop)
    }

    /// The schema texts of `ids`, in their order; an id's own fault stands in its place. The error
    /// is one of the environment or of the configuration, and says nothing about any id.
    pub(crate) async fn documents(
        &self,
        ids: &[u32],
    ) -> Result<Vec<Result<Arc<str>, Error>>, Error> {
        let mut answers: HashMap<u32, Result<Arc<str>, Error>> = HashMap::new();
        let mut pauses = ASK_AGAIN.iter();
        let mut open = ids.to_vec();
        loop {
            for id in &open {
                let answer = if self.is_missing(*id) {
                    Err(not_found(*id))
                } else {
                    self.document(*id).await
                };
                match answer {
                    Err(error @ (Error::NotFound { .. } | Error::Invalid { .. })) => {
                        answers.insert(*id, Err(error))
                    }
                    Err(other) => return Err(other),
                    Ok(document) => answers.insert(*id, Ok(document)),
                };
            }
            open.retain(|id| {
                matches!(answers.get(id), Some(Err(Error::NotFound { .. })))
                    && !self.is_missing(*id)
            });
            // An id that was missing before is asked for once: it had all the time in between, and
            // the batch's neighbours wait.
            let again: Vec<u32> = open.extract_if(.., |id| self.was_missing(*id)).collect();
            self.believe_missing(&again);
            match pauses.next() {
                Some(pause) if !open.is_empty() => sleep(*pause).await,
                _ => break,
            }
        }
        self.believe_missing(&open);
        Ok(ids.iter().map(|id| answers.remove(id).unwrap_or_else(|| Err(not_found(*id)))).collect())
    }

    /// The text of schema `id`, complete in itself: types it refers to are written into it.
    async fn document(&self, id: u32) -> Result<Arc<str>, Error> {
        if let Some(document) = self.cached(id) {
            return Ok(document);
        }
        let _alone = self.0.fetching.lock().await;
        if let Some(document) = self.cached(id) {
            return Ok(document);
        }
        let what = format!("schema {id}");
        let stored: StoredDeadLetter =
            self.0.http.get(&["schemas", "ids", &id.to_string()], &what).await?;
        let document: Arc<str> = self.complete(stored, &what).await?.into();
        let mut cache = self.cache();
        if cache.documents.len() >= MAX_CACHED {
            cache.documents.clear();
        }
        cache.documents.insert(id, document.clone());
        cache.missing.remove(&id);
        Ok(document)
    }

    async fn complete(&self, stored: StoredDeadLetter, what: &str) -> Result<String, Error> {
        let invalid = |why: String| Error::Invalid { what: what.into(), why };
        if let Some(kind) = stored.kind.filter(|kind| kind != "AVRO") {
            return Err(invalid(format!("its type is {kind}, not AVRO")));
        }
        let references = stored.references.unwrap_or_default();
        if references.is_empty() {
            return Ok(stored.schema);
        }
        let others = self.references(references, what).await?;
        let (mut whole, parsed) = Avro::parse_str_with_list(&stored.schema, &others)
            .map_err(|e| invalid(format!("with its references not a schema: {e}")))?;
        whole.denormalize(&parsed).map_err(|e| invalid(e.to_string()))?;
        serde_json::to_string(&whole).map_err(|e| invalid(e.to_string()))
    }

    /// The texts of all schemas referred to, directly or not, each once.
    async fn references(&self, direct: Vec<Reference>, what: &str) -> Result<Vec<String>, Error> {
        let mut seen: Vec<(String, u32)> = Vec::new();
        let mut texts = Vec::new();
        let mut open = direct;
        while let Some(reference) = open.pop() {
            let key = (reference.subject, reference.version);
            if seen.contains(&key) {
                continue;
            }
            if seen.len() == MAX_REFERENCES {
                return Err(Error::Invalid {
                    what: what.into(),
                    why: format!("it refers to more than {MAX_REFERENCES} schemas"),
                });
            }
            let version = key.1.to_string();
            let what = format!("version {version} of subject {}", key.0);
            let stored: StoredDeadLetter =
                self.0.http.get(&["subjects", &key.0, "versions", &version], &what).await?;
            texts.push(stored.schema);
            open.extend(stored.references.unwrap_or_default());
            seen.push(key);
        }
        Ok(texts)
    }

    /// Never held across an await. A panic elsewhere leaves a cache that is still true.
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.0.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached(&self, id: u32) -> Option<Arc<str>> {
        self.cache().documents.get(&id).cloned()
    }

    fn is_missing(&self, id: u32) -> bool {
        self.cache().missing.get(&id).is_some_and(|until| Instant::now() < *until)
    }

    fn was_missing(&self, id: u32) -> bool {
        self.cache().missing.contains_key(&id)
    }

    fn believe_missing(&self, ids: &[u32]) {
        let until = Instant::now() + MISSING_FOR;
        let mut cache = self.cache();
        if cache.missing.len() + ids.len() > MAX_CACHED {
            cache.missing.clear();
        }
        cache.missing.extend(ids.iter().take(MAX_CACHED).map(|id| (*id, until)));
    }
}

fn not_found(id: u32) -> Error {
    Error::NotFound { what: format!("schema {id}") }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({})", self.0.http.shown())
    }
}

#[cfg(test)]
impl Registry {
    /// A registry that knows these schemas and is away for every other question.
    pub(crate) fn holding(documents: &[(u32, &str)]) -> Registry {
        let url = weir_model::secret::Secret::new("http://127.0.0.1:9");
        let registry = Registry::new(&weir_model::pipeline::Registry { url }).unwrap();
        registry
            .cache()
            .documents
            .extend(documents.iter().map(|(id, text)| (*id, Arc::from(*text))));
        registry
    }

    /// The same, and certain for a while that `missing` do not exist.
    pub(crate) fn lacking(self, missing: &[u32]) -> Registry {
        self.believe_missing(missing);
        self
    }
}

#[cfg(test)]
mod tests;
