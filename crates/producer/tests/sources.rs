//! What every kind of source promises. A new kind implements [`TestSource`] and gets a line in
//! `suite!` at the end.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

#[allow(dead_code)] // these tests need no Kafka
#[path = "support/pipeline.rs"]
mod support;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use weir_codec::{Encoder, Schema};
use weir_model::fault::Stage;
use weir_model::pipeline;
use weir_producer::source::{self, Chunk, Error, Limit, Reader, Source};

/// A kind of source over known data.
trait TestSource {
    /// `type` in the pipeline file.
    const KIND: &'static str;
    /// How many records the data has, and how many malformed items.
    const NUM_ITEMS: (usize, usize);

    /// The keys of `[source]` and `[input]`; data goes into `folder`.
    fn configure(folder: &Path) -> (String, String);
}

/// A source of the kind, as the producer builds it.
struct Fixture {
    source: Box<dyn Source>,
    schema: Schema,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn open<S: TestSource>() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let (keys, input) = S::configure(folder.path());
        let keys = format!("type = \"{}\"\n{keys}", S::KIND);
        let pipeline = support::at("localhost:1", "http://localhost:1", &keys, &input);
        let schema = Schema::load(&pipeline.input.schema).unwrap();
        let source = source::build(&pipeline, &schema).unwrap();
        Fixture { source, schema, _folder: folder }
    }

    fn reader(&self, partition: u32, position: Option<&Value>) -> Box<dyn Reader> {
        self.source.open(partition, position).unwrap()
    }

    /// The rest of a partition, read in chunks of this limit.
    fn read(&self, partition: u32, position: Option<&Value>, limit: Limit) -> Contents {
        let mut reader = self.reader(partition, position);
        let mut encoder = Encoder::new(&self.schema, 1).unwrap();
        let mut contents = Contents::default();
        loop {
            let chunk = reader.read(limit).unwrap();
            assert!(chunk.len() <= limit.records, "{} items of {limit:?}", chunk.len());
            assert!(!chunk.is_empty() || chunk.end, "the data is there and never waits");
            self.assert_shape(&chunk);
            contents.add(&chunk, &*reader, &mut encoder);
            if chunk.end {
                return contents;
            }
        }
    }

    /// Optional columns belong to every row or are absent.
    fn assert_shape(&self, chunk: &Chunk) {
        let rows = chunk.batch.num_rows();
        assert_eq!(chunk.batch.schema(), self.schema.arrow());
        for (column, len) in [
            ("positions", chunk.positions.len()),
            ("keys", chunk.keys.len()),
            ("headers", chunk.headers.len()),
            ("timestamps", chunk.timestamps_ms.len()),
        ] {
            assert!(len == 0 || len == rows, "{len} {column} for {rows} rows");
        }
        for malformed in &chunk.malformed {
            let fault = &malformed.fault;
            assert_eq!(fault.stage, Stage::Source);
            assert!(!malformed.bytes.is_empty(), "its original bytes are kept");
            assert!(!fault.reason.is_empty() && !fault.detail.is_empty(), "{fault:?}");
        }
    }
}

/// What was read from a partition, in order; a chunk's position is at the items before it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    records: Vec<Vec<u8>>,
    malformed: Vec<(i64, Vec<u8>, String)>,
    /// Records and malformed items up to here, and where to continue.
    positions: Vec<(usize, usize, Value)>,
}

impl Contents {
    fn add(&mut self, chunk: &Chunk, reader: &dyn Reader, encoder: &mut Encoder) {
        let encoded = encoder.encode(&chunk.batch).unwrap();
        for row in 0..encoded.len() {
            let value = encoded.get(row);
            self.records.push(reader.replacement(row, value).unwrap_or_else(|| value.to_vec()));
        }
        for item in &chunk.malformed {
            self.malformed.push((item.position, item.bytes.clone(), item.fault.detail.clone()));
        }
        let position = (self.records.len(), self.malformed.len(), chunk.position.clone());
        self.positions.push(position);
    }
}

/// So many records, whatever their size.
fn records(records: usize) -> Limit {
    Limit { records, bytes: usize::MAX }
}

fn the_partitions_together_hold_every_item_once<S: TestSource>() {
    let fixture = Fixture::open::<S>();
    let contents: Vec<_> = (0..fixture.source.partitions())
        .map(|partition| fixture.read(partition, None, records(100)))
        .collect();
    let mut all: Vec<_> = contents.iter().flat_map(|c| &c.records).collect();
    let malformed: usize = contents.iter().map(|c| c.malformed.len()).sum();
    assert_eq!((all.len(), malformed), S::NUM_ITEMS);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), S::NUM_ITEMS.0, "the fixture's records differ from each other");
}

fn the_limit_changes_nothing_but_the_chunks<S: TestSource>() {
    let fixture = Fixture::open::<S>();
    for partition in 0..fixture.source.partitions() {
        let whole = fixture.read(partition, None, records(1_000_000));
        let limits = [records(1), records(7), Limit { records: 1_000_000, bytes: 1 }];
        for limit in limits {
            let parts = fixture.read(partition, None, limit);
            assert!(parts.records == whole.records, "other records with {limit:?}");
            assert_eq!(parts.malformed, whole.malformed, "{limit:?}");
        }
    }
}

fn reading_again_from_any_position_returns_the_same<S: TestSource>() {
    let fixture = Fixture::open::<S>();
    for partition in 0..fixture.source.partitions() {
        let whole = fixture.read(partition, None, records(11));
        for (num_records, num_malformed, position) in &whole.positions {
            // As it comes back from the position store.
            let position: Value = serde_json::from_str(&position.to_string()).unwrap();
            let rest = fixture.read(partition, Some(&position), records(13));
            assert!(rest.records == whole.records[*num_records..], "after {position}");
            assert_eq!(rest.malformed, whole.malformed[*num_malformed..], "after {position}");
        }
    }
}

fn the_end_stays_the_end<S: TestSource>() {
    let fixture = Fixture::open::<S>();
    for partition in 0..fixture.source.partitions() {
        let (_, _, end) = fixture.read(partition, None, records(100)).positions.pop().unwrap();
        for _ in 0..2 {
            let chunk = fixture.reader(partition, Some(&end)).read(records(100)).unwrap();
            assert!(chunk.is_empty() && chunk.end, "{} items behind the end", chunk.len());
        }
    }
}

fn the_position_of_another_source_is_refused<S: TestSource>() {
    let fixture = Fixture::open::<S>();
    for foreign in [json!({ "none": 1 }), json!([1]), json!("text"), json!(7)] {
        let opened = fixture.source.open(0, Some(&foreign));
        assert!(matches!(opened.err(), Some(Error::Lost(_))), "{foreign}");
    }
}

struct Generated;

impl TestSource for Generated {
    const KIND: &'static str = "synthetic";
    const NUM_ITEMS: (usize, usize) = (500, 0);

    fn configure(_: &Path) -> (String, String) {
        let keys = r#"generator = "call_records"
            records = 500
            partitions = 3
            rate = 0
            invalid_share = 0.2
            invalid_kinds = ["negative_duration", "truncated", "trailing_bytes"]"#;
        (keys.into(), "schema = \"call.avsc\"\npartitions = 1".into())
    }
}

const SCHEMA: &str = r#"{"type": "record", "name": "Sale", "fields": [
    {"name": "id", "type": "long"}, {"name": "name", "type": ["null", "string"]}]}"#;
const NUM_FILES: usize = 5;
const NUM_ROWS: usize = 40;

/// Writes the files, of which every one is filled by `write` with the ids of its rows, and returns
/// the keys of `[source]` and `[input]`.
fn files(folder: &Path, ending: &str, write: impl Fn(&Path, &[i64])) -> (String, String) {
    let ids: Vec<i64> = (0..(NUM_FILES * NUM_ROWS) as i64).collect();
    for (number, ids) in ids.chunks(NUM_ROWS).enumerate() {
        write(&folder.join(format!("{number}.{ending}")), ids);
    }
    std::fs::write(folder.join("sale.avsc"), SCHEMA).unwrap();
    let folder = folder.display();
    let keys = format!("path = \"{folder}/*.{ending}\"\npartitions = 2");
    (keys, format!("schema = \"{folder}/sale.avsc\"\npartitions = 1"))
}

struct CsvFiles;

impl TestSource for CsvFiles {
    const KIND: &'static str = "file";
    const NUM_ITEMS: (usize, usize) = (NUM_FILES * NUM_ROWS, 2 * NUM_FILES);

    fn configure(folder: &Path) -> (String, String) {
        files(folder, "csv", |path, ids| {
            let mut text = "id,name\n".to_owned();
            for id in ids {
                text += &format!("{id},\"name, of\n{id}\"\n");
                match id % 40 {
                    3 => text += "one,field,too,many\n",
                    39 => text += "twelve,none\n",
                    _ => {}
                }
            }
            std::fs::write(path, text).unwrap();
        })
    }
}

struct JsonFiles;

impl TestSource for JsonFiles {
    const KIND: &'static str = "file";
    const NUM_ITEMS: (usize, usize) = (NUM_FILES * NUM_ROWS, 2 * NUM_FILES);

    fn configure(folder: &Path) -> (String, String) {
        files(folder, "json", |path, ids| {
            let mut text = String::new();
            for id in ids {
                match id % 40 {
                    0 => text += "{\"id\": 1, \"name\": \n",
                    20 => text += "{\"id\": \"twelve\", \"name\": null}\n",
                    _ => {}
                }
                text += &format!("{{\"name\": \"name of {id}\", \"id\": {id}}}\n");
            }
            std::fs::write(path, text).unwrap();
        })
    }
}

struct JsonArrays;

impl TestSource for JsonArrays {
    const KIND: &'static str = "file";
    const NUM_ITEMS: (usize, usize) = (NUM_FILES * NUM_ROWS, 3 * NUM_FILES);

    fn configure(folder: &Path) -> (String, String) {
        let (keys, input) = files(folder, "json", |path, ids| {
            let mut text = "{\"page\": 1, \"sales\": [".to_owned();
            for (index, id) in ids.iter().enumerate() {
                text += if index == 0 { "" } else { "," };
                match id % 40 {
                    7 => text += "{\"id\": tru},\n",
                    20 => text += " , {\"id\": \"twelve\", \"name\": null}, ",
                    _ => {}
                }
                text += &format!("\n{{\n  \"name\": \"name of {id}\",\n  \"id\": {id}\n}}");
            }
            std::fs::write(path, text + "], \"next\": null}\n").unwrap();
        });
        (keys + "\nrecord_path = \"sales\"", input)
    }
}

struct ParquetFiles;

impl TestSource for ParquetFiles {
    const KIND: &'static str = "file";
    const NUM_ITEMS: (usize, usize) = (NUM_FILES * NUM_ROWS, 0);

    fn configure(folder: &Path) -> (String, String) {
        files(folder, "parquet", |path, ids| {
            let names = ids.iter().map(|id| (id % 3 > 0).then(|| format!("name of {id}")));
            let columns: [(&str, ArrayRef); 2] = [
                ("name", Arc::new(names.collect::<StringArray>())),
                ("id", Arc::new(Int64Array::from(ids.to_vec()))),
            ];
            let batch = RecordBatch::try_from_iter(columns).unwrap();
            let file = std::fs::File::create(path).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        })
    }
}

/// Runs every promise for every source, and knows which kinds there are.
macro_rules! suite {
    ($($name:ident: $source:ident),+ $(,)?) => {
        $(mod $name {
            suite!(promises $source:
                the_partitions_together_hold_every_item_once,
                the_limit_changes_nothing_but_the_chunks,
                reading_again_from_any_position_returns_the_same,
                the_end_stays_the_end,
                the_position_of_another_source_is_refused,
            );
        })+

        #[test]
        fn every_kind_of_source_is_in_the_suite() {
            let tested = [$(<$source>::KIND),+];
            let missing: Vec<_> =
                pipeline::Source::KINDS.iter().filter(|kind| !tested.contains(kind)).collect();
            assert!(missing.is_empty(), "no promises are tested for {missing:?}");
        }
    };
    (promises $source:ident: $($promise:ident,)+) => {
        $(#[test] fn $promise() { super::$promise::<super::$source>(); })+
    };
}

suite! {
    synthetic: Generated,
    csv_files: CsvFiles,
    json_files: JsonFiles,
    json_arrays: JsonArrays,
    parquet_files: ParquetFiles,
}
