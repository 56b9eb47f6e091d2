//! Every value of every type comes back as it was, from every format; what a format does not have is
//! a dead letter that says so.

use crate::fixture::{RUNTIME, Sink, part_of};
use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::*;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use weir_model::protocol::Outcome;

/// 0001-01-01 to 9999-12-31, in days since 1970.
const DAYS: std::ops::Range<i32> = -719_162..2_932_897;

fn micros() -> impl Strategy<Value = i64> {
    let day = 86_400_000_000_i64;
    i64::from(DAYS.start) * day..i64::from(DAYS.end) * day
}

fn utc() -> Option<Arc<str>> {
    Some("+00:00".into())
}

/// A row of every scalar type; null now and then.
type Row = (
    (Option<bool>, Option<i32>, Option<i64>, Option<f32>, Option<f64>, Option<i128>),
    (Option<String>, Option<Vec<u8>>, Option<i32>, Option<i32>, Option<i64>),
    (Option<i64>, Option<i64>, Option<i64>, Option<i64>),
);

fn extreme<T: std::fmt::Debug + Clone + 'static>(
    any: impl Strategy<Value = T> + 'static,
    extremes: Vec<T>,
) -> impl Strategy<Value = Option<T>> {
    weighted(0.85, prop_oneof![3 => any, 2 => proptest::sample::select(extremes)])
}

fn row() -> impl Strategy<Value = Row> {
    let most = 10_i128.pow(38) - 1;
    let texts = [
        "",
        " ",
        "\"",
        ",",
        "\n",
        "\r\n",
        "\\",
        "NULL",
        "null",
        "é\u{10FFFF}",
        "\u{0}",
        "a\tb",
        "'",
    ];
    let finite32 = any::<f32>().prop_filter("finite", |f| f.is_finite());
    let finite64 = any::<f64>().prop_filter("finite", |f| f.is_finite());
    (
        (
            weighted(0.9, any::<bool>()),
            extreme(any::<i32>(), vec![i32::MIN, -1, 0, i32::MAX]),
            extreme(any::<i64>(), vec![i64::MIN, (1 << 53) + 1, i64::MAX]),
            extreme(finite32, vec![f32::MIN, f32::MAX, f32::MIN_POSITIVE, -0.0, 0.1, 1e-45]),
            extreme(finite64, vec![f64::MIN, f64::MAX, f64::MIN_POSITIVE, -0.0, 0.1, 5e-324]),
            extreme(-most..=most, vec![-most, 0, 1, most]),
        ),
        (
            extreme(".{0,12}", texts.map(String::from).to_vec()),
            extreme(vec(any::<u8>(), 0..9), vec![vec![], vec![0], vec![255; 3]]),
            extreme(DAYS, vec![DAYS.start, -1, 0, DAYS.end - 1]),
            extreme(0..86_400_000, vec![0, 86_399_999]),
            extreme(0_i64..86_400_000_000, vec![0, 86_399_999_999]),
        ),
        (
            extreme(micros().prop_map(|at| at / 1_000), vec![-1, 0]),
            extreme(micros(), vec![-1, 0, 1]),
            extreme(micros(), vec![-1, 0, 1]),
            extreme(any::<i64>(), vec![i64::MIN, -1, 0, i64::MAX]),
        ),
    )
}

fn scalars(rows: &[Row]) -> StructArray {
    let decimals: Decimal128Array = rows.iter().map(|r| r.0.5).collect();
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let mut add = |name: &str, column: ArrayRef| {
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    };
    add("boolean", Arc::new(rows.iter().map(|r| r.0.0).collect::<BooleanArray>()));
    add("int", Arc::new(rows.iter().map(|r| r.0.1).collect::<Int32Array>()));
    add("long", Arc::new(rows.iter().map(|r| r.0.2).collect::<Int64Array>()));
    add("float", Arc::new(rows.iter().map(|r| r.0.3).collect::<Float32Array>()));
    add("double", Arc::new(rows.iter().map(|r| r.0.4).collect::<Float64Array>()));
    add("decimal", Arc::new(decimals.with_precision_and_scale(38, 10).unwrap()));
    add("text", Arc::new(rows.iter().map(|r| r.1.0.as_deref()).collect::<StringArray>()));
    add("bytes", Arc::new(rows.iter().map(|r| r.1.1.as_deref()).collect::<BinaryArray>()));
    add("date", Arc::new(rows.iter().map(|r| r.1.2).collect::<Date32Array>()));
    add("time_millis", Arc::new(rows.iter().map(|r| r.1.3).collect::<Time32MillisecondArray>()));
    add("time_micros", Arc::new(rows.iter().map(|r| r.1.4).collect::<Time64MicrosecondArray>()));
    let millis: TimestampMillisecondArray = rows.iter().map(|r| r.2.0).collect();
    let micros: TimestampMicrosecondArray = rows.iter().map(|r| r.2.1).collect();
    let nanos: TimestampNanosecondArray = rows.iter().map(|r| r.2.3).collect();
    add("at_millis", Arc::new(millis.with_timezone_opt(utc())));
    add("at_micros", Arc::new(micros.with_timezone_opt(utc())));
    add(
        "local_micros",
        Arc::new(rows.iter().map(|r| r.2.2).collect::<TimestampMicrosecondArray>()),
    );
    add("at_nanos", Arc::new(nanos.with_timezone_opt(utc())));
    StructArray::new(fields.into(), columns, None)
}

/// The scalars, and lists and maps of records of them; `lengths` are those of lists and maps.
fn batch(rows: &[Row], lengths: &[usize]) -> RecordBatch {
    let scalars = scalars(rows);
    let records: ArrayRef = Arc::new(scalars.clone());
    let total: usize = lengths.iter().sum();
    let some = UInt32Array::from_iter_values((0..total).map(|i| (i * 7 % rows.len()) as u32));
    let records = take(&records, &some, None).unwrap();
    let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
    let item = Arc::new(Field::new("item", records.data_type().clone(), true));
    let list = ListArray::new(item, offsets.clone(), records.clone(), None);
    let keys: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..total).map(|i| format!("key \"{i}\""))));
    let entries = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", records.data_type().clone(), true),
    ]);
    let entries = StructArray::new(entries, vec![keys, records], None);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(field, offsets, entries, None, false);
    let mut fields: Vec<Field> = scalars.fields().iter().map(|f| f.as_ref().clone()).collect();
    let mut columns = scalars.columns().to_vec();
    for (name, column) in [("list", Arc::new(list) as ArrayRef), ("map", Arc::new(map))] {
        fields.push(Field::new(name, column.data_type().clone(), true));
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Writes the rows and returns the paths of their files and the details of the dead letters.
fn written(rows: &RecordBatch, keys: &str) -> (Sink, Vec<String>, Vec<String>) {
    let sink = Sink::of(rows.schema(), "files", keys);
    let writer = sink.writer();
    let committed = writer.acquire(0);
    let parts = vec![part_of(0, 0, rows.clone())];
    assert_eq!(writer.write(&committed, parts).outcome, Outcome::Committed);
    let reader = sink.reader();
    let files = RUNTIME.block_on(reader.files().unwrap().list()).unwrap();
    let paths = files.into_iter().map(|file| file.path).collect();
    let letters = RUNTIME.block_on(reader.dead_letters()).unwrap();
    (sink, paths, letters.into_iter().map(|letter| letter.fault.detail).collect())
}

/// The rows of a Parquet file.
fn parquet(path: &str) -> RecordBatch {
    let file = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let schema = file.schema().clone();
    let batches: Vec<_> = file.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// What can be read from text with Arrow's own reader: bytes are in Base64 there.
fn as_text(data_type: &DataType) -> DataType {
    let field = |f: &FieldRef| Arc::new(f.as_ref().clone().with_data_type(as_text(f.data_type())));
    match data_type {
        DataType::Binary => DataType::Utf8,
        DataType::List(item) => DataType::List(field(item)),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        other => other.clone(),
    }
}

fn base64(array: &ArrayRef, to: &DataType) -> ArrayRef {
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    match (array.data_type(), to) {
        (DataType::Binary, _) => {
            let texts = array.as_binary::<i32>().iter().map(|b| b.map(|b| engine.encode(b)));
            Arc::new(texts.collect::<StringArray>())
        }
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = base64(list.values(), item.data_type());
            Arc::new(ListArray::new(item.clone(), list.offsets().clone(), values, None))
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let all: ArrayRef = Arc::new(map.entries().clone());
            let all = base64(&all, entries.data_type()).as_struct().clone();
            Arc::new(MapArray::new(entries.clone(), map.offsets().clone(), all, None, *sorted))
        }
        (DataType::Struct(_), DataType::Struct(fields)) => {
            let columns = array.as_struct().columns().iter().zip(fields);
            let columns =
                columns.map(|(column, field)| base64(column, field.data_type())).collect();
            Arc::new(StructArray::new(fields.clone(), columns, array.nulls().cloned()))
        }
        _ => array.clone(),
    }
}

fn json(path: &str, rows: &RecordBatch) -> (RecordBatch, RecordBatch) {
    let fields = rows
        .schema()
        .fields()
        .iter()
        .map(|f| f.as_ref().clone().with_data_type(as_text(f.data_type())))
        .collect::<Vec<_>>();
    let schema = Arc::new(Schema::new(fields));
    let text = std::io::BufReader::new(File::open(path).unwrap());
    let reader = arrow::json::ReaderBuilder::new(schema.clone()).build(text).unwrap();
    let found: Vec<_> = reader.map(Result::unwrap).collect();
    let expected = rows.columns().iter().zip(schema.fields());
    let expected = expected.map(|(column, field)| base64(column, field.data_type())).collect();
    let expected = RecordBatch::try_new(schema.clone(), expected).unwrap();
    (concat_batches(&schema, &found).unwrap(), expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_written_comes_back(rows in vec(row(), 1..40), lengths in vec(0_usize..4, 40)) {
        let batch = batch(&rows, &lengths[..rows.len()]);
        let (_sink, paths, dead) = written(&batch, "compression = \"snappy\"\n");
        prop_assert_eq!(dead, [""; 0]);
        let found = parquet(&paths[0]);
        for (column, expected) in found.columns().iter().zip(batch.columns()) {
            prop_assert_eq!(&cast(column, expected.data_type()).unwrap(), expected);
        }
        let (_sink, paths, dead) = written(&batch, "format = \"json\"\n");
        prop_assert_eq!(dead, [""; 0]);
        let (found, expected) = json(&paths[0], &batch);
        for (column, expected) in found.columns().iter().zip(expected.columns()) {
            prop_assert_eq!(column, expected);
        }
        let (_sink, paths, dead) = written(&batch, "format = \"csv\"\n");
        prop_assert_eq!(dead, [""; 0]);
        csv_is_that_of_json(&paths[0], &batch, &expected);
    }
}

/// Values of CSV are the texts that they have in JSON; of nested ones, the JSON itself.
fn csv_is_that_of_json(path: &str, rows: &RecordBatch, as_text: &RecordBatch) {
    let content = std::fs::read(path).unwrap();
    let schema = as_text.schema();
    let flat: Vec<usize> =
        (0..schema.fields().len()).filter(|i| !schema.field(*i).data_type().is_nested()).collect();
    // Arrow's reader takes every empty text for null, so texts are compared below.
    let reader = arrow::csv::ReaderBuilder::new(Arc::new(csv_schema(&schema)))
        .with_header(true)
        .with_batch_size(1 << 16)
        .build(content.as_slice())
        .unwrap();
    let found: Vec<_> = reader.map(Result::unwrap).collect();
    let found = &found[0];
    for column in flat.into_iter().filter(|i| *schema.field(*i).data_type() != DataType::Utf8) {
        assert_eq!(found.column(column), as_text.column(column), "{}", schema.field(column).name());
    }
    let mut reader = csv::Reader::from_reader(content.as_slice());
    let text = schema.index_of("text").unwrap();
    let list = schema.index_of("list").unwrap();
    for (row, record) in reader.records().enumerate() {
        let record = record.unwrap();
        let texts = rows.column(text).as_string::<i32>();
        let expected = if texts.is_null(row) { "" } else { texts.value(row) };
        assert_eq!(&record[text], expected);
        let items: serde_json::Value = serde_json::from_str(&record[list]).unwrap();
        assert_eq!(
            items.as_array().unwrap().len(),
            rows.column(list).as_list::<i32>().value(row).len()
        );
    }
}

fn csv_schema(schema: &Schema) -> Schema {
    let field = |f: &FieldRef| match f.data_type().is_nested() {
        true => Field::new(f.name(), DataType::Utf8, true),
        false => f.as_ref().clone(),
    };
    Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>())
}

#[test]
fn null_and_empty_text_are_told_apart_in_csv() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some(""), Some("x")]));
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let rows =
        RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("text", texts, true)]);
    let (_sink, paths, _) = written(&rows.unwrap(), "format = \"csv\"\n");
    assert_eq!(std::fs::read_to_string(&paths[0]).unwrap(), "id,text\n1,\n2,\"\"\n3,x\n");
}

fn doubles(values: Vec<f64>) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..values.len() as i32));
    let values: ArrayRef = Arc::new(Float64Array::from(values));
    RecordBatch::try_from_iter([("id", ids), ("value", values)]).unwrap()
}

#[test]
fn numbers_that_text_does_not_have_are_dead_letters_and_parquet_has_them() {
    let rows = doubles(vec![1.5, f64::NAN, f64::INFINITY, -0.0]);
    for format in ["json", "csv"] {
        let (sink, _, dead) = written(&rows, &format!("format = \"{format}\"\n"));
        assert_eq!(sink.ids(), [0, 3]);
        assert_eq!(dead.len(), 2);
        assert!(dead[0].contains("column value") && dead[0].contains("NaN"), "{dead:?}");
    }
    let (_sink, paths, dead) = written(&rows, "");
    assert_eq!((dead.len(), parquet(&paths[0]).num_rows()), (0, 4));
}

#[test]
fn times_that_have_no_text_are_dead_letters_and_parquet_has_them() {
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![0, 1, 2]));
    let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, 0, i64::MAX]));
    let day: ArrayRef = Arc::new(Date32Array::from(vec![0, 0, i32::MAX]));
    let rows = RecordBatch::try_from_iter([("id", ids), ("at", at), ("day", day)]).unwrap();
    let (sink, _, dead) = written(&rows, "format = \"json\"\n");
    assert_eq!((sink.ids(), dead.len()), (vec![1], 2));
    let (_sink, paths, _) = written(&rows, "");
    assert_eq!(parquet(&paths[0]).column(1), rows.column(1));
}

#[test]
fn uuids_and_durations_have_their_form_in_each_format() {
    let id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let uuids: ArrayRef = Arc::new(StringArray::from(vec![Some(id), Some("none"), None]));
    let interval = IntervalMonthDayNano::new(1, -2, 3_500_000_000);
    let durations: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![interval; 3]));
    let item = Arc::new(Field::new("item", durations.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([1, 1, 1]);
    let lists: ArrayRef = Arc::new(ListArray::new(item, offsets, durations.clone(), None));
    let uuid = HashMap::from([("logicalType".to_owned(), "uuid".to_owned())]);
    let schema = Schema::new(vec![
        Field::new("id", DataType::Utf8, true).with_metadata(uuid),
        Field::new("took", durations.data_type().clone(), true),
        Field::new("all", lists.data_type().clone(), true),
    ]);
    let rows = RecordBatch::try_new(Arc::new(schema), vec![uuids, durations, lists]).unwrap();
    let (_sink, paths, dead) = written(&rows, "");
    assert_eq!(dead, ["column id: `none` is not a UUID"]);
    let found = parquet(&paths[0]);
    assert_eq!(found.num_rows(), 2);
    assert_eq!(hex::encode(found.column(0).as_fixed_size_binary().value(0)), id.replace('-', ""));
    assert_eq!(found.column(1).as_string::<i32>().value(0), "P1M-2DT3.5S");
    let inner = found.column(2).as_list::<i32>().value(0);
    assert_eq!(inner.as_string::<i32>().value(0), "P1M-2DT3.5S");
    let (_sink, paths, dead) = written(&rows.slice(0, 1), "format = \"json\"\n");
    assert_eq!(dead, [""; 0]);
    assert_eq!(
        std::fs::read_to_string(&paths[0]).unwrap(),
        format!("{{\"id\":\"{id}\",\"took\":\"P1M-2DT3.5S\",\"all\":[\"P1M-2DT3.5S\"]}}\n")
    );
}

#[test]
fn text_is_compressed_when_it_is_to_be() {
    let rows = doubles(vec![1.0; 100]);
    for (format, compression, ending) in
        [("json", "gzip", ".jsonl.gz"), ("csv", "zstd", ".csv.zst"), ("json", "zstd", ".jsonl.zst")]
    {
        let keys = format!("format = \"{format}\"\ncompression = \"{compression}\"\n");
        let (sink, paths, _) = written(&rows, &keys);
        assert!(paths[0].ends_with(ending), "{}", paths[0]);
        assert_eq!(sink.ids().len(), 100);
        assert_eq!(RUNTIME.block_on(sink.reader().count_rows()).unwrap(), 100);
    }
}

#[test]
fn what_a_format_does_not_carry_is_refused_before_anything_is_written() {
    let offline = |schema: Schema, keys: &str| -> Vec<String> {
        let sink = Sink::of(Arc::new(Schema::empty()), "files", keys);
        let sink = &sink.pipeline.sinks[0];
        let mistakes = weir_store::reader::check_offline(sink, &Arc::new(schema));
        mistakes.into_iter().map(|mistake| format!("{}: {}", mistake.key, mistake.what)).collect()
    };
    let id = Field::new("id", DataType::Int32, false);
    let empty = Field::new("nothing", DataType::Struct(Fields::empty()), true);
    let found = offline(Schema::new(vec![id.clone(), empty]), "");
    assert!(found[0].contains("sink.lake.format: field nothing"), "{found:?}");
    let text = Field::new("text", DataType::Utf8, true);
    let found = offline(Schema::new(vec![text]), "format = \"csv\"\n");
    assert!(found[0].contains("empty line"), "{found:?}");
    let topic = Field::new("weir_topic", DataType::Utf8, true);
    let found = offline(Schema::new(vec![id.clone(), topic]), "lineage = true\n");
    assert!(found[0].contains("sink.lake.lineage"), "{found:?}");
    let found = offline(Schema::new(vec![id]), "partition_by = \"id\"\n");
    assert!(found[0].contains("leaves no column"), "{found:?}");
}
