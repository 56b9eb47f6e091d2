//! Avro ↔ Arrow, the Confluent wire format of records, and the Schema Registry.
//!
//! The promise: [`Decoder`] turns a batch of framed records into Arrow columns of the reader's
//! schema. Bytes that are not exactly one record of their writer's schema become a
//! [`weir_model::fault::Fault`] of that record, with the position in bytes and the field; no other
//! record is affected (the tests of the module `decode` compare with apache-avro, those in
//! `tests/registry.rs` with the decoder of `schema_registry_converter`). While the registry is
//! unavailable, the whole call fails and nothing is consumed. [`Encoder`] is the way back; [`cast`]
//! prepares its batches, because an encoder does not check values.
//!
//! [`InputDecoder`] reads what other programs write: Avro, Protobuf or JSON ([`JsonDecoder`]), rows or
//! change events of Debezium; [`KeyDecoder`] their keys.
//!
//! A field of another program's schema that weir's own schema does not have is checked and skipped,
//! whatever its type.

mod avro_type;
mod cast;
mod cell;
mod column;
mod columns;
mod connect;
mod container;
mod datum;
mod debezium;
mod decode;
mod diff;
mod encode;
mod error;
mod field_type;
mod frame;
mod input;
mod json;
mod json_decoder;
mod named_types;
mod problem;
mod protobuf;
mod read;
pub mod registry;
mod schema;
mod schema_id;
mod text;
mod walk;
mod write;
mod writer;
mod writer_schema;

pub use cast::{CastBatch, cast};
pub use cell::Cell;
pub use column::ColumnBuilder;
pub use container::{Block, BlockRecords, Container, ContainerError, container_schema};
pub use debezium::Changes;
pub use decode::{Decoded, Decoder};
pub use diff::{Losses, diff, losses};
pub use encode::{Encoded, Encoder};
pub use error::Error;
pub use field_type::FieldType;
pub use frame::{SchemaHeaders, of_rows};
pub use input::{InputBatch, InputDecoder, KeyDecoder, KeyType, check_input, losses_of_input};
pub use json::{JsonObject, JsonRules, Misfit, similar_name, without_place};
pub use json_decoder::JsonDecoder;
pub use problem::Problem;
pub use registry::Registry;
pub use schema::{Reference, Schema};
pub use text::TextFormat;
pub use writer_schema::WriterSchema;

#[cfg(test)]
mod oracle;
