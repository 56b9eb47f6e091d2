//! Columns of any types → columns of exactly a schema's types, before they are encoded.

use crate::avro_type::{AvroType, Field};
use crate::columns::{BatchBuilder, CheckedBatch, quoted};
use crate::convert;
use crate::frame::fault;
use crate::schema::Schema;
use crate::to_physical::to_physical;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options, not, nullif, take};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::FormatOptions;
use weir_model::fault::{Fault, Stage};

const NULL_IF_LOST: CastOptions<'static> =
    CastOptions { safe: true, format_options: FormatOptions::new() };

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

/// Casts each column of `batch` (matched by name) to the type that `schema` implies. A row has a
/// fault when the cast would lose a value, or for a null where none is allowed.
///
/// Rounding to what the schema declares is not a loss: a decimal to fewer decimal places, a time to
/// a coarser unit, a double to a float. A number out of range, a fraction in an integer, or a text
/// that is not a number, time or symbol of the schema is a loss. A column that `batch` does not
/// have takes the field's default, or null without one.
pub fn cast(batch: &RecordBatch, schema: &Schema) -> CastBatch {
    let num_rows = batch.num_rows();
    let mut columns = BatchBuilder::new(schema.arrow(), num_rows);
    for field in schema.fields() {
        let (avro_type, _) = field.avro_type.optional();
        let data_type = avro_type.arrow().unwrap_or(DataType::Null);
        let before = batch
            .column_by_name(&field.name)
            .cloned()
            .unwrap_or_else(|| absent_column(field, avro_type, &data_type, num_rows));
        let after = cast_column(&before, avro_type, &data_type);
        columns.push(&field.name, &before, after, |array, row| {
            fault(
                "value_does_not_fit",
                format!("{}: `{}` does not fit {avro_type}", field.name, quoted(array, row)),
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
                .map(|row| (row, fault("value_does_not_fit", error.to_string())))
                .collect(),
        });
    faults.iter_mut().for_each(|(_, fault)| fault.stage = Stage::Source);
    CastBatch { batch, rows: rows.unwrap_or_else(|| all_rows().collect()), faults }
}

/// A column for a field that the batch does not have.
fn absent_column(
    field: &Field,
    avro_type: &AvroType,
    data_type: &DataType,
    num_rows: usize,
) -> ArrayRef {
    let default = field
        .default
        .as_ref()
        .and_then(|value| convert::default_value(value, avro_type, data_type));
    let repeated =
        default.and_then(|value| take(&value, &UInt32Array::from(vec![0; num_rows]), None).ok());
    repeated.unwrap_or_else(|| new_null_array(data_type, num_rows))
}

/// The column as `data_type`, null where a value does not fit `avro_type`.
fn cast_column(before: &ArrayRef, avro_type: &AvroType, data_type: &DataType) -> ArrayRef {
    let all_null = || new_null_array(data_type, before.len());
    if before.data_type() == data_type && !is_narrow(avro_type) {
        return before.clone();
    }
    let Ok(after) = cast_with_options(before, data_type, &NULL_IF_LOST) else { return all_null() };
    let lost = match (before.data_type(), data_type) {
        (from, to) if is_fractional(from) && to.is_integer() => changed_numbers(before, &after),
        (DataType::Float64, DataType::Float32) => overflows(before, &after),
        _ if is_narrow(avro_type) => outside_of(avro_type, &after),
        _ => None,
    };
    match lost {
        Some(lost) => nullif(&after, &lost).unwrap_or_else(|_| all_null()),
        None => after,
    }
}

fn is_fractional(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale > 0,
        other => other.is_floating(),
    }
}

/// Whether the type has fewer values than its Arrow type.
fn is_narrow(avro_type: &AvroType) -> bool {
    matches!(
        avro_type,
        AvroType::Enum(_) | AvroType::Uuid { .. } | AvroType::Fixed(_) | AvroType::Decimal { .. }
    )
}

/// Where an integer is not equal to the number it was cast from.
fn changed_numbers(before: &ArrayRef, after: &ArrayRef) -> Option<BooleanArray> {
    let back = cast_with_options(after, before.data_type(), &NULL_IF_LOST).ok()?;
    not(&not_distinct(before, &back).ok()?).ok()
}

/// Where a finite double became an infinite float.
fn overflows(before: &ArrayRef, after: &ArrayRef) -> Option<BooleanArray> {
    let doubles = before.as_primitive::<Float64Type>();
    let floats = after.as_primitive::<Float32Type>();
    let overflow = |row| Some(doubles.value(row).is_finite() && floats.value(row).is_infinite());
    Some((0..doubles.len()).map(overflow).collect())
}

/// Where a value is not one of `avro_type`.
fn outside_of(avro_type: &AvroType, after: &ArrayRef) -> Option<BooleanArray> {
    let physical = to_physical(avro_type)(after).ok()?;
    (physical.null_count() > after.null_count())
        .then(|| (0..after.len()).map(|row| Some(physical.is_null(row))).collect())
}

#[cfg(test)]
mod tests;
