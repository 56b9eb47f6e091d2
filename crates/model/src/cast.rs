//! Which values may become values of a field, in one table: for every source, whatever its format,
//! and for the results of SQL. Nothing is rounded, wrapped, truncated or guessed, and no zone is
//! dropped, unless the pipeline asks for it.

mod reference;

use arrow_schema::{DataType, TimeUnit};

pub use reference::{EXAMPLES, Example, reference};

/// How values of one type become values of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// The types are the same.
    Same,
    /// Every value of the one is a value of the other.
    Exact,
    /// Some values are; any other value is the fault of its record.
    Checked,
    /// As [`Cast::Checked`], but through text, or between kinds of numbers. A file has no way to
    /// ask for it, so a source does it; SQL has `CAST`, so there it must be written.
    Explicit,
    /// None are, or it would have to be guessed which one is meant.
    Refused,
}

/// What matters of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    Boolean,
    /// Bits beside the sign, and whether there is a sign.
    Integer(u8, bool),
    /// Bits of the significand.
    Float(u8),
    Decimal,
    Text,
    Bytes,
    Date,
    Time(u8),
    /// Decimals of a second, and whether it is an instant.
    Timestamp(u8, bool),
    /// Nested values, intervals and durations.
    Other,
}

/// How values of `from` become values of `to`. A local time is taken as UTC where an instant is
/// expected; an instant never loses its zone.
pub fn cast(from: &DataType, to: &DataType) -> Cast {
    use Kind::{Boolean, Bytes, Date, Decimal, Float, Integer, Null, Other, Text, Time, Timestamp};
    if from == to {
        return Cast::Same;
    }
    let exact_if = |exact: bool| if exact { Cast::Exact } else { Cast::Checked };
    match (kind(from), kind(to)) {
        (_, Other) if from.equals_datatype(to) => Cast::Exact,
        (Other, _) | (_, Other) => Cast::Refused,
        (Null, _) => Cast::Exact,
        (_, Null) => Cast::Refused,
        (Integer(from, signed), Integer(to, to_signed)) => {
            exact_if(from <= to && (to_signed || !signed))
        }
        (Integer(from, _), Float(to)) => exact_if(from <= to),
        (Integer(..), Decimal) | (Decimal, Decimal) => Cast::Checked,
        (Float(from), Float(to)) if from <= to => Cast::Exact,
        (Float(_) | Decimal, Integer(..)) => Cast::Explicit,
        (Text, Text) | (Bytes, Bytes) => Cast::Exact,
        // Texts are parsed; bytes are a text when they are UTF-8.
        (Text, _) | (Bytes, Text) => Cast::Explicit,
        (Boolean | Integer(..) | Float(_) | Decimal, Text) => Cast::Explicit,
        (Date | Time(_) | Timestamp(..), Text) => Cast::Explicit,
        (Date, Date | Timestamp(..)) => Cast::Checked,
        (Time(from), Time(to)) => exact_if(from <= to),
        (Timestamp(from, false), Timestamp(to, _)) => exact_if(from == to),
        (Timestamp(from, true), Timestamp(to, true)) => exact_if(from == to),
        _ => Cast::Refused,
    }
}

fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Null => Kind::Null,
        DataType::Boolean => Kind::Boolean,
        DataType::Int8 => Kind::Integer(7, true),
        DataType::Int16 => Kind::Integer(15, true),
        DataType::Int32 => Kind::Integer(31, true),
        DataType::Int64 => Kind::Integer(63, true),
        DataType::UInt8 => Kind::Integer(8, false),
        DataType::UInt16 => Kind::Integer(16, false),
        DataType::UInt32 => Kind::Integer(32, false),
        DataType::UInt64 => Kind::Integer(64, false),
        DataType::Float16 => Kind::Float(11),
        DataType::Float32 => Kind::Float(24),
        DataType::Float64 => Kind::Float(53),
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Kind::Decimal,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Kind::Bytes,
        DataType::Date32 | DataType::Date64 => Kind::Date,
        DataType::Time32(unit) | DataType::Time64(unit) => Kind::Time(decimals(*unit)),
        DataType::Timestamp(unit, zone) => Kind::Timestamp(decimals(*unit), zone.is_some()),
        DataType::Dictionary(_, values) => kind(values),
        _ => Kind::Other,
    }
}

/// Decimals of a second.
fn decimals(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The types of an Avro field.
    fn targets() -> [DataType; 12] {
        [
            DataType::Boolean,
            DataType::Int32,
            DataType::Int64,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(10, 2),
            DataType::Utf8,
            DataType::Binary,
            DataType::Date32,
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ]
    }

    #[test]
    fn the_table_is_strict_pair_by_pair() {
        let zoned = |unit| DataType::Timestamp(unit, Some("Europe/Berlin".into()));
        let list = DataType::new_list(DataType::Int32, true);
        let words = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        // = same, e exact, c checked, x explicit, . refused; in the order of `targets`.
        let table = [
            (DataType::Null, "eeeeeeeeeeee"),
            (DataType::Boolean, "=.....x....."),
            (DataType::Int8, ".eeeecx....."),
            (DataType::Int32, ".=ececx....."),
            (DataType::Int64, ".c=cccx....."),
            (DataType::UInt32, ".cececx....."),
            (DataType::UInt64, ".cccccx....."),
            (DataType::Float32, ".xx=e.x....."),
            (DataType::Float64, ".xx.=.x....."),
            (DataType::Decimal128(10, 2), ".xx..=x....."),
            (DataType::Decimal256(40, 2), ".xx..cx....."),
            (DataType::Utf8, "xxxxxx=xxxxx"),
            (DataType::LargeUtf8, "xxxxxxexxxxx"),
            (words, "xxxxxxexxxxx"),
            (DataType::Binary, "......x=...."),
            (DataType::FixedSizeBinary(16), "......xe...."),
            (DataType::Date32, "......x.=.cc"),
            (DataType::Date64, "......x.c.cc"),
            (DataType::Time32(TimeUnit::Millisecond), "......x..e.."),
            (DataType::Time64(TimeUnit::Nanosecond), "......x..c.."),
            (zoned(TimeUnit::Microsecond), "......x...e."),
            (zoned(TimeUnit::Nanosecond), "......x...c."),
            (DataType::Timestamp(TimeUnit::Microsecond, None), "......x...e="),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), "......x...cc"),
            (DataType::Duration(TimeUnit::Second), "............"),
            (list, "............"),
        ];
        for (from, expected) in table {
            let actual: String = targets()
                .iter()
                .map(|to| match cast(&from, to) {
                    Cast::Same => '=',
                    Cast::Exact => 'e',
                    Cast::Checked => 'c',
                    Cast::Explicit => 'x',
                    Cast::Refused => '.',
                })
                .collect();
            assert_eq!(actual, expected, "{from}");
        }
    }
}
