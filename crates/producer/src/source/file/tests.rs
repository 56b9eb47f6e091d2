use super::*;

mod dialects;
mod json;
mod nested;
mod round_trip;
mod values;

use crate::source::Chunk;
use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Field, Int32Type, Schema as ArrowSchema, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::BTreeMap;
use tempfile::TempDir;

const SCHEMA: &str = r#"{"type":"record","name":"strike","fields":[
    {"name":"airport","type":"string"},
    {"name":"cost_total","type":"int"},
    {"name":"speed","type":["null","double"],"default":null},
    {"name":"phase","type":"string","default":"unknown"},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}],"default":null},
    {"name":"share","default":null,
        "type":["null",{"type":"bytes","logicalType":"decimal","precision":5,"scale":2}]}]}"#;

fn schema() -> Schema {
    Schema::parse(SCHEMA).unwrap()
}

struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &[u8])]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, content)| folder.write(name, content));
        folder
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.0.path().join(name), content).unwrap();
    }

    fn write_batch(&self, name: &str, batch: &RecordBatch) {
        let file = File::create(self.0.path().join(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
    }

    fn config(&self, pattern: &str, partitions: u32) -> FileSource {
        FileSource {
            path: self.0.path().join(pattern).to_str().unwrap().into(),
            format: None,
            rate: 0,
            partitions,
            columns: BTreeMap::new(),
            record_path: Vec::new(),
            nulls: vec!["N/A".into()],
            encoding: "utf-8".into(),
            delimiter: ",".into(),
            quote: "\"".into(),
            comment: String::new(),
            header: Vec::new(),
            short_lines: false,
            decimal_separator: ".".into(),
            thousands_separator: String::new(),
            date_format: None,
            time_format: None,
            timestamp_format: None,
        }
    }

    fn source(&self, pattern: &str) -> Files {
        Files::new(&self.config(pattern, 1), &schema()).unwrap_or_else(|m| panic!("{m:?}"))
    }
}

fn limit(records: usize) -> Limit {
    Limit { records, bytes: 1 << 20 }
}

/// Everything from a position on, in steps; rows as lines, then faults as `reason position detail`.
fn read(
    source: &Files,
    partition: u32,
    position: Option<&Value>,
    step: usize,
) -> (Vec<String>, Vec<String>) {
    let mut reader = source.open(partition, position).unwrap();
    let (mut rows, mut faults) = (Vec::new(), Vec::new());
    loop {
        let chunk = reader.read(limit(step)).unwrap();
        assert!(chunk.len() <= step);
        assert_eq!(chunk.positions.len(), chunk.batch.num_rows());
        rows.extend(lines(&chunk));
        faults.extend(
            chunk
                .malformed
                .iter()
                .map(|m| format!("{} {} {}", m.fault.reason, m.position, m.fault.detail)),
        );
        if chunk.end {
            return (rows, faults);
        }
    }
}

fn lines(chunk: &Chunk) -> Vec<String> {
    let options = FormatOptions::default();
    let columns: Vec<_> = chunk
        .batch
        .columns()
        .iter()
        .map(|c| ArrayFormatter::try_new(c, &options).unwrap())
        .collect();
    let cells = |row| {
        columns
            .iter()
            .map(|c| c.value(row).to_string())
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
    };
    (0..chunk.batch.num_rows()).map(|row| cells(row).join(" ")).collect()
}

const CSV: &str = "\u{feff}Airport, Cost: Total $ ,Speed,Other\n\
    OSLO,\"1\",2.5,x\n\
    \"SAN \"\"JOSE\"\"\",2,,x\n\
    \"TWO\nLINES\",3,N/A,x\n\
    \n\
    short,4\n\
    \"\",5,1e3,x\n\
    ,6,1,x\n\
    LYON,seven,1,x\n\
    LAST,8,1,x";

#[test]
fn csv_is_read_by_its_header_and_malformed_lines_are_named() {
    let folder = Folder::with(&[("a.csv", CSV.as_bytes())]);
    let (rows, faults) = read(&folder.source("a.csv"), 0, None, 100);
    assert_eq!(rows.len(), 5, "{rows:?}");
    assert_eq!(
        [&rows[0], &rows[1], &rows[2], &rows[4]],
        [
            "OSLO 1 2.5 unknown",
            "SAN \"JOSE\" 2 unknown",
            "TWO\nLINES 3 unknown",
            "LAST 8 1.0 unknown"
        ]
    );
    assert_eq!(
        faults,
        [
            "malformed_line 7 a.csv line 7: the line has 2 values, the header has 4",
            "value_missing 9 a.csv line 9, column `Airport`: there is no value",
            "value_does_not_fit 10 a.csv line 10, column ` Cost: Total $ `: `seven` is not a whole number",
        ]
    );
}

#[test]
fn a_malformed_line_keeps_its_bytes() {
    let folder = Folder::with(&[("a.csv", b"airport,cost_total\nA,1\nB,\xff2\r\nC,3\n")]);
    let chunk = folder.source("a.csv").open(0, None).unwrap().read(limit(10)).unwrap();
    assert_eq!((chunk.batch.num_rows(), chunk.positions), (2, vec![2, 4]));
    assert_eq!(chunk.malformed[0].bytes, b"B,\xff2");
    assert_eq!(chunk.malformed[0].fault.detail, "a.csv line 3: the line is not UTF-8 at byte 2");
}

#[test]
fn a_quote_that_is_never_closed_costs_one_line() {
    let mut text = String::from("airport,cost_total\nA,1\n\"B,2\n");
    (0..100).for_each(|n| text.push_str(&format!("C{n},{n}\n")));
    let folder = Folder::with(&[("a.csv", text.as_bytes())]);
    let (rows, faults) = read(&folder.source("a.csv"), 0, None, 7);
    assert_eq!((rows.len(), faults.len()), (101, 1));
    assert!(faults[0].starts_with("malformed_line 3 a.csv line 3"), "{faults:?}");
}

#[test]
fn a_line_without_end_costs_bounded_memory_and_one_dead_letter() {
    let mut text = b"airport,cost_total\nA,1\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', 5 << 20));
    text.extend(b"\nB,2\n");
    let folder = Folder::with(&[("a.csv", &text)]);
    let mut reader = folder.source("a.csv").open(0, None).unwrap();
    let chunk = reader.read(limit(10)).unwrap();
    assert!(chunk.malformed.iter().all(|m| m.bytes.len() <= input::MAX_LINE));
    let (rows, faults) = read(&folder.source("a.csv"), 0, None, 100);
    assert_eq!((rows.len(), faults.len()), (2, 1), "{faults:?}");
}

#[test]
fn reading_goes_on_in_the_middle_of_any_file() {
    let json = "{\"airport\":\"J\",\"cost_total\":1}\n\n{\"airport\":2}\n\
        {\"airport\":\"K\",\"cost_total\":3}";
    let folder = Folder::with(&[("a.csv", CSV.as_bytes()), ("b.json", json.as_bytes())]);
    write_parquet(&folder, "c.parquet", 300);
    let source = folder.source("*");
    let whole = read(&source, 0, None, 1000);
    assert_eq!((whole.0.len(), whole.1.len()), (5 + 2 + 298, 3 + 1 + 2));
    for step in [1, 2, 3, 7, 100] {
        let (mut reader, mut rows, mut faults) =
            (source.open(0, None).unwrap(), Vec::new(), Vec::new());
        loop {
            let chunk = reader.read(limit(step)).unwrap();
            rows.extend(lines(&chunk));
            faults.extend(
                chunk
                    .malformed
                    .iter()
                    .map(|m| format!("{} {} {}", m.fault.reason, m.position, m.fault.detail)),
            );
            if chunk.end {
                break;
            }
            // As after a crash: nothing is left but the position.
            reader = source
                .open(0, Some(&serde_json::from_str(&chunk.position.to_string()).unwrap()))
                .unwrap();
        }
        assert!((rows, faults) == whole, "in steps of {step}");
    }
}

/// `rows` rows in row groups of 100; cost is null in row 50 and too large for an int in row 150.
fn write_parquet(folder: &Folder, name: &str, rows: usize) {
    let cost = |row| match row {
        50 => None,
        150 => Some(i64::MAX),
        row => Some(row as i64),
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("ignored", Arc::new(StringArray::from_iter_values((0..rows).map(|r| format!("{r}"))))),
        ("AIRPORT", Arc::new(StringArray::from_iter_values((0..rows).map(|r| format!("P{r}"))))),
        (
            "At",
            Arc::new(TimestampNanosecondArray::from_iter_values(
                (0..rows).map(|r| r as i64 * 1_000_000_000),
            )),
        ),
        ("cost total", Arc::new(Int64Array::from_iter((0..rows).map(cost)))),
        ("Speed", Arc::new(Float64Array::from_iter_values((0..rows).map(|r| r as f64 / 2.0)))),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let batch = RecordBatch::try_new(
        Arc::new(ArrowSchema::new(fields)),
        columns.into_iter().map(|(_, c)| c).collect(),
    )
    .unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).build();
    let file = File::create(folder.0.path().join(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_rows_become_records_of_the_schema() {
    let folder = Folder::with(&[]);
    write_parquet(&folder, "c.parquet", 300);
    let chunk = folder.source("c.parquet").open(0, None).unwrap().read(limit(1000)).unwrap();
    assert_eq!(chunk.batch.schema(), schema().arrow());
    let row = 200 - 2;
    assert_eq!(chunk.batch.column(0).as_string::<i32>().value(row), "P200");
    assert_eq!(chunk.batch.column(1).as_primitive::<Int32Type>().value(row), 200);
    assert_eq!(chunk.batch.column(3).as_string::<i32>().value(row), "unknown");
    assert_eq!(
        chunk.batch.column(4).as_primitive::<TimestampMicrosecondType>().value(row),
        200_000_000
    );
    assert_eq!(chunk.positions[row], 201);
    let positions: Vec<_> = chunk.malformed.iter().map(|m| m.position).collect();
    assert_eq!(positions, [51, 151]);
    let shown: Value = serde_json::from_slice(&chunk.malformed[1].bytes).unwrap();
    assert_eq!(shown["cost total"], i64::MAX);
    assert!(
        chunk.malformed[1].fault.detail.starts_with("c.parquet row 151: "),
        "{:?}",
        chunk.malformed[1].fault
    );
    assert_eq!(chunk.malformed[1].fault.stage, Stage::Source);
}

#[test]
fn json_keeps_decimals_exact_and_refuses_what_is_no_value() {
    let lines = [
        r#"{"airport":"a\"b","cost_total":1,"share":0.10,"Speed":1e-3,"at":"2025-01-31T12:00:00+01:00"}"#,
        r#"{"airport":"c","cost_total":"2","share":"123.45","at":null,"more":[1,{}]}"#,
        r#"{"airport":"d","cost_total":1.5}"#,
        r#"{"airport":"e","cost_total":1,"share":0.123}"#,
        r#"{"airport":["f"],"cost_total":1}"#,
        r#"{"airport":"g","cost_total":null}"#,
        r#"["airport"]"#,
        r#"{"airport":"h","#,
        r#"{"airport":"i","cost_total":1,"cost_\u0074otal":2}"#,
    ];
    let folder = Folder::with(&[("a.ndjson", lines.join("\n").as_bytes())]);
    let (rows, faults) = read(&folder.source("a.ndjson"), 0, None, 100);
    assert_eq!(rows, ["a\"b 1 0.001 unknown 2025-01-31T11:00:00Z 0.10", "c 2 unknown 123.45"]);
    let starts = [
        "value_does_not_fit 3 a.ndjson line 3, member `cost_total`: `1.5` is not a whole number",
        "value_does_not_fit 4 a.ndjson line 4, member `share`: `0.123` has more than 2 decimals",
        "value_does_not_fit 5 a.ndjson line 5, member `airport`: `[\"f\"]` is not a plain value",
        "value_missing 6 a.ndjson line 6, member `cost_total`: there is no value",
        "malformed_line 7 a.ndjson line 7: not a JSON object",
        "malformed_line 8 a.ndjson line 8: not a JSON object",
        "malformed_line 9 a.ndjson line 9: not a JSON object: the member `cost_total` comes twice",
    ];
    assert_eq!(faults.len(), starts.len(), "{faults:?}");
    faults
        .iter()
        .zip(starts)
        .for_each(|(fault, start)| assert!(fault.starts_with(start), "{fault}"));
}

#[test]
fn files_are_dealt_to_partitions_and_each_is_read_once() {
    let content = |n: usize| format!("airport,cost_total\nF{n},{n}\n");
    let folder = Folder::with(&[]);
    (0..7).for_each(|n| folder.write(&format!("{n}.csv"), content(n).as_bytes()));
    let source = Files::new(&folder.config("*.csv", 3), &schema()).unwrap();
    let mut all: Vec<_> = (0..3).flat_map(|p| read(&source, p, None, 10).0).collect();
    all.sort();
    assert_eq!(all, (0..7).map(|n| format!("F{n} {n} unknown")).collect::<Vec<_>>());
    assert_eq!(read(&source, 1, None, 10).0, ["F1 1 unknown", "F4 4 unknown"]);
}

#[test]
fn a_file_added_behind_is_read_and_one_put_in_between_is_refused() {
    let folder = Folder::with(&[("b.csv", b"airport,cost_total\nB,1\n")]);
    let source = folder.source("*.csv");
    let end = source.open(0, None).unwrap().read(limit(10)).unwrap();
    assert!(end.end);
    folder.write("c.csv", b"airport,cost_total\nC,2\n");
    assert_eq!(read(&source, 0, Some(&end.position), 10).0, ["C 2 unknown"]);
    folder.write("a.csv", b"airport,cost_total\nA,0\n");
    let error = source.open(0, Some(&end.position)).err().unwrap();
    assert!(
        matches!(&error, Error::Lost(what) if what.contains("file b.csv was number \
            1") && what.contains("a.csv")),
        "{error}"
    );
}

#[test]
fn a_file_that_lost_what_was_read_is_noticed() {
    let folder = Folder::with(&[("a.csv", b"airport,cost_total\nA,1\nB,2\n")]);
    let source = folder.source("a.csv");
    let end = source.open(0, None).unwrap().read(limit(10)).unwrap();
    folder.write("a.csv", b"airport,cost_total\n");
    let what = lost(source.open(0, Some(&end.position)));
    assert!(what.contains("its first 27 bytes differ"), "{what}");
}

#[test]
fn a_null_stays_a_null_and_only_what_is_absent_takes_the_default() {
    let schema = Schema::parse(
        r#"{"type":"record","name":"R","fields":[{"name":"id","type":"int"},
        {"name":"status","type":["string","null"],"default":"active"},
        {"name":"score","type":"int","default":100}]}"#,
    )
    .unwrap();
    let strings = |list: Vec<Option<&str>>| Arc::new(StringArray::from(list)) as ArrayRef;
    let ints = |list: Vec<Option<i64>>| Arc::new(Int64Array::from(list)) as ArrayRef;
    let folder = Folder::with(&[
        ("a.csv", b"id,status,score\n1,,1\n2,x,\n3,x,1\n"),
        (
            "a.ndjson",
            b"{\"id\":1,\"status\":null,\"score\":1}\n{\"id\":2,\"score\":null}\n{\"id\":3}\n",
        ),
        ("b.csv", b"id\n1\n"),
    ]);
    let columns = [
        ("id", ints(vec![Some(1), Some(2)])),
        ("status", strings(vec![None, Some("x")])),
        ("score", ints(vec![Some(1), None])),
    ];
    folder.write_batch("a.parquet", &RecordBatch::try_from_iter(columns).unwrap());
    for (name, rows, num_faults) in [
        ("a.csv", vec!["1 1", "3 x 1"], 1),
        ("a.ndjson", vec!["1 1", "3 active 100"], 1),
        ("a.parquet", vec!["1 1"], 1),
        ("b.csv", vec!["1 active 100"], 0),
    ] {
        let source = Files::new(&folder.config(name, 1), &schema).unwrap();
        let (read, faults) = read(&source, 0, None, 10);
        assert_eq!(
            (read, faults.len()),
            (rows.iter().map(|r| r.to_string()).collect(), num_faults),
            "{name}: {faults:?}"
        );
    }
}

#[test]
fn what_does_not_fit_the_schema_is_a_mistake_before_anything_is_read() {
    let text = |config: &FileSource| match Files::new(config, &schema()) {
        Err(mistakes) => format!("{} {}", mistakes[0].key, mistakes[0].what),
        Ok(_) => "no mistake".into(),
    };
    let folder = Folder::with(&[
        ("a.csv", b"airport,price\n"),
        ("two.csv", b"airport,cost total,Cost-Total\n"),
        ("a.xml", b"<a/>"),
        ("empty.csv", b""),
    ]);
    assert!(text(&folder.config("none*.csv", 1)).starts_with("source.path no file matches"));
    assert!(text(&folder.config("a.xml", 1)).contains("set source.format"));
    assert!(text(&folder.config("empty.csv", 1)).contains("without a header line"));
    let missing = text(&folder.config("a.csv", 1));
    assert!(
        missing.contains("a.csv has no column for `cost_total`; it has airport, price"),
        "{missing}"
    );
    assert!(
        text(&folder.config("two.csv", 1))
            .contains("columns `cost total` and `Cost-Total` could both be field `cost_total`")
    );
    let mut renamed = folder.config("a.csv", 1);
    renamed.columns.insert("cost_total".into(), "price".into());
    assert_eq!(text(&renamed), "no mistake");
    renamed.columns.insert("costs".into(), "price".into());
    assert!(text(&renamed).contains("`costs` is not a field"));
}

#[test]
fn names_are_cleaned() {
    let cleaned = ["Cost Total $", "  Aircraft: Make/Model", "Speed_IAS-in knots", "ÄÖ9", "$"]
        .map(similar_name);
    assert_eq!(cleaned, ["cost_total", "aircraft_make_model", "speed_ias_in_knots", "äö9", ""]);
}

#[test]
fn a_batch_stays_within_its_bytes() {
    let mut text = String::from("airport,cost_total\n");
    (0..1000).for_each(|n| text.push_str(&format!("{},{n}\n", "x".repeat(1000))));
    let folder = Folder::with(&[("a.csv", text.as_bytes())]);
    let chunk = folder
        .source("a.csv")
        .open(0, None)
        .unwrap()
        .read(Limit { records: 1000, bytes: 10_000 })
        .unwrap();
    assert!((9..=11).contains(&chunk.len()), "{}", chunk.len());
}

/// Writes a version of a file's content, which is told by a letter.
type WriteVersion = fn(&Folder, &str, char);

/// Every format with the same number of rows and bytes per version of its content.
fn versions() -> [(&'static str, WriteVersion); 3] {
    let csv = |folder: &Folder, name: &str, version: char| {
        let lines: String = (0..8).map(|n| format!("{version}{n},{n}\n")).collect();
        folder.write(name, format!("airport,cost_total\n{lines}").as_bytes());
    };
    let json = |folder: &Folder, name: &str, version: char| {
        let line = |n| format!("{{\"airport\":\"{version}{n}\",\"cost_total\":{n}}}\n");
        folder.write(name, (0..8).map(line).collect::<String>().as_bytes());
    };
    let parquet = |folder: &Folder, name: &str, version: char| {
        let names = StringArray::from_iter_values((0..8).map(|n| format!("{version}{n}")));
        let columns: [(&str, ArrayRef); 2] = [
            ("airport", Arc::new(names)),
            ("cost_total", Arc::new(Int64Array::from_iter_values(0..8))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(folder.0.path().join(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    [("csv", csv), ("json", json), ("parquet", parquet)]
}

fn lost(result: Result<Box<dyn Reader>, Error>) -> String {
    match result.err() {
        Some(Error::Lost(what)) => what,
        other => panic!("not noticed: {other:?}"),
    }
}

#[test]
fn another_file_under_the_same_name_is_a_loss_wherever_reading_stopped() {
    for (ending, write) in versions() {
        for num_read in [1, 5, 8, 100] {
            let folder = Folder::with(&[]);
            let name = format!("a.{ending}");
            write(&folder, &name, 'A');
            let source = folder.source(&name);
            let position = source.open(0, None).unwrap().read(limit(num_read)).unwrap().position;
            assert!(source.open(0, Some(&position)).is_ok());
            write(&folder, &name, 'B');
            let what = lost(source.open(0, Some(&position)));
            assert!(what.contains(&name) && what.contains("a name of its own"), "{what}");
        }
    }
}

#[test]
fn another_file_in_the_place_of_one_that_was_finished_is_a_loss() {
    for (ending, write) in versions() {
        let folder = Folder::with(&[]);
        for name in ["a", "b", "c"] {
            write(&folder, &format!("{name}.{ending}"), 'A');
        }
        let source = folder.source(&format!("*.{ending}"));
        let mut reader = source.open(0, None).unwrap();
        let mut position = Value::Null;
        for _ in 0..3 {
            position = reader.read(limit(8)).unwrap().position;
        }
        assert!(source.open(0, Some(&position)).is_ok());
        write(&folder, &format!("b.{ending}"), 'B');
        assert!(lost(source.open(0, Some(&position))).contains("one of the 2 files"));
        // The same content again, with another time of modification, is no other file.
        write(&folder, &format!("b.{ending}"), 'A');
        assert!(source.open(0, Some(&position)).is_ok());
    }
}

#[test]
fn a_text_file_may_grow_by_whole_lines_only() {
    let begin = "airport,cost_total\nA,1\nB,2";
    for (content, grown) in
        [(format!("{begin}\n"), Some(vec!["C 3 unknown"])), (begin.to_owned(), None)]
    {
        let folder = Folder::with(&[("a.csv", content.as_bytes())]);
        let source = folder.source("a.csv");
        let position = source.open(0, None).unwrap().read(limit(2)).unwrap().position;
        folder.write("a.csv", format!("{content}0\nC,3\n").replace("\n0\n", "\n").as_bytes());
        match grown {
            Some(rows) => assert_eq!(read(&source, 0, Some(&position), 10).0, rows),
            None => {
                let said = lost(source.open(0, Some(&position)));
                assert!(said.contains("that line goes on now; cut the file to"), "{said}");
            }
        }
    }
}

#[test]
fn a_last_line_may_be_ended_later() {
    let begin = "airport,cost_total\nA,1\nB,2";
    let folder = Folder::with(&[("a.csv", begin.as_bytes())]);
    let source = folder.source("a.csv");
    let position = source.open(0, None).unwrap().read(limit(10)).unwrap().position;
    folder.write("a.csv", format!("{begin}\nC,3\n").as_bytes());
    assert_eq!(read(&source, 0, Some(&position), 10).0, ["C 3 unknown"]);
}

#[test]
fn large_content_is_compared_in_blocks_and_goes_on_from_any_of_them() {
    let line = |n: usize| format!("airport {n:06},{n}\n");
    let mut content = "airport,cost_total\n".to_owned();
    content.extend((0..150_000).map(line));
    let folder = Folder::with(&[("a.csv", content.as_bytes())]);
    let source = folder.source("a.csv");
    let mut reader = source.open(0, None).unwrap();
    let limit = Limit { records: 40_000, bytes: usize::MAX };
    let positions: Vec<_> = (0..4).map(|_| reader.read(limit).unwrap().position).collect();
    for position in &positions {
        let mut again = source.open(0, Some(position)).unwrap();
        let next = again.read(limit).unwrap();
        assert!(next.end || positions.contains(&next.position));
    }
    // One byte of the second block.
    content.replace_range(1_500_000..1_500_001, "#");
    folder.write("a.csv", content.as_bytes());
    assert!(source.open(0, Some(&positions[0])).is_ok(), "the change is behind it");
    for position in &positions[1..] {
        lost(source.open(0, Some(position)));
    }
}

#[test]
fn positions_without_an_identity_are_taken_as_they_are() {
    let folder = Folder::with(&[("a.csv", b"airport,cost_total\nA,1\nB,2\n")]);
    let position = json!({ "file": "a.csv", "index": 0, "at": { "byte": 23, "line": 3 } });
    assert_eq!(read(&folder.source("a.csv"), 0, Some(&position), 10).0, ["B 2 unknown"]);
}

#[test]
fn every_compression_of_parquet_is_read() {
    use ::parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for codec in codecs {
        let folder = Folder::with(&[]);
        let names: StringArray = (0..100).map(|n| Some(format!("name {n}"))).collect();
        let columns: [(&str, ArrayRef); 2] = [
            ("airport", Arc::new(names)),
            ("cost_total", Arc::new(Int64Array::from_iter_values(0..100))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let properties = WriterProperties::builder().set_compression(codec).build();
        let file = File::create(folder.0.path().join("a.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        assert_eq!(read(&folder.source("a.parquet"), 0, None, 30).0.len(), 100, "{codec}");
    }
}

#[test]
fn brackets_in_a_path_are_a_pattern_only_where_nothing_has_that_name() {
    let folder = Folder::with(&[]);
    let inner = folder.0.path().join("data [1]");
    std::fs::create_dir(&inner).unwrap();
    for name in ["a[b].csv", "ab.csv", "ac.csv"] {
        let line = format!("airport,cost_total\n{name},1\n");
        std::fs::write(inner.join(name), line).unwrap();
    }
    for (pattern, expected) in [
        ("data [1]/a[b].csv", vec!["a[b].csv 1 unknown"]),
        ("data [1]/a[bc].csv", vec!["ab.csv 1 unknown", "ac.csv 1 unknown"]),
        ("data [1]/*.csv", vec!["a[b].csv 1 unknown", "ab.csv 1 unknown", "ac.csv 1 unknown"]),
    ] {
        assert_eq!(read(&folder.source(pattern), 0, None, 30).0, expected, "{pattern}");
    }
}

#[test]
fn the_value_of_a_hive_partition_is_asked_for_and_never_replaced_by_a_default() {
    let folder = Folder::with(&[]);
    std::fs::create_dir_all(folder.0.path().join("h/phase=landing")).unwrap();
    folder.write("h/phase=landing/a.csv", b"airport,cost_total\nOSLO,1\n");
    let mistakes = Files::new(&folder.config("h/**/*.csv", 1), &schema()).err().unwrap();
    let what = &mistakes[0].what;
    assert!(what.contains("no column for `phase`, only its folder `phase=landing`"), "{what}");
}

#[test]
fn each_file_of_a_folder_has_its_own_columns_and_a_broken_one_is_named_before_it_is_read() {
    let folder = Folder::with(&[]);
    let costs = |columns: Vec<(&str, ArrayRef)>| RecordBatch::try_from_iter(columns).unwrap();
    let airport = |name| ("airport", Arc::new(StringArray::from(vec![name])) as ArrayRef);
    let long = ("cost_total", Arc::new(Int64Array::from(vec![1])) as ArrayRef);
    let text = ("Cost: Total", Arc::new(StringArray::from(vec!["2"])) as ArrayRef);
    let unfit = ("cost_total", Arc::new(Int64Array::from(vec![1 << 40])) as ArrayRef);
    let speed = ("speed", Arc::new(Float64Array::from(vec![3.5])) as ArrayRef);
    folder.write_batch("1.parquet", &costs(vec![airport("A"), long.clone()]));
    folder.write_batch("2.parquet", &costs(vec![text, speed, airport("B")]));
    folder.write_batch("3.parquet", &costs(vec![airport("C"), unfit]));
    let (rows, faults) = read(&folder.source("*.parquet"), 0, None, 10);
    assert_eq!(rows, ["A 1 unknown", "B 2 3.5 unknown"]);
    assert_eq!(
        faults,
        ["value_does_not_fit 1 3.parquet row 1: cost_total: `1099511627776` does not fit int"]
    );
    for (content, words) in [
        (&b""[..], "4.parquet cannot be read as Parquet"),
        (b"PAR1 and nothing more PAR1", "4.parquet cannot be read as Parquet"),
    ] {
        folder.write("4.parquet", content);
        let mut reader = folder.source("*.parquet").open(0, None).unwrap();
        let mut landed = Vec::new();
        let error = loop {
            match reader.read(limit(10)) {
                Ok(chunk) => landed.extend(lines(&chunk)),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(landed, ["A 1 unknown", "B 2 3.5 unknown"], "the files before it are read");
        assert!(error.contains(words), "{error}");
    }
    std::fs::remove_file(folder.0.path().join("4.parquet")).unwrap();
    folder.write_batch("4.parquet", &costs(vec![long]));
    let mut reader = folder.source("*.parquet").open(0, None).unwrap();
    let error = std::iter::from_fn(|| Some(reader.read(limit(10)))).find_map(Result::err);
    let error = error.unwrap().to_string();
    assert!(error.contains("4.parquet has no column for `airport`; it has cost_total"), "{error}");
}

#[test]
fn a_field_that_text_cannot_hold_is_a_mistake_before_anything_is_read() {
    let folder = Folder::with(&[("a.csv", b"tags,length\nx,y\n"), ("a.json", b"[]")]);
    let schema = Schema::parse(
        r#"{"type":"record","name":"R","fields":[
        {"name":"tags","type":{"type":"array","items":["int","string"]}},
        {"name":"length","type":{"type":"fixed","name":"D","size":12,"logicalType":"duration"}}]}"#,
    )
    .unwrap();
    for name in ["a.csv", "a.json"] {
        let mistakes = Files::new(&folder.config(name, 1), &schema).err().unwrap();
        let text = &mistakes[0].what;
        assert!(text.contains("field `tags[]` is [int, string]: neither"), "{text}");
        assert!(text.contains("field `length` is duration, which"), "{text}");
    }
}
