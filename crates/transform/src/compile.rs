//! From a pipeline file to a [`Plan`], or to the list of everything that is wrong with it.

use crate::catalog::{Catalog, INPUT};
use crate::coercion::Coercion;
use crate::evaluate::try_out;
use crate::lookup::Table;
use crate::messages::{cast_sql, did_you_mean, identifier, planning_mistake, type_name};
use crate::plan::{Column, Plan, Rule};
use crate::query::{Transform, check, parse_condition, parse_transform};
use crate::scope::{Join, Planned, Scope};
use crate::view::View;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion_expr::Expr;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_sql::sqlparser::ast::{self, SelectItem};
use std::collections::HashSet;
use std::sync::Arc;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;

const SQL: &str = "transform.sql";

/// See [`Plan::compile`].
pub(crate) fn compile(
    input: SchemaRef,
    output: SchemaRef,
    pipeline: &Pipeline,
) -> Result<Plan, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let tables = load_tables(pipeline, &mut mistakes);
    let all_loaded = tables.len() == pipeline.lookups.len();
    let catalog = Catalog::new(&input, &tables);
    let transform = keep(parse_transform(&pipeline.transform.sql), &mut mistakes);
    let conditions = parse_rules(pipeline, &catalog, &mut mistakes);
    // Without the columns of a lookup that could not be read, every use of them would be reported
    // as a mistake of its own.
    let parts = transform.filter(|_| all_loaded).and_then(|t| {
        let (scope, joins) = keep(scope(&catalog, &t, &tables), &mut mistakes)?;
        let target = Target { schema: &output, pipeline };
        Some(Parts::plan(
            &scope,
            joins,
            &Parsed { transform: &t, conditions: &conditions, target },
            &mut mistakes,
        ))
    });
    match parts {
        Some(parts) if mistakes.is_empty() => parts.assemble(input, output, pipeline),
        _ => Err(mistakes),
    }
}

/// The value, or nothing and its mistakes added to the others.
fn keep<T>(result: Result<T, Vec<Mistake>>, mistakes: &mut Vec<Mistake>) -> Option<T> {
    result.map_err(|more| mistakes.extend(more)).ok()
}

fn load_tables(pipeline: &Pipeline, mistakes: &mut Vec<Mistake>) -> Vec<Arc<Table>> {
    let mut names = HashSet::from([INPUT]);
    let mut tables = Vec::new();
    for (place, lookup) in pipeline.lookups.iter().enumerate() {
        if !names.insert(&lookup.name) {
            mistakes.push(Mistake::new(
                format!("lookup[{place}].name"),
                format!("`{}` is taken; another lookup or the input has this name", lookup.name),
            ));
        }
        let (table, more) = Table::load(lookup, place);
        mistakes.extend(more);
        tables.extend(table.map(Arc::new));
    }
    tables
}

fn parse_rules(
    pipeline: &Pipeline,
    catalog: &Catalog,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Option<ast::Expr>> {
    let mut rule = |(place, text): (usize, &str)| {
        let key = rule_key(place);
        let condition = keep(parse_condition(&key, text), mistakes)?;
        let refused = check(&key, &condition, catalog);
        let fine = refused.is_empty();
        mistakes.extend(refused);
        fine.then_some(condition)
    };
    pipeline.rejects.iter().map(|r| r.when.as_str()).enumerate().map(&mut rule).collect()
}

fn rule_key(place: usize) -> String {
    format!("reject[{place}].when")
}

fn scope<'a>(
    catalog: &'a Catalog,
    transform: &Transform,
    tables: &[Arc<Table>],
) -> Result<(Scope<'a>, Vec<Join>), Vec<Mistake>> {
    let refused = check(SQL, &transform.from, catalog);
    if refused.is_empty() { Scope::new(catalog, transform, tables) } else { Err(refused) }
}

/// What the result has to be.
struct Target<'a> {
    schema: &'a SchemaRef,
    pipeline: &'a Pipeline,
}

/// What the pipeline file asks for, parsed.
struct Parsed<'a> {
    transform: &'a Transform,
    /// Per rule; none when it is a mistake.
    conditions: &'a [Option<ast::Expr>],
    target: Target<'a>,
}

/// Everything planned, nothing compiled yet: only now is it known which columns are read at all.
struct Parts {
    joins: Vec<Join>,
    rules: Vec<Planned>,
    filter: Option<Planned>,
    columns: Vec<(Planned, Coercion)>,
    before: Option<View>,
    after: Option<View>,
}

impl Parts {
    fn plan(
        scope: &Scope<'_>,
        joins: Vec<Join>,
        parsed: &Parsed<'_>,
        mistakes: &mut Vec<Mistake>,
    ) -> Parts {
        let mut rules = Vec::new();
        for (place, condition) in parsed.conditions.iter().enumerate() {
            let Some(condition) = condition else { continue };
            rules.extend(keep(plan_condition(scope, &rule_key(place), condition), mistakes));
        }
        let filter = parsed.transform.filter.as_ref().and_then(|filter| {
            let refused = check(SQL, filter, scope.catalog());
            if refused.is_empty() {
                keep(plan_condition(scope, SQL, filter), mistakes)
            } else {
                keep(Err(refused), mistakes)
            }
        });
        let columns = keep(plan_columns(scope, parsed.transform, &parsed.target), mistakes)
            .unwrap_or_default();
        let mut view = |expressions: Vec<&Expr>| {
            keep(scope.view(expressions).map_err(|e| vec![planning_mistake(SQL, &e)]), mistakes)
        };
        let before = view(rules.iter().chain(&filter).map(|p| &p.expr).collect());
        let after = view(columns.iter().map(|(planned, _)| &planned.expr).collect());
        Parts { joins, rules, filter, columns, before, after }
    }

    fn assemble(
        self,
        input: SchemaRef,
        output: SchemaRef,
        pipeline: &Pipeline,
    ) -> Result<Plan, Vec<Mistake>> {
        let (Some(before), Some(after)) = (self.before, self.after) else { return Err(Vec::new()) };
        let mut mistakes = Vec::new();
        let needed = needed(&self.joins, &before, &after);
        let mut rules = Vec::new();
        for (place, (planned, reject)) in self.rules.iter().zip(&pipeline.rejects).enumerate() {
            let condition =
                keep(executable(&before, &rule_key(place), &planned.expr), &mut mistakes);
            rules.extend(condition.map(|condition| Rule {
                name: reject.name.clone(),
                when: one_line(&reject.when),
                condition,
            }));
        }
        let filter = self
            .filter
            .and_then(|planned| keep(executable(&before, SQL, &planned.expr), &mut mistakes));
        let mut columns = Vec::new();
        for (planned, fit) in self.columns {
            let expr = keep(executable(&after, SQL, &planned.expr), &mut mistakes);
            columns.extend(expr.map(|expr| Column { expr, fit }));
        }
        if mistakes.is_empty() {
            Ok(Plan {
                input,
                output,
                joins: self.joins,
                needed,
                before,
                rules,
                filter,
                after,
                columns,
            })
        } else {
            Err(mistakes)
        }
    }
}

/// A rule as it stands in the detail of a dead letter.
fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Compiles an expression and tries it out on no rows.
fn executable(view: &View, key: &str, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>, Vec<Mistake>> {
    let compiled = view.compile(expr).map_err(|e| vec![planning_mistake(key, &e)])?;
    try_out(compiled.as_ref(), view.schema()).map_err(|what| vec![Mistake::new(key, what)])?;
    Ok(compiled)
}

/// Joins that nothing reads are left out: on a unique key they change nothing. Inner joins filter.
fn needed(joins: &[Join], before: &View, after: &View) -> Vec<bool> {
    let mut needed: Vec<bool> = joins.iter().map(|join| join.inner).collect();
    before.joins().chain(after.joins()).for_each(|join| needed[join] = true);
    // A join can only read from those before it.
    for (join, read_by) in joins.iter().enumerate().rev() {
        if needed[join] {
            read_by.view.joins().for_each(|read| needed[read] = true);
        }
    }
    needed
}

fn plan_condition(
    scope: &Scope<'_>,
    key: &str,
    condition: &ast::Expr,
) -> Result<Planned, Vec<Mistake>> {
    let mistake = |what: String| vec![Mistake::new(key, what)];
    let mut planned = scope.plan(key, SelectItem::UnnamedExpr(condition.clone()))?;
    match planned.pop() {
        Some(planned) if planned.data_type == DataType::Boolean => Ok(planned),
        Some(planned) => Err(mistake(format!(
            "`{condition}` is {}, not a condition",
            type_name(&planned.data_type)
        ))),
        None => Err(mistake("is empty".into())),
    }
}

/// A result column and the SQL it was written as.
struct ResultColumn {
    planned: Planned,
    text: String,
}

fn plan_columns(
    scope: &Scope<'_>,
    transform: &Transform,
    target: &Target<'_>,
) -> Result<Vec<(Planned, Coercion)>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut results: Vec<ResultColumn> = Vec::new();
    let mut unplanned = Vec::new();
    for item in &transform.items {
        match plan_item(scope, item) {
            Ok(columns) => results.extend(columns),
            Err(more) => {
                mistakes.extend(more);
                unplanned.push(result_name(item));
            }
        }
    }
    mistakes.extend(surplus(&results, target));
    let mut columns = Vec::new();
    // The column of an item that could not be planned is not missing as well; an item without a
    // name could be any of them.
    let planned = |name: &String| results.iter().any(|r| r.planned.name == *name);
    let excused = |name: &String| {
        !planned(name) && unplanned.iter().any(|u| u.as_ref().is_none_or(|u| u == name))
    };
    for field in target.schema.fields().iter().filter(|f| !excused(f.name())) {
        match fitting(&results, field, target) {
            Ok(column) => columns.push(column),
            Err(mistake) => mistakes.push(*mistake),
        }
    }
    if mistakes.is_empty() { Ok(columns) } else { Err(mistakes) }
}

fn plan_item(scope: &Scope<'_>, item: &SelectItem) -> Result<Vec<ResultColumn>, Vec<Mistake>> {
    let refused = check(SQL, item, scope.catalog());
    if !refused.is_empty() {
        return Err(refused);
    }
    let text = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.to_string())
        }
        _ => None,
    };
    let planned = scope.plan(SQL, item.clone())?;
    // A column that a wildcard brought in is named by itself.
    Ok(planned
        .into_iter()
        .map(|planned| ResultColumn {
            text: text.clone().unwrap_or_else(|| identifier(&planned.name)),
            planned,
        })
        .collect())
}

/// The name of an item's result column, as far as it can be told without planning it.
fn result_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(ast::Expr::Identifier(name)) => Some(name.value.clone()),
        SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(names)) => {
            names.last().map(|name| name.value.clone())
        }
        _ => None,
    }
}

/// Result columns that the output schema does not have, or that come twice.
fn surplus(results: &[ResultColumn], target: &Target<'_>) -> Vec<Mistake> {
    let mut seen = HashSet::new();
    let mut mistakes = Vec::new();
    for ResultColumn { planned, text } in results {
        let name = &planned.name;
        if !seen.insert(name) {
            let what = format!("two result columns are named `{name}`");
            mistakes.push(
                Mistake::new(SQL, what)
                    .hint("leave one out, as in SELECT i.* EXCEPT (column), or rename it with AS"),
            );
        } else if target.schema.field_with_name(name).is_err() {
            let names = target.schema.fields().iter().map(|f| f.name().as_str());
            let close =
                did_you_mean(name, names.filter(|n| !results.iter().any(|r| r.planned.name == *n)));
            let what = format!("result column `{name}` is not in {}{close}", target.file());
            let mistake = Mistake::new(SQL, what);
            let unnamed = name != text && !name.chars().all(|c| c.is_alphanumeric() || c == '_');
            mistakes.push(if unnamed {
                mistake.hint(format!("name it: {text} AS …"))
            } else {
                mistake
            });
        }
    }
    mistakes
}

fn fitting(
    results: &[ResultColumn],
    field: &FieldRef,
    target: &Target<'_>,
) -> Result<(Planned, Coercion), Box<Mistake>> {
    let name = identifier(field.name());
    let Some(ResultColumn { planned, text }) =
        results.iter().find(|r| r.planned.name == *field.name())
    else {
        let what = format!(
            "the result has no column `{}`, which {} wants as {}",
            field.name(),
            target.file(),
            type_name(field.data_type())
        );
        return Err(Box::new(Mistake::new(SQL, what).hint(format!("… AS {name}"))));
    };
    if planned.data_type == DataType::Null && !field.is_nullable() {
        let what = format!(
            "result column `{}` is always null, {} wants {}",
            field.name(),
            target.file(),
            type_name(field.data_type())
        );
        return Err(Box::new(Mistake::new(SQL, what)));
    }
    if let Some(fit) = Coercion::between(&planned.data_type, field.data_type()) {
        return Ok((planned.clone(), fit));
    }
    let (is, wants) = (type_name(&planned.data_type), type_name(field.data_type()));
    let mistake = Mistake::new(
        SQL,
        format!("result column `{}` is {is}, {} wants {wants}", field.name(), target.file()),
    );
    Err(Box::new(match cast_sql(text, field.data_type()) {
        Some(cast) => mistake.hint(format!("{cast} AS {name}")),
        None => mistake,
    }))
}

impl Target<'_> {
    /// The output schema's file, as people call it.
    fn file(&self) -> String {
        let path = &self.pipeline.output.schema;
        path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
    }
}
