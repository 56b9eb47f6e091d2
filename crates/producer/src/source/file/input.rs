//! Lines of a file as UTF-8, with their positions in the file, in bounded memory.

use super::unavailable;
use crate::source::Error;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A longer line, or a longer quoted value, is malformed. This limits the memory, and Kafka would
/// not accept it either.
pub(super) const MAX_LINE: usize = 1 << 20;
const BUFFER: usize = 1 << 18;

pub(super) struct Input {
    reader: BufReader<File>,
    path: PathBuf,
    encoding: &'static Encoding,
    /// The bytes of the record at hand, where they are not UTF-8.
    original: Vec<u8>,
    /// Where the next line begins.
    pub(super) byte: u64,
    /// Its number; the first is 1.
    pub(super) line: u64,
}

/// Whether a line is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Whole,
    /// Only its beginning was kept; the rest was skipped.
    TooLong,
    /// It is not of the encoding.
    Undecodable,
    /// There is none.
    End,
}

impl Input {
    /// Opens at the beginning, behind a byte order mark, which decides on the encoding.
    pub(super) fn open(
        path: &Path,
        file: File,
        encoding: &'static Encoding,
    ) -> Result<Input, Error> {
        let mut input = Input {
            reader: BufReader::with_capacity(BUFFER, file),
            path: path.into(),
            encoding,
            original: Vec::new(),
            byte: 0,
            line: 1,
        };
        let beginning = input.reader.fill_buf().map_err(|e| unavailable(path, &e))?;
        if let Some((marked, length)) = Encoding::for_bom(beginning) {
            input.reader.consume(length);
            (input.encoding, input.byte) = (marked, length as u64);
        }
        Ok(input)
    }

    /// The name of the encoding.
    pub(super) fn encoding(&self) -> &'static str {
        self.encoding.name()
    }

    /// A record begins.
    pub(super) fn begin(&mut self) {
        self.original.clear();
    }

    /// The record's bytes in the file, which is `line` in UTF-8, without the end of its line.
    pub(super) fn original(&self, line: &[u8]) -> Vec<u8> {
        if self.encoding == UTF_8 {
            return strip(line).to_vec();
        }
        let ends: [&[u8]; 2] = match self.unit() {
            Some(Unit { newline, carriage_return }) => [newline, carriage_return],
            None => [b"\n", b"\r"],
        };
        let strip_end = |bytes: &[u8], end: &[u8]| bytes.strip_suffix(end).unwrap_or(bytes).len();
        let length = strip_end(&self.original, ends[0]);
        let length = strip_end(&self.original[..length], ends[1]);
        self.original[..length].to_vec()
    }

    /// How ends of lines are written, where that takes two bytes.
    fn unit(&self) -> Option<Unit> {
        match self.encoding {
            encoding if encoding == UTF_16LE => {
                Some(Unit { newline: b"\n\0", carriage_return: b"\r\0" })
            }
            encoding if encoding == UTF_16BE => {
                Some(Unit { newline: b"\0\n", carriage_return: b"\0\r" })
            }
            _ => None,
        }
    }

    /// Goes to a position that [`Input::position`] returned; null: stays where it is.
    pub(super) fn resume(&mut self, position: &Value) -> Result<(), Error> {
        if position.is_null() {
            return Ok(());
        }
        let (Some(byte), Some(line)) = (position["byte"].as_u64(), position["line"].as_u64())
        else {
            return Err(Error::Lost(format!(
                "{position} is not a position in {}",
                self.path.display()
            )));
        };
        let size = self.reader.get_ref().metadata().map_err(|e| unavailable(&self.path, &e))?.len();
        if size < byte {
            return Err(Error::Lost(format!(
                "{} has {size} bytes now, but {byte} of them were read before",
                self.path.display()
            )));
        }
        if byte > 0 && size > byte && !self.ends_line(byte)? {
            // The line may be ended now, and no more.
            let length = self.unit().map_or(1, |unit| unit.newline.len()) as u64;
            if size >= byte + length && self.ends_line(byte + length)? {
                return self.seek(byte + length, line);
            }
            return Err(Error::Lost(format!(
                "{} ended without a line feed when line {} was read, and that line goes on now; \
                 cut the file to {byte} bytes, and give what was appended a new file",
                self.path.display(),
                line - 1
            )));
        }
        self.seek(byte, line)
    }

    /// Whether the byte before this one is a line feed.
    fn ends_line(&self, byte: u64) -> Result<bool, Error> {
        let newline = self.unit().map_or(&b"\n"[..], |unit| unit.newline);
        let mut before = vec![0; newline.len().min(byte as usize)];
        let at = byte - before.len() as u64;
        let read = self.reader.get_ref().read_exact_at(&mut before, at);
        read.map_err(|e| unavailable(&self.path, &e))?;
        Ok(before == newline)
    }

    /// Where the next line begins.
    pub(super) fn position(&self) -> Value {
        json!({ "byte": self.byte, "line": self.line })
    }

    pub(super) fn seek(&mut self, byte: u64, line: u64) -> Result<(), Error> {
        self.reader.seek(SeekFrom::Start(byte)).map_err(|e| unavailable(&self.path, &e))?;
        (self.byte, self.line) = (byte, line);
        Ok(())
    }

    /// Adds the next line with its line feed to `to`.
    pub(super) fn line(&mut self, to: &mut Vec<u8>) -> Result<Line, Error> {
        if self.encoding == UTF_8 {
            return self.raw_line(to);
        }
        let (mut original, start) = (std::mem::take(&mut self.original), to.len());
        let from = original.len();
        let kind = self.raw_line(&mut original)?;
        let decoded =
            self.encoding.decode_without_bom_handling_and_without_replacement(&original[from..]);
        match &decoded {
            Some(text) => to.extend_from_slice(text.as_bytes()),
            None => to.truncate(start),
        }
        let kind = if decoded.is_none() && kind == Line::Whole { Line::Undecodable } else { kind };
        self.original = original;
        Ok(kind)
    }

    fn raw_line(&mut self, to: &mut Vec<u8>) -> Result<Line, Error> {
        let read = self.bounded(to)?;
        if read == 0 {
            return Ok(Line::End);
        }
        self.line += 1;
        if read < MAX_LINE || self.is_whole(to) {
            return Ok(Line::Whole);
        }
        let mut rest = Vec::new();
        loop {
            let read = self.bounded(&mut rest)?;
            if read == 0 || self.is_whole(&rest) {
                return Ok(Line::TooLong);
            }
            rest.clear();
        }
    }

    fn is_whole(&self, line: &[u8]) -> bool {
        line.ends_with(self.unit().map_or(b"\n", |unit| unit.newline))
    }

    /// Up to a line feed, or as many bytes as a line may have.
    fn bounded(&mut self, to: &mut Vec<u8>) -> Result<usize, Error> {
        let (start, unit) = (to.len(), self.unit());
        loop {
            let room = MAX_LINE - (to.len() - start);
            let mut limited = (&mut self.reader).take(room as u64);
            let found = limited.read_until(b'\n', to).map_err(|e| unavailable(&self.path, &e))?;
            let mut read = to.len() - start;
            // In UTF-16 the byte of a line feed may be a part of another character.
            let is_end = unit.is_none_or(|unit| {
                if read % 2 == 1 {
                    let more = (&mut self.reader).take(1).read_to_end(to);
                    read += more.unwrap_or(0);
                }
                read.is_multiple_of(2) && to[start..].ends_with(unit.newline)
            });
            if is_end || found == 0 || read >= MAX_LINE {
                self.byte += read as u64;
                return Ok(read);
            }
        }
    }
}

/// Ends of lines in two bytes.
#[derive(Clone, Copy)]
struct Unit {
    newline: &'static [u8],
    carriage_return: &'static [u8],
}

/// A line without its line feed and carriage return.
pub(super) fn strip(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The beginning of a value, for messages.
pub(super) fn excerpt(text: &str) -> String {
    let mut short: String =
        text.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}
