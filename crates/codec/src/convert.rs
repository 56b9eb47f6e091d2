//! Conversions of whole columns that never change a value. A value that the target type cannot hold
//! becomes null, and the caller turns each new null into a fault of its row.

use crate::avro_type::{AvroType, Symbols};
use crate::cell::{self, ColumnBuilder};
use crate::datum;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, Decimal128Array, Int64Array,
    PrimitiveArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
};
use arrow::error::ArrowError;
use serde_json::Value;
use std::sync::Arc;

/// A conversion from a column as the library decodes it (see [`crate::physical`]) to the reader's
/// column.
pub(crate) type Convert = Box<dyn Fn(&ArrayRef) -> Result<ArrayRef, ArrowError> + Send>;

/// How values of `from` become values of `to`; `None` when they cannot.
///
/// Besides equal types: the promotions of Avro's schema resolution, enum → string, uuid ↔ string,
/// other units of the same time, other scales and precisions of a decimal, and a type with or
/// without its logical annotation (long ↔ timestamp), which is the same number.
pub(crate) fn conversion(from: &AvroType, to: &AvroType) -> Option<Convert> {
    use AvroType::*;
    match (from, to) {
        (Boolean, Boolean)
        | (Bytes, Bytes)
        | (String | Uuid { fixed: false }, String)
        | (Uuid { fixed: false }, Uuid { .. }) => unchanged(),
        (Int | Date | TimeMillis, Int)
        | (Long | TimeMicros | Timestamp { .. }, Long)
        | (Float, Float)
        | (Double, Double) => unchanged(),
        (Int, Date | TimeMillis) | (Date, Date) | (TimeMillis, TimeMillis) => relabel(to.arrow()?),
        (Long, TimeMicros | Timestamp { .. }) | (TimeMicros, TimeMicros) => relabel(to.arrow()?),
        (Timestamp { unit: a, utc: x }, Timestamp { unit: b, utc: y }) if x == y => {
            rescale_time(per_second(a), per_second(b), to.arrow()?)
        }
        (TimeMillis, TimeMicros) => rescale_time(1_000, 1_000_000, to.arrow()?),
        (TimeMicros, TimeMillis) => rescale_time(1_000_000, 1_000, to.arrow()?),
        (Int, Long | Float | Double) | (Long, Float | Double) | (Float, Double) => {
            promote(to.arrow()?)
        }
        (Fixed(a), Fixed(b)) if a == b => relabel(DataType::Binary),
        (Decimal { scale: a, .. }, Decimal { precision, scale: b, .. }) => {
            Some(rescale_decimal(*a, *precision, *b))
        }
        (Uuid { fixed: true }, Uuid { .. } | String) => {
            Some(Box::new(|array| Ok(uuid_text(array))))
        }
        (String, Uuid { .. }) => Some(Box::new(|array| Ok(uuids_only(array.as_string())))),
        (Bytes, String) => Some(Box::new(|array| Ok(valid_text(array.as_binary())))),
        (String, Bytes) => relabel(DataType::Binary),
        (Enum(symbols), String) => {
            Some(symbol_text(symbols.list.iter().map(|s| Some(s.clone())).collect()))
        }
        (Enum(writer), Enum(reader)) => Some(symbol_text(resolve_symbols(writer, reader))),
        _ => None,
    }
}

fn unchanged() -> Option<Convert> {
    Some(Box::new(|array| Ok(array.clone())))
}

/// The same bits as another type.
fn relabel(to: DataType) -> Option<Convert> {
    Some(Box::new(move |array| cast(array, &to)))
}

fn per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// To another unit, exactly: a fraction of the coarser unit, or a number beyond 64 bits, does not
/// fit. `from` and `to` are units per second.
fn rescale_time(from: i64, to: i64, data_type: DataType) -> Option<Convert> {
    if from == to {
        return relabel(data_type);
    }
    Some(Box::new(move |array| {
        let longs = cast(array, &DataType::Int64)?;
        let scaled: Int64Array = if to > from {
            longs.as_primitive::<Int64Type>().unary_opt(|v| v.checked_mul(to / from))
        } else {
            longs
                .as_primitive::<Int64Type>()
                .unary_opt(|v| (v % (from / to) == 0).then_some(v / (from / to)))
        };
        match data_type {
            DataType::Time32(_) => cast(&cast(&scaled, &DataType::Int32)?, &data_type),
            _ => cast(&scaled, &data_type),
        }
    }))
}

/// Avro's numeric promotion. Not every int is exact as a float, and not every long as a double.
fn promote(to: DataType) -> Option<Convert> {
    Some(Box::new(move |array| {
        let wide = cast(array, &to)?;
        Ok(match (array.data_type(), &to) {
            (DataType::Int32, DataType::Float32) => Arc::new(exact(
                array.as_primitive::<Int32Type>(),
                |v| v as f32 as i32 == v && v != i32::MAX,
                wide.as_primitive::<Float32Type>(),
            )) as ArrayRef,
            (DataType::Int64, DataType::Float32) => Arc::new(exact(
                array.as_primitive::<Int64Type>(),
                |v| v as f32 as i64 == v && v != i64::MAX,
                wide.as_primitive::<Float32Type>(),
            )),
            (DataType::Int64, DataType::Float64) => Arc::new(exact(
                array.as_primitive::<Int64Type>(),
                |v| v as f64 as i64 == v && v != i64::MAX,
                wide.as_primitive::<Float64Type>(),
            )),
            _ => wide,
        })
    }))
}

/// `wide` with nulls where a value of `narrow` is not exact.
fn exact<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    narrow: &PrimitiveArray<A>,
    is_exact: impl Fn(A::Native) -> bool,
    wide: &PrimitiveArray<B>,
) -> PrimitiveArray<B> {
    (0..wide.len())
        .map(|row| (wide.is_valid(row) && is_exact(narrow.value(row))).then(|| wide.value(row)))
        .collect()
}

/// To another scale and precision, exactly.
pub(crate) fn rescale_decimal(from: i8, precision: u8, to: i8) -> Convert {
    let limit = 10i128.pow(u32::from(precision));
    let factor = 10i128.pow(u32::from(from.abs_diff(to)));
    Box::new(move |array| {
        let values = array.as_primitive::<Decimal128Type>();
        let fitting = |v: i128| (-limit < v && v < limit).then_some(v);
        let scaled: Decimal128Array = match from.cmp(&to) {
            // An array of decimals may hold more digits than its own type allows.
            std::cmp::Ordering::Equal if values.values().iter().all(|v| fitting(*v).is_some()) => {
                values.clone()
            }
            std::cmp::Ordering::Equal => values.unary_opt(fitting),
            std::cmp::Ordering::Less => {
                values.unary_opt(|v| v.checked_mul(factor).and_then(fitting))
            }
            std::cmp::Ordering::Greater => {
                values.unary_opt(|v| (v % factor == 0).then_some(v / factor).and_then(fitting))
            }
        };
        Ok(Arc::new(scaled.with_precision_and_scale(precision, to)?))
    })
}

/// UUIDs of 16 bytes as text of 36 characters.
pub(crate) fn uuid_text(array: &ArrayRef) -> ArrayRef {
    let text = |bytes: &[u8]| {
        let mut out = String::with_capacity(36);
        for (index, byte) in bytes.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                out.push('-');
            }
            out.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            out.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        out
    };
    Arc::new(
        array.as_fixed_size_binary().iter().map(|value| value.map(text)).collect::<StringArray>(),
    )
}

/// Texts that are UUIDs.
pub(crate) fn uuids_only(array: &StringArray) -> ArrayRef {
    Arc::new(
        array
            .iter()
            .map(|value| value.filter(|text| datum::is_uuid(text)))
            .collect::<StringArray>(),
    )
}

/// Bytes that are UTF-8, as text.
fn valid_text(array: &BinaryArray) -> ArrayRef {
    Arc::new(
        array
            .iter()
            .map(|value| value.and_then(|bytes| std::str::from_utf8(bytes).ok()))
            .collect::<StringArray>(),
    )
}

/// For each symbol of the writer the symbol that the reader sees: the same, or the reader's
/// default; `None` without either.
fn resolve_symbols(writer: &Symbols, reader: &Symbols) -> Vec<Option<String>> {
    writer
        .list
        .iter()
        .map(|s| if reader.list.contains(s) { Some(s.clone()) } else { reader.default.clone() })
        .collect()
}

/// Symbols as text, from their numbers.
fn symbol_text(table: Vec<Option<String>>) -> Convert {
    Box::new(move |array| {
        let symbol =
            |number: i32| usize::try_from(number).ok().and_then(|n| table.get(n)?.as_deref());
        Ok(Arc::new(
            array
                .as_primitive::<Int32Type>()
                .iter()
                .map(|v| v.and_then(symbol))
                .collect::<StringArray>(),
        ))
    })
}

/// A field's default, from its JSON form in the schema, as an array of one value of `data_type`;
/// `None` when it is not a value of that type.
pub(crate) fn default_value(
    value: &Value,
    avro_type: &AvroType,
    data_type: &DataType,
) -> Option<ArrayRef> {
    let mut column = ColumnBuilder::new(data_type);
    column.push(&cell::default_value(value, avro_type)?);
    column.finish().ok()
}
