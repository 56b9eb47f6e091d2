//! Reads the primitive values of an Avro datum. Every violation of the encoding is a fault that
//! names the byte where it is.

use crate::frame::fault;
use crate::json::Misfit;
use arrow::datatypes::IntervalMonthDayNano;
use std::fmt::Display;
use weir_model::fault::{Fault, VALUE_DOES_NOT_FIT, VALUE_MISSING};

/// A fault and the path of names to it, innermost first. Boxed, so that a result is one word.
pub(crate) type InvalidDatum = Box<Violation>;

/// See [`InvalidDatum`].
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) fault: Fault,
    pub(crate) path: Vec<String>,
}

impl Violation {
    /// The same, as found in the value that is called `name` in the record around it.
    #[cold]
    pub(crate) fn within(mut self: Box<Self>, name: &str) -> InvalidDatum {
        self.path.push(name.into());
        self
    }

    /// The path, and what is there.
    #[cold]
    pub(crate) fn into_misfit(self) -> Misfit {
        let Violation { fault: Fault { reason, detail, .. }, mut path } = self;
        path.reverse();
        Misfit { path: path.join("."), reason, what: detail }
    }

    /// The same, with what may be the reason.
    #[cold]
    pub(crate) fn because(mut self: Box<Self>, why: &str) -> InvalidDatum {
        self.fault = fault(&self.fault.reason, format!("{}; {why}", self.fault.detail));
        self
    }

    /// The fault, with the path.
    #[cold]
    pub(crate) fn into_fault(self) -> Fault {
        let Misfit { path, reason, what: detail } = self.into_misfit();
        // A value that was read is named by its path; what could not be read, by where it begins.
        let detail = match reason.as_str() {
            _ if path.is_empty() => detail,
            VALUE_MISSING => format!("{path} {detail}"),
            VALUE_DOES_NOT_FIT | "unknown_symbol" => format!("{path}: {detail}"),
            _ => format!("{detail} ({path})"),
        };
        fault(&reason, detail)
    }
}

#[cold]
pub(crate) fn violation(reason: &str, detail: impl Into<String>) -> InvalidDatum {
    Box::new(Violation { fault: fault(reason, detail), path: Vec::new() })
}

/// A position in a datum.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    value: &'a [u8],
    /// The next byte to read.
    position: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at byte `start` of `value`.
    pub(crate) fn new(value: &'a [u8], start: usize) -> Cursor<'a> {
        Cursor { value, position: start }
    }

    /// All bytes of the value.
    pub(crate) fn value(&self) -> &'a [u8] {
        self.value
    }

    /// The next byte to read, counted from the start of the value.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    #[inline]
    pub(crate) fn bytes_left(&self) -> usize {
        self.value.len() - self.position
    }

    #[inline]
    pub(crate) fn take(&mut self, size: usize, what: &str) -> Result<&'a [u8], InvalidDatum> {
        match self.value[self.position..].get(..size) {
            Some(bytes) => {
                self.position += size;
                Ok(bytes)
            }
            None => Err(self.truncated(what, size)),
        }
    }

    #[cold]
    fn truncated(&self, what: &str, size: usize) -> InvalidDatum {
        violation(
            "truncated",
            format!(
                "{what} of {} bytes at byte {} exceeds the {} bytes left",
                grouped(size),
                self.position,
                self.bytes_left()
            ),
        )
    }

    /// A zigzag-encoded number; most take one byte.
    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64, InvalidDatum> {
        match self.value.get(self.position) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(i64::from(byte >> 1) ^ -i64::from(byte & 1))
            }
            _ => self.varint(10),
        }
    }

    fn varint(&mut self, max_bytes: usize) -> Result<i64, InvalidDatum> {
        let start = self.position;
        let mut number = 0u64;
        for (index, &byte) in self.value[start..].iter().take(max_bytes).enumerate() {
            if index == 9 && byte > 1 {
                return Err(violation(
                    "bad_varint",
                    format!("the number at byte {start} does not fit 64 bits"),
                ));
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.position = start + index + 1;
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        match self.bytes_left() < max_bytes {
            true => Err(violation(
                "truncated",
                format!("the number at byte {start} is cut off after {} bytes", self.bytes_left()),
            )),
            false => Err(violation(
                "bad_varint",
                format!("the number at byte {start} is longer than {max_bytes} bytes"),
            )),
        }
    }

    #[inline]
    pub(crate) fn int(&mut self) -> Result<i32, InvalidDatum> {
        let start = self.position;
        let number = match self.value.get(start) {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                return Ok(i32::from(byte >> 1) ^ -i32::from(byte & 1));
            }
            _ => self.varint(5)?,
        };
        match i32::try_from(number) {
            Ok(number) => Ok(number),
            Err(_) => Err(violation(
                "bad_varint",
                format!("the number {number} at byte {start} does not fit an int of 32 bits"),
            )),
        }
    }

    #[inline]
    pub(crate) fn boolean(&mut self) -> Result<bool, InvalidDatum> {
        let start = self.position;
        match self.take(1, "boolean")? {
            [0] => Ok(false),
            [1] => Ok(true),
            other => Err(violation(
                "bad_boolean",
                format!("the boolean at byte {start} is 0x{:02x}, neither 0 nor 1", other[0]),
            )),
        }
    }

    #[inline]
    pub(crate) fn float(&mut self) -> Result<f32, InvalidDatum> {
        self.array().map(|bytes| f32::from_le_bytes(*bytes))
    }

    #[inline]
    pub(crate) fn double(&mut self) -> Result<f64, InvalidDatum> {
        self.array().map(|bytes| f64::from_le_bytes(*bytes))
    }

    /// This many bytes with any content.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], InvalidDatum> {
        match self.value[self.position..].first_chunk() {
            Some(bytes) => {
                self.position += N;
                Ok(bytes)
            }
            None => Err(self.truncated("value", N)),
        }
    }

    /// A length and this many bytes.
    #[inline]
    pub(crate) fn length_prefixed(&mut self, what: &str) -> Result<&'a [u8], InvalidDatum> {
        let start = self.position;
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(size) if size <= self.bytes_left() => {
                let bytes = &self.value[self.position..self.position + size];
                self.position += size;
                Ok(bytes)
            }
            Ok(size) => Err(violation(
                "truncated",
                format!(
                    "{what} length {} at byte {start} exceeds the {} bytes left",
                    grouped(size),
                    self.bytes_left()
                ),
            )),
            Err(_) => Err(violation(
                "bad_length",
                format!("{what} length {length} at byte {start} is negative"),
            )),
        }
    }

    #[inline]
    pub(crate) fn text(&mut self) -> Result<&'a str, InvalidDatum> {
        let start = self.position;
        let bytes = self.length_prefixed("string")?;
        std::str::from_utf8(bytes).map_err(|error| {
            let at = self.position - bytes.len() + error.valid_up_to();
            violation(
                "invalid_utf8",
                format!(
                    "the string at byte {start} is not UTF-8: byte 0x{:02x} at byte {at}",
                    self.value[at]
                ),
            )
        })
    }

    #[inline]
    pub(crate) fn uuid(&mut self) -> Result<&'a str, InvalidDatum> {
        let start = self.position;
        let text = self.text()?;
        match is_uuid(text) {
            true => Ok(text),
            false => Err(violation(
                "invalid_uuid",
                format!("the string at byte {start} is not a UUID of 36 characters"),
            )),
        }
    }

    #[inline]
    pub(crate) fn decimal(
        &mut self,
        limit: i128,
        fixed: Option<usize>,
    ) -> Result<i128, InvalidDatum> {
        let start = self.position;
        let bytes = match fixed {
            Some(size) => self.take(size, "decimal")?,
            None => self.length_prefixed("decimal")?,
        };
        if bytes.is_empty() {
            return Err(violation(
                "bad_decimal",
                format!("the decimal at byte {start} is 0 bytes long"),
            ));
        }
        match unscaled(bytes) {
            Some(value) if -limit < value && value < limit => Ok(value),
            _ => Err(violation(
                "bad_decimal",
                format!("the decimal at byte {start} has more digits than its type holds"),
            )),
        }
    }

    #[inline]
    pub(crate) fn symbol(&mut self, num_symbols: i64) -> Result<usize, InvalidDatum> {
        let start = self.position;
        let number = self.long()?;
        match (0..num_symbols).contains(&number) {
            true => Ok(number as usize),
            false => Err(violation(
                "bad_enum",
                format!("symbol {number} at byte {start} of an enum of {num_symbols} symbols"),
            )),
        }
    }

    #[inline]
    pub(crate) fn branch(&mut self, num_branches: i64) -> Result<i64, InvalidDatum> {
        let start = self.position;
        let branch = self.long()?;
        match (0..num_branches).contains(&branch) {
            true => Ok(branch),
            false => Err(violation(
                "bad_union_branch",
                format!("union branch {branch} at byte {start}; the schema has {num_branches}"),
            )),
        }
    }
}

/// Big-endian two's complement; `None` when the value needs more than 16 bytes.
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

/// A UUID of 16 bytes as text of 36 characters.
pub(crate) fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut out = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    out
}

/// The 16 bytes of a UUID's text; `None` for any other text.
pub(crate) fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits = || text.bytes().filter_map(|byte| char::from(byte).to_digit(16));
    let mut out = [0; 16];
    for (byte, (high, low)) in
        out.iter_mut().zip(digits().step_by(2).zip(digits().skip(1).step_by(2)))
    {
        *byte = (high << 4 | low) as u8;
    }
    is_uuid(text).then_some(out)
}

/// An Avro duration: months, days and milliseconds, little-endian; `None` when Arrow's interval has
/// no such value.
pub(crate) fn interval(bytes: &[u8]) -> Option<IntervalMonthDayNano> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let whole = |at: usize| i32::try_from(number(at)?).ok();
    Some(IntervalMonthDayNano::new(whole(0)?, whole(4)?, i64::from(number(8)?) * NANOS_PER_MILLI))
}

/// The inverse of [`interval`]; `None` for what Avro's duration cannot hold: a negative part, or a
/// fraction of a millisecond.
pub(crate) fn duration(interval: IntervalMonthDayNano) -> Option<[u8; 12]> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let millis = (nanoseconds % NANOS_PER_MILLI == 0).then_some(nanoseconds / NANOS_PER_MILLI)?;
    let parts = [u32::try_from(months), u32::try_from(days), u32::try_from(millis)];
    let mut out = [0; 12];
    for (bytes, part) in out.chunks_exact_mut(4).zip(parts) {
        bytes.copy_from_slice(&part.ok()?.to_le_bytes());
    }
    Some(out)
}

const NANOS_PER_MILLI: i64 = 1_000_000;

/// Whether a text is a UUID as all Avro implementations write it: 8-4-4-4-12 hexadecimal digits.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Digits in groups of three: 2147483000 as 2,147,483,000.
pub(crate) fn grouped(number: impl Display) -> String {
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
