//! The operator's questions about a pipeline, answered as data: is every record accounted for
//! ([`verdict()`], [`deep`]), which positions are outside their log ([`skip`]), which records are
//! dead letters and how they are replayed ([`dead`]), how far behind the readers are ([`topics`]).
//!
//! Nothing here prints; `weir` does. Answers are computed from the content of Kafka and the
//! targets, never from the memory of a service. Only [`skip::accept`] and [`dead::replay`] change
//! anything, and they record the change in the same transaction (`crates/cli/tests`).

pub mod content;
pub mod counts;
pub mod dead;
pub mod deep;
mod ends;
mod error;
mod evidence;
pub mod format;
mod halts;
mod identity;
mod lineage;
mod offset_set;
pub mod skip;
pub mod topics;
pub mod verdict;

pub use error::{Error, Result};
pub use verdict::Verdict;

use std::collections::BTreeMap;
use weir_model::pipeline::Pipeline;

/// Compares the counts of all hops. The pipeline may be running.
///
/// # Errors
/// When the broker or a target is unavailable.
pub async fn verdict(pipeline: &Pipeline) -> Result<Verdict> {
    let counts = counts::read(pipeline).await?;
    let mut verdict = counts.verdict(pipeline, &foreign(pipeline).await?)?;
    halts::add(pipeline, &mut verdict).await?;
    Ok(verdict)
}

/// The dead letters of each sink that did not come through the pipeline.
async fn foreign(pipeline: &Pipeline) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for sink in &pipeline.sinks {
        let reasons = weir_store::reader::open(pipeline, sink)?.dead_letter_reasons().await?;
        let foreign = reasons.iter().filter(|reason| FOREIGN.contains(&reason.reason.as_str()));
        found.insert(sink.name.clone(), foreign.map(|reason| reason.count).sum());
    }
    Ok(found)
}

/// The reasons of a sink's dead letters that no enricher wrote, or that are in the topic a second
/// time.
pub(crate) const FOREIGN: [&str; 2] = ["no_lineage", "foreign_lineage"];

/// Whether every hop has read everything that the hop before it wrote, according to the counts.
///
/// # Errors
/// When the broker or a target is unavailable.
pub async fn arrived(pipeline: &Pipeline) -> Result<bool> {
    let counts = counts::read(pipeline).await?;
    Ok(counts.arrived() && (counts.exact() || counts.num_waiting(pipeline)? == 0))
}
