//! Conversions of whole columns that never change a value: what the target type cannot hold becomes
//! null, and the caller turns a null that was none before into a fault of its row.

use crate::shape::{Shape, Symbols};
use crate::validate;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, Decimal128Array,
    FixedSizeBinaryArray, Float32Array, Float64Array, Int32Array, Int64Array, PrimitiveArray,
    StringArray, new_null_array,
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
/// Besides equal types: Avro's promotions, enum → string, uuid ↔ string, other units of the same
/// time, other scales and precisions of a decimal, and a type with or without its logical
/// annotation (long ↔ timestamp), which is the same number.
pub(crate) fn conversion(from: &Shape, to: &Shape) -> Option<Convert> {
    use Shape::*;
    match (from, to) {
        (Boolean, Boolean)
        | (Bytes, Bytes)
        | (String | Uuid { fixed: false }, String)
        | (Uuid { fixed: false }, Uuid { .. }) => same(),
        (Int | Date | TimeMillis, Int)
        | (Long | TimeMicros | Timestamp { .. }, Long)
        | (Float, Float)
        | (Double, Double) => same(),
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
        (Enum(writer), Enum(reader)) => Some(symbol_text(known_symbols(writer, reader))),
        _ => None,
    }
}

fn same() -> Option<Convert> {
    Some(Box::new(|array| Ok(array.clone())))
}

/// The same bits under another name.
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

/// To another unit, exactly: a fraction that the coarser unit cannot say, or a number beyond 64
/// bits, does not fit.
fn rescale_time(from: i64, to: i64, kind: DataType) -> Option<Convert> {
    if from == to {
        return relabel(kind);
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
        match kind {
            DataType::Time32(_) => cast(&cast(&scaled, &DataType::Int32)?, &kind),
            _ => cast(&scaled, &kind),
        }
    }))
}

/// To a wider number. A float holds not every int, a double not every long.
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

/// `wide` with nulls where `fits` says that `narrow` lost something.
fn exact<A: ArrowPrimitiveType, B: ArrowPrimitiveType>(
    narrow: &PrimitiveArray<A>,
    fits: impl Fn(A::Native) -> bool,
    wide: &PrimitiveArray<B>,
) -> PrimitiveArray<B> {
    (0..wide.len())
        .map(|row| (wide.is_valid(row) && fits(narrow.value(row))).then(|| wide.value(row)))
        .collect()
}

/// To another scale and precision, exactly.
fn rescale_decimal(from: i8, precision: u8, to: i8) -> Convert {
    let limit = 10i128.pow(u32::from(precision));
    let factor = 10i128.pow(u32::from(from.abs_diff(to)));
    Box::new(move |array| {
        let values = array.as_primitive::<Decimal128Type>();
        let fitting = |v: i128| (-limit < v && v < limit).then_some(v);
        let scaled: Decimal128Array = match from.cmp(&to) {
            // An array of decimals may hold more digits than its own type says.
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

/// 16 bytes as 36 characters.
fn uuid_text(array: &ArrayRef) -> ArrayRef {
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

pub(crate) fn uuids_only(array: &StringArray) -> ArrayRef {
    Arc::new(
        array
            .iter()
            .map(|value| value.filter(|text| validate::is_uuid(text)))
            .collect::<StringArray>(),
    )
}

fn valid_text(array: &BinaryArray) -> ArrayRef {
    Arc::new(
        array
            .iter()
            .map(|value| value.and_then(|bytes| std::str::from_utf8(bytes).ok()))
            .collect::<StringArray>(),
    )
}

/// For each symbol of the writer what the reader takes it for; `None` when it knows neither the
/// symbol nor a default.
fn known_symbols(writer: &Symbols, reader: &Symbols) -> Vec<Option<String>> {
    writer
        .list
        .iter()
        .map(|s| if reader.list.contains(s) { Some(s.clone()) } else { reader.default.clone() })
        .collect()
}

/// Numbers of symbols as texts.
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

/// A field's default, as its schema writes it in JSON, as an array of one value of type `kind`;
/// `None` when it is not of that type.
pub(crate) fn default_value(value: &Value, shape: &Shape, kind: &DataType) -> Option<ArrayRef> {
    if value.is_null() {
        return Some(new_null_array(kind, 1));
    }
    let int = || value.as_i64().and_then(|v| i32::try_from(v).ok());
    let plain: ArrayRef = match shape {
        Shape::Boolean => Arc::new(BooleanArray::from(vec![value.as_bool()?])),
        Shape::Int | Shape::Date | Shape::TimeMillis => Arc::new(Int32Array::from(vec![int()?])),
        Shape::Long | Shape::TimeMicros | Shape::Timestamp { .. } => {
            Arc::new(Int64Array::from(vec![value.as_i64()?]))
        }
        Shape::Float => Arc::new(Float32Array::from(vec![value.as_f64()? as f32])),
        Shape::Double => Arc::new(Float64Array::from(vec![value.as_f64()?])),
        Shape::Bytes | Shape::Fixed(_) => Arc::new(BinaryArray::from_iter_values([latin(value)?])),
        Shape::Uuid { fixed: true } => return None,
        Shape::String | Shape::Uuid { fixed: false } | Shape::Enum(_) => {
            Arc::new(StringArray::from(vec![value.as_str()?]))
        }
        Shape::Decimal { precision, scale, .. } => {
            let unscaled = validate::unscaled(&latin(value)?)?;
            Arc::new(
                Decimal128Array::from(vec![unscaled])
                    .with_precision_and_scale(*precision, *scale)
                    .ok()?,
            )
        }
        Shape::Null
        | Shape::Foreign { .. }
        | Shape::Union(_)
        | Shape::Record(_)
        | Shape::Array(_)
        | Shape::Map(_) => return None,
    };
    cast(&plain, kind).ok()
}

/// Bytes are written in a schema as a text whose code points 0–255 are the bytes.
fn latin(value: &Value) -> Option<Vec<u8>> {
    value.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// From a column of a schema's own Arrow type to the one the library encodes from (see
/// [`crate::physical`]): the inverse of the conversions above for equal types. What `shape` cannot
/// hold becomes null.
pub(crate) fn lower(shape: &Shape) -> Convert {
    let kind = match shape {
        Shape::Int | Shape::Date | Shape::TimeMillis => DataType::Int32,
        Shape::Long | Shape::TimeMicros | Shape::Timestamp { .. } => DataType::Int64,
        Shape::Uuid { fixed: true } => return Box::new(|array| uuid_bytes(array.as_string())),
        Shape::Uuid { fixed: false } => return Box::new(|array| Ok(uuids_only(array.as_string()))),
        Shape::Enum(symbols) => return symbol_numbers(symbols.clone()),
        Shape::Fixed(size) => return fixed_bytes(*size),
        Shape::Decimal { precision, scale, .. } => {
            return rescale_decimal(*scale, *precision, *scale);
        }
        _ => return Box::new(|array| Ok(array.clone())),
    };
    Box::new(move |array| cast(array, &kind))
}

fn symbol_numbers(symbols: Arc<Symbols>) -> Convert {
    Box::new(move |array| {
        let number = |text: &str| {
            symbols.list.iter().position(|s| s == text).and_then(|n| i32::try_from(n).ok())
        };
        Ok(Arc::new(
            array.as_string::<i32>().iter().map(|v| v.and_then(number)).collect::<Int32Array>(),
        ))
    })
}

fn fixed_bytes(size: usize) -> Convert {
    Box::new(move |array| {
        let values = array.as_binary::<i32>().iter().map(|v| v.filter(|bytes| bytes.len() == size));
        Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, size as i32)?))
    })
}

fn uuid_bytes(array: &StringArray) -> Result<ArrayRef, ArrowError> {
    let bytes = |text: &str| {
        let digits: Vec<u8> =
            text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
        validate::is_uuid(text)
            .then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect::<Vec<u8>>())
    };
    let values = array.iter().map(|value| value.and_then(bytes));
    Ok(Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 16)?))
}
