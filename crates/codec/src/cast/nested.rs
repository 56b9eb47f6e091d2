//! Arrays, maps and records: their parts are cast, and a part that is lost is the fault of its row.

use super::mismatch::{entry, find_member, item};
use super::values::is_text;
use super::{Lost, absent_column, plain_column};
use crate::avro_type::{AvroType, Field};
use crate::cell::Cell;
use crate::column::ColumnBuilder;
use crate::columns::quoted;
use crate::field_type::FieldType;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, new_null_array};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::cast as library_cast;
use arrow::datatypes::{DataType, Field as ArrowField};
use arrow::error::ArrowError;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_model::fault::{VALUE_DOES_NOT_FIT, VALUE_MISSING};

/// Values, and the rows that are lost, in no order, perhaps with several parts of one row.
pub(super) struct Parts {
    pub(super) values: ArrayRef,
    pub(super) lost: Vec<(usize, Lost)>,
}

/// Whether there are parts to cast.
pub(super) fn is_nested(from: &ArrowField, to: &FieldType) -> bool {
    from.data_type().is_nested() || to.arrow().is_nested()
}

/// The values of a column of which [`super::mismatch()`] has nothing to say.
///
/// # Errors
/// The arrays cannot be made, which is a bug.
pub(super) fn convert(
    array: &ArrayRef,
    from: &ArrowField,
    to: &FieldType,
) -> Result<Parts, ArrowError> {
    match (array.data_type(), to.avro_type()) {
        (DataType::Null, _) => Ok(nulls(array, to)),
        (of, AvroType::Array(_) | AvroType::Map(_) | AvroType::Record(_)) if is_text(of) => {
            texts(array, to)
        }
        (_, AvroType::Array(items)) => list(array, items, to),
        (_, AvroType::Map(values)) => map(array, values, to),
        (DataType::Struct(_), AvroType::Record(record)) => members(array, &record.fields, to),
        _ => Ok(plain(array, from, to)),
    }
}

fn nulls(array: &ArrayRef, to: &FieldType) -> Parts {
    Parts { values: new_null_array(to.arrow(), array.len()), lost: Vec::new() }
}

/// A part that must not be null where the type around it allows none.
fn inner(array: &ArrayRef, from: &ArrowField, avro_type: &AvroType) -> Result<Parts, ArrowError> {
    let mut parts = convert(array, from, &FieldType::of_type(avro_type))?;
    if !avro_type.is_nullable() {
        let nulls = array.logical_nulls();
        let is_null = |row: &usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(*row));
        let missing = (0..array.len()).filter(is_null).map(|row| {
            let what = "it is null, which its type does not allow".to_owned();
            (row, Lost { reason: VALUE_MISSING, path: String::new(), what })
        });
        parts.lost.extend(missing);
    }
    Ok(parts)
}

fn plain(array: &ArrayRef, from: &ArrowField, to: &FieldType) -> Parts {
    let values = plain_column(array, from, to);
    if values.null_count() == array.logical_null_count() {
        return Parts { values, lost: Vec::new() };
    }
    let before = array.logical_nulls();
    let was_null = |row: usize| before.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let lost = (0..array.len()).filter(|row| values.is_null(*row) && !was_null(*row));
    let what = |row: usize| format!("`{}` does not fit {to}", quoted(array, row));
    let lost = lost.map(|row| (row, does_not_fit(what(row)))).collect();
    Parts { values, lost }
}

fn does_not_fit(what: String) -> Lost {
    Lost { reason: VALUE_DOES_NOT_FIT, path: String::new(), what }
}

/// Texts that are JSON.
fn texts(array: &ArrayRef, to: &FieldType) -> Result<Parts, ArrowError> {
    let array = library_cast(array, &DataType::Utf8)?;
    let (mut column, mut lost) = (ColumnBuilder::new(to.arrow()), Vec::new());
    for (row, text) in array.as_string::<i32>().iter().enumerate() {
        let cell = text.map_or(Ok(Cell::Null), |text| to.parse(text));
        column.push(cell.as_ref().unwrap_or(&Cell::Null));
        if let Err(what) = cell {
            lost.push((row, does_not_fit(format!("`{}` {what}", quoted(&array, row)))));
        }
    }
    Ok(Parts { values: column.finish()?, lost })
}

fn list(array: &ArrayRef, items: &AvroType, to: &FieldType) -> Result<Parts, ArrowError> {
    let (Some(from), DataType::List(field)) = (item(array.data_type()), to.arrow()) else {
        return Err(another(to));
    };
    let list = library_cast(array, &DataType::List(Arc::new(from.clone())))?;
    let list = list.as_list::<i32>();
    let Inside { values, offsets, lost } =
        inside(list.values(), list.offsets(), |parts| inner(parts, from, items))?;
    let list = ListArray::try_new(field.clone(), offsets, values, list.nulls().cloned())?;
    Ok(Parts { lost: of_valid(lost, &list), values: Arc::new(list) })
}

fn map(array: &ArrayRef, values: &AvroType, to: &FieldType) -> Result<Parts, ArrowError> {
    let (DataType::Map(from, _), DataType::Map(entries, ordered)) = (array.data_type(), to.arrow())
    else {
        return Err(another(to));
    };
    let (Some((_, value)), DataType::Struct(fields)) = (entry(from), entries.data_type()) else {
        return Err(another(to));
    };
    let map = array.as_map();
    let Inside { values: parts, offsets, mut lost } =
        inside(map.values(), map.offsets(), |parts| inner(parts, value, values))?;
    let (start, end) = ends(map.offsets());
    let keys = library_cast(&map.keys().slice(start, end - start), &DataType::Utf8)?;
    // The path of a value in a map is its key.
    for (_, index, part) in &mut lost {
        part.path = format!(".{}{}", quoted(&keys, *index), part.path);
    }
    let mut lost: Vec<_> = lost.into_iter().map(|(row, _, part)| (row, part)).collect();
    lost.extend(keys_twice(&keys, &offsets));
    let parts = StructArray::try_new(fields.clone(), vec![keys, parts], None)?;
    let nulls = map.nulls().cloned();
    let map = MapArray::try_new(entries.clone(), offsets, parts, nulls, *ordered)?;
    let lost = lost.into_iter().filter(|(row, _)| map.is_valid(*row)).collect();
    Ok(Parts { lost, values: Arc::new(map) })
}

/// Which of its values is meant cannot be known.
fn keys_twice(keys: &ArrayRef, offsets: &OffsetBuffer<i32>) -> Vec<(usize, Lost)> {
    let texts = keys.as_string::<i32>();
    let twice = |(row, ends): (usize, &[i32])| {
        let mut seen = BTreeSet::new();
        let index = (ends[0]..ends[1]).find(|index| !seen.insert(texts.value(*index as usize)))?;
        let what = format!("the key `{}` comes twice", quoted(keys, index as usize));
        Some((row, does_not_fit(what)))
    };
    offsets.windows(2).enumerate().filter_map(twice).collect()
}

fn members(array: &ArrayRef, fields: &[Field], to: &FieldType) -> Result<Parts, ArrowError> {
    let (DataType::Struct(from), DataType::Struct(of)) = (array.data_type(), to.arrow()) else {
        return Err(another(to));
    };
    let record = array.as_struct();
    let (mut columns, mut lost) = (Vec::with_capacity(fields.len()), Vec::new());
    for field in fields {
        let Some(index) = find_member(from, field).ok().flatten() else {
            columns.push(absent_column(&FieldType::of(field), array.len()));
            continue;
        };
        let Parts { values, lost: parts } =
            inner(record.column(index), &from[index], &field.avro_type)?;
        columns.push(values);
        lost.extend(parts.into_iter().map(|(row, part)| {
            let path = format!(".{}{}", field.name, part.path);
            (row, Lost { path, ..part })
        }));
    }
    // What a null row has inside is nobody's value.
    lost.retain(|(row, _)| record.is_valid(*row));
    let nulls = record.nulls().cloned();
    let record = StructArray::try_new_with_length(of.clone(), columns, nulls, record.len())?;
    Ok(Parts { values: Arc::new(record), lost })
}

/// The parts of all rows.
struct Inside {
    values: ArrayRef,
    /// Of the rows, into `values`.
    offsets: OffsetBuffer<i32>,
    /// The row, the part among all parts, and what it is.
    lost: Vec<(usize, usize, Lost)>,
}

/// Where the parts of the rows begin and end: an array may be a slice of a longer one.
fn ends(offsets: &OffsetBuffer<i32>) -> (usize, usize) {
    let at = |offset: Option<&i32>| offset.copied().unwrap_or(0) as usize;
    (at(offsets.first()), at(offsets.last()))
}

fn inside(
    parts: &ArrayRef,
    offsets: &OffsetBuffer<i32>,
    convert: impl Fn(&ArrayRef) -> Result<Parts, ArrowError>,
) -> Result<Inside, ArrowError> {
    let (start, end) = ends(offsets);
    let Parts { values, lost } = convert(&parts.slice(start, end - start))?;
    let offsets: ScalarBuffer<i32> = offsets.iter().map(|offset| offset - start as i32).collect();
    let offsets = OffsetBuffer::new(offsets);
    let row_of = |part: usize| offsets.partition_point(|end| *end as usize <= part) - 1;
    let lost = lost.into_iter().map(|(part, lost)| (row_of(part), part, lost)).collect();
    Ok(Inside { values, offsets, lost })
}

/// The path of an item is its number in its array.
fn of_valid(lost: Vec<(usize, usize, Lost)>, list: &ListArray) -> Vec<(usize, Lost)> {
    let valid = lost.into_iter().filter(|(row, ..)| list.is_valid(*row));
    let named = valid.map(|(row, part, lost)| {
        let number = part - list.value_offsets()[row] as usize;
        (row, Lost { path: format!(".{number}{}", lost.path), ..lost })
    });
    named.collect()
}

fn another(to: &FieldType) -> ArrowError {
    ArrowError::SchemaError(format!("the column is not one for {to}"))
}
