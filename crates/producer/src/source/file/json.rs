//! Newline-delimited JSON: one object a line.

use super::input::{Input, Line, MAX_LINE, excerpt, strip};
use super::layout::{Field, Layout, clean};
use super::text::{self, Cell};
use super::{BAD_VALUE, Found, MALFORMED_LINE, MISSING_VALUE, OpenFile, fault, short};
use crate::source::{Error, Limit, Malformed};
use arrow::datatypes::DataType;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use weir_model::fault::Fault;

pub(super) struct Json {
    input: Input,
    file: String,
    raw: Vec<u8>,
}

/// The members of an object, with numbers as they are written: a decimal must not go through a
/// float.
type Members<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

impl Json {
    pub(super) fn open(path: &Path, file: File, within: &Value) -> Result<Json, Error> {
        let mut input = Input::open(path, file)?;
        input.resume(within)?;
        Ok(Json { input, file: short(path), raw: Vec::new() })
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
        let members: Members<'a> = serde_json::from_slice(raw)
            .map_err(|e| fault(MALFORMED_LINE, format!("{}: not a JSON object: {e}", at())))?;
        let cell = |field: &'a Field| match find(&members, field) {
            Some(value) if value.get() != "null" => read(value, &field.kind).map_err(|what| {
                fault(
                    BAD_VALUE,
                    format!("{}, member `{}`: `{}` {what}", at(), field.name, excerpt(value.get())),
                )
            }),
            _ => field.absent().map_err(|()| {
                fault(
                    MISSING_VALUE,
                    format!("{}, member `{}`: there is no value", at(), field.name),
                )
            }),
        };
        layout.fields.iter().map(cell).collect()
    }
}

/// The member of a field: by `source.columns` or its own name, or else by its cleaned name.
fn find<'a>(members: &Members<'a>, field: &Field) -> Option<&'a RawValue> {
    let exact = members.get(field.column());
    exact
        .or_else(|| {
            members
                .iter()
                .find(|(name, _)| clean(name) == clean(field.column()))
                .map(|(_, value)| value)
        })
        .copied()
}

fn read<'a>(value: &'a RawValue, kind: &DataType) -> Result<Cell<'a>, String> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'{' | b'[') => Err("is not a plain value".into()),
        Some(b'"') => {
            let text: Cow<'a, str> = match serde_json::from_str::<&str>(raw) {
                Ok(plain) => plain.into(),
                Err(_) => serde_json::from_str::<String>(raw)
                    .map_err(|e| format!("is not a text: {e}"))?
                    .into(),
            };
            text::parse(&text, kind).map(Cell::into_owned)
        }
        _ => text::parse(raw, kind),
    }
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
