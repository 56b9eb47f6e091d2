//! Reads a datum from its first byte to its last, and checks everything on the way: each length,
//! branch, symbol, text and count. What is not read into a column is checked all the same, because
//! its end is the beginning of the next value.
//!
//! Hand-written, because no library does both: `arrow-avro` takes an invalid union branch for a
//! value, fails the whole batch for one invalid string, and lets a truncated record run into its
//! neighbour; `apache-avro` finds these errors, but builds a tree of values for each record. It is
//! the oracle in the tests of the module `decode`.

use crate::avro_type::{AvroType, Field, Record};
use crate::datum::{Cursor, InvalidDatum, grouped, violation};
use std::collections::HashMap;
use std::sync::Arc;

/// Most items of arrays and maps in one datum.
const MAX_ITEMS: u64 = 1 << 20;
/// Most items that take no bytes: the datum's length is no limit for them.
const MAX_EMPTY_ITEMS: u64 = 4096;
/// Most levels of a recursive type in one datum.
const MAX_RECURSION: usize = 64;
/// Most bytes of values that a datum only names: the text of a symbol, a default, the empty columns
/// of a null. So many for each of its bytes, and so many for any datum.
const MAX_NAMED_PER_BYTE: usize = 64;
const MAX_NAMED: usize = 64 << 10;

/// A field and the check of its value.
#[derive(Debug)]
pub(crate) struct FieldCheck {
    name: String,
    check: Check,
}

/// The expected encoding of a value, compiled from [`AvroType`] so that nothing must be looked up
/// while a datum is read. All but `Empty` take a byte or more, and a record has no `Empty` fields,
/// so that a check takes time in proportion to the bytes.
#[derive(Debug)]
pub(crate) enum Check {
    /// No bytes: null, or a record of such values.
    Empty,
    Boolean,
    Int,
    Long,
    /// This many bytes with any content.
    FixedSize(usize),
    Bytes,
    Text,
    Uuid,
    Decimal {
        /// Exclusive limit of the unscaled value, in both directions.
        limit: i128,
        fixed: Option<usize>,
    },
    /// The number of symbols.
    Enum(i64),
    /// A union of null and one other type.
    Optional {
        null_branch: i64,
        other: Box<Check>,
    },
    Union(Vec<Check>),
    Record(Vec<FieldCheck>),
    Array(Box<Check>),
    Map(Box<Check>),
    /// The key in [`Recursive`].
    Recursive(Arc<str>),
}

/// The record types that contain themselves.
pub(crate) type Recursive = HashMap<Arc<str>, Vec<FieldCheck>>;

pub(crate) fn recursive_checks(records: &HashMap<Arc<str>, Arc<Record>>) -> Recursive {
    records.iter().map(|(name, record)| (name.clone(), field_checks(&record.fields))).collect()
}

pub(crate) fn field_checks(fields: &[Field]) -> Vec<FieldCheck> {
    fields
        .iter()
        .filter(|field| !field.avro_type.takes_no_bytes())
        .map(|field| FieldCheck { name: field.name.clone(), check: check_of(&field.avro_type) })
        .collect()
}

pub(crate) fn check_of(avro_type: &AvroType) -> Check {
    match avro_type {
        empty if empty.takes_no_bytes() => Check::Empty,
        AvroType::Null => Check::Empty,
        AvroType::Boolean => Check::Boolean,
        AvroType::Int | AvroType::Date | AvroType::TimeMillis => Check::Int,
        AvroType::Long | AvroType::TimeMicros | AvroType::Timestamp { .. } => Check::Long,
        AvroType::Float => Check::FixedSize(4),
        AvroType::Double => Check::FixedSize(8),
        AvroType::Bytes | AvroType::Unsupported { fixed: None, .. } => Check::Bytes,
        AvroType::String => Check::Text,
        AvroType::Uuid { fixed: false } => Check::Uuid,
        AvroType::Uuid { fixed: true } => Check::FixedSize(16),
        AvroType::Duration => Check::FixedSize(12),
        AvroType::Decimal { precision, fixed, .. } => {
            Check::Decimal { limit: 10i128.pow(u32::from(*precision)), fixed: *fixed }
        }
        AvroType::Fixed(size) | AvroType::Unsupported { fixed: Some(size), .. } => {
            Check::FixedSize(*size)
        }
        AvroType::Enum(symbols) => Check::Enum(symbols.list.len() as i64),
        AvroType::Union(branches) => match branches.as_slice() {
            [AvroType::Null, other] => {
                Check::Optional { null_branch: 0, other: Box::new(check_of(other)) }
            }
            [other, AvroType::Null] => {
                Check::Optional { null_branch: 1, other: Box::new(check_of(other)) }
            }
            _ => Check::Union(branches.iter().map(check_of).collect()),
        },
        AvroType::Record(record) => Check::Record(field_checks(&record.fields)),
        AvroType::Array(items) => Check::Array(Box::new(check_of(items))),
        AvroType::Map(values) => Check::Map(Box::new(check_of(values))),
        AvroType::Recursive(name) => Check::Recursive(name.clone()),
    }
}

/// One datum being read.
pub(crate) struct Walk<'a> {
    pub(crate) cursor: Cursor<'a>,
    recursive: &'a Recursive,
    items_left: u64,
    empty_items_left: u64,
    named_bytes_left: usize,
    recursion: usize,
}

impl<'a> Walk<'a> {
    /// Of the datum in `value` from byte `start` to its end.
    pub(crate) fn new(value: &'a [u8], start: usize, recursive: &'a Recursive) -> Walk<'a> {
        Walk {
            cursor: Cursor::new(value, start),
            recursive,
            items_left: MAX_ITEMS,
            empty_items_left: MAX_EMPTY_ITEMS,
            named_bytes_left: named_bytes(value),
            recursion: 0,
        }
    }

    /// The end must be the end of the value.
    pub(crate) fn finish(&self) -> Result<(), InvalidDatum> {
        match self.cursor.bytes_left() {
            0 => Ok(()),
            left => Err(violation(
                "trailing_bytes",
                format!(
                    "{left} bytes follow the end of the record at byte {}",
                    self.cursor.position()
                ),
            )),
        }
    }

    /// Checks a value that is not read.
    pub(crate) fn skip(&mut self, check: &Check) -> Result<(), InvalidDatum> {
        match check {
            Check::Empty => Ok(()),
            Check::Boolean => self.cursor.boolean().map(drop),
            Check::Int => self.cursor.int().map(drop),
            Check::Long => self.cursor.long().map(drop),
            Check::FixedSize(size) => self.cursor.take(*size, "value").map(drop),
            Check::Bytes => self.cursor.length_prefixed("bytes").map(drop),
            Check::Text => self.cursor.text().map(drop),
            Check::Uuid => self.cursor.uuid().map(drop),
            Check::Decimal { limit, fixed } => self.cursor.decimal(*limit, *fixed).map(drop),
            Check::Enum(num_symbols) => self.cursor.symbol(*num_symbols).map(drop),
            Check::Optional { null_branch, other } => match self.cursor.branch(2)? {
                branch if branch == *null_branch => Ok(()),
                _ => self.skip(other),
            },
            Check::Union(branches) => {
                let branch = self.cursor.branch(branches.len() as i64)?;
                self.skip(&branches[branch as usize])
            }
            Check::Record(fields) => self.skip_fields(fields),
            Check::Array(items) => {
                let is_empty = matches!(**items, Check::Empty);
                self.blocks("array", is_empty, |walk| walk.skip(items))
            }
            Check::Map(values) => self.blocks("map", false, |walk| {
                walk.cursor.text()?;
                walk.skip(values)
            }),
            Check::Recursive(name) => self.skip_recursive(name),
        }
    }

    fn skip_fields(&mut self, fields: &[FieldCheck]) -> Result<(), InvalidDatum> {
        for field in fields {
            self.skip(&field.check).map_err(|violation| violation.within(&field.name))?;
        }
        Ok(())
    }

    fn skip_recursive(&mut self, name: &Arc<str>) -> Result<(), InvalidDatum> {
        if self.recursion == MAX_RECURSION {
            let text = format!("{name} is nested deeper than {MAX_RECURSION} levels");
            return Err(violation("too_deep", text));
        }
        let recursive = self.recursive;
        self.recursion += 1;
        let skipped = recursive.get(name).map_or(Ok(()), |fields| self.skip_fields(fields));
        self.recursion -= 1;
        skipped
    }

    /// The blocks of an array or a map, whose items are read by `item`. After a negative count comes
    /// the block's size in bytes. It must be correct, since decoders use it to skip blocks.
    pub(crate) fn blocks(
        &mut self,
        what: &str,
        is_empty: bool,
        mut item: impl FnMut(&mut Walk<'a>) -> Result<(), InvalidDatum>,
    ) -> Result<(), InvalidDatum> {
        loop {
            let start = self.cursor.position();
            let count = self.cursor.long()?;
            if count == 0 {
                return Ok(());
            }
            let size = if count < 0 { Some(self.cursor.long()?) } else { None };
            let num_items = count.unsigned_abs();
            self.count_items(what, num_items, is_empty, start)?;
            let first_item = self.cursor.position();
            for index in 0..num_items {
                item(self).map_err(|violation| violation.within(&index.to_string()))?;
            }
            let actual = self.cursor.position() - first_item;
            if size.is_some_and(|size| usize::try_from(size) != Ok(actual)) {
                let text = format!(
                    "{what} block at byte {start} says {} bytes and takes {actual}",
                    size.unwrap_or(0)
                );
                return Err(violation("bad_length", text));
            }
        }
    }

    /// Counts `num_bytes` of a column that are filled without having been read, so that memory and
    /// time are in proportion to the datum's bytes.
    #[inline]
    pub(crate) fn fill(&mut self, num_bytes: usize) -> Result<(), InvalidDatum> {
        match self.named_bytes_left.checked_sub(num_bytes) {
            Some(left) => {
                self.named_bytes_left = left;
                Ok(())
            }
            None => Err(self.grows()),
        }
    }

    #[cold]
    fn grows(&self) -> InvalidDatum {
        let text = format!(
            "symbols, defaults and nulls become more than {} bytes, the limit for a record of {} \
             bytes",
            grouped(named_bytes(self.cursor.value()) as u64),
            grouped(self.cursor.value().len() as u64)
        );
        violation("grows_too_much", text)
    }

    fn count_items(
        &mut self,
        what: &str,
        num_items: u64,
        is_empty: bool,
        start: usize,
    ) -> Result<(), InvalidDatum> {
        let (left, limit, kind) = match is_empty {
            true => (&mut self.empty_items_left, MAX_EMPTY_ITEMS, "items without bytes"),
            false => (&mut self.items_left, MAX_ITEMS, "items"),
        };
        if num_items > *left {
            let text = format!(
                "{what} of {} items at byte {start}; the limit is {limit} {kind} per record",
                grouped(num_items)
            );
            return Err(violation("too_many_items", text));
        }
        *left -= num_items;
        Ok(())
    }
}

fn named_bytes(value: &[u8]) -> usize {
    MAX_NAMED.saturating_add(value.len().saturating_mul(MAX_NAMED_PER_BYTE))
}

#[cfg(test)]
mod tests;
