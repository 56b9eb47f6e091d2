//! A row for each element of a list.

use crate::nested::{input, list, orders};
use crate::support::{batch, joining, pipeline, rejecting, schema};
use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, ListArray, ListBuilder, RecordBatch, StringArray,
    StringBuilder, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;
use std::sync::Arc;
use weir_model::pipeline::Pipeline;
use weir_transform::{Plan, Transformed};

fn compile(output: &SchemaRef, pipeline: &Pipeline) -> Plan {
    Plan::compile(input(), output.clone(), pipeline).unwrap_or_else(|m| panic!("{m:#?}"))
}

fn texts(count: usize) -> SchemaRef {
    let names = ["a", "b", "c", "d"];
    schema(&names[..count].iter().map(|n| (*n, DataType::Utf8, true)).collect::<Vec<_>>())
}

/// Each row as text, with its record before it; `-` is null.
fn rows(done: &Transformed) -> Vec<String> {
    let cell = |column: &ArrayRef, row| match column.is_valid(row) {
        true => array_value_to_string(column, row).unwrap(),
        false => "-".into(),
    };
    let text = |(row, record): (usize, &u32)| {
        let cells: Vec<String> = done.output.columns().iter().map(|c| cell(c, row)).collect();
        format!("{record}: {}", cells.join(" "))
    };
    done.rows.iter().enumerate().map(text).collect()
}

fn of_orders(sql: &str, columns: usize) -> Vec<String> {
    let done = compile(&texts(columns), &pipeline(sql)).apply(&orders(), 0).unwrap();
    assert_eq!((done.faults.len(), done.num_taken), (0, 3), "{:?}", done.faults);
    rows(&done)
}

#[test]
fn each_element_is_a_row_with_the_members_of_its_record() {
    let selected = "CAST(id AS TEXT) AS a, item.sku AS b, CAST(price AS TEXT) AS c";
    let expected = ["0: 1 a 1.50", "0: 1 b 999999.99", "2: 3 c -0.01"];
    for from in [
        "input CROSS JOIN unnest(items) AS item",
        "input, unnest(input.items) item",
        "input i, unnest(i.items) AS item",
        "input JOIN unnest(items) AS item ON true",
        "input CROSS JOIN LATERAL unnest(items) AS item",
        "input, LATERAL unnest(items) AS item",
    ] {
        assert_eq!(of_orders(&format!("SELECT {selected} FROM {from}"), 3), expected, "{from}");
    }
    let renamed = "SELECT line.code AS a FROM input, unnest(items) AS line (code)";
    assert_eq!(of_orders(renamed, 1), ["0: a", "0: b", "2: c"]);
    assert_eq!(of_orders("SELECT unnest.sku AS a FROM input, unnest(items)", 1).len(), 3);
}

#[test]
fn a_record_without_elements_is_filtered_or_kept_as_a_row_of_nulls() {
    let sql = |join: &str| format!("SELECT CAST(id AS TEXT) AS a, sku AS b FROM input {join}");
    let inner = compile(&texts(2), &pipeline(&sql("CROSS JOIN unnest(items) AS item")));
    let done = inner.apply(&orders(), 0).unwrap();
    assert_eq!((done.rows.as_slice(), done.faults.len()), (&[0, 0, 2][..], 0), "filtered");
    let kept = of_orders(&sql("LEFT JOIN unnest(items) AS item ON true"), 2);
    assert_eq!(kept, ["0: 1 a", "0: 1 b", "1: 2 -", "2: 3 c"]);
}

#[test]
fn elements_are_numbered_from_one() {
    for (sql, expected) in [
        (
            "SELECT sku AS a, CAST(item.ordinality AS TEXT) AS b \
             FROM input CROSS JOIN unnest(items) WITH ORDINALITY AS item",
            ["0: a 1", "0: b 2", "2: c 1"],
        ),
        (
            "SELECT s AS a, CAST(n AS TEXT) AS b \
             FROM input, unnest(items) WITH ORDINALITY AS item (s, p, n)",
            ["0: a 1", "0: b 2", "2: c 1"],
        ),
    ] {
        assert_eq!(of_orders(sql, 2), expected);
    }
    let sql = "SELECT CAST(n AS TEXT) AS a FROM input \
               LEFT JOIN unnest(items) WITH ORDINALITY AS item (s, p, n) ON true";
    assert_eq!(of_orders(sql, 1), ["0: 1", "0: 2", "1: -", "2: 1"]);
}

#[test]
fn maps_scalars_and_lists_that_the_sql_makes_are_unnested() {
    let sql = "SELECT key AS a, value AS b FROM input, unnest(attributes)";
    assert_eq!(of_orders(sql, 2), ["0: colour red", "0: size -"]);
    let sql = "SELECT word AS a FROM input, unnest(string_to_array(customer.name, 'd')) AS word";
    assert_eq!(of_orders(sql, 1), ["0: A", "0: a", "1: Bo"]);
    let sql = "SELECT t.x AS a FROM input, unnest(ARRAY[customer.name, NULL]) AS t (x)";
    assert_eq!(of_orders(sql, 1), ["0: Ada", "0: -", "1: Bo", "1: -", "2: -", "2: -"]);
}

#[test]
fn a_list_in_an_element_is_unnested_behind_it() {
    let sql = "SELECT sku AS a, letter AS b FROM input \
               CROSS JOIN unnest(items) AS item \
               CROSS JOIN unnest(ARRAY[item.sku, customer.name]) AS letter";
    let expected = ["0: a a", "0: a Ada", "0: b b", "0: b Ada", "2: c c", "2: c -"];
    assert_eq!(of_orders(sql, 2), expected);
    let sql = "SELECT CAST(id AS TEXT) AS a, x AS b FROM input \
               LEFT JOIN unnest(items) AS item ON true \
               LEFT JOIN unnest(ARRAY[item.sku]) AS x ON true";
    assert_eq!(of_orders(sql, 2), ["0: 1 a", "0: 1 b", "1: 2 -", "2: 3 c"]);
}

#[test]
fn an_element_that_is_null_is_a_row_of_nulls() {
    let members = vec![Field::new("n", DataType::Int64, false)];
    let items = StructArray::new(
        members.into(),
        vec![Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef],
        Some(NullBuffer::from(vec![true, false, true])),
    );
    let items = ListArray::new(
        Arc::new(Field::new_list_field(items.data_type().clone(), true)),
        OffsetBuffer::from_lengths([3, 0]),
        Arc::new(items),
        Some(NullBuffer::from(vec![true, false])),
    );
    let input = schema(&[("items", items.data_type().clone(), true)]);
    let sql = "SELECT CAST(n AS TEXT) AS a FROM input, unnest(items)";
    let plan = Plan::compile(input.clone(), texts(1), &pipeline(sql)).unwrap();
    let done = plan.apply(&batch(&input, vec![Arc::new(items)]), 0).unwrap();
    assert_eq!(rows(&done), ["0: 1", "0: -", "0: 3"]);
}

#[test]
fn lookups_rules_and_where_see_the_elements() {
    let folder = tempfile::tempdir().unwrap();
    let csv = "sku,name\na,Apple\nc,Cherry\n";
    let joined = |join: &str, condition: &str| {
        let sql = format!(
            "SELECT sku AS a, products.name AS b FROM input CROSS JOIN unnest(items) AS item \
             {join} JOIN products USING (sku) {condition}"
        );
        joining(pipeline(&sql), folder.path(), "products", &["sku"], csv)
    };
    let apply = |pipeline: &Pipeline| compile(&texts(2), pipeline).apply(&orders(), 0).unwrap();
    let found = rows(&apply(&joined("LEFT", "")));
    assert_eq!(found, ["0: a Apple", "0: b -", "2: c Cherry"]);
    assert_eq!(rows(&apply(&joined("", ""))), ["0: a Apple", "2: c Cherry"]);
    let done = apply(&joined("LEFT", "WHERE item.price > 0"));
    assert_eq!(rows(&done), ["0: a Apple", "0: b -"]);
    assert!(done.faults.is_empty(), "the third record is filtered");
    // A rule that is true for one row refuses the record, and so do two.
    let rules = [("unknown", "products.name IS NULL"), ("cheap", "item.price < 1")];
    let done = apply(&rejecting(joined("LEFT", ""), &rules));
    let reasons: Vec<_> = done.faults.iter().map(|(row, f)| (*row, f.reason.as_str())).collect();
    assert_eq!(reasons, [(0, "unknown"), (1, "unknown"), (2, "cheap")]);
    assert!(done.rows.is_empty());
}

#[test]
fn a_row_that_fails_refuses_its_record_once_and_no_neighbour() {
    for (expression, reason) in [
        ("1 / (CASE WHEN sku = 'b' THEN 0 ELSE 1 END)", "expression_failed"),
        ("CASE WHEN sku = 'b' THEN 3000000000 ELSE 1 END", "value_does_not_fit"),
        ("CASE WHEN sku <> 'b' THEN 1 END", "value_missing"),
    ] {
        let sql = format!("SELECT {expression} AS n, sku FROM input, unnest(items) AS item");
        let output = schema(&[("n", DataType::Int32, false), ("sku", DataType::Utf8, true)]);
        let done = compile(&output, &pipeline(&sql)).apply(&orders(), 0).unwrap();
        assert_eq!(rows(&done), ["2: 1 c"], "{expression}");
        let faults: Vec<_> = done.faults.iter().map(|(row, f)| (*row, &*f.reason)).collect();
        assert_eq!(faults, [(0, reason)], "{expression}");
    }
    let sql = "SELECT word AS a FROM input, \
               unnest(CASE WHEN id = 2 THEN ARRAY[CAST(1 / (id - 2) AS TEXT)] \
                      ELSE ARRAY['x'] END) AS word";
    let done = compile(&texts(1), &pipeline(sql)).apply(&orders(), 0).unwrap();
    assert_eq!(rows(&done), ["0: x", "2: x"]);
    assert!(done.faults[0].1.detail.starts_with("unnest(CASE"), "{:?}", done.faults);
}

#[test]
fn forms_that_mean_something_else_are_refused_with_what_to_write() {
    for (from, words) in [
        ("input CROSS JOIN unnest(id) AS x", "`unnest(id)` is of long, not of a list"),
        ("input CROSS JOIN unnest(nothing) AS x", "nothing"),
        ("input CROSS JOIN unnest(items, items) AS x", "unnest takes one"),
        ("input LEFT JOIN unnest(items) AS x ON x.sku = 'a'", "only CROSS JOIN unnest(list)"),
        ("input RIGHT JOIN unnest(items) AS x ON true", "only CROSS JOIN unnest(list)"),
        ("input CROSS JOIN unnest(items) AS x (a, b, c)", "has 2 columns, and 3 names"),
        ("input CROSS JOIN unnest(items) AS input", "`input` is joined with itself"),
        ("input, unnest(items) AS x, unnest(items) AS x", "two tables with the name `x`"),
        ("unnest(items) AS x", "is not supported in FROM"),
        ("input, other", "several tables"),
    ] {
        let sql = format!("SELECT id FROM {from}");
        let output = schema(&[("id", DataType::Int64, false)]);
        let found = Plan::compile(input(), output, &pipeline(&sql)).expect_err(from);
        assert_eq!(found.len(), 1, "{from}: {found:?}");
        assert!(found[0].what.contains(words), "{from}: {found:?}");
    }
    let sql = "SELECT sku, id FROM input i, unnest(i.items) AS x, unnest(i.items) AS y";
    let output = schema(&[("id", DataType::Int64, false), ("sku", DataType::Utf8, true)]);
    let found = Plan::compile(input(), output, &pipeline(sql)).unwrap_err();
    assert!(found[0].what.contains("sku"), "{found:?}");
}

fn lists(lengths: &[usize], width: usize) -> (SchemaRef, RecordBatch) {
    let mut words = ListBuilder::new(StringBuilder::new());
    for length in lengths {
        (0..*length).for_each(|n| words.values().append_value(n.to_string()));
        words.append(true);
    }
    let ids: Int64Array = (0..lengths.len() as i64).collect();
    let texts: StringArray = lengths.iter().map(|_| Some("x".repeat(width))).collect();
    let input = schema(&[
        ("id", DataType::Int64, false),
        ("text", DataType::Utf8, false),
        ("words", list(DataType::Utf8), true),
    ]);
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(texts), Arc::new(words.finish())];
    (input.clone(), batch(&input, columns))
}

#[test]
fn a_record_that_would_fill_the_memory_is_a_dead_letter_and_its_neighbours_land() {
    let (input, batch) = lists(&[2, 1 << 19, 3], 10);
    let sql = "SELECT text AS a, word AS b FROM input, unnest(words) AS word";
    let plan = Plan::compile(input, texts(2), &pipeline(sql)).unwrap();
    let done = plan.apply(&batch, 0).unwrap();
    assert_eq!(done.rows, [0, 0, 2, 2, 2]);
    let fault = &done.faults[0].1;
    assert_eq!(fault.reason, "grows_too_much");
    assert_eq!(fault.detail, "unnest(words) makes 524288 rows of it; at most 262144",);
    // 20,000 times 50 KB.
    let (input, batch) = lists(&[1, 20_000, 1], 50_000);
    let plan = Plan::compile(input, texts(2), &pipeline(sql)).unwrap();
    let done = plan.apply(&batch, 0).unwrap();
    assert_eq!((done.rows.len(), &*done.faults[0].1.reason), (2, "grows_too_much"));
}

/// Applies a plan to a batch, part by part.
fn in_parts(plan: &Plan, mut batch: RecordBatch) -> (Vec<usize>, RecordBatch, Vec<u32>) {
    let (mut parts, mut outputs, mut rows, mut before) = (Vec::new(), Vec::new(), Vec::new(), 0);
    while batch.num_rows() > 0 {
        let done = plan.apply(&batch, 0).unwrap();
        assert!(done.num_taken > 0 && done.rows.iter().all(|r| (*r as usize) < done.num_taken));
        parts.push(done.num_taken);
        rows.extend(done.rows.iter().map(|row| row + before));
        outputs.push(done.output);
        before += done.num_taken as u32;
        batch = batch.slice(done.num_taken, batch.num_rows() - done.num_taken);
    }
    (parts, concat_batches(&outputs[0].schema(), &outputs).unwrap(), rows)
}

#[test]
fn rows_that_are_too_many_at_once_are_made_in_parts() {
    let sql = "SELECT text AS a, word AS b FROM input, unnest(words) AS word";
    // Too many rows, too many bytes.
    for (lengths, width) in [(vec![1000; 200], 5), (vec![100; 200], 10_000)] {
        let (input, batch) = lists(&lengths, width);
        let plan = Plan::compile(input, texts(2), &pipeline(sql)).unwrap();
        let (parts, output, rows) = in_parts(&plan, batch);
        assert!(parts.len() > 2, "{parts:?}");
        assert_eq!(output.num_rows(), lengths.iter().sum::<usize>());
        assert!(rows.is_sorted());
        let words = output.column(1).as_string::<i32>();
        assert!((0..output.num_rows()).all(|r| words.value(r) == (r % lengths[0]).to_string()));
    }
}

proptest! {
    /// The outcome of a record does not depend on its neighbours.
    #[test]
    fn each_record_has_the_rows_that_it_has_alone(
        lengths in proptest::collection::vec(0..5_usize, 1..30),
        failing in 0..6_i64,
        least in 0..3_i64,
    ) {
        let (input, batch) = lists(&lengths, 3);
        let sql = format!(
            "SELECT CAST(id / (CAST(word AS BIGINT) - {failing}) AS TEXT) AS a, word AS b \
             FROM input CROSS JOIN unnest(words) AS word WHERE CAST(word AS BIGINT) >= {least}"
        );
        let plan = Plan::compile(input, texts(2), &pipeline(&sql)).unwrap();
        let together = plan.apply(&batch, 0).unwrap();
        let (mut expected, mut faults) = (Vec::new(), Vec::new());
        for row in 0..batch.num_rows() {
            let alone = plan.apply(&batch.slice(row, 1), 0).unwrap();
            expected.extend(rows(&alone).iter().map(|text| text.replacen('0', &row.to_string(), 1)));
            faults.extend(alone.faults.into_iter().map(|(_, fault)| (row as u32, fault)));
        }
        prop_assert_eq!(rows(&together), expected);
        prop_assert_eq!(together.faults, faults);
    }
}

#[test]
fn a_plan_names_the_fields_that_its_lists_are_made_of() {
    let sql = "SELECT item.sku AS a FROM input CROSS JOIN unnest(items) AS item";
    let plan = compile(&texts(1), &pipeline(sql));
    assert_eq!(plan.columns_read(), ["items"]);
    assert!(plan.unnests() && weir_transform::unnests(sql));
    assert!(!weir_transform::unnests("SELECT id FROM input"));
}

/// The bounds hold for what is really built: lists that are repeated by other lists, few elements
/// with long texts, and long texts in many result columns.
#[test]
fn what_a_record_would_grow_to_is_known_before_it_is_built() {
    let columns = [
        ("id", DataType::Int64, false),
        ("text", DataType::Utf8, false),
        ("words", list(DataType::Utf8), true),
        ("big", list(DataType::Utf8), true),
    ];
    let input = schema(&columns);
    let record = |words: usize, big: usize, width: usize, text: usize| {
        let list = |count: usize, item: String| {
            let mut items = ListBuilder::new(StringBuilder::new());
            (0..count).for_each(|_| items.values().append_value(&item));
            items.append(true);
            Arc::new(items.finish()) as ArrayRef
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![1])),
            Arc::new(StringArray::from(vec!["t".repeat(text)])),
            list(words, "w".into()),
            list(big, "b".repeat(width)),
        ];
        batch(&input, columns)
    };
    let many: Vec<String> = (0..12).map(|n| format!("text || '{n}' AS s{n}")).collect();
    let names: Vec<String> = (0..12).map(|n| format!("s{n}")).collect();
    let wide: Vec<_> = names.iter().map(|n| (n.as_str(), DataType::Utf8, true)).collect();
    for (sql, output, large) in [
        (
            "SELECT b AS a FROM input, unnest(words) AS w, unnest(big) AS b".to_owned(),
            texts(1),
            record(4_000, 15, 40_000, 1),
        ),
        (
            "SELECT text AS a FROM input, unnest(words) AS w, unnest(words) AS x, \
             unnest(words) AS y"
                .into(),
            texts(1),
            record(15, 1, 1, 800_000),
        ),
        (
            format!("SELECT {} FROM input, unnest(words) AS w", many.join(", ")),
            schema(&wide),
            record(4_000, 1, 1, 60_000),
        ),
    ] {
        let plan = Plan::compile(input.clone(), output, &pipeline(&sql)).unwrap();
        let small = record(2, 2, 2, 2);
        let together = concat_batches(&input, [&small, &large, &small]).unwrap();
        let (mut done, mut taken) = (Vec::new(), 0);
        while taken < 3 {
            let part = plan.apply(&together.slice(taken, 3 - taken), 0).unwrap();
            taken += part.num_taken;
            done.push(part);
        }
        let faults: Vec<_> = done.iter().flat_map(|part| &part.faults).collect();
        assert_eq!(faults.len(), 1, "{sql}: {faults:?}");
        assert_eq!(faults[0].1.reason, "grows_too_much", "{sql}");
        let rows: usize = done.iter().map(|part| part.rows.len()).sum();
        assert!(rows >= 4, "{sql}: the neighbours land");
    }
}
