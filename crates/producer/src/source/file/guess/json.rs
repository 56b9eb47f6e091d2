//! The members of objects, in lines, in an array or one behind the other.

use super::texts;
use super::{Guess, GuessedField, SAMPLE_BYTES, Setting, field_name, member, member_name, record};
use crate::source::Error;
use crate::source::file::elements::{Element, Elements, Form};
use crate::source::file::scanner::Stop;
use crate::source::file::{short, unavailable};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use weir_codec::{JsonObject, TextFormat};

/// An object of more different names is a map.
const MAX_NAMES: usize = 100;

/// The values of each member, by name.
type Members<'a> = BTreeMap<String, Vec<&'a RawValue>>;

/// Members inside of fields that no field can hold, and why.
type LeftOut = Vec<(String, String)>;

pub(super) fn guess(path: &Path) -> Result<Guess, Error> {
    let name = short(path);
    let record_path = record_path(path)?;
    let mut texts = texts(path, &record_path)?;
    texts.retain(|text| JsonObject::parse(text.as_bytes()).is_ok());
    let sampled = texts.len();
    if sampled == 0 {
        return Err(Error::Unfit(format!("{name}: no record of it is a JSON object")));
    }
    let mut members = Members::new();
    for text in &texts {
        add_members(text, &mut members);
    }
    let (mut fields, mut left_out) = (Vec::new(), Vec::new());
    for (column, values) in members {
        let present: Vec<&RawValue> = values.into_iter().filter(|v| v.get() != "null").collect();
        match avro_type(&present, &column, &mut left_out) {
            Ok((avro_type, why)) => fields.push(GuessedField {
                name: field_name(&column, &fields),
                column,
                avro_type,
                nullable: present.len() < sampled,
                why,
            }),
            Err(why) => left_out.push((column, why)),
        }
    }
    let setting = |path: Vec<String>| {
        let why = "the only object of the file has this array of objects".to_owned();
        Setting { key: "record_path", value: json!(path), why }
    };
    let settings = (!record_path.is_empty()).then(|| setting(record_path)).into_iter().collect();
    Ok(Guess { format: "json", settings, fields, left_out, sampled: Some(sampled) })
}

fn open(path: &Path, record_path: &[String]) -> Result<Elements, Error> {
    let file = File::open(path).map_err(|e| unavailable(path, &e))?;
    Elements::open(path, file, record_path)
}

/// The way to the array of a file that is one object around it.
fn record_path(path: &Path) -> Result<Vec<String>, Error> {
    let mut elements = open(path, &[])?;
    let is_lines = path.extension().is_some_and(|ending| ending == "jsonl" || ending == "ndjson");
    if elements.form() == Form::Array || is_lines {
        return Ok(Vec::new());
    }
    let mut raw = Vec::new();
    let is_only = match elements.next(&mut raw) {
        Ok(Element::Whole(_)) => matches!(elements.next(&mut raw), Ok(Element::End)),
        // No record is that long.
        Ok(Element::TooLong(_)) => true,
        _ => false,
    };
    if !is_only {
        return Ok(Vec::new());
    }
    Ok(open(path, &[])?.guess_path().ok().flatten().unwrap_or_default())
}

/// The first records.
fn texts(path: &Path, record_path: &[String]) -> Result<Vec<String>, Error> {
    let mut elements = open(path, record_path)?;
    if elements.form() == Form::Lines {
        let sample = super::sample(path)?;
        let (text, ..) = elements.encoding().decode(&sample.bytes);
        let whole = match text.rfind('\n') {
            Some(end) if sample.is_cut => &text[..end],
            _ => &text,
        };
        return Ok(whole.lines().map(str::to_owned).collect());
    }
    let (mut texts, mut raw) = (Vec::new(), Vec::new());
    while elements.byte() < SAMPLE_BYTES {
        match elements.next(&mut raw) {
            Ok(Element::Whole(_)) => {
                let (text, ..) = elements.encoding().decode_without_bom_handling(&raw);
                texts.push(text.into_owned());
            }
            Ok(Element::TooLong(_) | Element::Missing(_)) => {}
            Ok(Element::End) | Err(Stop::Broken(..)) => break,
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
    Ok(texts)
}

/// Adds the members of an object.
fn add_members<'a>(text: &'a str, members: &mut Members<'a>) {
    let Ok(object) = JsonObject::parse(text.as_bytes()) else { return };
    for (name, value) in object.members() {
        members.entry(name.into()).or_default().push(value);
    }
}

/// The type of all these values, none of which is null, and why.
fn avro_type(
    values: &[&RawValue],
    path: &str,
    left_out: &mut LeftOut,
) -> Result<(Value, String), String> {
    if values.is_empty() {
        return Ok((json!("string"), "no values in the sample".into()));
    }
    let all = |begins: char| values.iter().all(|value| value.get().starts_with(begins));
    if all('{') {
        return object(values, path, left_out);
    }
    if all('[') {
        return array(values, path, left_out);
    }
    if values.iter().any(|value| value.get().starts_with(['{', '['])) {
        return Err("it is an object or an array in some records and not in others".into());
    }
    if all('"') {
        let texts: Vec<String> =
            values.iter().filter_map(|value| serde_json::from_str(value.get()).ok()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        // Numbers in quotes are texts on purpose.
        let found = texts::column(&texts, &TextFormat::default());
        let is_moment = found.avro_type.get("logicalType").is_some_and(|t| t != "decimal");
        return Ok(match is_moment && found.moments.is_none() && found.nulls.is_empty() {
            true => (found.avro_type, found.why),
            false => (json!("string"), String::new()),
        });
    }
    if values.iter().any(|value| value.get().starts_with('"')) {
        return Err("it is a text in some records and not in others".into());
    }
    let values: Vec<&str> = values.iter().map(|value| value.get()).collect();
    let found = texts::column(&values, &TextFormat::default());
    Ok((found.avro_type, found.why))
}

fn object(
    values: &[&RawValue],
    path: &str,
    left_out: &mut LeftOut,
) -> Result<(Value, String), String> {
    let mut members = Members::new();
    values.iter().for_each(|value| add_members(value.get(), &mut members));
    let is_number = |name: &String| name.starts_with(|c: char| c.is_ascii_digit());
    if members.len() > MAX_NAMES || !members.is_empty() && members.keys().all(is_number) {
        let all: Vec<&RawValue> = members.into_values().flatten().collect();
        let (values, _) = inner(&all, path, left_out)?;
        return Ok((json!({"type": "map", "values": values}), "its names are values".into()));
    }
    let mut fields: Vec<Value> = Vec::new();
    for (name, of) in members {
        let path = format!("{path}.{name}");
        let present: Vec<&RawValue> = of.into_iter().filter(|v| v.get() != "null").collect();
        let found = member_name(&name, &fields)
            .and_then(|name| Ok((name, avro_type(&present, &path, left_out)?)));
        match found {
            Ok((name, (avro_type, _))) => {
                fields.push(member(&name, avro_type, present.len() < values.len()));
            }
            Err(why) => left_out.push((path, why)),
        }
    }
    match fields.is_empty() {
        true => Err("an object without members in the sample".into()),
        false => Ok((record(path, fields), String::new())),
    }
}

fn array(
    values: &[&RawValue],
    path: &str,
    left_out: &mut LeftOut,
) -> Result<(Value, String), String> {
    let items: Vec<&RawValue> = values
        .iter()
        .filter_map(|value| serde_json::from_str::<Vec<&RawValue>>(value.get()).ok())
        .flatten()
        .collect();
    let why = if items.is_empty() { "no items in the sample" } else { "" };
    let (items, _) = inner(&items, path, left_out)?;
    Ok((json!({"type": "array", "items": items}), why.into()))
}

/// The type of items or values, with null where some are.
fn inner(
    values: &[&RawValue],
    path: &str,
    left_out: &mut LeftOut,
) -> Result<(Value, String), String> {
    let present: Vec<&RawValue> = values.iter().filter(|v| v.get() != "null").copied().collect();
    let (avro_type, why) = avro_type(&present, path, left_out)?;
    match present.len() < values.len() {
        true => Ok((json!(["null", avro_type]), why)),
        false => Ok((avro_type, why)),
    }
}
