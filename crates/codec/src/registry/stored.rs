//! Schemas as the registry stores them: a text that may refer to other schemas.

use super::Error;
use super::http::Http;
use crate::schema::{MAX_TEXT_BYTES, with_referenced_types};
use schema_registry_converter::schema_registry_common::{RegisteredSchema, SchemaType};
use serde::Deserialize;

/// Most schemas that one schema may refer to, directly or not.
const MAX_REFERENCES: usize = 64;

/// A schema with everything that it refers to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SchemaText {
    /// With referenced types included.
    Avro(String),
    /// Of Protobuf.
    Protobuf(ProtobufText),
    /// Of another type, by its name.
    Other(String),
}

/// A file of Protobuf and the files that it imports, directly or not. Those that come with Protobuf
/// may not be among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ProtobufText {
    pub(crate) text: String,
    /// By the name in `import`.
    pub(crate) imports: Vec<(String, String)>,
}

impl SchemaText {
    /// The text of an Avro schema.
    pub(crate) fn avro(&self, what: &str) -> Result<&str, Error> {
        match self {
            SchemaText::Avro(text) => Ok(text),
            other => Err(other.is_not("not_avro", "AVRO", what)),
        }
    }

    /// The text of a schema of Protobuf.
    pub(crate) fn protobuf(&self, what: &str) -> Result<&ProtobufText, Error> {
        match self {
            SchemaText::Protobuf(text) => Ok(text),
            other => Err(other.is_not("not_protobuf", "PROTOBUF", what)),
        }
    }

    fn is_not(&self, reason: &'static str, expected: &str, what: &str) -> Error {
        let actual = match self {
            SchemaText::Avro(_) => "AVRO",
            SchemaText::Protobuf(_) => "PROTOBUF",
            SchemaText::Other(other) => other,
        };
        Error::invalid(reason, what, format!("its type is {actual}, not {expected}"))
    }

    /// In bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            SchemaText::Avro(text) | SchemaText::Other(text) => text.len(),
            SchemaText::Protobuf(ProtobufText { text, imports }) => {
                text.len() + imports.iter().map(|(_, text)| text.len()).sum::<usize>()
            }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct StoredSchema {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    references: Option<Vec<StoredReference>>,
}

#[derive(Debug, Deserialize, PartialEq)]
struct StoredReference {
    /// In Avro that of a type, in Protobuf that of a file.
    #[serde(default)]
    name: String,
    subject: String,
    version: u32,
}

impl StoredSchema {
    /// With everything that it refers to, which is fetched. `what` names the schema in errors.
    pub(super) async fn complete(self, http: &Http, what: &str) -> Result<SchemaText, Error> {
        let is_avro = match self.schema_type.as_deref() {
            None | Some("AVRO") => true,
            Some("PROTOBUF") => false,
            Some(other) => return Ok(SchemaText::Other(other.into())),
        };
        let references = self.references.unwrap_or_default();
        let others = referenced_texts(http, references, self.schema.len(), what).await?;
        if !is_avro {
            return Ok(SchemaText::Protobuf(ProtobufText { text: self.schema, imports: others }));
        }
        if others.is_empty() {
            return Ok(SchemaText::Avro(self.schema));
        }
        let others: Vec<&str> = others.iter().map(|(_, text)| text.as_str()).collect();
        with_referenced_types(&self.schema, &others)
            .map(SchemaText::Avro)
            .map_err(|why| Error::invalid("bad_schema", what, why))
    }
}

/// The names and the texts of all schemas that are referred to, directly or not, each once. The
/// schema itself has `num_bytes`.
async fn referenced_texts(
    http: &Http,
    direct: Vec<StoredReference>,
    mut num_bytes: usize,
    what: &str,
) -> Result<Vec<(String, String)>, Error> {
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
        texts.push((reference.name.clone(), stored.schema));
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
            let (name, subject, version) = (reference.name, reference.subject, reference.version);
            references.push(StoredReference { name, subject, version });
        }
        StoredSchema { schema: registered.schema, schema_type, references: Some(references) }
    }
}
