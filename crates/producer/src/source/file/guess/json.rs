//! The members of objects, one object per line.

use super::texts;
use super::{Guess, GuessedField, Sample, field_name};
use crate::source::Error;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_codec::{JsonObject, TextFormat};

pub(super) fn guess(name: &str, sample: &Sample) -> Result<Guess, Error> {
    let text = String::from_utf8_lossy(&sample.bytes);
    let lines = match text.rfind('\n') {
        Some(end) if sample.is_cut => &text[..end],
        _ => &text,
    };
    let mut members = BTreeMap::<String, Vec<String>>::new();
    let mut sampled = 0;
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let Ok(object) = JsonObject::parse(line.as_bytes()) else { continue };
        sampled += 1;
        for (member, value) in object.members() {
            members.entry(member.into()).or_default().push(value.into());
        }
    }
    if sampled == 0 {
        return Err(Error::Unfit(format!("{name}: no line of it is a JSON object")));
    }
    let (mut fields, mut left_out) = (Vec::new(), Vec::new());
    for (member, values) in members {
        let present: Vec<&str> =
            values.iter().map(String::as_str).filter(|v| *v != "null").collect();
        match avro_type(&present) {
            Ok((avro_type, why)) => fields.push(GuessedField {
                name: field_name(&member, &fields),
                column: member,
                avro_type,
                nullable: present.len() < sampled,
                why,
            }),
            Err(why) => left_out.push((member, why)),
        }
    }
    Ok(Guess { format: "json", settings: Vec::new(), fields, left_out, sampled: Some(sampled) })
}

/// The type of all these values, and why.
fn avro_type(values: &[&str]) -> Result<(Value, String), String> {
    if values.is_empty() {
        return Ok((json!("string"), "no values in the sample".into()));
    }
    let texts: Option<Vec<String>> =
        values.iter().map(|value| serde_json::from_str::<String>(value).ok()).collect();
    if let Some(texts) = texts {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        // Numbers in quotes are texts on purpose.
        let found = texts::column(&texts, &TextFormat::default());
        let is_moment = found.avro_type.get("logicalType").is_some_and(|t| t != "decimal");
        return Ok(match is_moment && found.moments.is_none() && found.nulls.is_empty() {
            true => (found.avro_type, found.why),
            false => (json!("string"), String::new()),
        });
    }
    if values.iter().any(|value| value.starts_with(['{', '['])) {
        return Err("it is an object or an array".into());
    }
    if values.iter().any(|value| value.starts_with('"')) {
        return Err("it is a text in some records and not in others".into());
    }
    let found = texts::column(values, &TextFormat::default());
    Ok((found.avro_type, found.why))
}
