//! One condition over rows, apart from a pipeline's SQL.

use crate::catalog::Catalog;
use crate::compile::{checked, executable, plan_condition, plan_from};
use crate::error::Error;
use crate::evaluate::evaluate;
use crate::messages::planning_mistake;
use crate::plan::true_rows;
use crate::query::{parse_condition, parse_transform};
use crate::view::{Rows, View};
use arrow::array::{AsArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use std::sync::Arc;
use weir_model::fault::{Fault, Stage};
use weir_model::mistake::Mistake;

/// A condition over the columns of a schema, compiled.
#[derive(Debug)]
pub struct Condition {
    view: View,
    condition: Arc<dyn PhysicalExpr>,
}

/// For which rows a condition is true.
#[derive(Debug)]
pub struct Judged {
    /// Per row; null is not true.
    pub is_true: BooleanBuffer,
    /// The rows on which it fails, ascending.
    pub faults: Vec<(u32, Fault)>,
}

impl Condition {
    /// Compiles `sql`, in which the columns of `schema` are named as they are there; `key` is where
    /// it is written in the pipeline file.
    ///
    /// # Errors
    /// The mistakes in it.
    pub fn compile(key: &str, sql: &str, schema: &SchemaRef) -> Result<Condition, Vec<Mistake>> {
        let catalog = Catalog::new(schema, &[]);
        let condition = checked(key, parse_condition(key, sql)?, &catalog)?;
        let from = plan_from(&catalog, &parse_transform("SELECT * FROM input")?, &[])?;
        let planned = plan_condition(&from.scope, key, &condition)?;
        let view = from.scope.view([&planned.expr]);
        let view = view.map_err(|e| vec![planning_mistake(key, &e)])?;
        let condition = executable(&view, key, &planned.expr)?;
        Ok(Condition { view, condition })
    }

    /// Evaluates it. `now_micros` is the value of `now()`.
    ///
    /// # Errors
    /// The batch does not have the schema, or a bug.
    pub fn apply(&self, batch: &RecordBatch, now_micros: i64) -> Result<Judged, Error> {
        let rows = Rows { batch, unnested: None, matches: &[], metadata: &[], now_micros };
        let scope = self.view.gather(&rows, None)?;
        let all = vec![true; batch.num_rows()];
        let evaluated = evaluate(self.condition.as_ref(), &scope, &all)?;
        let mut is_true = vec![false; batch.num_rows()];
        true_rows(evaluated.values.as_boolean()).for_each(|row| is_true[row] = true);
        let fault = |(row, detail): (usize, String)| {
            let (stage, reason) = (Stage::Transform, "expression_failed".into());
            (row as u32, Fault { stage, reason, detail })
        };
        let faults = evaluated.failed.into_iter().map(fault).collect();
        Ok(Judged { is_true: is_true.into(), faults })
    }
}
