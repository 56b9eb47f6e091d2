//! The values of one column as values of a field. What the field cannot hold exactly becomes null.

use crate::avro_type::AvroType;
use crate::cell::Cell;
use crate::column::ColumnBuilder;
use crate::datum::uuid_text;
use crate::field_type::FieldType;
use crate::write::ValueWriter;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, cast_with_options, nullif};
use arrow::datatypes::{DataType, Decimal128Type, Field};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use std::sync::Arc;
use weir_model::avro::is_uuid;
use weir_model::cast::{Cast, cast as rule};

const NULL_IF_LOST: CastOptions<'static> =
    CastOptions { safe: true, format_options: FormatOptions::new() };

/// The column as the field's type. The field takes columns of this type.
///
/// # Errors
/// When the library refuses the column for one of its values.
pub(super) fn cast(
    column: &ArrayRef,
    from: &Field,
    field_type: &FieldType,
) -> Result<ArrayRef, ArrowError> {
    let before = &plain(column)?;
    let (avro_type, to) = (field_type.avro_type(), field_type.arrow());
    if let DataType::FixedSizeBinary(_) = before.data_type() {
        return match avro_type {
            AvroType::Uuid { .. } => Ok(uuid_texts(before)),
            AvroType::String if is_uuid(from) => Ok(uuid_texts(before)),
            _ => {
                let bytes = cast_with_options(before, &DataType::Binary, &NULL_IF_LOST)?;
                cast(&bytes, from, field_type)
            }
        };
    }
    let after = match rule(before.data_type(), to) {
        Cast::Same => before.clone(),
        Cast::Explicit if is_text(before.data_type()) => return parsed(before, field_type),
        _ => cast_with_options(before, to, &NULL_IF_LOST)?,
    };
    let after = match may_change(before.data_type(), to) {
        true => without(&after, &distinct(&back(&after, before.data_type())?, before)?)?,
        false => after,
    };
    if !is_narrow(avro_type) || all_decimals_fit(&after, avro_type) {
        return Ok(after);
    }
    let writer = ValueWriter::new(avro_type);
    let Some(column) = writer.as_ref().and_then(|writer| writer.bind(&after)) else {
        return Ok(after);
    };
    let mut scratch = Vec::new();
    let refused = (0..after.len()).map(|row| {
        scratch.clear();
        Some(after.is_valid(row) && column.write(row, &mut scratch).is_err())
    });
    without(&after, &refused.collect())
}

/// Whether these are decimals, none of which has more digits than the type: an array may hold more
/// than its own type allows.
fn all_decimals_fit(array: &ArrayRef, avro_type: &AvroType) -> bool {
    let AvroType::Decimal { precision, .. } = avro_type else { return false };
    let limit = 10i128.pow(u32::from(*precision));
    let decimals = array.as_primitive_opt::<Decimal128Type>();
    decimals.is_some_and(|decimals| decimals.values().iter().all(|v| -limit < *v && *v < limit))
}

/// UUIDs of 16 bytes as text.
fn uuid_texts(array: &ArrayRef) -> ArrayRef {
    let texts = array
        .as_fixed_size_binary()
        .iter()
        .map(|value| value.and_then(|bytes| bytes.try_into().ok()).map(uuid_text));
    Arc::new(texts.collect::<StringArray>())
}

/// Without a dictionary, and bytes of a fixed size as bytes of any size.
fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Dictionary(_, values) => cast_with_options(column, values, &NULL_IF_LOST),
        DataType::FixedSizeBinary(size) if *size != 16 => {
            cast_with_options(column, &DataType::Binary, &NULL_IF_LOST)
        }
        _ => Ok(column.clone()),
    }
}

/// Texts as the field reads them from a file of text.
fn parsed(before: &ArrayRef, field_type: &FieldType) -> Result<ArrayRef, ArrowError> {
    let texts = cast_with_options(before, &DataType::Utf8, &NULL_IF_LOST)?;
    let mut column = ColumnBuilder::new(field_type.arrow());
    for text in texts.as_string::<i32>() {
        let cell = text.and_then(|text| field_type.parse(text).ok());
        column.push(&cell.unwrap_or(Cell::Null));
    }
    column.finish()
}

/// Whether the library rounds or truncates between these types; between all others it gives null
/// for a value that it cannot keep.
fn may_change(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date64, Null, Utf8};
    match (from, to) {
        (from, to) if from == to => false,
        (Null, _) | (_, Utf8) => false,
        (from, to) if from.is_integer() => to.is_floating(),
        (from, _) => from.is_numeric() || from.is_temporal() || *from == Date64,
    }
}

/// Cast back. A value that is out of the library's range has no way back, which is a loss as well.
fn back(after: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(after, to, &NULL_IF_LOST)
}

fn without(values: &ArrayRef, lost: &BooleanArray) -> Result<ArrayRef, ArrowError> {
    if lost.true_count() == 0 { Ok(values.clone()) } else { nullif(values, lost) }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    rule(data_type, &DataType::LargeUtf8) != Cast::Explicit
        && rule(data_type, &DataType::Boolean) == Cast::Explicit
}

/// Whether the type has fewer values than its Arrow type.
fn is_narrow(avro_type: &AvroType) -> bool {
    matches!(
        avro_type,
        AvroType::Enum(_) | AvroType::Uuid { .. } | AvroType::Fixed(_) | AvroType::Decimal { .. }
    )
}
