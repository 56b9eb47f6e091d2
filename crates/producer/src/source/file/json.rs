//! Newline-delimited JSON: one object a line.

use super::input::{Input, Line, MAX_LINE, excerpt, strip};
use super::layout::{Field, Layout, clean};
use super::{Found, MALFORMED_LINE, OpenFile, fault, short};
use crate::source::{Error, Limit, Malformed};
use serde_json::Value;
use serde_json::value::RawValue;
use std::fs::File;
use std::path::Path;
use weir_codec::{Cell, JsonObject};
use weir_model::fault::{Fault, VALUE_DOES_NOT_FIT, VALUE_MISSING};

pub(super) struct Json {
    input: Input,
    file: String,
    raw: Vec<u8>,
}

impl Json {
    pub(super) fn open(path: &Path, file: File, within: &Value) -> Result<Json, Error> {
        let mut input = Input::open(path, file)?;
        let file = short(path);
        let (beginning, is_all) = input.beginning()?;
        if let Some(what) = not_one_object_per_line(beginning, is_all) {
            let remedy = "write one object per line, as `jq -c` does (`jq -c '.[]'` for an array)";
            return Err(Error::Unfit(format!("{file}: {what}, not one object per line; {remedy}")));
        }
        input.resume(within)?;
        Ok(Json { input, file, raw: Vec::new() })
    }

    fn cells<'a>(
        &self,
        raw: &'a [u8],
        line: u64,
        kind: Line,
        layout: &'a Layout,
    ) -> Result<Vec<Cell<'a>>, Fault> {
        let at = || format!("{} line {line}", self.file);
        if kind == Line::TooLong {
            return Err(fault(
                MALFORMED_LINE,
                format!("{}: the line is longer than {MAX_LINE} bytes", at()),
            ));
        }
        let members = JsonObject::parse(raw).map_err(|what| {
            fault(MALFORMED_LINE, format!("{}: not a JSON object: {what}", at()))
        })?;
        let missing = |field: &Field| {
            let detail = format!("{}, member `{}`: there is no value", at(), field.name);
            fault(VALUE_MISSING, detail)
        };
        let cell = |field: &'a Field| match find(&members, field) {
            None => field.absent().map_err(|()| missing(field)),
            Some(value) if value.get() == "null" => field.null().map_err(|()| missing(field)),
            Some(value) => field.field_type.parse_json(value).map_err(|what| {
                let excerpt = excerpt(value.get());
                let detail = format!("{}, member `{}`: `{excerpt}` {what}", at(), field.name);
                fault(VALUE_DOES_NOT_FIT, detail)
            }),
        };
        layout.fields.iter().map(cell).collect()
    }
}

/// What a file is that is JSON of another form: its first value goes over the end of its line, or
/// its only line is not one object. Anything else has malformed lines. `is_all` when the file ends
/// where its beginning does.
fn not_one_object_per_line(beginning: &[u8], is_all: bool) -> Option<&'static str> {
    let text = beginning.trim_ascii_start();
    let line_len = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    let first = values.next()?;
    let is_over = values.byte_offset() > line_len;
    let is_only_line = text[line_len..].trim_ascii().is_empty();
    match (first, text.first()?) {
        (Ok(_), b'[') if is_over || is_only_line => Some("it is a JSON array"),
        (Ok(_), b'{') if is_over => Some("its first object goes over several lines"),
        (Ok(_), b'{') if is_only_line && values.next()?.is_ok() => {
            Some("its only line has several objects")
        }
        // The value goes on behind what was looked at.
        (Err(error), b'[') if error.is_eof() && !is_only_line && !is_all => {
            Some("it is a JSON array")
        }
        (Err(error), b'{') if error.is_eof() && !is_only_line && !is_all => {
            Some("its first object goes over several lines")
        }
        _ => None,
    }
}

/// The member of a field: by `source.columns` or its own name, or else by its cleaned name.
fn find<'a>(members: &JsonObject<'a>, field: &Field) -> Option<&'a RawValue> {
    let exact = members.get(field.column());
    exact.or_else(|| members.find(|name| clean(name) == clean(field.column())))
}

impl OpenFile for Json {
    fn read(&mut self, limit: Limit, layout: &Layout) -> Result<Found, Error> {
        let mut rows = layout.rows();
        let (mut positions, mut malformed) = (Vec::new(), Vec::new());
        let (start, mut end) = (self.input.byte, false);
        while rows.len() + malformed.len() < limit.records
            && (self.input.byte - start) < limit.bytes as u64
        {
            let line = self.input.line;
            let mut raw = std::mem::take(&mut self.raw);
            raw.clear();
            let kind = self.input.line(&mut raw)?;
            if kind == Line::End {
                end = true;
                self.raw = raw;
                break;
            }
            if !raw.trim_ascii().is_empty() {
                match self.cells(&raw, line, kind, layout) {
                    Ok(cells) => {
                        rows.push(&cells);
                        positions.push(line as i64);
                    }
                    Err(fault) => malformed.push(Malformed {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_another_form_is_told_from_malformed_lines() {
        let array = Some("it is a JSON array");
        let lines = Some("its first object goes over several lines");
        for (text, expected) in [
            ("[{\"id\":1},\n {\"id\":2}]", array),
            ("[{\"id\": 1, \"name\": \"a\"}]\n", array),
            ("\n{\n \"id\": 1\n}\n", lines),
            ("{\"id\":1}{\"id\":2}", Some("its only line has several objects")),
            ("{\"id\":1}\n{\"id\":2}\n", None),
            ("{\"id\":1}{\"id\":2}\n{\"id\":3}\n", None),
            ("[1]\n{\"id\":3}\n", None),
            ("{\"id\": 1, \"name\": \n{\"id\":2}\n", None),
            ("{\"id\": 1, \"na", None),
            ("{\"id\": 1, \"na\n{\"id\":2}\n", None),
            ("id,name\n1,a\n", None),
            ("", None),
        ] {
            assert_eq!(not_one_object_per_line(text.as_bytes(), true), expected, "{text}");
        }
        for (text, expected) in [("[\n{\"id\":1},\n", array), ("{\n \"id\": 1,\n", lines)] {
            let large = not_one_object_per_line(text.as_bytes(), false);
            assert_eq!((large, not_one_object_per_line(text.as_bytes(), true)), (expected, None));
        }
    }
}
