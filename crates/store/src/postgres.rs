//! PostgreSQL: the rows, the dead letters and the position of a batch are committed in one
//! transaction, or none of them is.
//!
//! * [`Store`] is a pool of connections to one database.
//! * [`TableCheck`] compares an output schema with its table. A start creates the table or adds
//!   columns; all other differences are listed.
//! * [`Layout`] and [`Encoded`] turn Arrow batches into COPY BINARY bytes, on the caller's thread.
//! * [`Store::acquire`] takes partitions over: it increments their fence, which waits for a
//!   predecessor's open transaction (and terminates it after a timeout), and only then reads the
//!   position.
//! * [`Store::write`] is the transaction. It begins with a compare-and-set on fence and position,
//!   so a writer that was replaced writes nothing. Rows that the table refuses are found by
//!   bisection, each is tried alone, and they become rows of `weir.dead_letters`.
//!
//! `tests/postgres/` proves it on a real server.

mod accepted_loss;
mod arrange;
mod catalog;
mod column_type;
mod connection_url;
mod content;
mod convert;
mod copy;
mod dead_letter;
mod encode;
mod error;
mod insert;
mod layout;
mod pg_type;
mod pool;
mod positions;
mod queries;
mod reader;
pub mod reference;
mod refusal;
mod single_rows;
mod sql;
mod sqlstate;
mod table_check;
mod target;
mod unreadable;
mod value_range;
mod write;

pub use encode::{CopyData, Encoded, Origins};
pub use error::Error;
pub use layout::Layout;
pub use pool::Store;
pub use positions::PositionKey;
pub use reader::Reader;
pub use refusal::Refusal;
pub use table_check::TableCheck;
pub use target::Postgres;
pub use write::{Committed, Write};

use crate::kinds::Kind;
use crate::{Target, TargetReader};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Pipeline};

/// A sink with `type = "postgres"`.
pub(crate) struct Configured<'a> {
    /// The sink's name.
    pub(crate) sink: &'a str,
    pub(crate) table: &'a pipeline::Postgres,
}

impl Kind for Configured<'_> {
    fn target(
        &self,
        pipeline: &Pipeline,
        schema: SchemaRef,
        cluster: &str,
    ) -> Result<Arc<dyn Target>, crate::Error> {
        Ok(Arc::new(Postgres::new(pipeline, self.sink, self.table, schema, cluster)?))
    }

    fn reader(&self, pipeline: &Pipeline) -> Result<Arc<dyn TargetReader>, crate::Error> {
        Ok(Arc::new(Reader::new(pipeline, self.sink, self.table)?))
    }

    fn check_offline(&self, schema: &SchemaRef) -> Vec<Mistake> {
        TableCheck::offline(self.sink, self.table, schema)
    }
}
