//! A record that could not be processed, with everything that is needed to show, repair and replay
//! it.

use crate::coordinates::RecordCoordinates;
use crate::fault::Fault;
use crate::protocol::Offset;

/// A header of a record: its name and its value, if it has one.
pub type Header = (String, Option<Vec<u8>>);

/// A dead letter: the original record and why it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The record in the topic that the refusing service reads.
    pub coordinates: RecordCoordinates,
    /// The offset of the input record that it came from, from its lineage; the partition is the
    /// same.
    pub source: Option<Offset>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub value: Option<Vec<u8>>,
    /// All headers in their order.
    pub headers: Vec<Header>,
    /// The record's timestamp, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The writer schema's id, when the value begins with one.
    pub schema_id: Option<u32>,
    /// Why it was refused.
    pub fault: Fault,
    /// The column of the target that the value was meant for.
    pub column: Option<String>,
    /// The error code of the target, such as a SQLSTATE.
    pub code: Option<String>,
}
