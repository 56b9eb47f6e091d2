//! Encoding, delimiter, header and columns of CSV.

use super::texts::{self, Column};
use super::{Guess, GuessedField, Sample, Setting, field_name};
use crate::source::Error;
use crate::source::file::csv::Dialect;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use serde_json::json;
use std::collections::BTreeSet;
use weir_codec::TextFormat;

const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];
/// Records that tell the delimiter.
const FIRST: usize = 50;

/// A record's values; `None` where there is none.
type Record = Vec<Option<String>>;

pub(super) fn guess(name: &str, sample: &Sample) -> Result<Guess, Error> {
    let mut settings = Vec::new();
    let (encoding, is_marked) = encoding(&sample.bytes);
    let (text, ..) = encoding.decode(&sample.bytes);
    if encoding != UTF_8 && !is_marked {
        let why = "it is not UTF-8".to_owned();
        let value = json!(encoding.name().to_lowercase());
        settings.push(Setting { key: "encoding", value, why });
    }
    let lines = whole_lines(&text, sample.is_cut);
    let Some((delimiter, mut records)) = split(lines) else {
        return Err(Error::Unfit(format!("{name}: it is empty")));
    };
    if delimiter != ',' {
        let why = "it separates the same number of values in most lines".to_owned();
        settings.push(Setting { key: "delimiter", value: json!(delimiter.to_string()), why });
    }
    let width = records[0].len();
    let num_short = records.iter().filter(|record| record.len() < width).count();
    let format = numbers(&records, delimiter);
    let names = match header(&records[0], &format) {
        Some(names) => {
            records.remove(0);
            names
        }
        None => {
            let names: Vec<String> = (1..=width).map(|number| format!("column_{number}")).collect();
            let why = "the first line holds values".to_owned();
            settings.push(Setting { key: "header", value: json!(names), why });
            names
        }
    };
    if num_short > 0 {
        let why = format!("{num_short} lines of the sample are shorter");
        settings.push(Setting { key: "short_lines", value: json!(true), why });
    }
    if format.decimal_separator != '.' {
        let why = "numbers such as `1,5`".to_owned();
        settings.push(Setting { key: "decimal_separator", value: json!(","), why });
    }
    if let Some(separator) = format.thousands_separator {
        let why = "groups of three digits".to_owned();
        let value = json!(separator.to_string());
        settings.push(Setting { key: "thousands_separator", value, why });
    }
    let fields = fields(&names, &records, &format, &mut settings);
    let sampled = Some(records.len());
    Ok(Guess { format: "csv", settings, fields, left_out: Vec::new(), sampled })
}

/// The encoding, and whether a byte order mark says so.
fn encoding(bytes: &[u8]) -> (&'static Encoding, bool) {
    if let Some((encoding, _)) = Encoding::for_bom(bytes) {
        return (encoding, true);
    }
    let zeros = |odd: usize| bytes.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
    let half = bytes.len() / 2;
    let encoding = match std::str::from_utf8(bytes) {
        _ if half > 0 && zeros(1) * 2 > half => UTF_16LE,
        _ if half > 0 && zeros(0) * 2 > half => UTF_16BE,
        Ok(_) => UTF_8,
        // A character may be cut at the end.
        Err(error) if error.error_len().is_none() => UTF_8,
        Err(_) => WINDOWS_1252,
    };
    (encoding, false)
}

/// Without the last line, where it may be cut.
fn whole_lines(text: &str, is_cut: bool) -> &str {
    match text.rfind('\n') {
        Some(end) if is_cut => &text[..=end],
        _ => text,
    }
}

/// The delimiter under which most records have as many values as the first, and the records.
fn split(text: &str) -> Option<(char, Vec<Record>)> {
    let mut best: Option<(usize, char, Vec<Record>)> = None;
    for delimiter in DELIMITERS {
        let records = Dialect::of(delimiter).records(text);
        let Some(width) = records.first().map(Vec::len) else { continue };
        let same = records.iter().take(FIRST).filter(|record| record.len() == width).count();
        let score = if width > 1 { same * width } else { 0 };
        if best.as_ref().is_none_or(|(most, ..)| score > *most) {
            best = Some((score, delimiter, records));
        }
    }
    best.map(|(_, delimiter, records)| (delimiter, records))
}

/// How numbers are written. A comma before decimals shows only where no other column has points.
fn numbers(records: &[Record], delimiter: char) -> TextFormat {
    let plain = TextFormat::default();
    let values = || records.iter().skip(1).flatten().flatten();
    let german = TextFormat {
        decimal_separator: ',',
        thousands_separator: Some('.'),
        ..TextFormat::default()
    };
    let number = texts::field_type(&json!("double"));
    let has_point = |text: &&String| text.contains('.') && number.parse(text).is_ok();
    let has_comma = |text: &&String| text.contains(',') && number.parse_as(text, &german).is_ok();
    if delimiter == ',' || !values().any(|text| has_comma(&text)) {
        return plain;
    }
    // `1.234` alone is a number in both.
    let only_point = |text: &&String| has_point(text) && number.parse_as(text, &german).is_err();
    if values().any(|text| only_point(&text)) {
        return plain;
    }
    let grouped = values().any(|text| text.contains('.') && has_comma(&text));
    TextFormat { thousands_separator: grouped.then_some('.'), ..german }
}

/// The names of the columns, if the first record holds names.
fn header(first: &Record, format: &TextFormat) -> Option<Vec<String>> {
    let names: Option<Vec<String>> = first.iter().cloned().collect();
    let names = names?;
    let number = texts::field_type(&json!("double"));
    let is_name = |name: &String| {
        !name.trim().is_empty()
            && number.parse_as(name, format).is_err()
            && number.parse(name).is_err()
    };
    names.iter().all(is_name).then_some(names)
}

fn fields(
    names: &[String],
    records: &[Record],
    format: &TextFormat,
    settings: &mut Vec<Setting>,
) -> Vec<GuessedField> {
    let mut fields: Vec<GuessedField> = Vec::new();
    let (mut nulls, mut forms) = (BTreeSet::new(), Vec::<(&'static str, String)>::new());
    for (index, column) in names.iter().enumerate() {
        let values = records.iter().map(|record| record.get(index).and_then(Option::as_deref));
        let texts: Vec<&str> = values.clone().flatten().collect();
        let mut found = texts::column(&texts, format);
        // One form of dates holds for the file.
        if let Some((key, form)) = &found.moments {
            match forms.iter().find(|(other, _)| other == key) {
                Some((_, other)) if other != form => {
                    let why = format!("of the form {form}, while others are {other}");
                    found = Column {
                        avro_type: json!("string"),
                        nulls: Vec::new(),
                        moments: None,
                        why,
                    };
                }
                Some(_) => {}
                None => forms.push((*key, form.clone())),
            }
        }
        let nullable = values.clone().any(|value| value.is_none()) || !found.nulls.is_empty();
        nulls.extend(found.nulls);
        let twice = names.iter().filter(|name| *name == column).count() > 1;
        fields.push(GuessedField {
            name: field_name(column, &fields),
            column: if twice { format!("#{}", index + 1) } else { column.clone() },
            avro_type: found.avro_type,
            nullable,
            why: found.why,
        });
    }
    for (key, form) in forms {
        let why = "no other form fits all values".to_owned();
        settings.push(Setting { key, value: json!(form), why });
    }
    if !nulls.is_empty() {
        let why = "in columns of numbers or times".to_owned();
        settings.push(Setting { key: "nulls", value: json!(nulls), why });
    }
    fields
}
