//! Versions of one record, as producers deploy them one after the other and side by side.

use super::*;

const READER: &str = r#"{"type":"record","name":"Order","namespace":"shop.reading","fields":[
    {"name":"id","type":"long"},
    {"name":"total","type":"double"},
    {"name":"note","type":["null","string"],"default":null},
    {"name":"state","type":
        {"type":"enum","name":"State","symbols":["NEW","PAID","OTHER"],"default":"OTHER"}},
    {"name":"client","aliases":["customer"],"type":{"type":"record","name":"Client","fields":[
        {"name":"name","type":"string"},
        {"name":"zip","aliases":["postcode"],"type":["null","int"],"default":null}]}}]}"#;

/// A version of the writer: its schema, an order of it, and the row that it is.
struct Version {
    schema: String,
    value: Value,
    row: Vec<Cell>,
}

fn version(name: &str, fields: &str, value: Vec<(&str, Value)>, row: Vec<Cell>) -> Version {
    let value = value.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    let schema = format!(r#"{{"type":"record",{name},"fields":[{fields}]}}"#);
    Version { schema, value: Value::Record(value), row }
}

fn state(symbols: &str) -> String {
    format!(r#"{{"name":"state","type":{{"type":"enum","name":"State","symbols":[{symbols}]}}}}"#)
}

fn client(name: &str, more: &str) -> String {
    format!(
        r#"{{"name":"{name}","type":{{"type":"record","name":"Client","fields":[
            {{"name":"name","type":"string"}}{more}]}}}}"#
    )
}

fn named(name: &str, more: Vec<(&str, Value)>) -> Value {
    let members = vec![("name", Value::String(name.into()))].into_iter().chain(more);
    Value::Record(members.map(|(name, value)| (name.to_string(), value)).collect())
}

fn row(id: i128, total: f64, note: Option<&str>, state: &str, client: [Cell; 2]) -> Vec<Cell> {
    let note = note.map_or(Cell::Null, |note| Cell::Text(note.into()));
    let total = Cell::Float(total.to_bits());
    vec![Cell::Number(id), total, note, Cell::Text(state.into()), Cell::List(client.to_vec())]
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

fn versions() -> Vec<Version> {
    let shop = r#""name":"Order","namespace":"shop""#;
    let id = r#"{"name":"id","type":"int"},"#;
    let total = r#"{"name":"total","type":"float"},"#;
    let customer = || ("customer", named("Ada", vec![]));
    let ada = || [text("Ada"), Cell::Null];
    vec![
        // The first one: narrower numbers, one symbol, the old name of a field, no note.
        version(
            shop,
            &[id, total, &state(r#""NEW""#), ",", &client("customer", "")].concat(),
            vec![
                ("id", Value::Int(1)),
                ("total", Value::Float(1.5)),
                ("state", Value::Enum(0, "NEW".into())),
                customer(),
            ],
            row(1, 1.5, None, "NEW", ada()),
        ),
        // Another order of the fields, another name and namespace, and a field that nobody reads.
        version(
            r#""name":"Purchase","namespace":"com.shop""#,
            &[
                &client("customer", ""),
                r#",{"name":"tags","type":{"type":"array","items":"string"}},"#,
                &state(r#""PAID","NEW""#),
                ",",
                total,
                r#"{"name":"id","type":"int"}"#,
            ]
            .concat(),
            vec![
                customer(),
                ("tags", Value::Array(vec![Value::String("x".into())])),
                ("state", Value::Enum(0, "PAID".into())),
                ("total", Value::Float(-0.25)),
                ("id", Value::Int(2)),
            ],
            row(2, -0.25, None, "PAID", ada()),
        ),
        // A new optional field, wider numbers, and a new symbol, which the reader's default stands
        // for.
        version(
            shop,
            &[
                r#"{"name":"id","type":"long"},{"name":"total","type":"double"},
                    {"name":"note","type":["null","string"],"default":null},"#,
                &state(r#""NEW","PAID","LOST""#),
                ",",
                &client("customer", r#",{"name":"postcode","type":"int"}"#),
            ]
            .concat(),
            vec![
                ("id", Value::Long(1 << 40)),
                ("total", Value::Double(0.1)),
                ("note", Value::Union(1, Box::new(Value::String("quick".into())))),
                ("state", Value::Enum(2, "LOST".into())),
                ("customer", named("Bo", vec![("postcode", Value::Int(34_117))])),
            ],
            row(1 << 40, 0.1, Some("quick"), "OTHER", [text("Bo"), Cell::Number(34_117)]),
        ),
        // The field with its new name; a whole number of another type; the note is mandatory.
        version(
            shop,
            &[
                id,
                r#"{"name":"total","type":"int"},{"name":"note","type":"string"},"#,
                &state(r#""NEW""#),
                ",",
                &client("client", r#",{"name":"zip","type":["int","null"]}"#),
            ]
            .concat(),
            vec![
                ("id", Value::Int(4)),
                ("total", Value::Int(7)),
                ("note", Value::String("".into())),
                ("state", Value::Enum(0, "NEW".into())),
                ("client", named("Cy", vec![("zip", Value::Union(0, Box::new(Value::Int(0))))])),
            ],
            row(4, 7.0, Some(""), "NEW", [text("Cy"), Cell::Number(0)]),
        ),
    ]
}

#[test]
fn versions_that_are_interleaved_on_one_partition_are_read_in_their_order() {
    let versions = versions();
    let writers: Vec<(u32, &str)> = (1..).zip(versions.iter().map(|v| v.schema.as_str())).collect();
    let framed: Vec<Vec<u8>> = (1..)
        .zip(&versions)
        .map(|(id, v)| Oracle::new(&v.schema).frame(id, v.value.clone()))
        .collect();
    // Each before and after each other.
    let order: Vec<usize> =
        (0..versions.len()).flat_map(|a| (0..versions.len()).flat_map(move |b| [a, b])).collect();
    let values: Vec<Option<&[u8]>> = order.iter().map(|i| Some(framed[*i].as_slice())).collect();
    let decoded = decoder(READER, &writers).decode(&values).unwrap();
    assert_eq!(decoded.rows.len(), values.len(), "{:?}", decoded.faults);
    for (row, version) in order.iter().enumerate() {
        let cells: Vec<Cell> =
            row_of(&decoded.batch, row).into_iter().map(|(_, cell)| cell).collect();
        assert_eq!(cells, versions[*version].row, "row {row}, version {version}");
    }
}

#[test]
fn a_new_version_that_the_reader_cannot_take_costs_its_own_records_only() {
    let versions = versions();
    let without_state =
        versions[0].schema.replace(&state(r#""NEW""#), r#"{"name":"s","type":"int"}"#);
    let first = Oracle::new(&versions[0].schema).frame(1, versions[0].value.clone());
    let incompatible = [0, 0, 0, 0, 9, 2];
    let values = [Some(&first[..]), Some(&incompatible), Some(&first)];
    let mut decoder = decoder(READER, &[(1, &versions[0].schema), (9, &without_state)]);
    let decoded = decoder.decode(&values).unwrap();
    assert_eq!(decoded.rows, [0, 2]);
    let fault = &decoded.faults[0].1;
    assert_eq!(fault.reason, "incompatible_schema");
    assert!(fault.detail.contains("`state` is missing and has no default"), "{}", fault.detail);
}

/// Types without a value, with one alone, and usual ones.
const TYPES: [&str; 14] = [
    r#""null""#,
    r#"["null"]"#,
    "[]",
    r#"["int"]"#,
    r#""int""#,
    r#"["null","int"]"#,
    r#"["null","int","string"]"#,
    r#"["null","string"]"#,
    r#"{"type":"array","items":"null"}"#,
    r#"{"type":"array","items":["null"]}"#,
    r#"{"type":"map","values":[]}"#,
    r#"{"type":"record","name":"N","fields":[{"name":"n","type":["null"]}]}"#,
    r#"{"type":"record","name":"N","fields":[{"name":"n","type":["null","int"]}]}"#,
    r#"["null",{"type":"record","name":"N","fields":[{"name":"n","type":[]}]}]"#,
];

#[test]
fn whatever_the_two_types_are_each_record_has_one_outcome() {
    let mut num_readers = 0;
    for reader in TYPES {
        let reader = record(&format!(r#"{{"name":"a","type":{reader}}}"#));
        if Schema::parse(&reader).is_err() {
            continue;
        }
        num_readers += 1;
        let writers: Vec<String> = TYPES
            .iter()
            .map(|writer| record(&format!(r#"{{"name":"a","type":{writer}}}"#)))
            .collect();
        let registered: Vec<(u32, &str)> =
            (1..).zip(&writers).map(|(id, writer)| (id, writer.as_str())).collect();
        let mut decoder = decoder(&reader, &registered);
        for (id, writer) in registered {
            let data: [&[u8]; 6] = [&[], &[0], &[2, 2], &[2, 0, 0], &[4, 2, b'x'], &[0xff; 12]];
            let framed = |datum: &&[u8]| [&[0][..], &id.to_be_bytes(), datum].concat();
            let values: Vec<Vec<u8>> = data.iter().map(framed).collect();
            let values: Vec<Option<&[u8]>> = values.iter().map(|v| Some(v.as_slice())).collect();
            let decoded = decoder.decode(&values);
            let decoded = decoded.unwrap_or_else(|error| panic!("{writer} → {reader}: {error}"));
            let mut outcomes = decoded.rows.clone();
            outcomes.extend(decoded.faults.iter().map(|(row, _)| *row));
            outcomes.sort_unstable();
            assert_eq!(outcomes, [0, 1, 2, 3, 4, 5], "{writer} → {reader}");
            assert_eq!(decoded.batch.num_rows(), decoded.rows.len(), "{writer} → {reader}");
        }
    }
    assert!(num_readers >= 6, "{num_readers} readers");
}

#[test]
fn a_field_that_is_always_null_is_null_or_its_records_say_so() {
    for (reader, reason) in [(r#"["null","int"]"#, None), (r#""int""#, Some("incompatible_schema"))]
    {
        for writer in [r#""null""#, r#"["null"]"#] {
            let reader = record(&format!(r#"{{"name":"a","type":{reader}}}"#));
            let writer = record(&format!(r#"{{"name":"a","type":{writer}}}"#));
            let datum: &[u8] = if writer.contains("[\"null\"]") { &[0] } else { &[] };
            let value = [&[0, 0, 0, 0, 9][..], datum].concat();
            let decoded = decoder(&reader, &[(9, &writer)]).decode(&[Some(&value)]).unwrap();
            let fault = decoded.faults.first().map(|(_, fault)| fault);
            assert_eq!(fault.map(|fault| &*fault.reason), reason, "{writer} → {reader}: {fault:?}");
            assert!(fault.is_none_or(|f| f.detail.contains("`a` is always null")), "{fault:?}");
        }
    }
}
