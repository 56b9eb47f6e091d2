//! `EXTRACT` and `date_part` of dates, times and timestamps, exactly: seconds with their decimals.
//! DataFusion's cuts them off.

use super::calendar::{self, Civil, DAY, SECOND, counted_year, iso_week, iso_weekday};
use super::{constant, names_its_unit};
use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Field, FieldRef, Time64MicrosecondType, TimeUnit,
};
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, internal_err, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// See the module.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DatePart(Signature);

impl Default for DatePart {
    fn default() -> DatePart {
        DatePart(Signature::user_defined(Volatility::Immutable))
    }
}

/// A part and the type of its values.
#[derive(Clone, Copy)]
enum Part {
    /// Of 32 bits.
    Number(fn(&Civil) -> i64),
    /// Whole units of so many microseconds in a day or a length, up to so many.
    Clock(i64, i64),
    Microseconds,
    Milliseconds,
    Seconds,
    Epoch,
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        "date_part"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        names_its_unit(self.name(), types)?;
        match &types[1] {
            DataType::Date32
            | DataType::Timestamp(..)
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Interval(_)
            | DataType::Duration(_) => Ok(vec![DataType::Utf8, types[1].clone()]),
            _ => plan_err!("EXTRACT takes a date, a time, a timestamp or an interval"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        internal_err!("the type depends on the part")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let [name, _] = take_function_args(self.name(), arguments.scalar_arguments)?;
        let Some(name) = name.and_then(|name| name.try_as_str().flatten()) else {
            return plan_err!("the part that EXTRACT takes must be a text in quotes");
        };
        let from = arguments.arg_fields[1].data_type();
        let data_type = match from {
            // See `simplify`.
            DataType::Interval(_) => DataType::Float64,
            _ => match part(name, from)? {
                Part::Number(_) | Part::Clock(..) => DataType::Int32,
                Part::Microseconds => DataType::Int64,
                Part::Milliseconds => DataType::Decimal128(8, 3),
                Part::Seconds => DataType::Decimal128(8, 6),
                Part::Epoch if *from == DataType::Date32 => DataType::Int64,
                Part::Epoch => DataType::Decimal128(20, 6),
            },
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    /// Intervals are left to the library.
    fn simplify(
        &self,
        arguments: Vec<Expr>,
        context: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        match context.get_data_type(&arguments[1])? {
            DataType::Interval(_) => Ok(ExprSimplifyResult::Simplified(
                datafusion_functions::datetime::date_part().call(arguments),
            )),
            _ => Ok(ExprSimplifyResult::Original(arguments)),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let name = constant("EXTRACT", "the part", &arguments.args)?;
        let times = arguments.args[1].to_array(arguments.number_rows)?;
        let part = part(&name, times.data_type())?;
        let micros = match times.data_type() {
            DataType::Time32(_) | DataType::Time64(_) => {
                let times = cast(&times, &DataType::Time64(TimeUnit::Microsecond))?;
                times.as_primitive::<Time64MicrosecondType>().iter().collect()
            }
            DataType::Duration(_) => {
                let lengths = cast(&times, &DataType::Duration(TimeUnit::Microsecond))?;
                lengths.as_primitive::<DurationMicrosecondType>().iter().collect()
            }
            _ => calendar::micros(&times)?,
        };
        // The parts of a length have its sign.
        let is_length = matches!(times.data_type(), DataType::Duration(_));
        let of_minute = |micros: i64| match is_length {
            true => micros % (60 * SECOND),
            false => micros.rem_euclid(60 * SECOND),
        };
        let decimal = |value: &dyn Fn(i64) -> i64| -> Result<ArrayRef> {
            let values = micros.iter().map(|micros| micros.map(|micros| i128::from(value(micros))));
            let values: Decimal128Array = values.collect();
            Ok(Arc::new(values.with_data_type(arguments.return_type().clone())))
        };
        Ok(ColumnarValue::Array(match part {
            Part::Clock(unit, limit) => {
                let of_day = |micros: i64| if is_length { micros } else { micros.rem_euclid(DAY) };
                let part = |micros: i64| (of_day(micros) / unit % limit) as i32;
                Arc::new(micros.iter().map(|micros| micros.map(part)).collect::<Int32Array>())
            }
            Part::Number(number) => {
                let number = |micros: &Option<i64>| {
                    micros.map(|micros| number(&Civil::of_micros(micros)) as i32)
                };
                Arc::new(micros.iter().map(number).collect::<Int32Array>())
            }
            Part::Microseconds => {
                Arc::new(micros.iter().map(|micros| micros.map(of_minute)).collect::<Int64Array>())
            }
            Part::Epoch if *times.data_type() == DataType::Date32 => Arc::new(
                micros
                    .iter()
                    .map(|micros| micros.map(|micros| micros / SECOND))
                    .collect::<Int64Array>(),
            ),
            Part::Milliseconds | Part::Seconds => decimal(&of_minute)?,
            Part::Epoch => decimal(&|micros| micros)?,
        }))
    }
}

fn part(name: &str, from: &DataType) -> Result<Part> {
    let has_date = matches!(from, DataType::Date32 | DataType::Timestamp(..));
    let has_time = *from != DataType::Date32;
    let is_length = matches!(from, DataType::Duration(_));
    let part = match name.to_lowercase().as_str() {
        "epoch" => Some(Part::Epoch),
        "microsecond" | "microseconds" if has_time => Some(Part::Microseconds),
        "millisecond" | "milliseconds" if has_time => Some(Part::Milliseconds),
        "second" if has_time => Some(Part::Seconds),
        "minute" if has_time => Some(Part::Clock(60 * SECOND, 60)),
        "hour" if has_time => Some(Part::Clock(3600 * SECOND, 24)),
        "day" if is_length => Some(Part::Clock(DAY, i64::MAX)),
        other => of_date(other).filter(|_| has_date).map(Part::Number),
    };
    match part {
        Some(part) => Ok(part),
        None => {
            let of = weir_model::avro::type_name(from);
            plan_err!("EXTRACT has no part `{name}` of a value of type {of}")
        }
    }
}

fn of_date(name: &str) -> Option<fn(&Civil) -> i64> {
    Some(match name {
        "day" => |t| t.day,
        "dow" => |t| iso_weekday(t.days) % 7,
        "isodow" => |t| iso_weekday(t.days),
        "doy" => Civil::day_of_year,
        "week" => |t| iso_week(t.days).1,
        "month" => |t| t.month,
        "quarter" => |t| (t.month + 2) / 3,
        "year" => |t| counted_year(t.year),
        "isoyear" => |t| counted_year(iso_week(t.days).0),
        "decade" => |t| t.year.div_euclid(10),
        "century" => |t| counted_period(t.year, 100),
        "millennium" => |t| counted_period(t.year, 1000),
        _ => return None,
    })
}

/// The first century begins with the year 1, and before it is the century -1.
fn counted_period(year: i64, length: i64) -> i64 {
    match year {
        1.. => (year + length - 1) / length,
        _ => -((length - year) / length),
    }
}
