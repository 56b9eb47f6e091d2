//! Lines of a file, with their positions, in bounded memory.

use super::unavailable;
use crate::source::Error;
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
    /// There is none.
    End,
}

impl Input {
    /// Opens at the beginning, behind a byte order mark.
    pub(super) fn open(path: &Path, file: File) -> Result<Input, Error> {
        let mut input = Input {
            reader: BufReader::with_capacity(BUFFER, file),
            path: path.into(),
            byte: 0,
            line: 1,
        };
        let mark = input
            .reader
            .fill_buf()
            .map_err(|e| unavailable(path, &e))?
            .starts_with(&[0xef, 0xbb, 0xbf]);
        if mark {
            input.reader.consume(3);
            input.byte = 3;
        }
        Ok(input)
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
            return Err(Error::Lost(format!(
                "{} ended without a line feed when line {} was read, and that line goes on now; \
                 append whole lines only",
                self.path.display(),
                line - 1
            )));
        }
        self.seek(byte, line)
    }

    /// Whether the byte before this one is a line feed.
    fn ends_line(&self, byte: u64) -> Result<bool, Error> {
        let mut before = [0];
        let read = self.reader.get_ref().read_exact_at(&mut before, byte - 1);
        read.map_err(|e| unavailable(&self.path, &e))?;
        Ok(&before == b"\n")
    }

    /// The first bytes, as far as they are buffered, and whether they are the whole file; nothing
    /// was read before.
    pub(super) fn beginning(&mut self) -> Result<(&[u8], bool), Error> {
        let size = self.reader.get_ref().metadata().map_err(|e| unavailable(&self.path, &e))?.len();
        let beginning = self.reader.fill_buf().map_err(|e| unavailable(&self.path, &e))?;
        let is_all = beginning.len() as u64 + self.byte >= size;
        Ok((beginning, is_all))
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
        let read = self.bounded(to)?;
        if read == 0 {
            return Ok(Line::End);
        }
        self.line += 1;
        if read < MAX_LINE || to.ends_with(b"\n") {
            return Ok(Line::Whole);
        }
        let mut rest = Vec::new();
        loop {
            let read = self.bounded(&mut rest)?;
            if read == 0 || rest.ends_with(b"\n") {
                return Ok(Line::TooLong);
            }
            rest.clear();
        }
    }

    fn bounded(&mut self, to: &mut Vec<u8>) -> Result<usize, Error> {
        let read = (&mut self.reader)
            .take(MAX_LINE as u64)
            .read_until(b'\n', to)
            .map_err(|e| unavailable(&self.path, &e))?;
        self.byte += read as u64;
        Ok(read)
    }
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
