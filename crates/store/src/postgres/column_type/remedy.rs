//! What can be done when values cannot enter a column.

use crate::postgres::pg_type::PgType;
use arrow::datatypes::{DataType, TimeUnit};
use weir_model::avro::type_name;
use weir_model::cast::{Cast, cast};

/// A change of the transform, or of the output schema alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// In SQL, with the field's type after it.
    Sql {
        /// `CAST(… AS DATE)`; the column's name stands between the two parts.
        expression: (&'static str, String),
        to: String,
    },
    /// Another type of the field; each value is checked.
    Field(String),
}

impl Remedy {
    /// The hint for the field `name`.
    pub(crate) fn hint(&self, name: &str) -> String {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let column = match name.chars().all(is_plain) {
            true => name.to_owned(),
            false => format!("\"{name}\""),
        };
        match self {
            Remedy::Sql { expression: (before, after), to } => format!(
                "`{before}{column}{after} AS {column}` in transform.sql and type {to} in the \
                 output schema"
            ),
            Remedy::Field(to) => format!("type {to} in the output schema"),
        }
    }
}

/// The remedy for values of `arrow` in a column of type `column`, if there is one in SQL.
pub(super) fn of(arrow: &DataType, column: &PgType) -> Option<Remedy> {
    use DataType as A;
    let micros = |zone| A::Timestamp(TimeUnit::Microsecond, zone);
    let utc = || Some("+00:00".into());
    let digits = column.modifier.scale;
    let zone = |to| {
        let expression = ("", " AT TIME ZONE 'Europe/Berlin'".to_owned());
        Some(Remedy::Sql { expression, to: type_name(&to) })
    };
    let (sql, to) = match (column.name.as_str(), arrow) {
        ("timestamptz", A::Timestamp(_, None)) if digits.is_none() => return zone(micros(utc())),
        ("timestamp", A::Timestamp(_, Some(_))) if digits.is_none() => return zone(micros(None)),
        ("timestamp" | "timestamptz", A::Timestamp(TimeUnit::Nanosecond, zone)) => {
            return Some(Remedy::Field(type_name(&micros(zone.clone()))));
        }
        ("time" | "timestamp" | "timestamptz", _) if digits.is_some_and(|digits| digits < 3) => {
            return None;
        }
        ("time", A::Time64(_)) => {
            return Some(Remedy::Field(type_name(&A::Time32(TimeUnit::Millisecond))));
        }
        ("timestamp" | "timestamptz", A::Timestamp(TimeUnit::Microsecond, zone)) => {
            let millis = A::Timestamp(TimeUnit::Millisecond, zone.clone());
            return Some(Remedy::Field(type_name(&millis)));
        }
        ("bool", _) => ("BOOLEAN".into(), A::Boolean),
        ("int2" | "int4", _) => ("INT".into(), A::Int32),
        ("int8", _) => ("BIGINT".into(), A::Int64),
        ("float4", _) => ("FLOAT".into(), A::Float32),
        ("float8", _) => ("DOUBLE".into(), A::Float64),
        ("numeric", _) => {
            let precision = column.modifier.precision.unwrap_or(38).clamp(1, 38);
            let scale = digits.unwrap_or(9).clamp(0, precision);
            (format!("DECIMAL({precision}, {scale})"), A::Decimal128(precision as u8, scale as i8))
        }
        ("date", _) => ("DATE".into(), A::Date32),
        ("time", _) => ("TIME".into(), A::Time64(TimeUnit::Microsecond)),
        ("timestamp", _) => ("TIMESTAMP".into(), micros(None)),
        ("timestamptz", _) => ("TIMESTAMP".into(), micros(utc())),
        ("text" | "varchar" | "bpchar" | "citext" | "uuid" | "json" | "jsonb", _) => {
            ("VARCHAR".into(), A::Utf8)
        }
        _ => return None,
    };
    can_cast(arrow, &to)
        .then(|| Remedy::Sql { expression: ("CAST(", format!(" AS {sql})")), to: type_name(&to) })
}

/// Whether SQL has a CAST between the types, although it may change values.
fn can_cast(from: &DataType, to: &DataType) -> bool {
    use DataType as A;
    let is_number = |t: &A| t.is_integer() || t.is_floating() || matches!(t, A::Decimal128(..));
    match (from, to) {
        (A::Boolean, _) => *to == A::Utf8 || to.is_integer(),
        (_, A::Boolean) => from.is_integer() || *from == A::Utf8,
        (A::Timestamp(..), A::Date32 | A::Time64(_)) => true,
        _ => (is_number(from) && is_number(to)) || cast(from, to) != Cast::Refused,
    }
}
