//! Dead letters: those of producer and enricher in the dead-letter topic and those of the sinks in
//! their targets, as one list.

mod dead_letter;
mod filter;
mod list;
mod read;
pub mod replay;
mod show;

pub use dead_letter::{DeadLetter, Location};
pub use filter::Filter;
pub use list::{Group, groups, latest, topic_reasons, unknown_reasons};
pub use show::{Decoded, WholeDeadLetter, decode, find};
