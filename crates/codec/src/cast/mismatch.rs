//! Which columns can become which fields.

use super::values::is_text;
use crate::avro_type::{AvroType, Field, Wide};
use crate::json::{similar_name, unreadable_type};
use crate::problem::Problem;
use arrow::datatypes::{DataType, Field as ArrowField, Fields};
use weir_model::avro::type_name;
use weir_model::cast::{Cast, cast};

/// Why no value of the column can be a value of this type, and which part of it cannot.
pub(crate) fn mismatch(from: &ArrowField, to: &AvroType) -> Option<Problem> {
    part(from, to, "")
}

fn part(from: &ArrowField, to: &AvroType, path: &str) -> Option<Problem> {
    let (plain, _) = to.optional();
    let other = || {
        let what = format!(
            "is {}, which cannot become the {plain} of the field without being \
             rounded or guessed; give the field a type that holds it, and convert it in \
             transform.sql",
            type_name(from.data_type())
        );
        Some(Problem::new(path, what))
    };
    match (from.data_type(), plain) {
        (DataType::Null, _) => None,
        (from, AvroType::Array(_) | AvroType::Map(_) | AvroType::Record(_)) if is_text(from) => {
            let (inner, what) = unreadable_type(plain)?;
            Some(Problem::new(&format!("{path}{inner}"), what))
        }
        (list, AvroType::Array(items)) => match item(list) {
            Some(item) => part(item, items, &format!("{path}[]")),
            None => other(),
        },
        (DataType::Map(entries, _), AvroType::Map(values)) => match entry(entries) {
            Some((key, value)) if is_text(key.data_type()) => {
                part(value, values, &format!("{path}{{}}"))
            }
            _ => other(),
        },
        (DataType::Struct(members), AvroType::Record(record)) => {
            record.fields.iter().find_map(|field| member(members, field, path))
        }
        (_, AvroType::Union(_)) => match plain.wide() {
            Some(Wide::Number(number)) => part(from, number, path),
            _ if plain.arrow().is_some_and(|to| from.data_type().equals_datatype(&to)) => None,
            _ => other(),
        },
        (of, plain) if plain_takes(of, plain) => None,
        _ => other(),
    }
}

fn plain_takes(from: &DataType, to: &AvroType) -> bool {
    let Some(data_type) = to.arrow() else { return false };
    match (from, to) {
        (DataType::FixedSizeBinary(16), AvroType::Uuid { .. }) => true,
        (from, AvroType::Uuid { .. } | AvroType::Enum(_)) => {
            matches!(cast(from, &data_type), Cast::Same | Cast::Exact)
        }
        (from, _) => cast(from, &data_type) != Cast::Refused,
    }
}

/// A field without a member would be null in every record, which is most often a misspelled name.
fn member(members: &Fields, field: &Field, path: &str) -> Option<Problem> {
    let path = format!("{path}.{}", field.name);
    match find_member(members, field) {
        Ok(Some(index)) => part(&members[index], &field.avro_type, &path),
        Ok(None) if field.default.is_some() => None,
        Ok(None) => {
            let names: Vec<_> = members.iter().map(|member| member.name().as_str()).collect();
            let what = format!(
                "is not in the file, which has {} there; give the field a default (`\"default\": \
                 null` if it may be null)",
                names.join(", ")
            );
            Some(Problem::new(&path, what))
        }
        Err(what) => Some(Problem::new(&path, what)),
    }
}

/// The member of a field: of its name, of one of its aliases, or of a similar name.
///
/// # Errors
/// There are two such.
pub(super) fn find_member(members: &Fields, field: &Field) -> Result<Option<usize>, String> {
    let names = std::iter::once(&field.name).chain(&field.aliases);
    for name in names {
        let mut same = (0..members.len()).filter(|index| members[*index].name() == name);
        match (same.next(), same.next()) {
            (Some(_), Some(_)) => return Err(format!("has two members `{name}` in the file")),
            (Some(index), None) => return Ok(Some(index)),
            (None, _) => {}
        }
    }
    let similar = similar_name(&field.name);
    let mut fitting = members.iter().enumerate().filter(|(_, m)| similar_name(m.name()) == similar);
    match (fitting.next(), fitting.next()) {
        (Some((_, a)), Some((_, b))) => {
            Err(format!("could be the member `{}` or the member `{}`", a.name(), b.name()))
        }
        (found, _) => Ok(found.map(|(index, _)| index)),
    }
}

/// The items of a list of any kind.
pub(super) fn item(list: &DataType) -> Option<&ArrowField> {
    match list {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => Some(item),
        _ => None,
    }
}

/// Key and value of a map.
pub(super) fn entry(entries: &ArrowField) -> Option<(&ArrowField, &ArrowField)> {
    match entries.data_type() {
        DataType::Struct(fields) => match fields.as_ref() {
            [key, value] => Some((key, value)),
            _ => None,
        },
        _ => None,
    }
}
