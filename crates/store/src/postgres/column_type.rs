//! Which Arrow type fits which PostgreSQL column, and in which binary form. Only lossless
//! conversions are allowed; all others belong in the pipeline's SQL, where they are explicit.

use arrow::datatypes::{DataType, TimeUnit};

/// The type of a column, from the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PgType {
    /// As in SQL: `character varying(50)`.
    pub(crate) shown: String,
    /// `typname` of the type, or of the base type of a domain: `varchar`, `int4`, `_text`.
    pub(crate) name: String,
    /// A user-defined enum, whose values are its labels.
    pub(crate) is_enum: bool,
    /// What is in parentheses after the type's name.
    pub(crate) modifier: Modifier,
}

/// The modifier of a type, which limits its values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Modifier {
    /// Digits after the point: of a number in `numeric(p,s)`, of the seconds in `timestamp(p)` and
    /// `time(p)`.
    pub(crate) scale: Option<i32>,
    /// Characters in `varchar(n)` and `char(n)`.
    pub(crate) length: Option<usize>,
}

/// The form in which the values of a column are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wire {
    /// The Arrow type that has the column's binary format.
    pub(crate) arrow: DataType,
    /// `jsonb` puts a version byte before its text.
    pub(crate) jsonb: bool,
    /// The number of characters that the column holds at most.
    pub(crate) max_chars: Option<usize>,
}

impl Wire {
    pub(crate) fn plain(arrow: DataType) -> Wire {
        Wire { arrow, jsonb: false, max_chars: None }
    }
}

/// The PostgreSQL type that a column has when weir creates it; `None` when no type is lossless.
pub(crate) fn natural(arrow: &DataType) -> Option<String> {
    Some(match arrow {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
            "text".into()
        }
        DataType::FixedSizeBinary(16) => "uuid".into(),
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time32(_) | DataType::Time64(TimeUnit::Microsecond) => "time".into(),
        DataType::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, zone) => {
            if zone.is_some() { "timestamptz".into() } else { "timestamp".into() }
        }
        DataType::List(item) => format!("{}[]", element(item.data_type())?),
        _ => return None,
    })
}

/// Element types of arrays: those whose type id, which the binary format contains, is fixed.
fn element(arrow: &DataType) -> Option<&'static str> {
    Some(match arrow {
        DataType::Boolean => "boolean",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 => "text",
        DataType::Binary => "bytea",
        DataType::Date32 => "date",
        DataType::Timestamp(TimeUnit::Microsecond, _) => "timestamp",
        _ => return None,
    })
}

/// How values of type `arrow` are sent to a column of type `column`.
///
/// # Errors
/// The reason why they cannot be.
pub(crate) fn wire(arrow: &DataType, column: &PgType) -> Result<Wire, &'static str> {
    use DataType as A;
    let plain = |arrow: DataType| Ok(Wire::plain(arrow));
    let scale = column.modifier.scale;
    let text = matches!(arrow, A::Utf8 | A::LargeUtf8 | A::Utf8View)
        || matches!(arrow, A::Dictionary(_, value) if matches!(**value, A::Utf8 | A::LargeUtf8));
    if column.is_enum {
        return if text { plain(A::Utf8) } else { Err("an enum accepts text only") };
    }
    match (column.name.as_str(), arrow) {
        ("bool", A::Boolean) => plain(A::Boolean),
        ("int2", A::Int8 | A::Int16) => plain(A::Int16),
        ("int4", A::Int8 | A::Int16 | A::Int32) => plain(A::Int32),
        ("int8", A::Int8 | A::Int16 | A::Int32 | A::Int64) => plain(A::Int64),
        ("float4", A::Float32) => plain(A::Float32),
        ("float8", A::Float32 | A::Float64 | A::Int32) => plain(A::Float64),
        ("numeric", A::Decimal128(_, digits)) if scale.is_none_or(|s| i32::from(*digits) <= s) => {
            plain(arrow.clone())
        }
        ("numeric", A::Decimal128(_, _)) => Err("PostgreSQL would round it to the column's scale"),
        ("numeric", _) if scale.is_some_and(|s| s < 0) => {
            Err("PostgreSQL would round it to the column's scale")
        }
        ("numeric", A::Int8 | A::Int16 | A::Int32 | A::Int64) => plain(A::Decimal128(19, 0)),
        ("text" | "varchar" | "bpchar" | "citext" | "name", _) if text => {
            Ok(Wire { max_chars: column.modifier.length, ..Wire::plain(A::Utf8) })
        }
        ("json", _) if text => plain(A::Utf8),
        ("jsonb", _) if text => Ok(Wire { jsonb: true, ..Wire::plain(A::Utf8) }),
        ("bytea", A::Binary | A::LargeBinary | A::FixedSizeBinary(_)) => plain(arrow.clone()),
        ("uuid", A::FixedSizeBinary(16)) => plain(arrow.clone()),
        // Checked: the row of a text that is none is refused.
        ("uuid", _) if text => plain(A::FixedSizeBinary(16)),
        ("date", A::Date32) => plain(A::Date32),
        ("time" | "timestamp" | "timestamptz" | "_timestamp", _)
            if scale.is_some_and(|digits| digits < fraction(arrow)) =>
        {
            Err("PostgreSQL would round it to the column's precision")
        }
        ("time", A::Time32(_) | A::Time64(TimeUnit::Microsecond)) => {
            plain(A::Time64(TimeUnit::Microsecond))
        }
        ("timestamptz", A::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, None)) => {
            Err("a local time is no instant without a time zone")
        }
        (
            "timestamp" | "timestamptz",
            A::Timestamp(TimeUnit::Millisecond | TimeUnit::Microsecond, zone),
        ) => plain(A::Timestamp(TimeUnit::Microsecond, zone.clone())),
        ("timestamp" | "timestamptz", A::Timestamp(TimeUnit::Nanosecond, _)) => {
            Err("PostgreSQL stores microseconds, not nanoseconds")
        }
        // Checked: the row of a value that is out of range is refused.
        ("int2", A::Int32 | A::Int64) => plain(A::Int16),
        ("int4", A::Int64) => plain(A::Int32),
        ("float4", A::Float64) | ("float4" | "float8", A::Int32 | A::Int64) => {
            Err("precision would be lost")
        }
        (array, A::List(item)) if Some(array) == element(item.data_type()).and_then(array_name) => {
            plain(arrow.clone())
        }
        _ => Err("the types are not compatible"),
    }
}

/// Digits after the point that the seconds of a time have.
fn fraction(arrow: &DataType) -> i32 {
    match arrow {
        DataType::Time32(TimeUnit::Second) | DataType::Timestamp(TimeUnit::Second, _) => 0,
        DataType::Time32(_) | DataType::Timestamp(TimeUnit::Millisecond, _) => 3,
        DataType::List(item) => fraction(item.data_type()),
        _ => 6,
    }
}

fn array_name(element: &str) -> Option<&'static str> {
    Some(match element {
        "boolean" => "_bool",
        "integer" => "_int4",
        "bigint" => "_int8",
        "real" => "_float4",
        "double precision" => "_float8",
        "text" => "_text",
        "bytea" => "_bytea",
        "date" => "_date",
        "timestamp" => "_timestamp",
        _ => return None,
    })
}

/// The type as it is called in Avro schemas.
pub(crate) fn shown(arrow: &DataType) -> String {
    match arrow {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int".into(),
        DataType::Int64 => "long".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Dictionary(_, _) => "enum".into(),
        DataType::FixedSizeBinary(16) => "fixed(16) or uuid".into(),
        DataType::FixedSizeBinary(size) => format!("fixed({size})"),
        DataType::Binary | DataType::LargeBinary => "bytes".into(),
        DataType::Date32 => "date".into(),
        DataType::Time32(_) => "time-millis".into(),
        DataType::Time64(_) => "time-micros".into(),
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                TimeUnit::Second => "seconds",
                TimeUnit::Millisecond => "millis",
                TimeUnit::Microsecond => "micros",
                TimeUnit::Nanosecond => "nanos",
            };
            format!("{}timestamp-{unit}", if zone.is_some() { "" } else { "local-" })
        }
        DataType::List(item) => format!("array of {}", shown(item.data_type())),
        DataType::Struct(_) => "record".into(),
        DataType::Map(_, _) => "map".into(),
        DataType::Union(_, _) => "union".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use std::sync::Arc;

    fn column(name: &str) -> PgType {
        PgType {
            shown: name.into(),
            name: name.into(),
            is_enum: false,
            modifier: Modifier::default(),
        }
    }

    fn with_scale(name: &str, scale: i32) -> PgType {
        let modifier = Modifier { scale: Some(scale), length: None };
        PgType { modifier, ..column(name) }
    }

    #[test]
    fn nothing_is_rounded() {
        assert!(wire(&DataType::Float64, &column("float4")).is_err());
        assert!(wire(&DataType::Int64, &column("float8")).is_err());
        assert!(wire(&DataType::Decimal128(12, 4), &with_scale("numeric", 2)).is_err());
        assert!(wire(&DataType::Int32, &with_scale("numeric", -2)).is_err());
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        assert!(wire(&nanos, &column("timestamp")).is_err());
    }

    #[test]
    fn a_time_enters_a_column_that_has_its_digits() {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        let utc = |unit| DataType::Timestamp(unit, Some("+00:00".into()));
        for (name, arrow, digits) in [
            ("time", DataType::Time32(TimeUnit::Millisecond), 3),
            ("time", DataType::Time64(TimeUnit::Microsecond), 6),
            ("timestamp", utc(TimeUnit::Millisecond), 3),
            ("timestamp", utc(TimeUnit::Microsecond), 6),
            ("timestamptz", utc(TimeUnit::Millisecond), 3),
            ("timestamptz", utc(TimeUnit::Microsecond), 6),
            ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None), 6),
            ("_timestamp", list(utc(TimeUnit::Microsecond)), 6),
        ] {
            assert!(wire(&arrow, &column(name)).is_ok(), "{arrow} into {name}");
            for scale in 0..=6 {
                let fits = wire(&arrow, &with_scale(name, scale)).is_ok();
                assert_eq!(fits, scale >= digits, "{arrow} into {name}({scale})");
            }
        }
    }

    #[test]
    fn integers_widen_to_the_columns_type() {
        assert_eq!(wire(&DataType::Int32, &column("int8")), Ok(Wire::plain(DataType::Int64)));
        assert_eq!(
            wire(&DataType::Int64, &column("numeric")),
            Ok(Wire::plain(DataType::Decimal128(19, 0)))
        );
    }

    #[test]
    fn a_utc_timestamp_enters_both_kinds_of_column() {
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        assert!(wire(&utc, &column("timestamp")).is_ok());
        assert!(wire(&utc, &column("timestamptz")).is_ok());
        assert_eq!(natural(&utc).as_deref(), Some("timestamptz"));
    }

    #[test]
    fn every_natural_type_takes_what_it_was_made_for() {
        let utc = |unit| DataType::Timestamp(unit, Some("+00:00".into()));
        let list = |item| {
            DataType::List(std::sync::Arc::new(arrow::datatypes::Field::new("item", item, true)))
        };
        for (arrow, name) in [
            (DataType::Boolean, "bool"),
            (DataType::Int32, "int4"),
            (DataType::Int64, "int8"),
            (DataType::Float32, "float4"),
            (DataType::Float64, "float8"),
            (DataType::Decimal128(10, 2), "numeric"),
            (DataType::Utf8, "text"),
            (DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), "text"),
            (DataType::Binary, "bytea"),
            (DataType::FixedSizeBinary(4), "bytea"),
            (DataType::FixedSizeBinary(16), "uuid"),
            (DataType::Date32, "date"),
            (DataType::Time32(TimeUnit::Millisecond), "time"),
            (DataType::Time64(TimeUnit::Microsecond), "time"),
            (utc(TimeUnit::Millisecond), "timestamptz"),
            (utc(TimeUnit::Microsecond), "timestamptz"),
            (DataType::Timestamp(TimeUnit::Microsecond, None), "timestamp"),
            (list(DataType::Utf8), "_text"),
            (list(DataType::Int64), "_int8"),
        ] {
            assert!(natural(&arrow).is_some(), "{arrow}");
            assert!(wire(&arrow, &column(name)).is_ok(), "{arrow} into {name}");
        }
    }
}
