//! Types of CSV columns. A column is numeric only when all its cells are plain numbers: `007` and
//! `+1` are text, and so are whole numbers that are too large.

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use std::sync::Arc;

/// Whole numbers with more digits are not exact as doubles.
const EXACT_DIGITS: usize = 15;

type IsType = fn(&str) -> bool;

/// The column with the narrowest type that all its cells have: long, double, boolean, date or
/// string.
pub(super) fn typed(text: &StringArray) -> ArrayRef {
    let candidates: [(IsType, DataType); 4] = [
        (is_long, DataType::Int64),
        (is_double, DataType::Float64),
        (is_boolean, DataType::Boolean),
        (is_date, DataType::Date32),
    ];
    let unchanged = || Arc::new(text.clone()) as ArrayRef;
    if text.null_count() == text.len() {
        return unchanged();
    }
    let inferred = candidates.into_iter().find(|(is_type, _)| text.iter().flatten().all(is_type));
    // A failed cast leaves nulls; then the column stays text.
    inferred
        .and_then(|(_, data_type)| cast(text, &data_type).ok())
        .filter(|typed| typed.null_count() == text.null_count())
        .unwrap_or_else(unchanged)
}

fn is_long(cell: &str) -> bool {
    let digits = cell.strip_prefix('-').filter(|d| *d != "0").unwrap_or(cell);
    is_canonical_whole(digits) && cell.parse::<i64>().is_ok()
}

fn is_double(cell: &str) -> bool {
    let number = cell.strip_prefix('-').unwrap_or(cell);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let fraction_ok = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    is_canonical_whole(whole) && fraction_ok && whole.len() <= EXACT_DIGITS
}

/// Digits without a leading zero.
fn is_canonical_whole(digits: &str) -> bool {
    !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
}

fn is_boolean(cell: &str) -> bool {
    cell == "true" || cell == "false"
}

fn is_date(cell: &str) -> bool {
    let shape = |(i, b): (usize, u8)| if i == 4 || i == 7 { b == b'-' } else { b.is_ascii_digit() };
    cell.len() == 10 && cell.bytes().enumerate().all(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn type_of(cells: &[&str]) -> DataType {
        let text: StringArray = cells.iter().map(|c| Some(*c).filter(|c| !c.is_empty())).collect();
        let column = typed(&text);
        assert_eq!(column.null_count(), text.null_count(), "{cells:?} lost cells");
        column.data_type().clone()
    }

    #[test]
    fn a_column_is_a_number_only_when_every_cell_is_written_as_one() {
        assert_eq!(type_of(&["1", "-20", "", "0"]), DataType::Int64);
        assert_eq!(type_of(&["1", "-0.5", "31.953764720000002"]), DataType::Float64);
        for other in
            ["007", "+1", "1e5", "-", ".5", "1.", "1,000", "NaN", "0x10", "99999999999999999999"]
        {
            assert_eq!(type_of(&["1", other]), DataType::Utf8, "{other}");
        }
    }

    #[test]
    fn booleans_and_dates_are_recognised() {
        assert_eq!(type_of(&["true", "false", ""]), DataType::Boolean);
        assert_eq!(type_of(&["2024-02-29"]), DataType::Date32);
        assert_eq!(type_of(&["2024-02-29", "2023-02-29"]), DataType::Utf8, "there is no such day");
        assert_eq!(type_of(&["", ""]), DataType::Utf8);
        assert_eq!(type_of(&[]), DataType::Utf8);
    }
}
