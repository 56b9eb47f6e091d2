//! The form of SQL that weir accepts: one record in, at most one record out, or one for each element
//! of a list ([`unnest`](mod@unnest)). Constructs that need more than one record are refused by name,
//! with what to do instead.

mod unnest;

pub(crate) use unnest::Unnest;

use crate::catalog::INPUT;
use crate::dialect::Sql;
use crate::messages::{ONE_RECORD, excerpt, list};
use datafusion_sql::sqlparser::ast::{
    Expr, GroupByExpr, Join, JoinConstraint, JoinOperator, Query, Select, SelectItem, SetExpr,
    SetOperator, Statement, TableFactor, TableWithJoins,
};
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::Token;
use weir_model::mistake::Mistake;

/// The key of the SQL in the pipeline file.
pub(crate) const SQL: &str = "transform.sql";

const NO_FROM: &str = "has no FROM input";

/// The parts of `transform.sql`.
#[derive(Debug)]
pub(crate) struct Transform {
    /// The items between SELECT and FROM.
    pub(crate) items: Vec<SelectItem>,
    /// `input`, a table for each of `unnests`, and the lookups. Inner joins are written as LEFT
    /// JOIN, see [`Transform::is_inner`].
    pub(crate) from: TableWithJoins,
    /// The lists whose elements become rows.
    pub(crate) unnests: Vec<Unnest>,
    /// For each lookup, whether records without a match are filtered.
    pub(crate) is_inner: Vec<bool>,
    /// WHERE.
    pub(crate) filter: Option<Expr>,
}

/// Parses `transform.sql`; the error lists every construct that is refused.
pub(crate) fn parse_transform(sql: &str) -> Result<Transform, Vec<Mistake>> {
    let statements =
        Parser::parse_sql(&Sql, sql).map_err(|e| vec![Mistake::new(SQL, parse_error(&e))])?;
    let refused = |what: &str| vec![Mistake::new(SQL, what).hint(ONE_RECORD)];
    let [statement] = <[Statement; 1]>::try_from(statements)
        .map_err(|s| refused(&format!("is {} statements, not one SELECT", s.len())))?;
    let Statement::Query(query) = statement else { return Err(refused("is not a SELECT")) };
    let mut problems = query_clauses(&query);
    let select = match *query.body.clone() {
        SetExpr::Select(select) => select,
        other => return Err(refused(&body_problem(&other))),
    };
    problems.extend(select_clauses(&select));
    let is_plain = is_plain(&query, &select);
    let (from, unnests) = match unnest::separate(select.from) {
        Ok(separated) => separated,
        Err(more) => {
            problems.extend(more);
            return Err(problems.iter().flat_map(|what| refused(what)).collect());
        }
    };
    problems.extend(from_problems(&from, &unnests));
    if problems.is_empty() && !is_plain {
        problems.push("has a clause that is not supported".into());
    }
    if !problems.is_empty() {
        return Err(problems.iter().flat_map(|what| refused(what)).collect());
    }
    let [from] = <[TableWithJoins; 1]>::try_from(from).map_err(|_| refused(NO_FROM))?;
    Ok(into_transform(select.projection, from, unnests, select.selection))
}

fn into_transform(
    items: Vec<SelectItem>,
    mut from: TableWithJoins,
    unnests: Vec<Unnest>,
    filter: Option<Expr>,
) -> Transform {
    let is_inner = from
        .joins
        .iter()
        .skip(unnests.len())
        .map(|j| matches!(j.join_operator, JoinOperator::Inner(_) | JoinOperator::Join(_)))
        .collect();
    for join in &mut from.joins {
        // Rules are evaluated before records without a match are filtered, so for them every join
        // is a LEFT JOIN.
        if let JoinOperator::Inner(constraint) | JoinOperator::Join(constraint) =
            &join.join_operator
        {
            join.join_operator = JoinOperator::Left(constraint.clone());
        }
    }
    Transform { items, from, unnests, is_inner, filter }
}

/// Parses the condition of a reject rule.
pub(crate) fn parse_condition(key: &str, condition: &str) -> Result<Expr, Vec<Mistake>> {
    let parse = || {
        let mut parser = Parser::new(&Sql).try_with_sql(condition)?;
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

fn query_clauses(query: &Query) -> Vec<String> {
    let refused = [
        (query.with.is_some(), "WITH"),
        (query.order_by.is_some(), "ORDER BY"),
        (query.limit_clause.is_some(), "LIMIT"),
        (query.fetch.is_some(), "FETCH"),
        (!query.locks.is_empty(), "FOR UPDATE"),
    ];
    not_supported(&refused)
}

fn select_clauses(select: &Select) -> Vec<String> {
    let is_grouped = match &select.group_by {
        GroupByExpr::Expressions(by, modifiers) => !by.is_empty() || !modifiers.is_empty(),
        GroupByExpr::All(_) => true,
    };
    let refused = [
        (select.distinct.is_some(), "DISTINCT"),
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (is_grouped, "GROUP BY"),
        (select.having.is_some(), "HAVING"),
        (!select.named_window.is_empty(), "WINDOW"),
        (select.qualify.is_some(), "QUALIFY"),
    ];
    not_supported(&refused)
}

fn not_supported(clauses: &[(bool, &str)]) -> Vec<String> {
    clauses
        .iter()
        .filter(|(present, _)| *present)
        .map(|(_, name)| format!("{name} is not supported"))
        .collect()
}

fn body_problem(body: &SetExpr) -> String {
    match body {
        SetExpr::SetOperation { op: SetOperator::Union, .. } => "UNION is not supported".into(),
        SetExpr::SetOperation { op, .. } => format!("{op} is not supported"),
        SetExpr::Values(_) => "VALUES is not supported".into(),
        SetExpr::Query(_) => "a SELECT in parentheses is not supported".into(),
        _ => "is not a SELECT".into(),
    }
}

fn from_problems(from: &[TableWithJoins], unnests: &[Unnest]) -> Vec<String> {
    let [from] = from else {
        return vec![if from.is_empty() {
            NO_FROM.into()
        } else {
            "FROM lists several tables; join them with LEFT JOIN … USING (…)".into()
        }];
    };
    let mut problems: Vec<String> = std::iter::once(&from.relation)
        .chain(from.joins.iter().map(|j| &j.relation))
        .filter_map(table_problem)
        .collect();
    problems.extend(from.joins.iter().skip(unnests.len()).filter_map(join_problem));
    if problems.is_empty() {
        problems.extend(input_problem(from));
    }
    problems
}

/// Refuses everything but `name [alias]`.
fn table_problem(table: &TableFactor) -> Option<String> {
    match table {
        TableFactor::Table { name, alias, .. } => {
            let alias_text = alias.as_ref().map(|a| format!(" {a}")).unwrap_or_default();
            let columns = alias.as_ref().is_some_and(|a| !a.columns.is_empty() || a.at.is_some());
            (columns || table.to_string() != format!("{name}{alias_text}"))
                .then(|| format!("`{table}` in FROM is more than a table and its alias"))
        }
        TableFactor::Derived { .. } => {
            Some(format!("the subquery `{}` is not supported", excerpt(table)))
        }
        TableFactor::NestedJoin { .. } => Some("joins in parentheses are not supported".into()),
        other => Some(format!("`{}` is not supported in FROM", excerpt(other))),
    }
}

fn join_problem(join: &Join) -> Option<String> {
    let (JoinOperator::Join(constraint)
    | JoinOperator::Inner(constraint)
    | JoinOperator::Left(constraint)
    | JoinOperator::LeftOuter(constraint)) = &join.join_operator
    else {
        return Some(format!(
            "`{}` is not supported, only JOIN and LEFT JOIN with a lookup",
            excerpt(join)
        ));
    };
    match constraint {
        JoinConstraint::On(_) | JoinConstraint::Using(_) if !join.global => None,
        JoinConstraint::Natural => {
            Some("NATURAL JOIN is not supported; name the key with USING (…)".into())
        }
        _ => Some(format!("`{}` has no ON or USING", excerpt(join))),
    }
}

fn input_problem(from: &TableWithJoins) -> Option<String> {
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

/// Whether the statement has nothing beyond what [`Transform`] keeps: no clause may be ignored
/// silently.
fn is_plain(query: &Query, select: &Select) -> bool {
    let items: Vec<String> = select.projection.iter().map(SelectItem::to_string).collect();
    let from: Vec<String> = select.from.iter().map(TableWithJoins::to_string).collect();
    let filter = select.selection.as_ref().map(|f| format!(" WHERE {f}")).unwrap_or_default();
    query.to_string() == format!("SELECT {} FROM {}{filter}", items.join(", "), from.join(", "))
}

/// sqlparser's message, with its position in words.
fn parse_error(error: &ParserError) -> String {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "is nested too deeply".into(),
    };
    match text.split_once(" at Line: ") {
        Some((what, position)) => {
            format!("{what} at line {} of the SQL", position.replace("Column: ", "column "))
        }
        None => text,
    }
}
