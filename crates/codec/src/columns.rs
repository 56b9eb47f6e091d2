//! Assembles converted columns into a batch of the rows that every column could convert, and the
//! faults of the others.

use crate::frame::fault;
use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::filter;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::array_value_to_string;
use std::collections::BTreeMap;
use weir_model::fault::{Fault, VALUE_MISSING};

/// Longest value that is quoted in a fault, in characters.
const MAX_QUOTED_CHARS: usize = 80;

/// The columns of `schema` so far, and the faults of rows that they cannot hold.
pub(crate) struct BatchBuilder {
    schema: SchemaRef,
    arrays: Vec<ArrayRef>,
    num_rows: usize,
    faults: BTreeMap<usize, Fault>,
}

/// The rows without a fault, and the faults.
pub(crate) struct CheckedBatch {
    pub(crate) batch: RecordBatch,
    /// The original row of each row of `batch`; `None` when no row has a fault.
    pub(crate) rows: Option<Vec<u32>>,
    /// Ascending by row.
    pub(crate) faults: Vec<(u32, Fault)>,
}

impl BatchBuilder {
    /// No column yet; all will have `num_rows` rows.
    pub(crate) fn new(schema: SchemaRef, num_rows: usize) -> BatchBuilder {
        BatchBuilder {
            arrays: Vec::with_capacity(schema.fields().len()),
            schema,
            num_rows,
            faults: BTreeMap::new(),
        }
    }

    /// Adds the next column, which people know as `name`. Where `after` is null and `before` is not,
    /// the conversion lost the value and `fault_of` describes it. A null in a column that allows
    /// none is a fault too.
    pub(crate) fn push(
        &mut self,
        name: &str,
        before: &ArrayRef,
        after: ArrayRef,
        fault_of: impl Fn(&ArrayRef, usize) -> Fault,
    ) {
        let is_nullable = self.schema.field(self.arrays.len()).is_nullable();
        if after.null_count() > before.logical_null_count() {
            let nulls = before.logical_nulls();
            let was_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            for row in (0..after.len()).filter(|row| after.is_null(*row) && !was_null(*row)) {
                self.faults.entry(row).or_insert_with(|| fault_of(before, row));
            }
        }
        if !is_nullable && after.null_count() > 0 {
            for row in (0..after.len()).filter(|row| after.is_null(*row)) {
                self.faults.entry(row).or_insert_with(|| null_fault(name));
            }
        }
        self.arrays.push(after);
    }

    /// Removes the rows with faults.
    pub(crate) fn finish(self) -> Result<CheckedBatch, ArrowError> {
        let options = |rows| RecordBatchOptions::new().with_row_count(Some(rows));
        if self.faults.is_empty() {
            let batch = RecordBatch::try_new_with_options(
                self.schema,
                self.arrays,
                &options(self.num_rows),
            )?;
            return Ok(CheckedBatch { batch, rows: None, faults: Vec::new() });
        }
        let mask: BooleanArray =
            (0..self.num_rows).map(|row| Some(!self.faults.contains_key(&row))).collect();
        let arrays =
            self.arrays.iter().map(|array| filter(array, &mask)).collect::<Result<_, _>>()?;
        let rows: Vec<u32> =
            (0..self.num_rows).filter(|row| mask.value(*row)).map(|row| row as u32).collect();
        let batch = RecordBatch::try_new_with_options(self.schema, arrays, &options(rows.len()))?;
        let faults = self.faults.into_iter().map(|(row, fault)| (row as u32, fault)).collect();
        Ok(CheckedBatch { batch, rows: Some(rows), faults })
    }
}

fn null_fault(name: &str) -> Fault {
    fault(VALUE_MISSING, format!("{name} is null, which its type does not allow"))
}

/// The text of a value, truncated to a length that fits a header of a dead letter.
pub(crate) fn quoted(array: &ArrayRef, row: usize) -> String {
    shortened(array_value_to_string(array, row).unwrap_or_else(|_| "?".into()))
}

/// A text, truncated to a length that fits a header of a dead letter.
pub(crate) fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
