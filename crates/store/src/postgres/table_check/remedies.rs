//! What can be done about a column that does not take its field: in the SQL, in the pipeline file,
//! or in the database. `every_remedy_…` in the tests follows them.

use super::column::TargetColumn;
use super::comparison::Comparison;
use crate::postgres::column_type::{self, Refused};
use crate::postgres::pg_type::PgType;
use crate::postgres::sql::ident;

impl Comparison<'_> {
    /// What can be done when the values of `column` cannot enter it.
    pub(super) fn remedies(
        &self,
        column: &TargetColumn,
        pg_type: &PgType,
        refused: &Refused,
    ) -> Vec<String> {
        let mut remedies: Vec<String> =
            refused.remedy.iter().map(|remedy| remedy.hint(&column.name)).collect();
        if column_type::wire(&column.arrow, pg_type, true).is_ok() {
            remedies.push(format!(
                "`columns = {{ {} = \"{}\" }}` in the sink, which stores the time in UTC",
                column.name, pg_type.shown
            ));
        }
        match column.natural() {
            Some(_) if column.specified.is_some() => {
                remedies.push(format!("leave {} out of the sink's `columns`", column.name));
            }
            Some(natural) => remedies.push(self.alter(column, pg_type, &natural)),
            None => {}
        }
        remedies
    }

    /// The statement that gives a column another type. Every type has a text, which may or may not
    /// be a value of the other.
    fn alter(&self, column: &TargetColumn, pg_type: &PgType, natural: &str) -> String {
        let name = ident(&column.name);
        let using = match (pg_type.name.as_str(), natural) {
            (_, "jsonb") => format!("to_jsonb({name})"),
            ("timestamp", "timestamptz") | ("timestamptz", "timestamp") => {
                format!("{name} AT TIME ZONE 'UTC'")
            }
            (_, "text") => format!("{name}::text"),
            ("bool", _) if column.arrow.is_numeric() => format!("{name}::integer::{natural}"),
            _ => format!("{name}::text::{natural}"),
        };
        let table = self.qualified();
        format!("ALTER TABLE {table} ALTER COLUMN {name} TYPE {natural} USING {using};")
    }
}
