//! CSV with a header line, as RFC 4180 has it: commas, quotes doubled within quotes, line feeds
//! allowed within them.

use super::input::{Input, Line, MAX_LINE, excerpt, strip};
use super::layout::{Layout, Rows};
use super::{Found, MALFORMED_LINE, OpenFile, fault, short};
use crate::source::{Error, Limit, Malformed};
use serde_json::Value;
use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use weir_codec::{Cell, FieldType};
use weir_model::fault::{Fault, VALUE_DOES_NOT_FIT, VALUE_MISSING};

pub(super) struct Csv {
    input: Input,
    file: String,
    columns: Vec<String>,
    /// For each field, its column.
    positions: Vec<Option<usize>>,
    nulls: Vec<String>,
    raw: Vec<u8>,
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
        nulls: &[String],
    ) -> Result<Csv, Error> {
        let mut input = Input::open(path, file)?;
        let file = short(path);
        let mut raw = Vec::new();
        let unfit = |what: String| Error::Unfit(format!("{file}: {what}"));
        let columns = match record(&mut input, &mut raw)? {
            Line::Whole => split(&raw).map_err(|what| unfit(format!("the header line {what}")))?,
            Line::TooLong => {
                return Err(unfit(
                    "the header line is longer than 1 MiB; is it a CSV file?".into(),
                ));
            }
            Line::End => return Err(unfit("it is empty, without a header line".into())),
        };
        let columns: Vec<_> = columns.into_iter().map(|column| column.text.into_owned()).collect();
        let positions = layout.match_columns(path, &columns).map_err(Error::Unfit)?;
        input.resume(within)?;
        Ok(Csv { input, file, columns, positions, nulls: nulls.to_vec(), raw })
    }

    /// The cells of a record, or its fault.
    fn cells<'a>(
        &self,
        raw: &'a [u8],
        line: u64,
        layout: &'a Layout,
    ) -> Result<Vec<Cell<'a>>, Fault> {
        let at = || format!("{} line {line}", self.file);
        let values = split(raw)
            .map_err(|what| fault(MALFORMED_LINE, format!("{}: the line {what}", at())))?;
        if values.len() != self.columns.len() {
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
            cells.push(match values[column].take().filter(|value| !self.is_null(value)) {
                Some(value) => parse(value.text, &field.field_type).map_err(|(text, what)| {
                    let excerpt = excerpt(&text);
                    fault(
                        VALUE_DOES_NOT_FIT,
                        format!("{}, column `{name}`: `{excerpt}` {what}", at()),
                    )
                })?,
                None => field.null().map_err(|()| missing(name))?,
            });
        }
        Ok(cells)
    }

    fn is_null(&self, value: &Item<'_>) -> bool {
        !value.quoted
            && (value.text.is_empty() || self.nulls.iter().any(|null| *null == value.text))
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
            let kind = record(&mut self.input, &mut raw)?;
            if kind == Line::End {
                end = true;
                self.raw = raw;
                break;
            }
            if !strip(&raw).is_empty() {
                match self.add(&raw, line, kind, &mut rows, layout) {
                    None => positions.push(line as i64),
                    Some(fault) => malformed.push(Malformed {
                        bytes: strip(&raw).to_vec(),
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

fn parse<'a>(text: Cow<'a, str>, field_type: &FieldType) -> Result<Cell<'a>, (String, String)> {
    match text {
        Cow::Borrowed(text) => field_type.parse(text).map_err(|what| (text.into(), what)),
        Cow::Owned(text) => match field_type.parse(&text) {
            Ok(cell) => Ok(cell.into_owned()),
            Err(what) => Err((text, what)),
        },
    }
}

/// Reads one record into `raw`: a line, or several lines if a quoted value contains line feeds. A
/// quote that is never closed would consume the rest of the file; then only the first line is
/// taken, and reading continues after it.
fn record(input: &mut Input, raw: &mut Vec<u8>) -> Result<Line, Error> {
    raw.clear();
    let kind = input.line(raw)?;
    let (first, next) = (raw.len(), (input.byte, input.line));
    let mut quoted = kind == Line::Whole && open_at_end(raw, false);
    while quoted {
        let before = raw.len();
        let more = if before < MAX_LINE { input.line(raw)? } else { Line::TooLong };
        if more != Line::Whole {
            raw.truncate(first);
            input.seek(next.0, next.1)?;
            return Ok(Line::TooLong);
        }
        quoted = open_at_end(&raw[before..], true);
    }
    Ok(kind)
}

/// Whether a quoted value is still open after this text; `quoted` is the state at its beginning.
fn open_at_end(text: &[u8], mut quoted: bool) -> bool {
    if !quoted && !text.contains(&b'"') {
        return false;
    }
    let mut start = !quoted;
    let mut bytes = text.iter().peekable();
    while let Some(&byte) = bytes.next() {
        match (byte, quoted) {
            (b'"', true) if bytes.next_if(|&&b| b == b'"').is_none() => quoted = false,
            (b'"', false) if start => quoted = true,
            _ => {}
        }
        start = byte == b',' && !quoted;
    }
    quoted
}

/// The values of a record, or its fault.
fn split(raw: &[u8]) -> Result<Vec<Item<'_>>, String> {
    let text = std::str::from_utf8(strip(raw))
        .map_err(|e| format!("is not UTF-8 at byte {}", e.valid_up_to()))?;
    let mut values = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (value, after) = match text.strip_prefix('"') {
            Some(quoted) => unquote(quoted).ok_or_else(|| {
                format!(
                    "has a value in quotes that is not closed before a comma, its value {}",
                    values.len() + 1
                )
            })?,
            None => match text.split_once(',') {
                Some((value, after)) => (Item { text: value.into(), quoted: false }, Some(after)),
                None => (Item { text: text.into(), quoted: false }, None),
            },
        };
        values.push(value);
        rest = after;
    }
    Ok(values)
}

/// The value up to its closing quote, and what follows the comma behind it.
fn unquote(text: &str) -> Option<(Item<'_>, Option<&str>)> {
    let mut from = 0;
    loop {
        let quote = from + text[from..].find('"')?;
        match text.as_bytes().get(quote + 1) {
            Some(b'"') => from = quote + 2,
            after => {
                let value = &text[..quote];
                let value = if value.contains('"') {
                    value.replace("\"\"", "\"").into()
                } else {
                    value.into()
                };
                let rest = match after {
                    Some(b',') => Some(&text[quote + 2..]),
                    None => None,
                    Some(_) => return None,
                };
                return Some((Item { text: value, quoted: true }, rest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Result<Vec<String>, String> {
        split(line.as_bytes())
            .map(|values| values.into_iter().map(|v| v.text.into_owned()).collect())
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
        assert!(open_at_end(b"a,\"b\n", false));
        assert!(!open_at_end(b"c\",d\n", true));
        assert!(open_at_end(b"c\"\",d\n", true));
        assert!(!open_at_end(b"5\" pipe,x\n", false));
    }
}
