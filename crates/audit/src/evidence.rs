//! What the target of a sink tells the proofs.

use crate::{Error, Result};
use std::sync::Arc;
use tokio::runtime::Handle;
use weir_kafka::proof;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::progress::Later;
use weir_model::protocol::{Offset, Partition, PartitionState};
use weir_store::TargetReader;

/// The target of a sink, asked from a thread that may block.
pub(crate) struct Evidence<'a> {
    pub(crate) sink: &'a Sink,
    pub(crate) target: Arc<dyn TargetReader>,
}

impl Evidence<'_> {
    pub(crate) fn open<'a>(pipeline: &Pipeline, sink: &'a Sink) -> Result<Evidence<'a>> {
        Ok(Evidence { sink, target: weir_store::reader::open(pipeline, sink)? })
    }

    /// Marks the missing positions of partitions that the sink has written.
    pub(crate) fn mark_begun(&self, found: &mut [PartitionState]) -> Result<()> {
        let began = Handle::current().block_on(self.target.began())?;
        let unset = found.iter_mut().filter(|state| state.committed.next.is_none());
        unset.for_each(|state| {
            state.committed.intact = !began.contains(&state.committed.partition);
        });
        Ok(())
    }

    /// The partitions of `topic` that have a position.
    pub(crate) fn positions(&self, topic: &str) -> Result<Vec<Partition>> {
        let mut positions = Handle::current().block_on(self.target.positions())?;
        positions.retain(|position| position.topic == topic && position.committed.next.is_some());
        Ok(positions.iter().map(|position| position.committed.partition).collect())
    }

    /// Counts the rows by reading them.
    pub(crate) fn count_rows(&self) -> Result<u64> {
        Ok(Handle::current().block_on(self.target.count_rows())?)
    }
}

impl proof::Evidence<Error> for Evidence<'_> {
    fn has_rows(&self) -> Result<bool> {
        Ok(Handle::current().block_on(self.target.has_rows())?)
    }

    fn later(&self, partition: Partition, next: Offset, last: Option<Offset>) -> Result<Later> {
        Ok(Handle::current().block_on(self.target.later(partition, next, last))?)
    }
}
