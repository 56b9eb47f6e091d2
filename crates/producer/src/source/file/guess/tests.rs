use super::*;
use arrow::array::{Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use std::sync::Arc;

fn guessed(name: &str, content: &[u8]) -> Guess {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    let (found, guess) = guess(&folder.path().join("*").to_string_lossy()).unwrap();
    assert_eq!(found, name);
    guess
}

/// `name:type`, with `?` behind what may be null.
fn fields(guess: &Guess) -> Vec<String> {
    let field = |field: &GuessedField| {
        let mut name = match &field.avro_type {
            Value::String(name) => name.clone(),
            other => other["logicalType"].as_str().unwrap_or("record").to_owned(),
        };
        if name == "decimal" {
            name =
                format!("decimal({},{})", field.avro_type["precision"], field.avro_type["scale"]);
        }
        format!("{}:{name}{}", field.name, if field.nullable { "?" } else { "" })
    };
    guess.fields.iter().map(field).collect()
}

fn setting<'a>(guess: &'a Guess, key: &str) -> Option<&'a Value> {
    guess.settings.iter().find(|setting| setting.key == key).map(|setting| &setting.value)
}

#[test]
fn plain_csv_has_no_settings() {
    let guess = guessed(
        "a.csv",
        b"id,Unit Price,ok,day,zip,at\n1,1.50,true,2025-01-31,01234,2025-01-31T10:00:00Z\n\
          2,,false,2025-02-01,99999,2025-01-31T10:00:00+01:00\n",
    );
    assert_eq!(guess.settings, []);
    assert_eq!(
        fields(&guess),
        [
            "id:long",
            "unit_price:decimal(7,2)?",
            "ok:boolean",
            "day:date",
            "zip:string",
            "at:timestamp-micros"
        ]
    );
    assert!(guess.fields[4].why.contains("`01234` is a code"));
    assert_eq!(guess.sampled, Some(2));
}

#[test]
fn a_german_spreadsheet_is_told_from_its_values() {
    let text = "id;Name;Preis;Tag\r\n1;Müller;1.234,50;31.01.2025\r\n2;Ö;-0,5;NULL\r\n";
    let (encoded, ..) = encoding_rs::WINDOWS_1252.encode(text);
    let guess = guessed("a.csv", &encoded);
    for (key, value) in [
        ("encoding", json!("windows-1252")),
        ("delimiter", json!(";")),
        ("decimal_separator", json!(",")),
        ("thousands_separator", json!(".")),
        ("date_format", json!("%d.%m.%Y")),
        ("nulls", json!(["NULL"])),
    ] {
        assert_eq!(setting(&guess, key), Some(&value), "{key}");
    }
    assert_eq!(fields(&guess), ["id:long", "name:string", "preis:decimal(10,2)", "tag:date?"]);
}

/// A guess that could be wrong is not made.
#[test]
fn a_date_that_can_be_read_in_two_ways_stays_a_text() {
    let guess = guessed("a.csv", b"id,day\n1,01/02/2025\n2,03/04/2025\n");
    assert_eq!(fields(&guess), ["id:long", "day:string"]);
    assert!(guess.fields[1].why.contains("%d/%m/%Y or %m/%d/%Y"), "{guess:?}");
    let guess = guessed("a.csv", b"id,day\n1,01/02/2025\n2,03/14/2025\n");
    assert_eq!(setting(&guess, "date_format"), Some(&json!("%m/%d/%Y")));
}

#[test]
fn a_file_without_header_and_one_with_short_lines_are_told() {
    let guess = guessed("a.csv", b"1|a|2.5\n2|b|3.5\n3\n");
    assert_eq!(setting(&guess, "header"), Some(&json!(["column_1", "column_2", "column_3"])));
    assert_eq!(setting(&guess, "short_lines"), Some(&json!(true)));
    assert_eq!(fields(&guess), ["column_1:long", "column_2:string?", "column_3:decimal(6,1)?"]);
}

#[test]
fn members_of_json_are_fields_and_what_is_nested_is_named() {
    let guess = guessed(
        "a.ndjson",
        b"{\"id\":1,\"at\":\"2025-01-31T10:00:00Z\",\"n\":\"17\",\"of\":{\"x\":1}}\n\
          {\"id\":2.5,\"at\":null,\"n\":\"x\"}\n",
    );
    assert_eq!(fields(&guess), ["at:timestamp-micros?", "id:decimal(6,1)", "n:string"]);
    assert_eq!(guess.left_out[0].0, "of");
}

#[test]
fn parquet_and_avro_say_themselves_what_they_hold() {
    let columns: [(_, Arc<dyn arrow::array::Array>); 2] = [
        ("Id", Arc::new(Int64Array::from(vec![1]))),
        ("Name", Arc::new(StringArray::from(vec![None::<&str>]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let guess = guessed("a.parquet", &content);
    assert_eq!(fields(&guess)[1], "name:string?");
    assert_eq!(guess.sampled, None);

    let schema = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"int"},
        {"name":"s","type":["null","string"]},{"name":"u","type":["int","string"]}]}"#;
    let schema = apache_avro::Schema::parse_str(schema).unwrap();
    let content = apache_avro::Writer::new(&schema, Vec::new()).unwrap().into_inner().unwrap();
    let guess = guessed("a.avro", &content);
    assert_eq!(fields(&guess), ["id:int", "s:string?"]);
    assert_eq!(guess.left_out[0].0, "u");
}
