//! Random nested rows, written as JSON in each form, as Avro and as Parquet, come back as they were.

use super::*;
use arrow::datatypes::DataType;
use proptest::prelude::*;
use weir_codec::{Cell, ColumnBuilder, Encoder};

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"id","type":"long"},
    {"name":"flag","type":["null","boolean"]},
    {"name":"text","type":["null","string"]},
    {"name":"share","type":["null","double"]},
    {"name":"amount","type":["null",
        {"type":"bytes","logicalType":"decimal","precision":38,"scale":9}]},
    {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]},
    {"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
    {"name":"of","type":["null",{"type":"record","name":"Of","fields":[
        {"name":"n","type":"int"},
        {"name":"lists","type":{"type":"array","items":
            ["null",{"type":"array","items":["null","long"]}]}},
        {"name":"words","type":["null",{"type":"map","values":["null","string"]}]}]}]},
    {"name":"items","type":{"type":"array","items":["null",{"type":"record","name":"Item","fields":[
        {"name":"price","type":
            {"type":"bytes","logicalType":"decimal","precision":18,"scale":2}},
        {"name":"when","type":["null",{"type":"long","logicalType":"time-micros"}]}]}]}},
    {"name":"counts","type":{"type":"map","values":{"type":"array","items":"double"}}}]}"#;

/// Any value of a type, of which null is one or not.
fn any_of(data_type: &DataType, null: bool) -> BoxedStrategy<Cell<'static>> {
    let plain = match data_type {
        DataType::Boolean => any::<bool>().prop_map(Cell::Boolean).boxed(),
        DataType::Int32 => any::<i32>().prop_map(|n| Cell::Integer(n.into())).boxed(),
        DataType::Int64 => any::<i64>().prop_map(Cell::Integer).boxed(),
        DataType::Float64 => prop_oneof![any::<f64>(), (-9i64..9).prop_map(|n| n as f64)]
            .prop_filter("JSON has no other", |n| n.is_finite())
            .prop_map(Cell::Float)
            .boxed(),
        DataType::Decimal128(precision, _) => {
            let limit = 10i128.pow(u32::from(*precision));
            (1 - limit..limit, 0u32..38)
                .prop_map(|(n, digits)| Cell::Decimal(n / 10i128.pow(digits)))
                .boxed()
        }
        // The years 0001 to 9999.
        DataType::Timestamp(..) => {
            (-62_135_596_800_000_000i64..253_402_300_800_000_000).prop_map(Cell::Integer).boxed()
        }
        DataType::Date32 => (-719_162i64..2_932_897).prop_map(Cell::Integer).boxed(),
        DataType::Time64(_) => (0i64..86_400_000_000).prop_map(Cell::Integer).boxed(),
        DataType::Utf8 => text().prop_map(|text| Cell::Text(text.into())).boxed(),
        DataType::List(item) => {
            prop::collection::vec(any_of(item.data_type(), item.name() != "required"), 0..4)
                .prop_map(Cell::List)
                .boxed()
        }
        DataType::Map(entries, _) => {
            let DataType::Struct(of) = entries.data_type() else { panic!("{entries}") };
            prop::collection::btree_map(text(), any_of(of[1].data_type(), true), 0..4)
                .prop_map(|map| Cell::Map(map.into_iter().map(|(k, v)| (k.into(), v)).collect()))
                .boxed()
        }
        DataType::Struct(members) => members
            .iter()
            .map(|member| any_of(member.data_type(), true))
            .collect::<Vec<_>>()
            .prop_map(Cell::Record)
            .boxed(),
        other => panic!("no values of {other}"),
    };
    match null {
        true => prop_oneof![1 => Just(Cell::Null), 4 => plain].boxed(),
        false => plain,
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ]{0,9}", ".{0,9}", "[\\[\\]{}\",:\\\\\n\r\t\u{0}-\u{1f}😀é]{0,9}"]
}

/// The value without the nulls that the schema does not allow: `avro` is its type.
fn allowed(cell: Cell<'static>, avro: &Value) -> Cell<'static> {
    let null = avro.as_array().is_some_and(|branches| branches[0] == "null");
    let avro = if null { &avro[1] } else { avro };
    match (cell, avro["type"].as_str().or_else(|| avro.as_str()).unwrap_or_default()) {
        (Cell::Null, _) if null => Cell::Null,
        (Cell::Null, "record") => {
            let members = avro["fields"].as_array().unwrap().iter();
            Cell::Record(members.map(|member| allowed(Cell::Null, &member["type"])).collect())
        }
        (Cell::Null, "array") => Cell::List(Vec::new()),
        (Cell::Null, "map") => Cell::Map(Vec::new()),
        (Cell::Null, "double") => Cell::Float(0.5),
        (Cell::Null, "bytes") => Cell::Decimal(7),
        (Cell::Null, _) => Cell::Integer(7),
        (Cell::List(items), _) => {
            Cell::List(items.into_iter().map(|item| allowed(item, &avro["items"])).collect())
        }
        (Cell::Map(entries), _) => {
            let entries = entries.into_iter().map(|(k, v)| (k, allowed(v, &avro["values"])));
            Cell::Map(entries.collect())
        }
        (Cell::Record(cells), _) => {
            let members = avro["fields"].as_array().unwrap().iter();
            let cells = cells.into_iter().zip(members);
            Cell::Record(cells.map(|(cell, member)| allowed(cell, &member["type"])).collect())
        }
        (plain, _) => plain,
    }
}

/// A batch of rows of the schema.
fn batches() -> impl Strategy<Value = RecordBatch> {
    let schema = Schema::parse(SCHEMA).unwrap();
    let arrow = schema.arrow();
    let row = any_of(&DataType::Struct(arrow.fields().clone()), false);
    prop::collection::vec(row, 1..12).prop_map(move |rows| {
        let avro: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut columns: Vec<_> =
            arrow.fields().iter().map(|field| ColumnBuilder::new(field.data_type())).collect();
        for row in rows {
            let Cell::Record(cells) = allowed(row, &avro) else { panic!("rows are records") };
            columns.iter_mut().zip(&cells).for_each(|(column, cell)| column.push(cell));
        }
        let columns = columns.iter_mut().map(|column| column.finish().unwrap()).collect();
        RecordBatch::try_new(arrow.clone(), columns).unwrap()
    })
}

/// A value as JSON, as a careful program writes it: numbers with all their digits.
fn json(array: &ArrayRef, row: usize) -> String {
    if array.is_null(row) {
        return "null".into();
    }
    let shown = || {
        let formatter = ArrayFormatter::try_new(array, &FormatOptions::default()).unwrap();
        formatter.value(row).to_string()
    };
    let list =
        |items: Vec<String>, ends: [&str; 2]| format!("{}{}{}", ends[0], items.join(","), ends[1]);
    match array.data_type() {
        DataType::Boolean | DataType::Int32 | DataType::Int64 | DataType::Decimal128(..) => shown(),
        DataType::Float64 => {
            let n = array.as_primitive::<arrow::datatypes::Float64Type>().value(row);
            serde_json::to_string(&n).unwrap()
        }
        DataType::Utf8 => serde_json::to_string(array.as_string::<i32>().value(row)).unwrap(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            list((0..items.len()).map(|item| json(&items, item)).collect(), ["[ ", "]"])
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            let entry = |at| format!("{}:{}", json(keys, at), json(values, at));
            // Their order means nothing; apache-avro has none.
            let mut entries: Vec<_> = (0..entries.len()).map(entry).collect();
            entries.sort();
            list(entries, ["{", "\n}"])
        }
        DataType::Struct(members) => {
            let of = array.as_struct();
            let member = |(index, field): (usize, &Arc<Field>)| {
                format!("{}: {}", Value::from(field.name().as_str()), json(of.column(index), row))
            };
            list(members.iter().enumerate().map(member).collect(), ["{\n", "}"])
        }
        _ => Value::from(shown()).to_string(),
    }
}

/// The batch as an Avro container file, by apache-avro.
fn avro(batch: &RecordBatch) -> Vec<u8> {
    let schema = Schema::parse(SCHEMA).unwrap();
    let avro = apache_avro::Schema::parse_str(SCHEMA).unwrap();
    let encoded = Encoder::new(&schema, 1).unwrap().encode(batch).unwrap();
    assert_eq!(encoded.faults.len(), 0, "{:?}", encoded.faults);
    let mut writer = apache_avro::Writer::new(&avro, Vec::new()).unwrap();
    for row in 0..encoded.len() {
        let reader =
            apache_avro::reader::datum::GenericDatumReader::builder(&avro).build().unwrap();
        writer.append_value(reader.read_value(&mut &encoded.get(row)[5..]).unwrap()).unwrap();
        if row % 5 == 4 {
            writer.flush().unwrap();
        }
    }
    writer.into_inner().unwrap()
}

/// All of a file, in steps with a new reader for each.
fn read_back(source: &Files, step: usize) -> RecordBatch {
    let (mut position, mut batches) = (None, Vec::new());
    loop {
        let chunk = source.open(0, position.as_ref()).unwrap().read(limit(step)).unwrap();
        assert_eq!(chunk.malformed, []);
        batches.push(chunk.batch);
        if chunk.end {
            return arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
        }
        position = Some(serde_json::from_str(&chunk.position.to_string()).unwrap());
    }
}

/// As text, because what is under a null is not compared.
fn shown(batch: &RecordBatch) -> Vec<String> {
    let rows = arrow::array::StructArray::from(batch.clone());
    let rows: ArrayRef = Arc::new(rows);
    (0..batch.num_rows()).map(|row| json(&rows, row)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn nested_rows_come_back_from_files_of_every_format(batch in batches(), step in 1usize..9) {
        let rows = shown(&batch);
        let lines: String = rows.iter().map(|row| row.replace('\n', " ") + "\n").collect();
        let folder = Folder::with(&[
            ("lines.json", lines.as_bytes()),
            ("array.json", format!("[{}]", rows.join(",\n")).as_bytes()),
            ("objects.json", rows.concat().as_bytes()),
            ("within.json", format!("{{\"n\":{{}},\"a\":{{\"b\":[{}]}}}}", rows.join(",")).as_bytes()),
            ("a.avro", &avro(&batch)),
        ]);
        folder.write_batch("a.parquet", &batch);
        let schema = Schema::parse(SCHEMA).unwrap();
        for name in
            ["lines.json", "array.json", "objects.json", "within.json", "a.avro", "a.parquet"]
        {
            let mut config = folder.config(name, 1);
            if name == "within.json" {
                config.record_path = vec!["a".into(), "b".into()];
            }
            let source = Files::new(&config, &schema).unwrap_or_else(|m| panic!("{m:?}"));
            let found = read_back(&source, step);
            prop_assert_eq!(found.schema(), schema.arrow());
            prop_assert_eq!(&shown(&found), &rows, "{}", name);
        }
    }
}
