//! PostgreSQL: the rows, the dead letters and the position of a batch are committed in one
//! transaction, or none of them is.
//!
//! * [`Store`] is a pool of connections to one database.
//! * [`TableCheck`] compares an output schema with its table: a start creates the table and adds
//!   columns; everything else that does not match is listed.
//! * [`Layout`] and [`Encoded`] turn Arrow batches into COPY BINARY bytes, on the caller's thread.
//! * [`Store::acquire`] takes partitions over: it increments their fence, which waits for a
//!   predecessor's open transaction (and terminates it in the end), and only then reads the
//!   position.
//! * [`Store::write`] is the transaction. It begins with a compare-and-set on fence and position,
//!   so a writer that was replaced writes nothing. Rows that the table refuses are isolated under
//!   savepoints and become rows of `weir.dead_letters`.
//!
//! `tests/postgres/` shows it on a real server.

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
mod reader;
mod refusal;
mod sql;
mod table_check;
mod target;
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
