//! Schemas as the registry stores them: a text that may refer to other schemas.

use super::Error;
use super::http::Http;
use crate::schema::with_referenced_types;
use schema_registry_converter::schema_registry_common::{RegisteredSchema, SchemaType};
use serde::Deserialize;

/// Most schemas that one schema may refer to, directly or not.
const MAX_REFERENCES: usize = 64;

#[derive(Deserialize)]
pub(super) struct StoredSchema {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    references: Option<Vec<StoredReference>>,
}

#[derive(Deserialize, PartialEq)]
struct StoredReference {
    subject: String,
    version: u32,
}

impl StoredSchema {
    /// The text with referenced types included, which are fetched. `what` names the schema in
    /// errors.
    pub(super) async fn complete_text(self, http: &Http, what: &str) -> Result<String, Error> {
        let invalid = |why: String| Error::Invalid { what: what.into(), why };
        if let Some(other) = self.schema_type.filter(|schema_type| schema_type != "AVRO") {
            return Err(invalid(format!("its type is {other}, not AVRO")));
        }
        let references = self.references.unwrap_or_default();
        if references.is_empty() {
            return Ok(self.schema);
        }
        let others = referenced_texts(http, references, what).await?;
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        with_referenced_types(&self.schema, &others).map_err(invalid)
    }
}

/// The texts of all schemas that are referred to, directly or not, each once.
async fn referenced_texts(
    http: &Http,
    direct: Vec<StoredReference>,
    what: &str,
) -> Result<Vec<String>, Error> {
    let mut seen: Vec<StoredReference> = Vec::new();
    let mut texts = Vec::new();
    let mut open = direct;
    while let Some(reference) = open.pop() {
        if seen.contains(&reference) {
            continue;
        }
        if seen.len() == MAX_REFERENCES {
            return Err(Error::Invalid {
                what: what.into(),
                why: format!("it refers to more than {MAX_REFERENCES} schemas"),
            });
        }
        let version = reference.version.to_string();
        let what = format!("version {version} of subject {}", reference.subject);
        let path = ["subjects", &reference.subject, "versions", &version];
        let stored: StoredSchema = http.get(&path, &what).await?;
        texts.push(stored.schema);
        open.extend(stored.references.unwrap_or_default());
        seen.push(reference);
    }
    Ok(texts)
}

impl From<RegisteredSchema> for StoredSchema {
    fn from(registered: RegisteredSchema) -> StoredSchema {
        let schema_type = match registered.schema_type {
            SchemaType::Avro => None,
            SchemaType::Other(other) => Some(other),
            known => Some(format!("{known:?}").to_uppercase()),
        };
        let mut references = Vec::with_capacity(registered.references.len());
        for reference in registered.references {
            let (subject, version) = (reference.subject, reference.version);
            references.push(StoredReference { subject, version });
        }
        StoredSchema { schema: registered.schema, schema_type, references: Some(references) }
    }
}
