//! The rows of a batch as columns of the table. A value that the column cannot hold is the record's
//! fault: its row is refused before it is sent, and the others are not affected.

use crate::postgres::Error;
use crate::postgres::convert::{Unfit, convert};
use crate::postgres::encode::Origins;
use crate::postgres::layout::{self, Layout, Source};
use crate::postgres::refusal::Refusal;
use arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{nullif, take_record_batch};
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
            let mut unfit = Vec::new();
            let converted = convert(&array, &column.wire, &mut unfit);
            let failed = |e| Error::Batch(format!("column {}: {e}", column.name));
            columns.push(converted.map_err(failed)?);
            refused.extend(unfit.into_iter().map(|Unfit { row, sqlstate, what }| {
                Refusal::of_value(row, &column.name, sqlstate, what)
            }));
        }
        refused.sort_by_key(|refusal| refusal.row);
        refused.dedup_by_key(|refusal| refusal.row);
        if self.staged.is_some() {
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

/// The rows that are not refused; `None` if none is refused.
fn remaining_rows(num_rows: usize, refused: &[Refusal]) -> Option<Vec<u32>> {
    if refused.is_empty() {
        return None;
    }
    let mut refused = refused.iter().map(|refusal| refusal.row as u32).peekable();
    Some((0..num_rows as u32).filter(|row| refused.next_if_eq(row).is_none()).collect())
}
