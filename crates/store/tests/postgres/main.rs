//! The store against a real PostgreSQL.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

mod extremes;
mod fixture;
mod order;
mod pooler;
mod positions;
mod refusals;
mod restored;
mod table_check;
mod tls;
mod write;
