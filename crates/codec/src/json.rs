//! JSON → values of a schema, strictly: what is not exactly such a value is refused, never rounded
//! or guessed. One set of rules for records of a topic and for lines of a file.
//!
//! Numbers are read from their digits, so that none goes through a float. Dates, times, UUIDs,
//! symbols and bytes are texts, as [`crate::text`] reads them. An object becomes a record or a map,
//! an array an array. A name that comes twice in an object is refused: which of its values is meant
//! cannot be known.

use crate::avro_type::{AvroType, Field, Wide};
use crate::cell::{self, Cell};
use crate::columns::shortened;
use crate::datum::{InvalidDatum, violation};
use crate::text;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use weir_model::fault::{VALUE_DOES_NOT_FIT, VALUE_MISSING};

/// The reason of bytes that are not JSON, or not of the form that is expected.
const MALFORMED: &str = "malformed_json";
/// Longest part of a member's name in a fault, in characters.
const MAX_NAME_CHARS: usize = 80;

/// What is accepted beside values that are written as their type.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonRules {
    /// Numbers and truth values may be texts, and texts may be numbers or truth values.
    pub numbers_as_text: bool,
    /// Members that the schema does not have make a record invalid.
    pub refuse_unknown: bool,
    /// A member's name may differ from its field's by case and punctuation, as that of a column of
    /// a file may.
    pub similar_names: bool,
}

impl JsonRules {
    /// In files, which are less careful than programs that write to topics.
    pub(crate) const OF_FILES: JsonRules =
        JsonRules { numbers_as_text: true, refuse_unknown: false, similar_names: true };
}

/// What is in the way of reading a JSON value as a value of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Of the value inside: `items.0.price`; empty for the value itself.
    pub path: String,
    /// The reason of the fault.
    pub reason: String,
    /// To be read after the path.
    pub what: String,
}

/// The members of an object, not read yet.
#[derive(Default)]
pub struct JsonObject<'a>(HashMap<Cow<'a, str>, &'a RawValue>);

impl<'a> JsonObject<'a> {
    /// Parses the bytes of one object.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub fn parse(bytes: &'a [u8]) -> Result<JsonObject<'a>, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// All members: names and the JSON of their values, in no order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// The member of this name, or else the one whose name is [similar](similar_name).
    ///
    /// # Errors
    /// There are two such.
    pub fn find_similar(&self, name: &str) -> Result<Option<&'a RawValue>, String> {
        if let Some(value) = self.get(name) {
            return Ok(Some(value));
        }
        let similar = similar_name(name);
        let mut found = self.0.iter().filter(|(name, _)| similar_name(name) == similar);
        match (found.next(), found.next()) {
            (Some((a, _)), Some((b, _))) => {
                let (first, second) = (a.min(b), a.max(b));
                Err(format!("could be the member `{first}` or the member `{second}`"))
            }
            (found, _) => Ok(found.map(|(_, value)| *value)),
        }
    }
}

impl<'de> Deserialize<'de> for JsonObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonObject<'de>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonObject<'de>, A::Error> {
                let mut members = JsonObject::default();
                while let Some((Name(name), value)) =
                    map.next_entry::<Name<'de>, &'de RawValue>()?
                {
                    if let Some((name, _)) = members.0.remove_entry(&name) {
                        let name: String = name.chars().take(MAX_NAME_CHARS).collect();
                        return Err(A::Error::custom(format!("the member `{name}` comes twice")));
                    }
                    members.0.insert(name, value);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// What names that differ only by case and punctuation have in common: lower-case, every run of
/// other characters than letters and digits one `_`, none at the ends: `Cost Total $` →
/// `cost_total`.
pub fn similar_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c.is_alphanumeric() {
            true => out.extend(c.to_lowercase()),
            false if !out.is_empty() && !out.ends_with('_') => out.push('_'),
            false => {}
        }
    }
    out.truncate(out.trim_end_matches('_').len());
    out
}

/// A name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn plain_members<'a>(
    object: &JsonObject<'a>,
    fields: &[Field],
    rules: JsonRules,
) -> Result<Vec<Cell<'a>>, InvalidDatum> {
    members(object, fields, rules, &|_, field, raw| value(raw, &field.avro_type, rules))
}

/// The value of a member with this name, which fills the field.
type MemberValue<'v, 'a> = &'v dyn Fn(&str, &Field, &'a RawValue) -> Result<Cell<'a>, InvalidDatum>;

/// The cells of an object, one per field, each of which `value_of` reads.
pub(crate) fn members<'a>(
    object: &JsonObject<'a>,
    fields: &[Field],
    rules: JsonRules,
    value_of: MemberValue<'_, 'a>,
) -> Result<Vec<Cell<'a>>, InvalidDatum> {
    let mut num_known = 0;
    let mut cells = Vec::with_capacity(fields.len());
    for field in fields {
        let names = [&field.name].into_iter().chain(&field.aliases);
        let found = names.into_iter().find_map(|name| Some((name, object.get(name)?)));
        let found = match found {
            None if rules.similar_names => object
                .find_similar(&field.name)
                .map_err(|what| violation(VALUE_DOES_NOT_FIT, what).within(&field.name))?
                .map(|value| (&field.name, value)),
            found => found,
        };
        num_known += usize::from(found.is_some());
        let cell = match found {
            Some((name, raw)) => value_of(name, field, raw),
            None => absent(field),
        };
        cells.push(cell.map_err(|fault| fault.within(&field.name))?);
    }
    if rules.refuse_unknown && num_known < object.0.len() {
        let is_known = |name: &str| {
            fields.iter().any(|f| f.name == name || f.aliases.iter().any(|alias| alias == name))
        };
        let name = object.0.keys().filter(|name| !is_known(name)).min();
        let name = shortened(name.map(ToString::to_string).unwrap_or_default());
        return Err(violation("unknown_field", format!("the schema has no field `{name}`")));
    }
    Ok(cells)
}

/// What takes the place of a member that is not there.
pub(crate) fn absent<'a>(field: &Field) -> Result<Cell<'a>, InvalidDatum> {
    let default = field.default.as_ref();
    match default.and_then(|value| cell::default_value(value, &field.avro_type)) {
        Some(default) => Ok(default),
        None if field.avro_type.is_nullable() => Ok(Cell::Null),
        None => Err(violation(VALUE_MISSING, "is missing and has no default")),
    }
}

pub(crate) fn value<'a>(
    raw: &'a RawValue,
    avro_type: &AvroType,
    rules: JsonRules,
) -> Result<Cell<'a>, InvalidDatum> {
    if raw.get() == "null" {
        return match avro_type.is_nullable() {
            true => Ok(Cell::Null),
            false => Err(violation(VALUE_MISSING, "is null, which its type does not allow")),
        };
    }
    let (plain, _) = avro_type.optional();
    let bytes = raw.get().as_bytes();
    match (plain, bytes.first()) {
        (AvroType::Record(record), Some(b'{')) => {
            let object = inner_object(raw)?;
            Ok(Cell::Record(plain_members(&object, &record.fields, rules)?))
        }
        (AvroType::Map(values), Some(b'{')) => map(raw, &|raw| value(raw, values, rules)),
        (AvroType::Array(items), Some(b'[')) => list(raw, &|raw| value(raw, items, rules)),
        (AvroType::Union(_), _) => match plain.wide() {
            Some(Wide::Number(number)) => value(raw, number, rules),
            // No such schema is read from JSON: see `unreadable`.
            _ => Err(does_not_fit(raw, &format!("could be any of {plain}"))),
        },
        _ => scalar(raw, plain, rules).map_err(|what| does_not_fit(raw, &what)),
    }
}

/// An object as a map, whose values `value_of` reads.
pub(crate) fn map<'a>(
    raw: &'a RawValue,
    value_of: &dyn Fn(&'a RawValue) -> Result<Cell<'a>, InvalidDatum>,
) -> Result<Cell<'a>, InvalidDatum> {
    let JsonObject(members) = inner_object(raw)?;
    let entry = |(name, raw): (Cow<'a, str>, &'a RawValue)| match value_of(raw) {
        Ok(cell) => Ok((name, cell)),
        Err(fault) => Err(fault.within(&name)),
    };
    let mut entries: Vec<_> = members.into_iter().map(entry).collect::<Result<_, _>>()?;
    // The order of a map means nothing; the same record has to be the same each time.
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Cell::Map(entries))
}

/// An array of keys and values as a map of the keys' texts.
pub(crate) fn pairs<'a>(
    raw: &'a RawValue,
    value_of: &dyn Fn(&'a RawValue) -> Result<Cell<'a>, InvalidDatum>,
) -> Result<Cell<'a>, InvalidDatum> {
    let pairs: Vec<(&'a RawValue, &'a RawValue)> = serde_json::from_str(raw.get())
        .map_err(|error| violation(MALFORMED, format!("not pairs of a map: {error}")))?;
    let mut entries: Vec<(Cow<'a, str>, Cell<'a>)> = Vec::with_capacity(pairs.len());
    for (key, raw) in pairs {
        let text = serde_json::from_str::<Cow<'a, str>>(key.get());
        let key = text.unwrap_or_else(|_| Cow::Borrowed(key.get()));
        let cell = value_of(raw).map_err(|fault| fault.within(&key))?;
        entries.push((key, cell));
    }
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(twice) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let key = shortened(twice[0].0.to_string());
        return Err(violation(MALFORMED, format!("the key `{key}` comes twice")));
    }
    Ok(Cell::Map(entries))
}

/// An array as a list, whose items `value_of` reads.
pub(crate) fn list<'a>(
    raw: &'a RawValue,
    value_of: &dyn Fn(&'a RawValue) -> Result<Cell<'a>, InvalidDatum>,
) -> Result<Cell<'a>, InvalidDatum> {
    let raws: Vec<&'a RawValue> = serde_json::from_str(raw.get())
        .map_err(|error| violation(MALFORMED, format!("not a JSON array: {error}")))?;
    let item = |(index, raw): (usize, &'a RawValue)| {
        value_of(raw).map_err(|fault| fault.within(&index.to_string()))
    };
    Ok(Cell::List(raws.into_iter().enumerate().map(item).collect::<Result<_, _>>()?))
}

pub(crate) fn object_of(raw: &[u8]) -> Result<JsonObject<'_>, InvalidDatum> {
    JsonObject::parse(raw)
        .map_err(|what| violation(MALFORMED, format!("not a JSON object: {what}")))
}

/// A value inside another one, which is JSON: all that can be wrong is a name that comes twice. Where
/// it is in the value would not say where it is in the record.
fn inner_object(raw: &RawValue) -> Result<JsonObject<'_>, InvalidDatum> {
    JsonObject::parse(raw.get().as_bytes()).map_err(|error| {
        violation(MALFORMED, format!("not a JSON object: {}", without_place(&error)))
    })
}

/// The error without the line and column in which it is.
pub fn without_place(error: &serde_json::Error) -> String {
    let (text, place) =
        (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

pub(crate) fn does_not_fit(raw: &RawValue, what: &str) -> InvalidDatum {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let excerpt: String = raw.get().chars().map(plain).take(MAX_NAME_CHARS + 1).collect();
    violation(VALUE_DOES_NOT_FIT, format!("`{}` {what}", shortened(excerpt)))
}

/// A text, a number or a truth value as a value that is no record, array or map; or what is wrong
/// with it.
pub(crate) fn scalar<'a>(
    raw: &'a RawValue,
    avro_type: &AvroType,
    rules: JsonRules,
) -> Result<Cell<'a>, String> {
    use AvroType::*;
    let json = raw.get();
    let is_number = matches!(avro_type, Int | Long | Float | Double | Decimal { .. });
    let is_text = *avro_type == String;
    match json.as_bytes().first() {
        _ if matches!(avro_type, Record(_) | Array(_) | Map(_)) => {
            Err(format!("is not {avro_type}"))
        }
        Some(b'{' | b'[') => Err("is not a plain value".into()),
        Some(b'"') if (is_number || *avro_type == Boolean) && !rules.numbers_as_text => {
            Err(format!("is in quotes; {avro_type} is not"))
        }
        Some(b'"') => {
            let content: Cow<'a, str> = match serde_json::from_str::<&str>(json) {
                Ok(plain) => plain.into(),
                Err(_) => serde_json::from_str::<std::string::String>(json)
                    .map_err(|e| format!("is not a text: {e}"))?
                    .into(),
            };
            match content {
                Cow::Borrowed(content) => text::parse(content, avro_type),
                Cow::Owned(content) => text::parse(&content, avro_type).map(Cell::into_owned),
            }
        }
        Some(b't' | b'f') if *avro_type == Boolean => text::parse(json, avro_type),
        Some(b't' | b'f') if is_text && rules.numbers_as_text => text::parse(json, avro_type),
        Some(b'-' | b'0'..=b'9') if is_number => text::parse(json, avro_type),
        Some(b'-' | b'0'..=b'9') if is_text && rules.numbers_as_text => {
            text::parse(json, avro_type)
        }
        _ if is_number || *avro_type == Boolean => Err(format!("is not {avro_type}")),
        _ => Err(format!("is not in quotes, as {avro_type} is")),
    }
}

/// The value of a text that is JSON, or what is wrong with it.
pub(crate) fn of_text<'a>(
    text: &'a str,
    avro_type: &AvroType,
    rules: JsonRules,
) -> Result<Cell<'a>, String> {
    let raw: &RawValue = serde_json::from_str(text)
        .map_err(|error| format!("is not {avro_type} as JSON: {}", without_place(&error)))?;
    value(raw, avro_type, rules).map_err(|violation| {
        let Misfit { path, what, .. } = violation.into_misfit();
        match &*path {
            "" => what,
            path => format!("is JSON whose `{path}` {what}"),
        }
    })
}

/// The first field that cannot be read from JSON, and why.
pub(crate) fn unreadable(fields: &[Field]) -> Option<String> {
    fields.iter().find_map(|field| {
        unreadable_type(&field.avro_type)
            .map(|(path, why)| format!("field `{}{path}` {why}", field.name))
    })
}

pub(crate) fn unreadable_type(avro_type: &AvroType) -> Option<(String, String)> {
    let (plain, _) = avro_type.optional();
    let inside = |part: &str, inner| {
        unreadable_type(inner).map(|(path, why)| (format!("{part}{path}"), why))
    };
    match plain {
        AvroType::Record(record) => record
            .fields
            .iter()
            .find_map(|field| inside(&format!(".{}", field.name), &field.avro_type)),
        AvroType::Array(items) => inside("[]", items),
        AvroType::Map(values) => inside("{}", values),
        AvroType::Union(_) if matches!(plain.wide(), Some(Wide::Members(_))) => {
            let why = format!("is {plain}: neither JSON nor text says which of them a value is");
            Some((String::new(), why))
        }
        AvroType::Duration => {
            Some((String::new(), format!("is {plain}, which JSON and text do not have")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
