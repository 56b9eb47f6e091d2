//! Evaluation that survives bad records. Arrow's kernels fail a whole batch for one division by
//! zero. The batch is then bisected until the failing rows are known, so that each costs only
//! itself.

use crate::messages::{arrow_error, evaluation_error};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat, filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;
use weir_model::bisect::Bisection;
use weir_model::expected_panic;

/// The values of an expression, one per row of the batch.
pub(crate) struct Evaluated {
    /// Null where the evaluation failed and where the row was not selected.
    pub(crate) values: ArrayRef,
    /// The rows that failed, ascending, with the error.
    pub(crate) failed: Vec<(usize, String)>,
}

/// Evaluates `expr` over `batch`. Rows that are not `selected` may be evaluated or not; they are
/// never reported as failed.
pub(crate) fn evaluate(
    expr: &dyn PhysicalExpr,
    batch: &RecordBatch,
    selected: &[bool],
) -> Result<Evaluated, ArrowError> {
    if let Ok(values) = evaluate_at_once(expr, batch) {
        return Ok(Evaluated { values, failed: Vec::new() });
    }
    if selected.iter().all(|selected| *selected) {
        return evaluate_in_parts(expr, batch);
    }
    let mask = BooleanArray::from(selected.to_vec());
    let evaluated = evaluate_in_parts(expr, &filter_record_batch(batch, &mask)?)?;
    let selected_rows: Vec<usize> = (0..selected.len()).filter(|&row| selected[row]).collect();
    let failed =
        evaluated.failed.into_iter().map(|(row, error)| (selected_rows[row], error)).collect();
    Ok(Evaluated { values: take(&evaluated.values, &positions(selected), None)?, failed })
}

/// For each selected row its position among the selected rows.
fn positions(selected: &[bool]) -> UInt32Array {
    let mut next = 0..;
    selected.iter().map(|selected| if *selected { next.next() } else { None }).collect()
}

/// Evaluates `expr` over no rows. Finds errors that no record could avoid, such as a misspelt
/// field of a date.
pub(crate) fn evaluate_on_no_rows(
    expr: &dyn PhysicalExpr,
    schema: &SchemaRef,
) -> Result<(), String> {
    evaluate_at_once(expr, &RecordBatch::new_empty(schema.clone())).map(|_| ())
}

fn evaluate_at_once(expr: &dyn PhysicalExpr, batch: &RecordBatch) -> Result<ArrayRef, String> {
    let evaluate = || expr.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
    // Some kernels panic on extreme values, such as dates far outside the calendar. A panic must
    // not stop the pipeline either.
    match expected_panic::catch(evaluate) {
        Some(Ok(values)) => Ok(values),
        Some(Err(error)) => Err(evaluation_error(&error)),
        None => Err("the expression cannot handle these values".into()),
    }
}

/// Evaluates every row; a row that fails gives null.
fn evaluate_in_parts(
    expr: &dyn PhysicalExpr,
    batch: &RecordBatch,
) -> Result<Evaluated, ArrowError> {
    if batch.num_rows() == 0 {
        let values = evaluate_at_once(expr, batch).map_err(ArrowError::ComputeError)?;
        return Ok(Evaluated { values, failed: Vec::new() });
    }
    let data_type = expr.data_type(batch.schema_ref()).map_err(|e| into_arrow(&e))?;
    let mut parts = Vec::new();
    let mut failed = Vec::new();
    let mut bisection = Bisection::new(batch.num_rows());
    while let Some(range) = bisection.next_range() {
        match evaluate_at_once(expr, &batch.slice(range.start, range.len())) {
            Ok(values) => parts.push(values),
            Err(error) => {
                if let Some(row) = bisection.split(range, None) {
                    failed.push((row, error));
                    parts.push(new_null_array(&data_type, 1));
                }
            }
        }
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Ok(Evaluated { values: concat(&parts)?, failed })
}

fn into_arrow(error: &DataFusionError) -> ArrowError {
    match error {
        DataFusionError::ArrowError(inner, _) => ArrowError::ComputeError(arrow_error(inner)),
        other => ArrowError::ComputeError(evaluation_error(other)),
    }
}
