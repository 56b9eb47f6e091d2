//! How a record names its schema in the registry.

use crate::datum::uuid_text;
use std::fmt;

/// What the registry calls a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SchemaId {
    /// Unique in one registry.
    Number(u32),
    /// Unique everywhere, since Confluent Platform 8.
    Guid([u8; 16]),
}

impl From<u32> for SchemaId {
    fn from(id: u32) -> SchemaId {
        SchemaId::Number(id)
    }
}

/// As a name in a sentence.
impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaId::Number(id) => write!(f, "schema {id}"),
            SchemaId::Guid(guid) => write!(f, "schema {}", uuid_text(guid)),
        }
    }
}
