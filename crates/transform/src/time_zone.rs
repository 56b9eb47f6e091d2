//! `AT TIME ZONE`, as in PostgreSQL: an instant becomes what a clock in the zone shows, and the time
//! on a clock becomes an instant. DataFusion only changes the zone in which an instant is shown,
//! and loses it in the next cast.

use arrow::array::timezone::Tz;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    Cast, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The name of the function that stands for it.
pub(crate) const NAME: &str = "at_time_zone";
const NEEDS_TIMESTAMP: &str = "AT TIME ZONE needs a timestamp before it";

/// The function that stands for `AT TIME ZONE`. It is replaced by others when it is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct AtTimeZone {
    signature: Signature,
}

impl Default for AtTimeZone {
    fn default() -> AtTimeZone {
        AtTimeZone { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for AtTimeZone {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first() {
            Some(DataType::Timestamp(unit, Some(_))) => Ok(DataType::Timestamp(*unit, None)),
            Some(DataType::Timestamp(unit, None)) => Ok(utc(*unit)),
            _ => plan_err!("{NEEDS_TIMESTAMP}"),
        }
    }

    fn simplify(
        &self,
        mut arguments: Vec<Expr>,
        context: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        let zone = zone(arguments.pop())?;
        let Some(time) = arguments.pop() else { return plan_err!("{NEEDS_TIMESTAMP}") };
        let in_zone = |unit| DataType::Timestamp(unit, Some(zone.as_str().into()));
        let cast = |expr, to| Expr::Cast(Cast::new(Box::new(expr), to));
        Ok(ExprSimplifyResult::Simplified(match context.get_data_type(&time)? {
            DataType::Timestamp(unit, Some(_)) => {
                let shown = cast(time, in_zone(unit));
                datafusion_functions::datetime::to_local_time().call(vec![shown])
            }
            DataType::Timestamp(unit, None) => cast(cast(time, in_zone(unit)), utc(unit)),
            _ => return plan_err!("{NEEDS_TIMESTAMP}"),
        }))
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("AT TIME ZONE was not planned")
    }
}

fn zone(argument: Option<Expr>) -> Result<String> {
    let Some(Expr::Literal(
        ScalarValue::Utf8(Some(zone))
        | ScalarValue::Utf8View(Some(zone))
        | ScalarValue::LargeUtf8(Some(zone)),
        _,
    )) = argument
    else {
        return plan_err!("the zone of AT TIME ZONE must be a text in quotes");
    };
    match zone.parse::<Tz>() {
        Ok(_) => Ok(zone),
        Err(_) => plan_err!("`{zone}` is no time zone; one is 'Europe/Berlin', or '+01:00'"),
    }
}

fn utc(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("+00:00".into()))
}
