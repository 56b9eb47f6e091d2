//! Messages that are values of their own: `google.protobuf.Timestamp` and `Duration`, and
//! `confluent.type.Decimal`, which Kafka Connect writes.

use super::message::Part;
use super::scalar::{Raw, Scalar, rescaled};
use super::wire::Wire;
use crate::avro_type::AvroType;
use crate::cell::Cell;
use crate::datum::{InvalidDatum, unscaled, violation};
use crate::field_type::FieldType;
use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use std::borrow::Cow;
use weir_model::fault::VALUE_DOES_NOT_FIT;

/// Which message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WellKnown {
    Timestamp,
    Duration,
    Decimal,
}

/// Its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum KnownValue {
    /// Seconds since 1970 and nanoseconds.
    Timestamp(i64, i32),
    /// Seconds and nanoseconds of the same sign.
    Duration(i64, i32),
    /// The unscaled value and its decimals.
    Decimal(i128, i32),
}

/// From year 1 to year 9999.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const NANOS: i64 = 1_000_000_000;
/// About 10,000 years.
const MAX_DURATION: i64 = 315_576_000_000;

impl WellKnown {
    pub(super) fn of(name: &str) -> Option<WellKnown> {
        match name {
            "google.protobuf.Timestamp" => Some(WellKnown::Timestamp),
            "google.protobuf.Duration" => Some(WellKnown::Duration),
            "confluent.type.Decimal" => Some(WellKnown::Decimal),
            _ => None,
        }
    }

    /// Whether it can be a value of this type.
    pub(super) fn becomes(self, to: &AvroType) -> bool {
        let takes = |from: DataType| FieldType::of_type(to).takes(&from);
        match self {
            WellKnown::Timestamp => {
                takes(DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())))
            }
            WellKnown::Decimal => takes(DataType::Decimal128(38, 0)),
            WellKnown::Duration => matches!(to, AvroType::Duration | AvroType::String),
        }
    }

    pub(super) fn read(self, value: &[u8], parts: &[Part]) -> Result<KnownValue, InvalidDatum> {
        let (mut whole, mut part, mut bytes): (i64, i32, &[u8]) = (0, 0, &[]);
        for Part { start, end } in parts {
            let mut wire = Wire::new(value, *start, *end);
            while !wire.is_at_end() {
                let (number, wire_type) = wire.tag()?;
                let scalar = match (self, number) {
                    (WellKnown::Timestamp | WellKnown::Duration, 1) => Scalar::Int64,
                    (WellKnown::Timestamp | WellKnown::Duration, 2) => Scalar::Int32,
                    (WellKnown::Decimal, 1) => Scalar::Bytes,
                    (WellKnown::Decimal, 3) => Scalar::Int32,
                    _ => {
                        wire.skip(number, wire_type)?;
                        continue;
                    }
                };
                if wire_type != scalar.wire_type() {
                    return Err(wire.other(wire_type, scalar.wire_type()));
                }
                match scalar.read(&mut wire)? {
                    Raw::Bytes(read) => bytes = read,
                    Raw::Integer(read) if scalar == Scalar::Int64 => whole = read as i64,
                    Raw::Integer(read) => part = read as i32,
                    _ => {}
                }
            }
        }
        let fits = match self {
            WellKnown::Timestamp => SECONDS.contains(&whole) && (0..NANOS as i32).contains(&part),
            WellKnown::Duration => {
                let is_one_sign = i64::from(part.signum()) * whole.signum() >= 0;
                whole.unsigned_abs() <= MAX_DURATION as u64
                    && part.unsigned_abs() < NANOS as u32
                    && is_one_sign
            }
            WellKnown::Decimal => true,
        };
        if !fits {
            let text =
                format!("{whole} seconds and {part} nanoseconds are no {self:?} of Protobuf");
            return Err(violation(VALUE_DOES_NOT_FIT, text));
        }
        Ok(match self {
            WellKnown::Timestamp => KnownValue::Timestamp(whole, part),
            WellKnown::Duration => KnownValue::Duration(whole, part),
            WellKnown::Decimal => {
                let number = if bytes.is_empty() { Some(0) } else { unscaled(bytes) };
                let number = number.ok_or_else(|| {
                    let text = format!("a decimal of {} bytes is too large", bytes.len());
                    violation(VALUE_DOES_NOT_FIT, text)
                })?;
                KnownValue::Decimal(number, part)
            }
        })
    }
}

impl KnownValue {
    /// As a value of this type, exactly.
    pub(super) fn cell<'a>(self, to: &AvroType) -> Result<Cell<'a>, InvalidDatum> {
        let text = self.text();
        self.fitting(to, &text)
            .ok_or_else(|| violation(VALUE_DOES_NOT_FIT, format!("`{text}` does not fit {to}")))
    }

    fn fitting<'a>(self, to: &AvroType, text: &str) -> Option<Cell<'a>> {
        Some(match (self, to) {
            (_, AvroType::String) => Cell::Text(Cow::Owned(text.into())),
            (KnownValue::Timestamp(seconds, nanos), AvroType::Timestamp { unit, .. }) => {
                let per_second = match unit {
                    TimeUnit::Second => 1,
                    TimeUnit::Millisecond => 1_000,
                    TimeUnit::Microsecond => 1_000_000,
                    TimeUnit::Nanosecond => NANOS,
                };
                let part = i64::from(nanos);
                let is_exact = part % (NANOS / per_second) == 0;
                let number = i128::from(seconds) * i128::from(per_second)
                    + i128::from(part / (NANOS / per_second));
                Cell::Integer(i64::try_from(number).ok().filter(|_| is_exact)?)
            }
            (KnownValue::Duration(seconds, nanos), AvroType::Duration) => {
                let all = seconds.checked_mul(NANOS)?.checked_add(nanos.into())?;
                let interval = IntervalMonthDayNano::new(0, 0, all);
                crate::datum::duration(interval)?;
                Cell::Interval(interval)
            }
            (KnownValue::Decimal(number, decimals), AvroType::Decimal { precision, scale, .. }) => {
                Cell::Decimal(rescaled(number, decimals, *precision, *scale)?)
            }
            (KnownValue::Decimal(number, decimals), to) => {
                let whole = rescaled(number, decimals, 38, 0)?;
                Raw::Integer(whole).cell(to).ok()?
            }
            _ => return None,
        })
    }

    /// As Protobuf writes it in JSON.
    fn text(self) -> String {
        match self {
            KnownValue::Timestamp(seconds, nanos) => jiff::Timestamp::new(seconds, nanos)
                .map_or_else(|_| format!("{seconds} s"), |moment| moment.to_string()),
            KnownValue::Duration(seconds, nanos) => {
                let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
                let whole = seconds.unsigned_abs();
                match format!("{:09}", nanos.unsigned_abs()).trim_end_matches('0') {
                    "" => format!("{sign}{whole}s"),
                    part => format!("{sign}{whole}.{part}s"),
                }
            }
            KnownValue::Decimal(number, decimals @ 1..=64) => {
                let decimals = decimals as usize;
                let sign = if number < 0 { "-" } else { "" };
                let digits = format!("{:0>1$}", number.unsigned_abs(), decimals + 1);
                let (whole, part) = digits.split_at(digits.len() - decimals);
                format!("{sign}{whole}.{part}")
            }
            KnownValue::Decimal(number, 0) => number.to_string(),
            KnownValue::Decimal(number, decimals) => format!("{number}e{}", -i64::from(decimals)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_protobufs_json() {
        let texts = [
            (KnownValue::Timestamp(0, 10_000_000), "1970-01-01T00:00:00.01Z"),
            (KnownValue::Timestamp(-62_135_596_800, 0), "0001-01-01T00:00:00Z"),
            (KnownValue::Duration(-1, -500_000_000), "-1.5s"),
            (KnownValue::Duration(3, 1), "3.000000001s"),
            (KnownValue::Duration(0, 0), "0s"),
            (KnownValue::Decimal(-5, 3), "-0.005"),
            (KnownValue::Decimal(123, 2), "1.23"),
            (KnownValue::Decimal(12, -3), "12e3"),
        ];
        for (value, text) in texts {
            assert_eq!(value.text(), text);
        }
    }

    #[test]
    fn a_time_keeps_all_its_digits_or_is_refused() {
        let timestamp = |unit| AvroType::Timestamp { unit, utc: true };
        let value = KnownValue::Timestamp(-1, 999_999_000);
        let micros = value.cell(&timestamp(TimeUnit::Microsecond)).unwrap();
        assert_eq!(micros, Cell::Integer(-1));
        assert!(value.cell(&timestamp(TimeUnit::Millisecond)).is_err());
        let early = KnownValue::Timestamp(-62_135_596_800, 0);
        assert!(early.cell(&timestamp(TimeUnit::Nanosecond)).is_err());
        assert!(KnownValue::Duration(-1, 0).cell(&AvroType::Duration).is_err());
        assert!(KnownValue::Duration(1, 1).cell(&AvroType::Duration).is_err());
        assert!(KnownValue::Duration(1, 1_000_000).cell(&AvroType::Duration).is_ok());
        assert!(KnownValue::Duration(315_576_000_000, 0).cell(&AvroType::Duration).is_err());
    }
}
