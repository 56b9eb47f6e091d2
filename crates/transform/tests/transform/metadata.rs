//! What a record has beside its value, in the SQL.

use crate::support::{batch, joining, pipeline, rejecting, schema};
use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::concat;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::array_value_to_string;
use std::convert::Infallible;
use std::sync::Arc;
use weir_model::fault::Fault;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;
use weir_model::record::RecordMetadata;
use weir_transform::{Error, InputColumns, Plan, Transformed};

/// A record that is where its number says, with two headers of one name.
#[derive(Clone, Copy)]
struct Numbered(i64);

impl RecordMetadata<'static> for Numbered {
    fn key(&self) -> Option<&'static [u8]> {
        [Some(&b"a"[..]), None, Some(b"c")][self.0 as usize % 3]
    }

    fn partition(&self) -> i32 {
        7
    }

    fn offset(&self) -> i64 {
        100 + self.0
    }

    fn timestamp_ms(&self) -> i64 {
        if self.0 == 1 { -1 } else { 1_700_000_000_123 }
    }

    fn last_header(&self, name: &str) -> Option<&'static [u8]> {
        match (name, self.0) {
            ("it's", 0) => Some(b"zero"),
            ("it's", 2) => Some(b"\xff"),
            _ => None,
        }
    }
}

fn input() -> SchemaRef {
    schema(&[("id", DataType::Int64, false)])
}

fn mistakes(input: SchemaRef, output: SchemaRef, pipeline: &Pipeline) -> Vec<Mistake> {
    Plan::compile(input, output, pipeline).err().unwrap_or_default()
}

fn apply(plan: &Plan) -> Transformed {
    let rows = batch(&input(), vec![Arc::new(Int64Array::from(vec![0, 1, 2]))]);
    let keys =
        |keys: &[Option<&'static [u8]>]| -> Result<(ArrayRef, Vec<(u32, Fault)>), Infallible> {
            let texts = keys.iter().map(|key| key.and_then(|key| std::str::from_utf8(key).ok()));
            Ok((Arc::new(texts.collect::<StringArray>()), Vec::new()))
        };
    let Ok(metadata) = plan.metadata_columns("calls", || (0..3).map(Numbered), keys);
    plan.apply_with(&rows, metadata, 0).unwrap()
}

/// The rows as text.
fn rows(done: &Transformed) -> Vec<String> {
    let row = |row| {
        let cells = done.output.columns().iter().map(|c| array_value_to_string(c, row).unwrap());
        cells.collect::<Vec<_>>().join("|")
    };
    (0..done.output.num_rows()).map(row).collect()
}

#[test]
fn a_record_s_key_place_time_and_headers_are_columns_that_star_does_not_have() {
    let utc =
        || DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, Some("+00:00".into()));
    let output = schema(&[
        ("id", DataType::Int64, false),
        ("_key", DataType::Utf8, true),
        ("place", DataType::Utf8, false),
        ("_timestamp", utc(), true),
        ("note", DataType::Utf8, true),
        ("price", DataType::Int64, true),
    ]);
    let sql = "SELECT i.*, _key, concat(_topic, i._partition) AS place, i._timestamp, \
               i._header['it''s'] AS note, p.price \
               FROM input i LEFT JOIN prices p ON _offset = p.offset_ WHERE _key IS NULL OR id < 9";
    let folder = tempfile::tempdir().unwrap();
    let joined =
        joining(pipeline(sql), folder.path(), "prices", &["offset_"], "offset_,price\n101,5\n");
    let plan = Plan::compile(input(), output, &joined).unwrap_or_else(|m| panic!("{m:#?}"));
    let done = apply(&plan);
    assert_eq!(
        rows(&done),
        ["0|a|calls7|2023-11-14T22:13:20.123Z|zero|", "1||calls7|||5"],
        "{:?}",
        done.faults
    );
    let [(2, fault)] = done.faults.as_slice() else { panic!("{:?}", done.faults) };
    assert_eq!(
        (fault.reason.as_str(), fault.detail.as_str()),
        ("bad_header", "the header `it's` is not UTF-8 from byte 0")
    );
}

#[test]
fn a_rule_may_use_them_and_what_is_not_used_is_not_made() {
    let output = schema(&[("id", DataType::Int64, false)]);
    let ruled = rejecting(pipeline("SELECT id FROM input"), &[("first", "_offset = 100")]);
    let plan = Plan::compile(input(), output.clone(), &ruled).unwrap();
    let done = apply(&plan);
    assert_eq!(
        (rows(&done), done.faults[0].1.reason.as_str()),
        (vec!["1".into(), "2".into()], "first")
    );
    let rows = batch(&input(), vec![Arc::new(Int64Array::from(vec![1]))]);
    assert!(matches!(plan.apply(&rows, 0), Err(Error::Schema { .. })), "the offsets are not given");
    // Neither the key nor a header is asked for.
    let plan = Plan::compile(input(), output, &pipeline("SELECT id FROM input")).unwrap();
    let done = plan
        .metadata_columns("t", || (0..3).map(Numbered), |_| Err("asked for keys"))
        .map(|metadata| plan.apply_with(&rows, metadata, 0).unwrap());
    assert_eq!(done.unwrap().rows, [0]);
}

#[test]
fn a_key_that_is_a_record_has_members() {
    let key =
        DataType::Struct(vec![arrow::datatypes::Field::new("n", DataType::Int64, true)].into());
    let output = schema(&[("a", DataType::Int64, true), ("b", DataType::Int64, true)]);
    let sql = "SELECT _key['n'] AS a, i._key.n + 1 AS b FROM input i";
    let columns = InputColumns { value: input(), key };
    let plan = Plan::compile(columns, output, &pipeline(sql)).unwrap_or_else(|m| panic!("{m:#?}"));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![4, 5, 6]));
    let key = |_: &[Option<&[u8]>]| {
        let fields = vec![arrow::datatypes::Field::new("n", DataType::Int64, true)].into();
        let keys = arrow::array::StructArray::new(fields, vec![numbers.clone()], None);
        Ok::<_, Infallible>((concat(&[&keys]).unwrap(), Vec::new()))
    };
    let Ok(metadata) = plan.metadata_columns("t", || (0..3).map(Numbered), key);
    let values = batch(&input(), vec![Arc::new(Int64Array::from(vec![0, 1, 2]))]);
    let done = plan.apply_with(&values, metadata, 0).unwrap();
    let column = |at: usize| done.output.column(at).as_primitive::<arrow::datatypes::Int64Type>();
    assert_eq!((column(0).value(2), column(1).value(2)), (6, 7));
}

#[test]
fn names_that_mean_two_things_and_headers_without_a_name_are_mistakes() {
    let output = schema(&[("id", DataType::Int64, false)]);
    let taken = schema(&[("id", DataType::Int64, false), ("_key", DataType::Utf8, true)]);
    let found = mistakes(taken, output.clone(), &pipeline("SELECT id FROM input"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].key == "input.schema" && found[0].what.contains("`_key`"), "{found:?}");
    assert!(found[0].hint.as_deref().unwrap().contains("\"aliases\": [\"_key\"]"), "{found:?}");
    let folder = tempfile::tempdir().unwrap();
    let joined =
        joining(pipeline("SELECT id FROM input"), folder.path(), "t", &["_offset"], "_offset\n1\n");
    let found = mistakes(input(), output.clone(), &joined);
    assert!(found[0].key == "lookup[0].file" && found[0].what.contains("`_offset`"), "{found:?}");
    let bare = pipeline("SELECT id FROM input WHERE _header IS NULL");
    let found = mistakes(input(), output.clone(), &bare);
    assert!(found[0].hint.as_deref().unwrap().contains("_header['name']"), "{found:?}");
    let typed = mistakes(input(), output, &pipeline("SELECT _topic AS id FROM input"));
    assert!(typed[0].what.contains("`id` is string"), "{typed:?}");
}
