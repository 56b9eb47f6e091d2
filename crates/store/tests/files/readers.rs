//! The files are read by the programs that people read them with.
//!
//! `make readers` installs them and runs this; `WEIR_PYTHON` names a Python that has pyarrow and
//! duckdb.

use crate::fixture::{RUNTIME, Sink, part_of};
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::*;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use weir_model::protocol::Outcome;

/// Three rows of most types; `readers.py` knows them.
fn rows() -> RecordBatch {
    let uuid = HashMap::from([("logicalType".to_owned(), "uuid".to_owned())]);
    let amounts = Decimal128Array::from(vec![Some(-1_234_567_890_123_456_789), Some(1), None]);
    let at = TimestampMicrosecondArray::from(vec![Some(1_735_689_599_999_999), Some(-1), None]);
    let nanos = TimestampNanosecondArray::from(vec![Some(1), Some(-1), None]);
    let items = StructArray::from(vec![
        (Arc::new(Field::new("sku", DataType::Utf8, true)), string(["a", "b", "c"])),
        (
            Arc::new(Field::new("count", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![1, 2, i64::MAX])) as ArrayRef,
        ),
    ]);
    let offsets = OffsetBuffer::from_lengths([2, 0, 1]);
    let item = Arc::new(Field::new("item", items.data_type().clone(), true));
    let list = ListArray::new(item, offsets, Arc::new(items), None);
    let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    map.keys().append_value("k");
    map.values().append_value(7);
    map.append(true).unwrap();
    map.append(true).unwrap();
    map.append(false).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int32Array::from(vec![1, 2, 3]))),
        ("name", string(["a,\"b\"\nc", "", "é"])),
        ("uuid", string(["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"; 3])),
        ("amount", Arc::new(amounts.with_precision_and_scale(38, 10).unwrap())),
        ("at", Arc::new(at.clone().with_timezone("+00:00"))),
        ("local", Arc::new(at)),
        ("nanos", Arc::new(nanos.with_timezone("+00:00"))),
        ("day", Arc::new(Date32Array::from(vec![Some(0), Some(-1), None]))),
        (
            "clock",
            Arc::new(Time64MicrosecondArray::from(vec![Some(1), Some(86_399_999_999), None])),
        ),
        ("bytes", Arc::new(BinaryArray::from(vec![Some(b"\x00\xff".as_ref()), Some(b""), None]))),
        ("items", Arc::new(list)),
        ("tags", Arc::new(map.finish())),
        ("country", string(["DE", "a/b c", "é"])),
    ];
    let field = |(name, column): &(&str, ArrayRef)| {
        let field = Field::new(*name, column.data_type().clone(), *name != "id");
        if *name == "uuid" { field.with_metadata(uuid.clone()) } else { field }
    };
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, c)| c).collect()).unwrap()
}

fn string<const N: usize>(texts: [&str; N]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

#[test]
#[ignore = "needs pyarrow and DuckDB: make readers"]
fn files_are_read_by_pyarrow_and_duckdb() {
    let python = std::env::var("WEIR_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files/readers.py");
    for format in ["parquet", "json", "csv"] {
        let keys = format!("format = \"{format}\"\npartition_by = \"country\"\nlineage = true\n");
        let sink = Sink::of(rows().schema(), "files", &keys);
        let writer = sink.writer();
        let committed = writer.acquire(0);
        let parts = vec![part_of(0, 0, rows())];
        assert_eq!(writer.write(&committed, parts).outcome, Outcome::Committed);
        let files = RUNTIME.block_on(sink.reader().files().unwrap().list()).unwrap();
        let paths = files.iter().map(|file| file.path.as_str());
        let output = Command::new(&python).arg(&script).arg(format).args(paths).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{format}: {text}");
    }
}
