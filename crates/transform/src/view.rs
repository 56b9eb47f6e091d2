//! The few columns that a group of expressions reads, gathered into one batch.

use crate::lookup::Table;
use crate::unnest::Unnested;
use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
    UInt32Array,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ColumnSource {
    /// A column of the input batch.
    Input(usize),
    /// A column of a lookup table.
    Lookup {
        /// Index of the join.
        join: usize,
        /// Column of its table.
        column: usize,
    },
    /// A column of the elements of a list.
    Element {
        /// Index of the list in FROM.
        unnest: usize,
        /// Column of its elements.
        column: usize,
    },
    /// `now()`.
    Now,
    /// What the record has beside its value, by its index in the plan.
    Metadata(usize),
}

/// A selection of a scope's columns. Columns that no expression reads are never gathered.
#[derive(Debug)]
pub(crate) struct View {
    names: DFSchema,
    schema: SchemaRef,
    sources: Vec<ColumnSource>,
}

/// The result of a lookup join for one batch.
pub(crate) struct Matches {
    pub(crate) table: Arc<Table>,
    /// For each record its row of the table; `None` when nothing needs this join.
    pub(crate) rows: Option<UInt32Array>,
}

/// The rows to gather from.
pub(crate) struct Rows<'a> {
    /// The input's columns, by record.
    pub(crate) batch: &'a RecordBatch,
    /// The rows, where they are not the records.
    pub(crate) unnested: Option<&'a Unnested>,
    /// Per join, in the order of FROM; the joins that have not run yet are absent.
    pub(crate) matches: &'a [Matches],
    /// What the records have beside their values, by record.
    pub(crate) metadata: &'a [ArrayRef],
    /// The value of `now()`.
    pub(crate) now_micros: i64,
}

impl Rows<'_> {
    pub(crate) fn num_rows(&self) -> usize {
        self.unnested.map_or(self.batch.num_rows(), |unnested| unnested.records.len())
    }
}

impl View {
    /// The columns of `scope` that `expressions` read; `sources` are the scope's.
    pub(crate) fn new<'e>(
        scope: &DFSchema,
        sources: &[ColumnSource],
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
        Ok(View { names, schema, sources: used.into_iter().map(|i| sources[i]).collect() })
    }

    /// The columns as an Arrow schema.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Where its columns come from.
    pub(crate) fn sources(&self) -> &[ColumnSource] {
        &self.sources
    }

    /// The columns of the input that are read.
    pub(crate) fn input_columns(&self) -> impl Iterator<Item = usize> {
        self.sources.iter().filter_map(|source| match source {
            ColumnSource::Input(column) => Some(*column),
            _ => None,
        })
    }

    /// The joins whose columns are read.
    pub(crate) fn joins(&self) -> impl Iterator<Item = usize> {
        self.sources.iter().filter_map(|source| match source {
            ColumnSource::Lookup { join, .. } => Some(*join),
            _ => None,
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

    /// Gathers the columns, only of the rows that are true in `passed` if it is given.
    pub(crate) fn gather(
        &self,
        rows: &Rows<'_>,
        passed: Option<&BooleanArray>,
    ) -> Result<RecordBatch, ArrowError> {
        let filter = passed.map(|passed| FilterBuilder::new(passed).optimize().build());
        let num_rows = filter.as_ref().map_or(rows.num_rows(), FilterPredicate::count);
        let table_rows = self.table_rows(rows, filter.as_ref())?;
        let records = rows.unnested.map(|unnested| filtered(&unnested.records, filter.as_ref()));
        let records = records.transpose()?;
        let of_record = |column: &ArrayRef| match &records {
            Some(records) => take(column, records, None),
            None => filtered(column, filter.as_ref()),
        };
        let column = |source: &ColumnSource| match *source {
            ColumnSource::Input(column) => of_record(rows.batch.column(column)),
            ColumnSource::Metadata(index) => of_record(&rows.metadata[index]),
            ColumnSource::Element { unnest, column } => {
                let elements = rows.unnested.and_then(|u| u.elements.get(unnest)?.get(column));
                let missing = || ArrowError::ComputeError(format!("list {unnest} has no elements"));
                filtered(elements.ok_or_else(missing)?, filter.as_ref())
            }
            ColumnSource::Lookup { join, column } => {
                take(rows.matches[join].table.column(column), &table_rows[&join], None)
            }
            ColumnSource::Now => Ok(Arc::new(
                TimestampMicrosecondArray::from_value(rows.now_micros, num_rows)
                    .with_timezone("+00:00"),
            ) as ArrayRef),
        };
        let columns = self.sources.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(num_rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }

    /// The matched rows of the tables that this view reads, by join.
    fn table_rows(
        &self,
        rows: &Rows<'_>,
        filter: Option<&FilterPredicate>,
    ) -> Result<BTreeMap<usize, ArrayRef>, ArrowError> {
        let mut table_rows = BTreeMap::new();
        for join in self.joins().collect::<BTreeSet<_>>() {
            let Matches { table, rows } = &rows.matches[join];
            let rows = rows.as_ref().ok_or_else(|| {
                ArrowError::ComputeError(format!("lookup {} was not joined", table.name()))
            })?;
            table_rows.insert(join, filtered(rows, filter)?);
        }
        Ok(table_rows)
    }
}

fn filtered(column: &dyn Array, filter: Option<&FilterPredicate>) -> Result<ArrayRef, ArrowError> {
    match filter {
        Some(filter) => filter.filter(column),
        None => Ok(column.slice(0, column.len())),
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
