//! Reads declared keys out of a TOML document and collects everything that is wrong on the way. Getters always answer, with an empty
//! value when there was a mistake: the caller assembles on, and the mistakes decide at the end.

use super::expand::{Surroundings, expand, reason};
use super::keys::{Absent, Key, Kind, Section};
use super::names::Check;
use super::places::Places;
use super::units;
use crate::mistake::{Mistake, did_you_mean, similar};
use crate::secret::Secret;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

type Value<'a> = Spanned<DeValue<'a>>;

/// One file being read.
pub(super) struct Reader<'a> {
    pub(super) around: Surroundings<'a>,
    pub(super) places: &'a Places,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(around: Surroundings<'a>, places: &'a Places) -> Reader<'a> {
        Reader { around, places, mistakes: RefCell::default() }
    }

    /// Takes down one mistake, at the line of its key.
    pub(super) fn report(&self, mistake: Mistake) {
        let line = mistake.line.or_else(|| self.places.line(&mistake.key));
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

/// A text of the file: what it stands for, and how it may be quoted.
struct Text {
    value: String,
    quote: String,
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
            let elsewhere = super::keys::SECTIONS.iter().find(|s| s.name == section.name && s.keys.iter().any(|k| k.name == name));
            let what = match elsewhere.and_then(|s| s.variant) {
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
                self.report(name, format!("is {}; a table is wanted: [{name}]", article(other)));
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
                let table = |(i, entries)| Table { reader: self.reader, entries: Some(entries), path: format!("{}[{i}]", self.at(name)) };
                tables.into_iter().enumerate().map(table).collect()
            }
            None => {
                self.report(name, format!("is {}; a list of tables is wanted: [[{name}]]", article(value.get_ref())));
                Vec::new()
            }
        }
    }

    /// A text, or the default; `None` when it is absent without a default, or wrong.
    pub(super) fn maybe_text(&self, key: &Key) -> Option<String> {
        let text = self.raw(key)?;
        let verdict = match key.kind {
            Kind::Text(check) | Kind::Secret(check) => check(&text.value),
            Kind::Choice(choices) => choice(&text.value, choices),
            _ => Ok(()),
        };
        verdict.map_err(|what| self.report(key.name, format!("{} {what}", text.quote))).ok().map(|()| text.value)
    }

    /// A text; empty when it is wrong.
    pub(super) fn text(&self, key: &Key) -> String {
        self.maybe_text(key).unwrap_or_default()
    }

    pub(super) fn secret(&self, key: &Key) -> Secret {
        Secret::new(self.text(key))
    }

    /// The text behind a key of any kind that is written as one.
    fn raw(&self, key: &Key) -> Option<Text> {
        let secret = matches!(key.kind, Kind::Secret(_));
        let (raw, default) = match (self.value(key.name), key.absent) {
            (Some(value), _) => (self.string(&self.at(key.name), value, &wanted(key.kind))?, false),
            (None, Absent::Is(default)) => (default.to_owned(), true),
            (None, absent) => {
                self.missing(key, absent);
                return None;
            }
        };
        let quote = match (secret, default) {
            (true, _) => "the value".to_owned(),
            (false, true) => format!("`{}` (the default)", printable(&raw)),
            (false, false) => format!("`{}`", printable(&raw)),
        };
        let value = self.expanded(&self.at(key.name), &raw)?;
        Some(Text { value, quote })
    }

    fn missing(&self, key: &Key, absent: Absent) {
        // a whole section that is missing is one mistake, made by whoever asks for the section
        if matches!(absent, Absent::Refused) && self.present() {
            self.report(key.name, format!("is missing; {} is wanted", wanted(key.kind)));
        }
    }

    fn string(&self, path: &str, value: &'a Value<'a>, wanted: &str) -> Option<String> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.reader.report(Mistake::new(path, format!("is {}; {wanted} is wanted", article(value.get_ref()))));
        }
        text.map(str::to_owned)
    }

    fn expanded(&self, path: &str, raw: &str) -> Option<String> {
        let report = |what: String| self.reader.report(Mistake::new(path, what));
        expand(raw, &self.reader.around).map_err(|wrong| wrong.into_iter().for_each(report)).ok()
    }

    /// A file that exists; its path is resolved against the pipeline file's folder.
    pub(super) fn file(&self, key: &Key) -> PathBuf {
        let Some(text) = self.raw(key) else { return PathBuf::new() };
        let path = self.reader.around.folder.join(&text.value);
        let (wrong, meant) = match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => return path,
            Ok(_) => ("it is not a file".to_owned(), String::new()),
            Err(error) => (reason(&error), neighbour(&path)),
        };
        self.report(key.name, format!("cannot read {}: {wrong}{meant}", text.quote));
        path
    }

    pub(super) fn integer(&self, key: &Key) -> i64 {
        let Kind::Integer(low, high) = key.kind else { return 0 };
        let number = match (self.value(key.name), key.absent) {
            (Some(value), _) => self.written_integer(key, value),
            (None, Absent::Is(default)) => default.parse().ok(),
            (None, absent) => {
                self.missing(key, absent);
                None
            }
        };
        let Some(number) = number else { return low };
        if !(low..=high).contains(&number) {
            let bounds = if high == i64::MAX { format!("at least {low} is wanted") } else { format!("{low} to {high} is wanted") };
            self.report(key.name, format!("is {number}; {bounds}"));
        }
        number
    }

    fn written_integer(&self, key: &Key, value: &'a Value<'a>) -> Option<i64> {
        let DeValue::Integer(number) = value.get_ref() else {
            self.report(key.name, format!("is {}; {} is wanted", article(value.get_ref()), wanted(key.kind)));
            return None;
        };
        let number = i64::from_str_radix(number.as_str(), number.radix());
        number.map_err(|_| self.report(key.name, "is beyond what 64 bits hold")).ok()
    }

    pub(super) fn share(&self, key: &Key) -> f64 {
        let number = match (self.value(key.name).map(Spanned::get_ref), key.absent) {
            (Some(DeValue::Float(number)), _) => number.as_str().parse::<f64>().ok(),
            (Some(DeValue::Integer(number)), _) => number.as_str().parse::<f64>().ok(),
            (Some(other), _) => {
                self.report(key.name, format!("is {}; {} is wanted", article(other), wanted(key.kind)));
                return 0.0;
            }
            (None, Absent::Is(default)) => default.parse().ok(),
            (None, _) => None,
        };
        let number = number.unwrap_or(f64::NAN);
        if !(0.0..=1.0).contains(&number) {
            self.report(key.name, format!("is {number}; 0.0 to 1.0 is wanted"));
        }
        number
    }

    pub(super) fn flag(&self, key: &Key) -> bool {
        match (self.value(key.name).map(Spanned::get_ref), key.absent) {
            (Some(DeValue::Boolean(flag)), _) => *flag,
            (Some(other), _) => {
                self.report(key.name, format!("is {}; {} is wanted", article(other), wanted(key.kind)));
                false
            }
            (None, absent) => matches!(absent, Absent::Is("true")),
        }
    }

    pub(super) fn duration(&self, key: &Key) -> Duration {
        let Kind::Duration(low, high) = key.kind else { return Duration::ZERO };
        let Some(text) = self.raw(key) else { return Duration::ZERO };
        let (low, high) = (Duration::from_millis(low), Duration::from_millis(high));
        match units::duration(&text.value) {
            Some(value) if (low..=high).contains(&value) => return value,
            Some(_) => {
                let bounds = format!("{} to {} is wanted", units::show_duration(low), units::show_duration(high));
                self.report(key.name, format!("{} is out of range; {bounds}", text.quote));
            }
            None => self.report(key.name, format!("{} is not a duration such as \"250ms\", \"5s\" or \"2m\"", text.quote)),
        }
        low
    }

    pub(super) fn size(&self, key: &Key) -> usize {
        let Kind::Size(low, high) = key.kind else { return 0 };
        let written = match self.value(key.name) {
            Some(value) if value.get_ref().is_integer() => match self.written_integer(key, value) {
                Some(number) => Text { value: number.to_string(), quote: number.to_string() },
                None => return 0,
            },
            _ => match self.raw(key) {
                Some(text) => text,
                None => return 0,
            },
        };
        match units::size(&written.value) {
            Some(bytes) if (low..=high).contains(&bytes) => return usize::try_from(bytes).unwrap_or(usize::MAX),
            Some(_) => {
                let bounds = format!("{} to {} is wanted", units::show_size(low), units::show_size(high));
                self.report(key.name, format!("{} is out of range; {bounds}", written.quote));
            }
            None => self.report(key.name, format!("{} is not a size such as 1048576 or \"16MiB\"", written.quote)),
        }
        0
    }

    /// One text or a list of texts, none of them twice; empty when absent.
    pub(super) fn texts(&self, key: &Key) -> Vec<String> {
        let Kind::Texts(check) = key.kind else { return Vec::new() };
        let Some(value) = self.value(key.name) else {
            self.missing(key, key.absent);
            return Vec::new();
        };
        let path = self.at(key.name);
        let elements: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            _ => vec![value],
        };
        if elements.is_empty() && matches!(key.absent, Absent::Refused) {
            self.report(key.name, "is empty; at least one text is wanted");
        }
        let mut texts: Vec<String> = Vec::new();
        for raw in elements.into_iter().filter_map(|e| self.string(&path, e, &wanted(key.kind))) {
            let Some(text) = self.checked(&path, &raw, check) else { continue };
            if texts.contains(&text) {
                self.report(key.name, format!("names `{}` twice", printable(&raw)));
            }
            texts.push(text);
        }
        texts
    }

    fn checked(&self, path: &str, raw: &str, check: Check) -> Option<String> {
        let value = self.expanded(path, raw)?;
        let wrong = |what| self.reader.report(Mistake::new(path, format!("`{}` {what}", printable(raw))));
        check(&value).map_err(wrong).ok().map(|()| value)
    }

    pub(super) fn map(&self, key: &Key) -> BTreeMap<String, String> {
        let Kind::Map(names, values) = key.kind else { return BTreeMap::new() };
        let table = self.subtable(key.name);
        let mut map = BTreeMap::new();
        for (name, value) in table.entries.into_iter().flatten() {
            let path = table.at(name.get_ref());
            if let Err(what) = names(name.get_ref()) {
                table.reader.report(Mistake::new(&path, format!("`{}` {what}", printable(name.get_ref()))));
            }
            let text = table.string(&path, value, "a text").and_then(|raw| table.checked(&path, &raw, values));
            map.extend(text.map(|text| (name.get_ref().to_string(), text)));
        }
        map
    }

    /// Settings by dotted name; the dots may be TOML's own.
    pub(super) fn secrets(&self, key: &Key) -> BTreeMap<String, Secret> {
        let mut out = BTreeMap::new();
        self.subtable(key.name).flatten("", &mut out);
        out
    }

    fn flatten(&self, prefix: &str, out: &mut BTreeMap<String, Secret>) {
        for (key, value) in self.entries.into_iter().flatten() {
            let name = format!("{prefix}{}", key.get_ref());
            let text = match value.get_ref() {
                DeValue::Table(_) => {
                    self.subtable(key.get_ref()).flatten(&format!("{name}."), out);
                    continue;
                }
                DeValue::String(text) => self.expanded(&self.at(key.get_ref()), text),
                DeValue::Integer(number) => Some(number.to_string()),
                DeValue::Float(number) => Some(number.as_str().to_owned()),
                DeValue::Boolean(flag) => Some(flag.to_string()),
                other => {
                    self.report(key.get_ref(), format!("is {}; a text, a number or true or false is wanted", article(other)));
                    None
                }
            };
            out.extend(text.map(|text| (name, Secret::new(text))));
        }
    }
}

fn choice(text: &str, choices: &[&str]) -> Result<(), String> {
    if choices.contains(&text) {
        return Ok(());
    }
    let all = choices.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(", ");
    Err(format!(
        "is not known{}",
        similar(text, choices.iter().copied()).map_or(format!("; {all} can be chosen"), |c| format!("; did you mean `{c}`?"))
    ))
}

/// What a kind of value is called after "… is wanted".
fn wanted(kind: Kind) -> String {
    match kind {
        Kind::Text(_) | Kind::Secret(_) => "a text".into(),
        Kind::File => "the path of a file".into(),
        Kind::Integer(..) => "a whole number".into(),
        Kind::Share => "a number from 0.0 to 1.0".into(),
        Kind::Duration(..) => "a duration such as \"5s\"".into(),
        Kind::Size(..) => "a size such as \"16MiB\"".into(),
        Kind::Flag => "true or false".into(),
        Kind::Choice(choices) => choices.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(" or "),
        Kind::Texts(_) => "a text or a list of texts".into(),
        Kind::Map(..) | Kind::Secrets => "a table of texts".into(),
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
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// A file of nearly the same name beside a missing one.
fn neighbour(path: &Path) -> String {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else { return String::new() };
    let names: Vec<String> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    did_you_mean(name, names.iter().map(String::as_str))
}
