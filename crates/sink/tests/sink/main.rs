//! The sink against the real Kafka, Schema Registry and PostgreSQL.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

mod files;
mod memory;
mod positions;
mod suite;
mod warehouse;
mod world;
