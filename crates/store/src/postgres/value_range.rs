//! Values that PostgreSQL would change instead of refusing them: it takes the extremes of 64 bits
//! for infinity, and cuts spaces off a text that is too long.

use crate::postgres::layout::Column;
use crate::postgres::refusal::Refusal;
use arrow::array::{Array, ArrayRef, ArrowNumericType, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use std::fmt::Display;
use std::ops::Range;

/// 4713-11-24 BC to the end of 294276 AD, microseconds since 1970. Counted from 1970, 64 bits end
/// before PostgreSQL's range, which counts from 2000.
const TIMESTAMPS: Range<i64> = -210_866_803_200_000_000..i64::MAX;
/// 4713-11-24 BC to the end of 5874897 AD, days since 1970.
const DATES: Range<i32> = -2_440_588..2_145_042_541;

/// Refuses the rows whose value `column` would not hold unchanged.
pub(super) fn check(array: &ArrayRef, column: &Column, refused: &mut Vec<Refusal>) {
    let times = times_outside(array);
    refused.extend(
        times
            .into_iter()
            .map(|(row, value)| Refusal::of_value(row, &column.name, "22008", time(&value))),
    );
    if let Some(length) = column.wire.max_chars {
        let too_long = too_long(array, length);
        refused.extend(too_long.map(|row| {
            let what = format!("value too long for a text of {length} characters");
            Refusal::of_value(row, &column.name, "22001", what)
        }));
    }
}

/// What is wrong with a time.
pub(super) fn time(value: impl Display) -> String {
    format!("{value} is outside the range of PostgreSQL's dates and times")
}

/// The rows with a date or a time that PostgreSQL does not have, and the first one in each.
fn times_outside(array: &ArrayRef) -> Vec<(usize, String)> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            outside::<TimestampMicrosecondType>(array, TIMESTAMPS)
        }
        DataType::Date32 => outside::<Date32Type>(array, DATES),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.offsets();
            let row_of = |item: usize| {
                let row = offsets.partition_point(|start| *start as usize <= item);
                row.checked_sub(1).filter(|row| *row < list.len() && list.is_valid(*row))
            };
            let items = times_outside(list.values()).into_iter();
            items.filter_map(|(item, value)| row_of(item).map(|row| (row, value))).collect()
        }
        _ => Vec::new(),
    }
}

fn outside<T>(array: &ArrayRef, range: Range<T::Native>) -> Vec<(usize, String)>
where
    T: ArrowNumericType<Native: PartialOrd + Display>,
{
    let array = array.as_primitive::<T>();
    let within = |value: Option<T::Native>| value.is_none_or(|v| range.contains(&v));
    if within(min(array)) && within(max(array)) {
        return Vec::new();
    }
    let values = array.iter().enumerate();
    values
        .filter_map(|(row, value)| value.filter(|v| !range.contains(v)).map(|v| (row, v)))
        .map(|(row, value)| (row, value.to_string()))
        .collect()
}

/// The rows with more than `length` characters.
fn too_long(array: &ArrayRef, length: usize) -> impl Iterator<Item = usize> {
    let texts = array.as_string_opt::<i32>().into_iter().flat_map(|texts| texts.iter().enumerate());
    texts.filter_map(move |(row, text)| {
        let is_long = |text: &str| text.len() > length && text.chars().count() > length;
        text.is_some_and(is_long).then_some(row)
    })
}
