//! The tables of FROM, as DataFusion planned them.

use crate::lookup::Table;
use crate::messages::{identifier, list};
use crate::query::SQL;
use datafusion_common::{Column, DFSchemaRef, DataFusionError, Result, TableReference};
use datafusion_expr::utils::split_conjunction_owned;
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use weir_model::mistake::Mistake;

/// One table of FROM.
pub(super) struct FromTable {
    pub(super) name: String,
    pub(super) alias: TableReference,
    pub(super) schema: DFSchemaRef,
    /// The conditions of the join.
    conditions: Vec<Expr>,
}

/// A key column of a lookup table and the expression over the record that it is compared with.
pub(super) struct KeyPair {
    pub(super) column: String,
    pub(super) record_side: Expr,
}

impl FromTable {
    /// A pair for each column of the table's key. It is a mistake to join by anything but
    /// equality on the whole key.
    pub(super) fn key_pairs(&self, table: &Table) -> Result<Vec<KeyPair>, Box<Mistake>> {
        let pairs: Option<Vec<KeyPair>> =
            self.conditions.iter().map(|condition| self.key_pair(condition)).collect();
        match pairs {
            Some(pairs) if is_whole_key(&pairs, table) => Ok(pairs),
            _ => Err(Box::new(self.not_by_key(table))),
        }
    }

    /// The two sides of a condition `column = expression`, in either order.
    fn key_pair(&self, condition: &Expr) -> Option<KeyPair> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else {
            return None;
        };
        self.key_pair_of(left, right).or_else(|| self.key_pair_of(right, left))
    }

    fn key_pair_of(&self, table_side: &Expr, record_side: &Expr) -> Option<KeyPair> {
        let is_own = |column: &Column| self.schema.has_column(column);
        match table_side {
            Expr::Column(column)
                if is_own(column) && !record_side.column_refs().into_iter().any(is_own) =>
            {
                Some(KeyPair { column: column.name.clone(), record_side: record_side.clone() })
            }
            _ => None,
        }
    }

    fn not_by_key(&self, table: &Table) -> Mistake {
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
        Mistake::new(SQL, what).hint(format!(
            "LEFT JOIN {} {} ON {}",
            table.name(),
            self.alias,
            on.join(" AND ")
        ))
    }
}

fn is_whole_key(pairs: &[KeyPair], table: &Table) -> bool {
    let mut joined: Vec<&str> = pairs.iter().map(|pair| pair.column.as_str()).collect();
    joined.sort_unstable();
    let mut key = table.key_names();
    key.sort_unstable();
    joined == key
}

/// The tables of a left-deep tree of joins, in the order of FROM.
pub(super) fn tables(plan: &LogicalPlan) -> Result<Vec<FromTable>> {
    let LogicalPlan::Join(join) = plan else { return Ok(vec![table(plan)?]) };
    let mut tables = tables(&join.left)?;
    let mut conditions: Vec<Expr> =
        join.on.iter().map(|(left, right)| left.clone().eq(right.clone())).collect();
    conditions.extend(join.filter.iter().cloned().flat_map(split_conjunction_owned));
    tables.push(FromTable { conditions, ..table(&join.right)? });
    Ok(tables)
}

fn table(plan: &LogicalPlan) -> Result<FromTable> {
    match plan {
        LogicalPlan::TableScan(scan) => Ok(FromTable {
            name: scan.table_name.table().into(),
            alias: scan.table_name.clone(),
            schema: scan.projected_schema.clone(),
            conditions: Vec::new(),
        }),
        LogicalPlan::SubqueryAlias(alias) => Ok(FromTable {
            alias: alias.alias.clone(),
            schema: alias.schema.clone(),
            ..table(&alias.input)?
        }),
        other => {
            Err(DataFusionError::Plan(format!("`{}` is not supported in FROM", other.display())))
        }
    }
}
