//! Every output type × values that it cannot hold, and expressions that fail, through SQL.

use crate::support::{Pipeline, long, record};
use weir_model::fault::{VALUE_DOES_NOT_FIT, VALUE_MISSING};
use weir_testkit::topics::Record;

/// Name of the output field, its type, the expression over the text `v`, a text that passes, and
/// texts that do not.
const KINDS: [(&str, &str, &str, &str, &[&str]); 29] = [
    ("boolean", r#""boolean""#, "CAST(v AS BOOLEAN)", "true", &["maybe"]),
    ("int", r#""int""#, "CAST(v AS BIGINT)", "-2147483648", &["2147483648", "x"]),
    ("long", r#""long""#, "CAST(v AS BIGINT) + 1", "1", &["9223372036854775807", ""]),
    ("float", r#""float""#, "CAST(v AS BIGINT)", "16777216", &["16777217"]),
    ("double", r#""double""#, "CAST(v AS BIGINT)", "9007199254740992", &["9007199254740993"]),
    ("bytes", r#""bytes""#, "CAST(NULLIF(v, 'fail') AS BYTEA)", "any", &[]),
    ("string", r#""string""#, "v", "any", &[]),
    ("enumeration", r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, "v", "B", &["b", "C", ""]),
    ("fixed", r#"{"type":"fixed","name":"F","size":2}"#, "CAST(v AS BYTEA)", "ab", &["a", "abc"]),
    ("uuid", r#"{"type":"string","logicalType":"uuid"}"#, "v", UUID, &["not-a-uuid", ""]),
    ("uuid16", r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#, "v", UUID, &["x"]),
    (
        "decimal",
        r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
        "CAST(v AS DECIMAL(10,2))",
        "99.99",
        &["100", "x"],
    ),
    (
        "wide",
        r#"{"type":"bytes","logicalType":"decimal","precision":38,"scale":0}"#,
        "CAST(v AS DECIMAL(38,0)) + CAST(v AS DECIMAL(38,0))",
        "1",
        &[NINES],
    ),
    (
        "wide_fixed",
        r#"{"type":"fixed","name":"D","size":16,"logicalType":"decimal","precision":38,"scale":0}"#,
        "CAST(v AS DECIMAL(38,0)) * CAST(v AS DECIMAL(38,0))",
        "9",
        &[NINES],
    ),
    (
        "date",
        r#"{"type":"int","logicalType":"date"}"#,
        "CAST(v AS DATE)",
        "9999-12-31",
        &["2023-02-29"],
    ),
    (
        "time_micros",
        r#"{"type":"long","logicalType":"time-micros"}"#,
        "CAST(v AS TIME)",
        "23:59:59",
        &["24:00:01", "00:00:00.0000001"],
    ),
    (
        "time_millis",
        r#"{"type":"int","logicalType":"time-millis"}"#,
        "CAST(v AS TIME)",
        "23:59:59.999",
        &["23:59:59.9999", "noon"],
    ),
    (
        "millis",
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
        "CAST(v AS TIMESTAMP(6))",
        "2024-01-01 00:00:00.001",
        &["2024-01-01 00:00:00.0001", "soon"],
    ),
    (
        "micros",
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        "CAST(v AS TIMESTAMP(6))",
        "9999-12-31 23:59:59.999999",
        &["soon"],
    ),
    (
        "nanos",
        r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
        "CAST(v AS TIMESTAMP(6))",
        "2024-01-01",
        &["9999-12-31"],
    ),
    (
        "local",
        r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
        "CAST(v AS TIMESTAMP(6))",
        "2024-01-01",
        &["x"],
    ),
    (
        "local_millis",
        r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
        "CAST(v AS TIMESTAMP(6))",
        "9999-12-31 23:59:59.999",
        &["2024-01-01 00:00:00.0001", "24:00"],
    ),
    (
        "local_nanos",
        r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#,
        "CAST(v AS TIMESTAMP(6))",
        "2262-04-11 23:47:16",
        &["2262-04-12 00:00:00", "0001-01-01"],
    ),
    ("mandatory", r#""string""#, "NULLIF(v, 'nothing')", "", &["nothing"]),
    ("null_logic", r#""boolean""#, "v = 'a' OR 1 / (length(v) - 3) > 0", "a", &["abc"]),
    ("part", r#""string""#, "split_part(v, ' ', CAST(length(v) AS INT))", "a b", &[""]),
    ("division", r#""int""#, "100 / CAST(v AS INT)", "7", &["0"]),
    ("pattern", r#""boolean""#, "regexp_like(v, v)", "a+", &["(", "[a"]),
    (
        "summer",
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        "CAST(v AS TIMESTAMP(6)) AT TIME ZONE 'Europe/Berlin'",
        "2024-07-01",
        &["2024-03-31 02:30:00"],
    ),
];
const UUID: &str = "6774d596-8cc8-4c20-8e98-6f2f105d62a8";
const NINES: &str = "99999999999999999999999999999999999999";
const INPUT: &str = r#"{"type":"record","name":"In","fields":[
    {"name":"id","type":"long"},
    {"name":"kind","type":"string"},
    {"name":"v","type":"string"}]}"#;

fn value(schema_id: u32, id: i64, kind: &str, text: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(schema_id.to_be_bytes());
    long(id, &mut bytes);
    for text in [kind, text] {
        long(text.len() as i64, &mut bytes);
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// A value that its type does not have has one reason, whichever the type is; an expression that
/// fails has another.
fn reasons(kind: &str) -> &'static [&'static str] {
    match kind {
        "mandatory" => &[VALUE_MISSING],
        "enumeration" | "fixed" | "uuid" | "uuid16" | "float" | "double" => &[VALUE_DOES_NOT_FIT],
        "division" | "pattern" | "summer" | "part" | "null_logic" => &["expression_failed"],
        _ => &[VALUE_DOES_NOT_FIT, "expression_failed"],
    }
}

#[test]
fn a_value_that_no_output_type_holds_does_not_take_its_neighbours() {
    let fields: Vec<_> = KINDS
        .iter()
        .map(|(name, kind, ..)| match *name {
            "mandatory" => format!(r#"{{"name":"{name}","type":{kind}}}"#),
            _ => format!(r#"{{"name":"{name}","type":["null",{kind}]}}"#),
        })
        .collect();
    let output = format!(
        r#"{{"type":"record","name":"Out","fields":[{{"name":"id","type":"long"}},{}]}}"#,
        fields.join(",")
    );
    let columns: Vec<_> = KINDS
        .iter()
        .map(|(name, _, sql, ..)| {
            let none = if *name == "mandatory" { "''" } else { "NULL" };
            format!("CASE WHEN kind = '{name}' THEN {sql} ELSE {none} END AS {name}")
        })
        .collect();
    let sql = format!("SELECT id, {} FROM input", columns.join(", "));
    let pipeline = Pipeline::of((INPUT, &output), &sql);

    let (mut records, mut good, mut bad): (Vec<Record>, Vec<i64>, Vec<i64>) = Default::default();
    let mut kind_of = Vec::new();
    for (kind, _, _, passes, fails) in KINDS {
        for (text, ids) in [(passes, &mut good)]
            .into_iter()
            .map(|(text, ids)| (vec![text; 4], ids))
            .chain([(fails.to_vec(), &mut bad)])
        {
            for text in text {
                let id = records.len() as i64;
                records.push(record(id, Some(value(pipeline.schema_id, id, kind, text))));
                kind_of.push(kind);
                ids.push(id);
            }
        }
    }
    pipeline.topics.write(&pipeline.input, &records).unwrap();
    let enricher = pipeline.start("e-0");
    pipeline.wait_done();
    let dead_letters = pipeline.topics.read(&pipeline.dead_letters()).unwrap();
    let details: Vec<_> = dead_letters
        .iter()
        .map(|dead_letter| dead_letter.header_text("weir-detail").unwrap_or_default().to_string())
        .collect();
    assert_eq!(pipeline.audit(), good, "{details:#?}");
    let id = |record: &Record| -> i64 {
        std::str::from_utf8(record.key.as_deref().unwrap()).unwrap().parse().unwrap()
    };
    let mut dead: Vec<_> = dead_letters.iter().map(id).collect();
    dead.sort_unstable();
    assert_eq!(dead, bad, "{details:#?}");
    for dead_letter in &dead_letters {
        assert_eq!(dead_letter.header_text("weir-stage"), Some("transform"));
        let original = records.iter().find(|record| id(record) == id(dead_letter)).unwrap();
        assert_eq!(dead_letter.value, original.value);
        let reason = dead_letter.header_text("weir-reason").unwrap();
        let kind = kind_of[id(dead_letter) as usize];
        assert!(reasons(kind).contains(&reason), "{kind}: {reason}");
        let offset = id(dead_letter) / 3;
        assert_eq!(dead_letter.header_text("weir-offset"), Some(offset.to_string().as_str()));
    }
    assert!(enricher.stop().unwrap().success());
}
