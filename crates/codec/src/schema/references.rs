//! Schemas that refer to types of other schemas.

use crate::error::Error;
use apache_avro::Schema as Avro;
use serde_json::{Map, Value};
use std::path::Path;

/// Most levels of files that refer to files.
const MAX_DEPTH: usize = 16;

/// A schema whose type is used by name in another schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The full name of the type.
    pub name: String,
    /// The subject under which the registry stores it.
    pub subject: String,
    /// Its text.
    pub schema: String,
    /// The schemas that it refers to itself.
    pub references: Vec<Reference>,
}

/// `text` with the types of `references` included.
pub(super) fn inline(text: &str, references: &[Reference]) -> Result<String, Error> {
    let mut all = Vec::new();
    collect(references, &mut all);
    let texts: Vec<&str> = all.iter().map(|reference| reference.schema.as_str()).collect();
    with_referenced_types(text, &texts).map_err(Error::schema)
}

/// Each reference once, direct or not.
fn collect<'a>(references: &'a [Reference], all: &mut Vec<&'a Reference>) {
    for reference in references {
        if all.iter().all(|known| known.name != reference.name) {
            all.push(reference);
            collect(&reference.references, all);
        }
    }
}

/// The schema `text` with the types that `others` define included.
pub(crate) fn with_referenced_types(text: &str, others: &[&str]) -> Result<String, String> {
    let (mut whole, parsed) = Avro::parse_str_with_list(text, others)
        .map_err(|e| format!("not an Avro schema together with its references: {e}"))?;
    whole.denormalize(&parsed).map_err(|e| e.to_string())?;
    serde_json::to_string(&whole).map_err(|e| e.to_string())
}

pub(super) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.into(), source })
}

/// The references of the schema `text`, from the files beside `path`.
pub(super) fn load(path: &Path, text: &str) -> Result<Vec<Reference>, Error> {
    load_level(path, text, &mut Vec::new())
}

/// `enclosing` has the names of the types whose files are being read.
fn load_level(
    path: &Path,
    text: &str,
    enclosing: &mut Vec<String>,
) -> Result<Vec<Reference>, Error> {
    // A text that is not JSON is reported when it is parsed.
    let Ok(json) = serde_json::from_str::<Value>(text) else { return Ok(Vec::new()) };
    let failed = |what: String| Error::schema(what).in_file(path);
    if let Some(what) = misplaced_kind(&json) {
        return Err(failed(what));
    }
    let mut references = Vec::new();
    for name in undefined_types(&json) {
        if enclosing.contains(&name) || enclosing.len() == MAX_DEPTH {
            return Err(failed(format!("the references form a circle or are too deep at {name}")));
        }
        let file = path.with_file_name(format!("{name}.avsc"));
        if !file.exists() {
            return Err(failed(format!(
                "the type {name} is not defined, and there is no file {}",
                file.display()
            )));
        }
        let schema = read(&file)?;
        enclosing.push(name.clone());
        let inner = load_level(&file, &schema, enclosing)?;
        enclosing.pop();
        references.push(Reference { subject: name.clone(), name, schema, references: inner });
    }
    Ok(references)
}

/// A field whose type is the name of a kind of types, and what to write: a common mistake, since the
/// schema of the whole record has its kind in the same place.
pub(super) fn misplaced_kind(schema: &Value) -> Option<String> {
    let (fields, inner): (&[Value], Vec<&Value>) = match schema {
        Value::Array(branches) => (&[], branches.iter().collect()),
        Value::Object(object) => {
            let parts = ["type", "items", "values"].iter().filter_map(|key| object.get(*key));
            let fields = object.get("fields").and_then(Value::as_array);
            (fields.map(Vec::as_slice).unwrap_or_default(), parts.collect())
        }
        _ => (&[], Vec::new()),
    };
    let own = fields.iter().find_map(|field| {
        let kind = field.get("type")?.as_str()?;
        let more = match kind {
            "array" => r#""items": …"#,
            "map" => r#""values": …"#,
            "enum" => r#""name": …, "symbols": […]"#,
            "record" | "error" => r#""name": …, "fields": […]"#,
            "fixed" => r#""name": …, "size": …"#,
            _ => return None,
        };
        let name = field.get("name").and_then(Value::as_str).unwrap_or_default();
        Some(format!(
            r#"field `{name}`: a type "{kind}" is an object of its own: "type": {{"type": "{kind}", {more}}}"#
        ))
    });
    own.or_else(|| fields.iter().chain(inner).find_map(misplaced_kind))
}

/// Full names of the types that a schema uses but does not define, in the order of their use.
fn undefined_types(schema: &Value) -> Vec<String> {
    let mut names = TypeNames::default();
    names.visit(schema, "");
    names.used.retain(|name| !names.defined.contains(name));
    names.used
}

#[derive(Default)]
struct TypeNames {
    defined: Vec<String>,
    used: Vec<String>,
}

impl TypeNames {
    fn visit(&mut self, schema: &Value, namespace: &str) {
        match schema {
            Value::String(name) if !is_primitive(name) => {
                let name = full_name(name, namespace);
                if !self.used.contains(&name) {
                    self.used.push(name);
                }
            }
            Value::Array(branches) => branches.iter().for_each(|b| self.visit(b, namespace)),
            Value::Object(object) => self.visit_object(object, namespace),
            _ => {}
        }
    }

    fn visit_object(&mut self, object: &Map<String, Value>, namespace: &str) {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        match text("type") {
            Some("record" | "error" | "enum" | "fixed") => {
                let namespace = text("namespace").unwrap_or(namespace);
                let name = full_name(text("name").unwrap_or_default(), namespace);
                let inner =
                    name.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_string();
                self.defined.push(name);
                let fields = object.get("fields").and_then(Value::as_array);
                for field_type in fields.into_iter().flatten().filter_map(|f| f.get("type")) {
                    self.visit(field_type, &inner);
                }
            }
            Some("array") => self.visit(object.get("items").unwrap_or(&Value::Null), namespace),
            Some("map") => self.visit(object.get("values").unwrap_or(&Value::Null), namespace),
            _ => self.visit(object.get("type").unwrap_or(&Value::Null), namespace),
        }
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.into()
    } else {
        format!("{namespace}.{name}")
    }
}

fn is_primitive(name: &str) -> bool {
    matches!(name, "null" | "boolean" | "int" | "long" | "float" | "double" | "bytes" | "string")
}
