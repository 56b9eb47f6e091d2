use super::*;

fn schema(fields: &str) -> WriterSchema {
    WriterSchema::parse(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)).unwrap()
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
fn changes_inside_nested_values_are_named_by_their_path() {
    let customer = |fields: &str, symbols: &str| {
        schema(&format!(
            r#"{{"name":"c","type":["null",{{"type":"record","name":"C","fields":[{fields}]}}]}},
            {{"name":"tags","type":{{"type":"array","items":{{"type":"map","values":
                {{"type":"enum","name":"E","symbols":[{symbols}]}}}}}}}}"#
        ))
    };
    let before = customer(
        r#"{"name":"id","type":"int"},{"name":"town","type":"string"},{"name":"zip","type":"int"}"#,
        r#""A","B""#,
    );
    let after = customer(
        r#"{"name":"id","type":"long"},{"name":"city","type":"string","aliases":["town"]},
        {"name":"of","type":["null","C"],"default":null}"#,
        r#""B","C""#,
    );
    assert_eq!(
        diff(&before, &after),
        [
            "- c.zip: int, no default",
            "~ c.id: int → long",
            "~ c.town: renamed to city, with the old name as alias",
            "+ c.of: record C inside itself, optional, default null",
            "~ tags[]{}: without the symbol A",
            "~ tags[]{}: with the symbol C",
        ]
    );
}

#[test]
fn schemas_of_the_same_records_have_no_differences() {
    let documented = schema(r#"{"name":"a","type":"int","doc":"words"}"#);
    assert_eq!(diff(&documented, &schema(r#"{"name":"a","type":"int"}"#)), Vec::<String>::new());
    let (ab, ba) = (
        r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#,
        r#"{"name":"b","type":"int"},{"name":"a","type":"int"}"#,
    );
    assert_eq!(diff(&schema(ab), &schema(ba)), ["~ order of fields: b, a"]);
}

/// As texts.
fn lost(writer: &str, reader: &str) -> (Vec<String>, Vec<String>) {
    let Losses { all, some } = losses(&schema(writer), &schema(reader));
    let texts = |problems: Vec<Problem>| problems.iter().map(Problem::to_string).collect();
    (texts(all), texts(some))
}

#[test]
fn what_a_reader_loses_is_said_for_all_records_or_for_some() {
    let nested = |field: &str| {
        format!(
            r#"{{"name":"o","type":{{"type":"array","items":
                {{"type":"record","name":"O","fields":[{field}]}}}}}}"#
        )
    };
    let symbols = |symbols: &str| {
        nested(&format!(
            r#"{{"name":"e","type":{{"type":"enum","name":"E","symbols":[{symbols}]}}}}"#
        ))
    };
    let cases = [
        (nested(r#"{"name":"x","type":"int"}"#), nested(r#"{"name":"x","type":"long"}"#), "", ""),
        (
            nested(r#"{"name":"x","type":"int"}"#),
            nested(r#"{"name":"y","type":"int"}"#),
            "`o[].y` is missing and has no default",
            "",
        ),
        (
            nested(r#"{"name":"x","type":"string"}"#),
            nested(r#"{"name":"x","type":"int"}"#),
            "`o[].x` is string; it cannot be read as int",
            "",
        ),
        (
            nested(r#"{"name":"x","type":["null","int"]}"#),
            nested(r#"{"name":"x","type":"int"}"#),
            "",
            "`o[].x` may be null, which the reader does not allow",
        ),
        (
            nested(r#"{"name":"x","type":["int","string"]}"#),
            nested(r#"{"name":"x","type":"int"}"#),
            "",
            "`o[].x` is string; it cannot be read as int",
        ),
        (
            symbols(r#""A","B""#),
            symbols(r#""A""#),
            "",
            "`o[].e` may be B, which the reader does not know",
        ),
        (
            nested(r#"{"name":"x","type":"long"}"#),
            nested(r#"{"name":"x","type":"double"}"#),
            "",
            "`o[].x` may be a number of more digits than the reader's type holds",
        ),
    ];
    for (writer, reader, all, some) in cases {
        let list = |text: &str| if text.is_empty() { vec![] } else { vec![text.to_string()] };
        assert_eq!(lost(&writer, &reader), (list(all), list(some)), "{writer} {reader}");
    }
}
