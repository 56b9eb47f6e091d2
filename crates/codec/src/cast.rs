//! Columns of any type → columns of exactly a schema's types, before they are encoded.

use crate::columns::{Columns, Settled, quoted};
use crate::convert;
use crate::frame::fault;
use crate::schema::Schema;
use crate::shape::{Field, Shape};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options, not, nullif, take};
use arrow::datatypes::{DataType, Float32Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::FormatOptions;
use weir_model::fault::{Fault, Stage};

/// Casts each column of `batch` (matched by name) to the type that `schema` implies. Returns the
/// rows that fit, their numbers in `batch`, and the faults of the others: a value that the cast
/// would lose, or a null where none is allowed.
///
/// Rounding to what the schema declares is not a loss: a decimal to fewer decimal places, a time to
/// a coarser unit, a double to a float. A number out of range, a fraction in an integer, a text
/// that is no such number, time or symbol is. A column that `batch` does not have takes the field's
/// default, or else null. The faults are of [`Stage::Source`]; a caller at another step says so
/// itself.
pub fn cast(batch: &RecordBatch, schema: &Schema) -> (RecordBatch, Vec<u32>, Vec<(u32, Fault)>) {
    let rows = batch.num_rows();
    let mut columns = Columns::new(schema.arrow(), rows);
    for field in schema.fields() {
        let (shape, _) = field.shape.optional();
        let kind = shape.arrow().unwrap_or(DataType::Null);
        let before = batch
            .column_by_name(&field.name)
            .cloned()
            .unwrap_or_else(|| absent(field, shape, &kind, rows));
        let after = fitted(&before, shape, &kind);
        columns.push(&before, after, |array, row| {
            fault(
                "value_does_not_fit",
                format!("{}: `{}` does not fit {shape}", field.name, quoted(array, row)),
            )
        });
    }
    // The arrays were made for this schema, so the batch cannot be refused; should it be, no row is
    // taken for good.
    let mut settled = columns.finish().unwrap_or_else(|error| Settled {
        batch: RecordBatch::new_empty(schema.arrow()),
        rows: Some(Vec::new()),
        faults: (0..rows as u32)
            .map(|row| (row, fault("value_does_not_fit", error.to_string())))
            .collect(),
    });
    settled.faults.iter_mut().for_each(|(_, fault)| fault.stage = Stage::Source);
    (settled.batch, settled.rows.unwrap_or_else(|| (0..rows as u32).collect()), settled.faults)
}

/// A column for a field that the batch does not have.
fn absent(field: &Field, shape: &Shape, kind: &DataType, rows: usize) -> ArrayRef {
    let default =
        field.default.as_ref().and_then(|value| convert::default_value(value, shape, kind));
    let repeated =
        default.and_then(|value| take(&value, &UInt32Array::from(vec![0; rows]), None).ok());
    repeated.unwrap_or_else(|| new_null_array(kind, rows))
}

/// The column as `kind`, null where a value does not fit `shape`.
fn fitted(before: &ArrayRef, shape: &Shape, kind: &DataType) -> ArrayRef {
    let nothing = || new_null_array(kind, before.len());
    if before.data_type() == kind && !is_narrow(shape) {
        return before.clone();
    }
    let options = CastOptions { safe: true, format_options: FormatOptions::default() };
    let Ok(after) = cast_with_options(before, kind, &options) else { return nothing() };
    let lost = match (before.data_type(), kind) {
        (from, to) if is_fractional(from) && to.is_integer() => fractions(before, &after, &options),
        (DataType::Float64, DataType::Float32) => overflows(before, &after),
        _ if is_narrow(shape) => unholdable(shape, &after),
        _ => None,
    };
    match lost {
        Some(lost) => nullif(&after, &lost).unwrap_or_else(|_| nothing()),
        None => after,
    }
}

fn is_fractional(kind: &DataType) -> bool {
    kind.is_floating()
        || matches!(kind, DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) if *scale > 0)
}

/// Types that hold less than their Arrow type.
fn is_narrow(shape: &Shape) -> bool {
    matches!(shape, Shape::Enum(_) | Shape::Uuid { .. } | Shape::Fixed(_) | Shape::Decimal { .. })
}

/// Where an integer is not the number it came from.
fn fractions(
    before: &ArrayRef,
    after: &ArrayRef,
    options: &CastOptions<'_>,
) -> Option<BooleanArray> {
    let back = cast_with_options(after, before.data_type(), options).ok()?;
    not(&not_distinct(before, &back).ok()?).ok()
}

/// Where a finite double became an infinite float.
fn overflows(before: &ArrayRef, after: &ArrayRef) -> Option<BooleanArray> {
    let doubles = before.as_primitive::<arrow::datatypes::Float64Type>();
    let floats = after.as_primitive::<Float32Type>();
    Some(
        (0..doubles.len())
            .map(|row| Some(doubles.value(row).is_finite() && floats.value(row).is_infinite()))
            .collect(),
    )
}

/// Where `shape` has no place for the value.
fn unholdable(shape: &Shape, after: &ArrayRef) -> Option<BooleanArray> {
    let lowered = convert::lower(shape)(after).ok()?;
    (lowered.null_count() > after.null_count())
        .then(|| (0..after.len()).map(|row| Some(lowered.is_null(row))).collect())
}

#[cfg(test)]
mod tests;
