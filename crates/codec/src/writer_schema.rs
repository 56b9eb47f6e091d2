//! The schema of records that some program writes.

use crate::avro_type::{Field, Record};
use crate::error::Error;
use crate::named_types::{Resolved, resolve};
use crate::schema::parse_avro;
use apache_avro::Schema as Avro;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Any Avro record schema. Unlike [`crate::Schema`], it may have fields of which weir can make no
/// column: recursive types, say, which a reader skips.
pub struct WriterSchema {
    text: String,
    /// The full name of the record.
    name: String,
    resolved: Resolved,
}

impl WriterSchema {
    /// Parses a schema text (JSON) that defines all types that it uses.
    ///
    /// # Errors
    /// When it is not Avro, not a record, or beyond a limit.
    pub fn parse(text: &str) -> Result<WriterSchema, Error> {
        WriterSchema::of(&parse_avro(text)?, text)
    }

    pub(crate) fn of(avro: &Avro, text: &str) -> Result<WriterSchema, Error> {
        let name = avro.name().map(|name| name.fullname(None)).unwrap_or_default();
        Ok(WriterSchema { text: text.into(), name, resolved: resolve(avro)? })
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.resolved.fields
    }

    /// The record types that contain themselves.
    pub(crate) fn recursive(&self) -> &HashMap<Arc<str>, Arc<Record>> {
        &self.resolved.recursive
    }
}

impl fmt::Debug for WriterSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.fields().iter().map(|field| &field.name).collect();
        write!(f, "WriterSchema({names:?})")
    }
}
