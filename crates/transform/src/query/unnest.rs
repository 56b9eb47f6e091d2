//! `unnest(list)` in FROM: a row for each element, as in PostgreSQL.

use crate::messages::excerpt;
use datafusion_sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    TableAlias, TableFactor, TableWithJoins, Value,
};

const NAME: &str = "unnest";

/// A list whose elements become rows of their own.
#[derive(Debug, Clone)]
pub(crate) struct Unnest {
    /// The name of the table of elements.
    pub(crate) name: Ident,
    /// The names of its first columns, where they are given.
    pub(crate) columns: Vec<String>,
    /// The list, or the map.
    pub(crate) list: Expr,
    /// Whether the last column is the number of the element, from 1.
    pub(crate) ordinality: bool,
    /// Whether records without elements are filtered.
    pub(crate) is_inner: bool,
}

/// FROM with a plain table in place of each `unnest(…)`, and these; or what is wrong with them.
pub(super) fn separate(
    mut from: Vec<TableWithJoins>,
) -> Result<(Vec<TableWithJoins>, Vec<Unnest>), Vec<String>> {
    let (mut unnests, mut problems) = (Vec::new(), Vec::new());
    // `FROM input, unnest(…)` is a cross join.
    if from.len() > 1 && from.iter().skip(1).all(|table| is_unnest(&table.relation)) {
        let rest = from.split_off(1);
        let joins = rest.into_iter().flat_map(|TableWithJoins { relation, joins }| {
            let join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
            [Join { relation, global: false, join_operator }].into_iter().chain(joins)
        });
        from[0].joins.extend(joins);
    }
    for table in &mut from {
        let mut behind_lookup = false;
        for join in &mut table.joins {
            if !is_unnest(&join.relation) {
                behind_lookup = true;
                continue;
            }
            let shown = excerpt(&join.relation);
            if behind_lookup {
                problems.push(format!("`{shown}` in FROM comes behind a lookup, not before it"));
            }
            if has_several(&join.relation) {
                problems.push(format!("`{shown}` is of several lists; unnest takes one"));
                continue;
            }
            match unnest(join) {
                Some(unnest) => {
                    join.relation = plain(unnest.name.clone());
                    join.join_operator = JoinOperator::CrossJoin(JoinConstraint::None);
                    unnests.push(unnest);
                }
                None => problems.push(format!(
                    "`{shown}` is not supported as it is joined here, only \
                     CROSS JOIN unnest(list) [WITH ORDINALITY] [AS name (columns)] and \
                     LEFT JOIN … ON true"
                )),
            }
        }
    }
    if problems.is_empty() { Ok((from, unnests)) } else { Err(problems) }
}

fn is_unnest(table: &TableFactor) -> bool {
    match table {
        TableFactor::UNNEST { .. } => true,
        TableFactor::Function { name, .. } => name.to_string().eq_ignore_ascii_case(NAME),
        TableFactor::Table { name, args: Some(_), .. } => {
            name.to_string().eq_ignore_ascii_case(NAME)
        }
        _ => false,
    }
}

fn has_several(table: &TableFactor) -> bool {
    match table {
        TableFactor::UNNEST { array_exprs, .. } => array_exprs.len() != 1,
        TableFactor::Function { args, .. } => args.len() != 1,
        _ => false,
    }
}

/// `None` for a form that is not supported.
fn unnest(join: &Join) -> Option<Unnest> {
    if join.global {
        return None;
    }
    let is_inner = match &join.join_operator {
        JoinOperator::CrossJoin(JoinConstraint::None) => true,
        JoinOperator::Join(on) | JoinOperator::Inner(on) if is_true(on) => true,
        JoinOperator::Left(on) | JoinOperator::LeftOuter(on) if is_true(on) => false,
        _ => return None,
    };
    let (list, ordinality, alias) = match &join.relation {
        TableFactor::UNNEST {
            alias,
            array_exprs,
            with_offset: false,
            with_offset_alias: None,
            with_ordinality,
        } => match array_exprs.as_slice() {
            [list] => (list.clone(), *with_ordinality, alias),
            _ => return None,
        },
        // Behind LATERAL, which changes nothing.
        TableFactor::Function { lateral: true, args, alias, .. } => match args.as_slice() {
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(list))] => (list.clone(), false, alias),
            _ => return None,
        },
        _ => return None,
    };
    let (name, columns) = match alias {
        None => (Ident::new(NAME), Vec::new()),
        Some(TableAlias { name, columns, at: None, .. }) => (name.clone(), columns.clone()),
        Some(_) => return None,
    };
    let columns = columns
        .into_iter()
        .map(|column| column.data_type.is_none().then_some(column.name.value))
        .collect::<Option<_>>()?;
    Some(Unnest { name, columns, list, ordinality, is_inner })
}

fn is_true(constraint: &JoinConstraint) -> bool {
    match constraint {
        JoinConstraint::On(Expr::Value(value)) => value.value == Value::Boolean(true),
        _ => false,
    }
}

fn plain(name: Ident) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(vec![name]),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}
