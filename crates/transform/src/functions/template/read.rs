//! Texts that were written with a template, read back.

use super::super::calendar::{DAY, SECOND, date, days};
use super::{Field, MONTHS, NAME_WIDTH, Number, Part, Template};
use datafusion_common::{Result, plan_err};

/// What a text said about a moment.
#[derive(Default)]
struct Read {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    is_hour_12: bool,
    is_afternoon: Option<bool>,
    minute: Option<i64>,
    second: Option<i64>,
    fraction: Option<i64>,
}

impl Template {
    /// Whether [`Template::parse_text`] can read all of its patterns.
    pub(in crate::functions) fn check_readable(&self) -> Result<()> {
        for part in &self.0 {
            let readable = match part {
                Part::Text(_) => true,
                Part::Field(Field::Number(number, digits), _) => match number {
                    Number::Year => *digits == 4 || *digits == 2,
                    Number::Month
                    | Number::DayOfYear
                    | Number::Day
                    | Number::Hour24
                    | Number::Hour12
                    | Number::Minute
                    | Number::Second
                    | Number::Fraction => true,
                    _ => false,
                },
                Part::Field(Field::MonthName(_) | Field::MonthShort(_) | Field::Half(_), _) => true,
                Part::Field(..) => false,
            };
            if !readable {
                return plan_err!(
                    "only YYYY, YY, MM, Month, Mon, DD, DDD, HH24, HH12, AM, MI, SS, MS and US can \
                     be read from a text"
                );
            }
        }
        Ok(())
    }

    /// The moment that a text describes in exactly this form; `None` for any other text.
    pub(in crate::functions) fn parse_text(&self, text: &str) -> Option<i64> {
        let (mut read, mut rest) = (Read::default(), text);
        for part in &self.0 {
            rest = match part {
                Part::Text(text) => rest.strip_prefix(text.as_str())?,
                Part::Field(field, _) => read.field(*field, rest)?,
            };
        }
        if rest.is_empty() { read.micros() } else { None }
    }
}

impl Read {
    /// Reads one field; the text after it.
    fn field<'a>(&mut self, field: Field, text: &'a str) -> Option<&'a str> {
        let name = |names: &[&str], length: usize| {
            let position = names.iter().position(|name| {
                let name = &name[..length.min(name.len())];
                text.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
            })?;
            Some((position, &text[length.min(names[position].len())..]))
        };
        match field {
            Field::Number(number, digits) => {
                let num_digits = text.bytes().take(digits).take_while(u8::is_ascii_digit).count();
                let value: i64 = text[..num_digits].parse().ok()?;
                self.number(number, value, num_digits, digits)?;
                Some(&text[num_digits..])
            }
            Field::MonthName(_) | Field::MonthShort(_) => {
                let length = if matches!(field, Field::MonthShort(_)) { 3 } else { NAME_WIDTH };
                let (month, rest) = name(&MONTHS, length)?;
                self.month = Some(month as i64 + 1);
                Some(rest)
            }
            Field::Half(_) => {
                let (half, rest) = name(&["AM", "PM"], 2)?;
                self.is_afternoon = Some(half == 1);
                Some(rest)
            }
            Field::DayName(_) | Field::DayShort(_) | Field::Zone(_) => None,
        }
    }

    fn number(
        &mut self,
        number: Number,
        value: i64,
        num_digits: usize,
        digits: usize,
    ) -> Option<()> {
        let place = match number {
            Number::Year if digits == 4 && num_digits == 4 => &mut self.year,
            // The year nearest to 2020.
            Number::Year if digits == 2 && num_digits == 2 => {
                self.year = Some(if value < 70 { 2000 + value } else { 1900 + value });
                return Some(());
            }
            Number::Month => &mut self.month,
            Number::Day => &mut self.day,
            Number::DayOfYear => &mut self.day_of_year,
            Number::Hour24 => &mut self.hour,
            Number::Hour12 => {
                self.is_hour_12 = true;
                &mut self.hour
            }
            Number::Minute => &mut self.minute,
            Number::Second => &mut self.second,
            Number::Fraction => {
                self.fraction = Some(value * 10i64.pow(6 - num_digits as u32));
                return Some(());
            }
            _ => return None,
        };
        *place = Some(value);
        Some(())
    }

    fn micros(&self) -> Option<i64> {
        let year = self.year.filter(|year| *year > 0)?;
        let day = match self.day_of_year {
            Some(day) => days(year, 1, 1) + day - 1,
            None => days(year, self.month.unwrap_or(1), self.day.unwrap_or(1)),
        };
        let (real_year, month, day_of_month) = date(day);
        let is_real = match self.day_of_year {
            Some(day) => day > 0 && real_year == year,
            None => {
                self.month.is_none_or(|m| m == month) && self.day.is_none_or(|d| d == day_of_month)
            }
        };
        let hour = match (self.hour.unwrap_or(0), self.is_hour_12) {
            (hour, false) => hour,
            (hour @ 1..=12, true) => {
                hour % 12 + if self.is_afternoon == Some(true) { 12 } else { 0 }
            }
            _ => return None,
        };
        let (minute, second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        let fits = is_real && hour < 24 && minute < 60 && second < 60;
        let micros = (hour * 3600 + minute * 60 + second) * SECOND + self.fraction.unwrap_or(0);
        fits.then_some(day * DAY + micros)
    }
}
