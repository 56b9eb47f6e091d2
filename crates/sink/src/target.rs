//! What a sink needs from a target, whatever it is: a place that keeps rows and positions together.
//!
//! A database does it in one transaction. A store of files does it by naming each batch's
//! boundaries before it is written and by refusing names that exist; there a batch is a file, and
//! `[batch]` says how large. A document store does it with ids that make a replay a no-op. In all
//! of them [`Target::acquire`] fences a predecessor before it reads, and [`Target::write`] says
//! truly whether the batch is durable. `tests/suite/` holds every target against the same list of
//! promises.

mod postgres;

pub use crate::batch::Batch;
pub use postgres::Postgres;

use crate::Error;
use weir_model::mistake::Mistake;
use weir_model::protocol::{Claim, CommittedPosition, Outcome, Partition};

/// A place to write to, shared by all workers of a sink.
pub trait Target: Send + Sync + 'static {
    /// A batch in the form in which it is sent.
    type Form: Send + Sync + 'static;

    /// The dependency's name in `/ready`, in logs and in metrics.
    fn kind(&self) -> &'static str;

    /// Creates what is missing and returns everything that does not fit. Called once, before the
    /// first write.
    ///
    /// # Errors
    /// The target cannot be asked.
    fn prepare(&self) -> impl Future<Output = Result<Vec<Mistake>, Error>> + Send;

    /// Looks again, after the target refused a write for good, and creates nothing: what was there
    /// a moment ago is not to be replaced by something empty.
    ///
    /// # Errors
    /// The target cannot be asked.
    fn inspect(&self) -> impl Future<Output = Result<Vec<Mistake>, Error>> + Send;

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// There is none.
    fn ping(&self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Fences each partition against its predecessor, and only then reads where it stands.
    ///
    /// # Errors
    /// Nothing is known; ask again.
    fn acquire(
        &self,
        partitions: &[Partition],
    ) -> impl Future<Output = Result<Vec<CommittedPosition>, Error>> + Send;

    /// Puts a batch into the target's form: pure computation, on the worker's thread.
    ///
    /// # Errors
    /// The batch is not what was prepared for.
    fn encode(&self, batch: &Batch) -> Result<Self::Form, Error>;

    /// Makes rows, dead letters, positions and books durable together, provided that the claims
    /// hold.
    ///
    /// # Errors
    /// Nothing of it happened.
    fn write(
        &self,
        batch: &Batch,
        form: &Self::Form,
        claims: &[Claim],
    ) -> impl Future<Output = Result<Written, Error>> + Send;
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Only [`Outcome::Committed`] makes the rest true.
    pub outcome: Outcome,
    /// Rows that the target refused and that are dead letters now: their partitions and reasons.
    pub refused: Vec<(Partition, String)>,
    /// Bytes that were sent.
    pub bytes: usize,
}
