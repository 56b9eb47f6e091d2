//! The sink: output topic → target.
//!
//! The promise: every record of the output topic is in the target exactly once, or in the target's
//! dead letters with its original bytes. Rows, dead letters, position and counters are one
//! transaction of the target; it begins with a compare-and-set on fence and position, so a sink
//! that was replaced writes nothing; and only a confirmed commit counts
//! (`tests/sink/warehouse.rs`).
//!
//! `pipeline.rs` is the path of a batch on one screen; the targets are the crate weir-store.

pub mod config;
pub mod deletes;
mod dependency_health;
pub mod error;
mod lineage_order;
pub mod metrics;
mod part;
mod partition_control;
mod pending_write;
mod pipeline;
mod service;
mod status;
mod worker;

pub use config::{Options, check};
pub use error::Error;
pub use service::{OpenTarget, run, run_targets};
