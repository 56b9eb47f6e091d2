//! Evaluation that survives bad records. Arrow's kernels fail a whole batch for one division by
//! zero; here the batch is halved until the culprits stand alone, so that each costs only itself.

use crate::messages::{arrow_error, evaluation_error};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The values of an expression, one per row of the batch.
pub(crate) struct Evaluated {
    /// Null where the evaluation failed and where it was not wanted.
    pub(crate) values: ArrayRef,
    /// Rows that failed and why, ascending.
    pub(crate) failed: Vec<(usize, String)>,
}

/// Evaluates `expr` over `batch`. Rows that are not `wanted` may be evaluated or not; they never
/// fail.
pub(crate) fn evaluate(
    expr: &dyn PhysicalExpr,
    batch: &RecordBatch,
    wanted: &[bool],
) -> Result<Evaluated, ArrowError> {
    if let Ok(values) = whole(expr, batch) {
        return Ok(Evaluated { values, failed: Vec::new() });
    }
    if wanted.iter().all(|w| *w) {
        return halve(expr, batch);
    }
    let evaluated =
        halve(expr, &filter_record_batch(batch, &BooleanArray::from(wanted.to_vec()))?)?;
    let places: Vec<usize> = (0..wanted.len()).filter(|&row| wanted[row]).collect();
    let failed = evaluated.failed.into_iter().map(|(i, why)| (places[i], why)).collect();
    let mut next = 0..;
    let back: UInt32Array =
        wanted.iter().map(|wanted| if *wanted { next.next() } else { None }).collect();
    Ok(Evaluated { values: take(&evaluated.values, &back, None)?, failed })
}

/// Evaluates `expr` over no rows: finds what is wrong whatever the record, such as a misspelt part
/// of a date.
pub(crate) fn try_out(expr: &dyn PhysicalExpr, schema: &SchemaRef) -> Result<(), String> {
    whole(expr, &RecordBatch::new_empty(schema.clone())).map(|_| ())
}

/// Evaluates all rows at once.
fn whole(expr: &dyn PhysicalExpr, batch: &RecordBatch) -> Result<ArrayRef, String> {
    let evaluate = || expr.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
    // Some kernels panic on extreme values (dates far outside the calendar, for one). A panic must
    // not stop the pipeline either.
    match catch_unwind(AssertUnwindSafe(evaluate)) {
        Ok(Ok(values)) => Ok(values),
        Ok(Err(error)) => Err(evaluation_error(&error)),
        Err(_) => Err("the expression cannot handle these values".into()),
    }
}

fn halve(expr: &dyn PhysicalExpr, batch: &RecordBatch) -> Result<Evaluated, ArrowError> {
    let mut pieces = Vec::new();
    let mut failed = Vec::new();
    // A stack instead of recursion; the left half is on top, so pieces come out in order.
    let mut open = vec![(0, batch.num_rows())];
    while let Some((start, length)) = open.pop() {
        match whole(expr, &batch.slice(start, length)) {
            Ok(values) => pieces.push(values),
            Err(why) if length == 1 => {
                failed.push((start, why));
                let data_type = expr.data_type(batch.schema_ref()).map_err(|e| into_arrow(&e))?;
                pieces.push(new_null_array(&data_type, 1));
            }
            Err(why) if length == 0 => return Err(ArrowError::ComputeError(why)),
            Err(_) => open.extend([(start + length / 2, length - length / 2), (start, length / 2)]),
        }
    }
    let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
    Ok(Evaluated { values: concat(&pieces)?, failed })
}

fn into_arrow(error: &DataFusionError) -> ArrowError {
    match error {
        DataFusionError::ArrowError(inner, _) => ArrowError::ComputeError(arrow_error(inner)),
        other => ArrowError::ComputeError(evaluation_error(other)),
    }
}
