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
//! A schema that weir reads or writes is a record of plain values, each optional or not. Records of
//! *other* programs may have arrays, maps, records and unions in fields that weir's schema does not
//! have; these are validated and skipped.

mod avro_type;
mod cast;
mod cell;
mod columns;
mod convert;
mod datum;
mod decode;
mod diff;
mod encode;
mod error;
mod field_type;
mod frame;
mod named_types;
mod physical;
pub mod registry;
mod resolve;
mod schema;
mod text;
mod to_physical;
mod validate;
mod writer;

pub use cast::{CastBatch, cast};
pub use cell::{Cell, ColumnBuilder};
pub use decode::{Decoded, Decoder};
pub use diff::diff;
pub use encode::{Encoded, Encoder};
pub use error::Error;
pub use field_type::FieldType;
pub use registry::Registry;
pub use schema::{Reference, Schema};

#[cfg(test)]
mod oracle;
