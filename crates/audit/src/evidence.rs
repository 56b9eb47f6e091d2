//! What the target of a sink tells the proofs.

use crate::{Error, Result};
use tokio::runtime::Handle;
use weir_kafka::proof;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::progress::Later;
use weir_model::protocol::{Offset, Partition, PartitionState};

/// The target of a sink, asked from a thread that may block.
pub(crate) struct Evidence<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) sink: &'a Sink,
}

impl Evidence<'_> {
    /// Marks the missing positions of partitions that the sink has written.
    pub(crate) fn mark_begun(&self, found: &mut [PartitionState]) -> Result<()> {
        let target = weir_store::reader::open(self.pipeline, self.sink)?;
        let began = Handle::current().block_on(target.began())?;
        let unset = found.iter_mut().filter(|state| state.committed.next.is_none());
        unset.for_each(|state| {
            state.committed.intact = !began.contains(&state.committed.partition);
        });
        Ok(())
    }

    /// The partitions of `topic` that have a position.
    pub(crate) fn positions(&self, topic: &str) -> Result<Vec<Partition>> {
        let target = weir_store::reader::open(self.pipeline, self.sink)?;
        let mut positions = Handle::current().block_on(target.positions())?;
        positions.retain(|position| position.topic == topic && position.committed.next.is_some());
        Ok(positions.iter().map(|position| position.committed.partition).collect())
    }

    /// Counts the rows by reading them.
    pub(crate) fn count_rows(&self) -> Result<u64> {
        let target = weir_store::reader::open(self.pipeline, self.sink)?;
        Ok(Handle::current().block_on(target.count_rows())?)
    }
}

impl proof::Evidence<Error> for Evidence<'_> {
    fn has_rows(&self) -> Result<bool> {
        let target = weir_store::reader::open(self.pipeline, self.sink)?;
        Ok(Handle::current().block_on(target.has_rows())?)
    }

    fn later(&self, partition: Partition, next: Offset, last: Option<Offset>) -> Result<Later> {
        let target = weir_store::reader::open(self.pipeline, self.sink)?;
        Ok(Handle::current().block_on(target.later(partition, next, last))?)
    }
}
