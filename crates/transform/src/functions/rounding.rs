//! Numbers become whole as in PostgreSQL: doubles by rounding half to even, decimals by rounding
//! half away from zero. In DataFusion a cast cuts the decimals off, and `round` of a double rounds
//! half away from zero.

use super::decimal::TextToDecimal;
use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion_common::utils::take_function_args;
use datafusion_common::{ExprSchema, Result, internal_err, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;
use weir_model::avro::type_name;

/// `round(number)` and `round(number, decimals)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Round(Signature);

impl Default for Round {
    fn default() -> Round {
        Round(Signature::user_defined(Volatility::Immutable))
    }
}

fn is_own(types: &[DataType]) -> bool {
    matches!(types, [number] if number.is_floating())
}

/// A cast with PostgreSQL's meaning: numbers are rounded to integers, and texts are read as decimals.
pub(crate) fn cast_as_in_postgresql(expr: Expr, schema: &dyn ExprSchema) -> Result<Expr> {
    let Expr::Cast(Cast { expr: inner, field }) = &expr else { return Ok(expr) };
    // What has no type yet is reported when types are coerced.
    let Ok(from) = inner.get_type(schema) else { return Ok(expr) };
    if from.is_nested() != field.data_type().is_nested() && from != DataType::Null {
        let (from, to) = (type_name(&from), type_name(field.data_type()));
        return plan_err!(
            "a CAST of {from} to {to} is not supported; array_to_string and string_to_array are for \
             arrays of plain values"
        );
    }
    let call = |function: ScalarUDF| function.call(vec![(**inner).clone()]);
    Ok(match field.data_type() {
        to if to.is_integer() && (from.is_floating() || from.is_decimal()) => {
            let rounded = call(ScalarUDF::from(Round::default()));
            Expr::Cast(Cast::new_from_field(Box::new(rounded), field.clone()))
        }
        DataType::Decimal128(precision, scale) if from == DataType::Utf8 => {
            call(ScalarUDF::from(TextToDecimal::new(*precision, *scale)))
        }
        _ => expr,
    })
}

impl ScalarUDFImpl for Round {
    fn name(&self) -> &str {
        "round"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [number] if number.is_numeric() => Ok(vec![number.clone()]),
            [number, digits] if number.is_numeric() && digits.is_integer() => {
                Ok(vec![number.clone(), DataType::Int32])
            }
            _ => plan_err!("round takes a number, and how many decimals to keep"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        internal_err!("the type depends on the digits")
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> =
            arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        match is_own(&types) {
            true => Ok(Arc::new(Field::new(self.name(), DataType::Float64, true))),
            false => datafusion_functions::math::round().return_field_from_args(arguments),
        }
    }

    /// All but doubles is rounded by the library.
    fn simplify(
        &self,
        arguments: Vec<Expr>,
        context: &SimplifyContext,
    ) -> Result<ExprSimplifyResult> {
        let types = arguments.iter().map(|argument| context.get_data_type(argument));
        Ok(match is_own(&types.collect::<Result<Vec<_>>>()?) {
            true => ExprSimplifyResult::Original(arguments),
            false => {
                ExprSimplifyResult::Simplified(datafusion_functions::math::round().call(arguments))
            }
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let numbers = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [numbers] = take_function_args(self.name(), numbers)?;
        let numbers = cast(&numbers, &DataType::Float64)?;
        let rounded =
            numbers.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even);
        Ok(ColumnarValue::Array(Arc::new(rounded) as ArrayRef))
    }
}
