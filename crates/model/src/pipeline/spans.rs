//! Line and column of each key in the file. Only line numbers and the text of the SQL are kept,
//! because the rest of the file may contain secrets.

use crate::mistake::Excerpt;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Lines by key path.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    lines: BTreeMap<String, usize>,
    /// First line and source text of the keys whose value is SQL.
    sql: BTreeMap<String, (usize, String)>,
}

impl Spans {
    pub(super) fn of(text: &str, table: &DeTable<'_>) -> Spans {
        let mut spans = Spans::default();
        spans.walk(text, table, &[String::new()]);
        spans
    }

    /// A key has several paths, because elements of lists are addressed by number and by name.
    fn walk(&mut self, text: &str, table: &DeTable<'_>, paths: &[String]) {
        for (key, value) in table {
            let own: Vec<String> = paths
                .iter()
                .map(|p| {
                    if p.is_empty() {
                        key.get_ref().to_string()
                    } else {
                        format!("{p}.{}", key.get_ref())
                    }
                })
                .collect();
            self.note(text, &own, key.span().start..value.span().end.max(key.span().end));
            match value.get_ref() {
                DeValue::Table(inner) => self.walk(text, inner, &own),
                DeValue::Array(elements) => {
                    for (i, element) in elements.iter().enumerate() {
                        self.element(text, element, i, &own);
                    }
                }
                _ => {}
            }
        }
    }

    fn element(
        &mut self,
        text: &str,
        element: &toml::Spanned<DeValue<'_>>,
        index: usize,
        paths: &[String],
    ) {
        let mut own: Vec<String> = paths.iter().map(|p| format!("{p}[{index}]")).collect();
        let inner = element.get_ref().as_table();
        let name = inner
            .and_then(|t| t.iter().find(|(k, _)| k.get_ref() == "name"))
            .and_then(|(_, v)| v.get_ref().as_str());
        own.extend(paths.iter().flat_map(|p| name.map(|n| format!("{p}.{n}"))));
        self.note(text, &own, element.span());
        if let Some(inner) = inner {
            self.walk(text, inner, &own);
        }
    }

    fn note(&mut self, text: &str, paths: &[String], span: Range<usize>) {
        let line = line_at(text, span.start);
        for path in paths {
            self.lines.entry(path.clone()).or_insert(line);
            if path == "transform.sql" || path.starts_with("reject") && path.ends_with(".when") {
                let start = text[..span.start].rfind('\n').map_or(0, |n| n + 1);
                self.sql.insert(path.clone(), (line, text[start..span.end].to_owned()));
            }
        }
    }

    /// The line of `key`, or of the nearest table around it.
    pub(super) fn line(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = &key[..key.rfind(['.', '['])?];
        }
    }

    /// The first line in the SQL of `key` that contains `token` as a whole word. The last match in
    /// the line counts, because a result column's name follows its expression.
    pub(super) fn find(&self, key: &str, token: &str) -> Option<(usize, Excerpt)> {
        let (first, text) = self.sql.get(key)?;
        text.lines().enumerate().find_map(|(i, line)| {
            // the value begins after `when =`; the key's own name is not SQL
            let skip = if i == 0 { line.find('=').map_or(0, |at| at + 1) } else { 0 };
            let at = word(line, token, skip)?;
            let indent = line.len() - line.trim_start().len();
            let from = line[indent..at].chars().count();
            Some((
                first + i,
                Excerpt { text: line.trim().to_owned(), from, len: token.chars().count() },
            ))
        })
    }
}

fn word(line: &str, token: &str, skip: usize) -> Option<usize> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let bounded = |at: &usize| {
        let alone = |c: Option<char>, edge: Option<char>| {
            !(c.is_some_and(inside) && edge.is_some_and(inside))
        };
        alone(line[..*at].chars().next_back(), token.chars().next())
            && alone(line[at + token.len()..].chars().next(), token.chars().next_back())
    };
    if token.is_empty() {
        return None;
    }
    line.rmatch_indices(token).map(|(at, _)| at).filter(|at| *at >= skip).find(bounded)
}

/// 1-based.
pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}
