//! Records, arrays and maps in the input, in rules and in the output.

use crate::support::{batch, pipeline, rejecting, schema};
use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, ListArray, MapBuilder, RecordBatch,
    StringArray, StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use arrow::util::display::array_value_to_string;
use std::sync::Arc;
use weir_transform::{Plan, Transformed};

fn record(fields: &[(&str, DataType)]) -> DataType {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    DataType::Struct(fields.iter().map(field).collect())
}

fn map(values: DataType) -> DataType {
    let fields = vec![Field::new("key", DataType::Utf8, false), Field::new("value", values, true)];
    let entries = Field::new("entries", DataType::Struct(fields.into()), false);
    DataType::Map(Arc::new(entries), false)
}

pub(crate) fn list(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

fn item() -> DataType {
    record(&[("sku", DataType::Utf8), ("price", DataType::Decimal128(10, 2))])
}

fn customer() -> DataType {
    record(&[("name", DataType::Utf8), ("address", record(&[("city", DataType::Utf8)]))])
}

fn fields(data_type: &DataType) -> Fields {
    let DataType::Struct(fields) = data_type else { panic!("{data_type}") };
    fields.clone()
}

/// Orders: a customer with an address, items with their price, and attributes.
pub(crate) fn input() -> SchemaRef {
    schema(&[
        ("id", DataType::Int64, false),
        ("customer", customer(), true),
        ("items", list(item()), true),
        ("attributes", map(DataType::Utf8), true),
    ])
}

pub(crate) fn orders() -> RecordBatch {
    let cities = StringArray::from(vec![Some("Kassel"), None, None]);
    let address = StructArray::new(
        fields(&record(&[("city", DataType::Utf8)])),
        vec![Arc::new(cities) as ArrayRef],
        Some(vec![true, true, false].into()),
    );
    let names = StringArray::from(vec![Some("Ada"), Some("Bo"), None]);
    let customers = StructArray::new(
        fields(&customer()),
        vec![Arc::new(names), Arc::new(address)],
        Some(vec![true, true, false].into()),
    );
    let skus = StringArray::from(vec!["a", "b", "c"]);
    let prices = Decimal128Array::from(vec![150, 99_999_999, -1]).with_precision_and_scale(10, 2);
    let items = StructArray::new(
        fields(&item()),
        vec![Arc::new(skus) as ArrayRef, Arc::new(prices.unwrap())],
        None,
    );
    let items = ListArray::new(
        Arc::new(Field::new_list_field(item(), true)),
        OffsetBuffer::from_lengths([2, 0, 1]),
        Arc::new(items),
        None,
    );
    let mut attributes = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    attributes.keys().append_value("colour");
    attributes.values().append_value("red");
    attributes.keys().append_value("size");
    attributes.values().append_null();
    attributes.append(true).unwrap();
    attributes.append(true).unwrap();
    attributes.append(false).unwrap();
    let attributes: ArrayRef = Arc::new(attributes.finish());
    let attributes = arrow::compute::cast(&attributes, &map(DataType::Utf8)).unwrap();
    let ids = Int64Array::from(vec![1, 2, 3]);
    batch(&input(), vec![Arc::new(ids), Arc::new(customers), Arc::new(items), attributes])
}

fn transform(expression: &str, to: DataType) -> Transformed {
    let sql = format!("SELECT {expression} AS x FROM input");
    let plan = Plan::compile(input(), schema(&[("x", to, true)]), &pipeline(&sql));
    plan.unwrap_or_else(|m| panic!("{expression}: {m:#?}")).apply(&orders(), 0).unwrap()
}

/// The value of each order as text; `-` for null and `!` where it fails.
fn values(expression: &str, to: DataType) -> Vec<String> {
    let done = transform(expression, to);
    let column = done.output.column(0);
    let mut texts = vec!["!".to_string(); 3];
    for (index, row) in done.rows.iter().enumerate() {
        texts[*row as usize] = match column.is_valid(index) {
            true => array_value_to_string(column, index).unwrap(),
            false => "-".into(),
        };
    }
    texts
}

fn mistake(expression: &str, to: DataType) -> String {
    let sql = format!("SELECT {expression} AS x FROM input");
    let mistakes = Plan::compile(input(), schema(&[("x", to, true)]), &pipeline(&sql));
    let mistakes = mistakes.expect_err(expression);
    mistakes.iter().map(|m| format!("{} {}", m.what, m.hint.clone().unwrap_or_default())).collect()
}

#[test]
fn members_elements_and_values_of_maps_are_taken_by_name_index_and_key() {
    for (expression, expected) in [
        ("customer.name", ["Ada", "Bo", "-"]),
        ("customer.address.city", ["Kassel", "-", "-"]),
        ("customer['address']['city']", ["Kassel", "-", "-"]),
        ("input.customer.address.city", ["Kassel", "-", "-"]),
        ("items[1].sku", ["a", "-", "c"]),
        ("items[2]['sku']", ["b", "-", "-"]),
        ("input.items[1].sku", ["a", "-", "c"]),
        ("(items[1]).sku", ["a", "-", "c"]),
        ("(ARRAY[customer])[1].address.city", ["Kassel", "-", "-"]),
        ("ARRAY[input.customer.name][1]", ["Ada", "Bo", "-"]),
        ("items[0].sku", ["-", "-", "-"]),
        ("items[id - 1].sku", ["-", "-", "-"]),
        ("attributes['colour']", ["red", "-", "-"]),
        ("attributes['size']", ["-", "-", "-"]),
        ("attributes['nothing']", ["-", "-", "-"]),
        ("CASE WHEN cardinality(items) > 1 THEN items[2].sku ELSE 'one' END", ["b", "one", "one"]),
        ("array_to_string(map_keys(attributes), ' ')", ["colour size", "", "-"]),
    ] {
        assert_eq!(values(expression, DataType::Utf8), expected, "{expression}");
    }
    let price = DataType::Decimal128(10, 2);
    assert_eq!(values("items[1].price * 2", price), ["3.00", "-", "-0.02"]);
}

#[test]
fn rules_and_filters_see_what_is_inside() {
    let sql = "SELECT id FROM input WHERE 'c' <> ALL(ARRAY[items[1].sku])";
    let rules = [
        ("nobody", "customer IS NULL OR customer.name IS NULL"),
        ("expensive", "items[2].price > 1000"),
    ];
    let plan = Plan::compile(
        input(),
        schema(&[("id", DataType::Int64, false)]),
        &rejecting(pipeline(sql), &rules),
    )
    .unwrap_or_else(|m| panic!("{m:#?}"));
    let done = plan.apply(&orders(), 0).unwrap();
    let reasons: Vec<(u32, &str)> =
        done.faults.iter().map(|(row, fault)| (*row, fault.reason.as_str())).collect();
    assert_eq!(reasons, [(0, "expensive"), (2, "nobody")]);
    assert_eq!(plan.columns_read(), ["id", "customer", "items"]);
}

#[test]
fn records_arrays_and_maps_are_made_in_sql_and_matched_by_name() {
    let line = record(&[("price", DataType::Decimal128(12, 4)), ("id", DataType::Int32)]);
    let made = "named_struct('id', id, 'price', items[1].price)";
    assert_eq!(
        values(made, line.clone()),
        ["{price: 1.5000, id: 1}", "{price: , id: 2}", "{price: -0.0100, id: 3}"]
    );
    assert_eq!(
        values(&format!("ARRAY[{made}]"), list(line.clone()))[0],
        "[{price: 1.5000, id: 1}]"
    );
    assert_eq!(values("ARRAY[id, 7]", list(DataType::Int32)), ["[1, 7]", "[2, 7]", "[3, 7]"]);
    assert_eq!(
        values("CASE WHEN id = 1 THEN items END", list(item()))[0],
        "[{sku: a, price: 1.50}, {sku: b, price: 999999.99}]"
    );
    assert_eq!(
        values("STRUCT(id AS id, 1.5 AS price)", line),
        ["{price: 1.5000, id: 1}", "{price: 1.5000, id: 2}", "{price: 1.5000, id: 3}"]
    );
    assert_eq!(values("attributes", map(DataType::Utf8))[0], "{colour: red, size: }");
    assert_eq!(values("NULL", list(DataType::Int32)), ["-", "-", "-"]);
}

#[test]
fn a_part_that_the_output_cannot_hold_is_the_fault_of_its_record() {
    // 999999.99 has no room in five digits; the neighbours land.
    let narrow = record(&[("sku", DataType::Utf8), ("price", DataType::Decimal128(5, 2))]);
    let done = transform("items", list(narrow.clone()));
    assert_eq!(done.rows, [1, 2]);
    let fault = &done.faults[0].1;
    assert_eq!(fault.reason, "value_does_not_fit");
    assert!(fault.detail.contains("`x` does not fit array of record"), "{}", fault.detail);
    let last = done.output.column(0).as_list::<i32>().value(1);
    assert_eq!(array_value_to_string(&last, 0).unwrap(), "{sku: c, price: -0.01}");
    assert_eq!(values("items[2]", narrow), ["!", "-", "-"]);
}

#[test]
fn a_mismatch_inside_is_named_by_its_path() {
    let other = record(&[("sku", DataType::Int64), ("price", DataType::Decimal128(10, 2))]);
    assert_eq!(
        mistake("items", list(other)),
        "`x[].sku` of the result is string, not long as in out.avsc "
    );
    let less = record(&[("sku", DataType::Utf8)]);
    assert_eq!(mistake("items", list(less)), "`x[].price` of the result is not in out.avsc ");
    let more =
        record(&[("name", DataType::Utf8), ("address", DataType::Utf8), ("vip", DataType::Utf8)]);
    let found = mistake("customer", more);
    assert_eq!(found, "`x.address` of the result is record, not string as in out.avsc ");
    assert_eq!(
        mistake("attributes", map(DataType::Int64)),
        "`x{}` of the result is string, not long as in out.avsc "
    );
    let found = mistake("items", DataType::Utf8);
    assert_eq!(found, "result column `x` is array of record, out.avsc expects string ");
}

#[test]
fn what_has_no_such_part_is_refused_before_the_first_record() {
    for (expression, words) in [
        ("customer.nam", "nam"),
        ("customer['nam']", "nam"),
        ("id[1]", "takes an element of an array"),
        ("items['sku']", "sku"),
        ("items[1.5]", "must be an integer"),
        ("unnest(items)", "CROSS JOIN unnest(list)"),
        ("explode(items)", "CROSS JOIN unnest(list)"),
        ("json_array_elements('[]')", "one record becomes at most one"),
        ("array_agg(id)", "aggregate `array_agg`"),
    ] {
        let found = mistake(expression, DataType::Utf8);
        assert!(found.contains(words), "{expression}: {found}");
        assert!(!found.contains("DataType") && !found.contains(" { "), "{expression}: {found}");
    }
}
