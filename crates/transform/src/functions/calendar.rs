//! Days and microseconds as dates and times of the proleptic Gregorian calendar, whatever the year.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, TimeUnit, TimestampMicrosecondType};
use datafusion_common::{Result, exec_err};

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const DAY: i64 = 86_400 * SECOND;

/// Days since 1970-01-01 of a date. The year 0 is 1 BC.
pub(super) fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last one; 400 of them are 146,097 days.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day: the inverse of [`days`].
pub(super) fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// 1 for Monday … 7 for Sunday.
pub(super) fn iso_weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7) + 1
}

/// Year and week of ISO 8601: the week of a day is in the year of its Thursday.
pub(super) fn iso_week(days_since: i64) -> (i64, i64) {
    let thursday = days_since - iso_weekday(days_since) + 4;
    let (year, ..) = date(thursday);
    (year, (thursday - days(year, 1, 1)) / 7 + 1)
}

/// The year as PostgreSQL counts: there is none between 1 BC, which is -1, and 1.
pub(super) fn counted_year(year: i64) -> i64 {
    if year <= 0 { year - 1 } else { year }
}

/// A moment as its parts.
pub(super) struct Civil {
    /// Since 1970-01-01.
    pub(super) days: i64,
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    /// Microseconds since midnight.
    pub(super) micros: i64,
}

impl Civil {
    pub(super) fn of_micros(micros: i64) -> Civil {
        let days = micros.div_euclid(DAY);
        let (year, month, day) = date(days);
        Civil { days, year, month, day, micros: micros.rem_euclid(DAY) }
    }

    pub(super) fn day_of_year(&self) -> i64 {
        self.days - days(self.year, 1, 1) + 1
    }
}

/// Dates and timestamps of any unit as microseconds since 1970. What is finer than a microsecond is
/// cut off.
pub(super) fn micros(times: &ArrayRef) -> Result<Vec<Option<i64>>> {
    if let DataType::Date32 = times.data_type() {
        let days = times.as_primitive::<Date32Type>();
        return Ok(days.iter().map(|days| days.map(|days| i64::from(days) * DAY)).collect());
    }
    let DataType::Timestamp(unit, zone) = times.data_type() else {
        return exec_err!("{} is neither a date nor a timestamp", times.data_type());
    };
    let values = match unit {
        TimeUnit::Microsecond => times.clone(),
        _ => cast(times, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?,
    };
    if values.null_count() > times.null_count() {
        return exec_err!("the timestamp has no microseconds in 64 bits");
    }
    Ok(values.as_primitive::<TimestampMicrosecondType>().iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_days_are_inverse_to_each_other_in_all_years() {
        for day in (-4_000_000..4_000_000).step_by(97) {
            let (year, month, day_of_month) = date(day);
            assert_eq!(days(year, month, day_of_month), day);
        }
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!((days(1, 1, 1), days(9999, 12, 31)), (-719_162, 2_932_896));
        assert_eq!(date(days(2024, 2, 28) + 1), (2024, 2, 29));
        assert_eq!((iso_weekday(0), iso_week(days(2024, 12, 30))), (4, (2025, 1)));
    }
}
