//! A text becomes a decimal as in PostgreSQL: blanks around it and an exponent are allowed, and it is
//! rounded half away from zero. The library does not read exponents, which JSON has.

use arrow::array::{AsArray, Decimal128Array};
use arrow::datatypes::DataType;
use datafusion_common::utils::take_function_args;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// Digits that 128 bits hold.
const MAX_DIGITS: i64 = 38;

/// `CAST(text AS DECIMAL(precision, scale))`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TextToDecimal {
    precision: u8,
    scale: i8,
    signature: Signature,
}

impl TextToDecimal {
    pub(super) fn new(precision: u8, scale: i8) -> TextToDecimal {
        let signature = Signature::exact(vec![DataType::Utf8], Volatility::Immutable);
        TextToDecimal { precision, scale, signature }
    }
}

impl ScalarUDFImpl for TextToDecimal {
    fn name(&self) -> &str {
        "decimal"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(self.precision, self.scale))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = ColumnarValue::values_to_arrays(&arguments.args)?;
        let [texts] = take_function_args(self.name(), texts)?;
        let limit = 10i128.pow(u32::from(self.precision));
        let decimal = |text: Option<&str>| match text.map(|text| parse(text, self.scale)) {
            None => Ok(None),
            Some(None) => exec_err!("CAST: the text is no number"),
            Some(Some(Some(unscaled))) if unscaled.abs() < limit => Ok(Some(unscaled)),
            Some(Some(_)) => exec_err!(
                "CAST: the number does not fit DECIMAL({}, {})",
                self.precision,
                self.scale
            ),
        };
        let decimals: Decimal128Array =
            texts.as_string::<i32>().iter().map(decimal).collect::<Result<_>>()?;
        let data_type = DataType::Decimal128(self.precision, self.scale);
        Ok(ColumnarValue::Array(Arc::new(decimals.with_data_type(data_type))))
    }
}

/// The unscaled value of a number; `Some(None)` when it is beyond 128 bits, `None` for another text.
fn parse(text: &str, scale: i8) -> Option<Option<i128>> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let (is_negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent_digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if exponent_digits.is_empty() || !exponent_digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // A longer one is as far beyond the limits.
    let longest = if exponent.starts_with('-') { i32::MIN } else { i32::MAX };
    let exponent = i64::from(exponent.parse().unwrap_or(longest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // How many of the digits are kept; after them, one decides about rounding.
    let num_kept = whole.len() as i64 + exponent + i64::from(scale);
    let digit = |index: i64| {
        let index = usize::try_from(index).ok()?;
        digits().nth(index).map(|digit| i128::from(digit - b'0'))
    };
    let first = digits().position(|digit| digit != b'0').unwrap_or(usize::MAX);
    if first == usize::MAX || num_kept < 0 {
        return Some(Some(0));
    }
    if num_kept - first as i64 > MAX_DIGITS {
        return Some(None);
    }
    let mut unscaled: i128 = 0;
    let mut kept = digits().skip(first);
    for _ in first as i64..num_kept {
        unscaled = unscaled * 10 + kept.next().map_or(0, |digit| i128::from(digit - b'0'));
    }
    if digit(num_kept).is_some_and(|digit| digit >= 5) {
        unscaled += 1;
    }
    Some(Some(if is_negative { -unscaled } else { unscaled }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_decimals_to_the_last_digit() {
        for (text, scale, expected) in [
            ("0", 2, 0),
            ("-1.5", 0, -2),
            ("1.004999", 2, 100),
            ("1.005", 2, 101),
            (".5", 0, 1),
            ("0.05", 0, 0),
            ("5.", 1, 50),
            (" +12e-1 ", 2, 120),
            ("1.25E2", 0, 125),
            ("0.000e999999999999", 3, 0),
            ("9e-999999999999", 3, 0),
            ("0.5e-3", 3, 1),
            ("12345678901234567890.123456789", 9, 12345678901234567890123456789),
        ] {
            assert_eq!(parse(text, scale), Some(Some(expected)), "{text}");
        }
        for text in
            ["", " ", "-", "e5", "1e", "1e+", "1.2.3", "--1", "1 2", "NaN", "0x10", "1_0", "."]
        {
            assert_eq!(parse(text, 2), None, "{text}");
        }
        assert_eq!(parse("1e400", 0), Some(None));
        assert_eq!(parse("1e99999999999", 0), Some(None));
    }
}
