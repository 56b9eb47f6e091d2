//! Types of columns, from the catalog. A domain counts as its base type, whose form it has.

use crate::postgres::{Error, Store};
use tokio_postgres::Row;

/// The type of a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PgType {
    /// As in SQL: `character varying(50)`, or the name of a domain.
    pub(crate) shown: String,
    /// `typname` of the type, or of the base type of a domain: `varchar`, `int4`, `_text`.
    pub(crate) name: String,
    /// The type in SQL, or the base type of a domain, without its modifier.
    pub(crate) base: String,
    /// The type's number; that of a domain is its own.
    pub(crate) oid: u32,
    /// A user-defined enum, whose values are its labels.
    pub(crate) is_enum: bool,
    /// What is in parentheses after the type's name.
    pub(crate) modifier: Modifier,
    /// The type of an array's elements.
    pub(crate) element: Option<Box<PgType>>,
}

/// The modifier of a type, which limits its values; of an array, those of its elements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Modifier {
    /// Digits of a number in `numeric(p,s)`.
    pub(crate) precision: Option<i32>,
    /// Digits after the point: of a number in `numeric(p,s)`, of the seconds in `timestamp(p)`,
    /// `time(p)` and `interval(p)`.
    pub(crate) scale: Option<i32>,
    /// Characters in `varchar(n)` and `char(n)`.
    pub(crate) length: Option<usize>,
}

/// A type with what its domains say about a column.
pub(crate) struct Described {
    pub(crate) pg_type: PgType,
    /// A domain does not allow null.
    pub(crate) not_null: bool,
    /// A domain supplies a value when none is given.
    pub(crate) filled: bool,
}

impl Store {
    /// The type that `text` names; `None` if PostgreSQL does not have it.
    pub(crate) async fn named_type(&self, text: &str) -> Result<Option<PgType>, Error> {
        let client = self.client().await?;
        match client.query_opt(&query("a.wanted", NAMED), &[&text]).await {
            Ok(row) => {
                let named = row.map(|row| Ok(named(described(&row)?.pg_type, text))).transpose();
                named.map_err(|e| self.error(e))
            }
            // Servers before version 16 raise an error if the text does not have the form of a
            // type.
            Err(e) => match self.error(e) {
                Error::Database { report, .. }
                    if report.sqlstate.starts_with("42") || report.sqlstate.starts_with("22") =>
                {
                    Ok(None)
                }
                other => Err(other),
            },
        }
    }
}

const NAMED: &str = "(SELECT to_regtype($1)::oid AS wanted, -1 AS wanted_modifier) a";

/// Selects `columns` and the description of a type from `relation a`, which has the columns
/// `wanted` and `wanted_modifier`.
pub(crate) fn query(columns: &str, relation: &str) -> String {
    format!(
        "SELECT {columns}, format_type(a.wanted, a.wanted_modifier) AS shown, a.wanted AS oid, \
         b.name, b.base, b.is_enum, b.modifier, b.not_null, b.filled, \
         format_type(i.oid, b.modifier) AS element_shown, i.oid AS element_oid, \
         e.name AS element_name, e.base AS element_base, e.is_enum AS element_is_enum, \
         e.modifier AS element_modifier \
         FROM {relation} CROSS JOIN LATERAL ({}) b \
         LEFT JOIN pg_type i ON i.typarray = b.oid LEFT JOIN LATERAL ({}) e ON true",
        base_type("a.wanted", "a.wanted_modifier"),
        base_type("i.oid", "b.modifier")
    )
}

/// Selects the type that a domain, or a domain over domains, is made of.
fn base_type(oid: &str, modifier: &str) -> String {
    let described = "t.oid, t.typname, t.typtype, t.typbasetype, t.typtypmod";
    format!(
        "WITH RECURSIVE chain AS (SELECT {described}, {modifier} AS modifier, \
         t.typnotnull AS not_null, t.typdefault IS NOT NULL AS filled, 0 AS depth \
         FROM pg_type t WHERE t.oid = {oid} \
         UNION ALL SELECT {described}, c.typtypmod, c.not_null OR t.typnotnull, \
         c.filled OR t.typdefault IS NOT NULL, c.depth + 1 \
         FROM chain c JOIN pg_type t ON t.oid = c.typbasetype WHERE c.typtype = 'd') \
         SELECT oid, typname::text AS name, format_type(oid, -1) AS base, \
         typtype = 'e' AS is_enum, modifier, not_null, filled \
         FROM chain ORDER BY depth DESC LIMIT 1"
    )
}

/// The type in a row of [`query`].
pub(crate) fn described(row: &Row) -> Result<Described, tokio_postgres::Error> {
    let part = |prefix: &str| -> Result<PgType, tokio_postgres::Error> {
        let name: String = row.try_get(&*format!("{prefix}name"))?;
        Ok(PgType {
            shown: row.try_get(&*format!("{prefix}shown"))?,
            base: row.try_get(&*format!("{prefix}base"))?,
            oid: row.try_get(&*format!("{prefix}oid"))?,
            is_enum: row.try_get(&*format!("{prefix}is_enum"))?,
            modifier: modifier_of(&name, row.try_get(&*format!("{prefix}modifier"))?),
            element: None,
            name,
        })
    };
    let is_array = row.try_get::<_, Option<u32>>("element_oid")?.is_some();
    let element = is_array.then(|| part("element_")).transpose()?.map(Box::new);
    Ok(Described {
        pg_type: PgType { element, ..part("")? },
        not_null: row.try_get("not_null")?,
        filled: row.try_get("filled")?,
    })
}

/// `found` with the modifier that `text` spells out.
fn named(found: PgType, text: &str) -> PgType {
    let inner = text.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    let Some((inner, _)) = inner else { return found };
    let inner = inner.replace(' ', "");
    let element = found.element.map(|element| {
        let modifier = modifier_in(&element.name, &inner);
        Box::new(PgType { shown: with_modifier(&element.shown, &inner), modifier, ..*element })
    });
    PgType {
        shown: with_modifier(&found.shown, &inner),
        modifier: modifier_in(&found.name, &inner),
        element,
        ..found
    }
}

/// `numeric[]` → `numeric(10,2)[]`. Where a time zone follows, the modifier comes after the first
/// word of the type.
fn with_modifier(shown: &str, inner: &str) -> String {
    let (name, brackets) = match shown.strip_suffix("[]") {
        Some(name) => (name, "[]"),
        None => (shown, ""),
    };
    match name.split_once(' ') {
        Some((first, zone)) if zone.starts_with("with") => {
            format!("{first}({inner}) {zone}{brackets}")
        }
        _ => format!("{name}({inner}){brackets}"),
    }
}

/// The modifier that `text` spells out: `10,2` in `numeric(10,2)`.
fn modifier_in(name: &str, text: &str) -> Modifier {
    let (first, second) = text.split_once(',').unwrap_or((text, "0"));
    let number = first.parse::<i32>().ok();
    match name.trim_start_matches('_') {
        "numeric" => {
            Modifier { precision: number, scale: second.parse().ok(), ..Modifier::default() }
        }
        "time" | "timetz" | "timestamp" | "timestamptz" | "interval" => {
            Modifier { scale: number, ..Modifier::default() }
        }
        "varchar" | "bpchar" => {
            let length = number.and_then(|n| usize::try_from(n).ok());
            Modifier { length, ..Modifier::default() }
        }
        _ => Modifier::default(),
    }
}

/// The modifier in the catalog's form. The scale of `numeric(p,s)` is in its low eleven bits, the
/// precision of an interval in its low sixteen, below the fields that it keeps.
fn modifier_of(name: &str, number: i32) -> Modifier {
    const HEADER: i32 = 4;
    const ALL_FIELDS: i32 = 0x7fff;
    let scale = |scale| Modifier { scale: Some(scale), ..Modifier::default() };
    match name.trim_start_matches('_') {
        "numeric" if number >= HEADER => Modifier {
            precision: Some((number - HEADER) >> 16),
            scale: Some((((number - HEADER) & 0x7ff) ^ 1024) - 1024),
            length: None,
        },
        "time" | "timetz" | "timestamp" | "timestamptz" if number >= 0 => scale(number),
        "interval" if number >= 0 && number >> 16 != ALL_FIELDS => scale(0),
        "interval" if number >= 0 => scale(number & 0xffff),
        "varchar" | "bpchar" => {
            Modifier { length: usize::try_from(number - HEADER).ok(), ..Modifier::default() }
        }
        _ => Modifier::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modifier_is_read_from_the_catalog_and_from_the_pipeline_file() {
        let scale = |scale| Modifier { scale: Some(scale), ..Modifier::default() };
        let numeric = |precision, scale| Modifier {
            precision: Some(precision),
            scale: Some(scale),
            length: None,
        };
        let length = |length| Modifier { length: Some(length), ..Modifier::default() };
        for (name, number, text, modifier) in [
            ("numeric", ((10 << 16) | 2) + 4, "10,2", numeric(10, 2)),
            ("numeric", (10 << 16) + 4, "10", numeric(10, 0)),
            ("timestamp", 0, "0", scale(0)),
            ("timestamptz", 3, "3", scale(3)),
            ("_timestamp", 3, "3", scale(3)),
            ("time", 6, "6", scale(6)),
            ("interval", (0x7fff << 16) + 3, "3", scale(3)),
            ("varchar", 54, "50", length(50)),
            ("bpchar", 5, "1", length(1)),
            ("bit", 8, "8", Modifier::default()),
        ] {
            assert_eq!(modifier_of(name, number), modifier, "{name}");
            assert_eq!(modifier_in(name, text), modifier, "{name}({text})");
            assert_eq!(modifier_of(name, -1), Modifier::default(), "{name}");
        }
    }

    #[test]
    fn a_modifier_has_its_place_within_the_name() {
        for (shown, inner, wanted) in [
            ("character varying", "50", "character varying(50)"),
            ("numeric[]", "10,2", "numeric(10,2)[]"),
            ("timestamp with time zone", "3", "timestamp(3) with time zone"),
            ("timestamp with time zone[]", "3", "timestamp(3) with time zone[]"),
        ] {
            assert_eq!(with_modifier(shown, inner), wanted);
        }
    }
}
