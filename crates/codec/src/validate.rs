//! Is this datum exactly one record of its writer's schema? Asked before the library decodes it,
//! because the library accepts wrong union branches as values, loses the whole batch to one invalid
//! string, and turns a cut-off record into a broken neighbour.

use crate::frame::fault;
use crate::shape::{Field, Shape};
use std::fmt::Display;
use weir_model::fault::Fault;

/// Items of arrays and maps in one datum; an item may take no bytes at all, so the datum's length
/// is no bound.
const MAX_ITEMS: u64 = 1 << 20;

/// A validator for the datums of one writer schema.
#[derive(Debug)]
pub(crate) struct Validator {
    fields: Vec<(String, Check)>,
}

/// What must stand at a place; compiled from [`Shape`] so that the walk has nothing to look up.
#[derive(Debug)]
enum Check {
    Nothing,
    Boolean,
    Int,
    Long,
    /// So many bytes of anything.
    Skip(usize),
    Bytes,
    Text,
    Uuid,
    Decimal {
        limit: i128,
        fixed: Option<usize>,
    },
    Enum(i64),
    /// A union of null, at this branch number, and one other.
    Optional(i64, Box<Check>),
    Union(Vec<Check>),
    Record(Vec<(String, Check)>),
    Array(Box<Check>),
    Map(Box<Check>),
}

/// A fault, and the path to it, innermost name first. Boxed, so that the walk's result is one word.
type Broken = Box<(Fault, Vec<String>)>;

impl Validator {
    /// For records of these fields.
    pub(crate) fn new(fields: &[Field]) -> Validator {
        Validator { fields: checks(fields) }
    }

    /// Walks the datum in `value` from byte `start` to its end.
    pub(crate) fn check(&self, value: &[u8], start: usize) -> Result<(), Fault> {
        let mut walk = Walk { value, at: start, items: MAX_ITEMS };
        walk.record(&self.fields).map_err(|broken| {
            let (mut fault, path) = *broken;
            let path: Vec<_> = path.into_iter().rev().collect();
            fault.detail = format!("{} ({})", fault.detail, path.join("."));
            fault
        })?;
        let left = value.len() - walk.at;
        match left {
            0 => Ok(()),
            _ => Err(fault(
                "trailing_bytes",
                format!("{left} bytes follow the end of the record at byte {}", walk.at),
            )),
        }
    }
}

fn checks(fields: &[Field]) -> Vec<(String, Check)> {
    fields.iter().map(|f| (f.name.clone(), compile(&f.shape))).collect()
}

fn compile(shape: &Shape) -> Check {
    match shape {
        Shape::Null => Check::Nothing,
        Shape::Boolean => Check::Boolean,
        Shape::Int | Shape::Date | Shape::TimeMillis => Check::Int,
        Shape::Long | Shape::TimeMicros | Shape::Timestamp { .. } => Check::Long,
        Shape::Float => Check::Skip(4),
        Shape::Double => Check::Skip(8),
        Shape::Bytes | Shape::Foreign { fixed: None, .. } => Check::Bytes,
        Shape::String => Check::Text,
        Shape::Uuid { fixed: false } => Check::Uuid,
        Shape::Uuid { fixed: true } => Check::Skip(16),
        Shape::Decimal { precision, fixed, .. } => {
            Check::Decimal { limit: 10i128.pow(u32::from(*precision)), fixed: *fixed }
        }
        Shape::Fixed(size) | Shape::Foreign { fixed: Some(size), .. } => Check::Skip(*size),
        Shape::Enum(symbols) => Check::Enum(symbols.list.len() as i64),
        Shape::Union(branches) => match branches.as_slice() {
            [Shape::Null, other] => Check::Optional(0, Box::new(compile(other))),
            [other, Shape::Null] => Check::Optional(1, Box::new(compile(other))),
            _ => Check::Union(branches.iter().map(compile).collect()),
        },
        Shape::Record(fields) => Check::Record(checks(fields)),
        Shape::Array(items) => Check::Array(Box::new(compile(items))),
        Shape::Map(values) => Check::Map(Box::new(compile(values))),
    }
}

struct Walk<'a> {
    value: &'a [u8],
    /// Next byte to read.
    at: usize,
    items: u64,
}

#[cold]
fn broken(reason: &str, detail: impl Into<String>) -> Broken {
    Box::new((fault(reason, detail), Vec::new()))
}

impl<'a> Walk<'a> {
    fn record(&mut self, fields: &[(String, Check)]) -> Result<(), Broken> {
        for (name, check) in fields {
            if let Err(mut broken) = self.value(check) {
                broken.1.push(name.clone());
                return Err(broken);
            }
        }
        Ok(())
    }

    fn value(&mut self, check: &Check) -> Result<(), Broken> {
        match check {
            Check::Nothing => Ok(()),
            Check::Boolean => self.boolean(),
            Check::Int => self.int(),
            Check::Long => self.long().map(drop),
            Check::Skip(size) => self.take(*size, "value").map(drop),
            Check::Bytes => self.sized("bytes").map(drop),
            Check::Text => self.text().map(drop),
            Check::Uuid => self.uuid(),
            Check::Decimal { limit, fixed } => self.decimal(*limit, *fixed),
            Check::Enum(symbols) => self.symbol(*symbols),
            Check::Optional(null, other) => match self.branch(2)? {
                branch if branch == *null => Ok(()),
                _ => self.value(other),
            },
            Check::Union(branches) => {
                let branch = self.branch(branches.len() as i64)?;
                self.value(&branches[branch as usize])
            }
            Check::Record(fields) => self.record(fields),
            Check::Array(items) => self.blocks("array", items, false),
            Check::Map(values) => self.blocks("map", values, true),
        }
    }

    fn left(&self) -> usize {
        self.value.len() - self.at
    }

    fn take(&mut self, size: usize, what: &str) -> Result<&'a [u8], Broken> {
        match self.value[self.at..].get(..size) {
            Some(bytes) => {
                self.at += size;
                Ok(bytes)
            }
            None => Err(self.cut(what, size)),
        }
    }

    #[cold]
    fn cut(&self, what: &str, size: usize) -> Broken {
        broken(
            "truncated",
            format!(
                "{what} of {} bytes at byte {} exceeds the {} bytes left",
                grouped(size),
                self.at,
                self.left()
            ),
        )
    }

    /// A zigzag number; the first byte decides most of them.
    #[inline]
    fn long(&mut self) -> Result<i64, Broken> {
        match self.value.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1))
            }
            _ => self.long_number(10),
        }
    }

    fn long_number(&mut self, most: usize) -> Result<i64, Broken> {
        let start = self.at;
        let mut number = 0u64;
        for (index, &byte) in self.value[start..].iter().take(most).enumerate() {
            if index == 9 && byte > 1 {
                return Err(broken(
                    "bad_varint",
                    format!("the number at byte {start} does not fit 64 bits"),
                ));
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.at = start + index + 1;
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        match self.left() < most {
            true => Err(broken(
                "truncated",
                format!("the number at byte {start} is cut off after {} bytes", self.left()),
            )),
            false => Err(broken(
                "bad_varint",
                format!("the number at byte {start} is longer than {most} bytes"),
            )),
        }
    }

    fn int(&mut self) -> Result<(), Broken> {
        let start = self.at;
        let number = match self.value.get(start) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                return Ok(());
            }
            _ => self.long_number(5)?,
        };
        match i32::try_from(number) {
            Ok(_) => Ok(()),
            Err(_) => Err(broken(
                "bad_varint",
                format!("the number {number} at byte {start} does not fit an int of 32 bits"),
            )),
        }
    }

    fn boolean(&mut self) -> Result<(), Broken> {
        let start = self.at;
        match self.take(1, "boolean")? {
            [0 | 1] => Ok(()),
            other => Err(broken(
                "bad_boolean",
                format!("the boolean at byte {start} is 0x{:02x}, neither 0 nor 1", other[0]),
            )),
        }
    }

    /// A length and so many bytes.
    #[inline]
    fn sized(&mut self, what: &str) -> Result<&'a [u8], Broken> {
        let start = self.at;
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(size) if size <= self.left() => {
                let bytes = &self.value[self.at..self.at + size];
                self.at += size;
                Ok(bytes)
            }
            Ok(size) => Err(broken(
                "truncated",
                format!(
                    "{what} length {} at byte {start} exceeds the {} bytes left",
                    grouped(size),
                    self.left()
                ),
            )),
            Err(_) => Err(broken(
                "bad_length",
                format!("{what} length {length} at byte {start} is negative"),
            )),
        }
    }

    #[inline]
    fn text(&mut self) -> Result<&'a str, Broken> {
        let start = self.at;
        let bytes = self.sized("string")?;
        std::str::from_utf8(bytes).map_err(|error| {
            let at = self.at - bytes.len() + error.valid_up_to();
            broken(
                "invalid_utf8",
                format!(
                    "the string at byte {start} is not UTF-8: byte 0x{:02x} at byte {at}",
                    self.value[at]
                ),
            )
        })
    }

    fn uuid(&mut self) -> Result<(), Broken> {
        let start = self.at;
        match is_uuid(self.text()?) {
            true => Ok(()),
            false => Err(broken(
                "invalid_uuid",
                format!("the string at byte {start} is not a UUID of 36 characters"),
            )),
        }
    }

    fn decimal(&mut self, limit: i128, fixed: Option<usize>) -> Result<(), Broken> {
        let start = self.at;
        let bytes = match fixed {
            Some(size) => self.take(size, "decimal")?,
            None => self.sized("decimal")?,
        };
        if bytes.is_empty() {
            return Err(broken(
                "bad_decimal",
                format!("the decimal at byte {start} is 0 bytes long"),
            ));
        }
        match unscaled(bytes) {
            Some(value) if -limit < value && value < limit => Ok(()),
            _ => Err(broken(
                "bad_decimal",
                format!("the decimal at byte {start} has more digits than its type holds"),
            )),
        }
    }

    fn symbol(&mut self, symbols: i64) -> Result<(), Broken> {
        let start = self.at;
        let number = self.long()?;
        match (0..symbols).contains(&number) {
            true => Ok(()),
            false => Err(broken(
                "bad_enum",
                format!("symbol {number} at byte {start} of an enum of {symbols} symbols"),
            )),
        }
    }

    #[inline]
    fn branch(&mut self, branches: i64) -> Result<i64, Broken> {
        let start = self.at;
        let branch = self.long()?;
        match (0..branches).contains(&branch) {
            true => Ok(branch),
            false => Err(broken(
                "bad_union_branch",
                format!("union branch {branch} at byte {start}; the schema has {branches}"),
            )),
        }
    }

    /// The blocks of an array or a map. A negative count says that the block's size in bytes
    /// follows: it must be true, since decoders skip by it.
    fn blocks(&mut self, what: &str, item: &Check, keyed: bool) -> Result<(), Broken> {
        loop {
            let start = self.at;
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            let size = if count < 0 { Some(self.long()?) } else { None };
            let items = count.unsigned_abs();
            if items > self.items {
                let text = format!(
                    "{what} of {} items at byte {start}; {MAX_ITEMS} items per record are read",
                    grouped(items)
                );
                return Err(broken("too_many_items", text));
            }
            self.items -= items;
            let first = self.at;
            for index in 0..items {
                self.item(item, keyed, index)?;
            }
            if size.is_some_and(|size| usize::try_from(size) != Ok(self.at - first)) {
                let text = format!(
                    "{what} block at byte {start} says {} bytes and takes {}",
                    size.unwrap_or(0),
                    self.at - first
                );
                return Err(broken("bad_length", text));
            }
        }
    }

    fn item(&mut self, item: &Check, keyed: bool, index: u64) -> Result<(), Broken> {
        let key = if keyed { self.text().map(drop) } else { Ok(()) };
        key.and_then(|()| self.value(item)).map_err(|mut broken| {
            broken.1.push(index.to_string());
            broken
        })
    }
}

/// Big-endian two's complement of up to 16 bytes; longer only when the rest is sign.
pub(crate) fn unscaled(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first()? & 0x80 != 0;
    let sign = if negative { 0xff } else { 0 };
    let (head, tail) = bytes.split_at(bytes.len().saturating_sub(16));
    if head.iter().any(|b| *b != sign) {
        return None;
    }
    let mut wide = [sign; 16];
    wide[16 - tail.len()..].copy_from_slice(tail);
    let value = i128::from_be_bytes(wide);
    (head.is_empty() || (value < 0) == negative).then_some(value)
}

/// The form that every Avro implementation writes: 8-4-4-4-12 hexadecimal digits.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// 2147483000 as 2,147,483,000.
fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
