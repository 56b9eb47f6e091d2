//! The shape of the SQL that weir takes: one record in, at most one record out. Everything that
//! needs more than one record, or that could turn one into several, is refused here, by name and
//! with what to do instead.

use crate::catalog::INPUT;
use crate::messages::{did_you_mean, list};
use datafusion_expr::planner::ContextProvider;
use datafusion_sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, GroupByExpr, Join, JoinConstraint, JoinOperator, Query,
    Select, SelectItem, SetExpr, SetOperator, Statement, TableFactor, TableWithJoins, Visit,
    Visitor,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::Token;
use std::convert::Infallible;
use std::ops::ControlFlow;
use weir_model::mistake::Mistake;

const FUNCTIONS_OVER_RECORDS: [&str; 34] = [
    "approx_distinct",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "cume_dist",
    "dense_rank",
    "every",
    "first_value",
    "grouping",
    "lag",
    "last_value",
    "lead",
    "listagg",
    "max",
    "mean",
    "median",
    "min",
    "mode",
    "nth_value",
    "ntile",
    "percent_rank",
    "percentile_cont",
    "rank",
    "row_number",
    "stddev",
    "string_agg",
    "sum",
    "var_pop",
    "variance",
];

/// What to do, said with every construct that looks at other records.
const ONE_RECORD: &str =
    "weir's SQL sees one record at a time: SELECT … FROM input [LEFT JOIN a lookup …] [WHERE …]";

const NO_FROM: &str = "has no FROM input";

/// `transform.sql`, taken apart.
#[derive(Debug)]
pub(crate) struct Transform {
    /// The items between SELECT and FROM.
    pub(crate) items: Vec<SelectItem>,
    /// `input` and its joins; inner joins are written as LEFT JOIN, see [`Transform::inner`].
    pub(crate) from: TableWithJoins,
    /// For each join, whether a record without a match is filtered.
    pub(crate) inner: Vec<bool>,
    /// WHERE.
    pub(crate) filter: Option<Expr>,
}

/// Takes `transform.sql` apart; the error lists every construct that is refused.
pub(crate) fn parse_transform(sql: &str) -> Result<Transform, Vec<Mistake>> {
    const KEY: &str = "transform.sql";
    let statements = Parser::parse_sql(&GenericDialect {}, sql)
        .map_err(|e| vec![Mistake::new(KEY, parse_error(&e))])?;
    let refused = |what: &str| vec![Mistake::new(KEY, what).hint(ONE_RECORD)];
    let [statement] = <[Statement; 1]>::try_from(statements)
        .map_err(|s| refused(&format!("is {} statements, not one SELECT", s.len())))?;
    let Statement::Query(query) = statement else { return Err(refused("is not a SELECT")) };
    let mut complaints = clauses_of_query(&query);
    let select = match *query.body.clone() {
        SetExpr::Select(select) => select,
        other => return Err(refused(&body_complaint(&other))),
    };
    complaints.extend(clauses_of_select(&select));
    complaints.extend(shape_of_from(&select.from));
    if complaints.is_empty() && !is_plain(&query, &select) {
        complaints.push("has a clause that weir does not know".into());
    }
    if !complaints.is_empty() {
        return Err(complaints.iter().flat_map(|what| refused(what)).collect());
    }
    let [from] = <[TableWithJoins; 1]>::try_from(select.from).map_err(|_| refused(NO_FROM))?;
    Ok(take_apart(select.projection, from, select.selection))
}

fn take_apart(items: Vec<SelectItem>, mut from: TableWithJoins, filter: Option<Expr>) -> Transform {
    let inner = from
        .joins
        .iter()
        .map(|j| matches!(j.join_operator, JoinOperator::Inner(_) | JoinOperator::Join(_)))
        .collect();
    for join in &mut from.joins {
        // Rules are evaluated before a record without a match is filtered, so to them every join is
        // a LEFT JOIN.
        if let JoinOperator::Inner(constraint) | JoinOperator::Join(constraint) =
            &join.join_operator
        {
            join.join_operator = JoinOperator::Left(constraint.clone());
        }
    }
    Transform { items, from, inner, filter }
}

/// Parses the condition of a reject rule.
pub(crate) fn parse_condition(key: &str, condition: &str) -> Result<Expr, Vec<Mistake>> {
    let parse = || {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(condition)?;
        let expr = parser.parse_expr()?;
        Ok((expr, parser.peek_token().token))
    };
    match parse() {
        Ok((expr, Token::EOF)) => Ok(expr),
        Ok((expr, token)) => Err(vec![Mistake::new(
            key,
            format!("unexpected `{token}` after the condition `{expr}`"),
        )]),
        Err(error) => Err(vec![Mistake::new(key, parse_error(&error))]),
    }
}

/// Everything inside an expression (or a list of SELECT items, or a FROM) that is refused.
pub(crate) fn check<V: Visit>(key: &str, part: &V, catalog: &impl ContextProvider) -> Vec<Mistake> {
    let mut inspector = Inspector { catalog, complaints: Vec::new() };
    let ControlFlow::Continue(()) = part.visit(&mut inspector);
    inspector.complaints.dedup();
    inspector.complaints.into_iter().map(|mistake| Mistake { key: key.into(), ..mistake }).collect()
}

struct Inspector<'a, C> {
    catalog: &'a C,
    complaints: Vec<Mistake>,
}

impl<C: ContextProvider> Visitor for Inspector<'_, C> {
    type Break = Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Infallible> {
        self.complain(
            format!("the subquery `({})` is not supported", shortened(query)),
            ONE_RECORD,
        );
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Infallible> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let name = function.name.to_string().to_lowercase();
        if has_modifiers(function) {
            self.complain(format!("`{}` has more than arguments", shortened(function)), ONE_RECORD);
        } else if function.over.is_some() {
            self.complain(format!("the window function `{name}` is not supported"), ONE_RECORD);
        } else if FUNCTIONS_OVER_RECORDS.contains(&name.as_str()) {
            let hint = match name.as_str() {
                "max" => "the larger of several values of one record is greatest(a, b)",
                "min" => "the smaller of several values of one record is least(a, b)",
                _ => ONE_RECORD,
            };
            self.complain(format!("the aggregate `{name}` is not supported"), hint);
        } else {
            self.check_function(&function.name.to_string());
        }
        ControlFlow::Continue(())
    }
}

impl<C: ContextProvider> Inspector<'_, C> {
    fn complain(&mut self, what: String, hint: &str) {
        self.complaints.push(Mistake::new("", what).hint(hint));
    }

    fn check_function(&mut self, name: &str) {
        use datafusion_expr::Volatility::Immutable;
        let Some(function) = self.catalog.get_function_meta(&name.to_lowercase()) else {
            let known = self.catalog.udf_names();
            let close = did_you_mean(name, known.iter().map(String::as_str));
            return self.complaints.push(Mistake::new("", format!("no function `{name}`{close}")));
        };
        // A record that is processed again after a crash must come out the same.
        if function.signature().volatility != Immutable && function.name() != "now" {
            let hint = match function.name() {
                "current_date" => "CAST(now() AS DATE)",
                "current_time" => "CAST(now() AS TIME)",
                _ => {
                    "of the functions that do not only depend on the record, now() alone is available"
                }
            };
            self.complaints.push(
                Mistake::new("", format!("the function `{name}` is not supported")).hint(hint),
            );
        }
    }
}

/// DISTINCT, FILTER, WITHIN GROUP and the like, which planners tend to ignore for scalar functions.
fn has_modifiers(function: &Function) -> bool {
    let in_list = match &function.args {
        FunctionArguments::List(list) => {
            list.duplicate_treatment.is_some() || !list.clauses.is_empty()
        }
        FunctionArguments::Subquery(_) | FunctionArguments::None => false,
    };
    let aggregate =
        FUNCTIONS_OVER_RECORDS.contains(&function.name.to_string().to_lowercase().as_str());
    !aggregate
        && (in_list
            || function.filter.is_some()
            || function.null_treatment.is_some()
            || !function.within_group.is_empty())
}

fn clauses_of_query(query: &Query) -> Vec<String> {
    let refused = [
        (query.with.is_some(), "WITH"),
        (query.order_by.is_some(), "ORDER BY"),
        (query.limit_clause.is_some(), "LIMIT"),
        (query.fetch.is_some(), "FETCH"),
        (!query.locks.is_empty(), "FOR UPDATE"),
    ];
    names_of(&refused)
}

fn clauses_of_select(select: &Select) -> Vec<String> {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, with) if by.is_empty() && with.is_empty());
    let refused = [
        (select.distinct.is_some(), "DISTINCT"),
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (grouped, "GROUP BY"),
        (select.having.is_some(), "HAVING"),
        (!select.named_window.is_empty(), "WINDOW"),
        (select.qualify.is_some(), "QUALIFY"),
    ];
    names_of(&refused)
}

fn names_of(refused: &[(bool, &str)]) -> Vec<String> {
    refused
        .iter()
        .filter(|(present, _)| *present)
        .map(|(_, name)| format!("{name} is not supported"))
        .collect()
}

fn body_complaint(body: &SetExpr) -> String {
    match body {
        SetExpr::SetOperation { op: SetOperator::Union, .. } => "UNION is not supported".into(),
        SetExpr::SetOperation { op, .. } => format!("{op} is not supported"),
        SetExpr::Values(_) => "VALUES is not supported".into(),
        SetExpr::Query(_) => "a SELECT in parentheses is not supported".into(),
        _ => "is not a SELECT".into(),
    }
}

fn shape_of_from(from: &[TableWithJoins]) -> Vec<String> {
    let [from] = from else {
        return vec![if from.is_empty() {
            NO_FROM.into()
        } else {
            "FROM lists several tables; join them with LEFT JOIN … USING (…)".into()
        }];
    };
    let mut complaints: Vec<String> = std::iter::once(&from.relation)
        .chain(from.joins.iter().map(|j| &j.relation))
        .filter_map(table_complaint)
        .collect();
    complaints.extend(from.joins.iter().filter_map(join_complaint));
    if complaints.is_empty() {
        complaints.extend(place_of_input(from));
    }
    complaints
}

/// Refuses everything but `name [alias]`.
fn table_complaint(table: &TableFactor) -> Option<String> {
    match table {
        TableFactor::Table { name, alias, .. } => {
            let alias_text = alias.as_ref().map(|a| format!(" {a}")).unwrap_or_default();
            let columns = alias.as_ref().is_some_and(|a| !a.columns.is_empty() || a.at.is_some());
            (columns || table.to_string() != format!("{name}{alias_text}"))
                .then(|| format!("`{table}` in FROM is more than a table and its alias"))
        }
        TableFactor::Derived { .. } => {
            Some(format!("the subquery `{}` is not supported", shortened(table)))
        }
        TableFactor::NestedJoin { .. } => Some("joins in parentheses are not supported".into()),
        other => Some(format!("`{}` is not supported in FROM", shortened(other))),
    }
}

fn join_complaint(join: &Join) -> Option<String> {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)) = &join.join_operator
    else {
        return Some(format!(
            "`{}` is not supported, only JOIN and LEFT JOIN with a lookup",
            shortened(join)
        ));
    };
    match constraint {
        JoinConstraint::On(_) | JoinConstraint::Using(_) if !join.global => None,
        JoinConstraint::Natural => {
            Some("NATURAL JOIN is not supported; name the key with USING (…)".into())
        }
        _ => Some(format!("`{}` has no ON or USING", shortened(join))),
    }
}

fn place_of_input(from: &TableWithJoins) -> Option<String> {
    let name = |table: &TableFactor| match table {
        TableFactor::Table { name, .. } => name
            .0
            .last()
            .and_then(|part| part.as_ident())
            .map(|i| i.value.clone())
            .unwrap_or_default(),
        _ => String::new(),
    };
    let first = name(&from.relation);
    if first != INPUT {
        return Some(format!("FROM begins with {}, not with `{INPUT}`", list([&first])));
    }
    let again = from.joins.iter().any(|join| name(&join.relation) == INPUT);
    again.then(|| format!("`{INPUT}` is joined with itself; only lookups can be joined"))
}

/// Whether the statement says nothing beyond what [`Transform`] keeps: a clause that is silently
/// ignored would be a lie.
fn is_plain(query: &Query, select: &Select) -> bool {
    let items: Vec<String> = select.projection.iter().map(SelectItem::to_string).collect();
    let from: Vec<String> = select.from.iter().map(TableWithJoins::to_string).collect();
    let filter = select.selection.as_ref().map(|f| format!(" WHERE {f}")).unwrap_or_default();
    query.to_string() == format!("SELECT {} FROM {}{filter}", items.join(", "), from.join(", "))
}

/// The beginning of a piece of SQL.
fn shortened(sql: &impl std::fmt::Display) -> String {
    const LENGTH: usize = 60;
    let text = sql.to_string();
    if text.chars().count() <= LENGTH {
        text
    } else {
        text.chars().take(LENGTH - 1).chain(['…']).collect()
    }
}

/// sqlparser's message with the place in words.
fn parse_error(error: &ParserError) -> String {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "is nested too deeply".into(),
    };
    match text.split_once(" at Line: ") {
        Some((what, place)) => {
            format!("{what} at line {} of the SQL", place.replace("Column: ", "column "))
        }
        None => text,
    }
}
