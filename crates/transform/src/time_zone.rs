//! `AT TIME ZONE`, as in PostgreSQL: an instant becomes what a clock in the zone shows, and the time
//! on a clock becomes an instant. DataFusion only changes the zone in which an instant is shown,
//! and loses it in the next cast.

use arrow::array::timezone::Tz;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{DataFusionError, Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    Cast, ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_sql::sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, FunctionArguments, VisitMut, visit_expressions_mut,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;

const NAME: &str = "at_time_zone";
const NEEDS_TIMESTAMP: &str = "AT TIME ZONE needs a timestamp before it";

/// Writes each `time AT TIME ZONE zone` in `part` as a call of [`AtTimeZone`].
pub(crate) fn as_calls(part: &mut impl VisitMut) -> Result<()> {
    let flow = visit_expressions_mut(part, |expr| {
        let ast::Expr::AtTimeZone { timestamp, time_zone } = expr else {
            return ControlFlow::Continue(());
        };
        match call(timestamp, time_zone) {
            Ok(call) => {
                *expr = call;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    });
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn call(time: &ast::Expr, zone: &ast::Expr) -> Result<ast::Expr> {
    let template = Parser::new(&GenericDialect {})
        .try_with_sql(&format!("{NAME}(1, 2)"))
        .and_then(|mut parser| parser.parse_expr());
    let mut template = template.map_err(|e| DataFusionError::Plan(e.to_string()))?;
    if let ast::Expr::Function(function) = &mut template
        && let FunctionArguments::List(list) = &mut function.args
    {
        let argument = |expr: &ast::Expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr.clone()));
        list.args = vec![argument(time), argument(zone)];
    }
    Ok(template)
}

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
