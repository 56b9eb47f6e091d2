//! Which message of its file a value is: `[2, 0]` is the first message inside the third one. Before
//! the message stand the number of the indexes and the indexes, as zigzag numbers; instead of 1 and
//! 0, which mean the first message, stands a single 0.

use crate::datum::{Cursor, InvalidDatum, violation};
use crate::frame::fault;
use prost_reflect::{FileDescriptor, MessageDescriptor};
use weir_model::fault::Fault;

/// Most levels of messages inside messages.
const MAX_INDEXES: i64 = 64;

/// Reads the indexes of `value` that begin at byte `start`; returns where they end.
pub(super) fn read(value: &[u8], start: usize, indexes: &mut Vec<u32>) -> Result<usize, Fault> {
    indexes.clear();
    if value.get(start) == Some(&0) {
        indexes.push(0);
        return Ok(start + 1);
    }
    let mut cursor = Cursor::new(value, start.min(value.len()));
    let mut read = || -> Result<(), InvalidDatum> {
        let num_indexes = cursor.long()?;
        if !(0..=MAX_INDEXES).contains(&num_indexes) {
            return Err(violation("", format!("{num_indexes} of them at byte {start}")));
        }
        for _ in 0..num_indexes {
            let at = cursor.position();
            let index = u32::try_from(cursor.long()?);
            indexes.push(index.map_err(|_| violation("", format!("no index at byte {at}")))?);
        }
        if indexes.is_empty() {
            indexes.push(0);
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(cursor.position()),
        Err(violation) => {
            let detail = format!("the indexes of the message: {}", violation.into_fault().detail);
            Err(fault("bad_message_index", detail))
        }
    }
}

/// The message with these indexes. Entries of maps are not counted: in the text of a schema they are
/// no messages.
pub(super) fn find(file: &FileDescriptor, indexes: &[u32]) -> Option<MessageDescriptor> {
    let (first, inner) = indexes.split_first()?;
    let mut message = file.messages().nth(*first as usize)?;
    for index in inner {
        let child =
            message.child_messages().filter(|child| !child.is_map_entry()).nth(*index as usize)?;
        message = child;
    }
    Some(message)
}
