//! Kafka, as weir needs it: records read from explicit positions, and written together with those positions or not at all.
//!
//! The promise: a [`Unit`] makes records, dead letters and offsets visible in one transaction, and a [`Consumer`] never reads from a
//! position that nobody decided. What is not a definite success is never taken for one: the unit is recycled, which fences whatever
//! is still under way, and the ledger is asked. `tests/broker/` shows it against a real broker.
//!
//! Everything here blocks; a worker is one thread. Nothing here prints a client's settings, because they may hold passwords.

pub mod acceptances;
pub mod admin;
pub mod consumer;
pub mod error;
pub mod ledger;
pub mod letter;
pub mod positions;
pub mod reader;
pub mod records;
pub mod replay;
mod settings;
pub mod unit;

pub use consumer::{Consumer, Rebalance};
pub use error::{Error, Loss, Result};
pub use letter::{DeadLetter, Letter};
pub use reader::scan;
pub use records::{Record, Records};
pub use unit::{Header, Outgoing, Unit};
