//! FROM: the columns that the rules and the SQL can name, and where their values come from.

mod from;
mod unnest;

use crate::catalog::{Catalog, now_type};
use crate::dialect::Sql;
use crate::functions::{cast_as_in_postgresql, rounded_quotient};
use crate::join::Join;
use crate::lookup::{Index, Table, key_type};
use crate::messages::{planning_mistake, type_name};
use crate::moments::as_moments;
use crate::query::{SQL, Transform};
use crate::rewrite::rewrite;
use crate::view::{ColumnSource, View};
use arrow::datatypes::{DataType, Field};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef, DataFusionError, Result, TableReference};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{Cast, Expr, ExprSchemable, LogicalPlan};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{self, SelectItem, TableWithJoins};
use from::{FromTable, KeyPair};
use std::collections::HashMap;
use std::sync::Arc;
use weir_model::mistake::Mistake;

pub(crate) use unnest::plan_unnests;

/// The columns that expressions may name.
pub(crate) struct Scope<'a> {
    catalog: &'a Catalog,
    from: TableWithJoins,
    schema: DFSchemaRef,
    /// Per column of `schema`.
    sources: Vec<ColumnSource>,
}

/// FROM, planned.
pub(crate) struct PlannedFrom<'a> {
    pub(crate) scope: Scope<'a>,
    /// In the order of FROM.
    pub(crate) joins: Vec<Join>,
}

/// A planned expression: names resolved, types coerced, `now()` bound.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// The name of the result column.
    pub(crate) name: String,
    /// The expression over the scope.
    pub(crate) expr: Expr,
    pub(crate) data_type: DataType,
}

impl<'a> PlannedFrom<'a> {
    /// Plans FROM.
    pub(crate) fn new(
        catalog: &'a Catalog,
        transform: &Transform,
        tables: &[Arc<Table>],
    ) -> Result<PlannedFrom<'a>, Vec<Mistake>> {
        let num_unnests = transform.unnests.len();
        let (scope, from_tables) = Scope::new(catalog, transform.from.clone(), num_unnests)
            .map_err(|e| vec![planning_mistake(SQL, &e)])?;
        let joins = scope.joins(&from_tables[1 + num_unnests..], transform, tables)?;
        Ok(PlannedFrom { scope, joins })
    }
}

impl<'a> Scope<'a> {
    /// The scope of `from`: the input, `num_unnests` tables of elements, and lookups.
    fn new(
        catalog: &'a Catalog,
        from: TableWithJoins,
        num_unnests: usize,
    ) -> Result<(Scope<'a>, Vec<FromTable>)> {
        let one = SelectItem::UnnamedExpr(ast::Expr::value(ast::Value::Number("1".into(), false)));
        let plan = plan_select(catalog, one, &from)?;
        let tables = from::tables(plan.inputs()[0])?;
        let schema = scope_schema(&plan, catalog)?;
        let sources = column_sources(&tables, num_unnests, catalog);
        Ok((Scope { catalog, from, schema, sources }, tables))
    }

    /// Tables and functions.
    pub(crate) fn catalog(&self) -> &'a Catalog {
        self.catalog
    }

    /// Plans one SELECT item (a wildcard gives several expressions) or a condition.
    pub(crate) fn plan(&self, key: &str, item: SelectItem) -> Result<Vec<Planned>, Vec<Mistake>> {
        let mistakes_of = |e: DataFusionError| vec![planning_mistake(key, &e)];
        let plan = plan_select(self.catalog, item, &self.from).map_err(mistakes_of)?;
        let LogicalPlan::Projection(projection) = plan else {
            return Err(vec![Mistake::new(key, "is not a list of expressions")]);
        };
        let name = |i: usize| projection.schema.field(i).name().clone();
        let planned =
            projection.expr.iter().enumerate().map(|(i, expr)| self.bind(name(i), expr.clone()));
        planned.collect::<Result<_>>().map_err(mistakes_of)
    }

    /// A view of the columns that `expressions` read.
    pub(crate) fn view<'e>(&self, expressions: impl IntoIterator<Item = &'e Expr>) -> Result<View> {
        View::new(&self.schema, &self.sources, expressions)
    }

    /// Where the columns come from that an expression reads.
    pub(crate) fn sources(&self, expr: &Expr) -> impl Iterator<Item = ColumnSource> {
        let columns = expr.column_refs().into_iter();
        columns.filter_map(|column| Some(self.sources[self.schema.index_of_column(column).ok()?]))
    }

    /// Coerces types and replaces `now()` and what stands for the record's metadata by columns.
    fn bind(&self, name: String, expr: Expr) -> Result<Planned> {
        let context = SimplifyContext::builder().with_schema(self.schema.clone()).build();
        let bound = expr.unalias().transform_up(|e| Ok(self.bind_call(e)))?.data;
        let own = bound.transform_up(|e| {
            let expr = as_moments(cast_as_in_postgresql(e, &*self.schema)?, &*self.schema);
            Ok(Transformed::yes(rounded_quotient(expr, &*self.schema)))
        })?;
        let coerced = ExprSimplifier::new(context.clone()).coerce(own.data, &self.schema)?;
        let expr = coerced.transform_up(|e| expand(e, &context))?.data;
        let data_type = expr.get_type(&self.schema)?;
        Ok(Planned { name, expr, data_type })
    }

    fn bind_call(&self, expr: Expr) -> Transformed<Expr> {
        match self.catalog.metadata.bind(&expr) {
            Some(column) => Transformed::yes(column),
            None => bind_now(expr),
        }
    }

    fn joins(
        &self,
        lookups: &[FromTable],
        transform: &Transform,
        tables: &[Arc<Table>],
    ) -> Result<Vec<Join>, Vec<Mistake>> {
        let mut joins = Vec::new();
        let mut mistakes = Vec::new();
        for (lookup, &is_inner) in lookups.iter().zip(&transform.is_inner) {
            // A table without a usable key has its own mistake; its join cannot be checked.
            let Some(table) =
                tables.iter().find(|t| t.name() == lookup.name && !t.key_names().is_empty())
            else {
                continue;
            };
            match self.join(lookup, table, is_inner) {
                Ok(join) => joins.push(join),
                Err(mistake) => mistakes.push(*mistake),
            }
        }
        if mistakes.is_empty() { Ok(joins) } else { Err(mistakes) }
    }

    fn join(
        &self,
        lookup: &FromTable,
        table: &Arc<Table>,
        is_inner: bool,
    ) -> Result<Join, Box<Mistake>> {
        let failed = |e: DataFusionError| Box::new(planning_mistake(SQL, &e));
        let bind = |KeyPair { column, record_side }| self.bind(column, record_side);
        let pairs = lookup.key_pairs(table)?;
        let keys: Vec<Planned> =
            pairs.into_iter().map(bind).collect::<Result<_>>().map_err(failed)?;
        let types: Vec<DataType> =
            keys.iter().map(|key| comparison_type(key, table)).collect::<Result<_, _>>()?;
        let columns: Vec<usize> =
            keys.iter().filter_map(|key| table.schema().index_of(&key.name).ok()).collect();
        let index = Index::build(table, &columns, &types)
            .map_err(|what| Box::new(Mistake::new(table.mistake_key("key"), what)))?;
        let view = self.view(keys.iter().map(|key| &key.expr)).map_err(failed)?;
        let compile = |(key, to): (Planned, DataType)| {
            view.compile(&Expr::Cast(Cast::new(Box::new(key.expr), to)))
        };
        let keys =
            keys.into_iter().zip(types).map(compile).collect::<Result<_>>().map_err(failed)?;
        Ok(Join { table: table.clone(), index, view, keys, is_inner })
    }
}

/// The columns of FROM, and after them the one of `now()` and the record's metadata.
fn scope_schema(plan: &LogicalPlan, catalog: &Catalog) -> Result<DFSchemaRef> {
    let from = plan.inputs()[0].schema();
    let mut fields: Vec<_> =
        from.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
    let now = now_column();
    fields.push((now.relation, Arc::new(Field::new(now.name, now_type(), false))));
    fields.extend(catalog.metadata.fields());
    Ok(Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?))
}

/// The sources of the columns of [`scope_schema`]. Tables are in the order of FROM: the input,
/// the elements of lists, then one lookup per join.
fn column_sources(
    tables: &[FromTable],
    num_unnests: usize,
    catalog: &Catalog,
) -> Vec<ColumnSource> {
    let mut sources = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let columns = 0..table.schema.fields().len();
        sources.extend(columns.map(|column| match index.checked_sub(1) {
            None => ColumnSource::Input(column),
            Some(unnest) if unnest < num_unnests => ColumnSource::Element { unnest, column },
            Some(joined) => ColumnSource::Lookup { join: joined - num_unnests, column },
        }));
    }
    sources.push(ColumnSource::Now);
    sources.extend((0..catalog.metadata.columns().len()).map(ColumnSource::Metadata));
    sources
}

/// The type in which the record's side of a key is compared with the table's.
fn comparison_type(key: &Planned, table: &Table) -> Result<DataType, Box<Mistake>> {
    key_type(&key.data_type).ok_or_else(|| {
        let what = format!(
            "`{}` is joined by a {}, which cannot be a key",
            table.name(),
            type_name(&key.data_type)
        );
        Box::new(Mistake::new(SQL, what))
    })
}

/// Plans `SELECT item FROM from`, so that wildcards, USING and qualified names mean what they mean
/// in SQL.
fn plan_select(
    catalog: &Catalog,
    mut item: SelectItem,
    from: &TableWithJoins,
) -> Result<LogicalPlan> {
    let mut from = from.clone();
    rewrite(&mut item)?;
    rewrite(&mut from)?;
    catalog.metadata.as_calls(&mut item);
    catalog.metadata.as_calls(&mut from);
    let template = "SELECT 1 FROM input";
    let mut statements = datafusion_sql::sqlparser::parser::Parser::parse_sql(&Sql, template)
        .map_err(|e| DataFusionError::Plan(e.to_string()))?;
    let Some(ast::Statement::Query(mut query)) = statements.pop() else {
        return Err(DataFusionError::Plan("no query".into()));
    };
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![item];
        select.from = vec![from];
    }
    SqlToRel::new_with_options(catalog, parser_options())
        .sql_statement_to_plan(ast::Statement::Query(query))
}

/// Names are written as in the schema, case-sensitive; `0.5` is a decimal, as in standard SQL.
fn parser_options() -> ParserOptions {
    ParserOptions {
        enable_ident_normalization: false,
        parse_float_as_decimal: true,
        map_string_types_to_utf8view: false,
        ..ParserOptions::default()
    }
}

fn bind_now(expr: Expr) -> Transformed<Expr> {
    match &expr {
        Expr::ScalarFunction(call) if call.func.name() == "now" => {
            Transformed::yes(Expr::Column(now_column()))
        }
        _ => Transformed::no(expr),
    }
}

/// Some functions (coalesce, nvl) only exist as a rewrite into others.
fn expand(expr: Expr, context: &SimplifyContext) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = expr else {
        return Ok(Transformed::no(expr));
    };
    Ok(match func.simplify(args, context)? {
        ExprSimplifyResult::Simplified(expr) => Transformed::yes(expr),
        ExprSimplifyResult::Original(args) => {
            Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
        }
    })
}

/// The column that carries `now()`. The parentheses keep it apart from the user's names.
fn now_column() -> Column {
    Column::new(Some(TableReference::bare("now()")), "now()")
}
