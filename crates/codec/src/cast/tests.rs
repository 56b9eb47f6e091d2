use super::*;

mod pairs;

use crate::oracle::{Cell, arrow_cell};
use arrow::array::{
    BinaryArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array, LargeStringArray,
    StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Field as ArrowField, Int32Type, Schema as ArrowSchema};
use std::sync::Arc;
use weir_model::cast::{EXAMPLES, Example};

fn schema(fields: &str) -> Schema {
    Schema::parse(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)).unwrap()
}

fn batch(column: ArrayRef) -> RecordBatch {
    let field = ArrowField::new("x", column.data_type().clone(), true);
    RecordBatch::try_new(Arc::new(ArrowSchema::new(vec![field])), vec![column]).unwrap()
}

/// Each value cast to the Avro type `avro_type`, or the detail of its fault.
fn cast_to(avro_type: &str, column: ArrayRef) -> Vec<Result<Cell, String>> {
    let num_rows = column.len();
    let schema = schema(&format!(r#"{{"name":"x","type":{avro_type}}}"#));
    let CastBatch { batch, rows, faults } = cast(&batch(column), &schema);
    assert_eq!(
        (batch.schema(), batch.num_rows(), rows.len() + faults.len()),
        (schema.arrow(), rows.len(), num_rows)
    );
    let mut out = vec![Err(String::new()); num_rows];
    rows.iter()
        .enumerate()
        .for_each(|(i, row)| out[*row as usize] = Ok(arrow_cell(batch.column(0), i)));
    faults.into_iter().for_each(|(row, fault)| out[row as usize] = Err(fault.detail));
    out
}

fn number(value: i128) -> Result<Cell, String> {
    Ok(Cell::Number(value))
}

fn fault_of(detail: &str) -> Result<Cell, String> {
    Err(detail.into())
}

const MICROS: &str = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
const DECIMAL: &str = r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#;

#[test]
fn texts_become_numbers_and_times_or_faults() {
    let texts = |list: &[&str]| Arc::new(StringArray::from(list.to_vec())) as ArrayRef;
    assert_eq!(
        cast_to(r#""int""#, texts(&["12", "x", "", "3000000000"])),
        [
            number(12),
            fault_of("x: `x` does not fit int"),
            fault_of("x: `` does not fit int"),
            fault_of("x: `3000000000` does not fit int")
        ]
    );
    assert_eq!(
        cast_to(MICROS, texts(&["2001-01-01T00:00:00Z", "2001-01-01 00:00:01", "soon"])),
        [
            number(978_307_200_000_000),
            number(978_307_201_000_000),
            fault_of("x: `soon` does not fit timestamp-micros")
        ]
    );
    assert_eq!(
        cast_to(DECIMAL, texts(&["1.5", "100"])),
        [number(150), fault_of("x: `100` does not fit decimal(4,2)")]
    );
}

#[test]
fn the_texts_of_the_page_fit_or_do_not() {
    for Example { avro_type, name, fits, does_not_fit, .. } in EXAMPLES {
        let texts: Vec<_> = [fits].iter().chain(does_not_fit).copied().collect();
        let outcomes = cast_to(avro_type, Arc::new(StringArray::from(texts)));
        assert!(outcomes[0].is_ok(), "{name}: {fits}");
        assert!(outcomes[1..].iter().all(Result::is_err), "{name}: {outcomes:?}");
    }
}

#[test]
fn numbers_out_of_range_and_fractions_in_integers_are_faults() {
    let doubles = Arc::new(Float64Array::from(vec![3.0, 1.5, f64::NAN, 1e10]));
    let fault = |value: &str| fault_of(&format!("x: `{value}` does not fit int"));
    assert_eq!(
        cast_to(r#""int""#, doubles),
        [number(3), fault("1.5"), fault("NaN"), fault("10000000000.0")]
    );
    let longs = Arc::new(Int64Array::from(vec![1, 1 << 40]));
    assert_eq!(cast_to(r#""int""#, longs), [number(1), fault("1099511627776")]);
}

#[test]
fn decimals_and_times_are_never_rounded() {
    let wide = Decimal128Array::from(vec![12_340_000, 12_345_678, 99_999_999])
        .with_precision_and_scale(35, 6)
        .unwrap();
    assert_eq!(
        cast_to(DECIMAL, Arc::new(wide)),
        [
            number(1_234),
            fault_of("x: `12.345678` does not fit decimal(4,2)"),
            fault_of("x: `99.999999` does not fit decimal(4,2)")
        ]
    );
    let nanos = TimestampNanosecondArray::from(vec![1_000, 1_999]).with_timezone("+00:00");
    let outcomes = cast_to(MICROS, Arc::new(nanos));
    assert_eq!(outcomes[0], number(1));
    assert!(outcomes[1].is_err(), "{outcomes:?}");
    let seconds = TimestampMicrosecondArray::from(vec![i64::MAX, 5]).with_timezone("+00:00");
    let nanos = r#"{"type":"long","logicalType":"timestamp-nanos"}"#;
    let outcomes = cast_to(nanos, Arc::new(seconds));
    assert!(outcomes[0].is_err(), "beyond 64 bits of nanoseconds");
    assert_eq!(outcomes[1], number(5_000));
}

#[test]
fn a_decimal_with_more_digits_than_its_type_is_a_fault() {
    let too_long = Decimal128Array::from(vec![10_000]).with_precision_and_scale(4, 2).unwrap();
    assert!(cast_to(DECIMAL, Arc::new(too_long))[0].is_err());
}

#[test]
fn symbols_uuids_and_fixed_bytes_are_checked() {
    let texts = |list: &[&str]| Arc::new(StringArray::from(list.to_vec())) as ArrayRef;
    let symbols = r#"{"type":"enum","name":"E","symbols":["A","B"]}"#;
    assert_eq!(
        cast_to(symbols, texts(&["B", "C"])),
        [Ok(Cell::Text("B".into())), fault_of("x: `C` does not fit enum(A, B)")]
    );
    let uuid = r#"{"type":"string","logicalType":"uuid"}"#;
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    assert_eq!(
        cast_to(uuid, texts(&[id, "x"])),
        [Ok(Cell::Text(id.into())), fault_of("x: `x` does not fit uuid")]
    );
    let fixed = r#"{"type":"fixed","name":"F","size":2}"#;
    let bytes = Arc::new(BinaryArray::from(vec![&b"ab"[..], &b"a"[..]]));
    assert_eq!(
        cast_to(fixed, bytes),
        [Ok(Cell::Bytes(b"ab".to_vec())), fault_of("x: `61` does not fit fixed(2)")]
    );
}

#[test]
fn other_forms_of_text_become_text() {
    let expected = [Ok(Cell::Text("a".into())), Ok(Cell::Text("b".into()))];
    assert_eq!(cast_to(r#""string""#, Arc::new(LargeStringArray::from(vec!["a", "b"]))), expected);
    let dictionary: DictionaryArray<Int32Type> = vec!["a", "b"].into_iter().collect();
    assert_eq!(cast_to(r#""string""#, Arc::new(dictionary)), expected);
    assert_eq!(
        cast_to(r#""string""#, Arc::new(Int64Array::from(vec![7]))),
        [Ok(Cell::Text("7".into()))]
    );
}

#[test]
fn a_null_is_a_fault_only_where_none_is_allowed() {
    let column = || Arc::new(Int64Array::from(vec![None, Some(1)]));
    assert_eq!(cast_to(r#"["null","long"]"#, column()), [Ok(Cell::Null), number(1)]);
    assert_eq!(
        cast_to(r#""int""#, column()),
        [fault_of("x is null, which its type does not allow"), number(1)]
    );
}

#[test]
fn an_absent_column_takes_the_default_or_null() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let schema = schema(
        r#"{"name":"d","type":"string","default":"-"},{"name":"n","type":["null","int"]},
        {"name":"x","type":"long"}"#,
    );
    let CastBatch { batch, rows, faults } = cast(&batch(column), &schema);
    assert_eq!((rows, faults), (vec![0], vec![]));
    let cells: Vec<Cell> = batch.columns().iter().map(|column| arrow_cell(column, 0)).collect();
    assert_eq!(cells, [Cell::Text("-".into()), Cell::Null, Cell::Number(1)]);
}

#[test]
fn faults_have_the_stage_source() {
    let schema = schema(r#"{"name":"x","type":"int"}"#);
    let faults = cast(&batch(Arc::new(StringArray::from(vec!["x"]))), &schema).faults;
    assert_eq!(
        (faults[0].1.stage, faults[0].1.reason.as_str()),
        (Stage::Source, "value_does_not_fit")
    );
}
