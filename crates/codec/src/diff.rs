//! The differences between two schemas, for people.

use crate::avro_type::Field;
use crate::schema::Schema;
use apache_avro::Schema as Avro;

/// The changes from `before` to `after`, one line each: `+` added, `-` removed, `~` changed. Empty
/// when both describe the same records; documentation is ignored.
pub fn diff(before: &Schema, after: &Schema) -> Vec<String> {
    let mut lines = Vec::new();
    let (old_name, new_name) = (record_name(before), record_name(after));
    if old_name != new_name {
        lines.push(format!("~ record name: {old_name} → {new_name}"));
    }
    lines.extend(
        before
            .fields()
            .iter()
            .filter(|field| renamed_to(field, before, after).is_none())
            .filter_map(|field| removed(field, after)),
    );
    for field in after.fields() {
        match counterpart(field, before) {
            Some(old) => lines.extend(changed(old, field)),
            None => lines.push(format!("+ {}: {}", field.name, describe(field))),
        }
    }
    if lines.is_empty() && names(before) != names(after) {
        lines.push(format!("~ order of fields: {}", names(after).join(", ")));
    }
    lines
}

fn record_name(schema: &Schema) -> String {
    match schema.avro() {
        Avro::Record(record) => record.name.fullname(None),
        other => other.to_string(),
    }
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.fields().iter().map(|field| field.name.as_str()).collect()
}

fn find<'a>(schema: &'a Schema, name: &str) -> Option<&'a Field> {
    schema.fields().iter().find(|field| field.name == name)
}

/// The field of `before` with the name of `field` or one of its aliases.
fn counterpart<'a>(field: &Field, before: &'a Schema) -> Option<&'a Field> {
    find(before, &field.name).or_else(|| field.aliases.iter().find_map(|alias| find(before, alias)))
}

fn renamed_to<'a>(field: &Field, before: &Schema, after: &'a Schema) -> Option<&'a Field> {
    after.fields().iter().find(|new| {
        new.name != field.name
            && find(before, &new.name).is_none()
            && new.aliases.contains(&field.name)
    })
}

fn removed(field: &Field, after: &Schema) -> Option<String> {
    find(after, &field.name).is_none().then(|| format!("- {}: {}", field.name, describe(field)))
}

fn changed(old: &Field, new: &Field) -> Vec<String> {
    let mut lines = Vec::new();
    if old.name != new.name {
        lines.push(format!("~ {}: renamed to {}, with the old name as alias", old.name, new.name));
    }
    if old.avro_type != new.avro_type {
        lines.push(format!("~ {}: {} → {}", new.name, typed(old), typed(new)));
    }
    if old.default != new.default {
        lines.push(format!("~ {}: {} → {}", new.name, default(old), default(new)));
    }
    lines
}

fn typed(field: &Field) -> String {
    let (avro_type, optional) = field.avro_type.optional();
    if optional { format!("{avro_type}, optional") } else { avro_type.to_string() }
}

fn default(field: &Field) -> String {
    field.default.as_ref().map_or("no default".into(), |value| format!("default {value}"))
}

fn describe(field: &Field) -> String {
    format!("{}, {}", typed(field), default(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &str) -> Schema {
        Schema::parse(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)).unwrap()
    }

    #[test]
    fn every_kind_of_change_has_its_own_line() {
        let before = schema(
            r#"{"name":"a","type":"int"},{"name":"b","type":"string"},{"name":"c","type":"long"},
            {"name":"d","type":"int"}"#,
        );
        let after = schema(
            r#"{"name":"a","type":"long"},{"name":"c","type":["null","long"],"default":null},
            {"name":"e","type":"int","aliases":["d"]},{"name":"f","type":"string","default":"x"}"#,
        );
        assert_eq!(
            diff(&before, &after),
            [
                "- b: string, no default",
                "~ a: int → long",
                "~ c: long → long, optional",
                "~ c: no default → default null",
                "~ d: renamed to e, with the old name as alias",
                "+ f: string, default \"x\"",
            ]
        );
    }

    #[test]
    fn schemas_of_the_same_records_have_no_differences() {
        let documented = schema(r#"{"name":"a","type":"int","doc":"words"}"#);
        assert_eq!(
            diff(&documented, &schema(r#"{"name":"a","type":"int"}"#)),
            Vec::<String>::new()
        );
        let (ab, ba) = (
            r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#,
            r#"{"name":"b","type":"int"},{"name":"a","type":"int"}"#,
        );
        assert_eq!(diff(&schema(ab), &schema(ba)), ["~ order of fields: b, a"]);
    }
}
