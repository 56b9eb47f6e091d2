//! Values of a row that stand for others.

use crate::frame::fault;
use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType};
use weir_model::fault::{Fault, VALUE_DOES_NOT_FIT};

/// What Debezium writes for a value that the database's log does not have
/// (`unavailable.value.placeholder`).
const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// `infinity` and `-infinity` of PostgreSQL's timestamps, in microseconds.
const INFINITE: [i64; 2] = [9_223_372_036_825_200_000, -9_223_372_036_832_400_000];

/// The fault of a row in which such a value stands.
pub(super) fn value(rows: &StructArray, row: usize) -> Option<Fault> {
    rows.columns().iter().zip(rows.fields()).find_map(|(column, field)| {
        let name = field.name();
        if column.is_null(row) {
            None
        } else if is_unavailable(column, row) {
            Some(fault(
                "value_unavailable",
                format!(
                    "`{name}` did not change, and the database's log does not have it: with REPLICA \
                     IDENTITY FULL on its table it has"
                ),
            ))
        } else if is_infinite(column, row) {
            Some(fault(VALUE_DOES_NOT_FIT, format!("`{name}` is infinite, which no timestamp is")))
        } else {
            None
        }
    })
}

fn is_unavailable(column: &ArrayRef, row: usize) -> bool {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row) == UNAVAILABLE,
        DataType::Binary => column.as_binary::<i32>().value(row) == UNAVAILABLE.as_bytes(),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(row);
            items.len() == 1 && items.is_valid(0) && is_unavailable(&items, 0)
        }
        DataType::Map(..) => {
            let keys = column.as_map().value(row).column(0).clone();
            keys.len() == 1 && is_unavailable(&keys, 0)
        }
        _ => false,
    }
}

fn is_infinite(column: &ArrayRef, row: usize) -> bool {
    let (value, per_second) = match column.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (column.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (column.as_primitive::<TimestampMillisecondType>().value(row), 1000)
        }
        _ => return false,
    };
    INFINITE.iter().any(|micros| value == micros / (1_000_000 / per_second))
}
