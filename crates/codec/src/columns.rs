//! Whole columns in, good rows and faults out.

use crate::frame::fault;
use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::filter;
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow::util::display::array_value_to_string;
use std::collections::BTreeMap;
use weir_model::fault::Fault;

/// Longest value quoted in a fault, in characters.
const QUOTED: usize = 80;

/// Columns of equal length on their way into `schema`, and the rows that will not arrive.
pub(crate) struct Columns {
    schema: SchemaRef,
    arrays: Vec<ArrayRef>,
    rows: usize,
    faults: BTreeMap<usize, Fault>,
}

/// What became of the columns.
pub(crate) struct Settled {
    /// The rows without a fault.
    pub(crate) batch: RecordBatch,
    /// Their numbers; `None` when they are all there.
    pub(crate) rows: Option<Vec<u32>>,
    /// The other rows; ascending.
    pub(crate) faults: Vec<(u32, Fault)>,
}

impl Columns {
    /// None yet, of `rows` rows.
    pub(crate) fn new(schema: SchemaRef, rows: usize) -> Columns {
        Columns {
            arrays: Vec::with_capacity(schema.fields().len()),
            schema,
            rows,
            faults: BTreeMap::new(),
        }
    }

    /// Adds the next column. Where `after` is null and `before` is not, the conversion lost a
    /// value, which `describe` names; a null in a column that allows none is a fault too.
    pub(crate) fn push(
        &mut self,
        before: &ArrayRef,
        after: ArrayRef,
        describe: impl Fn(&ArrayRef, usize) -> Fault,
    ) {
        let field = self.schema.field(self.arrays.len()).clone();
        if after.null_count() > before.logical_null_count() {
            let nulls = before.logical_nulls();
            let was_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
            for row in (0..after.len()).filter(|row| after.is_null(*row) && !was_null(*row)) {
                self.faults.entry(row).or_insert_with(|| describe(before, row));
            }
        }
        if !field.is_nullable() && after.null_count() > 0 {
            for row in (0..after.len()).filter(|row| after.is_null(*row)) {
                self.faults.entry(row).or_insert_with(|| null_fault(&field));
            }
        }
        self.arrays.push(after);
    }

    /// Parts the good rows from the others.
    pub(crate) fn finish(self) -> Result<Settled, ArrowError> {
        let options = |rows| RecordBatchOptions::new().with_row_count(Some(rows));
        if self.faults.is_empty() {
            let batch =
                RecordBatch::try_new_with_options(self.schema, self.arrays, &options(self.rows))?;
            return Ok(Settled { batch, rows: None, faults: Vec::new() });
        }
        let mask: BooleanArray =
            (0..self.rows).map(|row| Some(!self.faults.contains_key(&row))).collect();
        let arrays =
            self.arrays.iter().map(|array| filter(array, &mask)).collect::<Result<_, _>>()?;
        let rows: Vec<u32> =
            (0..self.rows).filter(|row| mask.value(*row)).map(|row| row as u32).collect();
        let batch = RecordBatch::try_new_with_options(self.schema, arrays, &options(rows.len()))?;
        let faults = self.faults.into_iter().map(|(row, fault)| (row as u32, fault)).collect();
        Ok(Settled { batch, rows: Some(rows), faults })
    }
}

fn null_fault(field: &Field) -> Fault {
    fault("null_value", format!("{} is null, which its type does not allow", field.name()))
}

/// The text of a value, cut to a length that fits a dead letter's header.
pub(crate) fn quoted(array: &ArrayRef, row: usize) -> String {
    let text = array_value_to_string(array, row).unwrap_or_else(|_| "?".into());
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
