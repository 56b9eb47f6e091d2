//! How texts of another form than ISO 8601 and SQL are written: numbers with a decimal comma, dates
//! of a country. A value is either exactly of the form that is given, or refused.

use crate::avro_type::AvroType;
use crate::cell::Cell;
use crate::text::time::{NANOS_PER_SECOND, days_since_1970, in_unit, nanos_of};
use jiff::civil;
use jiff::fmt::strtime::{self, BrokenDownTime};
use std::borrow::Cow;

/// The form of the texts in a file. Formats of dates and times are those of `strptime`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextFormat {
    /// Between whole number and fraction.
    pub decimal_separator: char,
    /// Between groups of three digits.
    pub thousands_separator: Option<char>,
    /// Of dates; `None`: `2025-01-31`.
    pub date: Option<String>,
    /// Of times of day; `None`: `23:59:59.999`.
    pub time: Option<String>,
    /// Of timestamps; `None`: `2025-01-31 23:59:59.999`, with an offset behind it or without.
    pub timestamp: Option<String>,
}

impl Default for TextFormat {
    fn default() -> TextFormat {
        TextFormat {
            decimal_separator: '.',
            thousands_separator: None,
            date: None,
            time: None,
            timestamp: None,
        }
    }
}

/// A moment that no format shows by chance.
const SAMPLE: civil::DateTime = civil::datetime(2017, 11, 23, 14, 56, 39, 0);

impl TextFormat {
    /// What is wrong with a format of a date, a time or a timestamp: it must name all of one.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the format.
    pub fn check_date(format: &str) -> Result<(), String> {
        let read = |text: &str| strtime::parse(format, text).ok()?.to_date().ok();
        verdict(format, |text| read(text) == Some(SAMPLE.date()), "a date, such as %d.%m.%Y")
    }

    /// See [`TextFormat::check_date`].
    ///
    /// # Errors
    /// As there.
    pub fn check_time(format: &str) -> Result<(), String> {
        let read = |text: &str| strtime::parse(format, text).ok()?.to_time().ok();
        // Seconds may be left out.
        let same = |text: &str| read(text).is_some_and(|t| t.minute() == 56 && t.hour() == 14);
        verdict(format, same, "a time of day, such as %H:%M:%S%.f")
    }

    /// See [`TextFormat::check_date`].
    ///
    /// # Errors
    /// As there.
    pub fn check_timestamp(format: &str) -> Result<(), String> {
        let read = |text: &str| strtime::parse(format, text).ok()?.to_datetime().ok();
        let same = |text: &str| {
            read(text)
                .is_some_and(|t| t.date() == SAMPLE.date() && t.hour() == 14 && t.minute() == 56)
        };
        verdict(format, same, "a date and a time, such as %d.%m.%Y %H:%M:%S")
    }

    /// The text of a number as SQL writes it.
    pub(crate) fn number<'a>(&self, text: &'a str) -> Result<Cow<'a, str>, String> {
        if self.decimal_separator == '.' && self.thousands_separator.is_none() {
            return Ok(text.into());
        }
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let (whole, fraction) = match mantissa.split_once(self.decimal_separator) {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let (sign, digits) = match whole.strip_prefix(['-', '+']) {
            Some(digits) => (&whole[..1], digits),
            None => ("", whole),
        };
        let digits = self.ungrouped(digits).ok_or("has separators of thousands in other places")?;
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(&digits) || !fraction.is_none_or(plain) {
            return Err(format!("is not a number with `{}` for decimals", self.decimal_separator));
        }
        let point = if fraction.is_some() { "." } else { "" };
        Ok(format!("{sign}{digits}{point}{}{exponent}", fraction.unwrap_or_default()).into())
    }

    fn ungrouped(&self, digits: &str) -> Option<String> {
        let Some(separator) = self.thousands_separator.filter(|s| digits.contains(*s)) else {
            return Some(digits.into());
        };
        let groups: Vec<&str> = digits.split(separator).collect();
        let (first, rest) = groups.split_first()?;
        let fits = (1..=3).contains(&first.len()) && rest.iter().all(|group| group.len() == 3);
        fits.then(|| groups.concat())
    }

    /// The value of a date or time in the format for its type; `None`: there is no such format.
    pub(crate) fn moment(
        &self,
        text: &str,
        avro_type: &AvroType,
    ) -> Option<Result<Cell<'static>, String>> {
        let (format, read): (_, ReadMoment) = match avro_type {
            AvroType::Date => (&self.date, date),
            AvroType::TimeMillis | AvroType::TimeMicros => (&self.time, time),
            AvroType::Timestamp { .. } => (&self.timestamp, timestamp),
            _ => return None,
        };
        let format = format.as_ref()?;
        let read = strtime::parse(format, text).ok().and_then(|parts| read(&parts, avro_type));
        Some(read.unwrap_or_else(|| Err(format!("is not of the form {format}"))))
    }
}

/// Makes a value of the parts of a text; `None`: some are missing.
type ReadMoment = fn(&BrokenDownTime, &AvroType) -> Option<Result<Cell<'static>, String>>;

fn verdict(format: &str, same: impl Fn(&str) -> bool, what: &str) -> Result<(), String> {
    let zoned = SAMPLE.to_zoned(jiff::tz::TimeZone::UTC).map_err(|e| e.to_string())?;
    let text = BrokenDownTime::from(&zoned).to_string(format);
    match text.map_err(|e| format!("is not a format: {e}")) {
        Ok(text) if same(&text) => Ok(()),
        Ok(_) => Err(format!("does not name all of {what}")),
        Err(what) => Err(what),
    }
}

fn date(parts: &BrokenDownTime, _: &AvroType) -> Option<Result<Cell<'static>, String>> {
    let date = parts.to_date().ok()?;
    Some(Ok(Cell::Integer(days_since_1970(date).into())))
}

fn time(parts: &BrokenDownTime, avro_type: &AvroType) -> Option<Result<Cell<'static>, String>> {
    let unit = match avro_type {
        AvroType::TimeMillis => arrow::datatypes::TimeUnit::Millisecond,
        _ => arrow::datatypes::TimeUnit::Microsecond,
    };
    Some(in_unit(nanos_of(parts.to_time().ok()?), unit))
}

/// Without an offset, an instant is in UTC; a local time takes none.
fn timestamp(
    parts: &BrokenDownTime,
    avro_type: &AvroType,
) -> Option<Result<Cell<'static>, String>> {
    let AvroType::Timestamp { unit, utc } = avro_type else { return None };
    let offset = match parts.offset() {
        Some(_) if !utc => {
            return Some(Err("has an offset, which a local time would lose".into()));
        }
        offset => offset.map_or(0, jiff::tz::Offset::seconds),
    };
    let local = parts.to_datetime().ok()?;
    let days = i128::from(days_since_1970(local.date()));
    let nanos = days * 86_400 * NANOS_PER_SECOND + nanos_of(local.time());
    Some(in_unit(nanos - i128::from(offset) * NANOS_PER_SECOND, *unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn german() -> TextFormat {
        TextFormat {
            decimal_separator: ',',
            thousands_separator: Some('.'),
            date: Some("%d.%m.%Y".into()),
            time: Some("%H Uhr %M".into()),
            timestamp: Some("%d.%m.%Y %H:%M:%S%.f".into()),
        }
    }

    #[test]
    fn numbers_with_a_decimal_comma_are_exact_or_refused() {
        let number = |text: &str| german().number(text).map(Cow::into_owned).ok();
        for (text, expected) in [
            ("1.234.567,89", "1234567.89"),
            ("-1,5", "-1.5"),
            ("+12", "+12"),
            ("1234,5", "1234.5"),
            ("1,5e3", "1.5e3"),
            (",5", ".5"),
        ] {
            assert_eq!(number(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["1.23", "1234.567", "1.234,5.6", "1,2,3", "12.34.567", ".123", "1,5 EUR", "x"]
        {
            assert_eq!(number(text), None, "{text}");
        }
        let plain = TextFormat::default();
        assert_eq!(plain.number("1,5").unwrap(), "1,5", "judged by the type");
    }

    #[test]
    fn dates_of_another_form_are_exact_or_refused() {
        let date = |text: &str| german().moment(text, &AvroType::Date).unwrap().ok();
        assert_eq!(date("31.01.2025"), Some(Cell::Integer(20_119)));
        assert_eq!(date("01.01.1970"), Some(Cell::Integer(0)));
        assert_eq!(date("31.12.9999"), Some(Cell::Integer(2_932_896)));
        for text in ["2025-01-31", "31.02.2025", "31.01.25x", "", "1.13.2025"] {
            assert_eq!(date(text), None, "{text}");
        }
        let micros =
            AvroType::Timestamp { unit: arrow::datatypes::TimeUnit::Microsecond, utc: true };
        let at = |text: &str| german().moment(text, &micros).unwrap().ok();
        assert_eq!(at("01.01.1970 00:00:01.5"), Some(Cell::Integer(1_500_000)));
        assert_eq!(at("01.01.1970 00:00:01"), Some(Cell::Integer(1_000_000)));
        assert_eq!(at("01.01.1970 00:00:01.1234567"), None, "more decimals than it holds");
        let time = german().moment("14 Uhr 30", &AvroType::TimeMillis).unwrap();
        assert_eq!(time.unwrap(), Cell::Integer(52_200_000));
        assert_eq!(german().moment("x", &AvroType::String), None);
    }

    #[test]
    fn an_offset_moves_an_instant_and_is_refused_for_a_local_time() {
        let format =
            TextFormat { timestamp: Some("%Y-%m-%dT%H:%M:%S%z".into()), ..TextFormat::default() };
        let at = |utc| {
            let unit = arrow::datatypes::TimeUnit::Millisecond;
            let avro_type = AvroType::Timestamp { unit, utc };
            format.moment("1970-01-01T01:00:00+0100", &avro_type).unwrap()
        };
        assert_eq!(at(true).unwrap(), Cell::Integer(0));
        assert!(at(false).unwrap_err().contains("offset"));
    }

    #[test]
    fn a_format_names_all_of_what_it_is_for() {
        assert_eq!(TextFormat::check_date("%d.%m.%Y"), Ok(()));
        assert_eq!(TextFormat::check_date("%b %d, %Y"), Ok(()));
        assert_eq!(TextFormat::check_time("%I:%M %p"), Ok(()));
        assert_eq!(TextFormat::check_timestamp("%m/%d/%Y %H:%M"), Ok(()));
        for wrong in ["%d.%m", "dd.MM.yyyy", "%d.%m.%Y %", "%Q", ""] {
            assert!(TextFormat::check_date(wrong).is_err(), "{wrong}");
        }
        assert!(TextFormat::check_timestamp("%d.%m.%Y").is_err());
        assert!(TextFormat::check_time("%M:%S").is_err());
    }
}
