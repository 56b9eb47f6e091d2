//! Regular expressions: PostgreSQL's, as far as the library has the same.

use datafusion_common::{Result, plan_err};
use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
};

/// Writes the regular expression of an operator or a function with the library's escapes.
pub(crate) fn as_in_postgresql(expr: &mut Expr) {
    use BinaryOperator::{PGRegexIMatch, PGRegexMatch, PGRegexNotIMatch, PGRegexNotMatch};
    let pattern = match expr {
        Expr::BinaryOp {
            op: PGRegexMatch | PGRegexIMatch | PGRegexNotMatch | PGRegexNotIMatch,
            right,
            ..
        } => Some(right.as_mut()),
        Expr::Function(function)
            if function.name.to_string().to_lowercase().starts_with("regexp_") =>
        {
            match &mut function.args {
                FunctionArguments::List(list) => match list.args.get_mut(1) {
                    Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(pattern))) => Some(pattern),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    };
    if let Some(Expr::Value(value)) = pattern
        && let Value::SingleQuotedString(pattern) = &mut value.value
    {
        *pattern = translated(pattern);
    }
}

/// In PostgreSQL a dot is any character, a newline as well; `\y`, `\m` and `\M` are the ends of
/// words, and `\b` is a backspace.
fn translated(pattern: &str) -> String {
    const DOT_IS_ANY: &str = "(?s)";
    let mut regex = String::from(DOT_IS_ANY);
    let mut chars = pattern.strip_prefix(DOT_IS_ANY).unwrap_or(pattern).chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            regex.push(c);
            continue;
        }
        match chars.next() {
            Some('y') => regex.push_str(r"\b"),
            Some('Y') => regex.push_str(r"\B"),
            Some('m') => regex.push_str(r"\b{start}"),
            Some('M') => regex.push_str(r"\b{end}"),
            Some('Z') => regex.push_str(r"\z"),
            Some('b') => regex.push_str(r"\x08"),
            Some('B') => regex.push_str(r"\\"),
            other => regex.extend(std::iter::once('\\').chain(other)),
        }
    }
    regex
}

/// The regular expression of a pattern of `SIMILAR TO`, as PostgreSQL translates it.
pub(crate) fn similar(pattern: &Expr, escape: Option<&Value>) -> Result<String> {
    let text = |value: &Value| match value {
        Value::SingleQuotedString(text) => Some(text.clone()),
        _ => None,
    };
    let Expr::Value(pattern) = pattern else {
        return plan_err!("the pattern of SIMILAR TO must be a text in quotes");
    };
    let escape = escape.map_or(Some("\\".to_string()), text);
    let (Some(pattern), Some(escape)) = (text(&pattern.value), escape) else {
        return plan_err!("the pattern of SIMILAR TO must be a text in quotes");
    };
    let mut regex = String::from("^(?s:");
    let (mut is_escaped, mut in_class) = (false, false);
    for c in pattern.chars() {
        let is_special = ".^$\\*+?()[]{}|".contains(c);
        match c {
            _ if is_escaped => {
                is_escaped = false;
                regex.extend(is_special.then_some('\\').into_iter().chain([c]));
            }
            _ if escape.starts_with(c) => is_escaped = true,
            _ if in_class => {
                in_class = c != ']';
                // In a class, Rust takes these for set operations.
                let escaped = matches!(c, '\\' | '[' | '&' | '~');
                regex.extend(escaped.then_some('\\').into_iter().chain([c]));
            }
            '[' => {
                in_class = true;
                regex.push(c);
            }
            '%' => regex.push_str(".*"),
            '_' => regex.push('.'),
            '(' => regex.push_str("(?:"),
            '.' | '^' | '$' | '\\' => regex.extend(['\\', c]),
            _ => regex.push(c),
        }
    }
    regex.push_str(")$");
    Ok(regex)
}
