//! Syntax that the library does not plan, or plans with another meaning, written as calls of functions
//! that have PostgreSQL's.

use crate::dialect::expression;
use crate::functions::{self, quantified};
use crate::regex;
use datafusion_common::{DataFusionError, Result, plan_err};
use datafusion_sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectName, TypedString, Value, VisitMut, visit_expressions_mut,
};
use std::ops::ControlFlow;

/// Rewrites every expression in `part`.
pub(crate) fn rewrite(part: &mut impl VisitMut) -> Result<()> {
    let flow = visit_expressions_mut(part, |expr| {
        microseconds(expr);
        members(expr);
        escapes(expr);
        regex::as_in_postgresql(expr);
        match replacement(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(other)) => {
                *expr = other;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    });
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// `TIMESTAMP` has microseconds. The library takes it for nanoseconds, which end in 2262.
fn microseconds(expr: &mut Expr) {
    if let Expr::Cast { data_type, .. } | Expr::TypedString(TypedString { data_type, .. }) = expr
        && let DataType::Timestamp(precision @ None, _) = data_type
    {
        *precision = Some(6);
    }
}

/// `list[1].member` is `list[1]['member']`. The names before it are those of a table and its column.
fn members(expr: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expr else { return };
    let mut is_inside = !matches!(**root, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    for access in access_chain {
        match access {
            AccessExpr::Subscript(_) => is_inside = true,
            AccessExpr::Dot(Expr::Identifier(name)) if is_inside => {
                let name = Expr::value(Value::SingleQuotedString(name.value.clone()));
                *access = AccessExpr::Dot(name);
            }
            AccessExpr::Dot(_) => {}
        }
    }
}

/// Another escape character of LIKE, or none, as the backslash that the library knows.
fn escapes(expr: &mut Expr) {
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = expr
    else {
        return;
    };
    let Some(Value::SingleQuotedString(escape)) = escape_char.as_ref().map(|e| &e.value) else {
        return;
    };
    // A pattern that is not constant is refused with its escape by the library.
    let Expr::Value(value) = pattern.as_mut() else { return };
    let Value::SingleQuotedString(text) = &mut value.value else { return };
    let mut chars = text.chars();
    let mut escaped = String::new();
    while let Some(c) = chars.next() {
        let is_escape = escape.starts_with(c);
        let literal = if is_escape { chars.next() } else { Some(c).filter(|c| *c == '\\') };
        match literal {
            Some(literal @ ('%' | '_' | '\\')) => escaped.extend(['\\', literal]),
            Some(literal) => escaped.push(literal),
            None => escaped.push(c),
        }
    }
    *text = escaped;
    *escape_char = None;
}

fn replacement(expr: &Expr) -> Result<Option<Expr>> {
    let quantified = |left: &Expr, op: &BinaryOperator, right: &Expr, all| match quantified(
        &op.to_string(),
        all,
    ) {
        Some(name) => call(&name, &[left, right]),
        None => plan_err!("ANY and ALL compare by =, <>, <, <=, > and >=, not by {op}"),
    };
    Ok(Some(match expr {
        Expr::AtTimeZone { timestamp, time_zone } => {
            call(crate::time_zone::NAME, &[timestamp, time_zone])?
        }
        Expr::AnyOp { left, compare_op, right, .. } => quantified(left, compare_op, right, false)?,
        Expr::AllOp { left, compare_op, right } => quantified(left, compare_op, right, true)?,
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr,
            data_type: DataType::JSON,
            ..
        } => call(functions::JSON, &[expr])?,
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("mod") => {
            let Some((left, right)) = two(&function.args) else { return Ok(None) };
            let nested = |expr: &Expr| Box::new(Expr::Nested(Box::new(expr.clone())));
            let (left, op, right) = (nested(left), BinaryOperator::Modulo, nested(right));
            Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }))
        }
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let op = match negated {
                true => BinaryOperator::PGRegexNotMatch,
                false => BinaryOperator::PGRegexMatch,
            };
            let escape = escape_char.as_ref().map(|escape| &escape.value);
            let pattern = Expr::value(Value::SingleQuotedString(regex::similar(pattern, escape)?));
            let (left, right) = (expr.clone(), Box::new(pattern));
            Expr::Nested(Box::new(Expr::BinaryOp { left, op, right }))
        }
        _ => return Ok(None),
    }))
}

/// The arguments of a function of two.
fn two(arguments: &FunctionArguments) -> Option<(&Expr, &Expr)> {
    let FunctionArguments::List(list) = arguments else { return None };
    match list.args.as_slice() {
        [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
        ] => Some((left, right)),
        _ => None,
    }
}

/// The call of a function, by whatever name.
fn call(name: &str, arguments: &[&Expr]) -> Result<Expr> {
    let mut template = expression("f(1)").map_err(|e| DataFusionError::Plan(e.to_string()))?;
    if let Expr::Function(function) = &mut template
        && let FunctionArguments::List(list) = &mut function.args
    {
        let argument = |expr: &&Expr| FunctionArg::Unnamed(FunctionArgExpr::Expr((*expr).clone()));
        list.args = arguments.iter().map(argument).collect();
        function.name = ObjectName::from(vec![Ident::new(name)]);
    }
    Ok(template)
}
