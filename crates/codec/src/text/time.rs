//! Texts of dates and times, in the form of ISO 8601 and of SQL: `2025-01-31`, `23:59:59.999`,
//! `2025-01-31 23:59:59.999+01:00`.

use super::Cell;
use arrow::datatypes::TimeUnit;
use jiff::civil;

pub(super) const NANOS_PER_SECOND: i128 = 1_000_000_000;
/// Of a zone's offset. Zones in use reach 14 hours; Java's `ZoneOffset` has the same limit.
const MAX_OFFSET_HOURS: i32 = 18;

pub(super) fn date<'a>(text: &str) -> Result<Cell<'a>, String> {
    let days = days(text).ok_or("is not a date such as 2025-01-31")?;
    Ok(Cell::Integer(days.into()))
}

pub(super) fn time<'a>(text: &str, unit: TimeUnit) -> Result<Cell<'a>, String> {
    let nanos = nanos_of_day(text).ok_or("is not a time such as 23:59:59.999")?;
    in_unit(nanos, unit)
}

/// For an instant, text without an offset is taken as UTC. A local time is what a clock on the wall
/// shows; an offset is refused, because dropping it would change the instant.
pub(super) fn timestamp<'a>(text: &str, unit: TimeUnit, utc: bool) -> Result<Cell<'a>, String> {
    let (local, offset) = match split_offset(text) {
        Some((local, offset)) if utc => (local, offset),
        _ => (text, 0),
    };
    let nanos = local_nanos(local).ok_or(match utc {
        true => "is not a time such as 2025-01-31T23:59:59.999Z",
        false => "is not a local time such as 2025-01-31 23:59:59.999",
    })?;
    in_unit(nanos - i128::from(offset) * NANOS_PER_SECOND, unit)
}

/// Nanoseconds since 1970 on the clock of the text; a date alone is its first moment.
fn local_nanos(text: &str) -> Option<i128> {
    let (date, rest) = text.split_at_checked(10)?;
    let nanos = match rest.as_bytes().first() {
        None => 0,
        Some(b'T' | b't' | b' ') => nanos_of_day(&rest[1..])?,
        Some(_) => return None,
    };
    Some(i128::from(days(date)?) * 86_400 * NANOS_PER_SECOND + nanos)
}

/// Days since 1970.
fn days(text: &str) -> Option<i32> {
    let shape = text.len() == 10
        && text.bytes().enumerate().all(|(index, byte)| match index {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let date: civil::Date = shape.then(|| text.parse().ok()).flatten()?;
    Some(days_since_1970(date))
}

pub(super) fn days_since_1970(date: civil::Date) -> i32 {
    (date - civil::date(1970, 1, 1)).get_days()
}

/// Nanoseconds since midnight.
pub(super) fn nanos_of(time: civil::Time) -> i128 {
    let seconds =
        i128::from(time.hour()) * 3600 + i128::from(time.minute()) * 60 + i128::from(time.second());
    seconds * NANOS_PER_SECOND + i128::from(time.subsec_nanosecond())
}

/// `HH:MM`, with seconds and up to nine decimals or without. There is no second 60: libraries
/// silently make it the 59th.
fn nanos_of_day(text: &str) -> Option<i128> {
    let (clock, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    let (hours, minutes) = (two_digits(parts.next()?)?, two_digits(parts.next()?)?);
    let seconds = parts.next();
    let has_fraction = clock.len() < text.len();
    if parts.next().is_some() || has_fraction && seconds.is_none() {
        return None;
    }
    let seconds = seconds.map_or(Some(0), two_digits)?;
    let digits = (1..=9).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    if !digits || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
    Some(i128::from(hours * 3600 + minutes * 60 + seconds) * NANOS_PER_SECOND + nanos)
}

/// The local part of an instant's text, and its offset in seconds: `Z`, `+01`, `+0100`, `+01:00` or
/// `+01:00:00`, and behind it the name of the zone in brackets or nothing.
fn split_offset(text: &str) -> Option<(&str, i32)> {
    let text = match text.strip_suffix(']') {
        Some(named) => named.rsplit_once('[')?.0,
        None => text,
    };
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some((local, 0));
    }
    // The date has signs of its own.
    let sign = 10 + text.get(10..)?.find(['+', '-'])?;
    let digits = text[sign + 1..].replace(':', "");
    let plain = matches!(digits.len(), 2 | 4 | 6) && digits.bytes().all(|b| b.is_ascii_digit());
    let part = |from: usize| digits.get(from..from + 2).map_or(Some(0), two_digits);
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    if !plain || hours > MAX_OFFSET_HOURS || minutes > 59 || seconds > 59 {
        return None;
    }
    let offset = hours * 3600 + minutes * 60 + seconds;
    Some((&text[..sign], if text.as_bytes()[sign] == b'-' { -offset } else { offset }))
}

fn two_digits(text: &str) -> Option<i32> {
    let plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

pub(super) fn in_unit<'a>(nanos: i128, unit: TimeUnit) -> Result<Cell<'a>, String> {
    let (size, decimals) = match unit {
        TimeUnit::Second => (1_000_000_000, 0),
        TimeUnit::Millisecond => (1_000_000, 3),
        TimeUnit::Microsecond => (1_000, 6),
        TimeUnit::Nanosecond => (1, 9),
    };
    if nanos % size != 0 {
        return Err(format!("has more than {decimals} decimals of a second"));
    }
    i64::try_from(nanos / size).map(Cell::Integer).map_err(|_| "is out of range".into())
}
