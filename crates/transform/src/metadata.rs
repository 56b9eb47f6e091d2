//! What a record has beside its value, as columns of the SQL: `_key`, `_topic`, `_partition`,
//! `_offset`, `_timestamp` and `_header['name']`, and of a change event `_op`, `_source_ts` and
//! `_source_position`.
//!
//! They are no columns of `input`, so that `*` does not have them. Each use is written as a call of
//! a function without arguments before it is planned, and the call becomes a column afterwards, as
//! that of `now()` does. Only those that the SQL uses are columns of a plan.

mod calls;
mod values;

pub use values::{ChangeColumns, MetadataColumns};

use crate::query::Transform;
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use calls::{Call, Rewriter};
use datafusion_common::{Column, TableReference};
use datafusion_expr::{Expr, ScalarUDF, Signature, Volatility};
use datafusion_sql::sqlparser::ast::{self, TableFactor, TableWithJoins, VisitMut};
use std::fmt;
use std::sync::Arc;
use weir_model::mistake::Mistake;

/// One of the columns that a record has beside its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metadata {
    /// `_key`: the record's key in the type of [`InputColumns::key`]; null without one.
    Key,
    /// `_topic`: the topic it was read from, a text.
    Topic,
    /// `_partition`: an int.
    Partition,
    /// `_offset`: a long.
    Offset,
    /// `_timestamp`: the record's own time, a timestamp-millis; null if it has none.
    Timestamp,
    /// `_op`, of a change event: `c`, `u`, `d`, or `r` for a row of a snapshot.
    Operation,
    /// `_source_ts`, of a change event: when the database made the change, a timestamp-millis.
    SourceTime,
    /// `_source_position`, of a change event: its place in the database's log, a text.
    SourcePosition,
    /// `_header['name']`: the text of the last header of this name; null without one.
    Header(String),
}

/// What the SQL of a pipeline reads.
#[derive(Debug, Clone)]
pub struct InputColumns {
    /// The columns of the value: those of `input`.
    pub value: SchemaRef,
    /// The type of `_key`.
    pub key: DataType,
    /// Whether the records are change events.
    pub changes: bool,
}

/// Rows whose keys are texts.
impl From<SchemaRef> for InputColumns {
    fn from(value: SchemaRef) -> InputColumns {
        InputColumns { value, key: DataType::Utf8, changes: false }
    }
}

/// The table of these columns in a plan. The parentheses keep it apart from the user's names.
const TABLE: &str = "record()";
const HEADER: &str = "_header";

impl Metadata {
    const OF_RECORDS: [Metadata; 5] = [
        Metadata::Key,
        Metadata::Topic,
        Metadata::Partition,
        Metadata::Offset,
        Metadata::Timestamp,
    ];
    const OF_CHANGES: [Metadata; 3] =
        [Metadata::Operation, Metadata::SourceTime, Metadata::SourcePosition];

    /// The column of this name, apart from the headers.
    fn named(name: &str, changes: bool) -> Option<Metadata> {
        let of_changes = Metadata::OF_CHANGES.into_iter().filter(|_| changes);
        Metadata::OF_RECORDS.into_iter().chain(of_changes).find(|c| c.to_string() == name)
    }

    fn data_type(&self, columns: &InputColumns) -> DataType {
        match self {
            Metadata::Key => columns.key.clone(),
            Metadata::Topic | Metadata::Header(_) => DataType::Utf8,
            Metadata::Operation | Metadata::SourcePosition => DataType::Utf8,
            Metadata::Partition => DataType::Int32,
            Metadata::Offset => DataType::Int64,
            Metadata::Timestamp | Metadata::SourceTime => {
                DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()))
            }
        }
    }

    fn is_nullable(&self) -> bool {
        !matches!(self, Metadata::Topic | Metadata::Partition | Metadata::Offset)
    }

    fn column(&self) -> Column {
        Column::new(Some(TableReference::bare(TABLE)), self.to_string())
    }
}

/// As it is written in SQL.
impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metadata::Key => "_key",
            Metadata::Topic => "_topic",
            Metadata::Partition => "_partition",
            Metadata::Offset => "_offset",
            Metadata::Timestamp => "_timestamp",
            Metadata::Operation => "_op",
            Metadata::SourceTime => "_source_ts",
            Metadata::SourcePosition => "_source_position",
            Metadata::Header(name) => {
                return write!(f, "{HEADER}['{}']", name.replace('\'', "''"));
            }
        })
    }
}

/// Columns of the input or of a lookup that have the name of one of these.
pub(crate) fn conflicts(
    key: &str,
    schema: &SchemaRef,
    changes: bool,
    hint: impl Fn(&str) -> String,
) -> Vec<Mistake> {
    let is_taken = |name: &str| name == HEADER || Metadata::named(name, changes).is_some();
    let taken = schema.fields().iter().map(|field| field.name()).filter(|name| is_taken(name));
    let mistake = |name: &String| {
        let what = format!("has a column `{name}`, which in SQL is what every record has");
        Mistake::new(key, what).hint(hint(name))
    };
    taken.map(mistake).collect()
}

/// Those that a pipeline's SQL uses, and how it names the input.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used {
    columns: Vec<(Metadata, DataType)>,
    functions: Vec<Arc<ScalarUDF>>,
    alias: String,
    changes: bool,
}

impl Used {
    /// What SELECT, FROM, WHERE and the rules use; also the mistakes in such uses.
    pub(crate) fn new(
        columns: &InputColumns,
        transform: &Transform,
        conditions: &[Option<ast::Expr>],
    ) -> (Used, Vec<Mistake>) {
        let changes = columns.changes;
        let mut rewriter =
            Rewriter { alias: alias(&transform.from), changes, found: Vec::new(), bare: false };
        let mut parts = (transform.items.clone(), transform.from.clone(), transform.filter.clone());
        let mut lists: Vec<_> =
            transform.unnests.iter().map(|unnest| unnest.list.clone()).collect();
        let mut conditions = conditions.to_vec();
        let flow = parts.0.visit(&mut rewriter);
        let _ = (flow, parts.1.visit(&mut rewriter), parts.2.visit(&mut rewriter));
        let _ = lists.visit(&mut rewriter);
        let _ = conditions.visit(&mut rewriter);
        let Rewriter { alias, mut found, bare, .. } = rewriter;
        found.sort_unstable();
        found.dedup();
        let typed = |column: Metadata| {
            let data_type = column.data_type(columns);
            (column, data_type)
        };
        let columns: Vec<_> = found.into_iter().map(typed).collect();
        let functions = columns
            .iter()
            .map(|(column, data_type)| {
                Arc::new(ScalarUDF::from(Call {
                    name: column.to_string(),
                    data_type: data_type.clone(),
                    signature: Signature::nullary(Volatility::Volatile),
                }))
            })
            .collect();
        let mistakes = bare.then(|| {
            Mistake::new(crate::query::SQL, format!("`{HEADER}` is used without a name"))
                .hint(format!("{HEADER}['name'] is the text of one header"))
        });
        (Used { columns, functions, alias, changes }, mistakes.into_iter().collect())
    }

    pub(crate) fn columns(&self) -> impl ExactSizeIterator<Item = &Metadata> {
        self.columns.iter().map(|(column, _)| column)
    }

    /// The types of the columns, in their order.
    pub(crate) fn types(&self) -> Vec<DataType> {
        self.columns.iter().map(|(_, data_type)| data_type.clone()).collect()
    }

    /// The columns of the scope, in their order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (Option<TableReference>, Arc<Field>)> {
        self.columns.iter().map(|(column, data_type)| {
            let Column { relation, name, .. } = column.column();
            (relation, Arc::new(Field::new(name, data_type.clone(), column.is_nullable())))
        })
    }

    /// The function that stands for one of them while it is planned.
    pub(crate) fn function(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.iter().find(|function| function.name() == name).cloned()
    }

    /// Writes each use in `part` as a call.
    pub(crate) fn as_calls(&self, part: &mut impl VisitMut) {
        if !self.columns.is_empty() {
            let (alias, changes) = (self.alias.clone(), self.changes);
            let _ = part.visit(&mut Rewriter { alias, changes, found: Vec::new(), bare: false });
        }
    }

    /// The column of a call.
    pub(crate) fn bind(&self, expr: &Expr) -> Option<Expr> {
        let Expr::ScalarFunction(call) = expr else { return None };
        let called = self.columns().find(|column| column.to_string() == call.func.name())?;
        Some(Expr::Column(called.column()))
    }
}

/// The name of the input in FROM.
fn alias(from: &TableWithJoins) -> String {
    match &from.relation {
        TableFactor::Table { alias: Some(alias), .. } => alias.name.value.clone(),
        _ => crate::catalog::INPUT.into(),
    }
}
