//! Names of Avro types, for messages to people who write Avro schemas.

use arrow_schema::{DataType, Field, TimeUnit};

/// Key in the metadata of a column whose Arrow type does not tell the logical type of its field.
const LOGICAL_TYPE: &str = "logicalType";
const UUID: &str = "uuid";

/// A column of texts that are UUIDs.
pub fn with_uuids(column: Field) -> Field {
    column.with_metadata([(LOGICAL_TYPE.into(), UUID.into())].into())
}

/// Whether the texts of a column are UUIDs, as [`with_uuids`] says.
pub fn is_uuid(column: &Field) -> bool {
    column.metadata().get(LOGICAL_TYPE).is_some_and(|name| name == UUID)
}

/// The Avro name of a column's type. Logical types are named as in a schema (`timestamp-micros`),
/// decimals with precision and scale (`decimal(10,2)`). Types that Avro does not have keep their
/// Arrow name.
pub fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "null".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int".into(),
        DataType::Int64 => "long".into(),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            "unsigned integer".into()
        }
        DataType::Float16 | DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytes".into(),
        DataType::FixedSizeBinary(size) => format!("fixed({size})"),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => format!("decimal({p},{s})"),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("time-{}", unit_name(*unit)),
        DataType::Timestamp(unit, Some(_)) => format!("timestamp-{}", unit_name(*unit)),
        DataType::Timestamp(unit, None) => format!("local-timestamp-{}", unit_name(*unit)),
        DataType::Duration(_) | DataType::Interval(_) => "interval".into(),
        DataType::Dictionary(_, _) => "enum".into(),
        DataType::List(item) | DataType::LargeList(item) => {
            format!("array of {}", type_name(item.data_type()))
        }
        DataType::Map(_, _) => "map".into(),
        DataType::Struct(_) => "record".into(),
        DataType::Union(_, _) => "union".into(),
        other => other.to_string(),
    }
}

fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "seconds",
        TimeUnit::Millisecond => "millis",
        TimeUnit::Microsecond => "micros",
        TimeUnit::Nanosecond => "nanos",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_named_as_in_a_schema() {
        let utc = || Some("+00:00".into());
        for (data_type, name) in [
            (DataType::Int32, "int"),
            (DataType::Utf8, "string"),
            (DataType::Binary, "bytes"),
            (DataType::Decimal128(10, 2), "decimal(10,2)"),
            (DataType::Time32(TimeUnit::Millisecond), "time-millis"),
            (DataType::Timestamp(TimeUnit::Microsecond, utc()), "timestamp-micros"),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), "local-timestamp-nanos"),
            (DataType::new_list(DataType::Int64, true), "array of long"),
        ] {
            assert_eq!(type_name(&data_type), name);
        }
    }
}
