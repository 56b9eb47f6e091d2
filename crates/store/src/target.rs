//! The write side of a target: what a sink needs, independent of the kind.
//!
//! A database commits everything in one transaction. A file store records the boundaries of each
//! file before it writes the file, and refuses names that exist. A document store uses ids that
//! make a repeated write a no-op. In all of them, [`Target::acquire`] fences a predecessor before
//! it reads the position, and [`Transaction::commit`] reports whether the batch is durable.

use crate::{Error, kinds};
use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use weir_model::dead_letter::DeadLetter;
use weir_model::fault::Fault;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::progress::Later;
use weir_model::protocol::{Claim, CommittedPosition, Offset, Outcome, Partition};

/// Opens the target of a sink, whose positions are kept per pipeline, sink, output topic and
/// cluster. `schema` is the output schema in Arrow's types, `cluster` the id of
/// the Kafka cluster that the offsets belong to. Connects on first use only.
///
/// # Errors
/// The target's configuration cannot be used.
pub fn open(
    pipeline: &Pipeline,
    sink: &Sink,
    schema: SchemaRef,
    cluster: &str,
) -> Result<Arc<dyn Target>, Error> {
    kinds::of(sink).target(pipeline, schema, cluster)
}

/// A target, shared by all workers of a sink.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// The name of the dependency in `/ready`, in logs and in metrics.
    fn kind(&self) -> &'static str;

    /// Creates what is missing, or returns all mistakes. Called once, before the first write.
    ///
    /// # Errors
    /// The target is unavailable.
    async fn prepare(&self) -> Result<Vec<Mistake>, Error>;

    /// Checks the target again after it refused a write permanently. Creates nothing: a table that
    /// disappeared must not be replaced by an empty one.
    ///
    /// # Errors
    /// The target is unavailable.
    async fn inspect(&self) -> Result<Vec<Mistake>, Error>;

    /// Checks that the target answers, for `/ready`.
    ///
    /// # Errors
    /// It does not.
    async fn ping(&self) -> Result<(), Error>;

    /// Fences each partition against its predecessor, and only then reads its position.
    ///
    /// # Errors
    /// The positions are unknown; retry.
    async fn acquire(&self, partitions: &[Partition]) -> Result<Vec<CommittedPosition>, Error>;

    /// Whether the target holds any row, whoever wrote it. Asked where there is no position: a
    /// position that was lost must not be taken for a beginning.
    ///
    /// # Errors
    /// The target is unavailable.
    async fn has_rows(&self) -> Result<bool, Error>;

    /// What the target holds of the partition behind the position `next`, whose last record came from
    /// the input offset `last`. Asked where an older position was put back.
    ///
    /// # Errors
    /// The target is unavailable.
    async fn later(
        &self,
        _partition: Partition,
        _next: Offset,
        _last: Option<Offset>,
    ) -> Result<Later, Error> {
        Ok(Later::default())
    }

    /// How long a transaction is filled, where `batch.linger` does not decide it.
    fn linger(&self) -> Option<Duration> {
        None
    }

    /// An empty transaction, to be filled part by part. No IO.
    ///
    /// # Errors
    /// The target was not prepared.
    fn begin(&self) -> Result<Box<dyn Transaction>, Error>;
}

/// A transaction that is being filled. The target decides how large it gets.
#[async_trait]
pub trait Transaction: Send + Sync {
    /// Encodes a part into the target's form, on the caller's thread. A target that may still
    /// refuse rows at the commit keeps the part's records. One that cannot drops them here, so that
    /// memory does not grow with the transaction.
    ///
    /// # Errors
    /// The part does not have the output schema.
    fn add(&mut self, part: Part) -> Result<(), Error>;

    /// How much more the transaction accepts; `None` when it is full.
    fn room(&self) -> Option<Room>;

    /// Makes rows, dead letters, positions and counters durable together if the claims hold.
    /// `claims` count every row as written; those that are committed and returned count the rows
    /// that the target refused as dead.
    ///
    /// # Errors
    /// Nothing was written.
    async fn commit(&mut self, claims: Vec<Claim>) -> Result<Written, Error>;
}

/// What a transaction still accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Records.
    pub records: usize,
    /// Bytes of keys, values and headers.
    pub bytes: usize,
}

/// Decoded records, to be added to a transaction.
pub struct Part {
    /// Rows of the columns of the output schema. Of a row that is to be deleted only the columns
    /// that rows are merged by have a value.
    pub rows: RecordBatch,
    /// Per row, whether the row of its key is to be deleted instead of stored; `None`: none is.
    pub deletes: Option<BooleanBuffer>,
    /// The records behind the rows.
    pub records: Box<dyn SourceRecords>,
    /// Records that could not be decoded.
    pub dead_letters: Vec<DeadLetter>,
    /// The number of records in the part, and the bytes of their keys, values and headers.
    pub size: Room,
}

/// The Kafka records behind the rows of a part.
pub trait SourceRecords: Send + Sync {
    /// The partition of row `row`.
    fn partition(&self, row: usize) -> Partition;

    /// The offset of the input record that row `row` came from.
    fn source(&self, row: usize) -> Offset;

    /// The offset at which the input record of row `row` came for the first time, if it came back
    /// from the dead letters. It is before [`SourceRecords::source`], in the same partition.
    fn replay_of(&self, row: usize) -> Option<Offset>;

    /// The dead letter of row `row`, with the original bytes and `fault`.
    fn dead_letter(&self, row: usize, fault: Fault) -> DeadLetter;
}

/// The result of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The other fields are valid only with [`Outcome::Committed`].
    pub outcome: Outcome,
    /// The claims with the counters that were committed: refused rows are dead, not written.
    pub claims: Vec<Claim>,
    /// The reasons of the rows that the target refused and stored as dead letters.
    pub refused: Vec<String>,
    /// The number of bytes sent.
    pub bytes: usize,
}
