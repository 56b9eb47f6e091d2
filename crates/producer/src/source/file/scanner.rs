//! The text of a file unit by unit, with line and column, in bounded memory; and the values of JSON
//! in it: where each ends, without reading what it is.

use super::unavailable;
use crate::source::Error;
use encoding_rs::{Encoding, UTF_8, UTF_16BE};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BUFFER: usize = 1 << 18;
/// Values are not nested deeper than this.
const MAX_DEPTH: usize = 512;

/// A place in a file. Lines and columns are counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) byte: u64,
    pub(super) line: u64,
    pub(super) column: u64,
}

/// The rest of the file cannot be told apart into values.
#[derive(Debug)]
pub(super) enum Stop {
    /// What is wrong there.
    Broken(Place, String),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

pub(super) struct Scanner {
    file: File,
    path: PathBuf,
    pub(super) encoding: &'static Encoding,
    /// Bytes of the file from `start`.
    buffer: Vec<u8>,
    start: u64,
    place: Place,
}

impl Scanner {
    /// At the beginning, behind a byte order mark, which decides on the encoding; else UTF-8.
    pub(super) fn open(path: &Path, file: File) -> Result<Scanner, Error> {
        let place = Place { byte: 0, line: 1, column: 1 };
        let (encoding, path) = (UTF_8, path.into());
        let mut scanner = Scanner { file, path, encoding, buffer: Vec::new(), start: 0, place };
        scanner.fill()?;
        if let Some((marked, length)) = Encoding::for_bom(&scanner.buffer) {
            (scanner.encoding, scanner.place.byte) = (marked, length as u64);
        }
        Ok(scanner)
    }

    /// The first text of the file, as far as it is buffered, and whether it is all of it.
    pub(super) fn beginning(&self) -> Result<(String, bool), Error> {
        let metadata = self.file.metadata().map_err(|e| unavailable(&self.path, &e))?;
        let bytes = &self.buffer[self.place.byte as usize..];
        let (text, ..) = self.encoding.decode_without_bom_handling(bytes);
        Ok((text.into_owned(), self.buffer.len() as u64 >= metadata.len()))
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn seek(&mut self, place: Place) {
        self.place = place;
    }

    fn fill(&mut self) -> Result<(), Error> {
        self.start = self.place.byte;
        self.buffer.resize(BUFFER, 0);
        let mut length = 0;
        while length < BUFFER {
            let at = self.start + length as u64;
            match self.file.read_at(&mut self.buffer[length..], at) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unavailable(&self.path, &error)),
            }
        }
        self.buffer.truncate(length);
        Ok(())
    }

    /// Bytes of a unit: the half of a surrogate pair is one.
    fn width(&self) -> usize {
        if self.encoding == UTF_8 { 1 } else { 2 }
    }

    /// The bytes of the next unit; none at the end of the file.
    #[inline]
    fn unit(&mut self) -> Result<&[u8], Error> {
        let width = self.width();
        let buffered = |s: &Scanner| {
            let at = s.place.byte.checked_sub(s.start)? as usize;
            (at + width <= s.buffer.len()).then_some(at)
        };
        let at = match buffered(self) {
            Some(at) => Some(at),
            None => {
                self.fill()?;
                buffered(self)
            }
        };
        Ok(at.map_or(&[], |at| &self.buffer[at..at + width]))
    }

    /// The next unit, if it is ASCII; any other is more than 127. `None` at the end of the file.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Error> {
        let is_big_endian = self.encoding == UTF_16BE;
        Ok(match *self.unit()? {
            [byte] => Some(byte),
            [a, b] => {
                let (high, low) = if is_big_endian { (a, b) } else { (b, a) };
                Some(if high == 0 && low < 0x80 { low } else { 0x80 })
            }
            _ => None,
        })
    }

    /// Goes over the next unit, and adds its bytes to `to` while that is shorter than `room`.
    #[inline]
    pub(super) fn take(&mut self, to: &mut Vec<u8>, room: usize) -> Result<(), Error> {
        let newline: &[u8] = match self.encoding {
            encoding if encoding == UTF_8 => b"\n",
            encoding if encoding == UTF_16BE => b"\0\n",
            _ => b"\n\0",
        };
        let unit = self.unit()?;
        let (width, is_newline) = (unit.len(), unit == newline);
        // The bytes of a character of UTF-8 behind its first.
        let is_inner = matches!(unit, [byte] if byte & 0xc0 == 0x80);
        if to.len() + width <= room {
            to.extend_from_slice(unit);
        }
        self.place.byte += width as u64;
        match is_newline {
            true => (self.place.line, self.place.column) = (self.place.line + 1, 1),
            false => self.place.column += u64::from(!is_inner),
        }
        Ok(())
    }
}

impl Scanner {
    pub(super) fn skip(&mut self) -> Result<(), Error> {
        self.take(&mut Vec::new(), 0)
    }

    /// Goes over blanks; also over the mark that begins a text in a sequence (RFC 7464).
    pub(super) fn skip_blanks(&mut self) -> Result<(), Error> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r' | 0x1e) = self.peek()? {
            self.skip()?;
        }
        Ok(())
    }

    /// Goes over a value of JSON that begins here. Its bytes are added to `to`, but no more than
    /// `room`; whether that is all of them.
    ///
    /// A value need not be JSON for its end to be found: its brackets must match, and its texts must
    /// stand where texts may. Otherwise a quote is missing or too much, and what looks like the
    /// end may be in the middle of a text.
    pub(super) fn value(&mut self, to: &mut Vec<u8>, room: usize) -> Result<bool, Stop> {
        let begin = self.place;
        let mut open: Vec<u8> = Vec::new();
        // The last unit that is no blank: a quote for a text, and `a` for anything but a bracket.
        let mut last = b',';
        loop {
            let unit = self.peek()?;
            let broken = |place: Place, what: String| Err(Stop::Broken(place, what));
            match unit {
                None => return broken(begin, "the file ends in the value that begins here".into()),
                Some(b'"' | b'{' | b'[') if matches!(last, b'"' | b'a' | b'}' | b']') => {
                    let what = "a value begins here without a comma or a colon before it";
                    return broken(self.place, what.into());
                }
                Some(b'"') => {
                    self.text(to, room)?;
                    last = b'"';
                }
                Some(unit @ (b'{' | b'[')) => {
                    open.push(unit + 2);
                    if open.len() > MAX_DEPTH {
                        return broken(
                            self.place,
                            format!("nested deeper than {MAX_DEPTH} levels"),
                        );
                    }
                    self.take(to, room)?;
                    last = unit;
                }
                Some(unit @ (b'}' | b']')) => {
                    if open.last() != Some(&unit) {
                        let what = format!("`{}` closes no bracket", char::from(unit));
                        return broken(self.place, what);
                    }
                    open.pop();
                    self.take(to, room)?;
                    last = unit;
                }
                Some(unit @ (b',' | b':')) if open.is_empty() => {
                    let what = format!("`{}` stands where a value should begin", char::from(unit));
                    return broken(self.place, what);
                }
                Some(unit @ (b',' | b':')) => {
                    self.take(to, room)?;
                    last = unit;
                }
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.take(to, room)?,
                Some(_) if last == b'"' => {
                    let what = "a text ends before this, and neither a comma nor a colon nor a \
                                bracket follows";
                    return broken(self.place, what.into());
                }
                Some(_) => {
                    self.word(to, room)?;
                    last = b'a';
                }
            }
            if open.is_empty() {
                let length = self.place.byte - begin.byte;
                return Ok(length <= room as u64);
            }
        }
    }

    /// Goes over a text in quotes.
    fn text(&mut self, to: &mut Vec<u8>, room: usize) -> Result<(), Stop> {
        let begin = self.place;
        self.take(to, room)?;
        loop {
            self.plain_text(to, room)?;
            match self.peek()? {
                None => {
                    let what = "the file ends in the text that begins here";
                    return Err(Stop::Broken(begin, what.into()));
                }
                Some(b'"') => return Ok(self.take(to, room)?),
                Some(b'\\') => {
                    self.take(to, room)?;
                    self.take(to, room)?;
                }
                Some(_) => self.take(to, room)?,
            }
        }
    }

    /// Goes over what is buffered of a text and has no meaning, at once.
    fn plain_text(&mut self, to: &mut Vec<u8>, room: usize) -> Result<(), Error> {
        if self.encoding != UTF_8 || self.unit()?.is_empty() {
            return Ok(());
        }
        let buffered = &self.buffer[(self.place.byte - self.start) as usize..];
        let end = buffered.iter().position(|byte| matches!(byte, b'"' | b'\\' | b'\n'));
        let plain = &buffered[..end.unwrap_or(buffered.len())];
        to.extend_from_slice(&plain[..plain.len().min(room.saturating_sub(to.len()))]);
        self.place.byte += plain.len() as u64;
        self.place.column += plain.iter().filter(|byte| **byte & 0xc0 != 0x80).count() as u64;
        Ok(())
    }

    /// Goes over anything up to a blank or a character that has a meaning.
    fn word(&mut self, to: &mut Vec<u8>, room: usize) -> Result<(), Error> {
        loop {
            match self.peek()? {
                None => return Ok(()),
                Some(
                    b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'{' | b'}' | b'[' | b']' | b'"',
                ) => return Ok(()),
                Some(_) => self.take(to, room)?,
            }
        }
    }
}
