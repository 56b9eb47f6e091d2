//! PostgreSQL, as weir uses it: the rows, the dead letters and the position of a batch enter in one
//! transaction, or none does.
//!
//! * [`Store`] is a pool of connections to one database.
//! * [`TableCheck`] compares an output schema with the table it is meant for: creates it, adds what
//!   is new, lists what does not fit.
//! * [`Layout::encode`] turns an Arrow batch into COPY BINARY bytes, on the caller's thread.
//! * [`Store::acquire`] takes partitions over: it bumps their fence, which waits for (and in the
//!   end cuts off) a predecessor's open transaction, and only then reads where to go on.
//! * [`Store::write`] is the transaction. It begins with a compare-and-set on fence and position,
//!   so a writer that was replaced writes nothing; rows that the table refuses are singled out
//!   under savepoints and become rows of `weir.dead_letters`.
//!
//! Proved against a real server by `tests/postgres/`.

mod accepted_loss;
mod catalog;
mod copy;
mod dead_letter;
mod encode;
mod error;
mod kind;
mod layout;
mod pool;
mod positions;
mod queries;
mod refusal;
mod sql;
mod table_check;
mod write;

pub use accepted_loss::Move;
pub use dead_letter::{DeadLetter, DeadLetterContent, StoredDeadLetter};
pub use encode::{Encoded, Origins};
pub use error::Error;
pub use layout::Layout;
pub use pool::Store;
pub use positions::{PositionKey, PositionRow};
pub use queries::{Reason, Sample};
pub use refusal::Refusal;
pub use table_check::TableCheck;
pub use write::{Origin, Write, Written};
