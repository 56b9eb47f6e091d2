//! The rules of the comparison: each difference is a statement that resolves it or a mistake.

use super::column::TargetColumn;
use crate::postgres::catalog::{Privileges, Table, TableColumn};
use crate::postgres::column_type;
use crate::postgres::layout::Column;
use crate::postgres::pg_type::PgType;
use crate::postgres::sql::{ident, idents, qualified};
use weir_model::mistake::Mistake;
use weir_model::pipeline::Postgres;

/// A comparison in progress.
pub(super) struct Comparison<'a> {
    sink: &'a str,
    pub(super) target: &'a Postgres,
    pub(super) statements: Vec<String>,
    pub(super) mistakes: Vec<Mistake>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(sink: &'a str, target: &'a Postgres) -> Comparison<'a> {
        Comparison { sink, target, statements: Vec::new(), mistakes: Vec::new() }
    }

    fn table(&self) -> String {
        self.target.table.to_string()
    }

    pub(super) fn qualified(&self) -> String {
        qualified(&self.target.table.schema, &self.target.table.table)
    }

    /// A mistake in `key` of the sink that has no single remedy.
    pub(super) fn mistake(&mut self, key: &str, what: String) {
        self.mistakes.push(Mistake::new(format!("sink.{}.{key}", self.sink), what));
    }

    /// A mistake with its remedy.
    pub(super) fn mistake_with_hint(&mut self, key: &str, what: String, hint: String) {
        let mistake = Mistake::new(format!("sink.{}.{key}", self.sink), what);
        self.mistakes.push(Mistake { hint: Some(hint), ..mistake });
    }

    /// weir's own tables, which the first sink with the privilege creates.
    pub(super) fn check_own_tables(&mut self, privileges: &Privileges) {
        let (role, database) = (ident(&privileges.role), ident(&privileges.database));
        if !privileges.prepared && !privileges.create_schema {
            let what = format!(
                "role {} lacks CREATE on database {}, so it cannot create the schema weir, where \
                 positions are stored",
                privileges.role, privileges.database
            );
            self.mistake_with_hint(
                "url",
                what,
                format!("GRANT CREATE ON DATABASE {database} TO {role};"),
            );
        } else if privileges.prepared && !privileges.own_tables {
            let what = format!(
                "role {} lacks privileges on weir.positions and weir.dead_letters",
                privileges.role
            );
            let hint = format!(
                "GRANT USAGE ON SCHEMA weir TO {role}; \
                 GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA weir TO {role};"
            );
            self.mistake_with_hint("url", what, hint);
        }
    }

    /// The statements that create the table, and its columns.
    pub(super) fn create(
        &mut self,
        privileges: &Privileges,
        required: &[TargetColumn],
    ) -> Vec<Column> {
        self.check_create(privileges);
        let mut definitions = Vec::new();
        let mut columns = Vec::new();
        for column in required {
            let Some(pg_type) = &column.pg_type else { continue };
            let not_null = if column.nullable { "" } else { " NOT NULL" };
            definitions.push(format!("    {} {}{not_null}", ident(&column.name), pg_type.shown));
            columns.extend(self.column(column, pg_type));
        }
        if let Some(key) = self.target.upsert_key() {
            let key = idents(key.iter().map(String::as_str));
            definitions.push(format!("    PRIMARY KEY ({key})"));
        }
        if !privileges.schema_exists {
            let schema = ident(&self.target.table.schema);
            self.statements.push(format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
        }
        self.statements.push(format!(
            "CREATE TABLE IF NOT EXISTS {} (\n{}\n)",
            self.qualified(),
            definitions.join(",\n")
        ));
        columns
    }

    fn check_create(&mut self, privileges: &Privileges) {
        let (role, schema) = (ident(&privileges.role), ident(&self.target.table.schema));
        if !privileges.schema_exists && !privileges.create_schema {
            let what = format!(
                "schema {} does not exist, and role {} lacks the privilege to create it",
                self.target.table.schema, privileges.role
            );
            let hint = format!("CREATE SCHEMA {schema} AUTHORIZATION {role};");
            self.mistake_with_hint("table", what, hint);
        } else if privileges.schema_exists && !privileges.create_table {
            let what = format!(
                "table {} does not exist, and role {} lacks CREATE on schema {}",
                self.table(),
                privileges.role,
                self.target.table.schema
            );
            let hint = format!("GRANT CREATE, USAGE ON SCHEMA {schema} TO {role};");
            self.mistake_with_hint("table", what, hint);
        }
    }

    /// Compares with a table that exists; returns the columns to fill.
    pub(super) fn compare(
        &mut self,
        privileges: &Privileges,
        table: &Table,
        required: &[TargetColumn],
    ) -> Vec<Column> {
        self.check_access(privileges, table);
        let mut columns = Vec::new();
        for column in required {
            match (table.columns.iter().find(|c| c.name == column.name), &column.pg_type) {
                (Some(existing), _) => columns.extend(self.existing(column, existing)),
                (None, _) if self.differs_in_case(table, column, required) => {}
                (None, Some(pg_type)) => {
                    self.add(privileges, table, column, pg_type);
                    columns.extend(self.column(column, pg_type));
                }
                (None, None) => {}
            }
        }
        let unfilled = |existing: &&TableColumn| {
            existing.not_null
                && !existing.filled
                && !required.iter().any(|c| c.name.to_lowercase() == existing.name.to_lowercase())
        };
        for existing in table.columns.iter().filter(unfilled) {
            let what = format!(
                "column {} is NOT NULL without a default, and the output schema has no such field",
                existing.name
            );
            self.mistake_with_hint("table", what, self.drop_not_null(existing));
        }
        self.check_unique_index(table);
        columns
    }

    /// Whether the table has a column with the field's name in other letters, which is almost never
    /// meant to stay empty beside a new one.
    fn differs_in_case(
        &mut self,
        table: &Table,
        column: &TargetColumn,
        required: &[TargetColumn],
    ) -> bool {
        let is_similar = |existing: &&TableColumn| {
            existing.name.to_lowercase() == column.name.to_lowercase()
                && !required.iter().any(|other| other.name == existing.name)
        };
        let Some(existing) = table.columns.iter().find(is_similar) else { return false };
        let what = format!(
            "the table has no column {}; did you mean its column {}, whose name differs in upper \
             and lower case?",
            column.name, existing.name
        );
        let hint = format!(
            "name the field {} in transform.sql and in the output schema, or: \
             ALTER TABLE {} RENAME COLUMN {} TO {};",
            existing.name,
            self.qualified(),
            ident(&existing.name),
            ident(&column.name)
        );
        self.mistake_with_hint("table", what, hint);
        true
    }

    fn check_access(&mut self, privileges: &Privileges, table: &Table) {
        let (name, role) = (self.table(), ident(&privileges.role));
        match table.kind {
            'r' | 'p' => {}
            'v' | 'm' => {
                self.mistake("table", format!("{name} is a view; a sink writes to tables only"));
            }
            _ => self.mistake("table", format!("{name} is not an ordinary table")),
        }
        if !privileges.use_schema {
            let schema = &self.target.table.schema;
            let what = format!("role {} lacks USAGE on schema {schema}", privileges.role);
            let hint = format!("GRANT USAGE ON SCHEMA {} TO {role};", ident(schema));
            self.mistake_with_hint("table", what, hint);
        }
        let upsert = self.target.upsert_key().is_some();
        if !table.insert || (upsert && !table.update) {
            let needed = if upsert { "SELECT, INSERT, UPDATE" } else { "INSERT" };
            let what = format!("role {} lacks {needed} on {name}", privileges.role);
            let hint = format!("GRANT {needed} ON {} TO {role};", self.qualified());
            self.mistake_with_hint("table", what, hint);
        }
        if table.row_security {
            let what = format!(
                "row-level security of {name} applies to role {}, and COPY does not support it",
                privileges.role
            );
            self.mistake_with_hint("table", what, format!("ALTER ROLE {role} BYPASSRLS;"));
        }
    }

    /// The temporary table through which some rows go.
    pub(super) fn check_temporary(&mut self, privileges: &Privileges, columns: &[Column]) {
        let read = columns.iter().find(|column| column.wire.input);
        let needed = read.is_some() || self.target.upsert_key().is_some();
        if !needed || privileges.temporary {
            return;
        }
        let why = match read {
            Some(column) => format!("column {} needs a temporary table", column.name),
            None => "mode upsert needs a temporary table".into(),
        };
        let what = format!(
            "{why}, and role {} lacks TEMPORARY on database {}",
            privileges.role, privileges.database
        );
        let (role, database) = (ident(&privileges.role), ident(&privileges.database));
        self.mistake_with_hint(
            "url",
            what,
            format!("GRANT TEMPORARY ON DATABASE {database} TO {role};"),
        );
    }

    fn existing(&mut self, column: &TargetColumn, existing: &TableColumn) -> Option<Column> {
        let name = &existing.name;
        if existing.generated {
            let what = format!(
                "column {name} is generated by the table; remove the field from the output schema"
            );
            self.mistake("table", what);
            return None;
        }
        let is_key = self.target.upsert_key().is_some_and(|key| key.contains(name));
        if existing.identity_always && self.target.upsert_key().is_some() && !is_key {
            let what = format!(
                "column {name} is GENERATED ALWAYS AS IDENTITY, and an upsert cannot update it"
            );
            let hint = format!(
                "ALTER TABLE {} ALTER COLUMN {} SET GENERATED BY DEFAULT;",
                self.qualified(),
                ident(name)
            );
            self.mistake_with_hint("table", what, hint);
        }
        if let Some(specified) = column.specified.as_ref().filter(|s| !s.describes(existing)) {
            let what = format!(
                "the pipeline file specifies {}, but the table's column is {}",
                specified.shown, existing.kind.shown
            );
            self.mistake(&format!("columns.{name}"), what);
            return None;
        }
        if existing.not_null && column.nullable {
            let what = format!("field {name} is nullable, but the table's column is NOT NULL");
            self.mistake_with_hint("table", what, self.drop_not_null(existing));
        }
        self.column(column, &existing.kind)
    }

    fn drop_not_null(&self, column: &TableColumn) -> String {
        let (table, column) = (self.qualified(), ident(&column.name));
        format!("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL;")
    }

    /// The column in the form that the table takes.
    fn column(&mut self, column: &TargetColumn, pg_type: &PgType) -> Option<Column> {
        match column_type::wire(&column.arrow, pg_type, column.specified.is_some()) {
            Ok(wire) => Some(Column {
                name: column.name.clone(),
                source: column.source,
                wire,
                base: pg_type.base.clone(),
                declared: pg_type.shown.clone(),
            }),
            Err(refused) => {
                let what = format!(
                    "field {} is {} in the output schema and {} in the table: {}",
                    column.name,
                    column.shown(),
                    pg_type.shown,
                    refused.why
                );
                let hint = self.remedies(column, pg_type, &refused).join("; or: ");
                self.mistake_with_hint("table", what, hint);
                None
            }
        }
    }

    fn add(
        &mut self,
        privileges: &Privileges,
        table: &Table,
        column: &TargetColumn,
        pg_type: &PgType,
    ) {
        let statement = format!(
            "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}",
            self.qualified(),
            ident(&column.name),
            pg_type.shown
        );
        if table.owned {
            self.statements.push(statement);
        } else {
            let what = format!(
                "column {} is missing, and role {} cannot add it because it does not own the table",
                column.name, privileges.role
            );
            self.mistake_with_hint("table", what, format!("{statement};"));
        }
    }

    fn check_unique_index(&mut self, table: &Table) {
        let Some(key) = self.target.upsert_key() else { return };
        let mut sorted = key.to_vec();
        sorted.sort();
        if !table.unique.contains(&sorted) {
            let what = format!(
                "mode upsert requires a unique index on exactly ({}), and there is none",
                key.join(", ")
            );
            let columns = idents(key.iter().map(String::as_str));
            let hint = format!("CREATE UNIQUE INDEX ON {} ({columns});", self.qualified());
            self.mistake_with_hint("table", what, hint);
        }
    }
}

impl PgType {
    /// Whether this specified type is that of the table's column. A modifier such as `(50)` is
    /// compared only when it is specified.
    fn describes(&self, existing: &TableColumn) -> bool {
        let same_modifier = !self.shown.contains('(') || self.shown == existing.kind.shown;
        self.name == existing.kind.name && same_modifier
    }
}
