//! SQL that the library would take without a word, with another meaning than PostgreSQL's: refused,
//! with what to write instead.

use crate::messages::excerpt;
use datafusion_sql::sqlparser::ast::{BinaryOperator, DataType, Expr};

/// What is wrong with `expr` itself, and a hint; `None` for what means the same.
pub(super) fn another(expr: &Expr) -> Option<(String, String)> {
    let (what, hint) = match expr {
        Expr::Cast { data_type, .. } if has_length(data_type) => (
            format!("a CAST to {data_type} does not cut or fill a text"),
            "CAST to VARCHAR, and cut with substr(text, 1, length)".into(),
        ),
        Expr::BinaryOp { op: BinaryOperator::BitwiseXor, .. } => (
            format!("`{}`: ^ is not supported", excerpt(expr)),
            "power(a, b) is a to the power of b".into(),
        ),
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
