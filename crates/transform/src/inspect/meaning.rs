//! SQL that the library would take without a word, with another meaning than PostgreSQL's: refused,
//! with what to write instead.

use crate::messages::excerpt;
use datafusion_sql::sqlparser::ast::{
    AccessExpr, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Subscript, Value,
};

/// What is wrong with `expr` itself, and a hint; `None` for what means the same.
pub(super) fn another(expr: &Expr) -> Option<(String, String)> {
    let (what, hint) = match expr {
        Expr::SimilarTo { .. } => (
            "SIMILAR TO is not supported".into(),
            "LIKE takes % and _, and ~ takes a regular expression".into(),
        ),
        Expr::Cast { data_type, .. } if has_length(data_type) => (
            format!("a CAST to {data_type} does not cut or fill a text"),
            "CAST to VARCHAR, and cut with substr(text, 1, length)".into(),
        ),
        Expr::CompoundFieldAccess { access_chain, .. } if access_chain.iter().any(is_element) => (
            format!("`{}` takes an element of an array, which is not supported", excerpt(expr)),
            "split_part and regexp_replace take parts of a text".into(),
        ),
        Expr::Function(function) => {
            let format = plain_format(function)?;
            (
                format!("`{}`: `{format}` has no % and is the same for all times", excerpt(expr)),
                "formats are those of strftime, such as '%Y-%m-%d %H:%M:%S'".into(),
            )
        }
        _ => return None,
    };
    Some((what, hint))
}

/// Whether it is a type of texts of limited or fixed length.
fn has_length(data_type: &DataType) -> bool {
    use DataType::{Char, CharVarying, Character, CharacterVarying, Nvarchar, Varchar};
    match data_type {
        Char(_) | Character(_) => true,
        Varchar(length) | Nvarchar(length) | CharacterVarying(length) | CharVarying(length) => {
            length.is_some()
        }
        _ => false,
    }
}

fn is_element(access: &AccessExpr) -> bool {
    match access {
        AccessExpr::Dot(_) => false,
        AccessExpr::Subscript(Subscript::Index { index }) => text(index).is_none(),
        AccessExpr::Subscript(Subscript::Slice { .. }) => true,
    }
}

/// The first format of a function over times that has no specifier.
fn plain_format(function: &Function) -> Option<&str> {
    let name = function.name.to_string().to_lowercase();
    let over_times = matches!(name.as_str(), "to_char" | "date_format" | "to_date" | "to_time")
        || name.starts_with("to_timestamp")
        || name == "to_unixtime";
    let FunctionArguments::List(list) = &function.args else { return None };
    let mut formats = list.args.iter().skip(1).filter_map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => text(expr),
        _ => None,
    });
    formats.find(|format| over_times && !format.contains('%'))
}

fn text(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}
