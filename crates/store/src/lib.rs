//! The targets of a sink, which store rows, dead letters and positions together.
//!
//! [`target`] is the write side, used by the sink; [`reader`] is the read side, used by the audit
//! and by commands such as `weir skip` and `weir dead`. Each kind of target is one module that
//! implements both, and one line in `kinds.rs`; no other code names a kind. The shared test suite
//! `crates/sink/tests/sink/suite.rs` proves the promises of every kind.

mod error;
mod files;
mod json;
mod kinds;
pub mod postgres;
pub mod reader;
pub mod target;
mod uuid;

pub use error::Error;
pub use reader::TargetReader;
pub use target::{Part, SourceRecords, Target, Transaction, Written};
