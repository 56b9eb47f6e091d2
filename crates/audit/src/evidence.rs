//! What the target of a sink tells the proofs.

use crate::{Error, Result};
use tokio::runtime::Handle;
use weir_kafka::proof;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::protocol::{Offset, Partition};

/// The target of a sink, asked from a thread that may block.
pub(crate) struct Evidence<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) sink: &'a Sink,
}

impl Evidence<'_> {
    /// The partitions that the sink has ever written.
    pub(crate) fn began(&self) -> Result<Vec<Partition>> {
        let target = weir_store::reader::open(self.pipeline, self.sink)?;
        Ok(Handle::current().block_on(target.began())?)
    }
}

impl proof::Evidence<Error> for Evidence<'_> {
    fn has_rows(&self) -> Result<bool> {
        let target = weir_store::reader::open(self.pipeline, self.sink)?;
        Ok(Handle::current().block_on(target.has_rows())?)
    }

    fn holds_later(
        &self,
        partition: Partition,
        next: Offset,
        last: Option<Offset>,
    ) -> Result<Option<bool>> {
        let target = weir_store::reader::open(self.pipeline, self.sink)?;
        Ok(Handle::current().block_on(target.holds_later(partition, next, last))?)
    }
}
