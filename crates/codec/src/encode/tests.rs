use super::*;
use crate::oracle::{Oracle, Random, arrow_cell, avro_cell};
use crate::{Decoder, Registry};
use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::DataType;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::with_cached(&[(1, SCHEMA)]));

const SCHEMA: &str = r#"{"type":"record","name":"All","namespace":"a.b","fields":[
 {"name":"boolean","type":["null","boolean"]}, {"name":"int","type":"int"},
 {"name":"long","type":["long","null"]},
 {"name":"float","type":"float"}, {"name":"double","type":"double"},
 {"name":"bytes","type":["null","bytes"]}, {"name":"string","type":"string"},
 {"name":"text","type":["string","null"]},
 {"name":"uuid","type":["null",{"type":"string","logicalType":"uuid"}]},
 {"name":"uuid16","type":["null",{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}]},
 {"name":"fixed","type":["null",{"type":"fixed","name":"F","size":3}]},
 {"name":"fixed_again","type":"F"},
 {"name":"enum","type":{"type":"enum","name":"E","symbols":["A","B","C"]}},
 {"name":"enum_again","type":["E","null"]},
 {"name":"date","type":["null",{"type":"int","logicalType":"date"}]},
 {"name":"time_millis","type":{"type":"int","logicalType":"time-millis"}},
 {"name":"time_micros","type":["null",{"type":"long","logicalType":"time-micros"}]},
 {"name":"millis","type":{"type":"long","logicalType":"timestamp-millis"}},
 {"name":"micros","type":[{"type":"long","logicalType":"timestamp-micros"},"null"]},
 {"name":"nanos","type":{"type":"long","logicalType":"timestamp-nanos"}},
 {"name":"local","type":["null",{"type":"long","logicalType":"local-timestamp-millis"}]},
 {"name":"decimal","type":["null",{"type":"bytes",
   "logicalType":"decimal","precision":10,"scale":2}]},
 {"name":"wide","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":5}},
 {"name":"decimal9","type":{"type":"fixed","name":"D","size":9,
   "logicalType":"decimal","precision":20,"scale":4}}]}"#;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn apache_avro_reads_the_values_that_were_encoded(seed: u64, count in 0usize..30, id: u32) {
        let (oracle, mut random) = (Oracle::new(SCHEMA), Random(seed));
        let records: Vec<Vec<u8>> = (0..count).map(|_| oracle.record(1, &mut random)).collect();
        let values: Vec<Option<&[u8]>> = records.iter().map(|v| Some(v.as_slice())).collect();
        let (schema, runtime) = (Schema::parse(SCHEMA).unwrap(), RUNTIME.handle().clone());
        let mut decoder = Decoder::new(schema.clone(), REGISTRY.clone(), runtime).unwrap();
        let batch = decoder.decode(&values).unwrap().batch;
        let mut encoder = Encoder::new(&schema, id).unwrap();
        for _ in 0..2 {
            let encoded = encoder.encode(&batch).unwrap();
            prop_assert_eq!(encoded.len(), count);
            for row in 0..count {
                let value = encoded.get(row);
                prop_assert_eq!((value[0], &value[1..5]), (0, &id.to_be_bytes()[..]));
                let read = oracle.read(value).unwrap();
                for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                    let (name, ours) = (field.name(), arrow_cell(column, row));
                    prop_assert_eq!(ours, avro_cell(&read[name]), "{}", name);
                }
            }
        }
    }
}

fn schema(kind: &str) -> Schema {
    Schema::parse(&format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"x","type":{kind}}}]}}"#
    ))
    .unwrap()
}

/// The error of encoding `column` as the one field of type `kind`.
fn refusal(kind: &str, column: ArrayRef) -> String {
    let field = ArrowField::new("x", column.data_type().clone(), true);
    let batch =
        RecordBatch::try_new(Arc::new(ArrowSchema::new(vec![field])), vec![column]).unwrap();
    Encoder::new(&schema(kind), 1).unwrap().encode(&batch).unwrap_err().to_string()
}

#[test]
fn a_null_where_none_is_allowed_is_refused_and_never_written_as_an_empty_value() {
    let error = refusal(r#""string""#, Arc::new(StringArray::from(vec![Some("a"), None])));
    assert!(error.contains("column x has nulls"), "{error}");
}

#[test]
fn columns_of_other_types_are_refused_and_never_reinterpreted() {
    let micros = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    let nanos = TimestampNanosecondArray::from(vec![1]).with_timezone("+00:00");
    assert!(refusal(micros, Arc::new(nanos)).contains("the schema needs Timestamp(µs"), "nanos");
    assert!(
        refusal(r#""int""#, Arc::new(Int64Array::from(vec![1])))
            .contains("column x is Int64; the schema needs Int32")
    );
}

#[test]
fn values_that_the_avro_type_cannot_hold_are_refused() {
    let text = |t: &str| Arc::new(StringArray::from(vec![t])) as ArrayRef;
    for (kind, column) in [
        (r#"{"type":"enum","name":"E","symbols":["A"]}"#, text("B")),
        (r#"{"type":"string","logicalType":"uuid"}"#, text("not a uuid")),
        (
            r#"{"type":"fixed","name":"F","size":3}"#,
            arrow::compute::cast(&text("ab"), &DataType::Binary).unwrap(),
        ),
    ] {
        assert!(refusal(kind, column).contains("values that its Avro type cannot hold"), "{kind}");
    }
}

#[test]
fn a_refused_batch_leaves_no_rows_behind() {
    let mut encoder = Encoder::new(&schema(r#""int""#), 1).unwrap();
    let two = RecordBatch::try_new(
        schema(r#""int""#).arrow(),
        vec![Arc::new(Int32Array::from(vec![1, 2]))],
    )
    .unwrap();
    let none = RecordBatch::new_empty(Arc::new(ArrowSchema::empty()));
    assert!(encoder.encode(&none).is_err());
    let encoded = encoder.encode(&two).unwrap();
    assert_eq!(
        (encoded.len(), encoded.get(0), encoded.get(1)),
        (2, &[0, 0, 0, 0, 1, 2][..], &[0, 0, 0, 0, 1, 4][..])
    );
    assert!(encoder.encode(&two.slice(0, 0)).unwrap().is_empty());
}
