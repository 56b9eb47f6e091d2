//! Implicit conversions from the type of an expression to the type of its output column.
//!
//! Arrays, maps and records are converted part by part. The members of records are matched by name.
//!
//! They either keep the value or can tell that they do not, and then the record has a fault and is
//! never silently changed. Decimals are rounded to the scale of the output, half away from zero,
//! as SQL's `numeric` is. Every other conversion is refused when the plan is compiled, with the
//! `CAST` to write.

mod nested;

use crate::messages::type_name;
use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, cast_with_options, concat};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use nested::Parts;
use weir_model::bisect::Bisection;
use weir_model::cast::{Cast, cast};

const NULL_IF_LOST: CastOptions<'static> =
    CastOptions { safe: true, format_options: arrow::util::display::FormatOptions::new() };

/// How a result column becomes an output column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Coercion {
    /// The types are the same.
    None,
    /// A cast that gives null for a value it cannot keep.
    Cast,
    /// A cast that may round. Only casting back shows which values it changed.
    CheckedCast,
    /// Of arrays, maps and records.
    Parts(Box<Parts>),
}

/// Why there is no implicit conversion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// Of the value inside, from the column's name; empty for the column itself.
    pub(crate) path: String,
    /// To be read before the name of the output schema: "is long, not string as in".
    pub(crate) what: String,
}

/// A converted column.
pub(crate) struct Coerced {
    pub(crate) values: ArrayRef,
    /// The rows whose value was lost, ascending.
    pub(crate) lost: Vec<usize>,
}

impl Coercion {
    /// The conversion between two types, by the table that sources use as well.
    pub(crate) fn between(from: &DataType, to: &DataType) -> Result<Coercion, Mismatch> {
        if from == to {
            return Ok(Coercion::None);
        }
        if *from == DataType::Null {
            return Ok(Coercion::Cast);
        }
        if let Some(parts) = Parts::between(from, to) {
            return parts.map(|parts| Coercion::Parts(Box::new(parts)));
        }
        Ok(match (cast(from, to), from, to) {
            (Cast::Same, ..) => Coercion::None,
            (Cast::Exact, ..) | (_, DataType::Decimal128(..), DataType::Decimal128(..)) => {
                Coercion::Cast
            }
            (Cast::Checked, from, to) if from.is_integer() && !to.is_floating() => Coercion::Cast,
            (Cast::Checked, ..) => Coercion::CheckedCast,
            (Cast::Explicit | Cast::Refused, ..) => {
                let what = format!("is {}, not {} as in", type_name(from), type_name(to));
                return Err(Mismatch { path: String::new(), what });
            }
        })
    }

    /// Converts a column. When the library refuses it for one of its values, that value is lost
    /// and its neighbours are not.
    pub(crate) fn apply(&self, values: &ArrayRef, to: &DataType) -> Result<Coerced, ArrowError> {
        if let Ok(coerced) = self.apply_at_once(values, to) {
            return Ok(coerced);
        }
        let (mut parts, mut lost) = (Vec::new(), Vec::new());
        let mut bisection = Bisection::new(values.len());
        while let Some(range) = bisection.next_range() {
            match self.apply_at_once(&values.slice(range.start, range.len()), to) {
                Ok(part) => {
                    lost.extend(part.lost.into_iter().map(|row| range.start + row));
                    parts.push(part.values);
                }
                Err(_) => {
                    if let Some(row) = bisection.split(range, None) {
                        lost.push(row);
                        parts.push(new_null_array(to, 1));
                    }
                }
            }
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(Coerced { values: concat(&parts)?, lost })
    }

    fn apply_at_once(&self, values: &ArrayRef, to: &DataType) -> Result<Coerced, ArrowError> {
        match self {
            Coercion::None => return Ok(Coerced { values: values.clone(), lost: Vec::new() }),
            Coercion::Parts(parts) => return parts.apply(values, to),
            Coercion::Cast | Coercion::CheckedCast => {}
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
