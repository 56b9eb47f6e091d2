//! The operator's questions about a pipeline, answered as data: is every record accounted for
//! ([`verdict()`], [`deep`]), which positions are outside their log ([`skip`]), which records are
//! dead letters and how they are replayed ([`dead`]), how far behind the readers are ([`topics`]).
//!
//! Nothing here prints; `weir` does. Answers are computed from the content of Kafka and the
//! targets, never from the memory of a service. Only [`skip::accept`] and [`dead::replay`] change
//! anything, and they record the change in the same transaction (`crates/cli/tests`).

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

/// Compares the counts of all hops. The pipeline may be running.
///
/// # Errors
/// When the broker or a target is unavailable.
pub async fn verdict(pipeline: &Pipeline) -> Result<Verdict> {
    counts::read(pipeline).await?.verdict(pipeline)
}

/// Whether every hop has read everything that the hop before it wrote, according to the counts.
///
/// # Errors
/// When the broker or a target is unavailable.
pub async fn arrived(pipeline: &Pipeline) -> Result<bool> {
    let counts = counts::read(pipeline).await?;
    Ok(counts.arrived() && (pipeline.source.is_some() || counts.verdict(pipeline)?.nothing_waits()))
}
