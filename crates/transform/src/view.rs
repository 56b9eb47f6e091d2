//! The few columns that a group of expressions reads, gathered into one batch.

use crate::scope::Join;
use arrow::array::{
    ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{FilterBuilder, FilterPredicate, take};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr, Operator};
use datafusion_physical_expr::expressions::{BinaryExpr, Literal, NegativeExpr};
use datafusion_physical_expr::simplifier::PhysicalExprSimplifier;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Where the values of a column come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A column of the input batch.
    Input(usize),
    /// A column of a lookup table.
    Lookup {
        /// Which join.
        join: usize,
        /// Column of its table.
        column: usize,
    },
    /// `now()`.
    Now,
}

/// A selection of a scope's columns. Columns that no expression reads are never gathered.
#[derive(Debug)]
pub(crate) struct View {
    names: DFSchema,
    schema: SchemaRef,
    slots: Vec<Slot>,
}

/// Rows to gather from: input columns, and for each join the table's row of every record.
pub(crate) struct Rows<'a> {
    /// The input's columns.
    pub(crate) batch: &'a RecordBatch,
    /// Per join; `None` when nothing needs it.
    pub(crate) matches: &'a [Option<UInt32Array>],
    /// The joins.
    pub(crate) joins: &'a [Join],
    /// The value of `now()`.
    pub(crate) now_micros: i64,
}

impl View {
    /// The columns of `scope` that `expressions` read; `slots` are the scope's.
    pub(crate) fn new<'e>(
        scope: &DFSchema,
        slots: &[Slot],
        expressions: impl IntoIterator<Item = &'e Expr>,
    ) -> Result<View> {
        let mut used = BTreeSet::new();
        for column in expressions.into_iter().flat_map(Expr::column_refs) {
            used.insert(scope.index_of_column(column)?);
        }
        let field = |&i: &usize| {
            let (qualifier, field) = scope.qualified_field(i);
            (qualifier.cloned(), field.clone())
        };
        let names = DFSchema::new_with_metadata(used.iter().map(field).collect(), HashMap::new())?;
        let schema = Arc::new(Schema::new(names.fields().clone()));
        Ok(View { names, schema, slots: used.into_iter().map(|i| slots[i]).collect() })
    }

    /// The columns as Arrow has them.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The joins whose columns are read.
    pub(crate) fn joins(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().filter_map(|slot| {
            if let Slot::Lookup { join, .. } = slot { Some(*join) } else { None }
        })
    }

    /// Compiles an expression over this view.
    pub(crate) fn compile(&self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        let compiled = create_physical_expr(
            expr,
            &self.names,
            &ExecutionProps::new(),
            &PhysicalPlanningContext::default(),
        )?;
        let checked = compiled.transform_up(|e| check_overflow(e, &self.schema))?.data;
        // A constant part that fails (1 / 0 in a branch never taken) stays as it is and fails on
        // the records that reach it.
        Ok(PhysicalExprSimplifier::new(&self.schema).simplify(checked.clone()).unwrap_or(checked))
    }

    /// Gathers the columns; with `passed`, of the rows that are true in it only.
    pub(crate) fn gather(
        &self,
        rows: &Rows<'_>,
        passed: Option<&BooleanArray>,
    ) -> Result<RecordBatch, ArrowError> {
        let keep = passed.map(|passed| FilterBuilder::new(passed).optimize().build());
        let num_rows = keep.as_ref().map_or(rows.batch.num_rows(), FilterPredicate::count);
        let matches = self.matches(rows, keep.as_ref())?;
        let column = |slot: &Slot| match *slot {
            Slot::Input(column) => keep.as_ref().map_or_else(
                || Ok(rows.batch.column(column).clone()),
                |k| k.filter(rows.batch.column(column)),
            ),
            Slot::Lookup { join, column } => {
                take(rows.joins[join].table.column(column), &matches[&join], None)
            }
            Slot::Now => Ok(Arc::new(
                TimestampMicrosecondArray::from_value(rows.now_micros, num_rows)
                    .with_timezone("+00:00"),
            ) as ArrayRef),
        };
        let columns = self.slots.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(num_rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }

    /// The matches of the joins that this view reads.
    fn matches(
        &self,
        rows: &Rows<'_>,
        keep: Option<&FilterPredicate>,
    ) -> Result<BTreeMap<usize, ArrayRef>, ArrowError> {
        let mut matches = BTreeMap::new();
        for join in self.joins().collect::<BTreeSet<_>>() {
            let missing = || {
                ArrowError::ComputeError(format!(
                    "lookup {} was not joined",
                    rows.joins[join].table.name()
                ))
            };
            let all = rows.matches[join].as_ref().ok_or_else(missing)?;
            matches.insert(
                join,
                keep.map_or_else(|| Ok(Arc::new(all.clone()) as ArrayRef), |k| k.filter(all))?,
            );
        }
        Ok(matches)
    }
}

/// Integer arithmetic that overflows must fail its record; by default it wraps around silently.
fn check_overflow(
    expr: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return Ok(Transformed::yes(checked(
            binary.left().clone(),
            *binary.op(),
            binary.right().clone(),
        )));
    }
    if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
        let data_type = negative.data_type(schema)?;
        if data_type.is_integer() {
            let zero = Arc::new(Literal::new(ScalarValue::new_zero(&data_type)?));
            return Ok(Transformed::yes(checked(zero, Operator::Minus, negative.arg().clone())));
        }
    }
    Ok(Transformed::no(expr))
}

fn checked(
    left: Arc<dyn PhysicalExpr>,
    op: Operator,
    right: Arc<dyn PhysicalExpr>,
) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, op, right).with_fail_on_overflow(true))
}
