//! The crate's promises against a real broker.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

#[path = "broker/consumer.rs"]
mod consumer;
#[path = "broker/replay.rs"]
mod replay;
#[path = "broker/support.rs"]
mod support;
#[path = "broker/topics.rs"]
mod topics;
#[path = "broker/transactional_producer.rs"]
mod transactional_producer;
