//! Positions that lie outside their log, and the recorded act of going on behind such a gap.
//!
//! A partition whose position lies outside its log is halted until an operator decides: records are
//! gone, and no program should skip them on its own. What the decision can be follows from one
//! rule, lose nothing that is left and double nothing that was read:
//!
//! * **expired** (the log begins after the position): continue at its first record;
//! * **truncated** (the log ends before the position) or recreated: continue after the last record
//!   that was demonstrably read. For the enricher that is one whose key and timestamp are those of
//!   what was emitted from that offset, for a sink the one that its lineage ends with. In a
//!   recreated log there is none, and its records are all unread. Without such evidence there is no
//!   automatic choice;
//! * **missing** (the enricher's group has no offsets, yet there is output): the lineage names the
//!   record emitted last and adds up to the counts; nothing is given up.

mod accept;
mod choice;
mod gaps;

pub use accept::accept;
pub use gaps::{Gap, Hop, Lost, Way, find, hops};
