//! Reads declared keys out of a TOML document and collects everything that is wrong on the way.
//! Getters always return a value, an empty one when there was a mistake: the caller continues, and
//! the mistakes are reported at the end.

mod collections;
mod values;

use super::expand::Surroundings;
use super::section::{Key, Section};
use super::spans::Spans;
use crate::mistake::{Mistake, did_you_mean};
use std::cell::RefCell;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

type Value<'a> = Spanned<DeValue<'a>>;

/// One file being read.
pub(super) struct Reader<'a> {
    pub(super) around: Surroundings<'a>,
    pub(super) spans: &'a Spans,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(around: Surroundings<'a>, spans: &'a Spans) -> Reader<'a> {
        Reader { around, spans, mistakes: RefCell::default() }
    }

    /// Records one mistake, at the line of its key.
    pub(super) fn report(&self, mistake: Mistake) {
        let line = mistake.line.or_else(|| self.spans.line(&mistake.key));
        self.mistakes.borrow_mut().push(mistake.line(line));
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes.into_inner()
    }
}

/// One table of the file; absent tables read as empty ones.
pub(super) struct Table<'a> {
    reader: &'a Reader<'a>,
    entries: Option<&'a DeTable<'a>>,
    path: String,
}

impl<'a> Table<'a> {
    pub(super) fn root(reader: &'a Reader<'a>, entries: &'a DeTable<'a>) -> Table<'a> {
        Table { reader, entries: Some(entries), path: String::new() }
    }

    /// The path of one of this table's keys.
    pub(super) fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn present(&self) -> bool {
        self.entries.is_some()
    }

    /// Whether the file has the key, whatever its value.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Relative paths start here.
    pub(super) fn folder(&self) -> &'a Path {
        self.reader.around.folder
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.contains(key.name)
    }

    pub(super) fn report(&self, key: &str, what: impl Into<String>) {
        self.reader.report(Mistake::new(self.at(key), what));
    }

    fn value(&self, name: &str) -> Option<&'a Value<'a>> {
        self.entries?.iter().find(|(k, _)| k.get_ref() == name).map(|(_, v)| v)
    }

    /// Refuses every key that is in none of the sections and not in `more`.
    pub(super) fn only(&self, section: &Section, more: &[&str]) {
        let known = || section.keys.iter().map(|k| k.name).chain(more.iter().copied());
        for (key, _) in self.entries.into_iter().flatten() {
            let name: &str = key.get_ref();
            if known().any(|k| k == name) {
                continue;
            }
            let elsewhere = super::assemble::sections()
                .into_iter()
                .find(|s| s.name == section.name && s.keys.iter().any(|k| k.name == name));
            let what = match elsewhere.and_then(|s| s.kind) {
                Some(variant) => format!("belongs to type = \"{variant}\""),
                None => format!("unknown key{}", did_you_mean(name, known())),
            };
            self.report(&printable(name), what);
        }
    }

    /// The table `name` of this one.
    pub(super) fn table(&self, section: &Section) -> Table<'a> {
        let table = self.subtable(section.name);
        table.only(section, &[]);
        table
    }

    /// The same without a look at its keys, whose declaration depends on one of them.
    pub(super) fn subtable(&self, name: &str) -> Table<'a> {
        let entries = self.value(name).and_then(|v| match v.get_ref() {
            DeValue::Table(entries) => Some(entries),
            other => {
                self.report(name, format!("is {}; it must be a table: [{name}]", article(other)));
                None
            }
        });
        Table { reader: self.reader, entries, path: self.at(name) }
    }

    /// The tables of the list `name`.
    pub(super) fn list(&self, name: &str) -> Vec<Table<'a>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let elements = value.get_ref().as_array().into_iter().flatten();
        let tables = elements.map(|e| e.get_ref().as_table()).collect::<Option<Vec<_>>>();
        match tables.filter(|_| value.get_ref().is_array()) {
            Some(tables) => {
                let table = |(i, entries)| Table {
                    reader: self.reader,
                    entries: Some(entries),
                    path: format!("{}[{i}]", self.at(name)),
                };
                tables.into_iter().enumerate().map(table).collect()
            }
            None => {
                self.report(
                    name,
                    format!(
                        "is {}; it must be a list of tables: [[{name}]]",
                        article(value.get_ref())
                    ),
                );
                Vec::new()
            }
        }
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Text of the file as it may be shown on a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}
