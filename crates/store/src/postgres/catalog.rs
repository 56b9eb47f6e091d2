//! The catalog's entries about the table that a sink fills, and about the role that fills it.

use crate::postgres::column_type::{Modifier, PgType};
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

    /// The type that `text` names; `None` if PostgreSQL does not have it.
    pub(crate) async fn named_type(&self, text: &str) -> Result<Option<PgType>, Error> {
        let client = self.client().await?;
        match client.query_opt(NAMED_TYPE, &[&text]).await {
            Ok(row) => row.map(|r| named(&r, text)).transpose().map_err(|e| self.error(e)),
            // Servers before version 16 raise an error if the text does not have the form of a
            // type.
            Err(e) => match self.error(e) {
                Error::Database { report, .. }
                    if report.sqlstate.starts_with("42") || report.sqlstate.starts_with("22") =>
                {
                    Ok(None)
                }
                other => Err(other),
            },
        }
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
    })
}

async fn find_table(
    snapshot: &Transaction<'_>,
    schema: &str,
    table: &str,
) -> Result<Option<Table>, tokio_postgres::Error> {
    let Some(row) = snapshot.query_opt(TABLE, &[&schema, &table]).await? else { return Ok(None) };
    let oid: u32 = row.try_get(0)?;
    let columns = snapshot.query(COLUMNS, &[&oid]).await?;
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
       AND has_table_privilege(p.oid, 'UPDATE') AND has_table_privilege(d.oid, 'INSERT'), false) \
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

/// A domain counts as its base type, because it has the same binary format.
const COLUMNS: &str = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
     coalesce(b.typname, t.typname)::text, coalesce(b.typtype, t.typtype) = 'e', \
     CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END, \
     a.attnotnull OR t.typnotnull, \
     a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '' OR t.typdefault IS NOT NULL, \
     a.attgenerated <> '', a.attidentity = 'a' \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd' \
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

const UNIQUE: &str = "SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_index i \
     JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) \
       ON k.n <= i.indnkeyatts \
     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
     WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate \
     AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY i.indexrelid";

const NAMED_TYPE: &str = "SELECT coalesce(b.typname, t.typname)::text, \
     coalesce(b.typtype, t.typtype) = 'e', t.typtypmod, format_type(t.oid, NULL) \
     FROM pg_type t LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd' \
     WHERE t.oid = to_regtype($1)";

fn column(row: &Row) -> Result<TableColumn, tokio_postgres::Error> {
    let name: String = row.try_get(2)?;
    let modifier: i32 = row.try_get(4)?;
    Ok(TableColumn {
        name: row.try_get(0)?,
        kind: PgType {
            shown: row.try_get(1)?,
            modifier: modifier_of(&name, modifier),
            is_enum: row.try_get(3)?,
            name,
        },
        not_null: row.try_get(5)?,
        filled: row.try_get(6)?,
        generated: row.try_get(7)?,
        identity_always: row.try_get(8)?,
    })
}

fn named(row: &Row, text: &str) -> Result<PgType, tokio_postgres::Error> {
    let name: String = row.try_get(0)?;
    let full: String = row.try_get(3)?;
    let modifier = text
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(inner, _)| inner.replace(' ', ""));
    let parsed = match &modifier {
        Some(inner) => modifier_in(&name, inner),
        None => modifier_of(&name, row.try_get(2)?),
    };
    let shown = match (modifier, full.split_once(' ')) {
        (None, _) => full,
        // Where a time zone follows, the modifier comes after the first word of the type.
        (Some(inner), Some((first, zone))) if zone.starts_with("with") => {
            format!("{first}({inner}) {zone}")
        }
        (Some(inner), _) => format!("{full}({inner})"),
    };
    Ok(PgType { shown, is_enum: row.try_get(1)?, modifier: parsed, name })
}

/// The modifier that `text` spells out: `10,2` in `numeric(10,2)`.
fn modifier_in(name: &str, text: &str) -> Modifier {
    let number = text.split_once(',').map_or(text, |(_, scale)| scale).parse::<i32>().ok();
    match name.trim_start_matches('_') {
        "numeric" if !text.contains(',') => Modifier { scale: Some(0), length: None },
        "numeric" | "time" | "timetz" | "timestamp" | "timestamptz" => {
            Modifier { scale: number, length: None }
        }
        "varchar" | "bpchar" => {
            Modifier { scale: None, length: number.and_then(|n| usize::try_from(n).ok()) }
        }
        _ => Modifier::default(),
    }
}

/// The modifier in the catalog's form. The scale of `numeric(p,s)` is in its low eleven bits.
fn modifier_of(name: &str, number: i32) -> Modifier {
    const HEADER: i32 = 4;
    match name.trim_start_matches('_') {
        "numeric" if number >= HEADER => {
            Modifier { scale: Some((((number - HEADER) & 0x7ff) ^ 1024) - 1024), length: None }
        }
        "time" | "timetz" | "timestamp" | "timestamptz" if number >= 0 => {
            Modifier { scale: Some(number), length: None }
        }
        "varchar" | "bpchar" => {
            Modifier { scale: None, length: usize::try_from(number - HEADER).ok() }
        }
        _ => Modifier::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modifier_is_read_from_the_catalog_and_from_the_pipeline_file() {
        let scale = |scale| Modifier { scale: Some(scale), length: None };
        let length = |length| Modifier { scale: None, length: Some(length) };
        for (name, number, text, modifier) in [
            ("numeric", ((10 << 16) | 2) + 4, "10,2", scale(2)),
            ("numeric", (10 << 16) + 4, "10", scale(0)),
            ("timestamp", 0, "0", scale(0)),
            ("timestamptz", 3, "3", scale(3)),
            ("_timestamp", 3, "3", scale(3)),
            ("time", 6, "6", scale(6)),
            ("varchar", 54, "50", length(50)),
            ("bpchar", 5, "1", length(1)),
            ("bit", 8, "8", Modifier::default()),
        ] {
            assert_eq!(modifier_of(name, number), modifier, "{name}");
            assert_eq!(modifier_in(name, text), modifier, "{name}({text})");
            assert_eq!(modifier_of(name, -1), Modifier::default(), "{name}");
        }
    }
}
