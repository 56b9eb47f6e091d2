//! The producer: source → input topic.
//!
//! The promise: every record of the source is in the input topic exactly once, or in the dead
//! letters with its original bytes, whatever dies in between. The position in the source is written
//! in the transaction of the records before it; each partition of the source has a transactional
//! producer of its own, which fences the one before it; and only a definite success counts
//! (`tests/exactly_once.rs`). Every kind of source keeps the promises of `tests/sources.rs`;
//! `tests/custom_source.rs` shows what a source may do beyond the built-in kinds.
//!
//! `pipeline.rs` is the path of a batch on one screen, [`source`] contains the kinds of sources.

pub mod config;
mod encode;
pub mod error;
mod membership;
pub mod metrics;
mod pace;
mod pipeline;
mod service;
pub mod source;
mod source_partition;
mod status;
mod worker;
mod written_before;

pub use config::{Options, check};
pub use error::Error;
pub use service::{run, run_source};
pub use source::synthetic;
