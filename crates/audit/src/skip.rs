//! Finds positions outside their log, and continues after such a gap when an operator accepts the
//! loss.
//!
//! A partition whose position is outside its log is halted until an operator decides: records are
//! gone, and no program may skip them on its own. The new position follows from one rule: lose no
//! record that remains, and read no record twice.
//!
//! * **expired** (the log begins after the position): continue at its first record;
//! * **truncated** (the log ends before the position) or recreated: continue after the last record
//!   that was demonstrably read. For the enricher that is one whose key and timestamp are those of
//!   what was emitted from that offset, for a sink the one that its lineage ends with. In a
//!   recreated log there is none, and its records are all unread. Without such evidence there is no
//!   automatic choice;
//! * **disproved** (the record before it is another one than the one that was read last): behind the
//!   record that was read last, if the log still holds it; otherwise as in a recreated log;
//! * **missing** (the enricher's group has no offsets, yet there is output): the lineage names the
//!   last emitted record, and the counts follow from it; nothing is lost;
//! * **put back** (a sink's group remembers a later position, and the target does not show that its
//!   rows went back as well): where the group remembers it; or, as the operator says, from the
//!   position on, since the target was restored with it.

mod accept;
mod choice;
mod continuations;
mod gaps;

pub use accept::{accept, restored};
pub use continuations::Continuation;
pub use gaps::{Gap, Hop, Lost, find, hops};
