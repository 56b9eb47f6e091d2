//! A date or a text beside a timestamp is a timestamp of the same unit. The library would take both for
//! nanoseconds, which end in 2262. A date with an interval is its midnight: the library would drop
//! the hours of the interval.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::ExprSchema;
use datafusion_expr::expr::{Between, Case, InList, ScalarFunction};
use datafusion_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Operator};

/// Functions whose arguments get one type.
const OF_ONE_TYPE: [&str; 6] = ["coalesce", "greatest", "least", "nullif", "nvl", "nvl2"];

/// Casts the dates and texts that `expr` compares with timestamps, or chooses from beside them.
pub(crate) fn as_moments(mut expr: Expr, schema: &dyn ExprSchema) -> Expr {
    match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            unify(vec![left.as_mut(), right.as_mut()], Values::Compared, schema);
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => {
            with_interval(left, right, schema);
            with_interval(right, left, schema);
        }
        Expr::Between(Between { expr, low, high, .. }) => {
            unify(vec![expr.as_mut(), low.as_mut(), high.as_mut()], Values::Compared, schema);
        }
        Expr::InList(InList { expr, list, .. }) => {
            unify(std::iter::once(expr.as_mut()).chain(list).collect(), Values::Compared, schema);
        }
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let (whens, thens): (Vec<&mut Expr>, Vec<&mut Expr>) = when_then_expr
                .iter_mut()
                .map(|(when, then)| (when.as_mut(), then.as_mut()))
                .unzip();
            unify(
                thens.into_iter().chain(else_expr.as_deref_mut()).collect(),
                Values::Chosen,
                schema,
            );
            if let Some(expr) = expr {
                unify(
                    std::iter::once(expr.as_mut()).chain(whens).collect(),
                    Values::Compared,
                    schema,
                );
            }
        }
        Expr::ScalarFunction(ScalarFunction { func, args })
            if OF_ONE_TYPE.contains(&func.name()) =>
        {
            unify(args.iter_mut().collect(), Values::Chosen, schema);
        }
        _ => {}
    }
    expr
}

fn with_interval(date: &mut Expr, interval: &Expr, schema: &dyn ExprSchema) {
    let has = |expr: &Expr, expected: fn(&DataType) -> bool| {
        expr.get_type(schema).is_ok_and(|found| expected(&found))
    };
    if has(date, |t| *t == DataType::Date32)
        && has(interval, |t| matches!(t, DataType::Interval(_)))
    {
        cast(date, DataType::Timestamp(TimeUnit::Microsecond, None));
    }
}

fn cast(expr: &mut Expr, to: DataType) {
    let inner = std::mem::take(expr);
    *expr = Expr::Cast(Cast::new(Box::new(inner), to));
}

/// The values that are compared with each other, or chosen from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Compared,
    Chosen,
}

fn unify(exprs: Vec<&mut Expr>, values: Values, schema: &dyn ExprSchema) {
    // What has no type yet is reported when types are coerced.
    let types: Vec<Option<DataType>> = exprs.iter().map(|e| e.get_type(schema).ok()).collect();
    let timestamps = types.iter().flatten().filter_map(|found| match found {
        DataType::Timestamp(unit, zone) => Some((*unit, zone.clone())),
        _ => None,
    });
    let common = timestamps.reduce(|(a, zone), (b, other)| (finer(a, b), zone.or(other)));
    let Some((unit, zone)) = common else { return };
    for (expr, found) in exprs.into_iter().zip(types) {
        let is_text = found == Some(DataType::Utf8)
            && (values == Values::Compared || matches!(expr, Expr::Literal(..)));
        if found == Some(DataType::Date32) || is_text {
            cast(expr, DataType::Timestamp(unit, zone.clone()));
        }
    }
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    [TimeUnit::Nanosecond, TimeUnit::Microsecond, TimeUnit::Millisecond]
        .into_iter()
        .find(|unit| a == *unit || b == *unit)
        .unwrap_or(TimeUnit::Second)
}
