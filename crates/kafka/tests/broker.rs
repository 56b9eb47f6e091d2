//! The crate's promises against a real broker.

#[path = "broker/consumer.rs"]
mod consumer;
#[path = "broker/support.rs"]
mod support;
#[path = "broker/topics.rs"]
mod topics;
#[path = "broker/unit.rs"]
mod unit;
