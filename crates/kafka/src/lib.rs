//! Kafka, as weir needs it: records read from explicit positions, and written together with those
//! positions or not at all.
//!
//! The promise: a [`TransactionalProducer`] makes records, dead letters and offsets visible in one
//! transaction, and a [`Consumer`] never reads from a position that its worker did not set. What is
//! not a definite success is never treated as one: the producer is reinitialized, which fences
//! whatever is still under way, and the position store is read again. `tests/broker/` tests this
//! against a real broker.
//!
//! Everything here blocks; a worker is one thread. Nothing here prints a client's settings, because
//! they may hold passwords.

pub mod accepted_loss;
pub mod admin;
pub mod consumer;
pub mod dead_letter;
pub mod error;
mod limits;
pub mod position_store;
pub mod positions;
pub mod proof;
pub mod reader;
pub mod records;
pub mod replay;
mod settings;
pub mod transactional_producer;

pub use consumer::{Consumer, Rebalance};
pub use dead_letter::{OutgoingDeadLetter, ReceivedDeadLetter};
pub use error::{Error, LostRange, Result};
pub use reader::scan;
pub use records::{Record, Records};
pub use transactional_producer::{Header, Outgoing, TransactionalProducer};
