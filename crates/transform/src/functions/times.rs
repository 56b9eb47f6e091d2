//! `to_char`, `to_date` and `to_timestamp` with PostgreSQL's templates, in microseconds.

use super::calendar::{self, DAY};
use super::constant;
use super::template::Template;
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// `to_char(time, template)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToChar(Signature);

impl Default for ToChar {
    fn default() -> ToChar {
        ToChar(Signature::user_defined(Volatility::Immutable))
    }
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [from @ (DataType::Date32 | DataType::Timestamp(..)), to] if is_text(to) => {
                Ok(vec![from.clone(), DataType::Utf8])
            }
            _ => plan_err!("to_char takes a date or a timestamp, and a format in quotes"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    /// Only checks the template.
    fn simplify(
        &self,
        arguments: Vec<Expr>,
        _context: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        template(self.name(), arguments.get(1))?;
        Ok(ExprSimplifyResult::Original(arguments))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let template = Template::parse(&constant("to_char", "its format", &arguments.args)?)?;
        let times = arguments.args[0].to_array(arguments.number_rows)?;
        let is_local = matches!(times.data_type(), DataType::Timestamp(_, None));
        let mut texts = StringBuilder::new();
        let mut text = String::new();
        for micros in calendar::micros(&times)? {
            match micros {
                None => texts.append_null(),
                Some(micros) => {
                    text.clear();
                    template.format(micros, is_local, &mut text);
                    texts.append_value(&text);
                }
            }
        }
        Ok(ColumnarValue::Array(Arc::new(texts.finish())))
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn template(function: &str, argument: Option<&Expr>) -> Result<Template> {
    match argument {
        Some(Expr::Literal(ScalarValue::Utf8(Some(text)), _)) => Template::parse(text),
        _ => plan_err!("the format of {function} must be a text in quotes"),
    }
}

/// `to_date(text, template)`, `to_timestamp(text, template)` and `to_timestamp(seconds)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Parse {
    to_date: bool,
    signature: Signature,
}

impl Parse {
    pub(super) fn date() -> Parse {
        Parse { to_date: true, signature: Signature::user_defined(Volatility::Immutable) }
    }

    pub(super) fn timestamp() -> Parse {
        Parse { to_date: false, ..Parse::date() }
    }
}

impl ScalarUDFImpl for Parse {
    fn name(&self) -> &str {
        if self.to_date { "to_date" } else { "to_timestamp" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text, template] if is_text(text) && is_text(template) => {
                Ok(vec![DataType::Utf8, DataType::Utf8])
            }
            [seconds] if !self.to_date && seconds.is_integer() => Ok(vec![DataType::Int64]),
            [seconds] if !self.to_date && (seconds.is_floating() || seconds.is_decimal()) => {
                Ok(vec![DataType::Float64])
            }
            _ if self.to_date => {
                plan_err!("to_date takes a text and its format; CAST(… AS DATE) reads 2024-01-31")
            }
            _ => plan_err!(
                "to_timestamp takes seconds since 1970, or a text and its format; CAST(… AS \
                 TIMESTAMP) reads 2024-01-31 23:59:59"
            ),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(if self.to_date { DataType::Date32 } else { utc() })
    }

    /// Only checks the template.
    fn simplify(
        &self,
        arguments: Vec<Expr>,
        _context: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        if arguments.len() == 2 {
            template(self.name(), arguments.get(1))?.check_readable()?;
        }
        Ok(ExprSimplifyResult::Original(arguments))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = arguments.args[0].to_array(arguments.number_rows)?;
        let micros = match arguments.args.len() {
            1 => from_seconds(&values)?,
            _ => {
                let template = constant(self.name(), "its format", &arguments.args)?;
                from_texts(self.name(), &values, &Template::parse(&template)?)?
            }
        };
        Ok(ColumnarValue::Array(match self.to_date {
            true => {
                let days = micros.iter().map(|micros| micros.map(|m| m.div_euclid(DAY) as i32));
                Arc::new(days.collect::<Date32Array>())
            }
            false => Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("+00:00")),
        }))
    }
}

fn from_texts(name: &str, texts: &ArrayRef, template: &Template) -> Result<Vec<Option<i64>>> {
    let read = |text: Option<&str>| match text.map(|text| template.parse_text(text)) {
        None => Ok(None),
        Some(Some(micros)) => Ok(Some(micros)),
        Some(None) => exec_err!("{name}: the text does not have the format"),
    };
    texts.as_string::<i32>().iter().map(read).collect()
}

fn from_seconds(seconds: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let beyond = || exec_err!("to_timestamp: the seconds are beyond the years of a timestamp");
    // PostgreSQL's last year.
    let limit = calendar::days(294_277, 1, 1) * 86_400;
    if let Some(seconds) = seconds.as_any().downcast_ref::<Int64Array>() {
        let micros = |seconds: i64| match seconds.abs() < limit {
            true => Ok(seconds * calendar::SECOND),
            false => beyond(),
        };
        return seconds.iter().map(|seconds| seconds.map(micros).transpose()).collect();
    }
    let seconds = cast(seconds, &DataType::Float64)?;
    let micros = |seconds: f64| match seconds.abs() < limit as f64 {
        true => Ok((seconds * calendar::SECOND as f64).round_ties_even() as i64),
        false => beyond(),
    };
    let seconds = seconds.as_primitive::<Float64Type>();
    seconds.iter().map(|seconds| seconds.map(micros).transpose()).collect()
}
