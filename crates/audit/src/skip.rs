//! Finds positions outside their log, and continues after such a gap when an operator accepts the
//! loss.
//!
//! A partition whose position is outside its log is halted until an operator decides: records are
//! gone, and no program may skip them on its own. The new position follows from one rule: lose no
//! record that remains, and read no record twice.
//!
//! * **expired** (the log begins after the position): continue at its first record;
//! * **truncated** (the log ends before the position) or recreated: continue after the last record
//!   that was demonstrably read. For the enricher, its key and timestamp must equal those of the
//!   record that was emitted from this offset; for a sink, it is the record that the sink's lineage
//!   ends with. In a recreated log there is none, so all records are unread. Without such evidence
//!   there is no automatic choice;
//! * **missing** (the enricher's group has no offsets, yet there is output): the lineage names the
//!   last emitted record, and the counts follow from it; nothing is lost.

mod accept;
mod choice;
mod gaps;

pub use accept::accept;
pub use gaps::{Continuation, Gap, Hop, Lost, find, hops};
