//! The real components for tests, the demo and the benchmarks: Kafka, a Schema Registry and
//! PostgreSQL as child processes on free ports, with their own data. They are removed when their
//! owner ends, however it ends (`tests/stack.rs` proves it). Also what a test of a data path needs:
//! real service processes to kill, a proxy to cut, topics and tables to read.

pub mod cache;
pub mod database;
pub mod http;
mod ports;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod service;
pub mod stack;
pub mod topics;
pub mod wait;

pub use database::Database;
pub use proxy::Proxy;
pub use service::{Program, Service};
pub use stack::{Component, Options, Stack};
pub use topics::Topics;
pub use wait::{random_name, wait_until};
