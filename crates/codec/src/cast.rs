//! Columns of any types → columns of exactly a schema's types, before they are encoded.

mod mismatch;
mod nested;
mod values;

use crate::column::ColumnBuilder;
use crate::columns::{BatchBuilder, CheckedBatch, quoted};
use crate::field_type::FieldType;
use crate::frame::fault;
use crate::schema::Schema;
use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow::compute::{concat, nullif};
use arrow::datatypes::Field as ArrowField;
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use weir_model::bisect::Bisection;
use weir_model::fault::{Fault, Stage, VALUE_DOES_NOT_FIT};

pub(crate) use mismatch::mismatch;

/// The result of [`cast`].
#[derive(Debug)]
pub struct CastBatch {
    /// The rows that fit, with exactly [`Schema::arrow`].
    pub batch: RecordBatch,
    /// The original row of each row of `batch`; ascending.
    pub rows: Vec<u32>,
    /// The other rows; ascending. Their stage is [`Stage::Source`]; a caller at another stage sets
    /// its own.
    pub faults: Vec<(u32, Fault)>,
}

/// Casts each column of `batch` (matched by name) to the type that `schema` implies, by the rules of
/// [`weir_model::cast`]; arrays, maps and records part by part, their members matched by name. A row
/// has a fault when the cast would change a value, or for a null where none is allowed: a number out
/// of range or with more digits than the field has, a fraction in an integer, a text that is not a
/// number, time or symbol of the schema. A column of a type that cannot become the field's
/// ([`FieldType::mismatch`]) is a fault in every row. A column that `batch` does not have takes the
/// field's default, or null without one.
pub fn cast(batch: &RecordBatch, schema: &Schema) -> CastBatch {
    let num_rows = batch.num_rows();
    let mut columns = BatchBuilder::new(schema.arrow(), num_rows);
    for (field, field_type) in schema.fields().iter().zip(schema.field_types()) {
        let found = batch.schema_ref().column_with_name(&field.name);
        let (before, converted) = match found {
            Some((index, from)) => {
                let before = batch.column(index).clone();
                let converted = column(&before, from, &field_type);
                (before, converted)
            }
            None => {
                let absent = absent_column(&field_type, num_rows);
                (absent.clone(), Converted { values: absent, lost: HashMap::new() })
            }
        };
        let Converted { values, lost } = converted;
        columns.push(&field.name, &before, values, |array, row| match lost.get(&row) {
            Some(Lost { reason, path, what }) => {
                fault(reason, format!("{}{path}: {what}", field.name))
            }
            None => {
                let value = quoted(array, row);
                let what = format!("{}: `{value}` does not fit {field_type}", field.name);
                fault(VALUE_DOES_NOT_FIT, what)
            }
        });
    }
    let all_rows = || 0..num_rows as u32;
    // The arrays were made for this schema, so the batch is not refused. If it were, no row may
    // count as good.
    let CheckedBatch { batch, rows, mut faults } =
        columns.finish().unwrap_or_else(|error| CheckedBatch {
            batch: RecordBatch::new_empty(schema.arrow()),
            rows: Some(Vec::new()),
            faults: all_rows()
                .map(|row| (row, fault(VALUE_DOES_NOT_FIT, error.to_string())))
                .collect(),
        });
    faults.iter_mut().for_each(|(_, fault)| fault.stage = Stage::Source);
    CastBatch { batch, rows: rows.unwrap_or_else(|| all_rows().collect()), faults }
}

/// A column for a field that the batch does not have.
fn absent_column(field_type: &FieldType, num_rows: usize) -> ArrayRef {
    let Some(default) = field_type.default() else {
        return new_null_array(field_type.arrow(), num_rows);
    };
    let mut column = ColumnBuilder::new(field_type.arrow());
    (0..num_rows).for_each(|_| column.push(default));
    column.finish().unwrap_or_else(|_| new_null_array(field_type.arrow(), num_rows))
}

/// A column as values of a field.
pub(crate) struct Converted {
    /// Null where the field cannot hold the value.
    pub(crate) values: ArrayRef,
    /// Of nested columns: for each row that cannot be held, which value inside, and why.
    lost: HashMap<usize, Lost>,
}

/// A value inside of another one that a field cannot hold.
struct Lost {
    reason: &'static str,
    /// `.items.0.price`.
    path: String,
    what: String,
}

/// The column as values of the field, null where one does not fit.
pub(crate) fn column(before: &ArrayRef, from: &ArrowField, field_type: &FieldType) -> Converted {
    let all_null = || new_null_array(field_type.arrow(), before.len());
    if field_type.mismatch(from).is_some() {
        return Converted { values: all_null(), lost: HashMap::new() };
    }
    if !nested::is_nested(from, field_type) {
        return Converted { values: plain_column(before, from, field_type), lost: HashMap::new() };
    }
    let Ok(nested::Parts { values, lost }) = nested::convert(before, from, field_type) else {
        return Converted { values: all_null(), lost: HashMap::new() };
    };
    let lost: HashMap<usize, Lost> = lost.into_iter().rev().collect();
    let is_lost: BooleanArray =
        (0..before.len()).map(|row| Some(lost.contains_key(&row))).collect();
    let values = if lost.is_empty() { Ok(values) } else { nullif(&values, &is_lost) };
    Converted { values: values.unwrap_or_else(|_| all_null()), lost }
}

/// A column that is not nested. When the library refuses it, it is cast row by row: one value must
/// not take the others.
fn plain_column(before: &ArrayRef, from: &ArrowField, field_type: &FieldType) -> ArrayRef {
    let all_null = |num_rows| new_null_array(field_type.arrow(), num_rows);
    if let Ok(after) = values::cast(before, from, field_type) {
        return after;
    }
    let mut parts = Vec::new();
    let mut bisection = Bisection::new(before.len());
    while let Some(range) = bisection.next_range() {
        match values::cast(&before.slice(range.start, range.len()), from, field_type) {
            Ok(part) => parts.push(part),
            Err(_) => parts.extend(bisection.split(range, None).map(|_| all_null(1))),
        }
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    concat(&parts).unwrap_or_else(|_| all_null(before.len()))
}

#[cfg(test)]
mod tests;
