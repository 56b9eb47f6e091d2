//! FROM: which columns the rules and the SQL see, and where their values come from.

use crate::catalog::{Catalog, now_type};
use crate::lookup::{Index, Table, key_type};
use crate::messages::{identifier, list, planning_mistake, type_name};
use crate::query::Transform;
use crate::view::{Slot, View};
use arrow::datatypes::{DataType, Field};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef, DataFusionError, Result, TableReference};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{BinaryExpr, Cast, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{self, SelectItem, TableWithJoins};
use std::collections::HashMap;
use std::sync::Arc;
use weir_model::mistake::Mistake;

const SQL: &str = "transform.sql";

/// The columns that expressions may name.
pub(crate) struct Scope<'a> {
    catalog: &'a Catalog,
    from: TableWithJoins,
    schema: DFSchemaRef,
    slots: Vec<Slot>,
}

/// One lookup join, ready to run.
#[derive(Debug)]
pub(crate) struct Join {
    /// The lookup table.
    pub(crate) table: Arc<Table>,
    /// From keys to its rows.
    pub(crate) index: Index,
    /// The columns that the keys are computed from.
    pub(crate) view: View,
    /// The record's side of the key.
    pub(crate) keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether records without a match are filtered.
    pub(crate) inner: bool,
}

/// A planned expression: names resolved, types coerced, `now()` bound.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// The name of the result column.
    pub(crate) name: String,
    /// The expression over the scope.
    pub(crate) expr: Expr,
    /// Its type.
    pub(crate) data_type: DataType,
}

impl<'a> Scope<'a> {
    /// Plans FROM; the joins are returned beside it.
    pub(crate) fn new(
        catalog: &'a Catalog,
        transform: &Transform,
        tables: &[Arc<Table>],
    ) -> Result<(Scope<'a>, Vec<Join>), Vec<Mistake>> {
        let mistakes_of = |e: DataFusionError| vec![planning_mistake(SQL, &e)];
        let one = SelectItem::UnnamedExpr(ast::Expr::value(ast::Value::Number("1".into(), false)));
        let plan = plan_select(catalog, one, &transform.from).map_err(mistakes_of)?;
        let mut sources = Vec::new();
        flatten(plan.inputs()[0], &mut sources).map_err(mistakes_of)?;
        let mut scope = Scope {
            catalog,
            from: transform.from.clone(),
            schema: Arc::new(DFSchema::empty()),
            slots: Vec::new(),
        };
        scope.build(&plan, &sources).map_err(mistakes_of)?;
        let mut joins = Vec::new();
        let mut mistakes = Vec::new();
        for (source, &inner) in sources.iter().filter(|s| s.is_lookup).zip(&transform.inner) {
            // A table without a usable key has its own mistake; how it is joined cannot be judged.
            let Some(table) =
                tables.iter().find(|t| t.name() == source.table && !t.key_names().is_empty())
            else {
                continue;
            };
            match scope.join(source, table, inner) {
                Ok(join) => joins.push(join),
                Err(mistake) => mistakes.push(*mistake),
            }
        }
        if mistakes.is_empty() { Ok((scope, joins)) } else { Err(mistakes) }
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
        View::new(&self.schema, &self.slots, expressions)
    }

    /// Coerces types and replaces `now()` by its column.
    fn bind(&self, name: String, expr: Expr) -> Result<Planned> {
        let context = SimplifyContext::builder().with_schema(self.schema.clone()).build();
        let bound = expr
            .unalias()
            .transform_up(|e| {
                Ok(if is_now(&e) {
                    Transformed::yes(Expr::Column(now_column()))
                } else {
                    Transformed::no(e)
                })
            })?
            .data;
        let coerced = ExprSimplifier::new(context.clone()).coerce(bound, &self.schema)?;
        let expr = coerced.transform_up(|e| expand(e, &context))?.data;
        let data_type = expr.get_type(&self.schema)?;
        Ok(Planned { name, expr, data_type })
    }

    fn build(&mut self, plan: &LogicalPlan, sources: &[Source]) -> Result<()> {
        let from = plan.inputs()[0].schema();
        let mut fields: Vec<_> =
            from.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
        for (place, source) in sources.iter().enumerate() {
            // Sources stand in the order of FROM: the input, then one lookup per join.
            let slot = |column| {
                if place == 0 {
                    Slot::Input(column)
                } else {
                    Slot::Lookup { join: place - 1, column }
                }
            };
            self.slots.extend((0..source.schema.fields().len()).map(slot));
        }
        let now = now_column();
        fields.push((now.relation, Arc::new(Field::new(now.name, now_type(), false))));
        self.slots.push(Slot::Now);
        self.schema = Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?);
        Ok(())
    }

    fn join(&self, source: &Source, table: &Arc<Table>, inner: bool) -> Result<Join, Box<Mistake>> {
        let failed = |e: DataFusionError| Box::new(planning_mistake(SQL, &e));
        let pairs = source.key_pairs(table)?;
        let keys = pairs
            .into_iter()
            .map(|(column, key)| self.bind(column, key))
            .collect::<Result<Vec<_>>>()
            .map_err(failed)?;
        let types = keys.iter().map(|key| comparable(key, table)).collect::<Result<Vec<_>, _>>()?;
        let columns: Vec<usize> =
            keys.iter().filter_map(|k| table.schema().index_of(&k.name).ok()).collect();
        let index = Index::build(table, &columns, &types)
            .map_err(|what| Box::new(Mistake::new(table.mistake_key("key"), what)))?;
        let view = self.view(keys.iter().map(|k| &k.expr)).map_err(failed)?;
        let cast = |(key, to): (Planned, DataType)| {
            view.compile(&Expr::Cast(Cast::new(Box::new(key.expr), to)))
        };
        let keys = keys.into_iter().zip(types).map(cast).collect::<Result<_>>().map_err(failed)?;
        Ok(Join { table: table.clone(), index, view, keys, inner })
    }
}

/// The type in which the record's side of a key is compared with the table's.
fn comparable(key: &Planned, table: &Table) -> Result<DataType, Box<Mistake>> {
    let unusable = || {
        format!("`{}` is joined by a {}, which is no key", table.name(), type_name(&key.data_type))
    };
    key_type(&key.data_type).ok_or_else(|| Box::new(Mistake::new(SQL, unusable())))
}

/// One table of FROM.
struct Source {
    table: String,
    alias: TableReference,
    schema: DFSchemaRef,
    is_lookup: bool,
    /// The equalities of the join, in either order.
    pairs: Vec<Expr>,
}

impl Source {
    /// For each column of the table's key, the record's side; a mistake unless the join is by the
    /// whole key and nothing else.
    fn key_pairs(&self, table: &Table) -> Result<Vec<(String, Expr)>, Box<Mistake>> {
        let pairs: Option<Vec<(String, Expr)>> =
            self.pairs.iter().map(|pair| self.sides(pair)).collect();
        let mut wanted = table.key_names();
        wanted.sort_unstable();
        let is_key = |pairs: &Vec<(String, Expr)>| {
            let mut joined: Vec<&str> = pairs.iter().map(|(column, _)| column.as_str()).collect();
            joined.sort_unstable();
            joined == wanted
        };
        pairs.filter(is_key).ok_or_else(|| {
            let key = list(table.key_names());
            let what = format!(
                "`{}` must be joined by equality on its whole key, {key}, and on nothing else",
                table.name()
            );
            let on: Vec<String> = table
                .key_names()
                .iter()
                .map(|k| format!("… = {}.{}", self.alias, identifier(k)))
                .collect();
            Box::new(Mistake::new(SQL, what).hint(format!(
                "LEFT JOIN {} {} ON {}",
                table.name(),
                self.alias,
                on.join(" AND ")
            )))
        })
    }

    /// The lookup's column and the record's expression of one equality.
    fn sides(&self, pair: &Expr) -> Option<(String, Expr)> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = pair else {
            return None;
        };
        let own = |column: &Column| self.schema.has_column(column);
        let split = |mine: &Expr, other: &Expr| match mine {
            Expr::Column(column) if own(column) && !other.column_refs().into_iter().any(own) => {
                Some((column.name.clone(), other.clone()))
            }
            _ => None,
        };
        split(left, right).or_else(|| split(right, left))
    }
}

/// The tables of a left-deep tree of joins, in the order of FROM.
fn flatten(plan: &LogicalPlan, sources: &mut Vec<Source>) -> Result<()> {
    if let LogicalPlan::Join(join) = plan {
        flatten(&join.left, sources)?;
        let mut pairs: Vec<Expr> =
            join.on.iter().map(|(left, right)| left.clone().eq(right.clone())).collect();
        pairs.extend(join.filter.iter().cloned().flat_map(split_conjunction_owned));
        sources.push(Source { pairs, is_lookup: true, ..leaf(&join.right)? });
    } else {
        sources.push(leaf(plan)?);
    }
    Ok(())
}

fn leaf(plan: &LogicalPlan) -> Result<Source> {
    match plan {
        LogicalPlan::TableScan(scan) => Ok(Source {
            table: scan.table_name.table().into(),
            alias: scan.table_name.clone(),
            schema: scan.projected_schema.clone(),
            is_lookup: false,
            pairs: Vec::new(),
        }),
        LogicalPlan::SubqueryAlias(alias) => Ok(Source {
            alias: alias.alias.clone(),
            schema: alias.schema.clone(),
            ..leaf(&alias.input)?
        }),
        other => {
            Err(DataFusionError::Plan(format!("`{}` is not supported in FROM", other.display())))
        }
    }
}

/// Plans `SELECT item FROM from`, so that wildcards, USING and qualified names mean what they mean
/// in SQL.
fn plan_select(catalog: &Catalog, item: SelectItem, from: &TableWithJoins) -> Result<LogicalPlan> {
    let template = "SELECT 1 FROM input";
    let mut statements = datafusion_sql::sqlparser::parser::Parser::parse_sql(
        &datafusion_sql::sqlparser::dialect::GenericDialect {},
        template,
    )
    .map_err(|e| DataFusionError::Plan(e.to_string()))?;
    let Some(ast::Statement::Query(mut query)) = statements.pop() else {
        return Err(DataFusionError::Plan("no query".into()));
    };
    if let ast::SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![item];
        select.from = vec![from.clone()];
    }
    SqlToRel::new_with_options(catalog, dialect())
        .sql_statement_to_plan(ast::Statement::Query(query))
}

/// Names are written as in the schema, whatever their case; `0.5` is a decimal, as in standard SQL.
fn dialect() -> ParserOptions {
    ParserOptions {
        enable_ident_normalization: false,
        parse_float_as_decimal: true,
        map_string_types_to_utf8view: false,
        ..ParserOptions::default()
    }
}

fn is_now(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == "now")
}

/// Some functions (coalesce, nvl) exist only as a rewrite into others.
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

/// The column that carries `now()`; the parentheses keep it apart from the user's names.
fn now_column() -> Column {
    Column::new(Some(TableReference::bare("now()")), "now()")
}
