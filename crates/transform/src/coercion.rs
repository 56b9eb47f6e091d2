//! Implicit conversions from the type of an expression to the type of its output column.
//!
//! They either keep the value or can tell that they do not, and then the record has a fault and is
//! never silently changed. Decimals are rounded to the scale of the output, half away from zero,
//! as SQL's `numeric` is. Every other conversion is refused when the plan is compiled, with the
//! `CAST` to write.

use arrow::array::{Array, ArrayRef};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;

const NULL_IF_LOST: CastOptions<'static> =
    CastOptions { safe: true, format_options: arrow::util::display::FormatOptions::new() };

/// How a result column becomes an output column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coercion {
    /// The types are the same.
    None,
    /// A cast that gives null for a value it cannot keep.
    Cast,
    /// A cast that may round. Only casting back shows which values it changed.
    CheckedCast,
}

/// A converted column.
pub(crate) struct Coerced {
    pub(crate) values: ArrayRef,
    /// The rows whose value was lost, ascending.
    pub(crate) lost: Vec<usize>,
}

impl Coercion {
    /// The conversion between two types; `None` when it needs an explicit `CAST`.
    pub(crate) fn between(from: &DataType, to: &DataType) -> Option<Coercion> {
        use DataType::{
            Binary, BinaryView, Boolean, Date32, Decimal128, Dictionary, Float32, Float64,
            LargeBinary, Null, Timestamp,
        };
        match (from, to) {
            (from, to) if from == to => Some(Coercion::None),
            (Null, _) => Some(Coercion::Cast),
            (Boolean, _) | (_, Boolean) => None,
            (from, to)
                if from.is_integer() && (to.is_integer() || matches!(to, Decimal128(_, _))) =>
            {
                Some(Coercion::Cast)
            }
            (from, Float32 | Float64) if from.is_integer() => Some(Coercion::CheckedCast),
            (Float32, Float64) => Some(Coercion::Cast),
            (Decimal128(_, _), Decimal128(_, _)) => Some(Coercion::Cast),
            (Dictionary(_, values), to) if is_text(values) && is_text(to) => Some(Coercion::Cast),
            (from, Dictionary(_, values)) if is_text(from) && is_text(values) => {
                Some(Coercion::Cast)
            }
            (from, to) if is_text(from) && is_text(to) => Some(Coercion::Cast),
            (Binary | LargeBinary | BinaryView, Binary | LargeBinary | BinaryView) => {
                Some(Coercion::Cast)
            }
            (Timestamp(from, from_zone), Timestamp(to, to_zone)) => {
                let same_clock = from_zone.is_some() == to_zone.is_some()
                    || is_utc(from_zone.as_deref()) && is_utc(to_zone.as_deref());
                same_clock.then_some(if precision(*from) > precision(*to) {
                    Coercion::CheckedCast
                } else {
                    Coercion::Cast
                })
            }
            (Date32, Timestamp(_, zone)) if is_utc(zone.as_deref()) => Some(Coercion::Cast),
            // Records, arrays and maps that differ only in metadata or inner names.
            (from, to) if from.is_nested() && from.equals_datatype(to) => Some(Coercion::Cast),
            _ => None,
        }
    }

    /// Converts a column.
    pub(crate) fn apply(self, values: &ArrayRef, to: &DataType) -> Result<Coerced, ArrowError> {
        if self == Coercion::None {
            return Ok(Coerced { values: values.clone(), lost: Vec::new() });
        }
        let converted = cast_with_options(values, to, &NULL_IF_LOST)?;
        let lost = match self {
            Coercion::CheckedCast => changed_rows(values, &converted)?,
            _ => nulled_rows(values, &converted),
        };
        Ok(Coerced { values: converted, lost })
    }
}

/// Rows that a cast turned into null.
fn nulled_rows(before: &ArrayRef, after: &ArrayRef) -> Vec<usize> {
    if after.logical_null_count() == before.logical_null_count() {
        return Vec::new();
    }
    let (nulls_before, nulls_after) = (before.logical_nulls(), after.logical_nulls());
    let was_null = |row| nulls_before.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let is_null = |row| nulls_after.as_ref().is_some_and(|nulls| nulls.is_null(row));
    (0..after.len()).filter(|&row| is_null(row) && !was_null(row)).collect()
}

/// Rows that have another value, or none, when they are cast back.
fn changed_rows(before: &ArrayRef, after: &ArrayRef) -> Result<Vec<usize>, ArrowError> {
    let back = cast_with_options(after, before.data_type(), &NULL_IF_LOST)?;
    let changed = distinct(&back, before)?;
    Ok(changed.values().set_indices().collect())
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A timestamp without a zone is taken as UTC.
fn is_utc(zone: Option<&str>) -> bool {
    matches!(zone, None | Some("+00:00" | "UTC" | "Z"))
}

fn precision(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}
