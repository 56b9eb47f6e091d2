//! The catalog's entries about the table that a sink fills, and about the role that fills it.

use crate::postgres::pg_type::{PgType, described, query};
use crate::postgres::{Error, Store};
use deadpool_postgres::Transaction;
use tokio_postgres::{IsolationLevel, Row};

/// The properties of a table that matter to a sink.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// `pg_class.relkind`: r table, p partitioned table, v view …
    pub(crate) kind: char,
    /// The role may alter it.
    pub(crate) owned: bool,
    /// The role may INSERT.
    pub(crate) insert: bool,
    /// The role may SELECT and UPDATE.
    pub(crate) update: bool,
    /// Row-level security applies to the role; then COPY does not work.
    pub(crate) row_security: bool,
    pub(crate) columns: Vec<TableColumn>,
    /// Columns of each unique index that ON CONFLICT can use, sorted.
    pub(crate) unique: Vec<Vec<String>>,
}

#[derive(Debug, Clone)]
pub(crate) struct TableColumn {
    pub(crate) name: String,
    pub(crate) kind: PgType,
    pub(crate) not_null: bool,
    /// The table supplies a value when none is given: default, identity.
    pub(crate) filled: bool,
    /// GENERATED ALWAYS AS (…): does not accept values.
    pub(crate) generated: bool,
    /// GENERATED ALWAYS AS IDENTITY: accepts values in a new row only.
    pub(crate) identity_always: bool,
}

/// The privileges of the role in the schema of the table.
#[derive(Debug, Clone)]
pub(crate) struct Privileges {
    pub(crate) role: String,
    pub(crate) database: String,
    pub(crate) schema_exists: bool,
    pub(crate) create_schema: bool,
    pub(crate) create_table: bool,
    pub(crate) use_schema: bool,
    /// The role may create temporary tables.
    pub(crate) temporary: bool,
    /// weir's own tables exist.
    pub(crate) prepared: bool,
    /// The role may use them.
    pub(crate) own_tables: bool,
}

impl Store {
    /// The privileges of the role in `schema`, and the table in it, if it exists. Both are read
    /// from one snapshot, because another sink that starts at the same time may be creating them.
    pub(crate) async fn table_and_privileges(
        &self,
        schema: &str,
        table: &str,
    ) -> Result<(Privileges, Option<Table>), Error> {
        let mut client = self.client().await?;
        let read = async {
            let snapshot = client
                .build_transaction()
                .isolation_level(IsolationLevel::RepeatableRead)
                .read_only(true)
                .start()
                .await?;
            let privileges = privileges(&snapshot, schema).await?;
            Ok((privileges, find_table(&snapshot, schema, table).await?))
        };
        read.await.map_err(|e| self.error(e))
    }
}

async fn privileges(
    snapshot: &Transaction<'_>,
    schema: &str,
) -> Result<Privileges, tokio_postgres::Error> {
    let row = snapshot.query_one(PRIVILEGES, &[&schema]).await?;
    Ok(Privileges {
        role: row.try_get(0)?,
        database: row.try_get(1)?,
        schema_exists: row.try_get(2)?,
        create_schema: row.try_get(3)?,
        create_table: row.try_get(4)?,
        use_schema: row.try_get(5)?,
        prepared: row.try_get(6)?,
        own_tables: row.try_get(7)?,
        temporary: row.try_get(8)?,
    })
}

async fn find_table(
    snapshot: &Transaction<'_>,
    schema: &str,
    table: &str,
) -> Result<Option<Table>, tokio_postgres::Error> {
    let Some(row) = snapshot.query_opt(TABLE, &[&schema, &table]).await? else { return Ok(None) };
    let oid: u32 = row.try_get(0)?;
    let columns = snapshot.query(&query(COLUMN, COLUMNS), &[&oid]).await?;
    let unique = snapshot.query(UNIQUE, &[&oid]).await?;
    Ok(Some(Table {
        kind: row.try_get::<_, String>(1)?.chars().next().unwrap_or('?'),
        owned: row.try_get(2)?,
        insert: row.try_get(3)?,
        update: row.try_get(4)?,
        row_security: row.try_get(5)?,
        columns: columns.iter().map(column).collect::<Result<_, _>>()?,
        unique: unique.iter().map(|r| r.try_get(0)).collect::<Result<_, _>>()?,
    }))
}

const PRIVILEGES: &str = "SELECT current_user::text, current_database()::text, \
     n.oid IS NOT NULL, has_database_privilege(current_database(), 'CREATE'), \
     coalesce(has_schema_privilege(n.oid, 'CREATE'), false), \
     coalesce(has_schema_privilege(n.oid, 'USAGE'), false), \
     p.oid IS NOT NULL AND d.oid IS NOT NULL AND l.oid IS NOT NULL, \
     coalesce(has_schema_privilege(w.oid, 'USAGE') \
       AND has_table_privilege(p.oid, 'SELECT') AND has_table_privilege(p.oid, 'INSERT') \
       AND has_table_privilege(p.oid, 'UPDATE') AND has_table_privilege(d.oid, 'INSERT'), false), \
     has_database_privilege(current_database(), 'TEMPORARY') \
     FROM (SELECT $1::text AS wanted) q \
     LEFT JOIN pg_namespace n ON n.nspname = q.wanted \
     LEFT JOIN pg_namespace w ON w.nspname = 'weir' \
     LEFT JOIN pg_class p ON p.relnamespace = w.oid AND p.relname = 'positions' \
     LEFT JOIN pg_class d ON d.relnamespace = w.oid AND d.relname = 'dead_letters' \
     LEFT JOIN pg_class l ON l.relnamespace = w.oid AND l.relname = 'accepted_losses'";

const TABLE: &str = "SELECT c.oid, c.relkind::text, pg_has_role(c.relowner, 'USAGE'), \
     has_table_privilege(c.oid, 'INSERT') OR has_any_column_privilege(c.oid, 'INSERT'), \
     has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'UPDATE'), \
     row_security_active(c.oid) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = $1 AND c.relname = $2";

const COLUMN: &str = "a.attname::text, a.attnotnull, \
     a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '', \
     a.attgenerated <> '', a.attidentity = 'a'";

const COLUMNS: &str = "(SELECT *, atttypid AS wanted, atttypmod AS wanted_modifier \
     FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped) a";

const UNIQUE: &str = "SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_index i \
     JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) \
       ON k.n <= i.indnkeyatts \
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
     WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate \
     AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY i.indexrelid";

fn column(row: &Row) -> Result<TableColumn, tokio_postgres::Error> {
    let described = described(row)?;
    Ok(TableColumn {
        name: row.try_get(0)?,
        kind: described.pg_type,
        not_null: row.try_get::<_, bool>(1)? || described.not_null,
        filled: row.try_get::<_, bool>(2)? || described.filled,
        generated: row.try_get(3)?,
        identity_always: row.try_get(4)?,
    })
}
