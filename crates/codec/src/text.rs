//! Text → values of a field's type, strictly: what is not exactly such a value is refused, never
//! rounded or guessed.

mod format;
mod time;

pub use format::TextFormat;

use crate::avro_type::{AvroType, Wide};
use crate::cell::Cell;
use crate::datum;
use crate::json::{self, JsonRules};
use arrow::datatypes::TimeUnit;
use std::borrow::Cow;

/// The value of `text`, or what is wrong with it ("is not a whole number").
pub(crate) fn parse<'a>(text: &'a str, avro_type: &AvroType) -> Result<Cell<'a>, String> {
    let trimmed = text.trim();
    match avro_type {
        AvroType::String | AvroType::Bytes => Ok(Cell::Text(Cow::Borrowed(text))),
        AvroType::Fixed(size) if text.len() == *size => Ok(Cell::Text(Cow::Borrowed(text))),
        AvroType::Fixed(size) => Err(format!("has {} bytes, not {size}", text.len())),
        AvroType::Uuid { .. } if datum::is_uuid(trimmed) => Ok(Cell::Text(Cow::Borrowed(trimmed))),
        AvroType::Uuid { .. } => {
            Err("is not a UUID such as 6774d596-8cc8-4c20-8e98-6f2f105d62a8".into())
        }
        AvroType::Enum(symbols) => match symbols.list.iter().any(|symbol| symbol == text) {
            true => Ok(Cell::Text(Cow::Borrowed(text))),
            false => Err(format!("does not fit {avro_type}")),
        },
        AvroType::Boolean => boolean(trimmed),
        AvroType::Int => trimmed
            .parse::<i32>()
            .map(|n| Cell::Integer(n.into()))
            .map_err(|e| whole(&e, "32 bits")),
        AvroType::Long => {
            trimmed.parse::<i64>().map(Cell::Integer).map_err(|e| whole(&e, "64 bits"))
        }
        AvroType::Float => float(trimmed, |text| text.parse::<f32>().ok().map(f64::from)),
        AvroType::Double => float(trimmed, |text| text.parse().ok()),
        AvroType::Decimal { precision, scale, .. } => decimal(trimmed, *precision, *scale),
        AvroType::Date => time::date(trimmed),
        AvroType::TimeMillis => time::time(trimmed, TimeUnit::Millisecond),
        AvroType::TimeMicros => time::time(trimmed, TimeUnit::Microsecond),
        AvroType::Timestamp { unit, utc } => time::timestamp(trimmed, *unit, *utc),
        AvroType::Array(_) | AvroType::Map(_) | AvroType::Record(_) => {
            json::of_text(text, avro_type, JsonRules::OF_FILES)
        }
        AvroType::Union(_) => match avro_type.wide() {
            Some(Wide::Number(number)) => parse(text, number),
            _ => Err(format!("could be any of {avro_type}")),
        },
        other => Err(format!("cannot be read as {other}")),
    }
}

/// The same for a text of this format.
pub(crate) fn parse_as<'a>(
    text: &'a str,
    avro_type: &AvroType,
    format: &TextFormat,
) -> Result<Cell<'a>, String> {
    if let Some(moment) = format.moment(text.trim(), avro_type) {
        return moment;
    }
    let number = match avro_type.wide() {
        Some(Wide::Number(number)) => number,
        _ => avro_type,
    };
    match number {
        AvroType::Int
        | AvroType::Long
        | AvroType::Float
        | AvroType::Double
        | AvroType::Decimal { .. } => match format.number(text.trim())? {
            Cow::Borrowed(text) => parse(text, number),
            Cow::Owned(text) => parse(&text, number).map(Cell::into_owned),
        },
        _ => parse(text, avro_type),
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

/// The nearest number of the type. A whole number must be that number itself, and what is not zero
/// must not become zero.
fn float<'a>(text: &str, nearest: impl Fn(&str) -> Option<f64>) -> Result<Cell<'a>, String> {
    // Rust would also read `inf` and `nan`, which are words, not numbers.
    let number = nearest(text).filter(|_| !text.contains(['n', 'N'])).ok_or("is not a number")?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = !mantissa.contains(|c: char| matches!(c, '1'..='9'));
    match text.parse::<i128>() {
        _ if number.is_infinite() => Err("is too large".into()),
        _ if number == 0.0 && !is_zero => Err("is too small".into()),
        Ok(whole) if number as i128 != whole => Err("has more digits than its type holds".into()),
        Ok(_) | Err(_) => Ok(Cell::Float(number)),
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

#[cfg(test)]
mod tests;
