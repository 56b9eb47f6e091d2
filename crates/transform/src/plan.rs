//! A compiled pipeline, and its application to one batch: join the lookups, reject by rule, filter,
//! compute the result columns.

use crate::coercion::{Coerced, Coercion};
use crate::error::Error;
use crate::evaluate::evaluate;
use crate::join::Join;
use crate::messages::{arrow_error, type_name};
use crate::metadata::{Metadata, MetadataColumns};
use crate::outcomes::Outcomes;
use crate::unnest::{Unnest, Unnested};
use crate::view::{Matches, Rows, View};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array,
};
use arrow::compute::FilterBuilder;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use datafusion_physical_expr::PhysicalExpr;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_model::fault::{Fault, Stage, VALUE_DOES_NOT_FIT, VALUE_MISSING};

/// The rules and the SQL of one pipeline, compiled. Immutable; workers share it.
#[derive(Debug)]
pub struct Plan {
    pub(crate) input: SchemaRef,
    /// What the SQL uses of a record beside its value.
    pub(crate) metadata: Vec<Metadata>,
    pub(crate) metadata_types: Vec<DataType>,
    pub(crate) output: SchemaRef,
    /// The lists whose elements become rows, in the order of FROM.
    pub(crate) unnests: Vec<Unnest>,
    pub(crate) joins: Vec<Join>,
    /// Per join, whether anything reads it or filters by it.
    pub(crate) needed: Vec<bool>,
    /// The columns that rules and WHERE read.
    pub(crate) before: View,
    pub(crate) rules: Vec<Rule>,
    pub(crate) filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns that the result columns read.
    pub(crate) after: View,
    /// In the order of the output schema.
    pub(crate) columns: Vec<Column>,
}

/// A reject rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    /// The condition as it is quoted in faults.
    pub(crate) when: String,
    pub(crate) condition: Arc<dyn PhysicalExpr>,
}

/// An output column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) expr: Arc<dyn PhysicalExpr>,
    pub(crate) coercion: Coercion,
}

/// The outcome of one batch. Input rows in neither `rows` nor `faults` were filtered by `WHERE` or
/// by an inner join.
#[derive(Debug, Clone)]
pub struct Transformed {
    /// The emitted rows, in the order of the input, with exactly the output schema.
    pub output: RecordBatch,
    /// Input row of each output row, ascending. With `unnest`, several can be of one.
    pub rows: Vec<u32>,
    /// Refused input rows with the reason, ascending; at most one fault per input row.
    pub faults: Vec<(u32, Fault)>,
    /// The input rows that these are the outcome of: the first ones. Fewer than the batch has, and
    /// at least one, where `unnest` makes so many rows of them that the rest has to wait.
    pub num_taken: usize,
}

impl Plan {
    /// Applies a plan that uses no metadata of records, as [`Plan::apply_with`] does.
    ///
    /// # Errors
    /// As [`Plan::apply_with`].
    pub fn apply(&self, batch: &RecordBatch, now_micros: i64) -> Result<Transformed, Error> {
        self.apply_with(batch, MetadataColumns::default(), now_micros)
    }

    /// Applies the plan to one batch. `metadata` are those of its records, as
    /// [`Plan::metadata_columns`] makes them; `now_micros` is the value of `now()` for the whole
    /// batch: microseconds since 1970-01-01 UTC.
    ///
    /// # Errors
    /// When the batch is not of the input schema or lacks metadata, or for a bug. The faults of single records
    /// are in [`Transformed::faults`].
    pub fn apply_with(
        &self,
        batch: &RecordBatch,
        metadata: MetadataColumns,
        now_micros: i64,
    ) -> Result<Transformed, Error> {
        let mut num_records = batch.num_rows();
        loop {
            let part = batch.slice(0, num_records);
            match self.apply_at_once(&part, metadata.slice(num_records), now_micros) {
                // Columns that are too long for Arrow: the other records wait.
                Err(Error::Arrow(error)) if num_records > 1 && is_too_long(&error) => {
                    num_records /= 2;
                }
                Err(Error::Arrow(error)) if num_records == 1 && is_too_long(&error) => {
                    return Ok(Transformed {
                        output: RecordBatch::new_empty(self.output.clone()),
                        rows: Vec::new(),
                        faults: vec![(0, grows_too_much(&error))],
                        num_taken: 1,
                    });
                }
                done => return done,
            }
        }
    }

    fn apply_at_once(
        &self,
        batch: &RecordBatch,
        metadata: MetadataColumns,
        now_micros: i64,
    ) -> Result<Transformed, Error> {
        self.check_schema(batch)?;
        let MetadataColumns { columns, faults } = metadata;
        self.check_metadata(batch, &columns)?;
        let mut outcomes = Outcomes::new(batch.num_rows());
        faults.into_iter().for_each(|(row, fault)| outcomes.refuse(row as usize, || fault));
        let input = Rows { batch, unnested: None, matches: &[], metadata: &columns, now_micros };
        let unnested = self.unnest(&input, &mut outcomes)?;
        let input = Rows { unnested: unnested.as_ref(), ..input };
        let matches = self.look_up(&input, &mut outcomes)?;
        let rows = Rows { matches: &matches, ..input };
        let scope = self.before.gather(&rows, None)?;
        self.reject(&scope, &mut outcomes)?;
        let passed = self.filter(&scope, &rows, &mut outcomes)?;
        self.project(&rows, passed, outcomes)
    }

    /// Whether several rows can be made of one record.
    pub fn unnests(&self) -> bool {
        !self.unnests.is_empty()
    }

    /// The fields of the input that the SQL and the rules read, in the order of the schema.
    pub fn columns_read(&self) -> Vec<&str> {
        let joins = self.joins.iter().zip(&self.needed).filter(|(_, needed)| **needed);
        let views = joins.map(|(join, _)| &join.view).chain([&self.before, &self.after]);
        let views = views.chain(self.unnests.iter().map(|unnest| &unnest.view));
        let columns: BTreeSet<usize> = views.flat_map(View::input_columns).collect();
        columns.into_iter().map(|column| self.input.field(column).name().as_str()).collect()
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

    /// Makes the rows of the records, in the order of FROM; `None`: each record is one.
    fn unnest(
        &self,
        input: &Rows<'_>,
        outcomes: &mut Outcomes,
    ) -> Result<Option<Unnested>, ArrowError> {
        if self.unnests.is_empty() {
            return Ok(None);
        }
        let mut unnested = Unnested::new(input.batch.num_rows());
        for unnest in &self.unnests {
            unnested = unnest.apply(input, unnested, outcomes)?;
        }
        Ok(Some(unnested))
    }

    /// Runs the joins, in the order of FROM. `input` has none of them yet.
    fn look_up(
        &self,
        input: &Rows<'_>,
        outcomes: &mut Outcomes,
    ) -> Result<Vec<Matches>, ArrowError> {
        let mut matches: Vec<Matches> = Vec::with_capacity(self.joins.len());
        for (join, needed) in self.joins.iter().zip(&self.needed) {
            let rows = if *needed {
                // A key may be computed from columns of the joins before it.
                let rows = Rows { matches: &matches, ..*input };
                Some(find_matches(join, &rows, outcomes)?)
            } else {
                None
            };
            matches.push(Matches { table: join.table.clone(), rows });
        }
        Ok(matches)
    }

    /// Rules in their order: the first that is true names the reason.
    fn reject(&self, scope: &RecordBatch, outcomes: &mut Outcomes) -> Result<(), ArrowError> {
        for rule in &self.rules {
            let evaluated = evaluate(rule.condition.as_ref(), scope, outcomes.passing())?;
            outcomes.refuse_failed(evaluated.failed, |row| row, &format!("rule `{}`", rule.name));
            for row in true_rows(evaluated.values.as_boolean()) {
                outcomes.refuse(row, || Fault {
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
        rows: &Rows<'_>,
        outcomes: &mut Outcomes,
    ) -> Result<Option<BooleanArray>, ArrowError> {
        let mut passed = None;
        if let Some(filter) = &self.filter {
            let evaluated = evaluate(filter.as_ref(), scope, outcomes.passing())?;
            outcomes.refuse_failed(evaluated.failed, |row| row, "WHERE");
            let mut is_true = vec![false; scope.num_rows()];
            true_rows(evaluated.values.as_boolean()).for_each(|row| is_true[row] = true);
            passed = Some(is_true);
        }
        let absent = rows.unnested.map_or(&[][..], |unnested| &unnested.absent);
        for (_, absent) in self.unnests.iter().zip(absent).filter(|(unnest, _)| unnest.is_inner) {
            let passed = passed.get_or_insert_with(|| vec![true; scope.num_rows()]);
            absent.set_indices().for_each(|row| passed[row] = false);
        }
        for (join, matches) in self.joins.iter().zip(rows.matches) {
            let unmatched = matches.rows.as_ref().filter(|rows| rows.null_count() > 0);
            if let (true, Some(rows)) = (join.is_inner, unmatched) {
                let passed = passed.get_or_insert_with(|| vec![true; scope.num_rows()]);
                for (row, passed) in passed.iter_mut().enumerate() {
                    *passed &= rows.is_valid(row);
                }
            }
        }
        Ok(match passed {
            None if outcomes.num_refused() == 0 => None,
            None => Some(BooleanArray::from(outcomes.passing().to_vec())),
            Some(passed) => {
                let both = passed.iter().zip(outcomes.passing()).map(|(a, b)| Some(*a && *b));
                Some(both.collect())
            }
        })
    }

    /// Computes the output columns of the rows that passed.
    fn project(
        &self,
        rows: &Rows<'_>,
        passed: Option<BooleanArray>,
        mut outcomes: Outcomes,
    ) -> Result<Transformed, Error> {
        let passed = passed.filter(|p| p.true_count() < p.len());
        let passed_rows: Vec<u32> = match &passed {
            Some(passed) => true_rows(passed).map(|row| row as u32).collect(),
            None => (0..rows.num_rows() as u32).collect(),
        };
        let scope = self.after.gather(rows, passed.as_ref())?;
        let refused_before = outcomes.num_refused();
        let mut columns = self.output_columns(&scope, &passed_rows, &mut outcomes)?;
        let mut emitted = passed_rows;
        if outcomes.num_refused() > refused_before {
            let passing: BooleanArray =
                emitted.iter().map(|&row| Some(outcomes.passing()[row as usize])).collect();
            let filter = FilterBuilder::new(&passing).optimize().build();
            columns = columns.iter().map(|c| filter.filter(c)).collect::<Result<Vec<_>, _>>()?;
            emitted = true_rows(&passing).map(|i| emitted[i]).collect();
        }
        let output = self.output_batch(columns, emitted.len())?;
        let mut num_taken = rows.batch.num_rows();
        if let Some(Unnested { records, num_records, .. }) = rows.unnested {
            emitted.iter_mut().for_each(|row| *row = records.value(*row as usize));
            num_taken = *num_records;
        }
        let faults = outcomes.into_faults(num_taken);
        Ok(Transformed { output, rows: emitted, faults, num_taken })
    }

    fn output_batch(
        &self,
        columns: Vec<ArrayRef>,
        num_rows: usize,
    ) -> Result<RecordBatch, ArrowError> {
        let options = RecordBatchOptions::new().with_row_count(Some(num_rows));
        RecordBatch::try_new_with_options(self.output.clone(), columns, &options)
    }

    /// The output columns over the rows of `scope`; `rows` has the number of each.
    fn output_columns(
        &self,
        scope: &RecordBatch,
        rows: &[u32],
        outcomes: &mut Outcomes,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        let all = vec![true; rows.len()];
        let row_of = |row: usize| rows[row] as usize;
        for (column, field) in self.columns.iter().zip(self.output.fields()) {
            let evaluated = evaluate(column.expr.as_ref(), scope, &all)?;
            outcomes.refuse_failed(evaluated.failed, row_of, &format!("`{}`", field.name()));
            let Coerced { values, lost } =
                column.coercion.apply(&evaluated.values, field.data_type())?;
            for row in lost {
                outcomes.refuse(row_of(row), || {
                    output_fault(VALUE_DOES_NOT_FIT, field, "does not fit")
                });
            }
            if !field.is_nullable() && values.logical_null_count() > 0 {
                let nulls = values.logical_nulls();
                let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
                for row in (0..values.len()).filter(|&row| is_null(row)) {
                    outcomes.refuse(row_of(row), || {
                        output_fault(VALUE_MISSING, field, "is null, the output schema expects")
                    });
                }
            }
            columns.push(values);
        }
        Ok(columns)
    }
}

/// The table's row of each record.
fn find_matches(
    join: &Join,
    rows: &Rows<'_>,
    outcomes: &mut Outcomes,
) -> Result<UInt32Array, ArrowError> {
    let scope = join.view.gather(rows, None)?;
    let mut keys = Vec::with_capacity(join.keys.len());
    for key in &join.keys {
        let evaluated = evaluate(key.as_ref(), &scope, outcomes.passing())?;
        let expression = format!("the key of lookup `{}`", join.table.name());
        outcomes.refuse_failed(evaluated.failed, |row| row, &expression);
        keys.push(evaluated.values);
    }
    join.index.find(&keys)
}

/// Whether a column would have more bytes than its offsets can count; any other error is a bug.
fn is_too_long(error: &ArrowError) -> bool {
    matches!(error, ArrowError::OffsetOverflowError(_)) || error.to_string().contains("overflow")
}

/// Of a record whose columns Arrow cannot build.
fn grows_too_much(error: &ArrowError) -> Fault {
    let detail = format!("its rows cannot be assembled: {}", arrow_error(error));
    Fault { stage: Stage::Transform, reason: "grows_too_much".into(), detail }
}

fn output_fault(reason: &str, field: &FieldRef, what: &str) -> Fault {
    let detail = format!("`{}` {what} {}", field.name(), type_name(field.data_type()));
    Fault { stage: Stage::Transform, reason: reason.into(), detail }
}

/// Rows whose condition is true; null is not.
pub(crate) fn true_rows(condition: &BooleanArray) -> impl Iterator<Item = usize> {
    let truth = match condition.nulls() {
        Some(nulls) => condition.values() & nulls.inner(),
        None => condition.values().clone(),
    };
    truth.set_indices().collect::<Vec<_>>().into_iter()
}
