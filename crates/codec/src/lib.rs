//! Avro ↔ Arrow, the Schema Registry's framing of records, and the registry itself.
//!
//! The promise: [`Decoder`] turns a batch of framed records into Arrow columns of the reader's
//! schema, and any bytes that are not exactly one record of their writer's schema become a
//! [`weir_model::fault::Fault`] of that record alone, with the place in bytes and the field;
//! neighbours are untouched (the tests of the module `decode` hold this against apache-avro). A
//! registry that is away is an error of the whole call, and consumes nothing. [`Encoder`] is the
//! way back; [`fit`] stands before it, because an encoder believes what it gets.
//!
//! Columns, not trees: a schema that weir reads or writes is a record of plain values, each
//! optional or not. Records of *other* programs may carry arrays, maps, records and unions in
//! fields that weir's schema does not name; they are checked and passed over.

mod cast;
mod columns;
mod convert;
mod decode;
mod diff;
mod encode;
mod error;
mod frame;
mod physical;
pub mod registry;
mod resolve;
mod schema;
mod shape;
mod validate;
mod writer;

pub use cast::cast;
pub use decode::{Decoded, Decoder};
pub use diff::diff;
pub use encode::{Encoded, Encoder};
pub use error::Error;
pub use registry::Registry;
pub use schema::Schema;

#[cfg(test)]
mod oracle;
