//! The differences between two schemas, for people.

use crate::avro_type::{AvroType, Field, Symbols};
use crate::problem::Problem;
use crate::read::RecordReader;
use crate::writer_schema::WriterSchema;

/// The changes from `before` to `after`, one line each: `+` added, `-` removed, `~` changed, with the
/// path of what is inside another value. Empty when both describe the same records; documentation
/// is ignored.
pub fn diff(before: &WriterSchema, after: &WriterSchema) -> Vec<String> {
    let mut lines = Vec::new();
    if before.name() != after.name() {
        lines.push(format!("~ record name: {} → {}", before.name(), after.name()));
    }
    fields("", before.fields(), after.fields(), &mut lines);
    lines
}

/// What becomes of records in the hands of a reader with another schema.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Why it can read none of them; empty when it can.
    pub all: Vec<Problem>,
    /// Values with which it cannot read them.
    pub some: Vec<Problem>,
}

/// Which records of `writer` cannot be read as `reader`.
pub fn losses(writer: &WriterSchema, reader: &WriterSchema) -> Losses {
    match RecordReader::new(writer.fields(), reader.fields(), "") {
        Ok(record) => Losses { all: Vec::new(), some: record.losses("") },
        Err(all) => Losses { all, some: Vec::new() },
    }
}

fn fields(path: &str, before: &[Field], after: &[Field], lines: &mut Vec<String>) {
    let num_lines = lines.len();
    let at = |name: &str| if path.is_empty() { name.into() } else { format!("{path}.{name}") };
    for field in before {
        if find(after, &field.name).is_none() && !is_renamed(field, before, after) {
            lines.push(format!("- {}: {}", at(&field.name), describe(field)));
        }
    }
    for field in after {
        match counterpart(field, before) {
            Some(old) => changed(&at(&field.name), &at(&old.name), old, field, lines),
            None => lines.push(format!("+ {}: {}", at(&field.name), describe(field))),
        }
    }
    if lines.len() == num_lines && names(before) != names(after) {
        let of = if path.is_empty() { String::new() } else { format!(" of {path}") };
        lines.push(format!("~ order of fields{of}: {}", names(after).join(", ")));
    }
}

fn names(fields: &[Field]) -> Vec<&str> {
    fields.iter().map(|field| field.name.as_str()).collect()
}

fn find<'a>(fields: &'a [Field], name: &str) -> Option<&'a Field> {
    fields.iter().find(|field| field.name == name)
}

/// The field of `before` with the name of `field` or one of its aliases.
fn counterpart<'a>(field: &Field, before: &'a [Field]) -> Option<&'a Field> {
    find(before, &field.name).or_else(|| field.aliases.iter().find_map(|alias| find(before, alias)))
}

fn is_renamed(field: &Field, before: &[Field], after: &[Field]) -> bool {
    let renamed =
        |new: &Field| find(before, &new.name).is_none() && new.aliases.contains(&field.name);
    after.iter().any(renamed)
}

fn changed(path: &str, old_path: &str, old: &Field, new: &Field, lines: &mut Vec<String>) {
    if old.name != new.name {
        lines.push(format!("~ {old_path}: renamed to {}, with the old name as alias", new.name));
    }
    types(path, &old.avro_type, &new.avro_type, lines);
    if old.default != new.default {
        lines.push(format!("~ {path}: {} → {}", default(old), default(new)));
    }
}

fn types(path: &str, old: &AvroType, new: &AvroType, lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    let ((old_plain, was_optional), (new_plain, is_optional)) = (old.optional(), new.optional());
    let replaced = format!("~ {path}: {} → {}", typed(old), typed(new));
    match (old_plain, new_plain) {
        (AvroType::Record(old), AvroType::Record(new)) => {
            fields(path, &old.fields, &new.fields, lines);
        }
        (AvroType::Array(old), AvroType::Array(new)) => {
            types(&format!("{path}[]"), old, new, lines);
        }
        (AvroType::Map(old), AvroType::Map(new)) => {
            types(&format!("{path}{{}}"), old, new, lines);
        }
        (AvroType::Enum(old), AvroType::Enum(new)) => symbols(path, old, new, lines),
        (AvroType::Union(old), AvroType::Union(new)) if old.len() == new.len() => {
            old.iter().zip(new).for_each(|(old, new)| types(path, old, new, lines));
        }
        (old, new) if old == new => {}
        _ => return lines.push(replaced),
    }
    if was_optional != is_optional {
        lines.push(replaced);
    }
}

fn symbols(path: &str, old: &Symbols, new: &Symbols, lines: &mut Vec<String>) {
    let missing = |from: &Symbols, list: &Symbols| {
        let missing = from.list.iter().filter(|symbol| !list.list.contains(symbol));
        missing.map(String::as_str).collect::<Vec<_>>().join(", ")
    };
    for (what, symbols) in [("without", missing(old, new)), ("with", missing(new, old))] {
        if !symbols.is_empty() {
            lines.push(format!("~ {path}: {what} the symbol {symbols}"));
        }
    }
    if old.default != new.default {
        let name = |symbols: &Symbols| symbols.default.clone().unwrap_or("none".into());
        lines.push(format!("~ {path}: default symbol {} → {}", name(old), name(new)));
    }
}

fn typed(avro_type: &AvroType) -> String {
    let (avro_type, optional) = avro_type.optional();
    if optional { format!("{avro_type}, optional") } else { avro_type.to_string() }
}

fn default(field: &Field) -> String {
    field.default.as_ref().map_or("no default".into(), |value| format!("default {value}"))
}

fn describe(field: &Field) -> String {
    format!("{}, {}", typed(&field.avro_type), default(field))
}

#[cfg(test)]
mod tests;
