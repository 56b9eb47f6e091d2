//! Checks that a datum is exactly one record of its writer's schema, before `arrow-avro` decodes
//! it.
//!
//! Hand-written, because the library cannot be asked: `arrow-avro` takes an invalid union branch
//! for a value, fails the whole batch for one invalid string, and lets a truncated record run into
//! its neighbour. `apache-avro` finds these errors, but it builds a tree of values for each record,
//! which is slower than validation and columnar decoding together. It is the oracle in the tests of
//! the module `decode`.

use crate::avro_type::{AvroType, Field};
use crate::datum::{Cursor, InvalidDatum, grouped, violation};
use crate::frame::fault;
use weir_model::fault::Fault;

/// Most items of arrays and maps in one datum.
const MAX_ITEMS: u64 = 1 << 20;
/// Most items that take no bytes: the datum's length is no limit for them.
const MAX_EMPTY_ITEMS: u64 = 4096;

/// A validator for the datums of one writer schema.
#[derive(Debug)]
pub(crate) struct Validator {
    fields: Vec<FieldCheck>,
}

/// A field and the check of its value.
#[derive(Debug)]
struct FieldCheck {
    name: String,
    check: Check,
}

/// The expected encoding of a value, compiled from [`AvroType`] so that nothing must be looked up
/// while a datum is read. All but `Empty` take a byte or more, and a record has no `Empty` fields,
/// so that a check takes time in proportion to the bytes.
#[derive(Debug)]
enum Check {
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
}

impl Validator {
    /// For records with these fields.
    pub(crate) fn new(fields: &[Field]) -> Validator {
        Validator { fields: field_checks(fields) }
    }

    /// Checks the datum in `value` from byte `start` to its end.
    pub(crate) fn check(&self, value: &[u8], start: usize) -> Result<(), Fault> {
        let mut walk = Walk {
            cursor: Cursor::new(value, start),
            items_left: MAX_ITEMS,
            empty_items_left: MAX_EMPTY_ITEMS,
        };
        walk.record(&self.fields).map_err(|violation| {
            let mut fault = violation.fault;
            let path: Vec<String> = violation.path.into_iter().rev().collect();
            fault.detail = format!("{} ({})", fault.detail, path.join("."));
            fault
        })?;
        match walk.cursor.bytes_left() {
            0 => Ok(()),
            left => Err(fault(
                "trailing_bytes",
                format!(
                    "{left} bytes follow the end of the record at byte {}",
                    walk.cursor.position()
                ),
            )),
        }
    }
}

fn field_checks(fields: &[Field]) -> Vec<FieldCheck> {
    fields
        .iter()
        .filter(|field| !field.avro_type.takes_no_bytes())
        .map(|field| FieldCheck { name: field.name.clone(), check: check_of(&field.avro_type) })
        .collect()
}

fn check_of(avro_type: &AvroType) -> Check {
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
        AvroType::Record(fields) => Check::Record(field_checks(fields)),
        AvroType::Array(items) => Check::Array(Box::new(check_of(items))),
        AvroType::Map(values) => Check::Map(Box::new(check_of(values))),
    }
}

/// One datum being checked.
struct Walk<'a> {
    cursor: Cursor<'a>,
    items_left: u64,
    empty_items_left: u64,
}

impl Walk<'_> {
    fn record(&mut self, fields: &[FieldCheck]) -> Result<(), InvalidDatum> {
        for field in fields {
            if let Err(mut violation) = self.value(&field.check) {
                violation.path.push(field.name.clone());
                return Err(violation);
            }
        }
        Ok(())
    }

    fn value(&mut self, check: &Check) -> Result<(), InvalidDatum> {
        match check {
            Check::Empty => Ok(()),
            Check::Boolean => self.cursor.boolean(),
            Check::Int => self.cursor.int(),
            Check::Long => self.cursor.long().map(drop),
            Check::FixedSize(size) => self.cursor.take(*size, "value").map(drop),
            Check::Bytes => self.cursor.length_prefixed("bytes").map(drop),
            Check::Text => self.cursor.text().map(drop),
            Check::Uuid => self.cursor.uuid(),
            Check::Decimal { limit, fixed } => self.cursor.decimal(*limit, *fixed),
            Check::Enum(num_symbols) => self.cursor.symbol(*num_symbols),
            Check::Optional { null_branch, other } => match self.cursor.branch(2)? {
                branch if branch == *null_branch => Ok(()),
                _ => self.value(other),
            },
            Check::Union(branches) => {
                let branch = self.cursor.branch(branches.len() as i64)?;
                self.value(&branches[branch as usize])
            }
            Check::Record(fields) => self.record(fields),
            Check::Array(items) => self.blocks("array", items, false),
            Check::Map(values) => self.blocks("map", values, true),
        }
    }

    /// The blocks of an array or a map. After a negative count comes the block's size in bytes. It
    /// must be correct, since decoders use it to skip blocks.
    fn blocks(&mut self, what: &str, item: &Check, keyed: bool) -> Result<(), InvalidDatum> {
        loop {
            let start = self.cursor.position();
            let count = self.cursor.long()?;
            if count == 0 {
                return Ok(());
            }
            let size = if count < 0 { Some(self.cursor.long()?) } else { None };
            let num_items = count.unsigned_abs();
            let is_empty = matches!(item, Check::Empty) && !keyed;
            self.count_items(what, num_items, is_empty, start)?;
            let first_item = self.cursor.position();
            for index in 0..if is_empty { 0 } else { num_items } {
                self.item(item, keyed, index)?;
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

    fn item(&mut self, item: &Check, keyed: bool, index: u64) -> Result<(), InvalidDatum> {
        let key = if keyed { self.cursor.text().map(drop) } else { Ok(()) };
        key.and_then(|()| self.value(item)).map_err(|mut violation| {
            violation.path.push(index.to_string());
            violation
        })
    }
}

#[cfg(test)]
mod tests;
