//! Columns of any types → columns of exactly a schema's types, before they are encoded.

mod values;

use crate::column::ColumnBuilder;
use crate::columns::{BatchBuilder, CheckedBatch, quoted};
use crate::field_type::FieldType;
use crate::frame::fault;
use crate::schema::Schema;
use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::concat;
use arrow::record_batch::RecordBatch;
use weir_model::bisect::Bisection;
use weir_model::fault::{Fault, Stage, VALUE_DOES_NOT_FIT};

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
/// [`weir_model::cast`]. A row has a fault when the cast would change a value, or for a null where
/// none is allowed: a number out of range or with more digits than the field has, a fraction in an
/// integer, a text that is not a number, time or symbol of the schema. A column of a type that
/// cannot become the field's ([`FieldType::takes`]) is a fault in every row. A column that `batch`
/// does not have takes the field's default, or null without one.
pub fn cast(batch: &RecordBatch, schema: &Schema) -> CastBatch {
    let num_rows = batch.num_rows();
    let mut columns = BatchBuilder::new(schema.arrow(), num_rows);
    for (field, field_type) in schema.fields().iter().zip(schema.field_types()) {
        let before = batch
            .column_by_name(&field.name)
            .cloned()
            .unwrap_or_else(|| absent_column(&field_type, num_rows));
        let after = cast_column(&before, &field_type);
        columns.push(&field.name, &before, after, |array, row| {
            fault(
                VALUE_DOES_NOT_FIT,
                format!("{}: `{}` does not fit {field_type}", field.name, quoted(array, row)),
            )
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

/// The column as `data_type`, null where a value does not fit `avro_type`. When the library refuses
/// the column, it is cast row by row: one value must not take the others.
pub(crate) fn cast_column(before: &ArrayRef, field_type: &FieldType) -> ArrayRef {
    let data_type = field_type.arrow();
    let all_null = |num_rows| new_null_array(data_type, num_rows);
    if !field_type.takes(before.data_type()) {
        return all_null(before.len());
    }
    if let Ok(after) = values::cast(before, field_type) {
        return after;
    }
    let mut parts = Vec::new();
    let mut bisection = Bisection::new(before.len());
    while let Some(range) = bisection.next_range() {
        match values::cast(&before.slice(range.start, range.len()), field_type) {
            Ok(part) => parts.push(part),
            Err(_) => parts.extend(bisection.split(range, None).map(|_| all_null(1))),
        }
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    concat(&parts).unwrap_or_else(|_| all_null(before.len()))
}

#[cfg(test)]
mod tests;
