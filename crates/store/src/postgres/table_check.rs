//! Compares an output schema with its table. Changes nothing, so that `weir check` and a starting
//! sink come to the same result.

use crate::postgres::layout::Layout;
use crate::postgres::pg_type::PgType;
use crate::postgres::sql::qualified;
use crate::postgres::{Error, Store};
use arrow::datatypes::SchemaRef;
use std::collections::BTreeMap;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Postgres;

mod column;
mod comparison;
mod remedies;

use column::TargetColumn;
use comparison::Comparison;

/// What it takes to fill a table from an output schema.
#[derive(Debug)]
pub struct TableCheck {
    /// DDL that creates a missing table or adds missing columns. Existing columns are never changed
    /// or dropped.
    pub statements: Vec<String>,
    /// Differences that an operator has to resolve.
    pub mistakes: Vec<Mistake>,
    /// How rows enter the table once `statements` have run; `None` while there are mistakes.
    pub layout: Option<Layout>,
}

impl TableCheck {
    /// The mistakes of the sink `sink` that can be found without its database: columns, keys and
    /// names that would be wrong with any table.
    pub fn offline(sink: &str, target: &Postgres, schema: &SchemaRef) -> Vec<Mistake> {
        let mut comparison = Comparison::new(sink, target);
        // Only the server knows whether a type exists; until it is asked, every name is accepted.
        let accepted = |text: &String| {
            Some(PgType { shown: text.clone(), name: text.clone(), ..PgType::default() })
        };
        let named =
            target.columns.iter().map(|(column, text)| (column.clone(), accepted(text))).collect();
        comparison.target_columns(schema, &named);
        comparison.check_key(schema);
        comparison.mistakes
    }
}

/// Advisory lock that serialises the DDL of sinks that start at the same time.
const DDL_LOCK: i64 = 0x7765_6973;

const POOLER: &str = "leads to a connection pooler in transaction mode, which does not keep the \
     prepared statements and settings of a session";
const POOLER_HINT: &str = "connect to the server itself, or to a pool in session mode (pgbouncer: \
     pool_mode = session)";

impl Store {
    /// Compares `schema` (the output schema, in Arrow's types) with the table of the sink `sink`.
    /// Changes nothing.
    ///
    /// # Errors
    /// The database cannot be queried. Differences are in [`TableCheck::mistakes`].
    pub async fn check(
        &self,
        sink: &str,
        target: &Postgres,
        schema: &SchemaRef,
    ) -> Result<TableCheck, Error> {
        if self.is_pooled_by_transaction().await? {
            let key = format!("sink.{sink}.url");
            let mistakes =
                vec![Mistake { hint: Some(POOLER_HINT.into()), ..Mistake::new(key, POOLER) }];
            return Ok(TableCheck { statements: Vec::new(), mistakes, layout: None });
        }
        let (privileges, table) =
            self.table_and_privileges(&target.table.schema, &target.table.table).await?;
        let mut named = BTreeMap::new();
        for (column, text) in &target.columns {
            named.insert(column.clone(), self.named_type(text).await?);
        }
        let mut comparison = Comparison::new(sink, target);
        comparison.check_own_tables(&privileges);
        let mut required = comparison.target_columns(schema, &named);
        for column in &mut required {
            column.pg_type = self.type_of(column).await?;
        }
        comparison.check_key(schema);
        let columns = match &table {
            None => comparison.create(&privileges, &required),
            Some(table) => comparison.compare(&privileges, table, &required),
        };
        comparison.check_temporary(&privileges, &columns);
        let Comparison { statements, mistakes, .. } = comparison;
        let layout = match mistakes.is_empty() {
            true => {
                let table = qualified(&target.table.schema, &target.table.table);
                let key = target.upsert_key();
                let layout = Layout::new(&table, schema.clone(), columns, key, target.deletes());
                Some(layout.map_err(|e| Error::Batch(e.to_string()))?)
            }
            false => None,
        };
        Ok(TableCheck { statements, mistakes, layout })
    }

    /// The type that `column` has when it is created.
    async fn type_of(&self, column: &TargetColumn) -> Result<Option<PgType>, Error> {
        match (&column.specified, column.natural()) {
            (Some(specified), _) => Ok(Some(specified.clone())),
            (None, Some(text)) => self.named_type(&text).await,
            (None, None) => Ok(None),
        }
    }

    /// Runs the statements of a [`TableCheck`] in one transaction. Sinks that start at the same
    /// time do so one after the other.
    ///
    /// # Errors
    /// The server refused a statement; then none of them took effect.
    pub async fn apply(&self, check: &TableCheck) -> Result<(), Error> {
        if check.statements.is_empty() {
            return Ok(());
        }
        let mut client = self.client().await?;
        let run = async {
            let transaction = client.transaction().await?;
            transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&DDL_LOCK]).await?;
            for statement in &check.statements {
                transaction.batch_execute(statement).await?;
            }
            transaction.commit().await
        };
        run.await.map_err(|e| self.error(e))?;
        for statement in &check.statements {
            tracing::info!(statement, "target schema changed");
        }
        Ok(())
    }
}
