//! Values that PostgreSQL would change instead of refusing them: it takes the extremes of 64 bits
//! for infinity, and cuts spaces off a text that is too long.

use crate::postgres::column_type::Wire;
use crate::postgres::convert::Unfit;
use arrow::array::{ArrayRef, ArrowNumericType, AsArray};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use std::fmt::Display;
use std::ops::Range;

/// 4713-11-24 BC to the end of 294276 AD, microseconds since 1970. Counted from 1970, 64 bits end
/// before PostgreSQL's range, which counts from 2000.
const TIMESTAMPS: Range<i64> = -210_866_803_200_000_000..i64::MAX;
/// 4713-11-24 BC to the end of 5874897 AD, days since 1970.
const DATES: Range<i32> = -2_440_588..2_145_042_541;

/// Notes the values that a column with the form `wire` would not hold unchanged.
pub(super) fn check(array: &ArrayRef, wire: &Wire, unfit: &mut Vec<Unfit>) {
    let times = times_outside(array).into_iter();
    unfit.extend(times.map(|(row, value)| Unfit { row, sqlstate: "22008", what: time(value) }));
    if let Some(length) = wire.max_chars {
        let what = || format!("value too long for a text of {length} characters");
        let rows = too_long(array, length);
        unfit.extend(rows.into_iter().map(|row| Unfit { row, sqlstate: "22001", what: what() }));
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
fn too_long(array: &ArrayRef, length: usize) -> Vec<usize> {
    let is_long = |text: &str| text.len() > length && text.chars().count() > length;
    let rows = |texts: &mut dyn Iterator<Item = Option<&str>>| {
        let rows = texts.enumerate().filter(|(_, text)| text.is_some_and(is_long));
        rows.map(|(row, _)| row).collect()
    };
    match array.data_type() {
        DataType::Utf8 => rows(&mut array.as_string::<i32>().iter()),
        DataType::LargeUtf8 => rows(&mut array.as_string::<i64>().iter()),
        _ => Vec::new(),
    }
}
