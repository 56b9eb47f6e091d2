//! From a pipeline file to a [`Plan`], or to the list of all its mistakes.

mod columns;

use crate::catalog::{Catalog, INPUT};
use crate::evaluate::evaluate_on_no_rows;
use crate::inspect::check;
use crate::join::Join;
use crate::lookup::Table;
use crate::messages::{planning_mistake, type_name};
use crate::metadata::{InputColumns, Used, conflicts};
use crate::plan::{Column, Plan, Rule};
use crate::query::{SQL, Transform, parse_condition, parse_transform};
use crate::scope::{Planned, PlannedFrom, Scope, plan_unnests};
use crate::unnest::{Copies, Unnest};
use crate::view::View;
use arrow::datatypes::{DataType, SchemaRef};
use columns::{OutputSchema, PlannedColumn, plan_columns};
use datafusion_expr::Expr;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_sql::sqlparser::ast::{self, SelectItem};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;

impl Plan {
    /// Compiles the rules, lookups and SQL of `pipeline` for records with the columns `input`; the
    /// result has the schema `output`.
    ///
    /// # Errors
    /// Every mistake found, under the keys `transform.sql`, `reject[i].when` and `lookup[i].…`.
    pub fn compile(
        input: impl Into<InputColumns>,
        output: SchemaRef,
        pipeline: &Pipeline,
    ) -> Result<Plan, Vec<Mistake>> {
        let columns = input.into();
        let input = columns.value.clone();
        let mut mistakes = conflicts("input.schema", &input, columns.changes, |name| {
            format!("give it another name, and \"aliases\": [\"{name}\"] to read it all the same")
        });
        let tables = load_tables(pipeline, columns.changes, &mut mistakes);
        let all_loaded = tables.len() == pipeline.lookups.len();
        let mut catalog = Catalog::new(&input, &tables);
        let transform = keep(parse_transform(&pipeline.transform.sql), &mut mistakes);
        let conditions = parse_rules(pipeline, &catalog, &mut mistakes);
        if let Some(transform) = &transform {
            let (used, more) = Used::new(&columns, transform, &conditions);
            catalog.metadata = used;
            mistakes.extend(more);
        }
        // Without the columns of a lookup that could not be read, every use of them would be
        // reported as a mistake of its own.
        let parts = transform.filter(|_| all_loaded).and_then(|transform| {
            let unnests = keep(plan_unnests(&mut catalog, &transform), &mut mistakes)?;
            let from = keep(plan_from(&catalog, &transform, &tables), &mut mistakes)?;
            let output = OutputSchema { schema: &output, file: &pipeline.output.schema };
            let parsed = Parsed { transform: &transform, conditions: &conditions, output };
            Some(Parts { unnests, ..Parts::plan(from, &parsed, &mut mistakes) })
        });
        match parts {
            Some(parts) if mistakes.is_empty() => {
                parts.assemble(input, output, &catalog.metadata, pipeline)
            }
            _ => Err(mistakes),
        }
    }
}

/// The value, or `None` with the mistakes added to the others.
fn keep<T>(result: Result<T, Vec<Mistake>>, mistakes: &mut Vec<Mistake>) -> Option<T> {
    result.map_err(|more| mistakes.extend(more)).ok()
}

fn load_tables(pipeline: &Pipeline, changes: bool, mistakes: &mut Vec<Mistake>) -> Vec<Arc<Table>> {
    let mut names = HashSet::from([INPUT]);
    let mut tables = Vec::new();
    for (index, lookup) in pipeline.lookups.iter().enumerate() {
        if !names.insert(&lookup.name) {
            mistakes.push(Mistake::new(
                format!("lookup[{index}].name"),
                format!(
                    "the name `{}` is already used by another lookup or by the input",
                    lookup.name
                ),
            ));
        }
        let (table, more) = Table::load(lookup, index);
        mistakes.extend(more);
        if let Some(table) = &table {
            let key = format!("lookup[{index}].file");
            let rename = |_: &str| "rename the column".into();
            mistakes.extend(conflicts(&key, &table.schema(), changes, rename));
        }
        tables.extend(table.map(Arc::new));
    }
    tables
}

/// The condition of each rule; `None` when it has a mistake.
fn parse_rules(
    pipeline: &Pipeline,
    catalog: &Catalog,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Option<ast::Expr>> {
    let mut conditions = Vec::new();
    for (index, rule) in pipeline.rejects.iter().enumerate() {
        let key = rule_key(index);
        let condition = parse_condition(&key, &rule.when)
            .and_then(|condition| checked(&key, condition, catalog));
        conditions.push(keep(condition, mistakes));
    }
    conditions
}

pub(crate) fn checked(
    key: &str,
    expr: ast::Expr,
    catalog: &Catalog,
) -> Result<ast::Expr, Vec<Mistake>> {
    let refused = check(key, &expr, catalog);
    if refused.is_empty() { Ok(expr) } else { Err(refused) }
}

fn rule_key(index: usize) -> String {
    format!("reject[{index}].when")
}

pub(crate) fn plan_from<'a>(
    catalog: &'a Catalog,
    transform: &Transform,
    tables: &[Arc<Table>],
) -> Result<PlannedFrom<'a>, Vec<Mistake>> {
    let refused = check(SQL, &transform.from, catalog);
    if refused.is_empty() { PlannedFrom::new(catalog, transform, tables) } else { Err(refused) }
}

/// The content of the pipeline file, parsed.
struct Parsed<'a> {
    transform: &'a Transform,
    /// Per rule; `None` when it has a mistake.
    conditions: &'a [Option<ast::Expr>],
    output: OutputSchema<'a>,
}

/// Everything planned, nothing compiled yet: only after planning is it known which columns are
/// read.
struct Parts {
    unnests: Vec<Unnest>,
    copies: Copies,
    joins: Vec<Join>,
    rules: Vec<Planned>,
    filter: Option<Planned>,
    columns: Vec<PlannedColumn>,
    before: Option<View>,
    after: Option<View>,
}

impl Parts {
    fn plan(from: PlannedFrom<'_>, parsed: &Parsed<'_>, mistakes: &mut Vec<Mistake>) -> Parts {
        let PlannedFrom { scope, joins } = from;
        let mut rules = Vec::new();
        for (index, condition) in parsed.conditions.iter().enumerate() {
            let Some(condition) = condition else { continue };
            rules.extend(keep(plan_condition(&scope, &rule_key(index), condition), mistakes));
        }
        let filter = parsed.transform.filter.clone().and_then(|filter| {
            let planned = checked(SQL, filter, scope.catalog())
                .and_then(|filter| plan_condition(&scope, SQL, &filter));
            keep(planned, mistakes)
        });
        let columns = plan_columns(&scope, &parsed.transform.items, &parsed.output);
        let columns = keep(columns, mistakes).unwrap_or_default();
        let mut view = |expressions: Vec<&Expr>| {
            keep(scope.view(expressions).map_err(|e| vec![planning_mistake(SQL, &e)]), mistakes)
        };
        let mut copies = Copies::default();
        for expr in columns.iter().map(|column| &column.planned.expr) {
            copies.add(scope.sources(expr).collect::<BTreeSet<_>>());
        }
        let before = view(rules.iter().chain(&filter).map(|planned| &planned.expr).collect());
        let after = view(columns.iter().map(|column| &column.planned.expr).collect());
        Parts { unnests: Vec::new(), copies, joins, rules, filter, columns, before, after }
    }

    fn assemble(
        self,
        input: SchemaRef,
        output: SchemaRef,
        used: &Used,
        pipeline: &Pipeline,
    ) -> Result<Plan, Vec<Mistake>> {
        let (Some(before), Some(after)) = (self.before, self.after) else { return Err(Vec::new()) };
        let mut mistakes = Vec::new();
        let needed = needed_joins(&self.joins, &before, &after);
        let mut rules = Vec::new();
        for (index, (planned, reject)) in self.rules.iter().zip(&pipeline.rejects).enumerate() {
            let condition = executable(&before, &rule_key(index), &planned.expr);
            rules.extend(keep(condition, &mut mistakes).map(|condition| Rule {
                name: reject.name.clone(),
                when: on_one_line(&reject.when),
                condition,
            }));
        }
        let filter = self
            .filter
            .and_then(|planned| keep(executable(&before, SQL, &planned.expr), &mut mistakes));
        let mut columns = Vec::new();
        for PlannedColumn { planned, coercion } in self.columns {
            let expr = keep(executable(&after, SQL, &planned.expr), &mut mistakes);
            columns.extend(expr.map(|expr| Column { expr, coercion }));
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let (joins, mut unnests, mut copies) = (self.joins, self.unnests, self.copies);
        let views = joins.iter().map(|join| &join.view).chain([&before, &after]);
        views.for_each(|view| copies.add(view.sources().iter().copied()));
        // The rows of a list are those that the lists behind it are computed from.
        for unnest in unnests.iter_mut().rev() {
            unnest.copies = copies.clone();
            copies.add(unnest.view.sources().iter().copied());
        }
        let (metadata, metadata_types) = (used.columns().cloned().collect(), used.types());
        Ok(Plan {
            input,
            metadata,
            metadata_types,
            output,
            unnests,
            joins,
            needed,
            before,
            rules,
            filter,
            after,
            columns,
        })
    }
}

/// A rule as it is written in the detail of a dead letter.
fn on_one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Compiles an expression and evaluates it on no rows.
pub(crate) fn executable(
    view: &View,
    key: &str,
    expr: &Expr,
) -> Result<Arc<dyn PhysicalExpr>, Vec<Mistake>> {
    let compiled = view.compile(expr).map_err(|e| vec![planning_mistake(key, &e)])?;
    evaluate_on_no_rows(compiled.as_ref(), view.schema())
        .map_err(|what| vec![Mistake::new(key, what)])?;
    Ok(compiled)
}

/// Whether a join must run. A left join that nothing reads can be left out, because the key is
/// unique and so it changes nothing. Inner joins filter.
fn needed_joins(joins: &[Join], before: &View, after: &View) -> Vec<bool> {
    let mut needed: Vec<bool> = joins.iter().map(|join| join.is_inner).collect();
    before.joins().chain(after.joins()).for_each(|join| needed[join] = true);
    // A join can only read from those before it.
    for (index, join) in joins.iter().enumerate().rev() {
        if needed[index] {
            join.view.joins().for_each(|read| needed[read] = true);
        }
    }
    needed
}

pub(crate) fn plan_condition(
    scope: &Scope<'_>,
    key: &str,
    condition: &ast::Expr,
) -> Result<Planned, Vec<Mistake>> {
    let mut planned = scope.plan(key, SelectItem::UnnamedExpr(condition.clone()))?;
    let what = match planned.pop() {
        Some(planned) if planned.data_type == DataType::Boolean => return Ok(planned),
        Some(planned) => {
            format!("`{condition}` is {}, not a condition", type_name(&planned.data_type))
        }
        None => "is empty".into(),
    };
    Err(vec![Mistake::new(key, what)])
}
