//! Columns in the form that the table takes. A value that the column does not hold unchanged is the
//! record's fault: it is refused before it is sent, and the others are not affected.

mod array;

use crate::json;
use crate::postgres::column_type::{Form, Wire};
use crate::postgres::value_range;
use crate::uuid;
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, LargeBinaryBuilder};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use std::sync::Arc;

/// A value that the column does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    /// Its number in the array.
    pub(super) row: usize,
    /// The code that the server has for it.
    pub(super) sqlstate: &'static str,
    /// What is wrong with it.
    pub(super) what: String,
}

/// The values of `array` in the form `wire`; its type is [`Wire::arrow`]. Values that do not exist
/// in it, of which there is any content in the result, are added to `unfit`.
pub(super) fn convert(
    array: &ArrayRef,
    wire: &Wire,
    unfit: &mut Vec<Unfit>,
) -> Result<ArrayRef, ArrowError> {
    let converted = match &wire.form {
        Form::Cast(to) if array.data_type() == to => array.clone(),
        // What cannot be converted becomes null.
        Form::Cast(to) => {
            let lenient = CastOptions { safe: true, ..CastOptions::default() };
            note_lost(array, cast_with_options(array, to, &lenient)?, wire, unfit)
        }
        Form::Uuid => note_lost(array, uuid::parse_all(array)?, wire, unfit),
        Form::Interval => note_lost(array, intervals(array)?, wire, unfit),
        Form::Json => json_texts(array, wire.jsonb, unfit)?,
        Form::Array(element, oid) => array::binary(array, element, *oid, unfit)?,
        Form::ArrayText(element, delimiter) => array::texts(array, element, *delimiter, unfit)?,
    };
    value_range::check(&converted, wire, unfit);
    Ok(converted)
}

/// Notes the values that are null after the conversion only.
fn note_lost(
    array: &ArrayRef,
    converted: ArrayRef,
    wire: &Wire,
    unfit: &mut Vec<Unfit>,
) -> ArrayRef {
    let nulls = array.logical_nulls();
    if converted.null_count() > nulls.as_ref().map_or(0, |nulls| nulls.null_count()) {
        let was_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let rows = (0..array.len()).filter(|row| converted.is_null(*row) && !was_null(*row));
        unfit.extend(rows.map(|row| lost(array, row, wire)));
    }
    if array.data_type().is_integer() && converted.data_type().is_floating() {
        note_inexact(array, &converted, unfit);
    }
    converted
}

/// Notes the integers that are no numbers of a type of floats.
fn note_inexact(array: &ArrayRef, floats: &ArrayRef, unfit: &mut Vec<Unfit>) {
    let integers = |array| cast_with_options(array, &DataType::Int64, &CastOptions::default());
    let (Ok(before), Ok(after)) = (integers(array), integers(floats)) else { return };
    let pairs = before.as_primitive::<Int64Type>().iter().zip(after.as_primitive::<Int64Type>());
    let changed = pairs.enumerate().filter(|(_, (before, after))| before != after);
    unfit.extend(changed.map(|(row, (before, _))| Unfit {
        row,
        sqlstate: "22003",
        what: format!("{} is no number of the column's type", before.unwrap_or_default()),
    }));
}

fn lost(array: &ArrayRef, row: usize, wire: &Wire) -> Unfit {
    let is_time = matches!(array.data_type(), DataType::Timestamp(_, _));
    let number = cast_with_options(&array.slice(row, 1), &DataType::Int64, &CastOptions::default());
    let value = match number {
        Ok(number) if is_time => array_value_to_string(&number, 0),
        _ => array_value_to_string(array, row),
    };
    let value = value.unwrap_or_default();
    let (sqlstate, what) = match &wire.form {
        _ if is_time => ("22008", value_range::time(&value)),
        Form::Uuid => ("22P02", format!("`{value}` is not a UUID")),
        Form::Interval => ("22008", format!("{value} has less than microseconds")),
        _ => ("22003", format!("{value} is outside the range of the column's type")),
    };
    Unfit { row, sqlstate, what }
}

/// The texts of all values as JSON.
fn json_texts(
    array: &ArrayRef,
    jsonb: bool,
    unfit: &mut Vec<Unfit>,
) -> Result<ArrayRef, ArrowError> {
    let writer = json::Writer::new(array, jsonb)?;
    let mut texts = LargeBinaryBuilder::new();
    let mut text = Vec::new();
    for row in 0..array.len() {
        text.clear();
        if array.is_null(row) {
            texts.append_null();
            continue;
        }
        match writer.write(row, &mut text) {
            Ok(()) => texts.append_value(&text),
            Err(fault) => {
                texts.append_null();
                unfit.push(Unfit { row, sqlstate: fault.sqlstate, what: fault.text() });
            }
        }
    }
    let texts: ArrayRef = Arc::new(texts.finish());
    arrow::compute::cast(&texts, &DataType::LargeUtf8)
}

/// Microseconds, days and months, as PostgreSQL has them; null where there are nanoseconds.
fn intervals(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let bytes = |interval: IntervalMonthDayNano| {
        let IntervalMonthDayNano { months, days, nanoseconds } = interval;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(nanoseconds / 1_000).to_be_bytes());
        bytes[8..12].copy_from_slice(&days.to_be_bytes());
        bytes[12..].copy_from_slice(&months.to_be_bytes());
        (nanoseconds % 1_000 == 0).then_some(bytes)
    };
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>().iter();
    let values = intervals.map(|interval| interval.and_then(bytes));
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16)?))
}
