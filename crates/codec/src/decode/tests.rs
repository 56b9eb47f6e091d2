mod evolution;
mod limits;

use super::*;
use crate::oracle::{Cell, NESTED, Oracle, Random, arrow_cell};
use apache_avro::types::Value;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;
use tokio::runtime::Runtime;

/// For calls of the registry; most tests make none.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Every plain type, optional in either order or not at all.
const READER: &str = r#"{"type":"record","name":"All","fields":[
 {"name":"boolean","type":"boolean"}, {"name":"int","type":"int"},
 {"name":"long","type":["null","long"]},
 {"name":"float","type":"float"}, {"name":"double","type":["double","null"]},
 {"name":"bytes","type":"bytes"}, {"name":"string","type":["null","string"]},
 {"name":"uuid","type":{"type":"string","logicalType":"uuid"}},
 {"name":"uuid16","type":["null",{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}]},
 {"name":"fixed","type":{"type":"fixed","name":"F","size":3}},
 {"name":"fixed_again","type":["null","F"]},
 {"name":"enum","type":{"type":"enum","name":"E","symbols":["A","B","C"]}},
 {"name":"enum_again","type":["E","null"]},
 {"name":"date","type":{"type":"int","logicalType":"date"}},
 {"name":"time_millis","type":{"type":"int","logicalType":"time-millis"}},
 {"name":"time_micros","type":["null",{"type":"long","logicalType":"time-micros"}]},
 {"name":"millis","type":{"type":"long","logicalType":"timestamp-millis"}},
 {"name":"micros","type":[{"type":"long","logicalType":"timestamp-micros"},"null"]},
 {"name":"nanos","type":{"type":"long","logicalType":"timestamp-nanos"}},
 {"name":"local","type":{"type":"long","logicalType":"local-timestamp-micros"}},
 {"name":"decimal","type":["null",{"type":"bytes",
   "logicalType":"decimal","precision":10,"scale":2}]},
 {"name":"wide","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":5}},
 {"name":"decimal9","type":{"type":"fixed","name":"D","size":9,
   "logicalType":"decimal","precision":20,"scale":4}}]}"#;

/// The reader's fields in reverse order, with types in between that weir itself does not read.
fn foreign() -> String {
    let mut schema: serde_json::Value = serde_json::from_str(READER).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.reverse();
    // A named type must be defined where it first occurs.
    let (fixed, symbols) = (
        json!({"type":"fixed","name":"F","size":3}),
        json!({"type":"enum","name":"E","symbols":["A","B","C"]}),
    );
    for field in fields.iter_mut() {
        match field["name"].as_str().unwrap() {
            "fixed_again" => field["type"] = json!(["null", fixed]),
            "fixed" => field["type"] = json!("F"),
            "enum_again" => field["type"] = json!([symbols, "null"]),
            "enum" => field["type"] = json!("E"),
            _ => {}
        }
    }
    let extra = r#"[{"name":"x0","type":{"type":"array",
       "items":["null","string",{"type":"map","values":"double"}]}},
     {"name":"x1","type":{"type":"record","name":"S","fields":[{"name":"a","type":"E"},
     {"name":"b","type":["null","D"]},{"name":"c","type":"null"}]}},
     {"name":"x2","type":["int","string","S",{"type":"enum","name":"G","symbols":["X","Y"]}]},
     {"name":"x3","type":{"type":"fixed","name":"P","size":12,"logicalType":"duration"}},
     {"name":"x4","type":{"type":"map","values":{"type":"array","items":"S"}}},
     {"name":"x5","type":"boolean"}]"#;
    let extra: Vec<serde_json::Value> = serde_json::from_str(extra).unwrap();
    for (index, field) in extra.into_iter().enumerate() {
        // The last field of the record stays one that the reader has.
        fields.insert(12 + 2 * index, field);
    }
    schema.to_string()
}

/// The writers of a batch, by schema id.
static WRITERS: LazyLock<Vec<Oracle>> = LazyLock::new(|| {
    let without_nulls = READER
        .replace(r#"["null","long"]"#, r#""long""#)
        .replace(r#"["null","string"]"#, r#""string""#);
    vec![Oracle::new(READER), Oracle::new(&foreign()), Oracle::new(&without_nulls)]
});

fn decoder(reader: &str, writers: &[(u32, &str)]) -> Decoder {
    Decoder::new(
        Schema::parse(reader).unwrap(),
        Registry::with_cached(writers),
        RUNTIME.handle().clone(),
    )
    .unwrap()
}

/// Shared, because a new client reads the system's certificates.
static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let writers: Vec<(u32, &str)> =
        (0..).zip(WRITERS.iter()).map(|(id, oracle)| (id, oracle.text.as_str())).collect();
    Registry::with_cached(&writers)
});

fn decoder_of_all() -> Decoder {
    Decoder::new(Schema::parse(READER).unwrap(), REGISTRY.clone(), RUNTIME.handle().clone())
        .unwrap()
}

/// Each value has either one row or one fault; both are ascending.
fn assert_accounted(decoded: &Decoded, values: usize) {
    assert_eq!(decoded.batch.num_rows(), decoded.rows.len());
    let mut all: Vec<u32> =
        decoded.rows.iter().copied().chain(decoded.faults.iter().map(|(row, _)| *row)).collect();
    assert!(decoded.rows.is_sorted() && decoded.faults.is_sorted_by_key(|(row, _)| *row));
    all.sort_unstable();
    assert_eq!(all, (0..values as u32).collect::<Vec<_>>());
}

fn row_of(batch: &RecordBatch, row: usize) -> Vec<(String, Cell)> {
    batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(f, column)| (f.name().clone(), arrow_cell(column, row)))
        .collect()
}

/// The values that apache-avro reads for the reader's fields.
fn expected(oracle: &Oracle, value: &[u8], batch: &RecordBatch) -> Option<Vec<(String, Cell)>> {
    let read = oracle.read(value)?;
    let schema = batch.schema();
    let cells =
        schema.fields().iter().map(|f| (f.name().clone(), oracle.cell(f.name(), &read[f.name()])));
    Some(cells.map(as_written(value)).collect())
}

/// weir keeps the text of a uuid as it was written, with capital letters; apache-avro returns it
/// in lower case.
fn as_written(value: &[u8]) -> impl Fn((String, Cell)) -> (String, Cell) {
    move |(name, cell)| match &cell {
        Cell::Text(small) if name == "uuid" => {
            let written =
                value.windows(36).find(|w| w.eq_ignore_ascii_case(small.as_bytes())).unwrap();
            (name, Cell::Text(String::from_utf8(written.into()).unwrap()))
        }
        _ => (name, cell),
    }
}

fn corrupt(value: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(value.len().max(1));
        match random.below(6) {
            0 => value.truncate(at),
            1 => value.insert(at, random.next() as u8),
            2 if !value.is_empty() => drop(value.remove(at)),
            3 => value.push(random.next() as u8),
            4 if !value.is_empty() => value[at] ^= 1 << random.below(8),
            _ if !value.is_empty() => value[at] = random.next() as u8,
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn good_records_of_all_writers_decode_to_what_apache_avro_reads(
        seed: u64,
        count in 1usize..40,
    ) {
        let mut random = Random(seed);
        let mut values = Vec::new();
        for _ in 0..count {
            let id = random.below(WRITERS.len());
            values.push(WRITERS[id].record(id as u32, &mut random));
        }
        let decoded = decoder_of_all().decode(&as_values(&values)).unwrap();
        prop_assert_eq!(&decoded.faults, &vec![]);
        prop_assert_eq!(decoded.batch.schema(), Schema::parse(READER).unwrap().arrow());
        for (row, value) in values.iter().enumerate() {
            let expected = expected(writer_of(value), value, &decoded.batch);
            prop_assert_eq!(Some(row_of(&decoded.batch, row)), expected);
        }
    }

    #[test]
    fn corrupted_records_are_faults_or_what_apache_avro_reads_and_never_affect_others(
        seed: u64,
        count in 1usize..40,
    ) {
        let mut random = Random(seed);
        let (mut values, mut intact) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let id = random.below(WRITERS.len());
            let value = WRITERS[id].record(id as u32, &mut random);
            let mut corrupted = value.clone();
            if random.below(2) == 0 {
                corrupt(&mut corrupted, &mut random);
            }
            // A frame with an unknown schema would be a call of the registry, which other tests make.
            let is_known = |id: u32| (id as usize) < WRITERS.len();
            if !weir_model::frame::schema_id(&corrupted).is_none_or(is_known)
                || weir_model::frame::guid(&corrupted).is_some()
            {
                corrupted = value.clone();
            }
            intact.push(corrupted == value);
            values.push(corrupted);
        }
        let decoded = decoder_of_all().decode(&as_values(&values)).unwrap();
        assert_accounted(&decoded, count);
        for (row, index) in decoded.rows.iter().enumerate() {
            let value = &values[*index as usize];
            let expected = expected(writer_of(value), value, &decoded.batch);
            prop_assert_eq!(Some(row_of(&decoded.batch, row)), expected);
        }
        for (index, fault) in &decoded.faults {
            prop_assert!(!intact[*index as usize], "an intact record is refused: {:?}", fault);
            prop_assert!(fault.reason.len() < 32 && fault.detail.len() < 300, "{:?}", fault);
        }
    }

    #[test]
    fn nested_records_decode_to_what_apache_avro_reads_and_corrupted_ones_affect_no_others(
        seed: u64,
        count in 1usize..30,
    ) {
        let (oracle, mut random) = (Oracle::new(NESTED), Random(seed));
        let mut decoder = decoder(NESTED, &[(7, NESTED)]);
        let (mut values, mut intact) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let value = oracle.record(7, &mut random);
            let mut corrupted = value.clone();
            if random.below(3) == 0 {
                corrupt(&mut corrupted, &mut random);
                let id = weir_model::frame::schema_id(&corrupted);
                if id.is_some_and(|id| id != 7) || weir_model::frame::guid(&corrupted).is_some() {
                    corrupted = value.clone();
                }
            }
            intact.push(corrupted == value);
            values.push(corrupted);
        }
        let decoded = decoder.decode(&as_values(&values)).unwrap();
        assert_accounted(&decoded, count);
        for (row, index) in decoded.rows.iter().enumerate() {
            let value = &values[*index as usize];
            prop_assert_eq!(Some(row_of(&decoded.batch, row)), expected(&oracle, value, &decoded.batch));
        }
        for (index, fault) in &decoded.faults {
            prop_assert!(!intact[*index as usize], "an intact record is refused: {:?}", fault);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        values in vec(option::of(vec(any::<u8>(), 0..60)), 0..20),
        id in 0u8..3,
    ) {
        let frame = |datum: Vec<u8>| [&[0, 0, 0, 0, id][..], &datum].concat();
        let framed: Vec<Option<Vec<u8>>> = values.into_iter().map(|v| v.map(frame)).collect();
        let values: Vec<Option<&[u8]>> = framed.iter().map(Option::as_deref).collect();
        let decoded = decoder_of_all().decode(&values).unwrap();
        assert_accounted(&decoded, framed.len());
    }
}

/// The values as the decoder takes them.
fn as_values(values: &[Vec<u8>]) -> Vec<Option<&[u8]>> {
    values.iter().map(|value| Some(value.as_slice())).collect()
}

/// The writer of a framed record.
fn writer_of(value: &[u8]) -> &'static Oracle {
    &WRITERS[weir_model::frame::schema_id(value).unwrap() as usize]
}

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

/// Writes `values` as the one field `x` of type `from`, and reads them as type `to`: cells, or the
/// reason of the fault.
fn evolve(from: &str, to: &str, values: Vec<Value>) -> Vec<Result<Cell, String>> {
    let (from, to) = (
        record(&format!(r#"{{"name":"x","type":{from}}}"#)),
        record(&format!(r#"{{"name":"x","type":{to}}}"#)),
    );
    let oracle = Oracle::new(&from);
    let framed: Vec<Vec<u8>> =
        values.into_iter().map(|v| oracle.frame(1, Value::Record(vec![("x".into(), v)]))).collect();
    let decoded = decoder(&to, &[(1, &from)]).decode(&as_values(&framed)).unwrap();
    assert_accounted(&decoded, framed.len());
    let mut out: Vec<Result<Cell, String>> = vec![Err(String::new()); framed.len()];
    decoded
        .rows
        .iter()
        .enumerate()
        .for_each(|(i, row)| out[*row as usize] = Ok(arrow_cell(decoded.batch.column(0), i)));
    decoded.faults.into_iter().for_each(|(row, fault)| out[row as usize] = Err(fault.reason));
    out
}

fn lost() -> Result<Cell, String> {
    Err("value_does_not_fit".into())
}

fn number(value: i128) -> Result<Cell, String> {
    Ok(Cell::Number(value))
}

fn text(value: &str) -> Result<Cell, String> {
    Ok(Cell::Text(value.into()))
}

const MILLIS: &str = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
const MICROS: &str = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
const UUID: &str = r#"{"type":"string","logicalType":"uuid"}"#;

fn decimal(precision: u8, scale: u8) -> String {
    format!(r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":{scale}}}"#)
}

#[test]
fn times_are_converted_between_units_or_refused_and_never_reinterpreted() {
    let millis = vec![Value::TimestampMillis(1_700_000_000_123), Value::TimestampMillis(i64::MAX)];
    assert_eq!(evolve(MILLIS, MICROS, millis), [number(1_700_000_000_123_000), lost()]);
    let micros = vec![
        Value::TimestampMicros(1_700_000_000_123_000),
        Value::TimestampMicros(-1_000),
        Value::TimestampMicros(1),
    ];
    assert_eq!(evolve(MICROS, MILLIS, micros), [number(1_700_000_000_123), number(-1), lost()]);
    assert_eq!(evolve(MICROS, r#""long""#, vec![Value::TimestampMicros(5)]), [number(5)]);
    assert_eq!(evolve(r#""long""#, MICROS, vec![Value::Long(5)]), [number(5)]);
    let (ms, us) = (
        r#"{"type":"int","logicalType":"time-millis"}"#,
        r#"{"type":"long","logicalType":"time-micros"}"#,
    );
    assert_eq!(evolve(ms, us, vec![Value::TimeMillis(7)]), [number(7_000)]);
    assert_eq!(
        evolve(us, ms, vec![Value::TimeMicros(7_000), Value::TimeMicros(7_001)]),
        [number(7), lost()]
    );
    let local = r#"{"type":"long","logicalType":"local-timestamp-micros"}"#;
    assert_eq!(
        evolve(MICROS, local, vec![Value::TimestampMicros(5)]),
        [Err("incompatible_schema".into())]
    );
}

#[test]
fn decimals_are_rescaled_or_refused_and_never_reinterpreted() {
    let value = |unscaled: i64| Value::Decimal(apache_avro::Decimal::from(unscaled.to_be_bytes()));
    assert_eq!(
        evolve(&decimal(10, 2), &decimal(12, 4), vec![value(12_345), value(-1)]),
        [number(1_234_500), number(-100)]
    );
    assert_eq!(
        evolve(&decimal(12, 4), &decimal(10, 2), vec![value(12_300), value(12_345)]),
        [number(123), lost()]
    );
    assert_eq!(
        evolve(&decimal(10, 2), &decimal(4, 2), vec![value(9_999), value(10_000), value(-10_000)]),
        [number(9_999), lost(), lost()]
    );
    assert_eq!(evolve(&decimal(10, 2), &decimal(12, 2), vec![value(1)]), [number(1)]);
}

#[test]
fn numbers_are_promoted_only_when_exact() {
    assert_eq!(
        evolve(r#""int""#, r#""long""#, vec![Value::Int(i32::MIN)]),
        [number(i32::MIN.into())]
    );
    let double = |v: f64| Ok(Cell::Float(v.to_bits()));
    let longs = vec![
        Value::Long(1 << 53),
        Value::Long((1 << 53) + 1),
        Value::Long(i64::MAX),
        Value::Long(i64::MIN),
    ];
    assert_eq!(
        evolve(r#""long""#, r#""double""#, longs),
        [double((1u64 << 53) as f64), lost(), lost(), double(i64::MIN as f64)]
    );
    let ints = vec![Value::Int(1 << 24), Value::Int((1 << 24) + 1), Value::Int(i32::MAX)];
    let float = |v: f32| Ok(Cell::Float(v.to_bits().into()));
    assert_eq!(evolve(r#""int""#, r#""float""#, ints), [float(16_777_216.0), lost(), lost()]);
    assert_eq!(evolve(r#""float""#, r#""double""#, vec![Value::Float(1.5)]), [double(1.5)]);
    for (from, to) in [
        ("long", "int"),
        ("double", "float"),
        ("string", "int"),
        ("int", "string"),
        ("boolean", "int"),
        ("bytes", "int"),
    ] {
        let writer = record(&format!(r#"{{"name":"x","type":"{from}"}}"#));
        let value = [&[0, 0, 0, 0, 1][..], &[0; 8]].concat();
        let mut decoder =
            decoder(&record(&format!(r#"{{"name":"x","type":"{to}"}}"#)), &[(1, &writer)]);
        let decoded = decoder.decode(&[Some(&value)]).unwrap();
        assert_eq!(decoded.faults[0].1.reason, "incompatible_schema", "{from} to {to}");
        assert_eq!(
            decoded.faults[0].1.detail,
            format!("schema 1 of the writer: `x` is {from}; it cannot be read as {to}")
        );
    }
}

#[test]
fn texts_enums_and_uuids_are_converted_by_value() {
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    let uuid = || Value::Uuid(apache_avro::Uuid::parse_str(id).unwrap());
    let fixed = r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#;
    assert_eq!(evolve(UUID, r#""string""#, vec![uuid()]), [text(id)]);
    assert_eq!(evolve(fixed, UUID, vec![uuid()]), [text(id)]);
    assert_eq!(
        evolve(r#""string""#, UUID, vec![Value::String(id.into()), Value::String("x".into())]),
        [text(id), lost()]
    );
    let symbols = |list: &str| format!(r#"{{"type":"enum","name":"E","symbols":[{list}]}}"#);
    let all =
        vec![Value::Enum(0, "A".into()), Value::Enum(1, "B".into()), Value::Enum(2, "C".into())];
    assert_eq!(
        evolve(&symbols(r#""A","B","C""#), r#""string""#, all.clone()),
        [text("A"), text("B"), text("C")]
    );
    assert_eq!(
        evolve(&symbols(r#""A","B","C""#), &symbols(r#""C","A""#), all.clone()),
        [text("A"), Err("unknown_symbol".into()), text("C")]
    );
    let with_default = r#"{"type":"enum","name":"E","symbols":["C","Z"],"default":"Z"}"#;
    assert_eq!(
        evolve(&symbols(r#""A","B","C""#), with_default, all),
        [text("Z"), text("Z"), text("C")]
    );
    let bytes = vec![Value::Bytes(b"ok".to_vec()), Value::Bytes(vec![0xff])];
    assert_eq!(evolve(r#""bytes""#, r#""string""#, bytes), [text("ok"), lost()]);
    assert_eq!(
        evolve(r#""string""#, r#""bytes""#, vec![Value::String("ok".into())]),
        [Ok(Cell::Bytes(b"ok".to_vec()))]
    );
}

#[test]
fn nulls_pass_where_the_reader_allows_them() {
    let branch = |number: u32, value: Value| Value::Union(number, Box::new(value));
    assert_eq!(evolve(r#""int""#, r#"["null","int"]"#, vec![Value::Int(1)]), [number(1)]);
    assert_eq!(
        evolve(
            r#"["null","int"]"#,
            r#"["int","null"]"#,
            vec![branch(0, Value::Null), branch(1, Value::Int(2))]
        ),
        [Ok(Cell::Null), number(2)]
    );
    assert_eq!(
        evolve(
            r#"["int","null"]"#,
            r#""long""#,
            vec![branch(1, Value::Null), branch(0, Value::Int(2))]
        ),
        [Err("value_missing".into()), number(2)]
    );
    assert_eq!(evolve(r#""null""#, r#"["null","int"]"#, vec![Value::Null]), [Ok(Cell::Null)]);
    assert_eq!(
        evolve(r#""null""#, r#""int""#, vec![Value::Null]),
        [Err("incompatible_schema".into())]
    );
}

#[test]
fn added_fields_take_their_defaults_and_renamed_ones_their_aliases() {
    let writer = record(r#"{"name":"old","type":"int"},{"name":"gone","type":"string"}"#);
    let reader = record(
        r#"{"name":"new","type":"long","aliases":["older","old"]},
        {"name":"n","type":["null","int"],"default":null},
        {"name":"s","type":"string","default":"é"},
        {"name":"t","type":{"type":"long","logicalType":"timestamp-micros"},"default":7},
        {"name":"d","type":{"type":"bytes",
          "logicalType":"decimal","precision":4,"scale":2},"default":"\u0001\u0000"},
        {"name":"b","type":"boolean","default":true},{"name":"f","type":"double","default":1.5},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A"]},"default":"A"}"#,
    );
    let value = Oracle::new(&writer).frame(
        1,
        Value::Record(vec![
            ("old".into(), Value::Int(5)),
            ("gone".into(), Value::String("x".into())),
        ]),
    );
    let decoded = decoder(&reader, &[(1, &writer)]).decode(&[Some(&value), Some(&value)]).unwrap();
    assert_eq!(decoded.rows, [0, 1], "{:?}", decoded.faults);
    let cells: Vec<Cell> = row_of(&decoded.batch, 1).into_iter().map(|(_, cell)| cell).collect();
    let text = |t: &str| Cell::Text(t.into());
    let expected = [
        Cell::Number(5),
        Cell::Null,
        text("é"),
        Cell::Number(7),
        Cell::Number(256),
        Cell::Boolean(true),
        Cell::Float(1.5f64.to_bits()),
        text("A"),
    ];
    assert_eq!(cells, expected);
}

#[test]
fn a_field_without_default_that_the_writer_lacks_makes_its_schema_incompatible() {
    let writer = record(r#"{"name":"a","type":"int"}"#);
    let reader = record(
        r#"{"name":"a","type":"int"},{"name":"b","type":["null","int"]},{"name":"c","type":"int"}"#,
    );
    let value = [0, 0, 0, 0, 1, 2];
    let fault =
        decoder(&reader, &[(1, &writer)]).decode(&[Some(&value)]).unwrap().faults.remove(0).1;
    assert_eq!(fault.reason, "incompatible_schema");
    assert_eq!(
        fault.detail,
        "schema 1 of the writer: `b` is missing and has no default; `c` is missing and has no \
         default"
    );
}

#[test]
fn datums_of_zero_bytes_are_records() {
    let writer = record(r#"{"name":"gone","type":"null"}"#);
    let reader = record(r#"{"name":"a","type":"int","default":3}"#);
    let decoded = decoder(&reader, &[(1, &writer)])
        .decode(&[Some(&[0, 0, 0, 0, 1]), Some(&[0, 0, 0, 0, 1, 0])])
        .unwrap();
    assert_eq!((decoded.rows, decoded.faults[0].1.reason.as_str()), (vec![0], "trailing_bytes"));
    assert_eq!(arrow_cell(decoded.batch.column(0), 0), Cell::Number(3));
}

#[test]
fn writer_schemas_that_are_not_avro_records_are_faults_of_their_records_alone() {
    let good = record(r#"{"name":"a","type":"int"}"#);
    let other = record(r#"{"name":"a","type":{"type":"array","items":"int"}}"#);
    let mut decoder =
        decoder(&good, &[(1, &good), (2, r#""string""#), (3, "not json"), (4, &other)]);
    let values: Vec<[u8; 6]> = [1, 2, 1, 3, 4, 1].iter().map(|id| [0, 0, 0, 0, *id, 8]).collect();
    let decoded =
        decoder.decode(&values.iter().map(|value| Some(&value[..])).collect::<Vec<_>>()).unwrap();
    assert_eq!(decoded.rows, [0, 2, 5]);
    let reasons: Vec<(u32, &str)> =
        decoded.faults.iter().map(|(row, fault)| (*row, fault.reason.as_str())).collect();
    assert_eq!(reasons, [(1, "not_a_record"), (3, "bad_schema"), (4, "incompatible_schema")]);
}

#[test]
fn a_recursive_type_in_a_field_that_is_not_read_is_skipped() {
    let writer = record(
        r#"{"name":"next","type":["null","R"]},{"name":"a","type":"int"},
        {"name":"tree","type":{"type":"map","values":{"type":"record","name":"Tree","fields":[
          {"name":"children","type":{"type":"array","items":"Tree"}}]}}}"#,
    );
    let reader = record(r#"{"name":"a","type":"int"}"#);
    let tree =
        |children: Vec<Value>| Value::Record(vec![("children".into(), Value::Array(children))]);
    let branch = |index, value| Value::Union(index, Box::new(value));
    let value = |next: Value, a: i32| {
        let trees = tree(vec![tree(vec![tree(vec![])]), tree(vec![])]);
        Value::Record(vec![
            ("next".into(), next),
            ("a".into(), Value::Int(a)),
            ("tree".into(), Value::Map([("root".to_string(), trees)].into())),
        ])
    };
    let inner = value(branch(1, value(branch(0, Value::Null), 1)), 2);
    let oracle = Oracle::new(&writer);
    let deep: Vec<u8> = [vec![0, 0, 0, 0, 1], vec![2; 100_000]].concat();
    let values = [oracle.frame(1, value(branch(1, inner), 3)), deep];
    let decoded = decoder(&reader, &[(1, &writer)]).decode(&as_values(&values)).unwrap();
    assert_eq!(decoded.rows, [0]);
    assert_eq!(arrow_cell(decoded.batch.column(0), 0), Cell::Number(3));
    assert_eq!(decoded.faults[0].1.reason, "too_deep");
    assert!(decoded.faults[0].1.detail.len() < 500, "{}", decoded.faults[0].1.detail);
}

/// What the fields of a nested type become when the schema changes.
#[test]
fn nested_fields_are_matched_by_name_and_alias_and_take_their_defaults() {
    let writer = r#"{"type":"array","items":{"type":"record","name":"Old","fields":[
        {"name":"b","type":"int"},{"name":"gone","type":"string"},{"name":"a","type":"int"}]}}"#;
    let reader = r#"{"type":"array","items":{"type":"record","name":"New","fields":[
        {"name":"a","type":"long"},{"name":"c","type":["null","long"],"aliases":["b"]},
        {"name":"list","type":{"type":"array","items":"string"},"default":["x","y"]},
        {"name":"inner","type":{"type":"record","name":"In","fields":[
          {"name":"p","type":"int","default":7},{"name":"q","type":["null","int"],"default":null}]},
         "default":{"p":8}}]}}"#;
    let item = Value::Record(vec![
        ("b".into(), Value::Int(1)),
        ("gone".into(), Value::String("x".into())),
        ("a".into(), Value::Int(2)),
    ]);
    let texts = ["x", "y"].map(|text| Cell::Text(text.into())).to_vec();
    let inner = Cell::List(vec![Cell::Number(8), Cell::Null]);
    let expected = Cell::List(vec![Cell::Number(2), Cell::Number(1), Cell::List(texts), inner]);
    assert_eq!(
        evolve(writer, reader, vec![Value::Array(vec![item])]),
        [Ok(Cell::List(vec![expected]))]
    );
}

#[test]
fn branches_of_a_union_are_read_one_by_one() {
    let writer = r#"["null","int","string",{"type":"array","items":"int"}]"#;
    let branch = |index, value| Value::Union(index, Box::new(value));
    let values = || {
        vec![
            branch(0, Value::Null),
            branch(1, Value::Int(5)),
            branch(2, Value::String("five".into())),
            branch(3, Value::Array(vec![])),
        ]
    };
    let missing = || Err("value_missing".into());
    assert_eq!(evolve(writer, r#""long""#, values()), [missing(), number(5), lost(), lost()]);
    assert_eq!(
        evolve(writer, r#"["null","string"]"#, values()),
        [Ok(Cell::Null), lost(), text("five"), lost()]
    );
    let member = |index: usize, cell: Cell| {
        let mut members = vec![Cell::Null; 2];
        members[index] = cell;
        Ok(Cell::List(members))
    };
    assert_eq!(
        evolve(writer, r#"["string","long"]"#, values()),
        [missing(), member(1, Cell::Number(5)), member(0, Cell::Text("five".into())), lost()]
    );
    assert_eq!(
        evolve(r#""int""#, r#"["null","string","long"]"#, vec![Value::Int(5)]),
        [member(1, Cell::Number(5))]
    );
}

#[test]
fn an_unavailable_registry_fails_the_call_and_consumes_nothing() {
    let schema = record(r#"{"name":"a","type":"int"}"#);
    let mut decoder = decoder(&schema, &[(1, &schema)]);
    let (known, unknown) = ([0, 0, 0, 0, 1, 8], [0, 0, 0, 0, 9, 8]);
    let error = decoder.decode(&[Some(&known), Some(&unknown), None]).unwrap_err();
    assert_eq!(error.class(), weir_model::fault::Class::Environment, "{error}");
    assert_eq!(
        decoder.decode(&[Some(&known), None]).unwrap().rows,
        [0],
        "cached schemas are still decoded"
    );
}

#[test]
fn an_id_that_the_registry_does_not_have_is_a_fault_of_its_records() {
    let schema = record(r#"{"name":"a","type":"int"}"#);
    let registry = Registry::with_cached(&[(1, &schema)]).with_missing(&[9]);
    let mut decoder =
        Decoder::new(Schema::parse(&schema).unwrap(), registry, RUNTIME.handle().clone()).unwrap();
    let decoded = decoder.decode(&[Some(&[0, 0, 0, 0, 9, 8]), Some(&[0, 0, 0, 0, 1, 8])]).unwrap();
    assert_eq!((decoded.rows, decoded.faults.len()), (vec![1], 1));
    assert_eq!((decoded.faults[0].0, decoded.faults[0].1.reason.as_str()), (0, "unknown_schema"));
}

#[test]
fn hundreds_of_interleaved_schemas_decode_and_the_cache_stays_bounded() {
    let reader = record(r#"{"name":"a","type":"long"}"#);
    let writers: Vec<(u32, String)> = (0..600)
        .map(|id| {
            (
                id,
                record(&format!(r#"{{"name":"a","type":"int"}},{{"name":"f{id}","type":"null"}}"#)),
            )
        })
        .collect();
    let writers: Vec<(u32, &str)> = writers.iter().map(|(id, text)| (*id, text.as_str())).collect();
    let mut decoder = decoder(&reader, &writers);
    let values: Vec<Vec<u8>> = (0..1800u32)
        .map(|n| [&[0][..], &(n * 7 % 600).to_be_bytes(), &[(n % 64) as u8 * 2]].concat())
        .collect();
    let decoded =
        decoder.decode(&values.iter().map(|value| Some(&value[..])).collect::<Vec<_>>()).unwrap();
    assert_eq!(decoded.rows.len(), 1800);
    (0..1800).for_each(|row| {
        assert_eq!(arrow_cell(decoded.batch.column(0), row), Cell::Number((row % 64) as i128))
    });
    assert!(decoder.writers.len() <= MAX_WRITERS);
}

#[test]
fn no_values_are_an_empty_batch_of_the_reader() {
    let mut decoder = decoder_of_all();
    let decoded = decoder.decode(&[]).unwrap();
    assert_eq!(
        (decoded.batch.num_rows(), decoded.batch.schema()),
        (0, Schema::parse(READER).unwrap().arrow())
    );
}
