//! CSV, as RFC 4180 has it: a header line, commas, quotes doubled within quotes, line feeds allowed
//! within them. What else there is under this name is described by the pipeline file.

use super::input::{Input, Line, MAX_LINE, excerpt, strip};
use super::layout::{Layout, Rows};
use super::{Found, MALFORMED_LINE, OpenFile, fault, short};
use crate::source::{Error, Limit, Malformed};
use encoding_rs::{Encoding, UTF_8};
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fs::File;
use std::path::Path;
use weir_codec::{Cell, FieldType, TextFormat};
use weir_model::fault::{Fault, VALUE_DOES_NOT_FIT, VALUE_MISSING};
use weir_model::mistake::Mistake;
use weir_model::pipeline::FileSource;

pub(super) struct Csv {
    input: Input,
    file: String,
    columns: Vec<String>,
    /// For each field, its column.
    positions: Vec<Option<usize>>,
    dialect: Dialect,
    raw: Vec<u8>,
}

/// How the values of a file are written.
#[derive(Clone)]
pub(super) struct Dialect {
    delimiter: char,
    quote: Option<char>,
    encoding: &'static Encoding,
    comment: String,
    /// Names of the columns, where the file has no header line.
    header: Vec<String>,
    short_lines: bool,
    nulls: Vec<String>,
    format: TextFormat,
}

/// What is wrong with a format.
type CheckFormat = fn(&str) -> Result<(), String>;

impl Dialect {
    /// # Errors
    /// An encoding that is unknown, or a format that does not name all of a date or time.
    pub(super) fn new(config: &FileSource) -> Result<Dialect, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let mut report = |key: &str, value: &str, what: String| {
            mistakes.push(Mistake::new(format!("source.{key}"), format!("`{value}` {what}")));
        };
        let encoding = Encoding::for_label(config.encoding.as_bytes()).unwrap_or_else(|| {
            let what = "is not an encoding; there are utf-8, latin1, windows-1252, utf-16le, …";
            report("encoding", &config.encoding, what.into());
            UTF_8
        });
        let checks: [(_, _, CheckFormat); 3] = [
            ("date_format", &config.date_format, TextFormat::check_date),
            ("time_format", &config.time_format, TextFormat::check_time),
            ("timestamp_format", &config.timestamp_format, TextFormat::check_timestamp),
        ];
        for (key, format, check) in checks {
            if let Some((format, what)) = format.as_ref().and_then(|f| Some((f, check(f).err()?))) {
                report(key, format, what);
            }
        }
        let format = TextFormat {
            decimal_separator: config.decimal_separator.chars().next().unwrap_or('.'),
            thousands_separator: config.thousands_separator.chars().next(),
            date: config.date_format.clone(),
            time: config.time_format.clone(),
            timestamp: config.timestamp_format.clone(),
        };
        let dialect = Dialect {
            delimiter: config.delimiter.chars().next().unwrap_or(','),
            quote: config.quote.chars().next(),
            encoding,
            comment: config.comment.clone(),
            header: config.header.clone(),
            short_lines: config.short_lines,
            nulls: config.nulls.clone(),
            format,
        };
        if mistakes.is_empty() { Ok(dialect) } else { Err(mistakes) }
    }

    /// Values separated by this, in quotes where needed, and nothing else that is unusual.
    pub(super) fn of(delimiter: char) -> Dialect {
        Dialect {
            delimiter,
            quote: Some('"'),
            encoding: UTF_8,
            comment: String::new(),
            header: Vec::new(),
            short_lines: false,
            nulls: Vec::new(),
            format: TextFormat::default(),
        }
    }

    /// The records of a text, `None` where there is no value; those that are malformed are left out.
    pub(super) fn records(&self, text: &str) -> Vec<Vec<Option<String>>> {
        let (mut records, mut open, mut quoted) = (Vec::new(), String::new(), false);
        for line in text.split_inclusive('\n') {
            open.push_str(line);
            quoted = self.open_at_end(line.as_bytes(), quoted) && open.len() < MAX_LINE;
            if quoted {
                continue;
            }
            if !strip(open.as_bytes()).is_empty()
                && let Ok(values) = self.split(open.as_bytes())
            {
                let value = |item: Item<'_>| (!self.is_null(&item)).then(|| item.text.into_owned());
                records.push(values.into_iter().map(value).collect());
            }
            open.clear();
        }
        records
    }

    /// Whether a line is left out.
    fn is_comment(&self, raw: &[u8]) -> bool {
        !self.comment.is_empty() && raw.starts_with(self.comment.as_bytes())
    }

    fn is_null(&self, value: &Item<'_>) -> bool {
        !value.quoted
            && (value.text.is_empty() || self.nulls.iter().any(|null| *null == value.text))
    }
}

/// A value as it is in the line.
#[derive(Debug, PartialEq)]
struct Item<'a> {
    text: Cow<'a, str>,
    /// An empty value in quotes is an empty text; without, it is no value.
    quoted: bool,
}

impl Csv {
    pub(super) fn open(
        path: &Path,
        file: File,
        within: &Value,
        layout: &Layout,
        dialect: &Dialect,
    ) -> Result<Csv, Error> {
        let mut input = Input::open(path, file, dialect.encoding)?;
        let file = short(path);
        let mut raw = Vec::new();
        let columns = match dialect.header.is_empty() {
            true => dialect.header_line(&mut input, &mut raw).map_err(|error| match error {
                Error::Unfit(what) => Error::Unfit(format!("{file}: {what}")),
                other => other,
            })?,
            false => dialect.header.clone(),
        };
        let positions = layout.match_columns(path, &columns).map_err(Error::Unfit)?;
        input.resume(within)?;
        Ok(Csv { input, file, columns, positions, dialect: dialect.clone(), raw })
    }

    /// The cells of a record, or its fault.
    fn cells<'a>(
        &self,
        raw: &'a [u8],
        line: u64,
        layout: &'a Layout,
    ) -> Result<Vec<Cell<'a>>, Fault> {
        let at = || format!("{} line {line}", self.file);
        let values = (self.dialect.split(raw))
            .map_err(|what| fault(MALFORMED_LINE, format!("{}: the line {what}", at())))?;
        let fits = match values.len().cmp(&self.columns.len()) {
            Ordering::Less => self.dialect.short_lines,
            ordering => ordering == Ordering::Equal,
        };
        if !fits {
            let what = format!(
                "{}: the line has {} values, the header has {}",
                at(),
                values.len(),
                self.columns.len()
            );
            return Err(fault(MALFORMED_LINE, what));
        }
        let missing = |column: &str| {
            fault(VALUE_MISSING, format!("{}, column `{column}`: there is no value", at()))
        };
        let mut values: Vec<_> = values.into_iter().map(Some).collect();
        let mut cells = Vec::with_capacity(self.positions.len());
        for (field, position) in layout.fields.iter().zip(&self.positions) {
            let Some(column) = *position else {
                cells.push(field.absent().map_err(|()| missing(&field.name))?);
                continue;
            };
            let name = &self.columns[column];
            // A short line lacks the last ones.
            let value = values.get_mut(column).and_then(Option::take);
            cells.push(match value.filter(|value| !self.dialect.is_null(value)) {
                Some(value) => {
                    self.parse(value.text, &field.field_type).map_err(|(text, what)| {
                        let excerpt = excerpt(&text);
                        fault(
                            VALUE_DOES_NOT_FIT,
                            format!("{}, column `{name}`: `{excerpt}` {what}", at()),
                        )
                    })?
                }
                None => field.null().map_err(|()| missing(name))?,
            });
        }
        Ok(cells)
    }

    fn parse<'a>(
        &self,
        text: Cow<'a, str>,
        field_type: &FieldType,
    ) -> Result<Cell<'a>, (String, String)> {
        let format = &self.dialect.format;
        match text {
            Cow::Borrowed(text) => {
                field_type.parse_as(text, format).map_err(|what| (text.into(), what))
            }
            Cow::Owned(text) => match field_type.parse_as(&text, format) {
                Ok(cell) => Ok(cell.into_owned()),
                Err(what) => Err((text, what)),
            },
        }
    }

    fn add(
        &self,
        raw: &[u8],
        line: u64,
        kind: Line,
        rows: &mut Rows<'_>,
        layout: &Layout,
    ) -> Option<Fault> {
        if kind == Line::TooLong {
            let what = format!(
                "{} line {line}: the line, or a value in quotes, is longer than {MAX_LINE} bytes \
                 or never ends",
                self.file
            );
            return Some(fault(MALFORMED_LINE, what));
        }
        if kind == Line::Undecodable {
            let (file, encoding) = (&self.file, self.input.encoding());
            let what = format!("{file} line {line}: the line is not {encoding}");
            return Some(fault(MALFORMED_LINE, what));
        }
        match self.cells(raw, line, layout) {
            Ok(cells) => rows.push(&cells),
            Err(fault) => return Some(fault),
        }
        None
    }
}

impl OpenFile for Csv {
    fn read(&mut self, limit: Limit, layout: &Layout) -> Result<Found, Error> {
        let mut rows = layout.rows();
        let (mut positions, mut malformed) = (Vec::new(), Vec::new());
        let (start, mut end) = (self.input.byte, false);
        while rows.len() + malformed.len() < limit.records
            && (self.input.byte - start) < limit.bytes as u64
        {
            let line = self.input.line;
            let mut raw = std::mem::take(&mut self.raw);
            let kind = self.dialect.record(&mut self.input, &mut raw)?;
            if kind == Line::End {
                end = true;
                self.raw = raw;
                break;
            }
            if kind != Line::Whole || !strip(&raw).is_empty() && !self.dialect.is_comment(&raw) {
                match self.add(&raw, line, kind, &mut rows, layout) {
                    None => positions.push(line as i64),
                    Some(fault) => malformed.push(Malformed {
                        bytes: self.input.original(&raw),
                        fault,
                        position: line as i64,
                    }),
                }
            }
            self.raw = raw;
        }
        let batch = rows.finish().map_err(|e| Error::Unfit(format!("{}: {e}", self.file)))?;
        Ok(Found { batch, positions, malformed, within: self.input.position(), end })
    }
}

impl Dialect {
    /// The names in the first line that is no comment.
    fn header_line(&self, input: &mut Input, raw: &mut Vec<u8>) -> Result<Vec<String>, Error> {
        let unfit = |what: String| Err(Error::Unfit(what));
        loop {
            match self.record(input, raw)? {
                Line::Whole if self.is_comment(raw) => {}
                Line::Whole => break,
                Line::TooLong => {
                    return unfit("the header line is longer than 1 MiB; is it a CSV file?".into());
                }
                Line::Undecodable => {
                    return unfit(format!("the header line is not {}", input.encoding()));
                }
                Line::End => return unfit("it is empty, without a header line".into()),
            }
        }
        match self.split(raw) {
            Ok(names) => Ok(names.into_iter().map(|name| name.text.into_owned()).collect()),
            Err(what) => unfit(format!("the header line {what}")),
        }
    }

    /// Reads one record into `raw`: a line, or several lines if a quoted value contains line feeds.
    /// A quote that is never closed would consume the rest of the file; then only the first line is
    /// taken, and reading continues after it.
    fn record(&self, input: &mut Input, raw: &mut Vec<u8>) -> Result<Line, Error> {
        raw.clear();
        input.begin();
        let kind = input.line(raw)?;
        let (first, next) = (raw.len(), (input.byte, input.line));
        let is_one = kind != Line::Whole || self.is_comment(raw);
        let mut quoted = !is_one && self.open_at_end(raw, false);
        while quoted {
            let before = raw.len();
            let more = if before < MAX_LINE { input.line(raw)? } else { Line::TooLong };
            if more != Line::Whole {
                raw.truncate(first);
                input.seek(next.0, next.1)?;
                return Ok(Line::TooLong);
            }
            quoted = self.open_at_end(&raw[before..], true);
        }
        Ok(kind)
    }

    /// Whether a quoted value is still open after this text; `quoted` is the state at its
    /// beginning.
    fn open_at_end(&self, text: &[u8], mut quoted: bool) -> bool {
        let Some(quote) = self.quote else { return false };
        let (mut quote_bytes, mut delimiter_bytes) = ([0; 4], [0; 4]);
        let quote = quote.encode_utf8(&mut quote_bytes).as_bytes();
        let delimiter = self.delimiter.encode_utf8(&mut delimiter_bytes).as_bytes();
        if !quoted && !text.contains(&quote[0]) {
            return false;
        }
        // A line that is not UTF-8 has quotes all the same.
        let (mut rest, mut start) = (text, !quoted);
        while !rest.is_empty() {
            let (mut length, is_start) = (1, start);
            start = false;
            if rest.starts_with(quote) {
                length = quote.len();
                match quoted {
                    true if rest[length..].starts_with(quote) => length *= 2,
                    true => quoted = false,
                    false => quoted = is_start,
                }
            } else if rest.starts_with(delimiter) {
                length = delimiter.len();
                start = !quoted;
            }
            rest = &rest[length..];
        }
        quoted
    }

    /// The values of a record, or its fault.
    fn split<'a>(&self, raw: &'a [u8]) -> Result<Vec<Item<'a>>, String> {
        let text = std::str::from_utf8(strip(raw))
            .map_err(|e| format!("is not UTF-8 at byte {}", e.valid_up_to()))?;
        let mut values = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let quoted = self.quote.and_then(|quote| Some((quote, text.strip_prefix(quote)?)));
            let (value, after) = match quoted {
                Some((quote, quoted)) => self.unquote(quote, quoted).ok_or_else(|| {
                    format!(
                        "has a value in quotes that is not closed before a delimiter, its value {}",
                        values.len() + 1
                    )
                })?,
                None => match text.split_once(self.delimiter) {
                    Some((value, after)) => {
                        (Item { text: value.into(), quoted: false }, Some(after))
                    }
                    None => (Item { text: text.into(), quoted: false }, None),
                },
            };
            values.push(value);
            rest = after;
        }
        Ok(values)
    }

    /// The value up to its closing quote, and what follows the delimiter behind it.
    fn unquote<'a>(&self, quote: char, text: &'a str) -> Option<(Item<'a>, Option<&'a str>)> {
        let mut from = 0;
        loop {
            let end = from + text[from..].find(quote)?;
            let behind = &text[end + quote.len_utf8()..];
            if behind.starts_with(quote) {
                from = end + 2 * quote.len_utf8();
                continue;
            }
            let rest = match behind.strip_prefix(self.delimiter) {
                Some(rest) => Some(rest),
                None if behind.is_empty() => None,
                None => return None,
            };
            let value = &text[..end];
            let text = match value.contains(quote) {
                true => value
                    .replace(&[quote, quote].iter().collect::<String>(), &quote.to_string())
                    .into(),
                false => value.into(),
            };
            return Some((Item { text, quoted: true }, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(delimiter: char, quote: Option<char>) -> Dialect {
        Dialect { quote, ..Dialect::of(delimiter) }
    }

    fn comma() -> Dialect {
        dialect(',', Some('"'))
    }

    fn texts(line: &str) -> Result<Vec<String>, String> {
        texts_of(&dialect(',', Some('"')), line)
    }

    fn texts_of(dialect: &Dialect, line: &str) -> Result<Vec<String>, String> {
        let values = dialect.split(line.as_bytes())?;
        Ok(values.into_iter().map(|v| v.text.into_owned()).collect())
    }

    #[test]
    fn delimiter_and_quote_are_any_characters() {
        let line = "1|'a''b|c'|\"|";
        assert_eq!(texts_of(&dialect('|', Some('\'')), line).unwrap(), ["1", "a'b|c", "\"", ""]);
        assert_eq!(texts_of(&dialect('\t', None), "\"a\tb\"").unwrap(), ["\"a", "b\""]);
        assert_eq!(texts_of(&dialect('¦', Some('»')), "»x¦y»¦z").unwrap(), ["x¦y", "z"]);
        assert!(!dialect(',', None).open_at_end(b"\"a\n", false));
        assert!(dialect(';', Some('"')).open_at_end(b"1;\"a\n", false));
    }

    #[test]
    fn quotes_keep_commas_quotes_and_line_feeds() {
        assert_eq!(
            texts("a,\"b,c\",\"d\"\"e\",\"f\ng\",\r\n").unwrap(),
            ["a", "b,c", "d\"e", "f\ng", ""]
        );
        assert_eq!(texts("5\" pipe,x").unwrap(), ["5\" pipe", "x"]);
        assert_eq!(texts("").unwrap(), [""]);
    }

    #[test]
    fn a_broken_quote_is_named_by_its_value() {
        assert!(texts("a,\"b\"c,d").unwrap_err().contains("its value 2"));
        assert!(texts("a,\"b").unwrap_err().contains("its value 2"));
    }

    #[test]
    fn an_open_quote_goes_over_the_line_and_a_stray_one_does_not() {
        assert!(comma().open_at_end(b"a,\"b\n", false));
        assert!(!comma().open_at_end(b"c\",d\n", true));
        assert!(comma().open_at_end(b"c\"\",d\n", true));
        assert!(!comma().open_at_end(b"5\" pipe,x\n", false));
    }
}
