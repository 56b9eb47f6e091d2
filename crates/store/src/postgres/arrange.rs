//! The rows of a batch as columns of the table. A value that the column cannot hold is the record's
//! fault: its row is refused before it is sent, and the others are not affected.

use crate::postgres::encode::Origins;
use crate::postgres::layout::{self, Layout, Source};
use crate::postgres::refusal::Refusal;
use crate::postgres::{Error, uuid, value_range};
use arrow::array::{
    Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{CastOptions, cast_with_options, nullif, take_record_batch};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use std::sync::Arc;

/// Rows that can be encoded.
pub(super) struct Arranged {
    pub(super) batch: RecordBatch,
    /// The numbers of the rows within the given batch; `None` if no row was refused.
    pub(super) rows: Option<Vec<u32>>,
    pub(super) refused: Vec<Refusal>,
}

impl Layout {
    /// `first` is the number of the batch's first row.
    pub(super) fn arrange(
        &self,
        batch: &RecordBatch,
        origins: Origins<'_>,
        first: usize,
    ) -> Result<Arranged, Error> {
        if batch.schema_ref().fields().len() != self.input.fields().len() {
            return Err(Error::Batch(format!(
                "{} columns instead of {}",
                batch.num_columns(),
                self.input.fields().len()
            )));
        }
        let mut refused = Vec::new();
        let mut columns = Vec::with_capacity(self.columns.len() + 1);
        for column in &self.columns {
            let array = self.without_deleted(values(batch, &origins, column), &origins, column)?;
            let array = convert(&array, column, &mut refused)?;
            value_range::check(&array, column, &mut refused);
            columns.push(array);
        }
        refused.sort_by_key(|refusal| refusal.row);
        refused.dedup_by_key(|refusal| refusal.row);
        if self.upsert.is_some() {
            let numbers = first as i32..(first + batch.num_rows()) as i32;
            columns.push(Arc::new(Int32Array::from_iter_values(numbers)));
        }
        if self.deletes() {
            let none = || BooleanBuffer::new_unset(batch.num_rows());
            let deletes = origins.deletes.cloned().unwrap_or_else(none);
            columns.push(Arc::new(BooleanArray::from(deletes)));
        }
        let whole = RecordBatch::try_new(self.output.clone(), columns)
            .map_err(|e| Error::Batch(e.to_string()))?;
        let rows = remaining_rows(whole.num_rows(), &refused);
        let batch = match &rows {
            None => whole,
            Some(rows) => take_record_batch(&whole, &UInt32Array::from(rows.clone()))
                .map_err(|e| Error::Batch(e.to_string()))?,
        };
        refused.iter_mut().for_each(|refusal| refusal.row += first);
        Ok(Arranged { batch, rows, refused })
    }
}

impl Layout {
    /// Of a row that is to be deleted, only the key and the origin matter: no other value of it may
    /// be the reason that it is refused.
    fn without_deleted(
        &self,
        array: ArrayRef,
        origins: &Origins<'_>,
        column: &layout::Column,
    ) -> Result<ArrayRef, Error> {
        let is_value = matches!(column.source, Source::Field(_)) && !self.is_key(&column.name);
        match origins.deletes.filter(|_| is_value) {
            Some(deletes) => nullif(&array, &BooleanArray::from(deletes.clone()))
                .map_err(|e| Error::Batch(e.to_string())),
            None => Ok(array),
        }
    }
}

fn values(batch: &RecordBatch, origins: &Origins<'_>, column: &layout::Column) -> ArrayRef {
    match column.source {
        Source::Field(index) => batch.column(index).clone(),
        Source::Topic => {
            let topics = std::iter::repeat_n(origins.topic, batch.num_rows());
            Arc::new(StringArray::from_iter_values(topics))
        }
        Source::Partition => Arc::new(Int32Array::from(origins.partitions.to_vec())),
        Source::Offset => Arc::new(Int64Array::from(origins.offsets.to_vec())),
        Source::ReplayOf => Arc::new(Int64Array::from(origins.replays.to_vec())),
    }
}

/// The values in the type that is sent. Rows whose value does not exist in it are refused.
fn convert(
    array: &ArrayRef,
    column: &layout::Column,
    refused: &mut Vec<Refusal>,
) -> Result<ArrayRef, Error> {
    let wanted = &column.wire.arrow;
    if array.data_type() == wanted {
        return Ok(array.clone());
    }
    // What cannot be converted becomes null.
    let lenient = CastOptions { safe: true, ..CastOptions::default() };
    let converted = match wanted {
        DataType::FixedSizeBinary(16) => uuid::parse_all(array),
        _ => cast_with_options(array, wanted, &lenient),
    };
    let converted = converted.map_err(|e| Error::Batch(format!("column {}: {e}", column.name)))?;
    let nulls = array.logical_nulls();
    if converted.null_count() > nulls.as_ref().map_or(0, |nulls| nulls.null_count()) {
        let was_null = |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let rows = (0..array.len()).filter(|row| converted.is_null(*row) && !was_null(*row));
        refused.extend(rows.map(|row| not_converted(array, row, column)));
    }
    Ok(converted)
}

fn not_converted(array: &ArrayRef, row: usize, column: &layout::Column) -> Refusal {
    let is_time = matches!(array.data_type(), DataType::Timestamp(_, _));
    let number = cast_with_options(&array.slice(row, 1), &DataType::Int64, &CastOptions::default());
    let value = match number {
        Ok(number) if is_time => array_value_to_string(&number, 0),
        _ => array_value_to_string(array, row),
    };
    let value = value.unwrap_or_default();
    let (sqlstate, what) = match &column.wire.arrow {
        _ if is_time => ("22008", value_range::time(&value)),
        DataType::FixedSizeBinary(_) => ("22P02", format!("`{value}` is not a UUID")),
        _ => ("22003", format!("{value} is outside the range of the column's type")),
    };
    Refusal::of_value(row, &column.name, sqlstate, what)
}

/// The rows that are not refused; `None` if none is refused.
fn remaining_rows(num_rows: usize, refused: &[Refusal]) -> Option<Vec<u32>> {
    if refused.is_empty() {
        return None;
    }
    let mut refused = refused.iter().map(|refusal| refusal.row as u32).peekable();
    Some((0..num_rows as u32).filter(|row| refused.next_if_eq(row).is_none()).collect())
}
