//! Numbers and texts of Connect as times, decimals, bytes and floats.

use super::{MICRO, MILLI, Meaning, NANO};
use crate::avro_type::AvroType;
use crate::cell::Cell;
use crate::datum;
use crate::json::JsonRules;
use arrow::datatypes::TimeUnit;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// The value, where its meaning is more than that of its JSON.
pub(super) fn cell<'a>(
    meaning: &Meaning,
    json: &str,
    to: &AvroType,
    rules: JsonRules,
) -> Option<Result<Cell<'a>, String>> {
    let number = || json.parse::<i128>().map_err(|_| "is not a whole number".to_owned());
    let bytes = || {
        let text: String = serde_json::from_str(json).map_err(|_| "is not in quotes")?;
        BASE64_STANDARD.decode(text).map_err(|_| "is not base64".to_owned())
    };
    Some(match (meaning, to) {
        (Meaning::Unread(why), _) => Err((*why).into()),
        (Meaning::Days, AvroType::Date) => number().and_then(|days| integer(days, true)),
        (Meaning::Time(from), AvroType::TimeMillis) => {
            number().and_then(|n| rescaled(n, *from, MILLI, true))
        }
        (Meaning::Time(from), AvroType::TimeMicros) => {
            number().and_then(|n| rescaled(n, *from, MICRO, false))
        }
        (Meaning::Timestamp(from), AvroType::Timestamp { unit, .. }) => {
            number().and_then(|n| rescaled(n, *from, nanos(*unit), false))
        }
        (Meaning::Decimal(scale), AvroType::Decimal { precision, scale: to, .. }) => {
            bytes().and_then(|bytes| decimal(&bytes, *scale, *precision, *to))
        }
        (Meaning::Unsaid, AvroType::Decimal { scale, .. })
            if rules.numbers_as_text && *scale > 0 && could_be_base64(json) =>
        {
            Err("is a number, or bytes in base64: only a schema says which \
                 (value.converter.schemas.enable)"
                .into())
        }
        (Meaning::Decimal(_), AvroType::String) => {
            Err("is a decimal in base64, which is no text; read it as a decimal".into())
        }
        (Meaning::Bytes, AvroType::String) => {
            Err("is bytes in base64, which are no text; read it as bytes".into())
        }
        (Meaning::Bytes | Meaning::Unsaid, AvroType::Bytes) => {
            bytes().map(|bytes| Cell::Bytes(bytes.into()))
        }
        (Meaning::Bytes | Meaning::Unsaid, AvroType::Fixed(size)) => {
            bytes().and_then(|bytes| match bytes.len() == *size {
                true => Ok(Cell::Bytes(bytes.into())),
                false => Err(format!("has {} bytes, not {size}", bytes.len())),
            })
        }
        (Meaning::Float | Meaning::Unsaid, AvroType::Float | AvroType::Double) => match json {
            "\"NaN\"" => Ok(Cell::Float(f64::NAN)),
            "\"Infinity\"" => Ok(Cell::Float(f64::INFINITY)),
            "\"-Infinity\"" => Ok(Cell::Float(f64::NEG_INFINITY)),
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether a text of digits is base64 as well. A decimal that is written as text has all of its
/// decimals.
fn could_be_base64(json: &str) -> bool {
    let digits = json.trim_matches('"');
    let text = json.starts_with('"') && !digits.is_empty();
    text && digits.len().is_multiple_of(4) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn nanos(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => MILLI,
        TimeUnit::Microsecond => MICRO,
        TimeUnit::Nanosecond => NANO,
    }
}

fn rescaled<'a>(number: i128, from: i128, to: i128, narrow: bool) -> Result<Cell<'a>, String> {
    match number.checked_mul(from) {
        Some(nanos) if nanos % to == 0 => integer(nanos / to, narrow),
        Some(_) => Err("has more decimals of a second than its type holds".into()),
        None => Err("is out of range".into()),
    }
}

fn integer<'a>(number: i128, narrow: bool) -> Result<Cell<'a>, String> {
    let fits = if narrow { i32::try_from(number).is_ok() } else { i64::try_from(number).is_ok() };
    match i64::try_from(number) {
        Ok(number) if fits => Ok(Cell::Integer(number)),
        _ => Err("is out of range".into()),
    }
}

fn decimal<'a>(bytes: &[u8], scale: i8, precision: u8, to: i8) -> Result<Cell<'a>, String> {
    let factor = 10i128.checked_pow(u32::from(scale.abs_diff(to)));
    let value = datum::unscaled(bytes).zip(factor).and_then(|(value, factor)| match scale <= to {
        true => value.checked_mul(factor),
        false => (value % factor == 0).then_some(value / factor),
    });
    let limit = 10i128.pow(u32::from(precision));
    let fitting = value.filter(|value| -limit < *value && *value < limit);
    fitting.map(Cell::Decimal).ok_or_else(|| format!("does not fit decimal({precision}, {to})"))
}
