//! Files in a folder or in S3: Parquet, JSON lines or CSV, each record in exactly one of them.
//!
//! A file counts from the moment on at which an entry of the sink's [`log`] names it. The entry is
//! created in one step, and only where there is none ("only if absent"), together with the positions
//! and the dead letters of its transaction. Everything else follows:
//!
//! * A writer that is killed before that leaves files that do not count, and the position is where it
//!   was: its successor writes the same records into other files. [`sweep`] deletes what was left.
//! * A writer that was replaced finds a higher fence in the log, and its entry is refused.
//! * An answer that was lost is looked up: the entry is there, or its number is taken by another.
//!
//! The rows of a transaction go into temporary files of this machine first ([`writer`]), so memory is
//! small and the sink's folder holds complete files only. `tests.rs` proves it over a store that
//! loses requests and answers, `tests/files/` in folders.

mod columns;
mod dead_letter;
mod error;
mod hash;
mod location;
mod log;
mod partition;
mod reader;
mod scan;
mod sweep;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod text;
mod transaction;
mod upload;
mod writer;

use crate::kinds::Kind;
use crate::{Error, Target, TargetReader};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Pipeline};

/// A sink with `type = "files"`.
pub(crate) struct Configured<'a> {
    /// The sink's name.
    pub(crate) sink: &'a str,
    pub(crate) files: &'a pipeline::Files,
}

impl Kind for Configured<'_> {
    fn target(
        &self,
        pipeline: &Pipeline,
        schema: SchemaRef,
        cluster: &str,
    ) -> Result<Arc<dyn Target>, Error> {
        Ok(Arc::new(target::Files::new(pipeline, self.sink, self.files, schema, cluster)?))
    }

    fn reader(&self, pipeline: &Pipeline) -> Result<Arc<dyn TargetReader>, Error> {
        Ok(Arc::new(reader::Reader::new(pipeline, self.sink, self.files)?))
    }

    fn check_offline(&self, schema: &SchemaRef) -> Vec<Mistake> {
        table::Table::new(self.sink, self.files, schema, "").err().unwrap_or_default()
    }
}
