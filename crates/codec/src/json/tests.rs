use super::*;
use crate::json_decoder::JsonDecoder;
use crate::schema::Schema;
use arrow::util::display::array_value_to_string;

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"id","type":"long"},
    {"name":"amount","default":null,
        "type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":2}]},
    {"name":"name","type":"string","default":"nobody"},
    {"name":"ok","type":["null","boolean"]},
    {"name":"share","type":["null","double"]},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"kind","type":["null",{"type":"enum","name":"K","symbols":["A","B"]}]},
    {"name":"uuid","type":["null",{"type":"string","logicalType":"uuid"}]},
    {"name":"pair","type":["null",{"type":"fixed","name":"F","size":2}]},
    {"name":"place","type":["null",{"type":"record","name":"P","fields":[
        {"name":"x","type":"int"},{"name":"y","type":"int","default":7}]}]},
    {"name":"tags","type":["null",{"type":"array","items":"string"}]},
    {"name":"words","type":["null",{"type":"map","values":["null","long"]}]}]}"#;

/// The rows as text, and `reason: detail` of the others.
fn decode(lines: &[&[u8]], rules: JsonRules) -> (Vec<String>, Vec<String>) {
    let mut decoder = JsonDecoder::new(Schema::parse(SCHEMA).unwrap(), rules).unwrap();
    let values: Vec<Option<&[u8]>> = lines.iter().map(|line| Some(*line)).collect();
    let decoded = decoder.decode(&values).unwrap();
    let row = |row: usize| {
        let cells = decoded.batch.columns().iter().map(|c| array_value_to_string(c, row).unwrap());
        cells.collect::<Vec<_>>().join("|")
    };
    let rows = (0..decoded.batch.num_rows()).map(row).collect();
    let faults =
        decoded.faults.into_iter().map(|(row, f)| format!("{row} {}: {}", f.reason, f.detail));
    (rows, faults.collect())
}

fn strict(lines: &[&str]) -> (Vec<String>, Vec<String>) {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    decode(&lines, JsonRules::default())
}

#[test]
fn every_type_is_read_exactly_and_what_is_missing_has_its_default() {
    let (rows, faults) = strict(&[
        r#"{"id":9223372036854775807,"amount":123456789012345678901234567890123456.78,"name":"a\"ä",
            "ok":true,"share":0.1,"at":"2025-01-31T12:00:00.000001+01:00","day":"2025-01-31","kind":"B",
            "uuid":"6774d596-8cc8-4c20-8e98-6f2f105d62a8","pair":"ab","place":{"x":1},
            "tags":["x","y"],"words":{"b":2,"a":null},"unknown":[{"a":1,"a":2}]}"#,
        r#"{"id":-1}"#,
    ]);
    assert_eq!(faults, [""; 0]);
    assert_eq!(
        rows,
        [
            "9223372036854775807|123456789012345678901234567890123456.78|a\"ä|true|0.1|\
             2025-01-31T11:00:00.000001Z|2025-01-31|B|6774d596-8cc8-4c20-8e98-6f2f105d62a8|6162|\
             {x: 1, y: 7}|[x, y]|{a: , b: 2}",
            "-1||nobody||||||||||"
        ]
    );
}

#[test]
fn what_is_no_value_of_its_field_is_a_fault_of_its_record_alone() {
    let bad = [
        (
            r#"{"id":9223372036854775808}"#,
            "value_does_not_fit: id: `9223372036854775808` does not fit 64",
        ),
        (r#"{"id":1.5}"#, "value_does_not_fit: id: `1.5` is not a whole number"),
        (r#"{"id":"1"}"#, "value_does_not_fit: id: `\"1\"` is in quotes; long is not"),
        (r#"{"id":null}"#, "value_missing: id is null, which its type does not allow"),
        (r#"{}"#, "value_missing: id is missing and has no default"),
        (r#"{"id":1,"name":null}"#, "value_missing: name is null"),
        (r#"{"id":1,"name":5}"#, "value_does_not_fit: name: `5` is not in quotes, as string is"),
        (r#"{"id":1,"ok":1}"#, "value_does_not_fit: ok: `1` is not boolean"),
        (
            r#"{"id":1,"amount":1.234}"#,
            "value_does_not_fit: amount: `1.234` has more than 2 decimals",
        ),
        (r#"{"id":1,"amount":true}"#, "value_does_not_fit: amount: `true` is not decimal(38,2)"),
        (r#"{"id":1,"share":1e999}"#, "value_does_not_fit: share: `1e999` is too large"),
        (r#"{"id":1,"at":1700000000}"#, "value_does_not_fit: at: `1700000000` is not in quotes"),
        (r#"{"id":1,"at":"2025-02-30T00:00:00Z"}"#, "value_does_not_fit: at: "),
        (r#"{"id":1,"kind":"C"}"#, "value_does_not_fit: kind: `\"C\"` does not fit enum(A, B)"),
        (r#"{"id":1,"uuid":"no"}"#, "value_does_not_fit: uuid: `\"no\"` is not a UUID"),
        (r#"{"id":1,"pair":"abc"}"#, "value_does_not_fit: pair: `\"abc\"` has 3 bytes, not 2"),
        (r#"{"id":1,"place":{"y":1}}"#, "value_missing: place.x is missing and has no default"),
        (r#"{"id":1,"place":[1]}"#, "value_does_not_fit: place: `[1]` is not record"),
        (r#"{"id":1,"place":"x"}"#, "value_does_not_fit: place: `\"x\"` is not record"),
        (
            r#"{"id":1,"place":{"x":1,"x":2}}"#,
            "malformed_json: not a JSON object: the member `x` comes twice",
        ),
        (r#"{"id":1,"tags":["a",1]}"#, "value_does_not_fit: tags.1: `1` is not in quotes"),
        (r#"{"id":1,"words":{"a":"b"}}"#, "value_does_not_fit: words.a: `\"b\"` is in quotes"),
        (r#"{"id":1,"id":1}"#, "malformed_json: not a JSON object: the member `id` comes twice"),
        (r#"{"id":1} {"id":2}"#, "malformed_json: not a JSON object: trailing characters"),
        (r#"{"id":1"#, "malformed_json: not a JSON object: EOF"),
        (r#"[1]"#, "malformed_json: not a JSON object: invalid type"),
        ("", "empty_payload: "),
    ];
    let lines: Vec<&str> = bad.iter().flat_map(|(line, _)| [*line, r#"{"id":7}"#]).collect();
    let (rows, faults) = strict(&lines);
    assert_eq!((rows.len(), faults.len()), (bad.len(), bad.len()), "{faults:#?}");
    for (index, (fault, (line, expected))) in faults.iter().zip(bad).enumerate() {
        let expected = format!("{} {expected}", index * 2);
        assert!(fault.starts_with(&expected), "{line}\n{fault}\n{expected}");
    }
}

#[test]
fn bytes_that_are_not_utf8_and_endless_nesting_are_faults() {
    let deep = format!("{{\"id\":1,\"place\":{}", "[".repeat(100_000));
    let unknown = format!("{{\"id\":1,\"more\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let (rows, faults) = decode(
        &[b"{\"id\":1,\"name\":\"\xff\"}", deep.as_bytes(), unknown.as_bytes(), b"{\"id\":2}"],
        JsonRules::default(),
    );
    assert_eq!(rows.len() + faults.len(), 4);
    assert!(rows.last().unwrap().starts_with("2|"), "{rows:?}");
    assert!(faults[0].starts_with("0 malformed_json"), "{faults:?}");
    assert!(faults[1].starts_with("1 malformed_json"), "{faults:?}");
}

#[test]
fn numbers_in_quotes_and_unknown_members_are_as_the_pipeline_says() {
    let lines: [&[u8]; 3] =
        [br#"{"id":"12","ok":"true","name":5}"#, br#"{"id":1,"more":2}"#, br#"{"id":"x"}"#];
    let loose = JsonRules { numbers_as_text: true, refuse_unknown: true, similar_names: false };
    let (rows, faults) = decode(&lines, loose);
    assert_eq!(rows, ["12||5|true|||||||||"]);
    assert_eq!(faults[0], "1 unknown_field: the schema has no field `more`");
    assert!(faults[1].starts_with("2 value_does_not_fit: id: `\"x\"` is not a whole number"));
}

#[test]
fn a_schema_that_json_cannot_say_is_refused() {
    let refused = |field: &str| {
        let text =
            format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{field}}}]}}"#);
        JsonDecoder::new(Schema::parse(&text).unwrap(), JsonRules::default())
            .err()
            .map(|e| e.to_string())
    };
    let union = refused(r#"{"type":"array","items":["null","int","string"]}"#).unwrap();
    assert!(union.starts_with("field `f[]` is [null, int, string]: neither JSON nor"), "{union}");
    assert!(refused(r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#).is_some());
    assert_eq!(refused(r#"["int","long"]"#), None);
}
