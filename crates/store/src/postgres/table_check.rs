//! Does an output schema fit its table? Looks without touching, so that `weir check` and a starting
//! sink see the same.

use crate::postgres::catalog::{Privileges, Table, TableColumn};
use crate::postgres::kind::{self, PgType};
use crate::postgres::layout::{Column, LINEAGE, Layout, Source};
use crate::postgres::sql::{ident, idents, qualified};
use crate::postgres::{Error, Store};
use arrow::datatypes::{DataType, Field, SchemaRef};
use std::collections::BTreeMap;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Postgres;

/// What it takes to fill a table from an output schema.
#[derive(Debug)]
pub struct TableCheck {
    /// DDL that would make the table fit: it creates what is missing and adds columns; nothing is
    /// ever changed or dropped.
    pub statements: Vec<String>,
    /// What does not fit and is somebody's decision.
    pub mistakes: Vec<Mistake>,
    /// How rows enter the table, once `statements` ran; `None` while there are mistakes.
    pub layout: Option<Layout>,
}

impl TableCheck {
    /// What can be said of the sink `sink` without its database: columns, keys and names that no
    /// table could make right.
    pub fn foresee(sink: &str, target: &Postgres, schema: &SchemaRef) -> Vec<Mistake> {
        let mut check = Check { sink, target, statements: Vec::new(), mistakes: Vec::new() };
        // whether a type exists is the server's to say: until then every asked one does
        let asked = |text: &String| {
            Some(PgType { shown: text.clone(), name: text.clone(), is_enum: false, scale: None })
        };
        let named =
            target.columns.iter().map(|(column, text)| (column.clone(), asked(text))).collect();
        check.wanted(schema, &named);
        check.key(schema);
        check.mistakes
    }
}

/// Serialises DDL of sinks that start at the same time.
const SHAPE_LOCK: i64 = 0x7765_6973;

impl Store {
    /// Compares `schema` (the output schema, in Arrow's types) with the table of the sink `sink`.
    /// Changes nothing.
    ///
    /// # Errors
    /// When the database cannot be asked; what does not fit is in [`TableCheck::mistakes`].
    pub async fn check(
        &self,
        sink: &str,
        target: &Postgres,
        schema: &SchemaRef,
    ) -> Result<TableCheck, Error> {
        let (rights, table) =
            self.table_and_privileges(&target.table.schema, &target.table.table).await?;
        let mut named = BTreeMap::new();
        for (column, text) in &target.columns {
            named.insert(column.clone(), self.named_type(text).await?);
        }
        let mut check = Check { sink, target, statements: Vec::new(), mistakes: Vec::new() };
        check.position_key(&rights);
        let mut wanted = Vec::new();
        for want in check.wanted(schema, &named) {
            let kind = match (&want.asked, kind::natural(&want.arrow)) {
                (Some(kind), _) => Some(kind.clone()),
                (None, Some(text)) => self.named_type(&text).await?,
                (None, None) => None,
            };
            wanted.push((want, kind));
        }
        check.key(schema);
        let columns = match &table {
            None => check.create(&rights, &wanted),
            Some(table) => check.compare(&rights, table, &wanted),
        };
        let layout = match check.mistakes.is_empty() {
            true => Some(
                Layout::new(&target.table, schema.clone(), columns, target.upsert_key())
                    .map_err(|e| Error::Batch(e.to_string()))?,
            ),
            false => None,
        };
        Ok(TableCheck { statements: check.statements, mistakes: check.mistakes, layout })
    }

    /// Runs the statements of a [`TableCheck`]. Sinks that start at the same time do so one after
    /// the other.
    ///
    /// # Errors
    /// When the server refuses one; then none of them happened.
    pub async fn apply(&self, check: &TableCheck) -> Result<(), Error> {
        if check.statements.is_empty() {
            return Ok(());
        }
        let mut client = self.client().await?;
        let run = async {
            let transaction = client.transaction().await?;
            transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SHAPE_LOCK]).await?;
            for statement in &check.statements {
                transaction.batch_execute(statement).await?;
            }
            transaction.commit().await
        };
        run.await.map_err(|e| self.error(e))?;
        for statement in &check.statements {
            tracing::info!(statement, "changed the target's schema");
        }
        Ok(())
    }
}

/// A column that the sink will fill.
#[derive(Debug)]
struct Want {
    name: String,
    source: Source,
    arrow: DataType,
    nullable: bool,
    /// The type that the pipeline file asks for.
    asked: Option<PgType>,
}

struct Check<'a> {
    sink: &'a str,
    target: &'a Postgres,
    statements: Vec<String>,
    mistakes: Vec<Mistake>,
}

impl Check<'_> {
    fn table(&self) -> String {
        self.target.table.to_string()
    }

    fn qualified(&self) -> String {
        qualified(&self.target.table.schema, &self.target.table.table)
    }

    fn mistake(&mut self, key: &str, what: String, hint: Option<String>) {
        let mistake = Mistake::new(format!("sink.{}.{key}", self.sink), what);
        self.mistakes.push(Mistake { hint, ..mistake });
    }

    /// weir's own tables: made by the first sink that may.
    fn position_key(&mut self, rights: &Privileges) {
        let (role, database) = (ident(&rights.role), ident(&rights.database));
        if !rights.prepared && !rights.create_schema {
            let what = format!(
                "role {} may not create the schema weir in database {}, where positions are kept",
                rights.role, rights.database
            );
            self.mistake(
                "url",
                what,
                Some(format!("GRANT CREATE ON DATABASE {database} TO {role};")),
            );
        } else if rights.prepared && !rights.position_key {
            let what =
                format!("role {} may not use weir.positions and weir.dead_letters", rights.role);
            let hint = format!(
                "GRANT USAGE ON SCHEMA weir TO {role}; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA weir TO {role};"
            );
            self.mistake("url", what, Some(hint));
        }
    }

    /// The columns to fill: those of the schema and, when asked for, the lineage.
    fn wanted(
        &mut self,
        schema: &SchemaRef,
        named: &BTreeMap<String, Option<PgType>>,
    ) -> Vec<Want> {
        let mut wanted: Vec<Want> =
            schema.fields().iter().enumerate().map(|(i, field)| Want::field(i, field)).collect();
        if self.target.lineage {
            for (name, source) in LINEAGE {
                if wanted.iter().any(|w| w.name == name) {
                    self.mistake("lineage", format!("the output schema has a field {name} of its own, where lineage would go"), None);
                } else {
                    wanted.push(Want::lineage(name, source));
                }
            }
        }
        for (column, kind) in named {
            let key = format!("columns.{column}");
            match (wanted.iter_mut().find(|w| w.name == *column), kind) {
                (None, _) => self.mistake(&key, "the output schema has no such field".into(), None),
                (Some(_), None) => {
                    let text =
                        self.target.columns.get(column).map(String::as_str).unwrap_or_default();
                    self.mistake(&key, format!("PostgreSQL knows no type `{text}`"), None);
                }
                (Some(want), Some(kind)) => want.asked = Some(kind.clone()),
            }
        }
        for want in &wanted {
            if want.name.len() > 63 {
                self.mistake(
                    "table",
                    format!(
                        "field {} is longer than the 63 bytes that PostgreSQL allows a column",
                        want.name
                    ),
                    None,
                );
            }
            if want.asked.is_none() && kind::natural(&want.arrow).is_none() {
                let what = format!(
                    "field {} is a {}, which has no column type that keeps it",
                    want.name,
                    kind::shown(&want.arrow)
                );
                self.mistake(
                    "table",
                    what,
                    Some("take its parts into columns of their own in transform.sql".into()),
                );
            }
        }
        wanted
    }

    fn key(&mut self, schema: &SchemaRef) {
        let Some(key) = self.target.upsert_key() else { return };
        for column in key {
            match schema.field_with_name(column) {
                Err(_) => {
                    self.mistake("key", format!("the output schema has no field {column}"), None)
                }
                Ok(field) if field.is_nullable() => {
                    self.mistake("key", format!("field {column} may be null, and null equals no other key: such rows would pile up"), None);
                }
                Ok(_) => {}
            }
        }
    }

    fn create(&mut self, rights: &Privileges, wanted: &[(Want, Option<PgType>)]) -> Vec<Column> {
        let role = ident(&rights.role);
        if !rights.schema_exists && !rights.create_schema {
            let what = format!(
                "there is no schema {}, and role {} may not create one",
                self.target.table.schema, rights.role
            );
            self.mistake(
                "table",
                what,
                Some(format!(
                    "CREATE SCHEMA {} AUTHORIZATION {role};",
                    ident(&self.target.table.schema)
                )),
            );
        } else if rights.schema_exists && !rights.create_table {
            let what = format!(
                "there is no table {}, and role {} may not create one in schema {}",
                self.table(),
                rights.role,
                self.target.table.schema
            );
            self.mistake(
                "table",
                what,
                Some(format!(
                    "GRANT CREATE, USAGE ON SCHEMA {} TO {role};",
                    ident(&self.target.table.schema)
                )),
            );
        }
        let mut lines = Vec::new();
        let mut columns = Vec::new();
        for (want, kind) in wanted {
            let Some(kind) = kind else { continue };
            lines.push(format!(
                "    {} {}{}",
                ident(&want.name),
                kind.shown,
                if want.nullable { "" } else { " NOT NULL" }
            ));
            columns.extend(self.column(want, kind));
        }
        if let Some(key) = self.target.upsert_key() {
            lines.push(format!("    PRIMARY KEY ({})", idents(key.iter().map(String::as_str))));
        }
        if !rights.schema_exists {
            self.statements
                .push(format!("CREATE SCHEMA IF NOT EXISTS {}", ident(&self.target.table.schema)));
        }
        self.statements.push(format!(
            "CREATE TABLE IF NOT EXISTS {} (\n{}\n)",
            self.qualified(),
            lines.join(",\n")
        ));
        columns
    }

    fn compare(
        &mut self,
        rights: &Privileges,
        table: &Table,
        wanted: &[(Want, Option<PgType>)],
    ) -> Vec<Column> {
        self.access(rights, table);
        let mut columns = Vec::new();
        for (want, kind) in wanted {
            match (table.columns.iter().find(|c| c.name == want.name), kind) {
                (Some(column), _) => columns.extend(self.existing(want, column)),
                (None, Some(kind)) => {
                    self.add(rights, table, want, kind);
                    columns.extend(self.column(want, kind));
                }
                (None, None) => {}
            }
        }
        for column in table.columns.iter().filter(|c| c.not_null && !c.filled) {
            if !wanted.iter().any(|(w, _)| w.name == column.name) {
                let what = format!(
                    "column {} is NOT NULL without a default, and the output schema has no such field",
                    column.name
                );
                let hint = format!(
                    "ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL;",
                    self.qualified(),
                    ident(&column.name)
                );
                self.mistake("table", what, Some(hint));
            }
        }
        self.unique(table);
        columns
    }

    fn access(&mut self, rights: &Privileges, table: &Table) {
        let role = ident(&rights.role);
        match table.kind {
            'r' | 'p' => {}
            'v' | 'm' => self.mistake(
                "table",
                format!("{} is a view; a sink fills tables", self.table()),
                None,
            ),
            _ => self.mistake("table", format!("{} is not an ordinary table", self.table()), None),
        }
        if !rights.use_schema {
            let hint =
                format!("GRANT USAGE ON SCHEMA {} TO {role};", ident(&self.target.table.schema));
            self.mistake(
                "table",
                format!("role {} may not use schema {}", rights.role, self.target.table.schema),
                Some(hint),
            );
        }
        let upsert = self.target.upsert_key().is_some();
        if !table.insert || (upsert && !table.update) {
            let (verb, needed) = if upsert {
                ("upsert into", "SELECT, INSERT, UPDATE")
            } else {
                ("insert into", "INSERT")
            };
            let hint = format!("GRANT {needed} ON {} TO {role};", self.qualified());
            self.mistake(
                "table",
                format!("role {} may not {verb} {}", rights.role, self.table()),
                Some(hint),
            );
        }
        if table.row_security {
            let hint = format!("ALTER ROLE {role} BYPASSRLS;");
            self.mistake(
                "table",
                format!(
                    "row level security of {} applies to role {}, and COPY cannot obey it",
                    self.table(),
                    rights.role
                ),
                Some(hint),
            );
        }
    }

    fn existing(&mut self, want: &Want, column: &TableColumn) -> Option<Column> {
        if column.generated {
            self.mistake(
                "table",
                format!(
                    "column {} is generated by the table; drop the field from the output schema",
                    column.name
                ),
                None,
            );
            return None;
        }
        if let Some(asked) = &want.asked
            && (asked.name != column.kind.name
                || (asked.shown.contains('(') && asked.shown != column.kind.shown))
        {
            let what = format!(
                "{} is asked for, but the table's column is {}",
                asked.shown, column.kind.shown
            );
            self.mistake(&format!("columns.{}", column.name), what, None);
            return None;
        }
        if column.not_null && want.nullable {
            let what =
                format!("field {} may be null, but the table's column is NOT NULL", column.name);
            let hint = format!(
                "ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL;",
                self.qualified(),
                ident(&column.name)
            );
            self.mistake("table", what, Some(hint));
        }
        self.column(want, &column.kind)
    }

    fn column(&mut self, want: &Want, kind: &PgType) -> Option<Column> {
        match kind::wire(&want.arrow, kind) {
            Ok(wire) => Some(Column { name: want.name.clone(), source: want.source, wire }),
            Err(why) => {
                let what = format!(
                    "field {} is {} in the output schema and {} in the table: {why}",
                    want.name,
                    kind::shown(&want.arrow),
                    kind.shown
                );
                self.mistake(
                    "table",
                    what,
                    Some("CAST it in transform.sql, or change the column".into()),
                );
                None
            }
        }
    }

    fn add(&mut self, rights: &Privileges, table: &Table, want: &Want, kind: &PgType) {
        let statement = format!(
            "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}",
            self.qualified(),
            ident(&want.name),
            kind.shown
        );
        if table.owned {
            self.statements.push(statement);
        } else {
            let what = format!(
                "column {} is missing, and role {} does not own the table, so it cannot add it",
                want.name, rights.role
            );
            self.mistake("table", what, Some(format!("{statement};")));
        }
    }

    fn unique(&mut self, table: &Table) {
        let Some(key) = self.target.upsert_key() else { return };
        let mut wanted = key.clone();
        wanted.sort();
        if !table.unique.contains(&wanted) {
            let what = format!(
                "mode upsert needs a unique index on exactly ({}), and there is none",
                key.join(", ")
            );
            let hint = format!(
                "CREATE UNIQUE INDEX ON {} ({});",
                self.qualified(),
                idents(key.iter().map(String::as_str))
            );
            self.mistake("table", what, Some(hint));
        }
    }
}

impl Want {
    fn field(index: usize, field: &Field) -> Want {
        let (arrow, nullable) = (field.data_type().clone(), field.is_nullable());
        Want {
            name: field.name().clone(),
            source: Source::Field(index),
            arrow,
            nullable,
            asked: None,
        }
    }

    fn lineage(name: &str, source: Source) -> Want {
        let arrow = match source {
            Source::Partition => DataType::Int32,
            Source::Offset => DataType::Int64,
            _ => DataType::Utf8,
        };
        Want { name: name.into(), source, arrow, nullable: false, asked: None }
    }
}
