//! Which Arrow type fits which PostgreSQL column, and in which form. The column's own type decides.
//! Only lossless conversions are allowed, and those of which every value is checked; all others
//! belong in the pipeline's SQL, where they are explicit.

mod remedy;

pub(crate) use remedy::Remedy;

use crate::postgres::pg_type::PgType;
use arrow::datatypes::{DataType, TimeUnit};

/// The form in which the values of a column are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wire {
    /// What becomes of a value.
    pub(crate) form: Form,
    /// `jsonb` puts a version byte before its text.
    pub(crate) jsonb: bool,
    /// The number of characters that the column holds at most.
    pub(crate) max_chars: Option<usize>,
    /// Sent as text in the input form of the column's type, which only the server reads.
    pub(crate) input: bool,
}

/// The conversion of values from Arrow's form into PostgreSQL's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// To this type, which has the column's binary format. What it does not hold is refused.
    Cast(DataType),
    /// Texts to the 16 bytes of a UUID.
    Uuid,
    /// Months, days and nanoseconds to the 16 bytes of an interval.
    Interval,
    /// Records, maps and lists to JSON.
    Json,
    /// Lists to an array of values of this form, whose type has this number.
    Array(Box<Wire>, u32),
    /// Lists to the text of an array, with this character between the texts of its elements.
    ArrayText(Box<Wire>, char),
}

impl Wire {
    pub(crate) fn new(form: Form) -> Wire {
        Wire { form, jsonb: false, max_chars: None, input: false }
    }

    pub(crate) fn cast(to: DataType) -> Wire {
        Wire::new(Form::Cast(to))
    }

    fn input(form: Form) -> Wire {
        Wire { input: true, ..Wire::new(form) }
    }

    /// The type of the column that is encoded: bytes are sent as they are.
    pub(crate) fn arrow(&self) -> DataType {
        match &self.form {
            Form::Cast(to) => to.clone(),
            Form::Uuid | Form::Interval => DataType::FixedSizeBinary(16),
            Form::Json | Form::ArrayText(..) => DataType::LargeUtf8,
            Form::Array(..) => DataType::LargeBinary,
        }
    }
}

/// Why values of a type cannot enter a column, and what can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) why: &'static str,
    pub(crate) remedy: Option<Remedy>,
}

impl From<&'static str> for Refused {
    fn from(why: &'static str) -> Refused {
        Refused { why, remedy: None }
    }
}

/// The PostgreSQL type that a column has when weir creates it; `None` when no type is lossless.
pub(crate) fn natural(arrow: &DataType) -> Option<String> {
    Some(match arrow {
        DataType::Boolean => "boolean".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
        DataType::Utf8 => "text".into(),
        DataType::Binary => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond) => "time".into(),
        DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, zone) => {
            if zone.is_some() { "timestamptz".into() } else { "timestamp".into() }
        }
        DataType::Interval(_) => "interval".into(),
        DataType::Struct(_) | DataType::Map(_, _) => "jsonb".into(),
        DataType::List(item) if item.data_type().is_nested() => "jsonb".into(),
        DataType::List(item) => format!("{}[]", natural(item.data_type())?),
        _ => return None,
    })
}

const ROUNDED: &str = "PostgreSQL would round it to the column's scale";
const ROUNDED_TIME: &str = "PostgreSQL would round it to the column's precision";
const PRECISION: &str = "precision would be lost";

/// How values of type `arrow` are sent to a column of type `column`. `named`: the pipeline file
/// names the column's type, so that an instant may lose its zone.
///
/// # Errors
/// The reason why they cannot be.
pub(crate) fn wire(arrow: &DataType, column: &PgType, named: bool) -> Result<Wire, Refused> {
    use DataType as A;
    let cast = |to: DataType| Ok(Wire::cast(to));
    let scale = column.modifier.scale;
    let is_text = *arrow == A::Utf8;
    if column.is_enum && is_text {
        return cast(A::Utf8);
    }
    match (column.name.as_str(), arrow) {
        ("bool", A::Boolean) => cast(A::Boolean),
        // Checked: the row of a value that is out of range is refused.
        ("int2", A::Int32 | A::Int64 | A::Decimal128(_, 0)) => cast(A::Int16),
        ("int4", A::Int32 | A::Int64 | A::Decimal128(_, 0)) => cast(A::Int32),
        ("int8", A::Int32 | A::Int64 | A::Decimal128(_, 0)) => cast(A::Int64),
        // Checked: the row of a number that it does not hold exactly is refused.
        ("float4", A::Float32 | A::Int32 | A::Int64) => cast(A::Float32),
        ("float8", A::Float32 | A::Float64 | A::Int32 | A::Int64) => cast(A::Float64),
        ("float4", A::Float64) => Err(PRECISION.into()),
        ("numeric", A::Decimal128(_, digits)) if scale.is_none_or(|s| i32::from(*digits) <= s) => {
            cast(arrow.clone())
        }
        ("numeric", A::Decimal128(_, _)) => Err(ROUNDED.into()),
        ("numeric", A::Int32 | A::Int64) if scale.is_some_and(|s| s < 0) => Err(ROUNDED.into()),
        ("numeric", A::Int32 | A::Int64) => cast(A::Decimal128(19, 0)),
        ("text" | "varchar" | "bpchar" | "citext" | "name", A::Utf8) => {
            Ok(Wire { max_chars: column.modifier.length, ..Wire::cast(A::Utf8) })
        }
        ("text" | "varchar" | "bpchar" | "citext", _) if arrow.is_nested() => {
            Ok(Wire { max_chars: column.modifier.length, ..Wire::new(Form::Json) })
        }
        ("json", A::Utf8) => cast(A::Utf8),
        ("jsonb", A::Utf8) => Ok(Wire { jsonb: true, ..Wire::cast(A::Utf8) }),
        ("json", _) if arrow.is_nested() => Ok(Wire::new(Form::Json)),
        ("jsonb", _) if arrow.is_nested() => Ok(Wire { jsonb: true, ..Wire::new(Form::Json) }),
        ("bytea", A::Binary) => cast(A::Binary),
        // Checked: the row of a text that is none is refused.
        ("uuid", A::Utf8) => Ok(Wire::new(Form::Uuid)),
        ("date", A::Date32) => cast(A::Date32),
        ("time" | "timestamp" | "timestamptz" | "interval", _)
            if !is_text && scale.is_some_and(|digits| digits < fraction(arrow)) =>
        {
            Err(ROUNDED_TIME.into())
        }
        ("time", A::Time32(_) | A::Time64(TimeUnit::Microsecond)) => {
            cast(A::Time64(TimeUnit::Microsecond))
        }
        ("timestamp" | "timestamptz", A::Timestamp(TimeUnit::Nanosecond, _)) => {
            Err("PostgreSQL stores microseconds, not nanoseconds".into())
        }
        ("timestamptz", A::Timestamp(_, None)) => {
            Err("a local time is no instant without a time zone".into())
        }
        ("timestamp", A::Timestamp(_, Some(_))) if !named => {
            Err("an instant is no local time without a time zone".into())
        }
        ("timestamp" | "timestamptz", A::Timestamp(_, zone)) => {
            cast(A::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        ("interval", A::Interval(_)) => Ok(Wire::new(Form::Interval)),
        (_, A::List(item)) if !item.data_type().is_nested() => match &column.element {
            Some(element) => array(item.data_type(), element, named),
            None => Err(INCOMPATIBLE.into()),
        },
        (_, A::Utf8) => match unreadable(column) {
            Some(why) => Err(why.into()),
            None => Ok(Wire::input(Form::Cast(A::Utf8))),
        },
        _ => Err(INCOMPATIBLE.into()),
    }
    .map_err(|refused: Refused| Refused { remedy: remedy::of(arrow, column), ..refused })
}

pub(crate) const INCOMPATIBLE: &str = "the types are not compatible";

/// Arrays take what their elements take.
fn array(item: &DataType, element: &PgType, named: bool) -> Result<Wire, Refused> {
    let wire = Box::new(wire(item, element, named)?);
    Ok(match wire.input {
        true => {
            let delimiter = if element.name == "box" { ';' } else { ',' };
            Wire::input(Form::ArrayText(wire, delimiter))
        }
        false => Wire::new(Form::Array(wire, element.oid)),
    })
}

/// Why text is not sent to a column as it is: PostgreSQL would read it, but change the value without
/// an error. It rounds numbers and times, drops the zone of an instant and the time of a day.
fn unreadable(column: &PgType) -> Option<&'static str> {
    let rounds = column.modifier.scale.is_some();
    match column.name.as_str() {
        "float4" | "float8" => Some(PRECISION),
        "numeric" if rounds => Some(ROUNDED),
        "timetz" | "interval" if rounds => Some(ROUNDED_TIME),
        "date" | "time" => Some("PostgreSQL would drop a part of a text that is more than that"),
        "timestamp" => Some("PostgreSQL would drop the zone of a text that has one"),
        "timestamptz" => Some("PostgreSQL would guess the zone of a text that has none"),
        "oid" => Some("PostgreSQL would read a negative number as another one"),
        "money" => Some("PostgreSQL would round it, and read it as its locale says"),
        "char" => Some("PostgreSQL would cut off all but one byte"),
        _ => column.element.as_deref().and_then(unreadable),
    }
}

/// Digits after the point that the seconds of a time have.
fn fraction(arrow: &DataType) -> i32 {
    match arrow {
        DataType::Time32(_) | DataType::Timestamp(TimeUnit::Millisecond, _) => 3,
        _ => 6,
    }
}

#[cfg(test)]
mod tests;
