//! The registry of target kinds. A new kind is a folder beside `postgres` and one line in [`of`].

use crate::{Error, Target, TargetReader, files, postgres};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Pipeline, Sink};

/// A sink's target before anything is connected.
pub(crate) trait Kind {
    /// The write side: see [`crate::target::open`].
    fn target(
        &self,
        pipeline: &Pipeline,
        schema: SchemaRef,
        cluster: &str,
    ) -> Result<Arc<dyn Target>, Error>;

    /// The read side: see [`crate::reader::open`].
    fn reader(&self, pipeline: &Pipeline) -> Result<Arc<dyn TargetReader>, Error>;

    /// The mistakes that can be found without the target: see [`crate::reader::check_offline`].
    fn check_offline(&self, schema: &SchemaRef) -> Vec<Mistake>;
}

/// The kind of `sink`.
pub(crate) fn of(sink: &Sink) -> Box<dyn Kind + '_> {
    match &sink.target {
        pipeline::Target::Postgres(table) => {
            Box::new(postgres::Configured { sink: &sink.name, table })
        }
        pipeline::Target::Files(files) => Box::new(files::Configured { sink: &sink.name, files }),
    }
}
