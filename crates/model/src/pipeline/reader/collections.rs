//! Lists and tables of texts.

use super::values::expected;
use super::{Table, Value, article, printable};
use crate::mistake::Mistake;
use crate::pipeline::names::Check;
use crate::pipeline::section::{Absent, Key, Kind};
use crate::secret::Secret;
use std::collections::BTreeMap;
use toml::de::DeValue;

impl<'a> Table<'a> {
    /// One text or a list of texts, none of them twice; empty when absent.
    pub(in crate::pipeline) fn texts(&self, key: &Key) -> Vec<String> {
        let (Kind::Texts(check) | Kind::SecretTexts(check)) = key.kind else { return Vec::new() };
        let Some(value) = self.value(key.name) else {
            self.missing(key, key.absent);
            let Absent::Is(default) = key.absent else { return Vec::new() };
            return self.checked(key, default, check).into_iter().collect();
        };
        let path = self.at(key.name);
        let elements: Vec<&Value<'_>> = match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            _ => vec![value],
        };
        if elements.is_empty() && matches!(key.absent, Absent::Refused) {
            self.report(key.name, "is empty; it must be at least one text");
        }
        let mut texts: Vec<String> = Vec::new();
        for raw in elements.into_iter().filter_map(|e| self.string(&path, e, &expected(key.kind))) {
            let Some(text) = self.checked(key, &raw, check) else { continue };
            if texts.contains(&text) {
                self.report(key.name, format!("names {} twice", quote(key, &raw)));
            }
            texts.push(text);
        }
        texts
    }

    fn checked(&self, key: &Key, raw: &str, check: Check) -> Option<String> {
        self.checked_at(&self.at(key.name), &quote(key, raw), raw, check)
    }

    fn checked_at(&self, path: &str, quote: &str, raw: &str, check: Check) -> Option<String> {
        let value = self.expanded(path, raw)?;
        let wrong = |what| self.reader.report(Mistake::new(path, format!("{quote} {what}")));
        check(&value).map_err(wrong).ok().map(|()| value)
    }

    pub(in crate::pipeline) fn map(&self, key: &Key) -> BTreeMap<String, String> {
        let Kind::Map(names, values) = key.kind else { return BTreeMap::new() };
        let table = self.subtable(key.name);
        let mut map = BTreeMap::new();
        for (name, value) in table.entries.into_iter().flatten() {
            let path = table.at(name.get_ref());
            if let Err(what) = names(name.get_ref()) {
                table
                    .reader
                    .report(Mistake::new(&path, format!("`{}` {what}", printable(name.get_ref()))));
            }
            let text = table.string(&path, value, "a text").and_then(|raw| {
                table.checked_at(&path, &format!("`{}`", printable(&raw)), &raw, values)
            });
            map.extend(text.map(|text| (name.get_ref().to_string(), text)));
        }
        map
    }

    /// Settings by dotted name; the dots may be TOML's own.
    pub(in crate::pipeline) fn secrets(&self, key: &Key) -> BTreeMap<String, Secret> {
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
                    self.report(
                        key.get_ref(),
                        format!(
                            "is {}; it must be a text, a number or true or false",
                            article(other)
                        ),
                    );
                    None
                }
            };
            out.extend(text.map(|text| (name, Secret::new(text))));
        }
    }
}

/// A text as it may be shown.
fn quote(key: &Key, raw: &str) -> String {
    match key.kind {
        Kind::SecretTexts(_) => "the value".into(),
        _ => format!("`{}`", printable(raw)),
    }
}
