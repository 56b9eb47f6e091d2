//! Columns in the form that Parquet has: its own types, apart from two. A `uuid` becomes its 16 bytes
//! with the logical type UUID; a `duration` becomes its ISO 8601 text, because Parquet's INTERVAL is
//! read by hardly any program.

use crate::{json, uuid};
use arrow::array::*;
use arrow::compute::kernels::cast::cast;
use arrow::datatypes::*;
use arrow::error::ArrowError;
use std::collections::HashMap;
use std::sync::Arc;
use weir_model::avro;

/// The column of a Parquet file.
pub(crate) fn stored(column: &Field) -> Field {
    if avro::is_uuid(column) {
        let uuid = ("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned());
        return Field::new(column.name(), DataType::FixedSizeBinary(16), column.is_nullable())
            .with_metadata(HashMap::from([uuid]));
    }
    Field::new(column.name(), stored_type(column.data_type()), column.is_nullable())
}

fn stored_type(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| Arc::new(stored(field));
    match data_type {
        DataType::Interval(_) => DataType::Utf8,
        DataType::List(item) => DataType::List(inner(item)),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// Whether Parquet holds every value of the type; why not.
pub(crate) fn refusal(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::List(item) => refusal(item.data_type()),
        DataType::Map(entries, _) => refusal(entries.data_type()),
        DataType::Struct(fields) if fields.is_empty() => {
            Some("Parquet has no record without fields")
        }
        DataType::Struct(fields) => fields.iter().find_map(|field| refusal(field.data_type())),
        DataType::Null => Some("Parquet has no column of nulls only"),
        other if json::has_form(other) => None,
        _ => Some("Parquet has no such type"),
    }
}

/// The values in the type that [`stored`] says. The rows of texts that are no UUIDs are added to
/// `unfit`, with the text.
pub(crate) fn convert(
    array: &ArrayRef,
    to: &Field,
    unfit: &mut Vec<(usize, String)>,
) -> Result<ArrayRef, ArrowError> {
    let DataType::FixedSizeBinary(_) = to.data_type() else { return nested(array, to.data_type()) };
    let uuids = uuid::parse_all(array)?;
    if uuids.null_count() > array.null_count() {
        let rows = (0..array.len()).filter(|row| uuids.is_null(*row) && array.is_valid(*row));
        let texts = array.as_string::<i32>();
        unfit.extend(rows.map(|row| (row, format!("`{}` is not a UUID", texts.value(row)))));
    }
    Ok(uuids)
}

fn nested(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    let nulls = array.nulls().cloned();
    Ok(match to {
        DataType::Utf8 if matches!(array.data_type(), DataType::Interval(_)) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>().iter();
            Arc::new(intervals.map(|value| value.map(json::duration)).collect::<StringArray>())
        }
        DataType::List(item) => {
            let list = array.as_list::<i32>();
            let values = nested(list.values(), item.data_type())?;
            Arc::new(ListArray::try_new(item.clone(), list.offsets().clone(), values, nulls)?)
        }
        DataType::Map(entries, sorted) => {
            let map = array.as_map();
            let all: ArrayRef = Arc::new(map.entries().clone());
            let all = nested(&all, entries.data_type())?.as_struct().clone();
            let offsets = map.offsets().clone();
            Arc::new(MapArray::try_new(entries.clone(), offsets, all, nulls, *sorted)?)
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter().zip(fields);
            let columns = columns.map(|(column, field)| nested(column, field.data_type()));
            let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, array.len())?)
        }
        // Names and metadata of fields inside may differ.
        other => cast(array, other)?,
    })
}
