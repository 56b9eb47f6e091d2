//! What a record has beside its value, as columns of the SQL: `_key`, `_topic`, `_partition`,
//! `_offset`, `_timestamp` and `_header['name']`.
//!
//! They are no columns of `input`, so that `*` does not have them. Each use is written as a call of
//! a function without arguments before it is planned, and the call becomes a column afterwards, as
//! that of `now()` does. Only those that the SQL uses are columns of a plan.

mod values;

pub use values::MetadataColumns;

use crate::query::Transform;
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use datafusion_common::{Column, DataFusionError, Result, TableReference, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_sql::sqlparser::ast::{
    self, AccessExpr, Ident, Subscript, TableFactor, TableWithJoins, Value, VisitMut, VisitorMut,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use std::convert::Infallible;
use std::fmt;
use std::ops::ControlFlow;
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
}

/// Records whose keys are texts.
impl From<SchemaRef> for InputColumns {
    fn from(value: SchemaRef) -> InputColumns {
        InputColumns { value, key: DataType::Utf8 }
    }
}

/// The table of these columns in a plan. The parentheses keep it apart from the user's names.
const TABLE: &str = "record()";
const HEADER: &str = "_header";

impl Metadata {
    const PLAIN: [Metadata; 5] = [
        Metadata::Key,
        Metadata::Topic,
        Metadata::Partition,
        Metadata::Offset,
        Metadata::Timestamp,
    ];

    fn data_type(&self, columns: &InputColumns) -> DataType {
        match self {
            Metadata::Key => columns.key.clone(),
            Metadata::Topic | Metadata::Header(_) => DataType::Utf8,
            Metadata::Partition => DataType::Int32,
            Metadata::Offset => DataType::Int64,
            Metadata::Timestamp => {
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
    hint: impl Fn(&str) -> String,
) -> Vec<Mistake> {
    let is_taken = |name: &str| {
        name == HEADER || Metadata::PLAIN.iter().any(|column| column.to_string() == name)
    };
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
}

impl Used {
    /// What SELECT, FROM, WHERE and the rules use; also the mistakes in such uses.
    pub(crate) fn new(
        columns: &InputColumns,
        transform: &Transform,
        conditions: &[Option<ast::Expr>],
    ) -> (Used, Vec<Mistake>) {
        let mut rewriter =
            Rewriter { alias: alias(&transform.from), found: Vec::new(), bare: false };
        let mut parts = (transform.items.clone(), transform.from.clone(), transform.filter.clone());
        let mut conditions = conditions.to_vec();
        let flow = parts.0.visit(&mut rewriter);
        let _ = (flow, parts.1.visit(&mut rewriter), parts.2.visit(&mut rewriter));
        let _ = conditions.visit(&mut rewriter);
        let Rewriter { alias, mut found, bare } = rewriter;
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
        (Used { columns, functions, alias }, mistakes.into_iter().collect())
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
            let alias = self.alias.clone();
            let _ = part.visit(&mut Rewriter { alias, found: Vec::new(), bare: false });
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

/// Replaces each use by a call.
struct Rewriter {
    alias: String,
    found: Vec<Metadata>,
    /// Whether `_header` is used as a whole.
    bare: bool,
}

impl VisitorMut for Rewriter {
    type Break = Infallible;

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Infallible> {
        if let Some(Use { column, rest }) = self.find(expr)
            && let Some(call) = call(&column)
        {
            self.found.push(column);
            *expr = match rest.is_empty() {
                true => call,
                false => {
                    ast::Expr::CompoundFieldAccess { root: Box::new(call), access_chain: rest }
                }
            };
        }
        ControlFlow::Continue(())
    }
}

/// A column, and what is taken out of it.
struct Use {
    column: Metadata,
    rest: Vec<AccessExpr>,
}

impl Rewriter {
    fn find(&mut self, expr: &ast::Expr) -> Option<Use> {
        let (names, mut rest) = path(expr)?;
        let qualified = names.len() > 1 && names[0].value == self.alias;
        let mut names = names.into_iter().skip(usize::from(qualified));
        let first = names.next()?.value;
        let members = names.map(|name| member(&name.value));
        rest.splice(0..0, members);
        if first == HEADER {
            let name = rest.first().and_then(subscript_text);
            self.bare |= name.is_none();
            let column = Metadata::Header(name?);
            return Some(Use { column, rest: rest.split_off(1) });
        }
        let column = Metadata::PLAIN.into_iter().find(|column| column.to_string() == first)?;
        Some(Use { column, rest })
    }
}

/// The names at the beginning of a column's path, and what follows them.
fn path(expr: &ast::Expr) -> Option<(Vec<Ident>, Vec<AccessExpr>)> {
    match expr {
        ast::Expr::Identifier(name) => Some((vec![name.clone()], Vec::new())),
        ast::Expr::CompoundIdentifier(names) => Some((names.clone(), Vec::new())),
        ast::Expr::CompoundFieldAccess { root, access_chain } => {
            let (mut names, rest) = path(root)?;
            let dotted = |access: &&AccessExpr| {
                matches!(access, AccessExpr::Dot(ast::Expr::Identifier(_))) && rest.is_empty()
            };
            let count = access_chain.iter().take_while(dotted).count();
            names.extend(access_chain[..count].iter().filter_map(|access| match access {
                AccessExpr::Dot(ast::Expr::Identifier(name)) => Some(name.clone()),
                _ => None,
            }));
            Some((names, rest.into_iter().chain(access_chain[count..].to_vec()).collect()))
        }
        _ => None,
    }
}

/// `['name']`.
fn member(name: &str) -> AccessExpr {
    let index = ast::Expr::value(Value::SingleQuotedString(name.into()));
    AccessExpr::Subscript(Subscript::Index { index })
}

fn subscript_text(access: &AccessExpr) -> Option<String> {
    let AccessExpr::Subscript(Subscript::Index { index: ast::Expr::Value(value) }) = access else {
        return None;
    };
    match &value.value {
        Value::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    }
}

/// A call of the function with the name of the column.
fn call(column: &Metadata) -> Option<ast::Expr> {
    let name = Ident::with_quote('"', column.to_string());
    let sql = format!("{name}()");
    Parser::new(&GenericDialect {}).try_with_sql(&sql).and_then(|mut p| p.parse_expr()).ok()
}

/// The function that stands for a column while it is planned.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Call {
    name: String,
    data_type: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn schema_name(&self, _arguments: &[Expr]) -> Result<String> {
        Ok(self.name.clone())
    }

    fn display_name(&self, _arguments: &[Expr]) -> Result<String> {
        Ok(self.name.clone())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // Calls are replaced by columns when the plan is compiled.
        exec_err!("{} was not bound to the batch", self.name)
    }
}
