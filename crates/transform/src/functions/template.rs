//! The templates of `to_char`, `to_date` and `to_timestamp`: PostgreSQL's patterns. What is no
//! pattern stands for itself, but letters must be in double quotes then: PostgreSQL would take `M`
//! for itself and `MM` for the month.

mod read;

use super::calendar::{Civil, DAY, SECOND, iso_week, iso_weekday};
use datafusion_common::{Result, plan_err};
use std::fmt::Write;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// Names of months and days are filled up to the longest one.
const NAME_WIDTH: usize = 9;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Part {
    Text(String),
    /// A pattern, and whether `FM` before it takes away blanks and zeros.
    Field(Field, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Case {
    Upper,
    Capitalised,
    Lower,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Field {
    /// The last digits of a number.
    Number(Number, usize),
    MonthName(Case),
    MonthShort(Case),
    DayName(Case),
    DayShort(Case),
    /// AM or PM.
    Half(Case),
    /// The zone, which is UTC: as a name or as an offset.
    Zone(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Number {
    Year,
    IsoYear,
    Century,
    Quarter,
    Month,
    IsoWeek,
    Week,
    DayOfYear,
    Day,
    Weekday,
    IsoWeekday,
    Hour24,
    Hour12,
    Minute,
    Second,
    SecondOfDay,
    /// Decimals of the second.
    Fraction,
}

/// Longer patterns before those that they begin with.
const FIELDS: &[(&str, Field)] = &{
    use Case::{Capitalised, Lower, Upper};
    use Field::{DayName, DayShort, Half, MonthName, MonthShort, Number as N, Zone};
    use Number::*;
    [
        ("MONTH", MonthName(Upper)),
        ("Month", MonthName(Capitalised)),
        ("month", MonthName(Lower)),
        ("MON", MonthShort(Upper)),
        ("Mon", MonthShort(Capitalised)),
        ("mon", MonthShort(Lower)),
        ("DAY", DayName(Upper)),
        ("Day", DayName(Capitalised)),
        ("day", DayName(Lower)),
        ("DY", DayShort(Upper)),
        ("Dy", DayShort(Capitalised)),
        ("dy", DayShort(Lower)),
        ("AM", Half(Upper)),
        ("PM", Half(Upper)),
        ("am", Half(Lower)),
        ("pm", Half(Lower)),
        ("TZ", Zone("UTC")),
        ("tz", Zone("utc")),
        ("OF", Zone("+00")),
        ("YYYY", N(Year, 4)),
        ("YYY", N(Year, 3)),
        ("YY", N(Year, 2)),
        ("Y", N(Year, 1)),
        ("IYYY", N(IsoYear, 4)),
        ("IYY", N(IsoYear, 3)),
        ("IY", N(IsoYear, 2)),
        ("IW", N(IsoWeek, 2)),
        ("ID", N(IsoWeekday, 1)),
        ("CC", N(Century, 2)),
        ("Q", N(Quarter, 1)),
        ("MM", N(Month, 2)),
        ("MI", N(Minute, 2)),
        ("MS", N(Fraction, 3)),
        ("US", N(Fraction, 6)),
        ("WW", N(Week, 2)),
        ("DDD", N(DayOfYear, 3)),
        ("DD", N(Day, 2)),
        ("D", N(Weekday, 1)),
        ("HH24", N(Hour24, 2)),
        ("HH12", N(Hour12, 2)),
        ("HH", N(Hour12, 2)),
        ("SSSSS", N(SecondOfDay, 1)),
        ("SSSS", N(SecondOfDay, 1)),
        ("SS", N(Second, 2)),
        ("FF1", N(Fraction, 1)),
        ("FF2", N(Fraction, 2)),
        ("FF3", N(Fraction, 3)),
        ("FF4", N(Fraction, 4)),
        ("FF5", N(Fraction, 5)),
        ("FF6", N(Fraction, 6)),
    ]
};

impl Template {
    /// # Errors
    /// Letters that are no pattern, and what is no pattern here although it is one in PostgreSQL.
    pub(super) fn parse(text: &str) -> Result<Template> {
        if text.contains('%') {
            return plan_err!(
                "`{text}` is a format of strftime; here formats are PostgreSQL's, such as \
                 'YYYY-MM-DD HH24:MI:SS'"
            );
        }
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if let Some(quoted) = rest.strip_prefix('"') {
                let Some((literal, after)) = quoted.split_once('"') else {
                    return plan_err!("the quote in the format `{text}` has no end");
                };
                parts.push(Part::Text(literal.into()));
                rest = after;
                continue;
            }
            let (is_filled, at) = match rest.get(..2) {
                Some("FM" | "fm") => (false, &rest[2..]),
                _ => (true, rest),
            };
            match field_at(at) {
                Some((pattern, field)) => {
                    parts.push(Part::Field(field, !is_filled));
                    rest = &at[pattern.len()..];
                }
                None if first.is_alphanumeric() || !is_filled => {
                    return plan_err!(
                        "`{first}` in the format `{text}` is no pattern; letters that stand for \
                         themselves are in double quotes, as in 'YYYY-MM-DD\"T\"HH24:MI:SS'"
                    );
                }
                None => {
                    parts.push(Part::Text(first.into()));
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        Ok(Template(parts))
    }

    /// The moment as text. The zone of a local time has no name, and the offset 0, as in PostgreSQL.
    pub(super) fn format(&self, micros: i64, is_local: bool, out: &mut String) {
        let civil = Civil::of_micros(micros);
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(Field::Zone("UTC" | "utc"), _) if is_local => {}
                Part::Field(field, is_bare) => field.format(&civil, *is_bare, out),
            }
        }
    }
}

fn field_at(text: &str) -> Option<(&'static str, Field)> {
    let is_here = |(pattern, field): &&(&'static str, Field)| {
        let Some(found) = text.get(..pattern.len()) else { return false };
        match field {
            // The case of a name is that of its pattern.
            Field::Number(..) | Field::Zone("+00") => found.eq_ignore_ascii_case(pattern),
            _ => found == *pattern,
        }
    };
    FIELDS.iter().find(is_here).copied()
}

impl Case {
    fn of(self, text: &str) -> String {
        match self {
            Case::Upper => text.to_uppercase(),
            Case::Capitalised => text.into(),
            Case::Lower => text.to_lowercase(),
        }
    }
}

impl Field {
    fn format(self, civil: &Civil, is_bare: bool, out: &mut String) {
        let month = MONTHS[civil.month as usize - 1];
        let weekday = WEEKDAYS[iso_weekday(civil.days) as usize - 1];
        let width = if is_bare { 0 } else { NAME_WIDTH };
        let _infallible = match self {
            Field::Number(number, digits) => {
                let value = number.of(civil, digits);
                let value = match number {
                    Number::Year | Number::IsoYear if digits < 4 => {
                        value % 10i64.pow(digits as u32)
                    }
                    _ => value,
                };
                match is_bare {
                    true => write!(out, "{value}"),
                    false => write!(out, "{value:0digits$}"),
                }
            }
            Field::MonthName(case) => write!(out, "{:width$}", case.of(month)),
            Field::DayName(case) => write!(out, "{:width$}", case.of(weekday)),
            Field::MonthShort(case) => write!(out, "{}", case.of(&month[..3])),
            Field::DayShort(case) => write!(out, "{}", case.of(&weekday[..3])),
            Field::Half(case) => {
                write!(out, "{}", case.of(if civil.micros < DAY / 2 { "AM" } else { "PM" }))
            }
            Field::Zone(name) => write!(out, "{name}"),
        };
    }
}

impl Number {
    fn of(self, civil: &Civil, digits: usize) -> i64 {
        // Before the year 1, PostgreSQL writes the year BC without a sign.
        let unsigned = |year: i64| if year <= 0 { 1 - year } else { year };
        let hour = civil.micros / (3600 * SECOND);
        match self {
            Number::Year => unsigned(civil.year),
            Number::IsoYear => unsigned(iso_week(civil.days).0),
            Number::Century => (civil.year + 99).div_euclid(100),
            Number::Quarter => (civil.month + 2) / 3,
            Number::Month => civil.month,
            Number::IsoWeek => iso_week(civil.days).1,
            Number::Week => (civil.day_of_year() + 6) / 7,
            Number::DayOfYear => civil.day_of_year(),
            Number::Day => civil.day,
            Number::Weekday => iso_weekday(civil.days) % 7 + 1,
            Number::IsoWeekday => iso_weekday(civil.days),
            Number::Hour24 => hour,
            Number::Hour12 => (hour + 11) % 12 + 1,
            Number::Minute => civil.micros / (60 * SECOND) % 60,
            Number::Second => civil.micros / SECOND % 60,
            Number::SecondOfDay => civil.micros / SECOND,
            Number::Fraction => civil.micros % SECOND / 10i64.pow(6 - digits as u32),
        }
    }
}
