//! Every column type with the extreme values of its field: each value is stored unchanged, or its
//! row is a dead letter. No value stops the sink or takes another row with it. The audit finds the
//! rows equal to their records.

mod lists;
mod nested;
mod numbers;
mod read;
mod texts;
mod times;

use crate::fixture::{Fixture, append, claim, position_key, write};
use arrow::array::{ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use std::sync::Arc;
use weir_model::pipeline::{Mode, Postgres};
use weir_model::protocol::Outcome;
use weir_store::postgres::{Origins, reference};

/// A column type, the values of the field, and which of them it stores, as text.
type Case = (&'static str, ArrayRef, Vec<Option<&'static str>>);

/// Types that the cases use.
pub(crate) const TYPES: &str = "DROP SCHEMA IF EXISTS shop CASCADE; CREATE SCHEMA shop; \
     CREATE EXTENSION IF NOT EXISTS citext; CREATE EXTENSION IF NOT EXISTS ltree; \
     CREATE TYPE shop.mood AS ENUM ('ok', 'sad'); \
     CREATE TYPE shop.size AS (width int, unit text); \
     CREATE DOMAIN shop.positive AS numeric CHECK (value > 0); \
     CREATE DOMAIN shop.price AS shop.positive CHECK (value < 1000); \
     CREATE DOMAIN shop.code AS varchar(3) NOT NULL CHECK (value <> 'bad'); \
     CREATE DOMAIN shop.address AS inet CHECK (family(value) = 4)";

fn int32(list: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(list.to_vec()))
}

fn int64(list: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(list.to_vec()))
}

fn decimal(list: &[i128], precision: u8, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from(list.to_vec());
    Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
}

fn text(list: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(list.to_vec()))
}

fn cases() -> Vec<Case> {
    [
        numbers::cases(),
        times::cases(),
        texts::cases(),
        read::cases(),
        lists::cases(),
        nested::cases(),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extreme_value_is_stored_unchanged_or_refused_alone() {
    let fixture = Fixture::prepared().await;
    let mut differences = Vec::new();
    for case in cases() {
        for mode in [Mode::Append, Mode::Upsert] {
            differences.extend(difference(&fixture, &case, mode).await);
        }
    }
    assert_eq!(differences, Vec::<String>::new());
}

/// What is not as the case says.
async fn difference(fixture: &Fixture, case: &Case, mode: Mode) -> Option<String> {
    let (column, values, wanted) = case.clone();
    let what = format!("{mode:?} {} into {column}", values.data_type());
    let table = format!("CREATE TABLE shop.sale (value {column}, number int PRIMARY KEY)");
    fixture.database.execute(&format!("{TYPES}; {table}; TRUNCATE weir.positions")).unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("number", DataType::Int32, false),
        Field::new("value", values.data_type().clone(), !column.ends_with("code")),
    ]));
    let numbers = Int32Array::from_iter_values(0..values.len() as i32);
    let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), values]).unwrap();
    let key = if mode == Mode::Upsert { vec!["number".to_owned()] } else { Vec::new() };
    let target = Postgres { mode, key, columns: Default::default(), ..append() };
    let layout = fixture.layout(&target, &schema).await;
    let committed = fixture.store.acquire(&position_key(), &[0]).await.unwrap().remove(0);
    let num_rows = rows.num_rows();
    let claim = claim(&committed, num_rows as i64, num_rows as u64);
    let written = write(&fixture.store, &layout, &claim, &rows)
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(written.outcome, Outcome::Committed, "{what}");
    let stored = fixture.rows("SELECT number, value::text FROM shop.sale ORDER BY number");
    let mut found = vec![None; num_rows];
    for row in stored {
        found[row[0].as_ref().unwrap().parse::<usize>().unwrap()] = row[1].clone();
    }
    let wanted: Vec<Option<String>> =
        wanted.into_iter().map(|value| value.map(str::to_owned)).collect();
    let refused: Vec<usize> = written.refused.iter().map(|refusal| refusal.row).collect();
    let dead: Vec<usize> = (0..num_rows).filter(|row| wanted[*row].is_none()).collect();
    let differing = differing(fixture, &target, &rows).await;
    if found != wanted || refused != dead || !differing.is_empty() {
        return Some(format!(
            "{what}: {found:?} {refused:?} instead of {wanted:?}; the audit finds \
             {differing:?}"
        ));
    }
    None
}

/// The rows that the audit finds different from their records.
async fn differing(fixture: &Fixture, target: &Postgres, rows: &RecordBatch) -> Vec<(i32, i64)> {
    let offsets: Vec<i64> = (0..rows.num_rows() as i64).collect();
    let partitions = vec![0; rows.num_rows()];
    let origins = Origins {
        topic: "calls",
        partitions: &partitions,
        offsets: &offsets,
        replays: &[],
        deletes: None,
    };
    fixture.store.differing("warehouse", target, rows, origins).await.unwrap()
}

#[test]
fn every_row_of_the_reference_has_cases() {
    let cases = cases();
    let has_case = |field: Option<&str>, column: &str| {
        let mut of_column = cases.iter().filter(|(name, _, _)| *name == column);
        of_column.any(|(_, values, _)| reference::field(values.data_type()) == field)
    };
    let missing: Vec<String> = reference::accepted()
        .into_iter()
        .flat_map(|(field, columns, array)| {
            let columns = columns.into_iter().map(move |column| (Some(field), column.to_owned()));
            columns.chain(array.map(|array| (None, array)))
        })
        .filter(|(field, column)| !has_case(*field, column))
        .map(|(field, column)| format!("{} into {column}", field.unwrap_or("array")))
        .collect();
    assert_eq!(missing, Vec::<String>::new());
}
