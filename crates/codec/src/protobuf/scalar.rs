//! Plain values: from the wire, and as values of the reader's type by the rules of
//! [`weir_model::cast`].

use super::wire::{Wire, WireType};
use crate::avro_type::AvroType;
use crate::cell::Cell;
use crate::columns::shortened;
use crate::datum::{InvalidDatum, violation};
use crate::text;
use arrow::datatypes::DataType;
use prost_reflect::{Kind, Value};
use std::borrow::Cow;
use weir_model::fault::VALUE_DOES_NOT_FIT;

/// A plain type of Protobuf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Bool,
    String,
    Bytes,
}

/// A plain value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Raw<'a> {
    Integer(i128),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Scalar {
    /// `None` for a message or an enum.
    pub(super) fn of(kind: &Kind) -> Option<Scalar> {
        Some(match kind {
            Kind::Int32 => Scalar::Int32,
            Kind::Int64 => Scalar::Int64,
            Kind::Uint32 => Scalar::Uint32,
            Kind::Uint64 => Scalar::Uint64,
            Kind::Sint32 => Scalar::Sint32,
            Kind::Sint64 => Scalar::Sint64,
            Kind::Fixed32 => Scalar::Fixed32,
            Kind::Fixed64 => Scalar::Fixed64,
            Kind::Sfixed32 => Scalar::Sfixed32,
            Kind::Sfixed64 => Scalar::Sfixed64,
            Kind::Float => Scalar::Float,
            Kind::Double => Scalar::Double,
            Kind::Bool => Scalar::Bool,
            Kind::String => Scalar::String,
            Kind::Bytes => Scalar::Bytes,
            Kind::Message(_) | Kind::Enum(_) => return None,
        })
    }

    /// The type of Arrow with the same values, for the rules of casts.
    pub(super) fn arrow(self) -> DataType {
        match self {
            Scalar::Int32 | Scalar::Sint32 | Scalar::Sfixed32 => DataType::Int32,
            Scalar::Int64 | Scalar::Sint64 | Scalar::Sfixed64 => DataType::Int64,
            Scalar::Uint32 | Scalar::Fixed32 => DataType::UInt32,
            Scalar::Uint64 | Scalar::Fixed64 => DataType::UInt64,
            Scalar::Float => DataType::Float32,
            Scalar::Double => DataType::Float64,
            Scalar::Bool => DataType::Boolean,
            Scalar::String => DataType::Utf8,
            Scalar::Bytes => DataType::Binary,
        }
    }

    /// As in a schema.
    pub(super) fn name(self) -> &'static str {
        match self {
            Scalar::Int32 => "int32",
            Scalar::Int64 => "int64",
            Scalar::Uint32 => "uint32",
            Scalar::Uint64 => "uint64",
            Scalar::Sint32 => "sint32",
            Scalar::Sint64 => "sint64",
            Scalar::Fixed32 => "fixed32",
            Scalar::Fixed64 => "fixed64",
            Scalar::Sfixed32 => "sfixed32",
            Scalar::Sfixed64 => "sfixed64",
            Scalar::Float => "float",
            Scalar::Double => "double",
            Scalar::Bool => "bool",
            Scalar::String => "string",
            Scalar::Bytes => "bytes",
        }
    }

    pub(super) fn wire_type(self) -> WireType {
        match self {
            Scalar::Fixed32 | Scalar::Sfixed32 | Scalar::Float => WireType::Fixed32,
            Scalar::Fixed64 | Scalar::Sfixed64 | Scalar::Double => WireType::Fixed64,
            Scalar::String | Scalar::Bytes => WireType::Length,
            _ => WireType::Varint,
        }
    }

    /// The value of a field that is not set and does not say so.
    pub(super) fn zero(self) -> Raw<'static> {
        match self {
            Scalar::Float => Raw::Float(0.0),
            Scalar::Double => Raw::Double(0.0),
            Scalar::Bool => Raw::Boolean(false),
            Scalar::String => Raw::Text(""),
            Scalar::Bytes => Raw::Bytes(&[]),
            _ => Raw::Integer(0),
        }
    }

    pub(super) fn read<'a>(self, wire: &mut Wire<'a>) -> Result<Raw<'a>, InvalidDatum> {
        let start = wire.position();
        Ok(match self {
            Scalar::Int32 => Raw::Integer(int32(wire.varint()?, start)?.into()),
            Scalar::Int64 => Raw::Integer((wire.varint()? as i64).into()),
            Scalar::Uint32 => Raw::Integer(uint32(wire.varint()?, start)?.into()),
            Scalar::Uint64 => Raw::Integer(wire.varint()?.into()),
            Scalar::Sint32 => {
                let bits = uint32(wire.varint()?, start)?;
                Raw::Integer(((bits >> 1) as i32 ^ -((bits & 1) as i32)).into())
            }
            Scalar::Sint64 => {
                let bits = wire.varint()?;
                Raw::Integer(((bits >> 1) as i64 ^ -((bits & 1) as i64)).into())
            }
            Scalar::Fixed32 => Raw::Integer(u32::from_le_bytes(wire.array()?).into()),
            Scalar::Fixed64 => Raw::Integer(u64::from_le_bytes(wire.array()?).into()),
            Scalar::Sfixed32 => Raw::Integer(i32::from_le_bytes(wire.array()?).into()),
            Scalar::Sfixed64 => Raw::Integer(i64::from_le_bytes(wire.array()?).into()),
            Scalar::Float => Raw::Float(f32::from_le_bytes(wire.array()?)),
            Scalar::Double => Raw::Double(f64::from_le_bytes(wire.array()?)),
            Scalar::Bool => match wire.varint()? {
                0 => Raw::Boolean(false),
                1 => Raw::Boolean(true),
                other => {
                    let text = format!("the bool at byte {start} is {other}, neither 0 nor 1");
                    return Err(violation("bad_boolean", text));
                }
            },
            Scalar::String => Raw::Text(text_of(wire, start)?),
            Scalar::Bytes => {
                let (from, to) = wire.length()?;
                Raw::Bytes(wire.slice(from, to))
            }
        })
    }
}

fn text_of<'a>(wire: &mut Wire<'a>, start: usize) -> Result<&'a str, InvalidDatum> {
    let (from, to) = wire.length()?;
    std::str::from_utf8(wire.slice(from, to)).map_err(|error| {
        let at = from + error.valid_up_to();
        violation("invalid_utf8", format!("the string at byte {start} is not UTF-8 from byte {at}"))
    })
}

/// Negative numbers have 64 bits on the wire; some writers keep to 32.
pub(super) fn int32(number: u64, start: usize) -> Result<i32, InvalidDatum> {
    match (i32::try_from(number as i64), u32::try_from(number)) {
        (Ok(number), _) => Ok(number),
        (_, Ok(bits)) => Ok(bits as i32),
        _ => Err(too_wide(number as i64, start)),
    }
}

fn uint32(number: u64, start: usize) -> Result<u32, InvalidDatum> {
    u32::try_from(number).map_err(|_| too_wide(number, start))
}

/// Most parsers take the lower 32 bits, which is another number.
#[cold]
fn too_wide(number: impl std::fmt::Display, start: usize) -> InvalidDatum {
    violation("bad_varint", format!("the number {number} at byte {start} does not fit 32 bits"))
}

impl<'a> Raw<'a> {
    /// A value of the library; `None` for a message, an enum, a list or a map.
    pub(super) fn of(value: &'a Value) -> Option<Raw<'a>> {
        Some(match value {
            Value::Bool(value) => Raw::Boolean(*value),
            Value::I32(value) => Raw::Integer((*value).into()),
            Value::I64(value) => Raw::Integer((*value).into()),
            Value::U32(value) => Raw::Integer((*value).into()),
            Value::U64(value) => Raw::Integer((*value).into()),
            Value::F32(value) => Raw::Float(*value),
            Value::F64(value) => Raw::Double(*value),
            Value::String(value) => Raw::Text(value),
            Value::Bytes(value) => Raw::Bytes(value),
            Value::EnumNumber(_) | Value::Message(_) | Value::List(_) | Value::Map(_) => {
                return None;
            }
        })
    }

    /// As a value of `to`, which takes values of this kind.
    pub(super) fn cell(self, to: &AvroType) -> Result<Cell<'a>, InvalidDatum> {
        self.fitting(to).map_err(|why| {
            let text = shortened(self.text());
            violation(
                VALUE_DOES_NOT_FIT,
                match why {
                    Some(why) => format!("`{text}` {why}"),
                    None => format!("`{text}` does not fit {to}"),
                },
            )
        })
    }

    /// The error is what is wrong, if there is more to say than that it does not fit.
    fn fitting(self, to: &AvroType) -> Result<Cell<'a>, Option<String>> {
        let fits = |cell: Option<Cell<'a>>| cell.ok_or(None);
        match (self, to) {
            (Raw::Text(value), to) => text::parse(value, to).map_err(Some),
            (Raw::Bytes(value), AvroType::Bytes) => Ok(Cell::Bytes(value.into())),
            (Raw::Bytes(value), AvroType::Fixed(size)) => {
                fits((value.len() == *size).then(|| Cell::Bytes(value.into())))
            }
            (Raw::Bytes(value), AvroType::String) => {
                let text = std::str::from_utf8(value).map_err(|_| Some("is not UTF-8".into()))?;
                Ok(Cell::Text(text.into()))
            }
            (Raw::Boolean(value), AvroType::Boolean) => Ok(Cell::Boolean(value)),
            (_, AvroType::String) => Ok(Cell::Text(self.text().into())),
            (Raw::Integer(value), to) => fits(integer(value, to)),
            (Raw::Float(value), AvroType::Float | AvroType::Double) => {
                Ok(Cell::Float(value.into()))
            }
            (Raw::Double(value), AvroType::Double) => Ok(Cell::Float(value)),
            (Raw::Float(value), AvroType::Int | AvroType::Long) => {
                fits(whole(value.into()).and_then(|n| integer(n, to)))
            }
            (Raw::Double(value), AvroType::Int | AvroType::Long) => {
                fits(whole(value).and_then(|n| integer(n, to)))
            }
            _ => Err(None),
        }
    }

    /// As the key of a map.
    pub(super) fn into_text(self) -> Cow<'a, str> {
        match self {
            Raw::Text(text) => Cow::Borrowed(text),
            other => Cow::Owned(other.text()),
        }
    }

    fn text(self) -> String {
        match self {
            Raw::Integer(value) => value.to_string(),
            Raw::Float(value) => format!("{value:?}"),
            Raw::Double(value) => format!("{value:?}"),
            Raw::Boolean(value) => value.to_string(),
            Raw::Text(value) => value.into(),
            Raw::Bytes(value) => format!("{} bytes", value.len()),
        }
    }
}

/// A number as another one, exactly.
fn integer(value: i128, to: &AvroType) -> Option<Cell<'static>> {
    match to {
        AvroType::Int => i32::try_from(value).ok().map(|value| Cell::Integer(value.into())),
        AvroType::Long => i64::try_from(value).ok().map(Cell::Integer),
        AvroType::Float => {
            let near = value as f32;
            (near as i128 == value).then_some(Cell::Float(near.into()))
        }
        AvroType::Double => {
            let near = value as f64;
            (near as i128 == value).then_some(Cell::Float(near))
        }
        AvroType::Decimal { precision, scale, .. } => {
            rescaled(value, 0, *precision, *scale).map(Cell::Decimal)
        }
        _ => None,
    }
}

fn whole(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && value.abs() < 1e30).then_some(value as i128)
}

/// A decimal number of `from` decimals as one of this type, exactly.
pub(super) fn rescaled(value: i128, from: i32, precision: u8, scale: i8) -> Option<i128> {
    let shift = i32::from(scale).checked_sub(from)?;
    let factor = 10i128.checked_pow(shift.unsigned_abs());
    let value = match (shift >= 0, factor) {
        (_, _) if value == 0 => 0,
        (true, Some(factor)) => value.checked_mul(factor)?,
        (false, Some(factor)) if value % factor == 0 => value / factor,
        _ => return None,
    };
    let limit = 10i128.pow(u32::from(precision));
    (-limit < value && value < limit).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field_type::FieldType;
    use crate::schema::Schema;

    fn types() -> Vec<FieldType> {
        let schema = r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":"boolean"},{"name":"b","type":"int"},{"name":"c","type":"long"},
            {"name":"d","type":"float"},{"name":"e","type":"double"},{"name":"f","type":"string"},
            {"name":"g","type":"bytes"},{"name":"h","type":{"type":"fixed","name":"F","size":3}},
            {"name":"i","type":{"type":"bytes","logicalType":"decimal","precision":38,"scale":2}},
            {"name":"j","type":{"type":"int","logicalType":"date"}},
            {"name":"k","type":{"type":"long","logicalType":"timestamp-micros"}},
            {"name":"l","type":{"type":"enum","name":"E","symbols":["A"]}},
            {"name":"m","type":{"type":"string","logicalType":"uuid"}},
            {"name":"n","type":{"type":"fixed","name":"D","size":12,"logicalType":"duration"}}]}"#;
        Schema::parse(schema).unwrap().field_types()
    }

    #[test]
    fn what_the_rules_of_casts_allow_has_a_value_and_nothing_else_does() {
        let values = [
            (Scalar::Uint64, vec![Raw::Integer(1)]),
            (Scalar::Float, vec![Raw::Float(1.0)]),
            (Scalar::Double, vec![Raw::Double(1.0)]),
            (Scalar::Bool, vec![Raw::Boolean(true)]),
            (Scalar::Bytes, vec![Raw::Bytes(b"abc")]),
            (
                Scalar::String,
                ["1", "true", "abc", "2026-01-01", "2026-01-01T00:00:00Z", "A"]
                    .into_iter()
                    .chain(["6774d596-8cc8-4c20-8e98-6f2f105d62a8"])
                    .map(Raw::Text)
                    .collect(),
            ),
        ];
        for (scalar, values) in values {
            for to in types() {
                let has_value = values.iter().any(|value| value.cell(to.avro_type()).is_ok());
                let message = format!("{} as {to}", scalar.name());
                assert_eq!(has_value, to.takes(&scalar.arrow()), "{message}");
            }
        }
    }

    #[test]
    fn a_number_becomes_only_the_same_number() {
        let cell =
            |raw: Raw<'static>, to: &AvroType| raw.cell(to).map_err(|v| v.into_fault().reason);
        let lost = || Err(VALUE_DOES_NOT_FIT.to_owned());
        let most = Raw::Integer(u64::MAX.into());
        let decimal = AvroType::Decimal { precision: 22, scale: 2, fixed: None };
        assert_eq!(cell(most, &AvroType::Long), lost());
        assert_eq!(cell(most, &AvroType::Double), lost());
        assert_eq!(cell(most, &decimal), Ok(Cell::Decimal(1_844_674_407_370_955_161_500)));
        let narrow = AvroType::Decimal { precision: 21, scale: 2, fixed: None };
        assert_eq!(cell(most, &narrow), lost());
        assert_eq!(
            cell(Raw::Integer(1 << 60), &AvroType::Double),
            Ok(Cell::Float(1.152_921_504_606_847e18))
        );
        assert_eq!(cell(Raw::Integer((1 << 53) + 1), &AvroType::Double), lost());
        assert_eq!(cell(Raw::Integer((1 << 24) + 1), &AvroType::Float), lost());
        assert_eq!(cell(Raw::Integer(1 << 31), &AvroType::Int), lost());
        assert_eq!(cell(Raw::Double(2.0), &AvroType::Int), Ok(Cell::Integer(2)));
        for lossy in [0.5, f64::NAN, f64::INFINITY, 1e300, 9_223_372_036_854_775_808.0] {
            assert_eq!(cell(Raw::Double(lossy), &AvroType::Long), lost(), "{lossy}");
        }
    }

    #[test]
    fn a_decimal_keeps_all_its_digits_or_is_refused() {
        assert_eq!(rescaled(1230, 2, 9, 1), Some(123));
        assert_eq!(rescaled(1235, 2, 9, 1), None);
        assert_eq!(rescaled(-5, -3, 9, 0), Some(-5000));
        assert_eq!(rescaled(1, 0, 2, 2), None);
        assert_eq!(rescaled(i128::MAX, 0, 38, 1), None);
        assert_eq!(rescaled(1, i32::MIN, 38, 1), None);
        assert_eq!(rescaled(1, i32::MAX, 38, 1), None);
        assert_eq!(rescaled(0, i32::MAX, 38, 1), Some(0));
    }
}
