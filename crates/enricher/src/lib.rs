//! The enricher: input topic → reject rules, lookups and SQL → output topic.
//!
//! The promise: every record of the input topic is exactly once in the output topic, in the dead
//! letters with its original bytes, or in the count of those that the pipeline's SQL filtered.
//! Records, dead letters, offsets and counters are one Kafka transaction; a record that cannot be
//! decoded or is refused does not affect its neighbours; and if the registry or the broker is
//! unavailable, the enricher waits (`tests/enricher/`). The records emitted from one partition form
//! one unbroken lineage.
//!
//! `pipeline.rs` is the path of a batch on one screen.

pub use weir_model::breaker;
mod batch;
pub mod config;
mod enrich;
pub mod error;
mod lineage;
pub mod metrics;
mod partition_control;
mod pipeline;
mod service;
mod status;
mod worker;

pub use config::{Options, check};
pub use error::Error;
pub use service::run;
