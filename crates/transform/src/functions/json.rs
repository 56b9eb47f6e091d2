//! JSON in texts, as PostgreSQL's type `json`: the parts of a text keep their characters, so that a
//! number keeps its digits and nothing passes through a double. A text that is no JSON fails.

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{DFSchema, Result, exec_err, plan_err};
use datafusion_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion_expr::{
    ColumnarValue, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion_sql::sqlparser::ast::BinaryOperator;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The functions over JSON. The names are PostgreSQL's; there, most of them stand behind operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// `CAST(text AS JSON)`.
    Check,
    /// `->` with a name.
    Field,
    /// `->>` with a name.
    FieldText,
    /// `->` with a number from 0.
    Element,
    /// `->>` with a number from 0.
    ElementText,
    Path,
    PathText,
    /// The name of the value's type.
    TypeOf,
    /// The number of elements of an array.
    Length,
}

const KINDS: [(Kind, &str); 9] = [
    (Kind::Check, CHECK),
    (Kind::Field, "json_object_field"),
    (Kind::FieldText, "json_object_field_text"),
    (Kind::Element, "json_array_element"),
    (Kind::ElementText, "json_array_element_text"),
    (Kind::Path, "json_extract_path"),
    (Kind::PathText, "json_extract_path_text"),
    (Kind::TypeOf, "json_typeof"),
    (Kind::Length, "json_array_length"),
];

/// The function that stands for a cast to JSON.
pub(crate) const CHECK: &str = "json";

/// All of them.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    KINDS.into_iter().map(|(kind, name)| {
        let signature = Signature::user_defined(Volatility::Immutable);
        Arc::new(ScalarUDF::from(Json { kind, name, signature }))
    })
}

/// Plans `->` and `->>`.
#[derive(Debug)]
pub(crate) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        let is_number = expr.right.get_type(schema)?.is_integer();
        let kind = match (&expr.op, is_number) {
            (BinaryOperator::Arrow, true) => Kind::Element,
            (BinaryOperator::Arrow, false) => Kind::Field,
            (BinaryOperator::LongArrow, true) => Kind::ElementText,
            (BinaryOperator::LongArrow, false) => Kind::FieldText,
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let name = KINDS.iter().find(|(other, _)| *other == kind).map_or("", |(_, name)| name);
        let signature = Signature::user_defined(Volatility::Immutable);
        let function = ScalarUDF::from(Json { kind, name, signature });
        Ok(PlannerResult::Planned(function.call(vec![expr.left, expr.right])))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Json {
    kind: Kind,
    name: &'static str,
    signature: Signature,
}

/// A step from a value to one of its parts.
#[derive(Clone, Copy)]
enum Step<'a> {
    /// Of an object.
    Field(&'a str),
    /// Of an array; from its end when negative.
    Element(i64),
    /// Either, depending on the value.
    Any(&'a str),
}

impl ScalarUDFImpl for Json {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        use DataType::{Int64, LargeUtf8, Null, Utf8, Utf8View};
        let name = self.name;
        let is_text = |found: &DataType| matches!(found, Utf8 | LargeUtf8 | Utf8View | Null);
        let Some((_, steps)) = types.split_first().filter(|(json, _)| is_text(json)) else {
            return plan_err!("{name} takes JSON in a text");
        };
        let (num_steps, step) = match self.kind {
            Kind::Check | Kind::TypeOf | Kind::Length => (0..=0, Utf8),
            Kind::Field | Kind::FieldText => (1..=1, Utf8),
            Kind::Element | Kind::ElementText => (1..=1, Int64),
            Kind::Path | Kind::PathText => (1..=usize::MAX, Utf8),
        };
        let fits = |found: &DataType| match step {
            Int64 => found.is_integer() || *found == Null,
            _ => is_text(found),
        };
        if !num_steps.contains(&steps.len()) || !steps.iter().all(fits) {
            let what = match self.kind {
                Kind::Check | Kind::TypeOf | Kind::Length => "nothing else",
                Kind::Element | Kind::ElementText => "the number of an element, from 0",
                Kind::Field | Kind::FieldText => "the name of a member",
                Kind::Path | Kind::PathText => "the path to a part, each step a text",
            };
            return plan_err!("{name} takes JSON and {what}");
        }
        Ok([vec![Utf8], vec![step; steps.len()]].concat())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(if self.kind == Kind::Length { DataType::Int32 } else { DataType::Utf8 })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let Some((texts, paths)) = arrays.split_first() else {
            return exec_err!("{} has no argument", self.name);
        };
        let texts = texts.as_string::<i32>();
        let parts = (0..texts.len()).map(|row| {
            let steps = paths.iter().map(|path| self.step(path, row));
            match (texts.is_valid(row), steps.collect::<Option<Vec<_>>>()) {
                (true, Some(steps)) => self.part(texts.value(row), &steps),
                _ => Ok(None),
            }
        });
        Ok(ColumnarValue::Array(match self.kind {
            Kind::Length => {
                let lengths = parts.map(|part| part?.as_deref().map(length).transpose());
                Arc::new(lengths.collect::<Result<Int32Array>>()?) as ArrayRef
            }
            _ => Arc::new(parts.collect::<Result<StringArray>>()?),
        }))
    }
}

impl Json {
    /// The step that a row of an argument has; `None` for null.
    fn step<'a>(&self, path: &'a ArrayRef, row: usize) -> Option<Step<'a>> {
        if path.is_null(row) {
            return None;
        }
        Some(match self.kind {
            Kind::Element | Kind::ElementText => {
                Step::Element(path.as_primitive::<Int64Type>().value(row))
            }
            Kind::Path | Kind::PathText => Step::Any(path.as_string::<i32>().value(row)),
            _ => Step::Field(path.as_string::<i32>().value(row)),
        })
    }

    /// What the function makes of `text`; the length is counted later.
    fn part<'a>(&self, text: &'a str, steps: &[Step<'_>]) -> Result<Option<Cow<'a, str>>> {
        let Json { kind, name, .. } = self;
        let invalid = |error: serde_json::Error| exec_err!("{name}: the text is no JSON: {error}");
        // The whole text is checked, whatever part of it is taken.
        let whole: &RawValue = match serde_json::from_str(text) {
            Ok(whole) => whole,
            Err(error) => return invalid(error),
        };
        if !steps.is_empty()
            && let Some(escape) = no_character(text)
        {
            return exec_err!("{name}: {escape} in the text is no character");
        }
        let mut part = whole.get();
        for step in steps {
            match child(part, *step) {
                Ok(Some(child)) => part = child,
                Ok(None) => return Ok(None),
                Err(error) => return invalid(error),
            }
        }
        match kind {
            Kind::Check => Ok(Some(text.into())),
            Kind::TypeOf => Ok(Some(type_of(part).into())),
            Kind::FieldText | Kind::ElementText | Kind::PathText => match type_of(part) {
                "null" => Ok(None),
                "string" => match serde_json::from_str::<Text<'_>>(part) {
                    Ok(Text(text)) => Ok(Some(text)),
                    Err(error) => invalid(error),
                },
                _ => Ok(Some(part.into())),
            },
            Kind::Field | Kind::Element | Kind::Path | Kind::Length => Ok(Some(part.into())),
        }
    }
}

/// An escape in valid JSON that is no character of a text: `\u0000`, or one half of a pair of
/// surrogates. Like PostgreSQL, whoever takes a part looks at all of them.
fn no_character(json: &str) -> Option<&'static str> {
    const HALF: &str = "one half of a pair of surrogates";
    let mut rest = json;
    let mut high = false;
    while let Some(at) = rest.find('\\') {
        if high && at > 0 {
            return Some(HALF);
        }
        let escape = &rest[at + 1..];
        let code =
            escape.strip_prefix('u').and_then(|hex| u32::from_str_radix(hex.get(..4)?, 16).ok());
        match (high, code) {
            (false, Some(0)) => return Some("\\u0000"),
            (false, Some(0xd800..=0xdbff)) => high = true,
            (true, Some(0xdc00..=0xdfff)) => high = false,
            (true, _) | (false, Some(0xdc00..=0xdfff)) => return Some(HALF),
            (false, _) => {}
        }
        rest = &escape[if code.is_some() { 5 } else { 1 }..];
    }
    high.then_some(HALF)
}

/// The number of elements of the array `text`.
fn length(text: &str) -> Result<i32> {
    if type_of(text) != "array" {
        return exec_err!("json_array_length: the value is no array");
    }
    match serde_json::from_str::<Vec<IgnoredAny>>(text) {
        Ok(elements) => Ok(i32::try_from(elements.len()).unwrap_or(i32::MAX)),
        Err(error) => exec_err!("json_array_length: the text is no JSON: {error}"),
    }
}

/// The type of a value by its first character.
fn type_of(json: &str) -> &'static str {
    match json.trim_start().as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// One part of a value; `None` when it has no such part.
fn child<'a>(json: &'a str, step: Step<'_>) -> serde_json::Result<Option<&'a str>> {
    match (type_of(json), step) {
        ("object", Step::Field(name) | Step::Any(name)) => {
            serde_json::Deserializer::from_str(json).deserialize_map(Member(name))
        }
        ("array", Step::Element(index)) => element(json, index),
        ("array", Step::Any(index)) => match index.trim_start().parse() {
            Ok(index) => element(json, index),
            Err(_) => Ok(None),
        },
        _ => Ok(None),
    }
}

fn element(json: &str, index: i64) -> serde_json::Result<Option<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(json)?;
    let index = if index < 0 { index + elements.len() as i64 } else { index };
    Ok(usize::try_from(index).ok().and_then(|index| elements.get(index)).map(|e| e.get()))
}

/// Finds a member of an object; the last one if the name occurs again.
struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(Text(name)) = members.next_key()? {
            let value: &RawValue = members.next_value()?;
            if name == self.0 {
                found = Some(value.get());
            }
        }
        Ok(found)
    }
}

/// A string, borrowed if it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'de>, D::Error> {
        struct Strings;
        impl<'de> Visitor<'de> for Strings {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(text.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(text.to_string().into()))
            }
        }
        deserializer.deserialize_str(Strings)
    }
}
