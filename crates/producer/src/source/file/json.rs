//! JSON: an object a line, the elements of an array, or objects one behind the other.
//!
//! An object that is malformed is a dead letter. In an array or between objects, its end is found by
//! its brackets and quotes; where those do not match, it could be anywhere, and what follows could
//! be taken for records that it is not. Then reading stops there.

use super::elements::{Element, Elements, Form};
use super::input::{Input, Line, MAX_LINE, strip};
use super::layout::{Field, Layout};
use super::scanner::{Place, Stop};
use super::{Found, MALFORMED_LINE, OpenFile, fault, short, unavailable};
use crate::source::{Error, Limit, Malformed};
use encoding_rs::UTF_8;
use serde_json::Value;
use std::borrow::Cow;
use std::fs::File;
use std::path::Path;
use weir_codec::{Cell, JsonObject, Misfit, without_place};
use weir_model::fault::{Fault, VALUE_DOES_NOT_FIT, VALUE_MISSING};

pub(super) struct Json {
    items: Items,
    file: String,
    raw: Vec<u8>,
}

/// What a file consists of.
enum Items {
    Lines(Input),
    Elements(Elements),
}

/// What may be a record.
struct Item {
    place: Place,
    /// Whether it is a line, so that its column means nothing.
    is_line: bool,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Whole,
    TooLong,
    Undecodable,
    /// A comma without a value.
    Missing,
}

impl Json {
    pub(super) fn open(
        path: &Path,
        file: File,
        within: &Value,
        record_path: &[String],
    ) -> Result<Json, Error> {
        let name = short(path);
        let again = file.try_clone().map_err(|e| unavailable(path, &e))?;
        let mut elements = Elements::open(path, again, record_path)?;
        let lost = |what: String| Error::Lost(format!("{name}: {what}"));
        // What grew behind its beginning must not change what it was when reading began.
        let begun = !within.is_null() && (!within["form"].is_null() || within["line"] != 1);
        let form = if begun { Form::at(within) } else { elements.form() };
        let items = match form {
            Form::Lines => {
                let mut input = Input::open(path, file, UTF_8)?;
                input.resume(within)?;
                Items::Lines(input)
            }
            Form::Array | Form::Objects => {
                if begun {
                    elements.resume(within).map_err(lost)?;
                }
                Items::Elements(elements)
            }
        };
        Ok(Json { items, file: name, raw: Vec::new() })
    }

    /// The next item, whose bytes are in `raw`; `None` at the end.
    fn next(&mut self) -> Result<Option<Item>, Stop> {
        match &mut self.items {
            Items::Lines(input) => loop {
                let place = Place { byte: input.byte, line: input.line, column: 1 };
                self.raw.clear();
                input.begin();
                let kind = match input.line(&mut self.raw)? {
                    Line::Whole if self.raw.trim_ascii().is_empty() => continue,
                    Line::Whole => Kind::Whole,
                    Line::TooLong => Kind::TooLong,
                    Line::Undecodable => Kind::Undecodable,
                    Line::End => return Ok(None),
                };
                return Ok(Some(Item { place, is_line: true, kind }));
            },
            Items::Elements(elements) => {
                let (place, kind) = match elements.next(&mut self.raw)? {
                    Element::Whole(place) => (place, Kind::Whole),
                    Element::TooLong(place) => (place, Kind::TooLong),
                    Element::Missing(place) => (place, Kind::Missing),
                    Element::End => return Ok(None),
                };
                Ok(Some(Item { place, is_line: false, kind }))
            }
        }
    }

    fn cells<'a>(
        &self,
        item: &Item,
        text: Option<&'a str>,
        layout: &'a Layout,
    ) -> Result<Vec<Cell<'a>>, Fault> {
        let at = item.at(&self.file);
        let malformed = |what: String| fault(MALFORMED_LINE, format!("{at}: {what}"));
        let what = if item.is_line { "line" } else { "value" };
        let text = match (item.kind, text) {
            (Kind::TooLong, _) => {
                return Err(malformed(format!(
                    "the {what} is longer than {MAX_LINE} bytes; if it is an object around the \
                     array of records, source.record_path names that"
                )));
            }
            (Kind::Missing, _) => return Err(malformed("no value follows the comma".into())),
            (Kind::Whole, Some(text)) => text,
            (Kind::Whole | Kind::Undecodable, _) => {
                let encoding = self.items.encoding();
                return Err(malformed(format!("the {what} is not {encoding}")));
            }
        };
        let members = JsonObject::parse(text.as_bytes()).map_err(|error| {
            malformed(format!(
                "not a JSON object: {}{}",
                without_place(&error),
                item.of(&error, text)
            ))
        })?;
        let missing = |field: &Field| {
            fault(VALUE_MISSING, format!("{at}, member `{}`: there is no value", field.name))
        };
        let misfit = |field: &Field, Misfit { path, reason, what }| {
            let path = if path.is_empty() { path } else { format!(".{path}") };
            fault(&reason, format!("{at}, member `{}{path}`: {what}", field.name))
        };
        let ambiguous = |field: &Field, what| {
            fault(VALUE_DOES_NOT_FIT, format!("{at}: field `{}` {what}", field.name))
        };
        let cell = |field: &'a Field| {
            let found = members.find_similar(field.column());
            match found.map_err(|what| ambiguous(field, what))? {
                None => field.absent().map_err(|()| missing(field)),
                Some(value) if value.get() == "null" => field.null().map_err(|()| missing(field)),
                Some(value) => {
                    field.field_type.parse_json(value).map_err(|what| misfit(field, what))
                }
            }
        };
        layout.fields.iter().map(cell).collect()
    }
}

impl Items {
    /// The text of an item.
    fn text<'a>(&self, raw: &'a [u8]) -> Option<Cow<'a, str>> {
        match self {
            Items::Elements(elements) if elements.encoding() != UTF_8 => {
                elements.encoding().decode_without_bom_handling_and_without_replacement(raw)
            }
            Items::Lines(_) | Items::Elements(_) => std::str::from_utf8(raw).ok().map(Cow::from),
        }
    }

    fn encoding(&self) -> &'static str {
        match self {
            Items::Lines(input) => input.encoding(),
            Items::Elements(elements) => elements.encoding().name(),
        }
    }

    fn byte(&self) -> u64 {
        match self {
            Items::Lines(input) => input.byte,
            Items::Elements(elements) => elements.byte(),
        }
    }

    fn position(&self) -> Value {
        match self {
            Items::Lines(input) => input.position(),
            Items::Elements(elements) => elements.position(),
        }
    }

    /// The item's bytes in the file.
    fn original(&self, raw: &[u8]) -> Vec<u8> {
        match self {
            Items::Lines(input) => input.original(raw),
            Items::Elements(_) => strip(raw).to_vec(),
        }
    }
}

impl Item {
    fn at(&self, file: &str) -> String {
        let Place { line, column, .. } = self.place;
        match self.is_line {
            true => format!("{file} line {line}"),
            false => format!("{file} line {line}, column {column}"),
        }
    }

    /// Where an error is, as the rest of a sentence.
    fn of(&self, error: &serde_json::Error, text: &str) -> String {
        let line = text.split('\n').nth(error.line().max(1) - 1).unwrap_or_default();
        let before = line.as_bytes().get(..error.column()).unwrap_or(line.as_bytes());
        let num_chars = String::from_utf8_lossy(before).chars().count() as u64;
        if num_chars == 0 {
            return String::new();
        }
        match (self.is_line, error.line()) {
            (true, _) => format!(" at column {num_chars}"),
            (false, 0 | 1) => {
                let column = self.place.column + num_chars - 1;
                format!(" at line {}, column {column}", self.place.line)
            }
            (false, number) => {
                format!(" at line {}, column {num_chars}", self.place.line + number as u64 - 1)
            }
        }
    }
}

impl OpenFile for Json {
    fn read(&mut self, limit: Limit, layout: &Layout) -> Result<Found, Error> {
        let mut rows = layout.rows();
        let (mut positions, mut malformed) = (Vec::new(), Vec::new());
        let (start, mut end) = (self.items.byte(), false);
        while rows.len() + malformed.len() < limit.records
            && (self.items.byte() - start) < limit.bytes as u64
        {
            let item = match self.next() {
                Ok(Some(item)) => item,
                Ok(None) => {
                    end = true;
                    break;
                }
                // What was read before comes first; the next call says it again.
                Err(Stop::Broken(..)) if rows.len() + malformed.len() > 0 => break,
                Err(Stop::Broken(place, what)) => return Err(self.stopped(place, &what)),
                Err(Stop::Failed(error)) => return Err(error),
            };
            let position = item.place.line as i64;
            let text = self.items.text(&self.raw);
            match self.cells(&item, text.as_deref(), layout) {
                Ok(cells) => {
                    rows.push(&cells);
                    positions.push(position);
                }
                Err(fault) => {
                    let bytes = self.items.original(&self.raw);
                    malformed.push(Malformed { bytes, fault, position });
                }
            }
        }
        let batch = rows.finish().map_err(|e| Error::Unfit(format!("{}: {e}", self.file)))?;
        Ok(Found { batch, positions, malformed, within: self.items.position(), end })
    }
}

impl Json {
    fn stopped(&self, Place { line, column, .. }: Place, what: &str) -> Error {
        Error::Unfit(format!(
            "{} line {line}, column {column}: {what}. Where the next record begins cannot be told; \
             correct the file from there on, and start again",
            self.file
        ))
    }
}
