//! Each use of a record's metadata as a call of a function, which stands for it while it is planned.

use super::{HEADER, Metadata};
use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result, exec_err};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature};
use datafusion_sql::sqlparser::ast::{self, AccessExpr, Ident, Subscript, Value, VisitorMut};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;
use std::convert::Infallible;
use std::ops::ControlFlow;

/// Replaces each use by a call.
pub(super) struct Rewriter {
    /// The name of the input in FROM.
    pub(super) alias: String,
    /// Whether the records are change events.
    pub(super) changes: bool,
    pub(super) found: Vec<Metadata>,
    /// Whether `_header` is used as a whole.
    pub(super) bare: bool,
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
        let column = Metadata::named(&first, self.changes)?;
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
pub(super) struct Call {
    pub(super) name: String,
    pub(super) data_type: DataType,
    pub(super) signature: Signature,
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
