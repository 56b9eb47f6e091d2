//! The quotient of decimals, rounded as PostgreSQL's `numeric` is. The library cuts it off after four
//! more decimals than the dividend has.

use arrow::array::{AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, i256};
use datafusion_common::utils::take_function_args;
use datafusion_common::{ExprSchema, Result, exec_err, plan_err};
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// Decimals of a quotient, if there is room for them. More would leave too few digits for products of
/// quotients.
const DECIMALS: i16 = 12;
/// Digits that 128 bits hold.
const MAX_DIGITS: i16 = 38;

/// `dividend / divisor` of decimals.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Divide(Signature);

/// Divides decimals by the function of this module.
pub(crate) fn rounded_quotient(expr: Expr, schema: &dyn ExprSchema) -> Expr {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Divide, right }) = &expr else {
        return expr;
    };
    // What has no type yet is reported when types are coerced.
    let (Ok(a), Ok(b)) = (left.get_type(schema), right.get_type(schema)) else { return expr };
    let is_exact = |found: &DataType| as_decimal(found).is_some();
    if !is_exact(&a) || !is_exact(&b) || (a.is_integer() && b.is_integer()) {
        return expr;
    }
    let divide = Divide(Signature::user_defined(Volatility::Immutable));
    ScalarUDF::from(divide).call(vec![(**left).clone(), (**right).clone()])
}

/// The precision and scale of an exact number.
fn as_decimal(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        DataType::Int8 => (3, 0),
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        _ => return None,
    })
}

/// The scale of the quotient.
fn scale((precision, scale): (u8, i8), (_, divisor_scale): (u8, i8)) -> i8 {
    let whole_digits = i16::from(precision) - i16::from(scale) + i16::from(divisor_scale);
    let wanted = DECIMALS.max(scale.into()).max(divisor_scale.into());
    wanted.min(MAX_DIGITS - whole_digits).max(0) as i8
}

impl ScalarUDFImpl for Divide {
    fn name(&self) -> &str {
        "divide"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let decimals = types.iter().map(|found| match as_decimal(found) {
            Some((precision, scale)) => Ok(DataType::Decimal128(precision, scale)),
            None => plan_err!("{found} is no decimal"),
        });
        decimals.collect()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Decimal128(p, s), DataType::Decimal128(q, t)] => {
                Ok(DataType::Decimal128(MAX_DIGITS as u8, scale((*p, *s), (*q, *t))))
            }
            _ => plan_err!("a quotient has two decimals"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let numbers = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [dividend, divisor] = take_function_args(self.name(), numbers)?;
        let scale_of = |data_type: &DataType| match data_type {
            DataType::Decimal128(_, scale) => i32::from(*scale),
            _ => 0,
        };
        // a / 10^s : b / 10^t = q / 10^r, so q = a * 10^(r + t - s) / b.
        let shift = scale_of(arguments.return_type()) + scale_of(divisor.data_type())
            - scale_of(dividend.data_type());
        let Some(powers) = Powers::of(shift) else {
            return exec_err!("the scales of the decimals are too far apart");
        };
        let divide = |(a, b): (Option<i128>, Option<i128>)| match (a, b) {
            (Some(_), Some(0)) => exec_err!("division by zero"),
            (Some(a), Some(b)) => match powers.quotient(a, b) {
                Some(quotient) => Ok(Some(quotient)),
                None => exec_err!("overflow: the quotient has more than {MAX_DIGITS} digits"),
            },
            _ => Ok(None),
        };
        let (a, b) =
            (dividend.as_primitive::<Decimal128Type>(), divisor.as_primitive::<Decimal128Type>());
        let quotients = a.iter().zip(b).map(divide).collect::<Result<Decimal128Array>>()?;
        let quotients = quotients.with_data_type(arguments.return_type().clone());
        Ok(ColumnarValue::Array(Arc::new(quotients)))
    }
}

/// What dividend and divisor are multiplied by.
struct Powers {
    dividend: i128,
    divisor: i128,
}

impl Powers {
    /// For a quotient that is multiplied by 10^shift.
    fn of(shift: i32) -> Option<Powers> {
        let power = |exponent: i32| 10i128.checked_pow(exponent.max(0) as u32);
        Some(Powers { dividend: power(shift)?, divisor: power(-shift)? })
    }

    /// Rounded half away from zero; `None` beyond the digits of a decimal.
    fn quotient(&self, a: i128, b: i128) -> Option<i128> {
        let b = b.checked_mul(self.divisor)?;
        let (quotient, rest) = match a.checked_mul(self.dividend) {
            Some(a) => {
                let quotient = a / b;
                (quotient, a - quotient * b)
            }
            None => {
                let a = i256::from_i128(a).checked_mul(i256::from_i128(self.dividend))?;
                let b = i256::from_i128(b);
                (a.checked_div(b)?.to_i128()?, a.checked_rem(b)?.to_i128()?)
            }
        };
        // The rest is below the divisor, so below 10^38, and twice the rest fits.
        let is_half = rest.unsigned_abs() * 2 >= b.unsigned_abs();
        let away = if (a < 0) == (b < 0) { 1 } else { -1 };
        let quotient = if is_half { quotient.checked_add(away)? } else { quotient };
        (quotient.unsigned_abs() < 10u128.pow(MAX_DIGITS as u32)).then_some(quotient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_half_away_from_zero() {
        for (a, shift, b, expected) in [
            (1, 3, 6, Some(167)),
            (-1, 3, 6, Some(-167)),
            (1, 0, 2, Some(1)),
            (-1, 0, 2, Some(-1)),
            (1, 0, -2, Some(-1)),
            (1, 0, 3, Some(0)),
            (125, -2, 1, Some(1)),
            (150, -2, 1, Some(2)),
            (10i128.pow(37), 16, 10i128.pow(20), Some(10i128.pow(33))),
            (10i128.pow(37), 2, 1, None),
            (
                2 * 10i128.pow(37),
                16,
                3 * 10i128.pow(20),
                Some(666_666_666_666_666_666_666_666_666_666_667),
            ),
        ] {
            assert_eq!(Powers::of(shift).unwrap().quotient(a, b), expected, "{a} e{shift} / {b}");
        }
    }
}
