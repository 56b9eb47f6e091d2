use super::*;
use ::parquet::arrow::ArrowWriter;
use arrow::array::{Int64Array, RecordBatch, StringArray};
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
fn members_of_json_are_fields_and_what_is_nested_is_a_type() {
    let one = r#"{"id":1,"at":"2025-01-31T10:00:00Z","n":"17","Of":{"X":1,"Sub-Name":null},
        "tags":["a",null],"lists":[[1],[2.5]],"empty":[],"mixed":[1,"a"],"none":{},
        "counts":{"2024":1,"2025":null},"items":[{"sku":"x","price":0.5},{"sku":"y","1st":true}]}"#;
    let two = r#"{"id":2.5,"at":null,"n":"x","Of":{"X":-7,"Sub-Name":"t","x":3}}"#;
    let expected = [
        ("id", json!({"logicalType": "decimal", "precision": 6, "scale": 1, "type": "bytes"})),
        ("at", json!({"logicalType": "timestamp-micros", "type": "long"})),
        ("n", json!("string")),
        (
            "of",
            json!({"type": "record", "name": "of", "fields": [
                {"name": "sub_name", "type": ["null", "string"], "default": null},
                {"name": "x", "type": "long"},
            ]}),
        ),
        ("tags", json!({"type": "array", "items": ["null", "string"]})),
        (
            "lists",
            json!({"type": "array", "items": {"type": "array", "items":
                {"logicalType": "decimal", "precision": 6, "scale": 1, "type": "bytes"}}}),
        ),
        ("empty", json!({"type": "array", "items": "string"})),
        ("counts", json!({"type": "map", "values": ["null", "long"]})),
        (
            "items",
            json!({"type": "array", "items": {"type": "record", "name": "items", "fields": [
                {"name": "price", "default": null, "type":
                    ["null", {"logicalType": "decimal", "precision": 6, "scale": 1, "type": "bytes"}]},
                {"name": "sku", "type": "string"},
            ]}}),
        ),
    ];
    let (line, other) = (one.replace('\n', ""), two.replace('\n', ""));
    for (name, content, record_path) in [
        ("a.ndjson", format!("{line}\n{other}\n"), None),
        ("a.json", format!("[{one},\n{two}]"), None),
        ("a.json", format!("{one}\n{two}\n"), None),
        ("a.json", format!("{{\"n\":{{\"a\":[{one},{two}]}}}}"), Some(json!(["n", "a"]))),
        ("a.json", format!("{{\n\"a\":[{one},{two}]}}"), Some(json!(["a"]))),
    ] {
        let guess = guessed(name, content.as_bytes());
        assert_eq!(setting(&guess, "record_path"), record_path.as_ref(), "{content}");
        assert_eq!(guess.sampled, Some(2));
        for (name, avro_type) in &expected {
            let field = guess.fields.iter().find(|field| field.name == *name);
            assert_eq!(&field.unwrap_or_else(|| panic!("{name}")).avro_type, avro_type, "{name}");
        }
        let mut left_out: Vec<_> = guess.left_out.iter().map(|(path, _)| path.as_str()).collect();
        left_out.sort();
        assert_eq!(left_out, ["Of.x", "items.1st", "mixed", "none"]);
        assert_eq!(guess.fields.len(), expected.len());
        let of = guess.fields.iter().find(|field| field.name == "of").unwrap();
        assert_eq!((of.column.as_str(), of.nullable), ("Of", false));
    }
}

#[test]
fn parquet_and_avro_say_themselves_what_they_hold() {
    use arrow::array::{ListArray, StructArray, TimestampNanosecondArray, UInt64Array};
    use arrow::datatypes::Int32Type;
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
    let field = |name: &str, data_type: &arrow::datatypes::DataType| {
        Arc::new(arrow::datatypes::Field::new(name, data_type.clone(), true))
    };
    let of: Arc<dyn arrow::array::Array> = Arc::new(UInt64Array::from(vec![1]));
    let of = StructArray::from(vec![(field("Sub Name", of.data_type()), of)]);
    let columns: [(_, Arc<dyn arrow::array::Array>); 5] = [
        ("Id", Arc::new(Int64Array::from(vec![1]))),
        ("Name", Arc::new(StringArray::from(vec![None::<&str>]))),
        ("list", Arc::new(list)),
        ("of", Arc::new(of)),
        ("at", Arc::new(TimestampNanosecondArray::from(vec![1]).with_timezone("UTC"))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut content = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut content, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let guess = guessed("a.parquet", &content);
    assert_eq!(fields(&guess)[1], "name:string?");
    assert_eq!(guess.fields[2].avro_type, json!({"type": "array", "items": ["null", "int"]}));
    let number = json!({"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 0});
    assert_eq!(
        guess.fields[3].avro_type,
        json!({"type": "record", "name": "of", "fields": [
            {"name": "sub_name", "type": ["null", number], "default": null}]})
    );
    assert_eq!(fields(&guess)[4], "at:timestamp-micros");
    assert!(guess.fields[4].why.contains("not whole microseconds"), "{guess:?}");
    assert_eq!(guess.sampled, None);

    let schema = r#"{"type":"record","name":"R","namespace":"a.b","fields":[{"name":"id","type":"int"},
        {"name":"s","type":["null","string"]},{"name":"u","type":["int","string","null"]},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}},
        {"name":"es","type":["null",{"type":"array","items":"a.b.E"}]},
        {"name":"again","type":["null","R"]}]}"#;
    let schema = apache_avro::Schema::parse_str(schema).unwrap();
    let content = apache_avro::Writer::new(&schema, Vec::new()).unwrap().into_inner().unwrap();
    let guess = guessed("a.avro", &content);
    let types: Vec<_> = guess.fields.iter().map(GuessedField::schema_type).collect();
    assert_eq!(
        types,
        [
            json!("int"),
            json!(["null", "string"]),
            json!(["null", "int", "string"]),
            json!({"type": "enum", "name": "E", "symbols": ["A"]}),
            json!(["null", {"type": "array", "items": "E"}]),
        ]
    );
    assert_eq!(guess.left_out[0].0, "again");
}
