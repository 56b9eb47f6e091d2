use crate::coercion::Coercion;
use crate::error::Error;
use crate::evaluate::evaluate;
use crate::fates::Fates;
use crate::messages::type_name;
use crate::scope::Join;
use crate::view::{Rows, View};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::FilterBuilder;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use datafusion_physical_expr::PhysicalExpr;
use std::sync::Arc;
use weir_model::fault::{Fault, Stage};
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;

/// The rules and the SQL of one pipeline, compiled. Immutable; workers share it.
#[derive(Debug)]
pub struct Plan {
    pub(crate) input: SchemaRef,
    pub(crate) output: SchemaRef,
    pub(crate) joins: Vec<Join>,
    /// Which joins anything reads, or filters by.
    pub(crate) needed: Vec<bool>,
    /// What rules and WHERE read.
    pub(crate) before: View,
    pub(crate) rules: Vec<Rule>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// What the result columns read.
    pub(crate) after: View,
    /// In the order of the output schema.
    pub(crate) columns: Vec<Column>,
}

/// A reject rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) when: String,
    pub(crate) condition: Arc<dyn PhysicalExpr>,
}

/// An output column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) expr: Arc<dyn PhysicalExpr>,
    pub(crate) fit: Coercion,
}

/// What became of the rows of one batch. Rows in neither `rows` nor `faults` were filtered by
/// `WHERE` (or by an inner join).
#[derive(Debug, Clone)]
pub struct Transformed {
    /// The emitted rows, in the order of the input, with exactly the output schema.
    pub output: RecordBatch,
    /// Input row of each output row, ascending.
    pub rows: Vec<u32>,
    /// Refused rows with the reason, ascending by row; at most one fault a row.
    pub faults: Vec<(u32, Fault)>,
}

impl Plan {
    /// Compiles the rules, lookups and SQL of `pipeline` for records of the schema `input`; the
    /// result has the schema `output`.
    ///
    /// # Errors
    /// Every mistake found, under the keys `transform.sql`, `reject[i].when` and `lookup[i].…`.
    pub fn compile(
        input: SchemaRef,
        output: SchemaRef,
        pipeline: &Pipeline,
    ) -> Result<Plan, Vec<Mistake>> {
        crate::compile::compile(input, output, pipeline)
    }

    /// Applies the plan to one batch. `now_micros` is the value of `now()` for the whole batch:
    /// microseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// [`Error`] when the batch is not of the input schema, or for a bug; a record's own fault is
    /// in [`Transformed::faults`].
    pub fn apply(&self, batch: &RecordBatch, now_micros: i64) -> Result<Transformed, Error> {
        self.check_schema(batch)?;
        let mut fates = Fates::new(batch.num_rows());
        let matches = self.look_up(batch, now_micros, &mut fates)?;
        let rows = Rows { batch, matches: &matches, joins: &self.joins, now_micros };
        let scope = self.before.gather(&rows, None)?;
        self.reject(&scope, &mut fates)?;
        let passed = self.filter(&scope, &matches, &mut fates)?;
        self.project(&rows, passed, fates)
    }

    fn check_schema(&self, batch: &RecordBatch) -> Result<(), Error> {
        let (expected, got) = (self.input.fields(), batch.schema_ref().fields());
        if expected.len() == got.len()
            && expected
                .iter()
                .zip(got)
                .all(|(e, g)| e.name() == g.name() && e.data_type() == g.data_type())
        {
            return Ok(());
        }
        let describe = |fields: &[FieldRef]| {
            fields
                .iter()
                .map(|f| format!("{} {}", f.name(), type_name(f.data_type())))
                .collect::<Vec<_>>()
                .join(", ")
        };
        Err(Error::Schema { expected: describe(expected), got: describe(got) })
    }

    /// The lookup tables' row of each record, per join.
    fn look_up(
        &self,
        batch: &RecordBatch,
        now_micros: i64,
        fates: &mut Fates,
    ) -> Result<Vec<Option<UInt32Array>>, ArrowError> {
        let mut matches: Vec<Option<UInt32Array>> = Vec::with_capacity(self.joins.len());
        for (join, needed) in self.joins.iter().zip(&self.needed) {
            if !needed {
                matches.push(None);
                continue;
            }
            // A key may be made of columns of the joins before it.
            let scope = join
                .view
                .gather(&Rows { batch, matches: &matches, joins: &self.joins, now_micros }, None)?;
            let mut keys = Vec::with_capacity(join.keys.len());
            for key in &join.keys {
                let evaluated = evaluate(key.as_ref(), &scope, fates.alive())?;
                fates.fail(
                    evaluated.failed,
                    |row| row,
                    &format!("the key of lookup `{}`", join.table.name()),
                );
                keys.push(evaluated.values);
            }
            matches.push(Some(join.index.find(&keys)?));
        }
        Ok(matches)
    }

    /// Rules in their order: the first that is true names the reason.
    fn reject(&self, scope: &RecordBatch, fates: &mut Fates) -> Result<(), ArrowError> {
        for rule in &self.rules {
            let evaluated = evaluate(rule.condition.as_ref(), scope, fates.alive())?;
            fates.fail(evaluated.failed, |row| row, &format!("rule `{}`", rule.name));
            for row in true_rows(evaluated.values.as_boolean()) {
                fates.refuse(row, || Fault {
                    stage: Stage::Rule,
                    reason: rule.name.clone(),
                    detail: format!("rule: {}", rule.when),
                });
            }
        }
        Ok(())
    }

    /// The rows that go on to the projection; `None` means all.
    fn filter(
        &self,
        scope: &RecordBatch,
        matches: &[Option<UInt32Array>],
        fates: &mut Fates,
    ) -> Result<Option<BooleanArray>, ArrowError> {
        let mut passed = None;
        if let Some(filter) = &self.filter {
            let evaluated = evaluate(filter.as_ref(), scope, fates.alive())?;
            fates.fail(evaluated.failed, |row| row, "WHERE");
            let mut keep = vec![false; scope.num_rows()];
            true_rows(evaluated.values.as_boolean()).for_each(|row| keep[row] = true);
            passed = Some(keep);
        }
        for (_, matched) in self.joins.iter().zip(matches).filter(|(join, _)| join.inner) {
            if let Some(matched) = matched.as_ref().filter(|m| m.null_count() > 0) {
                let keep = passed.get_or_insert_with(|| vec![true; scope.num_rows()]);
                keep.iter_mut().enumerate().for_each(|(row, keep)| *keep &= matched.is_valid(row));
            }
        }
        Ok(match passed {
            None if fates.refused() == 0 => None,
            None => Some(BooleanArray::from(fates.alive().to_vec())),
            Some(keep) => Some(
                keep.iter().zip(fates.alive()).map(|(keep, alive)| Some(*keep && *alive)).collect(),
            ),
        })
    }

    fn project(
        &self,
        rows: &Rows<'_>,
        passed: Option<BooleanArray>,
        mut fates: Fates,
    ) -> Result<Transformed, Error> {
        let passed = passed.filter(|p| p.true_count() < p.len());
        let origin: Vec<u32> = match &passed {
            Some(passed) => true_rows(passed).map(|row| row as u32).collect(),
            None => (0..rows.batch.num_rows() as u32).collect(),
        };
        let scope = self.after.gather(rows, passed.as_ref())?;
        let refused = fates.refused();
        let columns = self.columns(&scope, &origin, &mut fates)?;
        let options = RecordBatchOptions::new().with_row_count(Some(origin.len()));
        if fates.refused() == refused {
            let output = RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?;
            return Ok(Transformed { output, rows: origin, faults: fates.into_faults() });
        }
        let alive: BooleanArray =
            origin.iter().map(|&row| Some(fates.alive()[row as usize])).collect();
        let keep = FilterBuilder::new(&alive).optimize().build();
        let columns = columns.iter().map(|c| keep.filter(c)).collect::<Result<Vec<_>, _>>()?;
        let rows: Vec<u32> = true_rows(&alive).map(|i| origin[i]).collect();
        let output = RecordBatch::try_new_with_options(
            self.output.clone(),
            columns,
            &options.with_row_count(Some(rows.len())),
        )?;
        Ok(Transformed { output, rows, faults: fates.into_faults() })
    }

    /// The output columns over the passed rows; `origin` is the input row of each.
    fn columns(
        &self,
        scope: &RecordBatch,
        origin: &[u32],
        fates: &mut Fates,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        let wanted = vec![true; origin.len()];
        let row = |i: usize| origin[i] as usize;
        for (column, field) in self.columns.iter().zip(self.output.fields()) {
            let evaluated = evaluate(column.expr.as_ref(), scope, &wanted)?;
            fates.fail(evaluated.failed, row, &format!("`{}`", field.name()));
            let (values, lost) = column.fit.apply(&evaluated.values, field.data_type())?;
            for i in lost {
                fates.refuse(row(i), || misfit("value_does_not_fit", field, "does not fit"));
            }
            if !field.is_nullable() && values.logical_null_count() > 0 {
                let nulls = values.logical_nulls();
                for i in (0..values.len()).filter(|&i| nulls.as_ref().is_some_and(|n| n.is_null(i)))
                {
                    fates.refuse(row(i), || {
                        misfit("value_missing", field, "is null, and the output schema wants")
                    });
                }
            }
            columns.push(values);
        }
        Ok(columns)
    }
}

fn misfit(reason: &str, field: &FieldRef, what: &str) -> Fault {
    let detail = format!("`{}` {what} {}", field.name(), type_name(field.data_type()));
    Fault { stage: Stage::Transform, reason: reason.into(), detail }
}

/// Rows whose condition is true; null is not.
fn true_rows(condition: &BooleanArray) -> impl Iterator<Item = usize> {
    let truth = match condition.nulls() {
        Some(nulls) => condition.values() & nulls.inner(),
        None => condition.values().clone(),
    };
    truth.set_indices().collect::<Vec<_>>().into_iter()
}
