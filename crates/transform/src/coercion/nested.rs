//! Arrays, maps and records: their parts are converted, and a part that is lost is the fault of its row.

use super::{Coerced, Coercion, Mismatch};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Fields};
use arrow::error::ArrowError;
use std::sync::Arc;

/// The conversions of the parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Of the items.
    List(Coercion),
    /// Of the values; keys are texts on both sides.
    Map(Coercion),
    /// For each member of the output, where it is in the result, and its conversion.
    Record(Vec<(usize, Coercion)>),
}

impl Parts {
    /// `None` when the types are not of the same kind of nested types.
    pub(super) fn between(from: &DataType, to: &DataType) -> Option<Result<Parts, Mismatch>> {
        let within = |name: &'static str| move |mismatch: Mismatch| mismatch.within(name);
        Some(match (from, to) {
            (DataType::List(from), DataType::List(to)) => {
                let items = Coercion::between(from.data_type(), to.data_type());
                items.map(Parts::List).map_err(within("[]"))
            }
            (DataType::Map(from, _), DataType::Map(to, _)) => {
                let values = |entries: &DataType| match entries {
                    DataType::Struct(fields) => fields.get(1).map(|f| f.data_type().clone()),
                    _ => None,
                };
                let (from, to) = (values(from.data_type())?, values(to.data_type())?);
                Coercion::between(&from, &to).map(Parts::Map).map_err(within("{}"))
            }
            (DataType::Struct(from), DataType::Struct(to)) => members(from, to),
            _ => return None,
        })
    }

    pub(super) fn apply(&self, values: &ArrayRef, to: &DataType) -> Result<Coerced, ArrowError> {
        match (self, to) {
            (Parts::List(items), DataType::List(item)) => {
                let list = values.as_list::<i32>();
                let Inner { values: parts, offsets, lost } =
                    inner(items, list.values(), list.offsets(), item.data_type())?;
                let list = ListArray::try_new(item.clone(), offsets, parts, list.nulls().cloned())?;
                Ok(Coerced { lost: of_valid(lost, &list), values: Arc::new(list) })
            }
            (Parts::Map(map_values), DataType::Map(entries, ordered)) => {
                let map = values.as_map();
                let DataType::Struct(fields) = entries.data_type() else { return Err(another(to)) };
                let [_, value] = fields.as_ref() else { return Err(another(to)) };
                let Inner { values: parts, offsets, lost } =
                    inner(map_values, map.values(), map.offsets(), value.data_type())?;
                let (start, end) = ends(map.offsets());
                let keys = map.keys().slice(start, end - start);
                let parts = StructArray::try_new(fields.clone(), vec![keys, parts], None)?;
                let nulls = map.nulls().cloned();
                let map = MapArray::try_new(entries.clone(), offsets, parts, nulls, *ordered)?;
                Ok(Coerced { lost: of_valid(lost, &map), values: Arc::new(map) })
            }
            (Parts::Record(members), DataType::Struct(fields)) => {
                let record = values.as_struct();
                let (mut columns, mut lost) = (Vec::new(), Vec::new());
                for ((index, coercion), field) in members.iter().zip(fields) {
                    let part = coercion.apply(record.column(*index), field.data_type())?;
                    lost.extend(part.lost);
                    columns.push(part.values);
                }
                lost.sort_unstable();
                lost.dedup();
                let nulls = record.nulls().cloned();
                let record =
                    StructArray::try_new_with_length(fields.clone(), columns, nulls, record.len())?;
                Ok(Coerced { lost: of_valid(lost, &record), values: Arc::new(record) })
            }
            _ => Err(another(to)),
        }
    }
}

impl Mismatch {
    fn within(self, name: &str) -> Mismatch {
        Mismatch { path: format!("{name}{}", self.path), ..self }
    }
}

fn another(to: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("the conversion is not one to {to}"))
}

fn members(from: &Fields, to: &Fields) -> Result<Parts, Mismatch> {
    let mismatch =
        |name: &str, what: &str| Err(Mismatch { path: format!(".{name}"), what: what.into() });
    if let Some(surplus) = from.iter().find(|from| to.find(from.name()).is_none()) {
        return mismatch(surplus.name(), "is not in");
    }
    let mut parts = Vec::new();
    for field in to {
        let Some((index, from)) = from.find(field.name()) else {
            return mismatch(field.name(), "is missing; it is in");
        };
        let coercion = Coercion::between(from.data_type(), field.data_type());
        parts.push((index, coercion.map_err(|m| m.within(&format!(".{}", field.name())))?));
    }
    Ok(Parts::Record(parts))
}

/// The parts of all rows.
struct Inner {
    values: ArrayRef,
    /// Of the rows, into `values`.
    offsets: OffsetBuffer<i32>,
    /// Rows with a lost part.
    lost: Vec<usize>,
}

/// Where the parts of the rows begin and end: an array may be a slice of a longer one.
fn ends(offsets: &OffsetBuffer<i32>) -> (usize, usize) {
    let at = |offset: Option<&i32>| offset.copied().unwrap_or(0) as usize;
    (at(offsets.first()), at(offsets.last()))
}

fn inner(
    coercion: &Coercion,
    parts: &ArrayRef,
    offsets: &OffsetBuffer<i32>,
    to: &DataType,
) -> Result<Inner, ArrowError> {
    let (start, end) = ends(offsets);
    let Coerced { values, lost } = coercion.apply(&parts.slice(start, end - start), to)?;
    let offsets: ScalarBuffer<i32> = offsets.iter().map(|offset| offset - start as i32).collect();
    let offsets = OffsetBuffer::new(offsets);
    let row_of = |part: usize| offsets.partition_point(|end| *end as usize <= part) - 1;
    let mut lost: Vec<usize> = lost.into_iter().map(row_of).collect();
    lost.dedup();
    Ok(Inner { values, offsets, lost })
}

/// What a null row has inside is nobody's value.
fn of_valid(lost: Vec<usize>, array: &dyn Array) -> Vec<usize> {
    lost.into_iter().filter(|row| array.is_valid(*row)).collect()
}
