//! `google.protobuf.Struct`, `Value` and `ListValue`, which are JSON.

use super::message::{Budget, Part};
use super::scalar::{Raw, Scalar};
use super::wire::{Wire, WireType};
use crate::datum::{InvalidDatum, violation};
use serde_json::{Map, Number, Value};
use weir_model::fault::{VALUE_DOES_NOT_FIT, VALUE_MISSING};

/// Most values inside one another.
const MAX_DEPTH: usize = 64;

/// Which of the messages it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonForm {
    Struct,
    Value,
    List,
}

/// The member of `Value` that is set.
enum Member {
    Plain(Value),
    Inner(JsonForm, Vec<Part>),
}

impl JsonForm {
    pub(super) fn of(name: &str) -> Option<JsonForm> {
        match name {
            "google.protobuf.Struct" => Some(JsonForm::Struct),
            "google.protobuf.Value" => Some(JsonForm::Value),
            "google.protobuf.ListValue" => Some(JsonForm::List),
            _ => None,
        }
    }

    pub(super) fn read(
        self,
        value: &[u8],
        parts: &[Part],
        budget: &mut Budget,
    ) -> Result<Value, InvalidDatum> {
        self.at_depth(value, parts, budget, 0)
    }

    fn at_depth(
        self,
        value: &[u8],
        parts: &[Part],
        budget: &mut Budget,
        depth: usize,
    ) -> Result<Value, InvalidDatum> {
        if depth == MAX_DEPTH {
            let text = format!("JSON is nested deeper than {MAX_DEPTH} levels");
            return Err(violation("too_deep", text));
        }
        // `null` and brackets take more bytes than they have on the wire.
        budget.fill(8)?;
        match self {
            JsonForm::Struct => {
                let mut members = Map::new();
                each(value, parts, |wire, number, wire_type| match number {
                    1 => {
                        let (name, of) = entry(value, part(wire, wire_type)?)?;
                        let inner = JsonForm::Value.at_depth(value, &of, budget, depth + 1);
                        let inner = inner.map_err(|violation| violation.within(name))?;
                        members.insert(name.into(), inner);
                        Ok(())
                    }
                    number => wire.skip(number, wire_type),
                })?;
                Ok(Value::Object(members))
            }
            JsonForm::List => {
                let mut items = Vec::new();
                each(value, parts, |wire, number, wire_type| match number {
                    1 => {
                        let of = part(wire, wire_type)?;
                        let item = JsonForm::Value.at_depth(value, &[of], budget, depth + 1);
                        let index = items.len().to_string();
                        items.push(item.map_err(|violation| violation.within(&index))?);
                        Ok(())
                    }
                    number => wire.skip(number, wire_type),
                })?;
                Ok(Value::Array(items))
            }
            JsonForm::Value => match member(value, parts)? {
                Some(Member::Plain(plain)) => Ok(plain),
                Some(Member::Inner(form, parts)) => form.at_depth(value, &parts, budget, depth + 1),
                None => Err(violation(VALUE_MISSING, "is a google.protobuf.Value without a value")),
            },
        }
    }
}

fn each<'a>(
    value: &'a [u8],
    parts: &[Part],
    mut field: impl FnMut(&mut Wire<'a>, u32, WireType) -> Result<(), InvalidDatum>,
) -> Result<(), InvalidDatum> {
    for Part { start, end } in parts {
        let mut wire = Wire::new(value, *start, *end);
        while !wire.is_at_end() {
            let (number, wire_type) = wire.tag()?;
            field(&mut wire, number, wire_type)?;
        }
    }
    Ok(())
}

fn part(wire: &mut Wire<'_>, wire_type: WireType) -> Result<Part, InvalidDatum> {
    if wire_type != WireType::Length {
        return Err(wire.other(wire_type, WireType::Length));
    }
    let (start, end) = wire.length()?;
    Ok(Part { start, end })
}

fn scalar<'a>(
    wire: &mut Wire<'a>,
    wire_type: WireType,
    of: Scalar,
) -> Result<Raw<'a>, InvalidDatum> {
    if wire_type != of.wire_type() {
        return Err(wire.other(wire_type, of.wire_type()));
    }
    of.read(wire)
}

/// An entry of `Struct.fields`.
fn entry(value: &[u8], of: Part) -> Result<(&str, Vec<Part>), InvalidDatum> {
    let (mut name, mut parts) = ("", Vec::new());
    each(value, &[of], |wire, number, wire_type| match number {
        1 => {
            if let Raw::Text(text) = scalar(wire, wire_type, Scalar::String)? {
                name = text;
            }
            Ok(())
        }
        2 => {
            parts.push(part(wire, wire_type)?);
            Ok(())
        }
        number => wire.skip(number, wire_type),
    })?;
    Ok((name, parts))
}

/// The last member of a `Value`.
fn member(value: &[u8], parts: &[Part]) -> Result<Option<Member>, InvalidDatum> {
    let mut last = None;
    each(value, parts, |wire, number, wire_type| {
        let of = match number {
            1 => Scalar::Int32,
            2 => Scalar::Double,
            3 => Scalar::String,
            4 => Scalar::Bool,
            5 | 6 => {
                let form = if number == 5 { JsonForm::Struct } else { JsonForm::List };
                let part = part(wire, wire_type)?;
                match &mut last {
                    Some(Member::Inner(other, parts)) if *other == form => parts.push(part),
                    last => *last = Some(Member::Inner(form, vec![part])),
                }
                return Ok(());
            }
            number => return wire.skip(number, wire_type),
        };
        last = Some(Member::Plain(match scalar(wire, wire_type, of)? {
            Raw::Double(number) => Value::Number(json_number(number)?),
            Raw::Text(text) => Value::String(text.into()),
            Raw::Boolean(value) => Value::Bool(value),
            _ => Value::Null,
        }));
        Ok(())
    })?;
    Ok(last)
}

/// Whole numbers without a fraction, as they were before they became doubles.
fn json_number(number: f64) -> Result<Number, InvalidDatum> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Ok(Number::from(number as i64));
    }
    Number::from_f64(number)
        .ok_or_else(|| violation(VALUE_DOES_NOT_FIT, format!("`{number}` is no number of JSON")))
}
