//! The store against a real PostgreSQL.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

mod fixture;
mod positions;
mod table_check;
mod write;
