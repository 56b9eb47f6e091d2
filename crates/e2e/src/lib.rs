//! The whole path under faults: the real programs on the real components, and a verdict computed
//! without them.
//!
//! The oracle knows the record of each sequence number; [`verdict`] demands that the input topic,
//! the table, both kinds of dead dead letters and the lineage between them hold exactly that, and
//! that `weir audit` agrees. The table has no unique constraint, so that a duplicate cannot hide.

pub mod chaos;
pub mod expectation;
pub mod flow;
pub mod verdict;

pub use flow::{Flow, Settings};
