//! What an operator asks of a pipeline, as data: is every record accounted for ([`verdict()`],
//! [`deep`]), which positions lie outside their log ([`skip`]), which records are dead letters and
//! how they come back ([`dead`]), how far the readers are ([`topics`]).
//!
//! Nothing here prints: `weir` does. The promise: an answer is computed from what Kafka and the
//! targets hold, never from what a service remembers, and nothing is changed but by
//! [`skip::accept`] and [`dead::replay`], each on record in the transaction that makes the change
//! (`crates/cli/tests`).

pub mod counts;
pub mod dead;
pub mod deep;
mod error;
pub mod format;
mod lineage;
pub mod skip;
pub mod topics;
pub mod verdict;

pub use error::{Error, Result};
pub use verdict::Verdict;

use weir_model::pipeline::Pipeline;

/// Compares the counts of all hops; the pipeline may run in the meantime.
///
/// # Errors
/// When the broker or a target is unavailable.
pub async fn verdict(pipeline: &Pipeline) -> Result<Verdict> {
    counts::read(pipeline).await?.verdict(pipeline)
}

/// Whether every hop has read all that the one before it wrote, by their counts alone.
///
/// # Errors
/// When the broker or a target is unavailable.
pub async fn arrived(pipeline: &Pipeline) -> Result<bool> {
    let counts = counts::read(pipeline).await?;
    Ok(counts.arrived() && (pipeline.source.is_some() || counts.verdict(pipeline)?.nothing_waits()))
}
