//! Nested values of Parquet, and every way in which a file writes a value of a type.

use super::*;
use ::parquet::basic::Compression;
use ::parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int32Type as P32,
    Int64Type as P64, Int96, Int96Type,
};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use arrow::datatypes::DataType;

/// The values of one physical column, with their definition and repetition levels.
enum Column {
    Bool(Vec<bool>),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Bytes(Vec<Vec<u8>>),
    Fixed(Vec<Vec<u8>>),
    Int96(Vec<(u32, u64)>),
}

/// Levels: definition and repetition; empty where the column has none.
type Levels = (&'static [i16], &'static [i16]);

/// Writes a file of this message type; a row group per element of `groups`.
fn write(folder: &Folder, name: &str, message: &str, groups: &[Vec<(Column, Levels)>]) {
    let schema = Arc::new(parse_message_type(message).unwrap());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = File::create(folder.0.path().join(name)).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        for (column, (definition, repetition)) in columns {
            let mut to = group.next_column().unwrap().unwrap();
            let definition = (!definition.is_empty()).then_some(*definition);
            let repetition = (!repetition.is_empty()).then_some(*repetition);
            let bytes = |list: &[Vec<u8>]| -> Vec<ByteArray> {
                list.iter().map(|bytes| ByteArray::from(bytes.clone())).collect()
            };
            match column {
                Column::Bool(v) => to.typed::<BoolType>().write_batch(v, definition, repetition),
                Column::Int(v) => to.typed::<P32>().write_batch(v, definition, repetition),
                Column::Long(v) => to.typed::<P64>().write_batch(v, definition, repetition),
                Column::Bytes(v) => {
                    to.typed::<ByteArrayType>().write_batch(&bytes(v), definition, repetition)
                }
                Column::Fixed(v) => {
                    let v: Vec<FixedLenByteArray> = bytes(v).into_iter().map(Into::into).collect();
                    to.typed::<FixedLenByteArrayType>().write_batch(&v, definition, repetition)
                }
                Column::Int96(v) => {
                    let time = |(day, nanos): &(u32, u64)| {
                        let mut time = Int96::new();
                        time.set_data(*nanos as u32, (nanos >> 32) as u32, *day);
                        time
                    };
                    let v: Vec<Int96> = v.iter().map(time).collect();
                    to.typed::<Int96Type>().write_batch(&v, definition, repetition)
                }
            }
            .unwrap();
            to.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn record(fields: &str) -> Schema {
    Schema::parse(&format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)).unwrap()
}

fn source(folder: &Folder, schema: &Schema) -> Result<Files, String> {
    Files::new(&folder.config("*.parquet", 1), schema).map_err(|mistakes| mistakes[0].what.clone())
}

/// Rows and faults, the same with a new reader for each row.
fn rows(folder: &Folder, fields: &str) -> (Vec<String>, Vec<String>) {
    let source = source(folder, &record(fields)).unwrap_or_else(|what| panic!("{what}"));
    let whole = read(&source, 0, None, 100);
    let (mut position, mut rows) = (None, Vec::new());
    loop {
        let chunk = source.open(0, position.as_ref()).unwrap().read(limit(1)).unwrap();
        rows.extend(lines(&chunk));
        if chunk.end {
            break;
        }
        position = Some(chunk.position);
    }
    assert_eq!(rows, whole.0, "in steps");
    whole
}

/// A file of one required column `x`.
fn one(folder: &Folder, physical: &str, column: Column) {
    let message = format!("message m {{ required {physical}; }}");
    write(folder, "a.parquet", &message, &[vec![(column, (&[], &[]))]]);
}

fn field(kind: &str) -> String {
    format!(r#"{{"name":"x","type":{kind}}}"#)
}

const ITEMS: &str = r#"{"name":"items","default":null,"type":["null",{"type":"array","items":
    ["null",{"type":"record","name":"Item","fields":[
        {"name":"sku","type":"string"},
        {"name":"amount","default":null,
            "type":["null",{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}]},
        {"name":"note","type":"string","default":"none"}]}]}]}"#;

/// Two items, null, an item that does not fit, no items, and an item that is null.
#[test]
fn lists_of_records_are_arrays_of_records_and_a_part_that_does_not_fit_is_a_dead_letter() {
    let folder = Folder::with(&[]);
    let message = "message m { optional group Items (LIST) { repeated group list {
        optional group element { required binary SKU (STRING);
            optional int64 amount (DECIMAL(18,3)); optional int32 unknown; } } } }";
    let levels: Levels = (&[3, 3, 0, 3, 3, 1, 2], &[0, 1, 0, 0, 1, 0, 0]);
    let amounts: Levels = (&[4, 3, 0, 4, 4, 1, 2], &[0, 1, 0, 0, 1, 0, 0]);
    let texts = ["a", "b", "c", "d"].map(|text| text.as_bytes().to_vec()).to_vec();
    let columns = vec![
        (Column::Bytes(texts), levels),
        (Column::Long(vec![12_340, 1_000, 1_001]), amounts),
        (Column::Int(vec![]), (&[3, 3, 0, 3, 3, 1, 2], levels.1)),
    ];
    write(&folder, "a.parquet", message, &[columns]);
    let (rows, faults) = rows(&folder, ITEMS);
    let first = "[{sku: a, amount: 12.34, note: none}, {sku: b, amount: , note: none}]";
    assert_eq!(rows, [first, "", "[]", "[]"]);
    assert_eq!(
        faults,
        ["value_does_not_fit 3 a.parquet row 3: items.1.amount: `1.001` does not fit decimal(4,2)"]
    );
}

#[test]
fn lists_and_maps_of_old_writers_are_arrays_and_maps() {
    let texts = || ["a", "b"].map(|text| text.as_bytes().to_vec()).to_vec();
    let ints = r#"{"type":"array","items":"int"}"#;
    let records = r#"{"type":"array","items":{"type":"record","name":"I","fields":[
        {"name":"a","type":"string"}]}}"#;
    let map = r#"{"type":"map","values":["null","long"]}"#;
    for (message, columns, kind, expected) in [
        (
            "optional group x (LIST) { repeated int32 array; }",
            vec![(Column::Int(vec![1, 2]), (&[2, 2, 1][..], &[0, 1, 0][..]))],
            ints,
            ["[1, 2]", "[]"],
        ),
        (
            "repeated int32 x;",
            vec![(Column::Int(vec![1, 2]), (&[1, 1, 0], &[0, 1, 0]))],
            ints,
            ["[1, 2]", "[]"],
        ),
        (
            "optional group x (LIST) { repeated group array { required binary a (UTF8); } }",
            vec![(Column::Bytes(texts()), (&[2, 2, 1], &[0, 1, 0]))],
            records,
            ["[{a: a}, {a: b}]", "[]"],
        ),
        (
            "optional group x (LIST) { repeated group bag { optional int32 array_element; } }",
            vec![(Column::Int(vec![1, 2]), (&[3, 3, 1], &[0, 1, 0]))],
            ints,
            ["[1, 2]", "[]"],
        ),
        (
            "optional group x (MAP) { repeated group map (MAP_KEY_VALUE) {
                required binary key (UTF8); optional int32 value; } }",
            vec![
                (Column::Bytes(texts()), (&[2, 2, 1], &[0, 1, 0])),
                (Column::Int(vec![7]), (&[3, 2, 1], &[0, 1, 0])),
            ],
            map,
            ["{a: 7, b: }", "{}"],
        ),
    ] {
        let folder = Folder::with(&[]);
        write(&folder, "a.parquet", &format!("message m {{ {message} }}"), &[columns]);
        let (rows, faults) = rows(&folder, &field(kind));
        assert_eq!((rows, faults), (expected.map(String::from).to_vec(), Vec::new()), "{message}");
    }
}

const DECIMAL_4: &str = r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#;
const DECIMAL_38: &str = r#"{"type":"bytes","logicalType":"decimal","precision":38,"scale":10}"#;
const MILLIS: &str = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
const MICROS: &str = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
const NANOS: &str = r#"{"type":"long","logicalType":"timestamp-nanos"}"#;
const LOCAL: &str = r#"{"type":"long","logicalType":"local-timestamp-micros"}"#;
const TIME: &str = r#"{"type":"long","logicalType":"time-micros"}"#;
const UUID: &str = r#"{"type":"string","logicalType":"uuid"}"#;
const UUIDS: [&str; 2] =
    ["00010203-0405-0607-0809-0a0b0c0d0e0f", "ffffffff-ffff-ffff-ffff-ffffffffffff"];
const ENUM: &str = r#"{"type":"enum","name":"E","symbols":["A","B"]}"#;

/// Each value in the file, and what becomes of it; `-` is a dead letter.
#[test]
fn every_layout_of_a_value_is_that_value_or_a_dead_letter() {
    let wide = |n: i128, size: usize| {
        let bytes = n.to_be_bytes();
        let fill = if n < 0 { 0xff } else { 0 };
        let mut out = vec![fill; size.saturating_sub(16)];
        out.extend(&bytes[16usize.saturating_sub(size)..]);
        out
    };
    let nines = 10i128.pow(38) - 1;
    let texts = |list: &[&str]| Column::Bytes(list.iter().map(|t| t.as_bytes().to_vec()).collect());
    let uuid = || Column::Fixed(vec![(0..16).collect(), vec![0xff; 16]]);
    let cases: Vec<(&str, Column, &str, &[&str])> = vec![
        (
            "int32 x (DECIMAL(9,2))",
            Column::Int(vec![-999_999_999, 1]),
            DECIMAL_38,
            &["-9999999.9900000000", "0.0100000000"],
        ),
        (
            "int32 x (DECIMAL(9,3))",
            Column::Int(vec![12_340, 12_345, 123_450]),
            DECIMAL_4,
            &["12.34", "-", "-"],
        ),
        (
            "int64 x (DECIMAL(18,0))",
            Column::Long(vec![-999_999_999_999_999_999]),
            DECIMAL_38,
            &["-999999999999999999.0000000000"],
        ),
        (
            "fixed_len_byte_array(16) x (DECIMAL(38,10))",
            Column::Fixed(vec![wide(nines, 16), wide(-nines, 16)]),
            DECIMAL_38,
            &[
                "9999999999999999999999999999.9999999999",
                "-9999999999999999999999999999.9999999999",
            ],
        ),
        (
            "fixed_len_byte_array(5) x (DECIMAL(10,10))",
            Column::Fixed(vec![wide(-1, 5)]),
            DECIMAL_38,
            &["-0.0000000001"],
        ),
        (
            "binary x (DECIMAL(38,10))",
            Column::Bytes(vec![wide(nines, 16), wide(-2, 16)[14..].to_vec()]),
            DECIMAL_38,
            &["9999999999999999999999999999.9999999999", "-0.0000000002"],
        ),
        (
            "fixed_len_byte_array(20) x (DECIMAL(38,10))",
            Column::Fixed(vec![wide(-nines, 20), [&[1u8][..], &[0; 19]].concat()]),
            DECIMAL_38,
            &["-9999999999999999999999999999.9999999999", "-"],
        ),
        (
            "binary x (DECIMAL(38,10))",
            Column::Bytes(vec![wide(nines, 20), [&[1u8][..], &[0; 19]].concat()]),
            DECIMAL_38,
            &["9999999999999999999999999999.9999999999", "-"],
        ),
        (
            "fixed_len_byte_array(20) x (DECIMAL(45,10))",
            Column::Fixed(vec![wide(-nines, 20), [&[1u8][..], &[0; 19]].concat()]),
            DECIMAL_38,
            &["-9999999999999999999999999999.9999999999", "-"],
        ),
        (
            "int64 x (TIMESTAMP(NANOS,true))",
            Column::Long(vec![1_000, 1, i64::MAX]),
            MICROS,
            &["1970-01-01T00:00:00.000001Z", "-", "-"],
        ),
        (
            "int64 x (TIMESTAMP(NANOS,true))",
            Column::Long(vec![1, i64::MAX]),
            NANOS,
            &["1970-01-01T00:00:00.000000001Z", "2262-04-11T23:47:16.854775807Z"],
        ),
        (
            "int64 x (TIMESTAMP(NANOS,false))",
            Column::Long(vec![-1_000]),
            LOCAL,
            &["1969-12-31T23:59:59.999999"],
        ),
        (
            "int64 x (TIMESTAMP(MICROS,true))",
            Column::Long(vec![253_402_300_799_999_999, 1_000]),
            MILLIS,
            &["-", "1970-01-01T00:00:00.001Z"],
        ),
        (
            "int64 x (TIMESTAMP(MILLIS,true))",
            Column::Long(vec![253_402_300_799_999, i64::MAX]),
            MICROS,
            &["9999-12-31T23:59:59.999Z", "-"],
        ),
        (
            "int64 x (TIMESTAMP(MILLIS,true))",
            Column::Long(vec![1, 253_402_300_799_999]),
            NANOS,
            &["1970-01-01T00:00:00.001Z", "-"],
        ),
        (
            "int32 x (DATE)",
            Column::Int(vec![-719_162, 2_932_896]),
            r#"{"type":"int","logicalType":"date"}"#,
            &["0001-01-01", "9999-12-31"],
        ),
        ("int32 x (TIME(MILLIS,true))", Column::Int(vec![86_399_999]), TIME, &["23:59:59.999"]),
        (
            "int64 x (TIME(NANOS,false))",
            Column::Long(vec![86_399_999_999_000, 1]),
            TIME,
            &["23:59:59.999999", "-"],
        ),
        ("int32 x (INTEGER(8,false))", Column::Int(vec![255]), r#""int""#, &["255"]),
        ("int32 x (INTEGER(8,true))", Column::Int(vec![-128]), r#""int""#, &["-128"]),
        ("int32 x (INTEGER(32,false))", Column::Int(vec![-1, 1]), r#""int""#, &["-", "1"]),
        ("int32 x (INTEGER(32,false))", Column::Int(vec![-1]), r#""long""#, &["4294967295"]),
        ("int64 x (INTEGER(64,false))", Column::Long(vec![-1, 1]), r#""long""#, &["-", "1"]),
        (
            "int64 x (INTEGER(64,false))",
            Column::Long(vec![-1]),
            r#"{"type":"bytes","logicalType":"decimal","precision":20,"scale":0}"#,
            &["18446744073709551615"],
        ),
        (
            "int64 x",
            Column::Long(vec![9_007_199_254_740_993, 1 << 53]),
            r#""double""#,
            &["-", "9007199254740992.0"],
        ),
        (
            "int64 x",
            Column::Long(vec![i64::MIN, 7]),
            r#"["null","int","long"]"#,
            &["-9223372036854775808", "7"],
        ),
        (
            "fixed_len_byte_array(2) x (FLOAT16)",
            Column::Fixed(vec![vec![0xff, 0x7b], vec![1, 0]]),
            r#""float""#,
            &["65504.0", "5.9604645e-8"],
        ),
        ("fixed_len_byte_array(16) x (UUID)", uuid(), UUID, &UUIDS),
        ("fixed_len_byte_array(16) x (UUID)", uuid(), r#""string""#, &UUIDS),
        (
            "fixed_len_byte_array(16) x (UUID)",
            uuid(),
            r#""bytes""#,
            &["000102030405060708090a0b0c0d0e0f", "ffffffffffffffffffffffffffffffff"],
        ),
        (
            "fixed_len_byte_array(3) x",
            Column::Fixed(vec![vec![0, 1, 255]]),
            r#"{"type":"fixed","name":"F","size":3}"#,
            &["0001ff"],
        ),
        (
            "fixed_len_byte_array(3) x",
            Column::Fixed(vec![vec![0, 1, 255]]),
            r#"{"type":"fixed","name":"F","size":2}"#,
            &["-"],
        ),
        ("binary x (ENUM)", texts(&["A", "C", "B"]), ENUM, &["A", "-", "B"]),
        ("binary x (ENUM)", texts(&["A", "C"]), r#""string""#, &["A", "C"]),
        ("binary x (JSON)", texts(&[r#"{"a":1}"#]), r#""string""#, &[r#"{"a":1}"#]),
        (
            "binary x (JSON)",
            texts(&[r#"{"a":[1,null]}"#, r#"{"a":[1.5]}"#, "{", r#"{"a":[],"b":1}"#]),
            r#"{"type":"record","name":"J","fields":[
                {"name":"a","type":{"type":"array","items":["null","long"]}}]}"#,
            &["{a: [1, ]}", "-", "-", "{a: []}"],
        ),
        (
            "binary x (BSON)",
            Column::Bytes(vec![vec![5, 0, 0, 0, 0]]),
            r#""bytes""#,
            &["0500000000"],
        ),
        (
            "binary x",
            Column::Bytes(vec![b"abc".to_vec(), vec![0xff]]),
            r#""string""#,
            &["abc", "-"],
        ),
        ("boolean x", Column::Bool(vec![true, false]), r#""boolean""#, &["true", "false"]),
    ];
    for (physical, column, kind, expected) in cases {
        let folder = Folder::with(&[]);
        one(&folder, physical, column);
        let (rows, faults) = rows(&folder, &field(kind));
        let landed: Vec<_> = expected.iter().filter(|value| **value != "-").copied().collect();
        assert_eq!(rows, landed, "{physical} as {kind}: {faults:?}");
        assert_eq!(faults.len(), expected.len() - landed.len(), "{physical} as {kind}: {faults:?}");
    }
}

#[test]
fn what_a_column_cannot_become_is_a_mistake_with_file_column_and_part() {
    let list = |element: &str| {
        format!("optional group x (LIST) {{ repeated group list {{ {element} }} }}")
    };
    let array = |items: &str| format!(r#"{{"type":"array","items":{items}}}"#);
    let date = r#"{"type":"int","logicalType":"date"}"#;
    let item = r#"{"type":"record","name":"I","fields":[{"name":"a","type":"int"},
        {"name":"b","type":["null","int"]}]}"#;
    let ints = r#"{"type":"map","values":"int"}"#.to_owned();
    let union = r#"["int","string"]"#;
    let pair = |members: &str| list(&format!("optional group element {{ {members} }}"));
    let keyed = "repeated group key_value { required int32 key; optional int32 value; }";
    for (message, kind, expected) in [
        (
            "required fixed_len_byte_array(12) x (INTERVAL);".into(),
            r#""string""#.into(),
            "column `x` is interval, which cannot become the string",
        ),
        (
            list("optional int64 element;"),
            array(date),
            "column `x[]` is long, which cannot become the date",
        ),
        (
            pair("optional double a; optional int32 b;"),
            array(item).replace(r#""int"}"#, r#""boolean"}"#),
            "column `x[].a` is double, which cannot become the boolean",
        ),
        (
            pair("optional int32 a; optional int32 c;"),
            array(item),
            "column `x[].b` is not in the file, which has a, c there",
        ),
        (
            pair("optional int32 A; optional int32 b; optional int32 a_;"),
            array(item),
            "column `x[].a` could be the member `A` or the member `a_`",
        ),
        (
            list("optional int32 element;"),
            item.to_owned(),
            "column `x` is array of int, which cannot become the record",
        ),
        (
            "required group x { required int32 a; }".into(),
            ints.clone(),
            "column `x` is record, which cannot become the map",
        ),
        (
            format!("optional group x (MAP) {{ {keyed} }}"),
            ints,
            "column `x` is map, which cannot become the map",
        ),
        (
            "required int32 x;".into(),
            union.into(),
            "column `x` is int, which cannot become the [int, string]",
        ),
        (
            "required binary x (JSON);".into(),
            array(union),
            "column `x[]` is [int, string]: neither JSON nor text",
        ),
    ] {
        let folder = Folder::with(&[]);
        write(&folder, "a.parquet", &format!("message m {{ {message} }}"), &[]);
        let what = source(&folder, &record(&field(&kind))).err().unwrap_or_default();
        assert!(what.starts_with(&format!("a.parquet: {expected}")), "{what}\n{expected}");
    }
}

/// As Spark and Hive write times inside of lists; nanoseconds of 64 bits would make 1816 of 9999.
#[test]
fn times_of_int96_are_exact_inside_of_other_values() {
    let folder = Folder::with(&[]);
    let message = "message m { optional group x (LIST) { repeated group list {
        optional group element { optional int96 at; required int32 id; } } } }";
    let levels: Levels = (&[4, 3, 0, 4, 4], &[0, 1, 0, 0, 1]);
    let times = vec![(5_373_484, 86_399_999_999_000), (1_721_426, 0), (2_440_588, 1)];
    let columns = vec![
        (Column::Int96(times), levels),
        (Column::Int(vec![1, 2, 3, 4]), (&[3, 3, 0, 3, 3], levels.1)),
    ];
    write(&folder, "a.parquet", message, &[columns]);
    let of = |kind: &str| {
        let item = format!(
            r#"{{"type":"record","name":"I","fields":[{{"name":"at","type":["null",{kind}]}}]}}"#
        );
        rows(
            &folder,
            &format!(r#"{{"name":"x","type":["null",{{"type":"array","items":{item}}}]}}"#),
        )
    };
    let (rows, faults) = of(LOCAL);
    assert_eq!(rows, ["[{at: 9999-12-31T23:59:59.999999}, {at: }]", ""]);
    assert!(
        faults[0].contains("row 3: x.1.at: `1970-01-01T00:00:00.000000001` does"),
        "{faults:?}"
    );
    let (rows, _) = of(r#""string""#);
    assert_eq!(rows[0], "[{at: 9999-12-31T23:59:59.999999}, {at: }]");
}

/// Dictionaries, views and large lists are only how a program had its values in memory.
#[test]
fn what_arrow_says_of_a_column_beside_its_values_changes_nothing() {
    use arrow::array::{DictionaryArray, LargeListArray, ListArray, StringViewArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    let words: DictionaryArray<Int32Type> = ["b", "a", "b"].into_iter().collect();
    let words: ArrayRef = Arc::new(words);
    let item = Arc::new(Field::new("item", words.data_type().clone(), true));
    let (ends, large) = (OffsetBuffer::from_lengths([2, 1]), OffsetBuffer::from_lengths([2, 1]));
    let list: ArrayRef = Arc::new(ListArray::new(item.clone(), ends, words.clone(), None));
    let large: ArrayRef = Arc::new(LargeListArray::new(item, large, words.clone(), None));
    let view: ArrayRef = Arc::new(StringViewArray::from(vec!["x", "y"]));
    let of: ArrayRef = Arc::new(StructArray::from(vec![(
        Arc::new(Field::new("Sub Name", view.data_type().clone(), true)),
        view,
    )]));
    let folder = Folder::with(&[]);
    let columns = [("l", list), ("big", large), ("of", of)];
    folder.write_batch("a.parquet", &RecordBatch::try_from_iter(columns).unwrap());
    let array = r#"{"type":"array","items":{"type":"enum","name":"E","symbols":["a","b"]}}"#;
    let fields = format!(
        r#"{{"name":"l","type":{array}}},
        {{"name":"big","type":{{"type":"array","items":"string"}}}},
        {{"name":"of","type":{{"type":"record","name":"O","fields":[
            {{"name":"sub_name","type":"string"}}]}}}}"#
    );
    let (rows, faults) = rows(&folder, &fields);
    assert_eq!(rows, ["[b, a] [b, a] {sub_name: x}", "[b] [b] {sub_name: y}"]);
    assert_eq!(faults, [""; 0]);
}

/// A folder that was written over years: the record gained a member, another order and a wider type.
#[test]
fn files_of_one_folder_may_differ_in_what_is_nested() {
    use ::parquet::basic::ZstdLevel;
    use arrow::array::{Int32Array, StructArray};
    let folder = Folder::with(&[]);
    let of = |name: &str, members: Vec<(&str, ArrayRef)>, codec: Compression| {
        let members: Vec<_> = members
            .into_iter()
            .map(|(name, column)| {
                (Arc::new(Field::new(name, column.data_type().clone(), true)), column)
            })
            .collect();
        let column: ArrayRef = Arc::new(StructArray::from(members));
        let batch = RecordBatch::try_from_iter([("of", column)]).unwrap();
        let properties = WriterProperties::builder().set_compression(codec).build();
        let file = File::create(folder.0.path().join(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    };
    let int = |n: i32| Arc::new(Int32Array::from(vec![n])) as ArrayRef;
    let long = |n: i64| Arc::new(Int64Array::from(vec![n])) as ArrayRef;
    of("1.parquet", vec![("a", int(1))], Compression::LZ4_RAW);
    of("2.parquet", vec![("b", int(2)), ("a", long(2))], Compression::ZSTD(ZstdLevel::default()));
    of("3.parquet", vec![("a", long(i64::MAX)), ("b", long(i64::MAX))], Compression::SNAPPY);
    let empty = RecordBatch::try_from_iter([("of", int(1))]).unwrap().slice(0, 0);
    let empty = RecordBatch::new_empty(Arc::new(ArrowSchema::new(vec![Field::new(
        "of",
        DataType::Struct(vec![Field::new("a", empty.column(0).data_type().clone(), true)].into()),
        true,
    )])));
    folder.write_batch("4.parquet", &empty);
    let fields = r#"{"name":"of","type":{"type":"record","name":"O","fields":[
        {"name":"a","type":"long"},{"name":"b","type":["null","int"],"default":null}]}}"#;
    let (rows, faults) = rows(&folder, fields);
    assert_eq!(rows, ["{a: 1, b: }", "{a: 2, b: 2}"]);
    let expected =
        "value_does_not_fit 1 3.parquet row 1: of.b: `9223372036854775807` does not fit int";
    assert_eq!(faults, [expected]);
}

#[test]
fn a_null_that_its_type_does_not_allow_is_a_dead_letter_with_its_path() {
    let folder = Folder::with(&[]);
    let message = "message m { optional group x (MAP) { repeated group key_value {
        required binary key (STRING); optional int32 value; } } }";
    let keys = ["a", "b", "c", "c"].map(|key| key.as_bytes().to_vec()).to_vec();
    let columns = vec![
        (Column::Bytes(keys), (&[2, 2, 2, 2][..], &[0, 0, 0, 1][..])),
        (Column::Int(vec![1, 2, 3]), (&[3, 2, 3, 3][..], &[0, 0, 0, 1][..])),
    ];
    write(&folder, "a.parquet", message, &[columns]);
    let (rows, faults) = rows(&folder, &field(r#"{"type":"map","values":"int"}"#));
    assert_eq!(rows, ["{a: 1}"]);
    assert_eq!(
        faults,
        [
            "value_missing 2 a.parquet row 2: x.b: it is null, which its type does not allow",
            "value_does_not_fit 3 a.parquet row 3: x: the key `c` comes twice",
        ]
    );
}

#[test]
fn json_in_a_cell_of_csv_is_a_nested_value() {
    let fields = r#"{"name":"id","type":"int"},
        {"name":"tags","type":["null",{"type":"array","items":"string"}]},
        {"name":"of","default":null,"type":["null",{"type":"record","name":"O","fields":[
            {"name":"n","type":"double"}]}]}"#;
    let content = "id;tags;of\n1;[\"a\",\"b\"];\"{\"\"n\"\": 1.5}\"\n2;;\n3;[1;\n4;a,b;\n5;[];{\"N\":\"2\"}\n\
        6;[];{\"n\":\"1,5\"}\n7;[];{\"n\":1,\"n\":2}\n";
    let folder = Folder::with(&[("a.csv", content.as_bytes())]);
    let mut config = folder.config("a.csv", 1);
    (config.delimiter, config.decimal_separator) = (";".into(), ",".into());
    let source = Files::new(&config, &record(fields)).unwrap_or_else(|m| panic!("{m:?}"));
    let (rows, faults) = read(&source, 0, None, 100);
    assert_eq!(rows, ["1 [a, b] {n: 1.5}", "2", "5 [] {n: 2.0}"]);
    for (fault, expected) in faults.iter().zip([
        "value_does_not_fit 4 a.csv line 4, column `tags`: `[1` is not array of string as JSON: EOF",
        "value_does_not_fit 5 a.csv line 5, column `tags`: `a,b` is not array of string as JSON",
        "value_does_not_fit 7 a.csv line 7, column `of`: `{\"n\":\"1,5\"}` is JSON whose `n`",
        "value_does_not_fit 8 a.csv line 8, column `of`: `{\"n\":1,\"n\":2}` not a JSON object: the member",
    ]) {
        assert!(fault.starts_with(expected), "{fault}\n{expected}");
    }
    assert_eq!(faults.len(), 4, "{faults:?}");
}

/// As pyarrow writes them now and as it wrote for old readers: `tests/parquet/generate.py`.
#[test]
fn what_pyarrow_writes_is_what_was_written() {
    let fields = r#"{"name":"id","type":"long"},
        {"name":"big","type":["null",{"type":"bytes","logicalType":"decimal","precision":20,"scale":0}]},
        {"name":"huge","type":["null",{"type":"bytes","logicalType":"decimal","precision":38,"scale":3}]},
        {"name":"nine","type":["null",{"type":"bytes","logicalType":"decimal","precision":9,"scale":4}]},
        {"name":"kind","type":["null","string"]},
        {"name":"address","type":["null",{"type":"record","name":"A","fields":[
            {"name":"city_name","type":["null","string"]},{"name":"zip","type":["null","string"]}]}]},
        {"name":"items","type":["null",{"type":"array","items":["null",{"type":"record","name":"I","fields":[
            {"name":"sku","type":["null","string"]},
            {"name":"price","type":["null",
                {"type":"bytes","logicalType":"decimal","precision":20,"scale":2}]},
            {"name":"at","type":["null",{"type":"long","logicalType":"timestamp-micros"}]}]}]}]},
        {"name":"words","type":["null",{"type":"array","items":["null","string"]}]},
        {"name":"pair","type":["null",{"type":"array","items":"int"}]},
        {"name":"counts","type":["null",{"type":"map","values":
            ["null",{"type":"array","items":["null","long"]}]}]},
        {"name":"nanos","type":["null",{"type":"long","logicalType":"local-timestamp-micros"}]},
        {"name":"day","type":["null",{"type":"int","logicalType":"date"}]},
        {"name":"time","type":["null",{"type":"long","logicalType":"time-micros"}]},
        {"name":"raw","type":["null",{"type":"fixed","name":"F","size":3}]},
        {"name":"nothing","type":["null","string"]}"#;
    for name in ["nested.parquet", "old.parquet"] {
        let folder = Folder::with(&[]);
        let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parquet").join(name);
        std::fs::copy(written, folder.0.path().join(name)).unwrap();
        let (rows, faults) = rows(&folder, fields);
        assert_eq!(
            rows,
            [
                "4294967295 18446744073709551615 -99999999999999999999999999999999999.999 -99999.9999 b \
                 {city_name: Köln, zip: 01234} \
                 [{sku: a,\"b\", price: 999999999999999999.99, at: 9999-12-31T23:59:59.999999Z}, , \
                 {sku: , price: , at: 0001-01-01T00:00:00Z}] [x, y, , x] [-32768, 32767] \
                 {a: [1, , 9223372036854775807], : , z: []} 2024-02-29T12:00:00.000001 9999-12-31 \
                 23:59:59.999999 00ff01",
                "0",
                "2 b {city_name: , zip: x} [{sku: s, price: -0.01, at: }]",
            ],
            "{name}"
        );
        let [fault] = &faults[..] else { panic!("{faults:?}") };
        let expected = format!("value_does_not_fit 3 {name} row 3: huge: `1");
        assert!(fault.starts_with(&expected), "{fault}");
    }
}

#[test]
fn a_value_that_has_more_bytes_than_its_type_is_an_error_and_no_panic() {
    for bytes in [vec![1; 33], vec![0; 200]] {
        let folder = Folder::with(&[]);
        one(&folder, "binary x (DECIMAL(38,10))", Column::Bytes(vec![bytes]));
        let source = source(&folder, &record(&field(DECIMAL_38))).unwrap();
        let error = source.open(0, None).unwrap().read(limit(10)).err().unwrap().to_string();
        assert!(error.starts_with("a.parquet after row 0: "), "{error}");
    }
}
