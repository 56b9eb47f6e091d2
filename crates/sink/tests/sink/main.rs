//! The sink against the real Kafka, Schema Registry and PostgreSQL.

mod suite;
mod warehouse;
mod world;
