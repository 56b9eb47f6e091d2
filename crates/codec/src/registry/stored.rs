//! Schemas as the registry stores them: a text that may refer to other schemas.

use super::Error;
use super::http::Http;
use crate::schema::{MAX_TEXT_BYTES, with_referenced_types};
use schema_registry_converter::schema_registry_common::{RegisteredSchema, SchemaType};
use serde::Deserialize;

/// Most schemas that one schema may refer to, directly or not.
const MAX_REFERENCES: usize = 64;

#[derive(Debug, Deserialize)]
pub(super) struct StoredSchema {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    references: Option<Vec<StoredReference>>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct StoredReference {
    subject: String,
    version: u32,
}

impl StoredSchema {
    /// The text with referenced types included, which are fetched. `what` names the schema in
    /// errors.
    pub(super) async fn complete_text(self, http: &Http, what: &str) -> Result<String, Error> {
        if let Some(other) = self.schema_type.filter(|schema_type| schema_type != "AVRO") {
            return Err(Error::invalid("not_avro", what, format!("its type is {other}, not AVRO")));
        }
        let references = self.references.unwrap_or_default();
        if references.is_empty() {
            return Ok(self.schema);
        }
        let others = referenced_texts(http, references, self.schema.len(), what).await?;
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        with_referenced_types(&self.schema, &others)
            .map_err(|why| Error::invalid("bad_schema", what, why))
    }
}

/// The texts of all schemas that are referred to, directly or not, each once. The schema itself has
/// `num_bytes`.
async fn referenced_texts(
    http: &Http,
    direct: Vec<StoredReference>,
    mut num_bytes: usize,
    what: &str,
) -> Result<Vec<String>, Error> {
    let too_large = |why| Error::invalid("schema_too_large", what, why);
    let mut seen: Vec<StoredReference> = Vec::new();
    let mut texts = Vec::new();
    let mut open = direct;
    while let Some(reference) = open.pop() {
        if seen.contains(&reference) {
            continue;
        }
        if seen.len() == MAX_REFERENCES {
            return Err(too_large(format!("it refers to more than {MAX_REFERENCES} schemas")));
        }
        let version = reference.version.to_string();
        let part =
            format!("version {version} of subject {}, to which {what} refers", reference.subject);
        let path = ["subjects", &reference.subject, "versions", &version];
        let stored = http.schema(&path, &part).await?;
        num_bytes += stored.schema.len();
        if num_bytes > MAX_TEXT_BYTES {
            return Err(too_large(format!(
                "with the schemas that it refers to, it is longer than {MAX_TEXT_BYTES} bytes"
            )));
        }
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
