//! The sink: output topic → target.
//!
//! The promise: every record of the output topic is in the target exactly once, or in the target's
//! dead letters with its original bytes. Rows, dead letters, position and counters are one
//! transaction of the target; it begins with a compare-and-set on fence and position, so a sink
//! that was replaced writes nothing; and only a confirmed commit counts (`tests/warehouse.rs`).
//!
//! [`pipeline`] is the path of a batch on one screen, [`target`] the place for new kinds of
//! targets.

mod batch;
pub mod config;
mod dependency_health;
pub mod error;
pub mod metrics;
mod pending_write;
pub mod pipeline;
mod service;
mod status;
pub mod target;

pub use config::{Options, check};
pub use error::Error;
pub use service::run;
