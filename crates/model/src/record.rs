//! A record of a topic, apart from its value.

use crate::protocol::{Offset, Partition};

/// What a record has beside its value.
pub trait RecordMetadata<'a> {
    /// Its key.
    fn key(&self) -> Option<&'a [u8]>;

    /// Its partition.
    fn partition(&self) -> Partition;

    /// Its offset.
    fn offset(&self) -> Offset;

    /// Its timestamp in milliseconds since 1970; −1 when it has none.
    fn timestamp_ms(&self) -> i64;

    /// The value of its last header of this name.
    fn last_header(&self, name: &str) -> Option<&'a [u8]>;
}
