//! Expressions over arrays and JSON.

use super::Table;
use crate::support::{batch, schema};
use arrow::array::{ArrayRef, Int32Array, Int32Builder, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use std::sync::Arc;

/// The rows of both: `id, t text[], i int[], j text`.
type Row =
    (Option<&'static [Option<&'static str>]>, Option<&'static [Option<i32>]>, Option<&'static str>);

const ROWS: &[Row] = &[
    (
        Some(&[Some("a"), Some("b"), Some("a")]),
        Some(&[Some(3), Some(1), Some(2)]),
        Some(
            r#"{"a": {"b": [1, 2.50, "x", {"c" : null}]}, "n": 12345678901234567890.123456789,
                "s": "ä\u00e9\ud83d\ude00\n\"", "t": true, "z": null, "e": [], "": "nameless"}"#,
        ),
    ),
    (Some(&[]), Some(&[]), Some(r#"[1, {"a": "b"}, [2, 3], "text", null]"#)),
    (None, None, None),
    (Some(&[Some("x"), None]), Some(&[None, Some(7)]), Some(r#"{"a": {"b": "#)),
    (Some(&[Some("Straße, 12"), Some("")]), Some(&[Some(-5)]), Some(r#"  "only a text"  "#)),
    (Some(&[None]), Some(&[Some(2)]), Some(r#"{"a": 1, "a": 2, "n": 1e400}"#)),
    (Some(&[Some("b")]), Some(&[Some(i32::MAX)]), Some(r#"{"\u0061": {"b": -0.10}, "n": -0.0}"#)),
    (Some(&[Some("a,b,,c")]), Some(&[Some(1), Some(1)]), Some("")),
    (Some(&[Some("ab")]), Some(&[Some(0)]), Some(r#"{"a": "\ud800", "n": "7"}"#)),
    (Some(&[Some("ab")]), Some(&[Some(0)]), Some(r#"{"a": 1, "s": "\u0000", "n": "7"}"#)),
    (Some(&[Some("ab")]), Some(&[Some(0)]), Some(r#"{"a": "\ud83d\u0041", "n": "\\ud800"}"#)),
    (Some(&[Some("z")]), Some(&[Some(9)]), Some(r#"{'a': 1}"#)),
    (Some(&[Some("z")]), Some(&[Some(9)]), Some("[1, 2,]")),
    (Some(&[Some("z")]), Some(&[Some(9)]), Some("01")),
    (Some(&[Some("z")]), Some(&[Some(9)]), Some("{} {}")),
    (Some(&[Some("z")]), Some(&[Some(9)]), Some("NaN")),
    (Some(&[Some("z")]), Some(&[Some(9)]), Some("null")),
];

pub(super) const SAME: &[(&str, &str)] = &[
    ("text", "t[1]"),
    ("text", "t[2]"),
    ("text", "t[0]"),
    ("text", "t[-1]"),
    ("text", "t[99]"),
    ("text", "t[id]"),
    ("int", "i[1] + 1"),
    ("int", "i[i[2]]"),
    ("text", "(ARRAY['x', t[1], NULL])[2]"),
    ("text", "array_to_string(t[1:2], '|', '~')"),
    ("text", "array_to_string(t[0:1], '|', '~')"),
    ("text", "array_to_string(t[2:1], '|', '~')"),
    ("text", "array_to_string(t[-3:99], '|', '~')"),
    ("int", "cardinality(t[2:9])"),
    ("int", "array_length(t, 1)"),
    ("int", "array_length(t, 2)"),
    ("int", "array_length(i, 0)"),
    ("int", "cardinality(t)"),
    ("int", "cardinality(i)"),
    ("int", "array_position(t, 'b')"),
    ("int", "array_position(t, NULL)"),
    ("int", "array_position(i, 2)"),
    ("int", "array_position(i, 1, 2)"),
    ("boolean", "'a' = ANY(t)"),
    ("boolean", "NOT ('a' = ANY(t))"),
    ("boolean", "t[1] = ANY(t)"),
    ("boolean", "'zz' <> ALL(t)"),
    ("boolean", "'b' <> ANY(t)"),
    ("boolean", "'b' = ALL(t)"),
    ("boolean", "2 = ANY(i)"),
    ("boolean", "2 < ANY(i)"),
    ("boolean", "2 <= ALL(i)"),
    ("boolean", "2.5 > ANY(i)"),
    ("boolean", "id >= ALL(i)"),
    ("boolean", "id = ANY(ARRAY[1, 2, NULL])"),
    ("text", "array_to_string(t, ', ')"),
    ("text", "array_to_string(i, '', '~')"),
    ("text", "array_to_string(ARRAY[id, 7, NULL], ',')"),
    ("text", "array_to_string(array_append(t, 'z'), '|', '~')"),
    ("text", "array_to_string(array_prepend('z', t), '|', '~')"),
    ("text", "array_to_string(array_cat(t, ARRAY['y', 'z']), '|', '~')"),
    ("text", "array_to_string(array_remove(t, 'a'), '|', '~')"),
    ("text", "array_to_string(t || t, '|', '~')"),
    ("text", "array_to_string(i || 5, '|', '~')"),
    ("boolean", "t @> ARRAY['a']"),
    ("boolean", "ARRAY['a', 'b'] <@ t"),
    ("text", "array_to_string(string_to_array(t[1], ','), '|', '~')"),
    ("text", "array_to_string(string_to_array(t[1], ',', 'b'), '|', '~')"),
    ("text", "(string_to_array(t[1], ','))[2]"),
    ("text", "(regexp_match(t[1], '^(.)(.)'))[2]"),
    ("text", "(regexp_match(t[1], '[a-z]+'))[1]"),
    ("boolean", "t IS NULL"),
    ("text", "COALESCE(t[1], 'none')"),
    ("text", "CASE WHEN cardinality(t) > 1 THEN t[2] ELSE t[1] END"),
    ("text", "CAST(j AS JSON) ->> 'a'"),
    ("text", "j::json ->> 's'"),
    ("text", "CAST(j AS JSON) -> 'a'"),
    ("text", "CAST(j AS JSON) -> 'a' ->> 'b'"),
    ("text", "CAST(j AS JSON) -> 'a' -> 'b' ->> 1"),
    ("text", "CAST(j AS JSON) -> 'a' -> 'b' -> 3"),
    ("text", "CAST(j AS JSON) -> 'a' -> 'b' -> 3 ->> 'c'"),
    ("text", "CAST(j AS JSON) -> 'a' -> 'b' -> -2"),
    ("text", "CAST(j AS JSON) ->> 0"),
    ("text", "CAST(j AS JSON) ->> -1"),
    ("text", "CAST(j AS JSON) -> 1 ->> 'a'"),
    ("text", "CAST(j AS JSON) ->> ''"),
    ("boolean", "(CAST(j AS JSON) ->> 'z') IS NULL"),
    ("boolean", "CAST(j AS JSON) ->> 't' = 'true'"),
    ("text", "CAST(j AS JSON) ->> 't' || '!'"),
    ("boolean", "CAST(j AS JSON) ->> 'z' IS NULL"),
    ("boolean", "CAST(j AS JSON) ->> 't' LIKE 'tr%'"),
    ("boolean", "CAST(j AS JSON) ->> 'n' IN ('7', '8')"),
    ("text", "json_extract_path_text(CAST(j AS JSON), 'a', 'b', '1')"),
    ("text", "json_extract_path_text(CAST(j AS JSON), 'a', 'b', '-1')"),
    ("text", "json_extract_path_text(CAST(j AS JSON), '1', 'a')"),
    ("text", "json_extract_path_text(CAST(j AS JSON), 'n')"),
    ("text", "json_extract_path_text(CAST(j AS JSON), t[1], 'b')"),
    ("text", "json_extract_path(CAST(j AS JSON), 'a', 'b')"),
    ("text", "json_extract_path(CAST(j AS JSON), 'z')"),
    ("text", "json_object_field(CAST(j AS JSON), 'a')"),
    ("text", "json_object_field_text(CAST(j AS JSON), 'n')"),
    ("text", "json_array_element(CAST(j AS JSON), 1)"),
    ("text", "json_array_element_text(CAST(j AS JSON), 3)"),
    ("text", "json_typeof(CAST(j AS JSON))"),
    ("text", "json_typeof(CAST(j AS JSON) -> 'a' -> 'b' -> 0)"),
    ("int", "json_array_length(CAST(j AS JSON) -> 'a' -> 'b')"),
    ("int", "json_array_length(CAST(j AS JSON))"),
    ("text", "CAST(j AS JSON)"),
    ("numeric(38,9)", "CAST(CAST(j AS JSON) ->> 'n' AS NUMERIC(38,9))"),
];

pub(super) const DIFFERENT: &[(&str, &str, &str)] = &[];

pub(super) fn table() -> Table {
    let (mut t, mut i) =
        (ListBuilder::new(StringBuilder::new()), ListBuilder::new(Int32Builder::new()));
    for (texts, numbers, _) in ROWS {
        t.append_option(texts.map(|texts| texts.iter().copied()));
        i.append_option(numbers.map(|numbers| numbers.iter().copied()));
    }
    let input = schema(&[
        ("id", DataType::Int32, false),
        ("t", DataType::new_list(DataType::Utf8, true), true),
        ("i", DataType::new_list(DataType::Int32, true), true),
        ("j", DataType::Utf8, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new((0..ROWS.len() as i32).collect::<Int32Array>()),
        Arc::new(t.finish()),
        Arc::new(i.finish()),
        Arc::new(ROWS.iter().map(|row| row.2).collect::<StringArray>()),
    ];
    Table { rows: batch(&input, columns), sql: sql() }
}

fn sql() -> String {
    let text = |text: Option<&str>| {
        text.map_or("NULL".to_string(), |text| format!("'{}'", text.replace('\'', "''")))
    };
    let array = |items: Option<Vec<String>>, item: &str| match items {
        Some(items) => format!("ARRAY[{}]::{item}[]", items.join(", ")),
        None => "NULL".into(),
    };
    let rows = ROWS.iter().enumerate().map(|(id, (t, i, j))| {
        let t = t.map(|items| items.iter().map(|item| text(*item)).collect());
        let number = |item: &Option<i32>| item.map_or("NULL".into(), |n| n.to_string());
        let i = i.map(|items| items.iter().map(number).collect());
        format!("({id}, {}, {}, {})", array(t, "text"), array(i, "int"), text(*j))
    });
    let rows: Vec<_> = rows.collect();
    format!(
        "(SELECT id::int, t::text[], i::int[], j::text FROM (VALUES {}) v(id, t, i, j)) AS input",
        rows.join(", ")
    )
}
