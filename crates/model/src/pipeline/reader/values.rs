//! Single values: texts, numbers, durations, sizes, files.

use super::{Table, Value, article, printable};
use crate::mistake::{Mistake, did_you_mean, similar};
use crate::pipeline::expand::{expand, reason};
use crate::pipeline::section::{Absent, Key, Kind};
use crate::pipeline::units;
use crate::secret::Secret;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// A text of the file: what it stands for, and how it may be quoted.
struct Text {
    value: String,
    quote: String,
}

impl<'a> Table<'a> {
    /// A text, or the default; `None` when it is absent without a default, or wrong.
    pub(in crate::pipeline) fn maybe_text(&self, key: &Key) -> Option<String> {
        let text = self.raw(key)?;
        let verdict = match key.kind {
            Kind::Text(check) | Kind::Secret(check) => check(&text.value),
            Kind::Choice(choices) => choice(&text.value, choices),
            _ => Ok(()),
        };
        verdict
            .map_err(|what| self.report(key.name, format!("{} {what}", text.quote)))
            .ok()
            .map(|()| text.value)
    }

    /// A text; empty when it is wrong.
    pub(in crate::pipeline) fn text(&self, key: &Key) -> String {
        self.maybe_text(key).unwrap_or_default()
    }

    pub(in crate::pipeline) fn secret(&self, key: &Key) -> Secret {
        Secret::new(self.text(key))
    }

    /// The text behind a key of any kind that is written as one.
    fn raw(&self, key: &Key) -> Option<Text> {
        let secret = matches!(key.kind, Kind::Secret(_));
        let (raw, default) = match (self.value(key.name), key.absent) {
            (Some(value), _) => {
                (self.string(&self.at(key.name), value, &expected(key.kind))?, false)
            }
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

    pub(super) fn missing(&self, key: &Key, absent: Absent) {
        // a whole section that is missing is one mistake, made by whoever asks for the section
        if matches!(absent, Absent::Refused) && self.present() {
            self.report(key.name, format!("is missing; it must be {}", expected(key.kind)));
        }
    }

    pub(super) fn string(
        &self,
        path: &str,
        value: &'a Value<'a>,
        expected: &str,
    ) -> Option<String> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.reader.report(Mistake::new(
                path,
                format!("is {}; it must be {expected}", article(value.get_ref())),
            ));
        }
        text.map(str::to_owned)
    }

    pub(super) fn expanded(&self, path: &str, raw: &str) -> Option<String> {
        let report = |what: String| self.reader.report(Mistake::new(path, what));
        expand(raw, &self.reader.around).map_err(|wrong| wrong.into_iter().for_each(report)).ok()
    }

    /// A file that exists; its path is resolved against the pipeline file's folder.
    pub(in crate::pipeline) fn file(&self, key: &Key) -> PathBuf {
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

    pub(in crate::pipeline) fn integer(&self, key: &Key) -> i64 {
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
            let bounds = if high == i64::MAX {
                format!("it must be at least {low}")
            } else {
                format!("it must be {low} to {high}")
            };
            self.report(key.name, format!("is {number}; {bounds}"));
        }
        number
    }

    fn written_integer(&self, key: &Key, value: &'a Value<'a>) -> Option<i64> {
        let DeValue::Integer(number) = value.get_ref() else {
            self.report(
                key.name,
                format!("is {}; it must be {}", article(value.get_ref()), expected(key.kind)),
            );
            return None;
        };
        let number = i64::from_str_radix(number.as_str(), number.radix());
        number.map_err(|_| self.report(key.name, "is beyond what 64 bits hold")).ok()
    }

    pub(in crate::pipeline) fn share(&self, key: &Key) -> f64 {
        let number = match (self.value(key.name).map(Spanned::get_ref), key.absent) {
            (Some(DeValue::Float(number)), _) => number.as_str().parse::<f64>().ok(),
            (Some(DeValue::Integer(number)), _) => number.as_str().parse::<f64>().ok(),
            (Some(other), _) => {
                self.report(
                    key.name,
                    format!("is {}; it must be {}", article(other), expected(key.kind)),
                );
                return 0.0;
            }
            (None, Absent::Is(default)) => default.parse().ok(),
            (None, _) => None,
        };
        let number = number.unwrap_or(f64::NAN);
        if !(0.0..=1.0).contains(&number) {
            self.report(key.name, format!("is {number}; it must be 0.0 to 1.0"));
        }
        number
    }

    pub(in crate::pipeline) fn flag(&self, key: &Key) -> bool {
        match (self.value(key.name).map(Spanned::get_ref), key.absent) {
            (Some(DeValue::Boolean(flag)), _) => *flag,
            (Some(other), _) => {
                self.report(
                    key.name,
                    format!("is {}; it must be {}", article(other), expected(key.kind)),
                );
                false
            }
            (None, absent) => matches!(absent, Absent::Is("true")),
        }
    }

    pub(in crate::pipeline) fn duration(&self, key: &Key) -> Duration {
        let Kind::Duration(low, high) = key.kind else { return Duration::ZERO };
        let Some(text) = self.raw(key) else { return Duration::ZERO };
        let (low, high) = (Duration::from_millis(low), Duration::from_millis(high));
        match units::duration(&text.value) {
            Some(value) if (low..=high).contains(&value) => return value,
            Some(_) => {
                let bounds = format!(
                    "it must be {} to {}",
                    units::show_duration(low),
                    units::show_duration(high)
                );
                self.report(key.name, format!("{} is out of range; {bounds}", text.quote));
            }
            None => self.report(
                key.name,
                format!("{} is not a duration such as \"250ms\", \"5s\" or \"2m\"", text.quote),
            ),
        }
        low
    }

    pub(in crate::pipeline) fn size(&self, key: &Key) -> usize {
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
            Some(bytes) if (low..=high).contains(&bytes) => {
                return usize::try_from(bytes).unwrap_or(usize::MAX);
            }
            Some(_) => {
                let bounds =
                    format!("it must be {} to {}", units::show_size(low), units::show_size(high));
                self.report(key.name, format!("{} is out of range; {bounds}", written.quote));
            }
            None => self.report(
                key.name,
                format!("{} is not a size such as 1048576 or \"16MiB\"", written.quote),
            ),
        }
        0
    }
}

fn choice(text: &str, choices: &[&str]) -> Result<(), String> {
    if choices.contains(&text) {
        return Ok(());
    }
    let all = choices.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(", ");
    Err(format!(
        "is not known{}",
        similar(text, choices.iter().copied())
            .map_or(format!("; {all} can be chosen"), |c| format!("; did you mean `{c}`?"))
    ))
}

/// What a kind of value is called after "it must be …".
pub(super) fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text(_) | Kind::Secret(_) => "a text".into(),
        Kind::File => "the path of a file".into(),
        Kind::Integer(..) => "a whole number".into(),
        Kind::Share => "a number from 0.0 to 1.0".into(),
        Kind::Duration(..) => "a duration such as \"5s\"".into(),
        Kind::Size(..) => "a size such as \"16MiB\"".into(),
        Kind::Flag => "true or false".into(),
        Kind::Choice(choices) => {
            choices.iter().map(|c| format!("\"{c}\"")).collect::<Vec<_>>().join(" or ")
        }
        Kind::Texts(_) | Kind::SecretTexts(_) => "a text or a list of texts".into(),
        Kind::Map(..) | Kind::Secrets => "a table of texts".into(),
    }
}

/// A file of nearly the same name beside a missing one.
fn neighbour(path: &Path) -> String {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return String::new();
    };
    let names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    did_you_mean(name, names.iter().map(String::as_str))
}
