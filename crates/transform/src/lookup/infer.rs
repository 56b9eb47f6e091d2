//! Types of CSV columns. A column gets a type other than string only when no cell would read differently afterwards: `007` and a
//! number of 20 digits are names, not numbers.

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use std::sync::Arc;

/// Digits that a double keeps.
const EXACT_DIGITS: usize = 15;

/// The column with the narrowest type that all its cells have: long, double, boolean, date or string.
pub(super) fn typed(text: &StringArray) -> ArrayRef {
    let kinds: [(fn(&str) -> bool, DataType); 4] =
        [(is_long, DataType::Int64), (is_double, DataType::Float64), (is_boolean, DataType::Boolean), (is_date, DataType::Date32)];
    let same = || Arc::new(text.clone()) as ArrayRef;
    if text.null_count() == text.len() {
        return same();
    }
    let fitting = kinds.into_iter().find(|(is_kind, _)| text.iter().flatten().all(is_kind));
    // A failed cast leaves nulls; the column then stays what it was.
    fitting.and_then(|(_, kind)| cast(text, &kind).ok()).filter(|typed| typed.null_count() == text.null_count()).unwrap_or_else(same)
}

fn is_long(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').filter(|d| *d != "0").unwrap_or(cell);
    is_canonical_whole(digits) && cell.parse::<i64>().is_ok()
}

fn is_double(cell: &str) -> bool {
    let number = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fraction_ok = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    is_canonical_whole(whole) && fraction_ok && whole.len() + fraction.len() <= EXACT_DIGITS + 1
}

/// Digits without a leading zero.
fn is_canonical_whole(digits: &str) -> bool {
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'))
}

fn is_boolean(cell: &str) -> bool {
    cell == "true" || cell == "false"
}

fn is_date(cell: &str) -> bool {
    let shape = |(i, b): (usize, u8)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() };
    cell.len() == 10 && cell.bytes().enumerate().all(shape)
}
