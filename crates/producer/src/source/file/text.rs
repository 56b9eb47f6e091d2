//! Text → values of a field's type, strictly: what is not exactly such a value is refused, never
//! rounded or guessed.

use arrow::array::*;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use jiff::civil;
use std::borrow::Cow;
use std::sync::Arc;

/// A value of a record under construction.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Boolean(bool),
    /// Whole numbers, and dates and times in the unit of their type.
    Integer(i64),
    Float(f64),
    Decimal(i128),
    Text(Cow<'a, str>),
}

impl Cell<'_> {
    /// The same without borrowing.
    pub(super) fn into_owned<'b>(self) -> Cell<'b> {
        match self {
            Cell::Null => Cell::Null,
            Cell::Boolean(v) => Cell::Boolean(v),
            Cell::Integer(v) => Cell::Integer(v),
            Cell::Float(v) => Cell::Float(v),
            Cell::Decimal(v) => Cell::Decimal(v),
            Cell::Text(v) => Cell::Text(Cow::Owned(v.into_owned())),
        }
    }
}

/// The value of `text`, or its fault ("is not a whole number").
pub(super) fn parse<'a>(text: &'a str, kind: &DataType) -> Result<Cell<'a>, String> {
    let trimmed = text.trim();
    match kind {
        DataType::Utf8 | DataType::Binary => Ok(Cell::Text(Cow::Borrowed(text))),
        DataType::Boolean => boolean(trimmed),
        DataType::Int32 => trimmed
            .parse::<i32>()
            .map(|n| Cell::Integer(n.into()))
            .map_err(|e| whole(&e, "32 bits")),
        DataType::Int64 => {
            trimmed.parse::<i64>().map(Cell::Integer).map_err(|e| whole(&e, "64 bits"))
        }
        DataType::Float32 => float(trimmed, f64::from(f32::MAX)),
        DataType::Float64 => float(trimmed, f64::MAX),
        DataType::Decimal128(precision, scale) => decimal(trimmed, *precision, *scale),
        DataType::Date32 => date(trimmed),
        DataType::Time32(unit) | DataType::Time64(unit) => time(trimmed, *unit),
        DataType::Timestamp(unit, zone) => timestamp(trimmed, *unit, zone.is_some()),
        other => Err(format!("cannot be read as {other}")),
    }
}

fn boolean<'a>(text: &str) -> Result<Cell<'a>, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(Cell::Boolean(true)),
        "false" => Ok(Cell::Boolean(false)),
        _ => Err("is neither true nor false".into()),
    }
}

fn whole(error: &std::num::ParseIntError, size: &str) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    match error.kind() {
        PosOverflow | NegOverflow => format!("does not fit {size}"),
        _ => "is not a whole number".into(),
    }
}

fn float<'a>(text: &str, limit: f64) -> Result<Cell<'a>, String> {
    // Rust would also read `inf` and `nan`, which are words, not numbers.
    let number = text.parse::<f64>().ok().filter(|_| !text.contains(['n', 'N']));
    match number {
        Some(number) if number.abs() <= limit => Ok(Cell::Float(number)),
        Some(_) => Err("is too large".into()),
        None => Err("is not a number".into()),
    }
}

fn decimal<'a>(text: &str, precision: u8, scale: i8) -> Result<Cell<'a>, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::try_from(scale).unwrap_or(0);
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if before.len() + after.len() == 0 || !plain(before) || !plain(after) {
        return Err("is not a decimal number".into());
    }
    let after = after.trim_end_matches('0');
    if after.len() > scale {
        return Err(format!("has more than {scale} decimals"));
    }
    let before = before.trim_start_matches('0');
    if before.len() + scale > usize::from(precision) {
        return Err(format!("does not fit decimal({precision}, {scale})"));
    }
    let digits =
        before.bytes().chain(after.bytes()).chain(std::iter::repeat_n(b'0', scale - after.len()));
    let number = digits.fold(0i128, |number, digit| number * 10 + i128::from(digit - b'0'));
    Ok(Cell::Decimal(if negative { -number } else { number }))
}

fn date<'a>(text: &str) -> Result<Cell<'a>, String> {
    // A date alone: jiff would also take a date and a time, and drop the time.
    let date = (text.len() == 10)
        .then(|| text.parse::<civil::Date>().ok())
        .flatten()
        .ok_or("is not a date such as 2025-01-31")?;
    let days = (date - civil::date(1970, 1, 1)).get_days();
    Ok(Cell::Integer(days.into()))
}

fn time<'a>(text: &str, unit: TimeUnit) -> Result<Cell<'a>, String> {
    let time: civil::Time = text.parse().map_err(|_| "is not a time such as 23:59:59.999")?;
    let seconds =
        i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second());
    in_unit(i128::from(seconds) * 1_000_000_000 + i128::from(time.subsec_nanosecond()), unit)
}

/// With a zone the field is an instant: text without an offset is taken as UTC. Without one it is
/// what a clock on the wall shows, and an offset is refused, because dropping it would change the
/// instant.
fn timestamp<'a>(text: &str, unit: TimeUnit, zone: bool) -> Result<Cell<'a>, String> {
    if let Some(instant) = zone.then(|| text.parse::<jiff::Timestamp>().ok()).flatten() {
        return in_unit(instant.as_nanosecond(), unit);
    }
    let civil: civil::DateTime = text.parse().map_err(|_| match zone {
        true => "is not a time such as 2025-01-31T23:59:59.999Z",
        false => "is not a local time such as 2025-01-31 23:59:59.999",
    })?;
    let instant = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|e| e.to_string())?;
    in_unit(instant.timestamp().as_nanosecond(), unit)
}

fn in_unit<'a>(nanoseconds: i128, unit: TimeUnit) -> Result<Cell<'a>, String> {
    let (size, decimals) = match unit {
        TimeUnit::Second => (1_000_000_000, 0),
        TimeUnit::Millisecond => (1_000_000, 3),
        TimeUnit::Microsecond => (1_000, 6),
        TimeUnit::Nanosecond => (1, 9),
    };
    if nanoseconds % size != 0 {
        return Err(format!("has more than {decimals} decimals of a second"));
    }
    i64::try_from(nanoseconds / size).map(Cell::Integer).map_err(|_| "is out of range".into())
}

/// A column under construction: the values of a type that Arrow keeps in the same way, and the type
/// itself.
pub(super) struct Builder {
    kind: DataType,
    values: Values,
}

enum Values {
    Boolean(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Binary(BinaryBuilder),
}

impl Builder {
    pub(super) fn new(kind: &DataType) -> Builder {
        let values = match kind {
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int32 | DataType::Date32 | DataType::Time32(_) => {
                Values::Int32(Int32Builder::new())
            }
            DataType::Float32 => Values::Float32(Float32Builder::new()),
            DataType::Float64 => Values::Float64(Float64Builder::new()),
            DataType::Decimal128(..) => Values::Decimal(Decimal128Builder::new()),
            DataType::Utf8 => Values::Text(StringBuilder::new()),
            DataType::Binary => Values::Binary(BinaryBuilder::new()),
            _ => Values::Int64(Int64Builder::new()),
        };
        Builder { kind: kind.clone(), values }
    }

    /// Adds a cell that [`parse`] made for this type; anything else counts as null.
    pub(super) fn push(&mut self, cell: &Cell<'_>) {
        match (&mut self.values, cell) {
            (Values::Boolean(b), Cell::Boolean(v)) => b.append_value(*v),
            (Values::Int32(b), Cell::Integer(v)) => b.append_option(i32::try_from(*v).ok()),
            (Values::Int64(b), Cell::Integer(v)) => b.append_value(*v),
            (Values::Float32(b), Cell::Float(v)) => b.append_value(*v as f32),
            (Values::Float64(b), Cell::Float(v)) => b.append_value(*v),
            (Values::Decimal(b), Cell::Decimal(v)) => b.append_value(*v),
            (Values::Text(b), Cell::Text(v)) => b.append_value(v),
            (Values::Binary(b), Cell::Text(v)) => b.append_value(v.as_bytes()),
            (Values::Boolean(b), _) => b.append_null(),
            (Values::Int32(b), _) => b.append_null(),
            (Values::Int64(b), _) => b.append_null(),
            (Values::Float32(b), _) => b.append_null(),
            (Values::Float64(b), _) => b.append_null(),
            (Values::Decimal(b), _) => b.append_null(),
            (Values::Text(b), _) => b.append_null(),
            (Values::Binary(b), _) => b.append_null(),
        }
    }

    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        let array: ArrayRef = match self.values {
            Values::Boolean(mut b) => Arc::new(b.finish()),
            Values::Int32(mut b) => Arc::new(b.finish()),
            Values::Int64(mut b) => Arc::new(b.finish()),
            Values::Float32(mut b) => Arc::new(b.finish()),
            Values::Float64(mut b) => Arc::new(b.finish()),
            Values::Decimal(mut b) => Arc::new(b.finish()),
            Values::Text(mut b) => Arc::new(b.finish()),
            Values::Binary(mut b) => Arc::new(b.finish()),
        };
        if array.data_type() == &self.kind {
            return Ok(array);
        }
        // Dates, times and decimals are numbers with a meaning: the same buffers under the field's
        // type.
        let data = array.to_data().into_builder().data_type(self.kind).build()?;
        Ok(make_array(data))
    }
}

#[cfg(test)]
mod tests;
