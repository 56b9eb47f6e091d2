//! The bytes of a message: tags, numbers and lengths, each with the byte where it is.

use crate::datum::{InvalidDatum, grouped, violation};

/// Most groups inside one another that are passed over.
const MAX_GROUPS: usize = 64;
/// Of a field.
const MAX_NUMBER: u64 = (1 << 29) - 1;

/// How the value of a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireType {
    Varint,
    Fixed64,
    Length,
    StartGroup,
    EndGroup,
    Fixed32,
}

impl WireType {
    fn name(self) -> &'static str {
        match self {
            WireType::Varint => "a varint",
            WireType::Fixed64 => "8 bytes",
            WireType::Length => "bytes with a length",
            WireType::StartGroup => "a group",
            WireType::EndGroup => "the end of a group",
            WireType::Fixed32 => "4 bytes",
        }
    }
}

/// A position in a part of a value.
#[derive(Debug, Clone)]
pub(super) struct Wire<'a> {
    value: &'a [u8],
    position: usize,
    end: usize,
}

impl<'a> Wire<'a> {
    /// From byte `start` of `value` up to byte `end`, which are inside of it.
    pub(super) fn new(value: &'a [u8], start: usize, end: usize) -> Wire<'a> {
        let end = end.min(value.len());
        Wire { value, position: start.min(end), end }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.position == self.end
    }

    fn left(&self) -> &'a [u8] {
        &self.value[self.position..self.end]
    }

    /// The number of the next field and how it is written.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<(u32, WireType), InvalidDatum> {
        let start = self.position;
        let tag = self.varint()?;
        let wire_type = match tag & 7 {
            0 => WireType::Varint,
            1 => WireType::Fixed64,
            2 => WireType::Length,
            3 => WireType::StartGroup,
            4 => WireType::EndGroup,
            5 => WireType::Fixed32,
            other => return Err(bad_tag(start, format!("has the wire type {other}"))),
        };
        match tag >> 3 {
            number @ 1..=MAX_NUMBER => Ok((number as u32, wire_type)),
            number => Err(bad_tag(start, format!("has the field number {number}"))),
        }
    }

    /// Bytes of the value, between two of its positions.
    pub(super) fn slice(&self, from: usize, to: usize) -> &'a [u8] {
        self.value.get(from..to).unwrap_or_default()
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, InvalidDatum> {
        match self.left().first() {
            Some(&byte) if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, InvalidDatum> {
        let start = self.position;
        let mut number = 0u64;
        for (index, &byte) in self.left().iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                let text = format!("the number at byte {start} does not fit 64 bits");
                return Err(violation("bad_varint", text));
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.position += index + 1;
                return Ok(number);
            }
        }
        let left = self.left().len();
        Err(violation(
            "truncated",
            format!("the number at byte {start} is cut off after {left} bytes"),
        ))
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], InvalidDatum> {
        match self.left().first_chunk() {
            Some(bytes) => {
                self.position += N;
                Ok(*bytes)
            }
            None => Err(self.truncated(N as u64, self.position)),
        }
    }

    /// The start and the end of bytes with a length.
    #[inline]
    pub(super) fn length(&mut self) -> Result<(usize, usize), InvalidDatum> {
        let start = self.position;
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) if length <= self.left().len() => {
                let from = self.position;
                self.position += length;
                Ok((from, self.position))
            }
            _ => Err(self.truncated(length, start)),
        }
    }

    #[cold]
    fn truncated(&self, size: u64, at: usize) -> InvalidDatum {
        let (size, left) = (grouped(size), self.left().len());
        violation("truncated", format!("{size} bytes at byte {at} exceed the {left} bytes left"))
    }

    /// Passes over the value of a field.
    pub(super) fn skip(&mut self, number: u32, wire_type: WireType) -> Result<(), InvalidDatum> {
        match wire_type {
            WireType::Varint => self.varint().map(drop),
            WireType::Fixed64 => self.array::<8>().map(drop),
            WireType::Length => self.length().map(drop),
            WireType::Fixed32 => self.array::<4>().map(drop),
            WireType::StartGroup => self.group(number).map(drop),
            WireType::EndGroup => Err(self.no_group(number)),
        }
    }

    /// Passes over a group that has begun; returns the start and the end of what is in it.
    pub(super) fn group(&mut self, number: u32) -> Result<(usize, usize), InvalidDatum> {
        let from = self.position;
        let mut open = vec![number];
        while let Some(group) = open.last().copied() {
            if self.is_at_end() {
                let text = format!("the group at byte {from} has no end");
                return Err(violation("truncated", text));
            }
            let start = self.position;
            match self.tag()? {
                (number, WireType::EndGroup) if number == group => {
                    open.pop();
                    if open.is_empty() {
                        return Ok((from, start));
                    }
                }
                (number, WireType::EndGroup) => return Err(self.no_group(number)),
                (_, WireType::StartGroup) if open.len() == MAX_GROUPS => {
                    let text = format!("groups are nested deeper than {MAX_GROUPS} levels");
                    return Err(violation("too_deep", text));
                }
                (number, WireType::StartGroup) => open.push(number),
                (number, wire_type) => self.skip(number, wire_type)?,
            }
        }
        Ok((from, from))
    }

    #[cold]
    fn no_group(&self, number: u32) -> InvalidDatum {
        let text = format!("before byte {} ends a group {number} that is not open", self.position);
        violation("bad_tag", text)
    }

    /// The value that begins here is not written as its type says.
    #[cold]
    pub(super) fn other(&self, wire_type: WireType, expected: WireType) -> InvalidDatum {
        let (actual, expected) = (wire_type.name(), expected.name());
        let text = format!("the value at byte {} is {actual}, not {expected}", self.position);
        violation("bad_wire_type", text)
    }
}

#[cold]
fn bad_tag(start: usize, what: String) -> InvalidDatum {
    violation("bad_tag", format!("the tag at byte {start} {what}, which Protobuf does not have"))
}
