//! The targets of a sink: where rows, dead letters and positions are kept together.
//!
//! [`target`] is the write side (what a sink does), [`reader`] the read side (what the audit, `weir
//! skip` and `weir dead` ask). Each kind of target is one module behind both; nothing outside knows
//! a kind by its name. The promises that every kind keeps are the shared suite
//! `crates/sink/tests/sink/suite.rs`.

mod error;
pub mod postgres;
pub mod reader;
pub mod target;

pub use error::Error;
pub use reader::TargetReader;
pub use target::{Part, SourceRecords, Target, Transaction, Written};
