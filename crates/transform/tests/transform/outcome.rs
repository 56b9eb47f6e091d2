//! The outcome of each record: emitted, filtered or refused, and why.

use crate::support::{batch, joining, micros, pipeline, rejecting, schema};
use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use std::sync::Arc;
use weir_model::fault::Stage;
use weir_model::pipeline::Pipeline;
use weir_transform::{Error, Plan, Transformed};

fn input() -> SchemaRef {
    schema(&[
        ("id", DataType::Int64, false),
        ("n", DataType::Int32, true),
        ("text", DataType::Utf8, true),
    ])
}

fn records(rows: &[(i64, Option<i32>, Option<&str>)]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|r| Some(r.0)).collect();
    let numbers: Int32Array = rows.iter().map(|r| r.1).collect();
    let texts: StringArray = rows.iter().map(|r| r.2).collect();
    batch(&input(), vec![Arc::new(ids), Arc::new(numbers), Arc::new(texts)])
}

fn compile(output: &SchemaRef, pipeline: &Pipeline) -> Plan {
    Plan::compile(input(), output.clone(), pipeline).unwrap_or_else(|m| panic!("{m:#?}"))
}

/// Row, stage and reason of each fault.
fn faults(done: &Transformed) -> Vec<(u32, Stage, &str)> {
    done.faults.iter().map(|(row, fault)| (*row, fault.stage, fault.reason.as_str())).collect()
}

fn ids(done: &Transformed) -> Vec<i64> {
    done.output.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn texts(done: &Transformed, column: &str) -> Vec<Option<String>> {
    done.output
        .column_by_name(column)
        .unwrap()
        .as_string::<i32>()
        .iter()
        .map(|t| t.map(String::from))
        .collect()
}

#[test]
fn a_plan_can_be_shared_by_workers() {
    fn shared<T: Send + Sync>() {}
    shared::<Plan>();
}

#[test]
fn the_first_rule_that_is_true_names_the_reason_and_null_is_not_true() {
    let output = schema(&[("id", DataType::Int64, false)]);
    let rules =
        [("negative", "n < 0\n  OR false"), ("even", "n % 2 = 0"), ("unknown", "text IS NULL")];
    let plan =
        compile(&output, &rejecting(pipeline("SELECT id FROM input WHERE id <> 13"), &rules));
    let rows = [
        (10, Some(-2), Some("a")),
        (11, Some(4), None),
        (12, None, Some("a")),
        (13, Some(1), Some("a")),
        (13, Some(2), Some("a")),
        (14, None, None),
    ];
    let done = plan.apply(&records(&rows), 0).unwrap();
    assert_eq!(
        faults(&done),
        [
            (0, Stage::Rule, "negative"),
            (1, Stage::Rule, "even"),
            (4, Stage::Rule, "even"),
            (5, Stage::Rule, "unknown")
        ]
    );
    assert_eq!((done.rows.as_slice(), ids(&done)), (&[2][..], vec![12]));
    assert_eq!(done.faults[0].1.detail, "rule: n < 0 OR false");
}

#[test]
fn empty_batches_and_batches_without_survivors_keep_the_output_schema() {
    let output = schema(&[("id", DataType::Int64, false)]);
    let plan = compile(
        &output,
        &rejecting(pipeline("SELECT id FROM input WHERE id > 10"), &[("refused", "id > 20")]),
    );
    for (rows, emitted, refused) in [
        (&[][..], 0, 0),
        (&[1, 2, 3], 0, 0),
        (&[21, 22], 0, 2),
        (&[21, 1], 0, 1),
        (&[21, 11, 1], 1, 1),
    ] {
        let rows: Vec<_> = rows.iter().map(|id| (*id, None, None)).collect();
        let done = plan.apply(&records(&rows), 0).unwrap();
        assert_eq!(
            (done.output.num_rows(), done.rows.len(), done.faults.len()),
            (emitted, emitted, refused),
            "{rows:?}"
        );
        assert_eq!(done.output.schema(), output);
    }
}

#[test]
fn no_state_is_carried_from_one_batch_to_the_next() {
    let output = schema(&[("id", DataType::Int64, false), ("at", micros(), false)]);
    let plan = compile(&output, &pipeline("SELECT id, now() AS at FROM input WHERE n > 0"));
    for round in 0..3 {
        let rows: Vec<_> = (0..5).map(|i| (round * 10 + i, Some(i as i32 % 2), None)).collect();
        let done = plan.apply(&records(&rows), round).unwrap();
        assert_eq!(ids(&done), [round * 10 + 1, round * 10 + 3]);
        assert_eq!(done.rows, [1, 3]);
        assert_eq!(
            done.output.column(1).as_primitive::<TimestampMicrosecondType>().values(),
            &[round, round]
        );
    }
}

#[test]
fn now_is_one_value_per_batch_given_by_the_caller() {
    let output = schema(&[
        ("at", micros(), false),
        ("same", DataType::Boolean, true),
        ("day", DataType::Date32, true),
    ]);
    let sql = "SELECT now() AS at, now() = current_timestamp AS same, CAST(now() AS DATE) AS day \
        FROM input";
    let plan =
        compile(&output, &rejecting(pipeline(sql), &[("late", "now() > '2024-01-01' AND id = 1")]));
    let now = 1_710_000_000_123_456;
    let done =
        plan.apply(&records(&[(1, None, None), (2, None, None), (3, None, None)]), now).unwrap();
    assert_eq!(done.rows, [1, 2]);
    assert_eq!(
        done.output.column(0).as_primitive::<TimestampMicrosecondType>().values(),
        &[now, now]
    );
    assert!(done.output.column(1).as_boolean().iter().all(|same| same == Some(true)));
}

#[test]
fn an_expression_that_fails_costs_its_record_and_no_other() {
    let output = schema(&[("id", DataType::Int64, false), ("x", DataType::Int64, true)]);
    let rows: Vec<_> = (0..1000).map(|i| (i, Some((i % 100) as i32), Some("12"))).collect();
    let zero: Vec<u32> = (0..1000).filter(|i| i % 100 == 0).collect();
    let plan = compile(&output, &pipeline("SELECT id, 100 / n AS x FROM input"));
    let done = plan.apply(&records(&rows), 0).unwrap();
    assert_eq!(
        faults(&done),
        zero.iter().map(|row| (*row, Stage::Transform, "expression_failed")).collect::<Vec<_>>()
    );
    assert_eq!(done.faults[0].1.detail, "`x`: division by zero");
    assert_eq!(done.rows, (0..1000).filter(|i| i % 100 != 0).collect::<Vec<u32>>());
    let quotient = done.output.column(1).as_primitive::<Int64Type>();
    assert!(ids(&done).iter().zip(quotient.values()).all(|(id, x)| *x == 100 / (id % 100)));

    for rejecting_rule in [true, false] {
        let refusing = if rejecting_rule {
            rejecting(pipeline("SELECT id, 1 AS x FROM input"), &[("big", "100 / n > 50")])
        } else {
            pipeline("SELECT id, 1 AS x FROM input WHERE 100 / n <= 50")
        };
        let done = compile(&output, &refusing).apply(&records(&rows), 0).unwrap();
        assert_eq!(
            done.faults
                .iter()
                .filter(|(_, f)| f.reason == "expression_failed")
                .map(|(row, _)| *row)
                .collect::<Vec<_>>(),
            zero
        );
        assert_eq!(done.rows.len(), 980, "0 fails, 1 is big");
    }
}

#[test]
fn refused_and_filtered_records_are_not_evaluated_further() {
    let output = schema(&[("id", DataType::Int64, false), ("x", DataType::Int64, true)]);
    let rules = [("zero", "n = 0"), ("large", "100 / n > 99")];
    let plan = compile(
        &output,
        &rejecting(
            pipeline("SELECT id, 10 / (n - 2) + 10 / n AS x FROM input WHERE n <> 2 OR 1 / n > 5"),
            &rules,
        ),
    );
    let rows: Vec<_> = (0..20).map(|i| (i, Some((i % 5) as i32), None)).collect();
    let done = plan.apply(&records(&rows), 0).unwrap();
    assert!(
        done.faults.iter().all(|(row, f)| f.reason == if row % 5 == 0 { "zero" } else { "large" }),
        "{:?}",
        done.faults
    );
    assert_eq!(done.rows, [3, 4, 8, 9, 13, 14, 18, 19]);
}

#[test]
fn and_does_not_evaluate_its_right_side_when_the_left_is_false() {
    let output = schema(&[("id", DataType::Int64, false)]);
    let plan = compile(
        &output,
        &rejecting(pipeline("SELECT id FROM input"), &[("large", "n <> 0 AND 100 / n > 50")]),
    );
    let rows: Vec<_> = (0..100).map(|i| (i, Some((i % 3) as i32), None)).collect();
    let done = plan.apply(&records(&rows), 0).unwrap();
    assert!(
        done.faults.iter().all(|(row, f)| f.reason == "large" && row % 3 == 1),
        "{:?}",
        done.faults
    );
    assert_eq!(done.faults.len(), 33);
}

#[test]
fn integers_never_wrap_around() {
    let output = schema(&[("id", DataType::Int64, false), ("x", DataType::Int64, true)]);
    for sql in ["id + 1", "id * 2", "-(-id - 2)", "id - -1"] {
        let plan = compile(&output, &pipeline(&format!("SELECT id, {sql} AS x FROM input")));
        let done = plan
            .apply(&records(&[(1, None, None), (i64::MAX, None, None), (3, None, None)]), 0)
            .unwrap();
        assert_eq!(faults(&done), [(1, Stage::Transform, "expression_failed")], "{sql}");
        assert_eq!(done.rows, [0, 2]);
    }
    let plan = compile(&output, &pipeline("SELECT 1 AS id, -id AS x FROM input"));
    assert_eq!(
        faults(&plan.apply(&records(&[(i64::MIN, None, None)]), 0).unwrap()),
        [(0, Stage::Transform, "expression_failed")]
    );
}

#[test]
fn a_bad_cast_costs_its_record() {
    let output = schema(&[("id", DataType::Int64, false), ("x", DataType::Int32, true)]);
    let plan = compile(&output, &pipeline("SELECT id, CAST(text AS INT) AS x FROM input"));
    let done = plan
        .apply(
            &records(&[
                (1, None, Some("12")),
                (2, None, Some("x12")),
                (3, None, None),
                (4, None, Some("99999999999")),
            ]),
            0,
        )
        .unwrap();
    assert_eq!(
        faults(&done),
        [(1, Stage::Transform, "expression_failed"), (3, Stage::Transform, "expression_failed")]
    );
    assert!(
        done.faults[0].1.detail.starts_with("`x`: Cannot cast string 'x12'"),
        "{:?}",
        done.faults
    );
    assert_eq!(done.rows, [0, 2]);
}

/// A value as text, or reason and detail of its fault.
type Converted = Result<String, (String, String)>;

/// The output of `expression` of type `to` for each n, or the reason it was refused.
fn converted(
    expression: &str,
    to: DataType,
    nullable: bool,
    numbers: &[Option<i32>],
) -> Vec<Converted> {
    let output = schema(&[("id", DataType::Int64, false), ("x", to, nullable)]);
    let plan = compile(&output, &pipeline(&format!("SELECT id, {expression} AS x FROM input")));
    let rows: Vec<_> = numbers.iter().enumerate().map(|(i, n)| (i as i64, *n, None)).collect();
    let done = plan.apply(&records(&rows), 0).unwrap();
    let format = arrow::util::display::FormatOptions::new().with_null("null");
    let shown =
        arrow::util::display::ArrayFormatter::try_new(done.output.column(1), &format).unwrap();
    let mut results: Vec<(u32, Converted)> = done
        .rows
        .iter()
        .enumerate()
        .map(|(i, row)| (*row, Ok(shown.value(i).to_string())))
        .collect();
    results.extend(
        done.faults.iter().map(|(row, f)| (*row, Err((f.reason.clone(), f.detail.clone())))),
    );
    results.sort_by_key(|(row, _)| *row);
    results.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn a_value_that_the_output_type_cannot_hold_is_a_fault_and_never_null_or_truncated() {
    let misfit =
        |what: &str| Err(("value_does_not_fit".to_string(), format!("`x` does not fit {what}")));
    let ok = |text: &str| Ok(text.to_string());
    let big = Some(i32::MAX);
    assert_eq!(
        converted("CAST(n AS BIGINT) * 4", DataType::Int32, true, &[Some(1), big, None]),
        [ok("4"), misfit("int"), ok("null")]
    );
    assert_eq!(
        converted("CAST(n AS BIGINT)", DataType::Decimal128(5, 2), true, &[Some(999), Some(1000)]),
        [ok("999.00"), misfit("decimal(5,2)")]
    );
    assert_eq!(
        converted(
            "n * 1.005",
            DataType::Decimal128(5, 2),
            true,
            &[Some(1), Some(-1), Some(3), big]
        ),
        [ok("1.01"), ok("-1.01"), ok("3.02"), misfit("decimal(5,2)")]
    );
    assert_eq!(
        converted("n", DataType::Float32, true, &[Some(16_777_216), Some(16_777_217)]),
        [ok("16777216.0"), misfit("float")]
    );
    let missing = || {
        Err(("value_missing".to_string(), "`x` is null, the output schema expects int".to_string()))
    };
    assert_eq!(
        converted("n", DataType::Int32, false, &[None, Some(1), None]),
        [missing(), ok("1"), missing()]
    );
}

#[test]
fn decimal_arithmetic_is_narrowed_to_the_output_schema() {
    let input = schema(&[
        ("amount", DataType::Decimal128(10, 2), false),
        ("seconds", DataType::Int32, false),
    ]);
    let output = schema(&[("rate", DataType::Decimal128(10, 4), true)]);
    let plan = Plan::compile(
        input.clone(),
        output,
        &pipeline("SELECT CASE WHEN seconds > 0 THEN amount * 60 / seconds END AS rate FROM input"),
    )
    .unwrap();
    let amounts = Decimal128Array::from(vec![1000, 1000, 9_999_999_999, 5])
        .with_precision_and_scale(10, 2)
        .unwrap();
    let done = plan
        .apply(
            &batch(&input, vec![Arc::new(amounts), Arc::new(Int32Array::from(vec![0, 7, 1, 60]))]),
            0,
        )
        .unwrap();
    assert_eq!(faults(&done), [(2, Stage::Transform, "value_does_not_fit")]);
    let rates: Vec<Option<i128>> =
        done.output.column(0).as_primitive::<arrow::datatypes::Decimal128Type>().iter().collect();
    assert_eq!(rates, [None, Some(857_143), Some(500)]);
}

#[test]
fn lookups_match_by_equality_keep_the_order_and_never_match_null() {
    let folder = tempfile::tempdir().unwrap();
    let output = schema(&[
        ("id", DataType::Int64, false),
        ("name", DataType::Utf8, true),
        ("rank", DataType::Int64, true),
    ]);
    let csv = "\u{feff}code,name,rank,unused\nb,Bee,2,x\na,\"A, quoted\",1,y\nempty,,,\n";
    let rows = [
        (1, None, Some("a")),
        (2, None, Some("zz")),
        (3, None, None),
        (4, None, Some("b")),
        (5, None, Some("a")),
        (6, None, Some("empty")),
    ];
    let left = joining(
        pipeline("SELECT i.id, l.name, l.rank FROM input i LEFT JOIN l ON l.code = i.text"),
        folder.path(),
        "l",
        &["code"],
        csv,
    );
    let done = compile(&output, &left).apply(&records(&rows), 0).unwrap();
    assert_eq!(ids(&done), [1, 2, 3, 4, 5, 6]);
    let some = |t: &str| Some(t.to_string());
    assert_eq!(
        texts(&done, "name"),
        [some("A, quoted"), None, None, some("Bee"), some("A, quoted"), None]
    );
    assert_eq!(
        done.output.column(2).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(),
        [Some(1), None, None, Some(2), Some(1), None]
    );

    let mut inner = left.clone();
    inner.transform.sql =
        "SELECT i.id, l.name, l.rank FROM input i JOIN l ON l.code = i.text".into();
    let done = compile(&output, &inner).apply(&records(&rows), 0).unwrap();
    assert_eq!(
        (ids(&done), done.rows.clone(), done.faults.len()),
        (vec![1, 4, 5, 6], vec![0, 3, 4, 5], 0),
        "no match is filtered, not refused"
    );

    let ruled = rejecting(
        inner,
        &[("unknown", "l.code IS NULL AND i.text IS NOT NULL"), ("second", "rank = 2")],
    );
    let done = compile(&output, &ruled).apply(&records(&rows), 0).unwrap();
    assert_eq!(
        faults(&done),
        [(1, Stage::Rule, "unknown"), (3, Stage::Rule, "second")],
        "rules see records that the join filters"
    );
    assert_eq!(ids(&done), [1, 5, 6]);
}

#[test]
fn keys_may_use_several_columns_other_types_expressions_and_other_lookups() {
    let folder = tempfile::tempdir().unwrap();
    let output = schema(&[
        ("id", DataType::Int64, false),
        ("name", DataType::Utf8, true),
        ("country", DataType::Utf8, true),
        ("again", DataType::Utf8, true),
    ]);
    let sql = "SELECT i.id, pair.name, c.country, d.country AS again FROM input i
               LEFT JOIN pair ON pair.number = i.n AND i.text = pair.letter
               LEFT JOIN countries c ON c.name = pair.name
               LEFT JOIN countries d ON d.name = upper(i.text)";
    let pairs = joining(
        pipeline(sql),
        folder.path(),
        "pair",
        &["letter", "number"],
        "number,letter,name\n1,a,A1\n2,a,A2\n1,b,B1\n",
    );
    let both =
        joining(pairs, folder.path(), "countries", &["name"], "name,country\nA1,FR\nB1,GB\nA,AA\n");
    let rows = [
        (1, Some(1), Some("a")),
        (2, Some(2), Some("a")),
        (3, Some(2), Some("b")),
        (4, Some(1), Some("b")),
        (5, None, Some("a")),
        (6, Some(1), None),
    ];
    let done = compile(&output, &both).apply(&records(&rows), 0).unwrap();
    let some = |t: &str| Some(t.to_string());
    assert_eq!(texts(&done, "name"), [some("A1"), some("A2"), None, some("B1"), None, None]);
    assert_eq!(texts(&done, "country"), [some("FR"), None, None, some("GB"), None, None]);
    assert_eq!(texts(&done, "again"), [some("AA"), some("AA"), None, None, some("AA"), None]);
}

#[test]
fn a_lookup_that_is_only_used_by_another_join_is_joined_too() {
    let folder = tempfile::tempdir().unwrap();
    let output = schema(&[("id", DataType::Int64, false), ("end", DataType::Utf8, true)]);
    let sql = "SELECT id, c.next AS end FROM input LEFT JOIN a ON text = a.code LEFT JOIN b ON \
        a.next = b.code LEFT JOIN c ON b.next = c.code";
    let tables =
        [("a", "code,next\nx,y\nv,w\n"), ("b", "code,next\ny,z\n"), ("c", "code,next\nz,found\n")];
    let joined = tables
        .iter()
        .fold(pipeline(sql), |p, (name, csv)| joining(p, folder.path(), name, &["code"], csv));
    let done = compile(&output, &joined)
        .apply(&records(&[(1, None, Some("x")), (2, None, Some("v")), (3, None, None)]), 0)
        .unwrap();
    assert_eq!(texts(&done, "end"), [Some("found".to_string()), None, None]);
}

#[test]
fn a_key_that_looks_numeric_is_compared_in_the_type_of_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let output = schema(&[("id", DataType::Int64, false), ("name", DataType::Utf8, true)]);
    let rows =
        records(&[(1, Some(7), Some("007")), (2, Some(8), Some("8")), (3, Some(9), Some("9.0"))]);
    let csv = "code,name\n007,seven\n8,eight\n";
    let by_text = joining(
        pipeline("SELECT id, name FROM input LEFT JOIN l ON text = code"),
        folder.path(),
        "l",
        &["code"],
        csv,
    );
    let seven_eight = [Some("seven".to_string()), Some("eight".to_string()), None];
    assert_eq!(texts(&compile(&output, &by_text).apply(&rows, 0).unwrap(), "name"), seven_eight);
    let by_number = joining(
        pipeline("SELECT id, name FROM input LEFT JOIN l ON n = code"),
        folder.path(),
        "l",
        &["code"],
        csv,
    );
    assert_eq!(texts(&compile(&output, &by_number).apply(&rows, 0).unwrap(), "name"), seven_eight);
}

#[test]
fn a_key_that_cannot_be_computed_costs_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let output = schema(&[("id", DataType::Int64, false), ("name", DataType::Utf8, true)]);
    let sql = "SELECT id, name FROM input LEFT JOIN l ON 10 / n = code";
    let plan = compile(
        &output,
        &joining(pipeline(sql), folder.path(), "l", &["code"], "code,name\n5,five\n"),
    );
    let done = plan
        .apply(&records(&[(1, Some(2), None), (2, Some(0), None), (3, Some(1), None)]), 0)
        .unwrap();
    assert_eq!(faults(&done), [(1, Stage::Transform, "expression_failed")]);
    assert_eq!(done.faults[0].1.detail, "the key of lookup `l`: division by zero");
    assert_eq!(texts(&done, "name"), [Some("five".to_string()), None]);
}

#[test]
fn names_with_blanks_special_characters_and_capitals_are_written_as_in_the_schema() {
    let input =
        schema(&[("Cost Total $", DataType::Utf8, true), ("callId", DataType::Int64, false)]);
    let output =
        schema(&[("id", DataType::Int64, false), ("cost", DataType::Decimal128(12, 2), true)]);
    let sql = "SELECT callId AS id, CAST(replace(\"Cost Total $\", ',', '') AS DECIMAL(12,2)) AS \
        cost FROM input";
    let plan = Plan::compile(
        input.clone(),
        output,
        &rejecting(pipeline(sql), &[("free", "\"Cost Total $\" = '0'")]),
    )
    .unwrap();
    let costs: ArrayRef = Arc::new(StringArray::from(vec![Some("1,234.5"), Some("0"), None]));
    let done = plan
        .apply(&batch(&input, vec![costs, Arc::new(Int64Array::from(vec![1, 2, 3]))]), 0)
        .unwrap();
    assert_eq!(done.rows, [0, 2]);
    assert_eq!(
        done.output.column(1).as_primitive::<arrow::datatypes::Decimal128Type>().value(0),
        123_450
    );
}

#[test]
fn the_functions_that_pipelines_need_are_available() {
    let input = schema(&[
        ("lat", DataType::Float64, false),
        ("at", micros(), false),
        ("city", DataType::Utf8, true),
    ]);
    let output = schema(&[
        ("distance", DataType::Float64, true),
        ("hour", DataType::Int32, true),
        ("month", DataType::Int32, true),
        ("class", DataType::Utf8, true),
        ("city", DataType::Utf8, true),
        ("slot", micros(), true),
        ("code", DataType::Utf8, true),
    ]);
    let sql = "SELECT
        2 * 3958.7613 * asin(sqrt(power(sin(radians(lat - 10) / 2), 2)
            + cos(radians(lat)) * cos(radians(10)) * 0)) AS distance,
        EXTRACT(HOUR FROM at) AS hour, date_part('month', at) AS month,
        CASE WHEN lat < 0 THEN 'south' ELSE 'north' END AS class,
        coalesce(trim(lower(NULLIF(city, 'NA'))), 'unknown') AS city,
        date_trunc('hour', at) AS slot,
        substring(city, 1, 2) || '-' || length(city) || CASE
            WHEN city LIKE 'P%' AND regexp_like(city, 'a.i') THEN '!' ELSE '' END AS code
        FROM input";
    let plan = Plan::compile(input.clone(), output.clone(), &pipeline(sql))
        .unwrap_or_else(|m| panic!("{m:#?}"));
    let at =
        TimestampMicrosecondArray::from(vec![1_710_000_000_123_456, -1]).with_timezone("+00:00");
    let cities = StringArray::from(vec![Some("Paris "), Some("NA")]);
    let done = plan
        .apply(
            &batch(
                &input,
                vec![
                    Arc::new(Float64Array::from(vec![11.0, -1.0])),
                    Arc::new(at),
                    Arc::new(cities),
                ],
            ),
            0,
        )
        .unwrap();
    assert_eq!(done.faults, []);
    let some = |t: &str| Some(t.to_string());
    assert_eq!(texts(&done, "class"), [some("north"), some("south")]);
    assert_eq!(texts(&done, "city"), [some("paris"), some("unknown")]);
    assert_eq!(texts(&done, "code"), [some("Pa-6!"), some("NA-2")]);
    assert_eq!(
        done.output.column(1).as_primitive::<arrow::datatypes::Int32Type>().values(),
        &[16, 23]
    );
    assert_eq!(
        done.output.column(5).as_primitive::<TimestampMicrosecondType>().value(0),
        1_709_996_400_000_000 + 3_600_000_000
    );
    let miles = done.output.column(0).as_primitive::<arrow::datatypes::Float64Type>().value(0);
    assert!((miles - 69.09).abs() < 0.01, "{miles}");
}

#[test]
fn a_batch_of_another_schema_is_refused_as_a_whole() {
    let output = schema(&[("id", DataType::Int64, false)]);
    let plan = compile(&output, &pipeline("SELECT id FROM input"));
    let other = schema(&[("id", DataType::Utf8, false)]);
    let error =
        plan.apply(&batch(&other, vec![Arc::new(StringArray::from(vec!["a"]))]), 0).unwrap_err();
    assert!(matches!(error, Error::Schema { .. }));
    assert!(
        error.to_string().ends_with("expected id long, n int, text string, got id string"),
        "{error}"
    );
}

#[test]
fn values_that_make_a_kernel_panic_cost_their_record() {
    let input = schema(&[("at", micros(), false)]);
    let output = schema(&[("slot", micros(), true)]);
    let plan = Plan::compile(
        input.clone(),
        output,
        &pipeline("SELECT date_trunc('month', at) AS slot FROM input"),
    )
    .unwrap();
    let at =
        TimestampMicrosecondArray::from(vec![0, i64::MAX, i64::MIN, 1]).with_timezone("+00:00");
    let done = plan.apply(&batch(&input, vec![Arc::new(at)]), 0).unwrap();
    assert_eq!(done.rows.len() + done.faults.len(), 4);
    assert!(done.rows.contains(&0) && done.rows.contains(&3), "{:?}", done.faults);
    assert_eq!(done.output.column(0).len(), done.rows.len());
}

#[test]
fn wildcards_and_using_work_as_in_sql() {
    let folder = tempfile::tempdir().unwrap();
    let output = schema(&[
        ("text", DataType::Utf8, true),
        ("id", DataType::Int64, false),
        ("n", DataType::Int32, true),
        ("name", DataType::Utf8, true),
    ]);
    let rows = records(&[(1, Some(1), Some("a")), (2, Some(2), Some("z")), (3, Some(3), None)]);
    for sql in [
        "SELECT * FROM input i LEFT JOIN l USING (text) -- the key comes once",
        "SELECT i.*, l.name FROM input AS i LEFT OUTER JOIN l USING (text);",
        "SELECT * EXCEPT (code) FROM input LEFT JOIN (VALUES (1)) l USING (text)",
        "SELECT input.* EXCLUDE (n), n, name FROM input /* no alias */ LEFT JOIN l ON l.text = \
         input.text",
    ] {
        let joined = joining(pipeline(sql), folder.path(), "l", &["text"], "text,name\na,Ay\n");
        let joined = rejecting(joined, &[("third", "text IS NULL AND name IS NULL")]);
        if sql.contains("VALUES") {
            assert!(Plan::compile(input(), output.clone(), &joined).is_err());
            continue;
        }
        let joined = if sql.contains("ON") {
            rejecting(joined, &[("third", "input.text IS NULL AND name IS NULL")])
        } else {
            joined
        };
        let done = compile(&output, &joined).apply(&rows, 0).unwrap();
        assert_eq!(faults(&done), [(2, Stage::Rule, "third")], "{sql}");
        assert_eq!(
            (ids(&done), texts(&done, "name")),
            (vec![1, 2], vec![Some("Ay".to_string()), None]),
            "{sql}"
        );
        assert_eq!(texts(&done, "text"), [Some("a".to_string()), Some("z".to_string())]);
    }
}

#[test]
fn enums_arrays_and_records_pass_through_and_enums_compare_with_text() {
    use arrow::array::{DictionaryArray, ListArray, StructArray};
    use arrow::datatypes::{Field, Fields, Int32Type};
    let kinds: DictionaryArray<Int32Type> = [Some("a"), Some("b"), None].into_iter().collect();
    let tags = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1)]),
        None,
        Some(vec![None]),
    ]);
    let place = Fields::from(vec![Field::new("city", DataType::Utf8, true)]);
    let places = StructArray::new(
        place,
        vec![Arc::new(StringArray::from(vec!["x", "y", "z"])) as ArrayRef],
        None,
    );
    let input = schema(&[
        ("kind", kinds.data_type().clone(), true),
        ("tags", tags.data_type().clone(), true),
        ("place", places.data_type().clone(), true),
    ]);
    let output = schema(&[
        ("kind", kinds.data_type().clone(), true),
        ("text", DataType::Utf8, true),
        ("tags", tags.data_type().clone(), true),
        ("place", places.data_type().clone(), true),
        ("city", DataType::Utf8, true),
        ("name", DataType::Utf8, true),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let sql = "SELECT kind, kind AS text, tags, place, place['city'] AS city, name FROM input LEFT \
        JOIN l ON kind = code";
    let joined = rejecting(
        joining(pipeline(sql), folder.path(), "l", &["code"], "code,name\na,Ay\n"),
        &[("b", "kind = 'b'")],
    );
    let plan = Plan::compile(input.clone(), output, &joined).unwrap_or_else(|m| panic!("{m:#?}"));
    let done = plan
        .apply(&batch(&input, vec![Arc::new(kinds), Arc::new(tags), Arc::new(places)]), 0)
        .unwrap();
    assert_eq!((faults(&done), done.rows.as_slice()), (vec![(1, Stage::Rule, "b")], &[0, 2][..]));
    let some = |t: &str| Some(t.to_string());
    assert_eq!(texts(&done, "text"), [some("a"), None]);
    assert_eq!(texts(&done, "city"), [some("x"), some("z")]);
    assert_eq!(texts(&done, "name"), [some("Ay"), None]);
}
