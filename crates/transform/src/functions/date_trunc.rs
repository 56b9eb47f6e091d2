//! `date_trunc`, in the unit of its argument: DataFusion's counts nanoseconds, of which 64 bits hold
//! the years 1677 to 2262.

use super::calendar::{self, DAY, SECOND, date, days, iso_weekday};
use super::{constant, names_its_unit};
use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc(Signature);

impl Default for DateTrunc {
    fn default() -> DateTrunc {
        DateTrunc(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        names_its_unit(self.name(), types)?;
        match &types[1] {
            DataType::Date32 | DataType::Timestamp(..) => {
                Ok(vec![DataType::Utf8, types[1].clone()])
            }
            _ => plan_err!("date_trunc takes a unit in quotes and a date or a timestamp"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match types.get(1) {
            Some(DataType::Timestamp(_, zone)) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            _ => DataType::Timestamp(TimeUnit::Microsecond, None),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unit = constant("date_trunc", "its unit", &arguments.args)?;
        let truncate = truncation(&unit)?;
        let times = arguments.args[1].to_array(arguments.number_rows)?;
        let truncated = calendar::micros(&times)?.into_iter().map(|micros| match micros {
            Some(micros) => truncate(micros).map(Some).ok_or(()),
            None => Ok(None),
        });
        let Ok(truncated) = truncated.collect::<Result<TimestampMicrosecondArray, ()>>() else {
            return exec_err!("the timestamp has no beginning of its {unit} in 64 bits");
        };
        let zone = match arguments.return_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        Ok(ColumnarValue::Array(Arc::new(truncated.with_timezone_opt(zone)) as ArrayRef))
    }
}

/// The beginning of the unit that a moment is in; `None` beyond 64 bits.
fn truncation(unit: &str) -> Result<Box<dyn Fn(i64) -> Option<i64>>> {
    let fixed = |length: i64| -> Box<dyn Fn(i64) -> Option<i64>> {
        Box::new(move |micros| micros.checked_sub(micros.rem_euclid(length)))
    };
    let first_day = |first: fn(i64) -> i64| -> Box<dyn Fn(i64) -> Option<i64>> {
        Box::new(move |micros| first(micros.div_euclid(DAY)).checked_mul(DAY))
    };
    Ok(match unit.to_lowercase().as_str() {
        "microsecond" | "microseconds" => fixed(1),
        "millisecond" | "milliseconds" => fixed(1_000),
        "second" => fixed(SECOND),
        "minute" => fixed(60 * SECOND),
        "hour" => fixed(3600 * SECOND),
        "day" => fixed(DAY),
        "week" => first_day(|day| day - iso_weekday(day) + 1),
        "month" => first_day(|day| {
            let (year, month, _) = date(day);
            days(year, month, 1)
        }),
        "quarter" => first_day(|day| {
            let (year, month, _) = date(day);
            days(year, (month - 1) / 3 * 3 + 1, 1)
        }),
        "year" => first_day(|day| days(date(day).0, 1, 1)),
        "decade" => first_day(|day| days(date(day).0.div_euclid(10) * 10, 1, 1)),
        // They begin with the years 1, 101, …, and before them with 100 BC, which is the year -99.
        "century" => first_day(|day| days((date(day).0 - 1).div_euclid(100) * 100 + 1, 1, 1)),
        "millennium" => first_day(|day| days((date(day).0 - 1).div_euclid(1000) * 1000 + 1, 1, 1)),
        _ => {
            return plan_err!(
                "date_trunc has no unit `{unit}`; the units are microseconds, milliseconds, second, \
                 minute, hour, day, week, month, quarter, year, decade, century and millennium"
            );
        }
    })
}
