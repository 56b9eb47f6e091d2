//! The values of a file of JSON that are not one a line: the elements of an array, which may be the
//! member of an object, or objects that go over lines or share them.

use super::input::MAX_LINE;
use super::scanner::{Place, Scanner, Stop};
use crate::source::Error;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;

/// How the records of a file stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One a line.
    Lines,
    /// The elements of an array.
    Array,
    /// One behind the other.
    Objects,
}

impl Form {
    /// The form of a file that begins like this. `is_all` when the file ends where its beginning
    /// does.
    pub(super) fn of(beginning: &str, is_all: bool) -> Form {
        let text = beginning.trim_start();
        if text.starts_with('\u{1e}') {
            return Form::Objects;
        }
        let line_len = text.find('\n').unwrap_or(text.len());
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        let first = values.next();
        let is_over = values.byte_offset() > line_len;
        let is_only_line = text[line_len..].trim().is_empty();
        match (first, text.as_bytes().first()) {
            // An array in a line among others is a malformed line.
            (Some(Ok(_)), Some(b'[')) if !is_over && !is_only_line => Form::Lines,
            (_, Some(b'[')) => Form::Array,
            (Some(Ok(_)), Some(b'{')) if is_over => Form::Objects,
            (Some(Ok(_)), Some(b'{')) if is_only_line && matches!(values.next(), Some(Ok(_))) => {
                Form::Objects
            }
            (Some(Err(_)), Some(b'{')) if text[..line_len].trim() == "{" => Form::Objects,
            // The value goes on behind what was looked at.
            (Some(Err(error)), Some(b'{')) if error.is_eof() && !is_only_line && !is_all => {
                Form::Objects
            }
            _ => Form::Lines,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Form::Lines => "lines",
            Form::Array => "array",
            Form::Objects => "objects",
        }
    }

    /// The form in a position; positions of lines do not name it.
    pub(super) fn at(within: &Value) -> Form {
        let name = within["form"].as_str();
        let named = [Form::Array, Form::Objects].into_iter().find(|form| Some(form.name()) == name);
        named.unwrap_or(Form::Lines)
    }
}

/// Where the next value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The array has to be found first.
    Outside,
    /// Behind a bracket.
    First,
    /// Behind another value.
    More,
}

pub(super) struct Elements {
    scanner: Scanner,
    form: Form,
    /// The names that lead to the array.
    record_path: Vec<String>,
    next: Next,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// A value that begins there; its bytes are complete.
    Whole(Place),
    /// Only its first bytes are there.
    TooLong(Place),
    /// A comma without a value behind it.
    Missing(Place),
    End,
}

impl Elements {
    /// Opens at the beginning. The array is the member at `record_path` of the object around it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn open(path: &Path, file: File, record_path: &[String]) -> Result<Elements, Error> {
        let scanner = Scanner::open(path, file)?;
        let (beginning, is_all) = scanner.beginning()?;
        let form = match record_path {
            [] => Form::of(&beginning, is_all),
            _ => Form::Array,
        };
        let next = if form == Form::Array { Next::Outside } else { Next::More };
        Ok(Elements { scanner, form, record_path: record_path.to_vec(), next })
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }

    pub(super) fn byte(&self) -> u64 {
        self.scanner.place().byte
    }

    pub(super) fn encoding(&self) -> &'static encoding_rs::Encoding {
        self.scanner.encoding
    }

    /// Where reading continues.
    pub(super) fn position(&self) -> Value {
        let Place { byte, line, column } = self.scanner.place();
        let next = match self.next {
            Next::Outside => "outside",
            Next::First => "first",
            Next::More => "more",
        };
        let form = self.form.name();
        json!({ "byte": byte, "line": line, "column": column, "form": form, "next": next })
    }

    /// Goes to a position that [`Elements::position`] returned.
    ///
    /// # Errors
    /// It is no such position, or the file is shorter.
    pub(super) fn resume(&mut self, within: &Value) -> Result<(), String> {
        let number = |key: &str| within[key].as_u64().filter(|number| *number > 0);
        let (Some(byte), Some(line), Some(column)) =
            (within["byte"].as_u64(), number("line"), number("column"))
        else {
            return Err(format!("{within} is not a position in it"));
        };
        self.form = Form::at(within);
        self.next = match within["next"].as_str() {
            Some("outside") => Next::Outside,
            Some("first") => Next::First,
            _ => Next::More,
        };
        self.scanner.seek(Place { byte, line, column });
        Ok(())
    }

    /// The next value, whose bytes in the file become `raw`.
    ///
    /// # Errors
    /// Where the next value begins or ends cannot be told. A later call says the same.
    pub(super) fn next(&mut self, raw: &mut Vec<u8>) -> Result<Element, Stop> {
        raw.clear();
        let before = (self.scanner.place(), self.next);
        let found = match self.form {
            Form::Array => self.next_of_array(raw),
            Form::Lines | Form::Objects => self.next_object(raw),
        };
        if found.is_err() {
            self.scanner.seek(before.0);
            self.next = before.1;
        }
        found
    }

    fn next_object(&mut self, raw: &mut Vec<u8>) -> Result<Element, Stop> {
        self.scanner.skip_blanks()?;
        match self.scanner.peek()? {
            None => Ok(Element::End),
            Some(_) => self.value(raw),
        }
    }

    fn next_of_array(&mut self, raw: &mut Vec<u8>) -> Result<Element, Stop> {
        loop {
            self.scanner.skip_blanks()?;
            let place = self.scanner.place();
            match (self.next, self.scanner.peek()?) {
                (Next::Outside, None) => return Ok(Element::End),
                (Next::Outside, Some(_)) => {
                    self.enter()?;
                    self.next = Next::First;
                }
                (_, None) => {
                    let what = "the file ends within its array; is it still being written?";
                    return Err(Stop::Broken(place, what.into()));
                }
                (Next::First | Next::More, Some(b']')) => {
                    self.scanner.skip()?;
                    self.leave()?;
                    self.next = Next::Outside;
                }
                (Next::First, Some(b',')) => {
                    raw.push(b',');
                    self.scanner.skip()?;
                    return Ok(Element::Missing(place));
                }
                (Next::First, Some(_)) => {
                    let found = self.value(raw)?;
                    self.next = Next::More;
                    return Ok(found);
                }
                (Next::More, Some(b',')) => {
                    self.scanner.skip()?;
                    self.scanner.skip_blanks()?;
                    if let Some(b',' | b']') = self.scanner.peek()? {
                        raw.push(b',');
                        return Ok(Element::Missing(place));
                    }
                    self.next = Next::First;
                }
                (Next::More, Some(_)) => {
                    let what =
                        "neither a comma nor the end of the array follows the element before";
                    return Err(Stop::Broken(place, what.into()));
                }
            }
        }
    }

    fn value(&mut self, raw: &mut Vec<u8>) -> Result<Element, Stop> {
        let place = self.scanner.place();
        Ok(match self.scanner.value(raw, MAX_LINE)? {
            true => Element::Whole(place),
            false => Element::TooLong(place),
        })
    }
}

/// The way to the array, and from its end.
impl Elements {
    /// Goes behind the bracket of the array.
    fn enter(&mut self) -> Result<(), Stop> {
        for depth in 0..self.record_path.len() {
            let place = self.scanner.place();
            if self.scanner.peek()? != Some(b'{') {
                return Err(self.is_no(place, depth, "an object"));
            }
            self.scanner.skip()?;
            if !self.find_member(depth, true)? {
                let what = format!("this object has no member `{}`", self.record_path[depth]);
                return Err(Stop::Broken(place, what));
            }
        }
        let place = self.scanner.place();
        if self.scanner.peek()? != Some(b'[') {
            return Err(self.is_no(place, self.record_path.len(), "an array"));
        }
        Ok(self.scanner.skip()?)
    }

    fn is_no(&self, place: Place, depth: usize, expected: &str) -> Stop {
        let what = match &self.record_path[..depth] {
            [] => format!("{expected} should begin here"),
            path => format!("`{}` is not {expected}", path.join(".")),
        };
        Stop::Broken(place, what)
    }

    /// Goes to the end of the objects around the array.
    fn leave(&mut self) -> Result<(), Stop> {
        for depth in (0..self.record_path.len()).rev() {
            let place = self.scanner.place();
            if self.find_member(depth, false)? {
                let what = format!("the member `{}` comes twice", self.record_path[depth]);
                return Err(Stop::Broken(place, what));
            }
        }
        Ok(())
    }

    /// Goes to the value of the member of this depth, or behind the end of the object. `is_first`: the
    /// object's bracket is the unit before; otherwise a value is.
    fn find_member(&mut self, depth: usize, mut is_first: bool) -> Result<bool, Stop> {
        while let Some(name) = self.next_member(is_first)? {
            if name == self.record_path[depth] {
                return Ok(true);
            }
            self.scanner.value(&mut Vec::new(), 0)?;
            is_first = false;
        }
        Ok(false)
    }

    /// Goes to the value of the next member, whose name it is, or behind the end of the object.
    fn next_member(&mut self, is_first: bool) -> Result<Option<String>, Stop> {
        let missing = |place: Place, what: &str| {
            Err(Stop::Broken(place, format!("there is no {what} where one should be")))
        };
        self.scanner.skip_blanks()?;
        match self.scanner.peek()? {
            Some(b'}') => {
                self.scanner.skip()?;
                return Ok(None);
            }
            Some(b',') if !is_first => self.scanner.skip()?,
            _ if is_first => {}
            _ => return missing(self.scanner.place(), "comma or end of the object"),
        }
        self.scanner.skip_blanks()?;
        let place = self.scanner.place();
        if self.scanner.peek()? != Some(b'"') {
            return missing(place, "name of a member");
        }
        let mut name = Vec::new();
        self.scanner.value(&mut name, MAX_LINE)?;
        let (name, ..) = self.scanner.encoding.decode_without_bom_handling(&name);
        let Ok(name) = serde_json::from_str(&name) else {
            return missing(place, "name that is JSON");
        };
        self.scanner.skip_blanks()?;
        if self.scanner.peek()? != Some(b':') {
            return missing(self.scanner.place(), "colon");
        }
        self.scanner.skip()?;
        self.scanner.skip_blanks()?;
        Ok(Some(name))
    }

    /// The path to the first array of objects in the object that begins here, at most two names long.
    pub(super) fn guess_path(&mut self) -> Result<Option<Vec<String>>, Stop> {
        self.scanner.skip_blanks()?;
        match self.scanner.peek()? {
            Some(b'{') => self.path_within(2),
            _ => Ok(None),
        }
    }

    fn path_within(&mut self, levels: usize) -> Result<Option<Vec<String>>, Stop> {
        self.scanner.skip()?;
        let mut is_first = true;
        while let Some(name) = self.next_member(is_first)? {
            is_first = false;
            let place = self.scanner.place();
            let found = match self.scanner.peek()? {
                Some(b'[') => {
                    self.scanner.skip()?;
                    self.scanner.skip_blanks()?;
                    (self.scanner.peek()? == Some(b'{')).then(Vec::new)
                }
                Some(b'{') if levels > 1 => self.path_within(levels - 1)?,
                _ => None,
            };
            if let Some(mut path) = found {
                path.insert(0, name);
                return Ok(Some(path));
            }
            self.scanner.seek(place);
            self.scanner.value(&mut Vec::new(), 0)?;
        }
        Ok(None)
    }
}
