//! The SELECT list, matched with the output schema by name.

use crate::coercion::{Coercion, Mismatch};
use crate::inspect::check;
use crate::messages::{cast_sql, did_you_mean, identifier, type_name};
use crate::query::SQL;
use crate::scope::{Planned, Scope};
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion_sql::sqlparser::ast::{self, SelectItem};
use std::collections::HashSet;
use std::path::Path;
use weir_model::mistake::Mistake;

/// The schema that the result must have.
pub(super) struct OutputSchema<'a> {
    pub(super) schema: &'a SchemaRef,
    /// The file it was read from.
    pub(super) file: &'a Path,
}

/// An expression and its conversion into the output column.
pub(super) struct PlannedColumn {
    pub(super) planned: Planned,
    pub(super) coercion: Coercion,
}

/// A result column and the SQL it was written as.
struct ResultColumn {
    planned: Planned,
    sql: String,
}

/// The output columns, in the order of the output schema.
pub(super) fn plan_columns(
    scope: &Scope<'_>,
    items: &[SelectItem],
    output: &OutputSchema<'_>,
) -> Result<Vec<PlannedColumn>, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut results: Vec<ResultColumn> = Vec::new();
    let mut unplanned = Vec::new();
    for item in items {
        match plan_item(scope, item) {
            Ok(columns) => results.extend(columns),
            Err(more) => {
                mistakes.extend(more);
                unplanned.push(result_name(item));
            }
        }
    }
    mistakes.extend(surplus(&results, output));
    let mut columns = Vec::new();
    for field in output.schema.fields() {
        let result = results.iter().find(|result| result.planned.name == *field.name());
        if result.is_none() && may_be_unplanned(field.name(), &unplanned) {
            continue;
        }
        match output_column(result, field, output) {
            Ok(column) => columns.push(column),
            Err(mistake) => mistakes.push(*mistake),
        }
    }
    if mistakes.is_empty() { Ok(columns) } else { Err(mistakes) }
}

/// Whether the column may come from an item that could not be planned: then it is not reported as
/// missing as well. An item without a known name could be any column.
fn may_be_unplanned(name: &str, unplanned: &[Option<String>]) -> bool {
    unplanned.iter().any(|item| item.as_ref().is_none_or(|item| item == name))
}

fn plan_item(scope: &Scope<'_>, item: &SelectItem) -> Result<Vec<ResultColumn>, Vec<Mistake>> {
    let refused = check(SQL, item, scope.catalog());
    if !refused.is_empty() {
        return Err(refused);
    }
    let sql = match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.to_string())
        }
        _ => None,
    };
    let mut columns = Vec::new();
    for planned in scope.plan(SQL, item.clone())? {
        // A column of a wildcard is written as its name.
        let sql = sql.clone().unwrap_or_else(|| identifier(&planned.name));
        columns.push(ResultColumn { planned, sql });
    }
    Ok(columns)
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

/// Result columns that the output schema does not have, or that occur twice.
fn surplus(results: &[ResultColumn], output: &OutputSchema<'_>) -> Vec<Mistake> {
    let mut seen = HashSet::new();
    let mut mistakes = Vec::new();
    for result in results {
        let name = &result.planned.name;
        if !seen.insert(name) {
            let what = format!("two result columns are named `{name}`");
            mistakes.push(
                Mistake::new(SQL, what)
                    .hint("leave one out, as in SELECT i.* EXCEPT (column), or rename it with AS"),
            );
        } else if output.schema.field_with_name(name).is_err() {
            mistakes.push(unknown_column(result, results, output));
        }
    }
    mistakes
}

fn unknown_column(
    result: &ResultColumn,
    results: &[ResultColumn],
    output: &OutputSchema<'_>,
) -> Mistake {
    let name = &result.planned.name;
    let is_missing = |field: &&str| !results.iter().any(|result| result.planned.name == **field);
    let fields = output.schema.fields().iter().map(|field| field.name().as_str());
    let suggestion = did_you_mean(name, fields.filter(is_missing));
    let what = format!("result column `{name}` is not in {}{suggestion}", output.file_name());
    let mistake = Mistake::new(SQL, what);
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_plain || *name == result.sql {
        mistake
    } else {
        mistake.hint(format!("name it: {} AS …", result.sql))
    }
}

fn output_column(
    result: Option<&ResultColumn>,
    field: &FieldRef,
    output: &OutputSchema<'_>,
) -> Result<PlannedColumn, Box<Mistake>> {
    let name = identifier(field.name());
    let (file, expected) = (output.file_name(), type_name(field.data_type()));
    let mistake = |what: String| Box::new(Mistake::new(SQL, what));
    let Some(ResultColumn { planned, sql }) = result else {
        let what = format!(
            "the result has no column `{}`, which {file} expects as {expected}",
            field.name()
        );
        return Err(Box::new(Mistake::new(SQL, what).hint(format!("… AS {name}"))));
    };
    if planned.data_type == DataType::Null && !field.is_nullable() {
        return Err(mistake(format!(
            "result column `{}` is always null, {file} expects {expected}",
            field.name()
        )));
    }
    let mismatch = match Coercion::between(&planned.data_type, field.data_type()) {
        Ok(coercion) => return Ok(PlannedColumn { planned: planned.clone(), coercion }),
        Err(mismatch) => mismatch,
    };
    let Mismatch { path, what } = mismatch;
    if !path.is_empty() {
        return Err(mistake(format!("`{}{path}` of the result {what} {file}", field.name())));
    }
    let actual = type_name(&planned.data_type);
    let what = format!("result column `{}` is {actual}, {file} expects {expected}", field.name());
    Err(match cast_sql(sql, &planned.data_type, field.data_type()) {
        Some(cast) => Box::new(Mistake::new(SQL, what).hint(format!("{cast} AS {name}"))),
        None => mistake(what),
    })
}

impl OutputSchema<'_> {
    fn file_name(&self) -> String {
        self.file.file_name().unwrap_or(self.file.as_os_str()).to_string_lossy().into_owned()
    }
}
