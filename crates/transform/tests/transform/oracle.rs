//! Random pipelines over random batches, against an evaluation of one record at a time that shares
//! no code with the plan.

use crate::support::{batch, joining, pipeline, rejecting, schema};
use arrow::array::{AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use proptest::prelude::*;
use proptest::sample::subsequence;
use std::sync::Arc;
use weir_transform::Plan;

#[derive(Debug, Clone)]
struct Record {
    a: i64,
    b: Option<i32>,
    k: Option<String>,
}

/// The values that an expression can use: the record and its row of the lookup.
struct Scope<'a> {
    record: &'a Record,
    weight: Option<i64>,
    matched: bool,
}

/// The value of an expression: null is `None`; `Err` means that the expression fails on this
/// record.
type Value<T> = Result<Option<T>, ()>;
type Expression<T> = (&'static str, fn(&Scope<'_>) -> Value<T>);

fn both<A, B, T>(left: Option<A>, right: Option<B>, f: impl Fn(A, B) -> Value<T>) -> Value<T> {
    match (left, right) {
        (Some(left), Some(right)) => f(left, right),
        _ => Ok(None),
    }
}

fn b(scope: &Scope<'_>) -> Option<i64> {
    scope.record.b.map(i64::from)
}

fn divide(left: i64, right: i64) -> Value<i64> {
    left.checked_div(right).map(Some).ok_or(())
}

const CONDITIONS: [Expression<bool>; 8] = [
    ("a < 0", |s| Ok(Some(s.record.a < 0))),
    ("b > 5", |s| Ok(b(s).map(|b| b > 5))),
    ("100 / b > 20", |s| both(Some(100), b(s), divide).map(|v| v.map(|v| v > 20))),
    ("i.k = 'x' OR b IS NULL", |s| {
        Ok(Some(b(s).is_none()).filter(|null| *null).or(s.record.k.as_deref().map(|k| k == "x")))
    }),
    ("weight >= 20", |s| Ok(s.weight.map(|w| w >= 20))),
    ("l.k IS NULL", |s| Ok(Some(!s.matched))),
    ("a + 1 > 10", |s| s.record.a.checked_add(1).map(|v| Some(v > 10)).ok_or(())),
    ("NOT (a % 3 = b)", |s| Ok(b(s).map(|b| s.record.a % 3 != b))),
];

const NUMBERS: [Expression<i64>; 7] = [
    ("a", |s| Ok(Some(s.record.a))),
    ("b", |s| Ok(b(s))),
    ("a * 2", |s| s.record.a.checked_mul(2).map(Some).ok_or(())),
    ("a / b", |s| both(Some(s.record.a), b(s), divide)),
    ("weight + b", |s| both(s.weight, b(s), |w, b| Ok(Some(w + b)))),
    ("CASE WHEN b > 0 THEN 100 / b ELSE -a END", |s| match b(s) {
        Some(b) if b > 0 => Ok(Some(100 / b)),
        _ => s.record.a.checked_neg().map(Some).ok_or(()),
    }),
    ("coalesce(weight, b, 7)", |s| Ok(Some(s.weight.or(b(s)).unwrap_or(7)))),
];

const LOOKUP: &str = "k,weight\nx,10\ny,20\nz,\n";

fn weight(key: Option<&str>) -> (bool, Option<i64>) {
    match key {
        Some("x") => (true, Some(10)),
        Some("y") => (true, Some(20)),
        Some("z") => (true, None),
        _ => (false, None),
    }
}

#[derive(Debug, Clone)]
struct Case {
    rules: Vec<usize>,
    filter: Option<usize>,
    inner: bool,
    first: usize,
    second: usize,
    second_nullable: bool,
    records: Vec<Record>,
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let a = prop_oneof![20 => -20_i64..20, 1 => Just(i64::MAX), 1 => Just(i64::MIN)];
    let b = prop_oneof![3 => (-3_i32..10).prop_map(Some), 1 => Just(None)];
    let k = prop_oneof![4 => "[xyzw]".prop_map(Some), 1 => Just(None)];
    prop::collection::vec((a, b, k).prop_map(|(a, b, k)| Record { a, b, k }), 0..60)
}

fn cases() -> impl Strategy<Value = Case> {
    let rules = subsequence((0..CONDITIONS.len()).collect::<Vec<_>>(), 0..4).prop_shuffle();
    let filter = prop::option::of(0..CONDITIONS.len());
    (rules, filter, any::<bool>(), 0..NUMBERS.len(), 0..NUMBERS.len(), any::<bool>(), records())
        .prop_map(|(rules, filter, inner, first, second, second_nullable, records)| Case {
            rules,
            filter,
            inner,
            first,
            second,
            second_nullable,
            records,
        })
}

fn input() -> SchemaRef {
    schema(&[
        ("a", DataType::Int64, false),
        ("b", DataType::Int32, true),
        ("k", DataType::Utf8, true),
    ])
}

fn to_batch(records: &[Record]) -> RecordBatch {
    let a: Int64Array = records.iter().map(|r| Some(r.a)).collect();
    let b: Int32Array = records.iter().map(|r| r.b).collect();
    let k: StringArray = records.iter().map(|r| r.k.as_deref()).collect();
    batch(&input(), vec![Arc::new(a), Arc::new(b), Arc::new(k)])
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Emitted(Option<i64>, Option<i64>),
    Filtered,
    Refused(String),
}

/// One record, step by step.
fn expected(case: &Case, record: &Record) -> Outcome {
    let (matched, weight) = weight(record.k.as_deref());
    let scope = Scope { record, weight, matched };
    let refused = |reason: &str| Outcome::Refused(reason.into());
    for rule in &case.rules {
        match CONDITIONS[*rule].1(&scope) {
            Ok(Some(true)) => return refused(&format!("rule_{rule}")),
            Ok(_) => {}
            Err(()) => return refused("expression_failed"),
        }
    }
    match case.filter.map_or(Ok(Some(true)), |filter| CONDITIONS[filter].1(&scope)) {
        Ok(Some(true)) if matched || !case.inner => {}
        Ok(_) => return Outcome::Filtered,
        Err(()) => return refused("expression_failed"),
    }
    let Ok(first) = NUMBERS[case.first].1(&scope) else { return refused("expression_failed") };
    let Ok(second) = NUMBERS[case.second].1(&scope) else { return refused("expression_failed") };
    match second {
        Some(number) if i8::try_from(number).is_err() => refused("value_does_not_fit"),
        None if !case.second_nullable => refused("value_missing"),
        second => Outcome::Emitted(first, second),
    }
}

fn actual(case: &Case) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let filter = case.filter.map(|f| format!(" WHERE {}", CONDITIONS[f].0)).unwrap_or_default();
    let join = if case.inner { "JOIN" } else { "LEFT JOIN" };
    let sql = format!(
        "SELECT {} AS second, {} AS first FROM input i {join} l ON i.k = l.k{filter}",
        NUMBERS[case.second].0, NUMBERS[case.first].0
    );
    let names: Vec<String> = case.rules.iter().map(|r| format!("rule_{r}")).collect();
    let rules: Vec<(&str, &str)> = names
        .iter()
        .zip(&case.rules)
        .map(|(name, rule)| (name.as_str(), CONDITIONS[*rule].0))
        .collect();
    let pipeline = joining(rejecting(pipeline(&sql), &rules), folder.path(), "l", &["k"], LOOKUP);
    let output = schema(&[
        ("first", DataType::Int64, true),
        ("second", DataType::Int8, case.second_nullable),
    ]);
    let plan =
        Plan::compile(input(), output, &pipeline).unwrap_or_else(|m| panic!("{sql}\n{m:#?}"));
    let done = plan.apply(&to_batch(&case.records), 0).unwrap();
    assert!(done.rows.is_sorted() && done.faults.is_sorted_by_key(|(row, _)| *row));
    assert_eq!(done.rows.len(), done.output.num_rows());
    let mut outcomes: Vec<Outcome> = case.records.iter().map(|_| Outcome::Filtered).collect();
    let first = done.output.column(0).as_primitive::<Int64Type>();
    let second = done.output.column(1).as_primitive::<arrow::datatypes::Int8Type>();
    for (i, row) in done.rows.iter().enumerate() {
        let value = |valid, v: i64| if valid { Some(v) } else { None };
        use arrow::array::Array;
        outcomes[*row as usize] = Outcome::Emitted(
            value(first.is_valid(i), first.value(i)),
            value(second.is_valid(i), i64::from(second.value(i))),
        );
    }
    for (row, fault) in &done.faults {
        assert_eq!(outcomes[*row as usize], Outcome::Filtered, "row {row} has two outcomes");
        outcomes[*row as usize] = Outcome::Refused(fault.reason.clone());
    }
    outcomes
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn each_record_has_the_outcome_that_it_has_when_evaluated_alone(case in cases()) {
        let outcomes = actual(&case);
        for (record, outcome) in case.records.iter().zip(outcomes) {
            prop_assert_eq!(outcome, expected(&case, record), "{:?}", record);
        }
    }
}
