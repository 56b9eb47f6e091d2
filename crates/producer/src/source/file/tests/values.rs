//! Every type of a field × extreme, malformed and unfitting values, through every format: a bad value
//! is a dead letter with its coordinates, and its neighbours land.

use super::*;
use ::parquet::data_type::{Int96, Int96Type};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use weir_codec::Encoder;

/// A type, a text that is a value of it, and texts that are none.
const TYPES: [(&str, &str, &[&str]); 19] = [
    (r#""boolean""#, "true", &["yes", "1", ""]),
    (r#""int""#, "-2147483648", &["2147483648", "1.0", "x", "NaN"]),
    (r#""long""#, "9223372036854775807", &["9223372036854775808", "1e3", "--1"]),
    (r#""float""#, "0.1", &["3.5e38", "16777217", "NaN", "x"]),
    (r#""double""#, "-1.7976931348623157e308", &["1e309", "9007199254740993", "inf", "1,5"]),
    (r#"{"type":"fixed","name":"F","size":2}"#, "ab", &["a", "abc"]),
    (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, "B", &["C", "b", " B"]),
    (r#"{"type":"string","logicalType":"uuid"}"#, UUID, &["x", "6774d5968cc84c208e986f2f105d62a8"]),
    (r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#, UUID, &["x"]),
    (
        r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#,
        "-99.99",
        &["100", "0.001", "1e1"],
    ),
    (
        r#"{"type":"fixed","name":"D","size":16,"logicalType":"decimal","precision":38,"scale":0}"#,
        NINES,
        &["100000000000000000000000000000000000000"],
    ),
    (
        r#"{"type":"int","logicalType":"date"}"#,
        "9999-12-31",
        &["2023-02-29", "20240101", "10000-01-01"],
    ),
    (
        r#"{"type":"int","logicalType":"time-millis"}"#,
        "23:59:59.999",
        &["24:00:00", "23:59:60", "00:00:00.0001", "2024-01-01"],
    ),
    (
        r#"{"type":"long","logicalType":"time-micros"}"#,
        "00:00",
        &["2024-01-01T00:00:00", "00:00:00Z"],
    ),
    (
        r#"{"type":"long","logicalType":"timestamp-millis"}"#,
        "9999-12-31 23:59:59.999",
        &["2016-12-31T23:59:60Z", "soon"],
    ),
    (
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        "0001-01-01",
        &["2024-06-15T14:30:00[Asia/Karachi]"],
    ),
    (
        r#"{"type":"long","logicalType":"timestamp-nanos"}"#,
        "2262-04-11T23:47:16.854775807Z",
        &["9999-12-31"],
    ),
    (
        r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
        "9999-12-31",
        &["2024-06-15 14:30:00Z"],
    ),
    (
        r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
        "2024-06-15 14:30",
        &["2023-11-05 01:40-07:00"],
    ),
];
const UUID: &str = "6774D596-8cc8-4c20-8e98-6f2f105d62a8";
const NINES: &str = "-99999999999999999999999999999999999999";

/// A schema with a field `x` of this type beside `id`, optional or not.
fn schema_of(kind: &str, optional: bool) -> Schema {
    let kind = if optional { format!("[\"null\",{kind}]") } else { kind.to_string() };
    Schema::parse(&format!(
        r#"{{"type":"record","name":"R","fields":[
            {{"name":"id","type":"int"}},{{"name":"x","type":{kind}}}]}}"#
    ))
    .unwrap()
}

/// A file of each format that has these texts as `x`, and their numbers as `id`.
fn write(folder: &Folder, texts: &[&str]) {
    let mut csv = String::from("id,x\n");
    let mut json = String::new();
    for (id, text) in texts.iter().enumerate() {
        csv += &format!("{id},\"{text}\"\n");
        json += &format!("{{\"id\":{id},\"x\":\"{text}\"}}\n");
    }
    folder.write("a.csv", csv.as_bytes());
    folder.write("a.ndjson", json.as_bytes());
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..texts.len() as i64))),
        ("x", Arc::new(StringArray::from(texts.to_vec()))),
    ];
    folder.write_batch("a.parquet", &RecordBatch::try_from_iter(columns).unwrap());
}

#[test]
fn a_bad_value_does_not_take_its_neighbours_in_any_format() {
    for (kind, good, bad) in TYPES {
        let mut texts = vec![good];
        bad.iter().for_each(|bad| texts.extend([*bad, good]));
        let folder = Folder::with(&[]);
        write(&folder, &texts);
        for (optional, name) in [true, false]
            .into_iter()
            .flat_map(|optional| ["a.csv", "a.ndjson", "a.parquet"].map(|name| (optional, name)))
        {
            let schema = schema_of(kind, optional);
            let source = Files::new(&folder.config(name, 1), &schema).unwrap();
            let chunk = source.open(0, None).unwrap().read(limit(100)).unwrap();
            let ids: Vec<i32> = chunk.batch.column(0).as_primitive::<Int32Type>().values().to_vec();
            let landed: Vec<i32> = (0..texts.len() as i32).filter(|id| id % 2 == 0).collect();
            assert_eq!(ids, landed, "{kind} in {name}: {:?}", chunk.malformed);
            // The header is the first line of a CSV file; rows and lines are counted from 1.
            let first = if name == "a.csv" { 2 } else { 1 };
            for (number, malformed) in chunk.malformed.iter().enumerate() {
                let (position, text) = (2 * number as i64 + 1 + first, bad[number]);
                assert_eq!(malformed.position, position, "{kind} in {name}");
                let (detail, bytes) = (&malformed.fault.detail, &malformed.bytes);
                let place = format!(
                    "{name} {} {position}",
                    if name == "a.parquet" { "row" } else { "line" }
                );
                assert!(detail.starts_with(&place) && detail.contains('x'), "{detail}");
                assert!(String::from_utf8_lossy(bytes).contains(text), "{kind} in {name}");
            }
            assert_eq!(chunk.malformed.len(), bad.len());
            let encoded = Encoder::new(&schema, 1).unwrap().encode(&chunk.batch).unwrap();
            assert_eq!((encoded.len(), encoded.faults.len()), (landed.len(), 0), "{kind}");
        }
    }
}

#[test]
fn a_number_or_truth_value_of_json_is_not_taken_for_another_kind() {
    let not_numbers = |kind: &&(&str, &str, &[&str])| {
        ["date", "time", "uuid", "enum", "\"name\":\"F\""].iter().any(|part| kind.0.contains(part))
    };
    for (kind, good, _) in TYPES.iter().filter(not_numbers) {
        let lines = format!(
            "{{\"id\":0,\"x\":\"{good}\"}}\n{{\"id\":1,\"x\":10}}\n{{\"id\":2,\"x\":true}}\n\
             {{\"id\":3,\"x\":[]}}\n"
        );
        let folder = Folder::with(&[("a.ndjson", lines.as_bytes())]);
        let source = Files::new(&folder.config("a.ndjson", 1), &schema_of(kind, true)).unwrap();
        let (rows, faults) = read(&source, 0, None, 10);
        assert_eq!((rows.len(), faults.len()), (1, 3), "{kind}: {faults:?}");
    }
}

#[test]
fn a_column_that_would_be_rounded_or_guessed_is_a_mistake_before_anything_is_read() {
    let column = |column: ArrayRef| {
        let folder = Folder::with(&[]);
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("id", ids), ("x", column)]).unwrap();
        folder.write_batch("a.parquet", &batch);
        folder
    };
    let date = r#"{"type":"int","logicalType":"date"}"#;
    let list = arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
    let one = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let instant = arrow::array::TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC");
    for (array, kind, words) in [
        (Arc::new(list) as ArrayRef, r#""string""#, ["array of int", "string"]),
        (one(), date, ["long", "date"]),
        (one(), r#""boolean""#, ["long", "boolean"]),
        (Arc::new(Float64Array::from(vec![1.0])), r#""float""#, ["double", "float"]),
        (
            Arc::new(instant),
            r#"{"type":"long","logicalType":"local-timestamp-micros"}"#,
            ["timestamp-micros", "local-timestamp-micros"],
        ),
    ] {
        let folder = column(array);
        let mistakes = Files::new(&folder.config("a.parquet", 1), &schema_of(kind, true)).err();
        let what = mistakes.map(|mistakes| mistakes[0].what.clone()).unwrap_or_default();
        let expected = format!("column `x` is {}, which cannot become the {}", words[0], words[1]);
        assert!(what.contains(&expected), "{what}");
    }
}

/// INT96, as Spark and Hive write times: the day of the Julian calendar and the nanoseconds in it.
#[test]
fn times_of_int96_are_the_times_that_were_written() {
    let folder = Folder::with(&[]);
    let message = "message m { required int32 id; required int96 x; }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let file = File::create(folder.0.path().join("a.parquet")).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut ids = group.next_column().unwrap().unwrap();
    ids.typed::<::parquet::data_type::Int32Type>().write_batch(&[1, 2, 3], None, None).unwrap();
    ids.close().unwrap();
    let mut times = group.next_column().unwrap().unwrap();
    let time = |days_since_1970: i64, nanos: u64| {
        let mut time = Int96::new();
        time.set_data(nanos as u32, (nanos >> 32) as u32, (2_440_588 + days_since_1970) as u32);
        time
    };
    let values = [time(2_932_896, 86_399_999_999_000), time(-719_162, 0), time(0, 1_000)];
    times.typed::<Int96Type>().write_batch(&values, None, None).unwrap();
    times.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let micros = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    let source = Files::new(&folder.config("a.parquet", 1), &schema_of(micros, true)).unwrap();
    assert_eq!(
        read(&source, 0, None, 10).0,
        [
            "1 9999-12-31T23:59:59.999999Z",
            "2 0001-01-01T00:00:00Z",
            "3 1970-01-01T00:00:00.000001Z"
        ]
    );
}
