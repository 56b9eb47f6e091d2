//! The columns of Parquet files, which name their types.

use super::{Guess, GuessedField, field_name, member, member_name, record};
use crate::source::Error;
use crate::source::file::parquet::meaning;
use crate::source::file::{short, unavailable};
use arrow::datatypes::{DataType, Field, TimeUnit};
use serde_json::{Value, json};
use std::fs::File;
use std::path::Path;
use weir_model::avro::{is_uuid, type_name};

/// Parts of columns that no field can hold, and why.
type LeftOut = Vec<(String, String)>;

pub(super) fn guess(path: &Path) -> Result<Guess, Error> {
    let name = short(path);
    let file = File::open(path).map_err(|e| unavailable(path, &e))?;
    let columns = meaning::types(file)
        .map_err(|e| Error::Unfit(format!("{name} cannot be read as Parquet: {e}")))?;
    let (mut fields, mut left_out) = (Vec::new(), Vec::new());
    for column in &columns {
        match avro_type(column, column.name(), &mut left_out) {
            Ok((avro_type, why)) => fields.push(GuessedField {
                name: field_name(column.name(), &fields),
                column: column.name().clone(),
                avro_type,
                nullable: column.is_nullable(),
                why,
            }),
            Err(why) => left_out.push((column.name().clone(), why)),
        }
    }
    Ok(Guess { format: "parquet", settings: Vec::new(), fields, left_out, sampled: None })
}

/// The type of the column's values, and why.
fn avro_type(
    column: &Field,
    path: &str,
    left_out: &mut LeftOut,
) -> Result<(Value, String), String> {
    let mut inner = |field: &Field| {
        let (avro_type, why) = avro_type(field, path, left_out)?;
        let avro_type = if field.is_nullable() { json!(["null", avro_type]) } else { avro_type };
        Ok::<_, String>((avro_type, why))
    };
    Ok(match column.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let (items, why) = inner(item)?;
            (json!({"type": "array", "items": items}), why)
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if is_text(fields[0].data_type()) => {
                let (values, why) = inner(&fields[1])?;
                (json!({"type": "map", "values": values}), why)
            }
            _ => return Err("a map whose keys are no texts".into()),
        },
        DataType::Struct(members) => {
            let mut fields = Vec::new();
            for of in members {
                let path = format!("{path}.{}", of.name());
                let found = member_name(of.name(), &fields)
                    .and_then(|name| Ok((name, avro_type(of, &path, left_out)?)));
                match found {
                    Ok((name, (avro_type, _))) => {
                        fields.push(member(&name, avro_type, of.is_nullable()));
                    }
                    Err(why) => left_out.push((path, why)),
                }
            }
            if fields.is_empty() {
                return Err("no member of it can be a field".into());
            }
            (record(path, fields), String::new())
        }
        DataType::FixedSizeBinary(16) if is_uuid(column) => {
            (json!({"type": "string", "logicalType": "uuid"}), String::new())
        }
        plain => plain_type(plain)?,
    })
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The type of plain values, and what it does not hold.
fn plain_type(data_type: &DataType) -> Result<(Value, String), String> {
    let timestamp = |unit: &str, zone: bool| {
        let local = if zone { "" } else { "local-" };
        json!({"type": "long", "logicalType": format!("{local}timestamp-{unit}")})
    };
    let decimal = |precision: u8, scale: i8| {
        let (of, logical) = ("bytes", "decimal");
        json!({"type": of, "logicalType": logical, "precision": precision, "scale": scale})
    };
    let no_nanos = "in nanoseconds; one that is not whole microseconds becomes a dead letter";
    let avro_type = match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => json!("int"),
        DataType::UInt8 | DataType::UInt16 => json!("int"),
        DataType::Int64 | DataType::UInt32 => json!("long"),
        DataType::UInt64 => decimal(20, 0),
        DataType::Float16 | DataType::Float32 => json!("float"),
        DataType::Float64 => json!("double"),
        text if is_text(text) => json!("string"),
        DataType::Dictionary(_, values) => return plain_type(values),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => json!("bytes"),
        DataType::Date32 | DataType::Date64 => json!({"type": "int", "logicalType": "date"}),
        DataType::Time32(TimeUnit::Second | TimeUnit::Millisecond) => {
            json!({"type": "int", "logicalType": "time-millis"})
        }
        DataType::Time64(unit) => {
            let why = if *unit == TimeUnit::Nanosecond { no_nanos } else { "" };
            return Ok((json!({"type": "long", "logicalType": "time-micros"}), why.into()));
        }
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            timestamp("millis", zone.is_some())
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => timestamp("micros", zone.is_some()),
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            return Ok((timestamp("micros", zone.is_some()), no_nanos.into()));
        }
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            decimal(*precision, *scale)
        }
        DataType::Decimal256(precision, scale) if (0..=38).contains(scale) => {
            let why = match *precision > 38 {
                true => "a number of more than 38 digits becomes a dead letter",
                false => "",
            };
            return Ok((decimal(38.min(*precision), *scale), why.into()));
        }
        other => return Err(format!("{} has no Avro type", type_name(other))),
    };
    Ok((avro_type, String::new()))
}
