//! Every type of a field × extreme, malformed and unfitting values, through every format: a bad value
//! is a dead letter with its coordinates, and its neighbours land.

use super::*;
use ::parquet::data_type::{Int96, Int96Type};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use weir_codec::Encoder;
use weir_model::fault::{VALUE_DOES_NOT_FIT, VALUE_MISSING};

/// A type, a text that is a value of it, and texts that are none.
const TYPES: [(&str, &str, &[&str]); 20] = [
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
    (
        r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#,
        "2262-04-11 23:47:16.854775807",
        &["9999-12-31", "2024-06-15 14:30:00Z"],
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
                assert_eq!(malformed.fault.reason, VALUE_DOES_NOT_FIT, "{kind} in {name}");
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
fn no_value_in_a_mandatory_field_has_one_reason_in_every_format() {
    for (kind, good, _) in TYPES {
        let folder = Folder::with(&[]);
        folder.write("a.csv", format!("id,x\n0,{good}\n1,\n2,{good}\n").as_bytes());
        let line = |id: u8, x: &str| format!("{{\"id\":{id}{x}}}\n");
        let written = format!(",\"x\":\"{good}\"");
        let lines = [line(0, &written), line(1, ",\"x\":null"), line(2, &written), line(3, "")];
        folder.write("a.ndjson", lines.concat().as_bytes());
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int64Array::from(vec![0, 1, 2]))),
            ("x", Arc::new(StringArray::from(vec![Some(good), None, Some(good)]))),
        ];
        folder.write_batch("a.parquet", &RecordBatch::try_from_iter(columns).unwrap());
        for (name, dead) in [("a.csv", 1), ("a.ndjson", 2), ("a.parquet", 1)] {
            let source = Files::new(&folder.config(name, 1), &schema_of(kind, false)).unwrap();
            let (rows, faults) = read(&source, 0, None, 10);
            assert_eq!((rows.len(), faults.len()), (2, dead), "{kind} in {name}: {faults:?}");
            assert!(faults.iter().all(|fault| fault.starts_with(VALUE_MISSING)), "{faults:?}");
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
fn write_int96(folder: &Folder, times: &[(i64, u64)]) {
    let message = "message m { required int32 id; required int96 x; }";
    let schema = Arc::new(parse_message_type(message).unwrap());
    let file = File::create(folder.0.path().join("a.parquet")).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let numbers: Vec<i32> = (1..=times.len() as i32).collect();
    let mut ids = group.next_column().unwrap().unwrap();
    ids.typed::<::parquet::data_type::Int32Type>().write_batch(&numbers, None, None).unwrap();
    ids.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let times = times.iter().map(|(days_since_1970, nanos)| {
        let mut time = Int96::new();
        let day = (2_440_588 + days_since_1970) as u32;
        time.set_data(*nanos as u32, (nanos >> 32) as u32, day);
        time
    });
    let times: Vec<Int96> = times.collect();
    column.typed::<Int96Type>().write_batch(&times, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn times_of_int96_are_the_times_that_were_written_or_dead_letters() {
    let folder = Folder::with(&[]);
    let whole = ["1970-01-01T00:00:00.000001", "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"];
    let nanos = ["1970-01-01T00:00:00.000000001", "9999-12-31T23:59:59.999999999"];
    let none = ["never written as a date", "nor is this one"];
    let times = [
        (0, 1_000),
        (-719_162, 0),
        (2_932_896, 86_399_999_999_000),
        (0, 1),
        (2_932_896, 86_399_999_999_999),
        // Wraps as microseconds to a date of today.
        (213_523_500, 0),
        (-2_440_588, 0),
    ];
    write_int96(&folder, &times);
    let written: Vec<&str> = whole.into_iter().chain(nanos).chain(none).collect();
    for (kind, landed) in [
        ("timestamp-millis", &[1][..]),
        ("timestamp-micros", &[0, 1, 2]),
        ("timestamp-nanos", &[0, 3]),
        ("local-timestamp-micros", &[0, 1, 2]),
    ] {
        let zone = if kind.starts_with("local") { "" } else { "Z" };
        let kind = format!(r#"{{"type":"long","logicalType":"{kind}"}}"#);
        let source = Files::new(&folder.config("a.parquet", 1), &schema_of(&kind, true)).unwrap();
        let (rows, faults) = read(&source, 0, None, 10);
        let expected: Vec<String> =
            landed.iter().map(|row| format!("{} {}{zone}", row + 1, written[*row])).collect();
        assert_eq!(rows, expected, "{kind}: {faults:?}");
        for row in (0..times.len()).filter(|row| !landed.contains(row)) {
            let place = format!("value_does_not_fit {} a.parquet row {}: x: `", row + 1, row + 1);
            let fault = faults.iter().find(|fault| fault.starts_with(&place)).unwrap();
            assert!(none.contains(&written[row]) || fault.contains(written[row]), "{fault}");
        }
        assert_eq!(rows.len() + faults.len(), times.len());
        let begun = source.open(0, None).unwrap().read(limit(2)).unwrap();
        let rest = read(&source, 0, Some(&begun.position), 1);
        assert_eq!([lines(&begun), rest.0].concat(), rows, "read on in the middle: {kind}");
    }
}
