//! From the type of an expression to the type of the output schema.
//!
//! The implicit conversions are those that keep the value or that can tell when they do not: then
//! the record is at fault, never silently changed. Decimals are rounded to the scale of the output,
//! half away from zero, as SQL's `numeric` is. Everything else is refused when the plan is
//! compiled, with the `CAST` to write.

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
    Same,
    /// A cast that gives null for a value it cannot keep.
    Cast,
    /// A cast that may round; casting back shows it.
    ThereAndBack,
}

impl Coercion {
    /// The way from one type to another; `None` when it takes an explicit `CAST`.
    pub(crate) fn between(from: &DataType, to: &DataType) -> Option<Coercion> {
        use DataType::{
            Binary, BinaryView, Boolean, Date32, Decimal128, Dictionary, Float32, Float64,
            LargeBinary, Null, Timestamp,
        };
        match (from, to) {
            (from, to) if from == to => Some(Coercion::Same),
            (Null, _) => Some(Coercion::Cast),
            (Boolean, _) | (_, Boolean) => None,
            (from, to)
                if from.is_integer() && (to.is_integer() || matches!(to, Decimal128(_, _))) =>
            {
                Some(Coercion::Cast)
            }
            (from, Float32 | Float64) if from.is_integer() => Some(Coercion::ThereAndBack),
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
                    Coercion::ThereAndBack
                } else {
                    Coercion::Cast
                })
            }
            (Date32, Timestamp(_, zone)) if is_utc(zone.as_deref()) => Some(Coercion::Cast),
            // Records, arrays and maps that differ in metadata or inner names only.
            (from, to) if from.is_nested() && from.equals_datatype(to) => Some(Coercion::Cast),
            _ => None,
        }
    }

    /// Converts a column; the second part are the rows whose value was lost, ascending.
    pub(crate) fn apply(
        self,
        values: &ArrayRef,
        to: &DataType,
    ) -> Result<(ArrayRef, Vec<usize>), ArrowError> {
        if self == Coercion::Same {
            return Ok((values.clone(), Vec::new()));
        }
        let fitted = cast_with_options(values, to, &NULL_IF_LOST)?;
        let mut lost = Vec::new();
        if fitted.logical_null_count() != values.logical_null_count() {
            let (before, after) = (values.logical_nulls(), fitted.logical_nulls());
            let is_null = |nulls: &Option<arrow::buffer::NullBuffer>, row| {
                nulls.as_ref().is_some_and(|n| n.is_null(row))
            };
            lost.extend(
                (0..values.len()).filter(|&row| is_null(&after, row) && !is_null(&before, row)),
            );
        }
        if self == Coercion::ThereAndBack {
            let back = cast_with_options(&fitted, values.data_type(), &NULL_IF_LOST)?;
            let changed = distinct(&back, values)?;
            lost = (0..values.len()).filter(|&row| changed.value(row)).collect();
        }
        Ok((fitted, lost))
    }
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
