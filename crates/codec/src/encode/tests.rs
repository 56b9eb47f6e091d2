use super::*;
use crate::oracle::{NESTED, Oracle, Random, arrow_cell};
use crate::{Decoder, Registry};
use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field as ArrowField, Schema as ArrowSchema};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static REGISTRY: LazyLock<Registry> =
    LazyLock::new(|| Registry::with_cached(&[(1, FLAT), (2, NESTED)]));

const FLAT: &str = r#"{"type":"record","name":"All","namespace":"a.b","fields":[
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
    fn apache_avro_reads_the_values_that_were_encoded(
        seed: u64,
        count in 0usize..30,
        id: u32,
        nested: bool,
    ) {
        let (registered, text) = if nested { (2, NESTED) } else { (1, FLAT) };
        let (oracle, mut random) = (Oracle::new(text), Random(seed));
        let records: Vec<Vec<u8>> =
            (0..count).map(|_| oracle.record(registered, &mut random)).collect();
        let values: Vec<Option<&[u8]>> = records.iter().map(|v| Some(v.as_slice())).collect();
        let (schema, runtime) = (Schema::parse(text).unwrap(), RUNTIME.handle().clone());
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
                    prop_assert_eq!(ours, oracle.cell(name, &read[name]), "{}", name);
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
fn columns_of_other_types_are_refused_and_never_reinterpreted() {
    let micros = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    let nanos = TimestampNanosecondArray::from(vec![1]).with_timezone("+00:00");
    assert!(refusal(micros, Arc::new(nanos)).contains("the schema needs Timestamp(µs"), "nanos");
    assert!(
        refusal(r#""int""#, Arc::new(Int64Array::from(vec![1])))
            .contains("column x is Int64; the schema needs Int32")
    );
}

/// What becomes of each row of `column` in one field of type `kind`: its datum or its fault.
fn encoded(kind: &str, column: ArrayRef) -> Vec<Result<Vec<u8>, String>> {
    let num_rows = column.len();
    let field = ArrowField::new("x", column.data_type().clone(), true);
    let batch =
        RecordBatch::try_new(Arc::new(ArrowSchema::new(vec![field])), vec![column]).unwrap();
    outcomes(&Encoder::new(&schema(kind), 1).unwrap().encode(&batch).unwrap(), num_rows)
}

fn outcomes(encoded: &Encoded, num_rows: usize) -> Vec<Result<Vec<u8>, String>> {
    assert_eq!(encoded.len(), encoded.rows.len());
    let mut outcomes = vec![Err("no outcome".into()); num_rows];
    for (index, row) in encoded.rows.iter().enumerate() {
        outcomes[*row as usize] = Ok(encoded.get(index)[5..].to_vec());
    }
    for (row, fault) in &encoded.faults {
        outcomes[*row as usize] = Err(format!("{}: {}", fault.reason, fault.detail));
    }
    outcomes
}

#[test]
fn a_value_that_its_avro_type_does_not_have_is_the_fault_of_its_row_alone() {
    let texts = |list: &[Option<&str>]| Arc::new(StringArray::from(list.to_vec())) as ArrayRef;
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let decimals = |list: &[i128], precision: u8, scale: i8| {
        let array = arrow::array::Decimal128Array::from(list.to_vec());
        Arc::new(array.with_precision_and_scale(precision, scale).unwrap()) as ArrayRef
    };
    let binary =
        arrow::compute::cast(&texts(&[Some("abc"), Some("ab"), Some("xyz")]), &DataType::Binary);
    for (kind, column, detail) in [
        (
            r#"{"type":"enum","name":"E","symbols":["A"]}"#,
            texts(&[Some("A"), Some("B"), Some("A")]),
            "value_does_not_fit: x: `B` does not fit enum(A)",
        ),
        (
            r#"{"type":"string","logicalType":"uuid"}"#,
            texts(&[Some(id), Some("not a uuid"), Some(id)]),
            "value_does_not_fit: x: `not a uuid` does not fit uuid",
        ),
        (
            r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#,
            texts(&[Some(id), Some("not a uuid"), Some(id)]),
            "value_does_not_fit: x: `not a uuid` does not fit uuid",
        ),
        (
            r#"{"type":"fixed","name":"F","size":3}"#,
            binary.unwrap(),
            "value_does_not_fit: x: `6162` does not fit fixed(3)",
        ),
        (
            r#"{"type":"bytes","logicalType":"decimal","precision":38,"scale":0}"#,
            decimals(&[1, 10i128.pow(38), -1], 38, 0),
            "does not fit decimal(38,0)",
        ),
        (
            r#"{"type":"fixed","name":"D","size":9,"logicalType":"decimal","precision":20,"scale":4}"#,
            decimals(&[1, -10i128.pow(20), -1], 20, 4),
            "does not fit decimal(20,4)",
        ),
        (
            r#""string""#,
            texts(&[Some("a"), None, Some("b")]),
            "value_missing: x is null, which its type does not allow",
        ),
    ] {
        let outcomes = encoded(kind, column);
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{kind}: {outcomes:?}");
        let fault = outcomes[1].as_ref().unwrap_err();
        assert!(fault.ends_with(detail), "{kind}: {fault}");
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
