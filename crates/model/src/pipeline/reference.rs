//! The configuration reference, generated from the declarations that the reader follows.

use super::assemble::sections;
use super::section::{Absent, Key, Kind, Section};
use super::units;
use std::fmt::Write;
use std::time::Duration;

/// All keys of a pipeline file as Markdown tables: key, type, default, unit, meaning.
pub fn reference() -> String {
    let mut out = String::new();
    for section in sections() {
        // writing to a String cannot fail
        write!(
            out,
            "{}{}\n\n| key | type | default | unit | meaning |\n|---|---|---|---|---|\n",
            heading(section),
            section.doc.trim()
        )
        .ok();
        for key in section.keys {
            writeln!(
                out,
                "| `{}` | {} | {} | {} | {} |",
                key.name,
                kind(key.kind),
                default(key),
                key.unit,
                key.doc.trim()
            )
            .ok();
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn heading(section: &Section) -> String {
    let kind = section.kind.map(|v| format!(", `type = \"{v}\"`")).unwrap_or_default();
    match (section.name, section.list) {
        ("", _) => String::new(),
        (name, true) => format!("**`[[{name}]]`**{kind}: "),
        (name, false) => format!("**`[{name}]`**{kind}: "),
    }
}

fn kind(kind: Kind) -> String {
    let span = |low: String, high: String| format!("{low} … {high}");
    let millis = |ms| units::show_duration(Duration::from_millis(ms));
    match kind {
        Kind::Text(_) => "text".into(),
        Kind::Secret(_) => "text, never shown".into(),
        Kind::File => "path".into(),
        Kind::Integer(low, i64::MAX) => format!("integer, at least {low}"),
        Kind::Integer(low, high) => format!("integer, {}", span(low.to_string(), high.to_string())),
        Kind::Share => "number, 0.0 … 1.0".into(),
        Kind::Duration(low, high) => format!("duration, {}", span(millis(low), millis(high))),
        Kind::Size(low, high) => {
            format!("size, {}", span(units::show_size(low), units::show_size(high)))
        }
        Kind::Flag => "true or false".into(),
        Kind::Choice(choices) => {
            choices.iter().map(|c| format!("`\"{c}\"`")).collect::<Vec<_>>().join(" or ")
        }
        Kind::Texts(_) => "text or list of texts".into(),
        Kind::SecretTexts(_) => "text or list of texts, never shown".into(),
        Kind::Map(..) => "table of texts".into(),
        Kind::Secrets => "table, never shown".into(),
    }
}

fn default(key: &Key) -> String {
    match (key.absent, key.kind) {
        (Absent::Refused, _) => "required".into(),
        (Absent::Means(meaning), _) => meaning.into(),
        (Absent::Is(""), _) => "empty".into(),
        (Absent::Is(value), Kind::Integer(..) | Kind::Share | Kind::Flag) => format!("`{value}`"),
        (Absent::Is(value), _) => format!("`\"{value}\"`"),
    }
}
