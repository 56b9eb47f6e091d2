//! The page about columns: which field becomes which column, and which columns take it.

use crate::postgres::column_type::{INCOMPATIBLE, natural, wire};
use crate::postgres::pg_type::{Modifier, PgType};
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

/// A column of an existing table: its type, `typname`, its modifier, and what it is called on the
/// page if the type is a user's.
struct Sample {
    sql: &'static str,
    name: &'static str,
    modifier: Modifier,
    shown: Option<&'static str>,
}

const fn sample(sql: &'static str, name: &'static str) -> Sample {
    let modifier = Modifier { precision: None, scale: None, length: None };
    Sample { sql, name, modifier, shown: None }
}

const NUMERIC: Modifier = Modifier { precision: Some(10), scale: Some(2), length: None };
const LENGTH: Modifier = Modifier { precision: None, scale: None, length: Some(3) };

const SAMPLES: [Sample; 35] = [
    sample("boolean", "bool"),
    sample("smallint", "int2"),
    sample("integer", "int4"),
    sample("bigint", "int8"),
    sample("numeric", "numeric"),
    Sample { modifier: NUMERIC, ..sample("numeric(10,2)", "numeric") },
    sample("real", "float4"),
    sample("double precision", "float8"),
    sample("money", "money"),
    sample("text", "text"),
    Sample { modifier: LENGTH, ..sample("varchar(3)", "varchar") },
    Sample { modifier: LENGTH, ..sample("char(3)", "bpchar") },
    sample("citext", "citext"),
    sample("name", "name"),
    Sample { shown: Some("an enum"), ..sample("shop.mood", "mood") },
    sample("json", "json"),
    sample("jsonb", "jsonb"),
    sample("bytea", "bytea"),
    sample("uuid", "uuid"),
    sample("date", "date"),
    sample("time", "time"),
    sample("timetz", "timetz"),
    sample("timestamp", "timestamp"),
    sample("timestamptz", "timestamptz"),
    sample("interval", "interval"),
    sample("inet", "inet"),
    sample("cidr", "cidr"),
    sample("macaddr", "macaddr"),
    sample("bit(3)", "bit"),
    sample("bit varying(3)", "varbit"),
    sample("tsvector", "tsvector"),
    sample("ltree", "ltree"),
    sample("point", "point"),
    sample("int4range", "int4range"),
    Sample { shown: Some("a composite type"), ..sample("shop.size", "size") },
];

impl Sample {
    fn pg_type(&self) -> PgType {
        PgType {
            name: self.name.into(),
            is_enum: self.name == "mood",
            modifier: self.modifier,
            ..PgType::default()
        }
    }

    fn shown(&self) -> String {
        self.shown.map_or_else(|| format!("`{}`", self.sql), str::to_owned)
    }
}

/// Types of columns in SQL; `shop.mood` and `shop.size` are an enum and a composite type.
pub fn columns() -> impl Iterator<Item = &'static str> {
    SAMPLES.iter().map(|sample| sample.sql)
}

/// The types of fields, as they are called in a schema.
pub fn fields() -> Vec<(&'static str, DataType)> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond};
    let at = |unit| DataType::Timestamp(unit, Some("+00:00".into()));
    let local = |unit| DataType::Timestamp(unit, None);
    let member = Field::new("member", DataType::Utf8, true);
    vec![
        ("boolean", DataType::Boolean),
        ("int", DataType::Int32),
        ("long", DataType::Int64),
        ("float", DataType::Float32),
        ("double", DataType::Float64),
        ("decimal(10,0)", DataType::Decimal128(10, 0)),
        ("decimal(10,2)", DataType::Decimal128(10, 2)),
        ("string, enum, uuid", DataType::Utf8),
        ("bytes, fixed", DataType::Binary),
        ("date", DataType::Date32),
        ("time-millis", DataType::Time32(Millisecond)),
        ("time-micros", DataType::Time64(Microsecond)),
        ("timestamp-millis", at(Millisecond)),
        ("timestamp-micros", at(Microsecond)),
        ("timestamp-nanos", at(Nanosecond)),
        ("local-timestamp-millis", local(Millisecond)),
        ("local-timestamp-micros", local(Microsecond)),
        ("duration", DataType::Interval(IntervalUnit::MonthDayNano)),
        ("record, map, union, array of them", DataType::Struct(vec![member].into())),
    ]
}

/// The name of the field's type on the page, for a column of type `arrow`; `None` for an array of
/// plain values, which takes what its elements take.
pub fn field(arrow: &DataType) -> Option<&'static str> {
    let like = |sample: &DataType| match (sample, arrow) {
        (DataType::Decimal128(_, a), DataType::Decimal128(_, b)) => (*a == 0) == (*b == 0),
        (DataType::Struct(_), DataType::List(item)) => item.data_type().is_nested(),
        (DataType::Struct(_), DataType::Struct(_) | DataType::Map(_, _)) => true,
        _ => sample == arrow,
    };
    fields().into_iter().find(|(_, sample)| like(sample)).map(|(name, _)| name)
}

/// The columns that take a field, for each field, and the array that a new table has for a list of
/// such values.
pub fn accepted() -> Vec<(&'static str, Vec<&'static str>, Option<String>)> {
    let taking = |(name, arrow): (&'static str, DataType)| {
        let takes = |sample: &&Sample| wire(&arrow, &sample.pg_type(), false).is_ok();
        let columns = SAMPLES.iter().filter(takes).map(|sample| sample.sql).collect();
        let is_plain = !arrow.is_nested();
        (name, columns, natural(&DataType::new_list(arrow, true)).filter(|_| is_plain))
    };
    fields().into_iter().map(taking).collect()
}

/// The table of the page, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(
        "| field | column of a new table | columns that take it | refused by `weir check` |\n\
         |---|---|---|---|",
    );
    for (name, arrow) in fields() {
        let (mut taking, mut read) = (Vec::new(), Vec::new());
        let mut refused: Vec<(&str, String)> = Vec::new();
        for sample in &SAMPLES {
            match wire(&arrow, &sample.pg_type(), false) {
                Ok(wire) if wire.input => read.push(sample.shown()),
                Ok(_) => taking.push(sample.shown()),
                Err(why) if why.why == INCOMPATIBLE => {}
                Err(why) => match refused.iter_mut().find(|(reason, _)| *reason == why.why) {
                    Some((_, shown)) => shown.push_str(&format!(" {}", sample.shown())),
                    None => refused.push((why.why, sample.shown())),
                },
            }
        }
        let refused: Vec<String> =
            refused.into_iter().map(|(why, shown)| format!("{shown}: {why}")).collect();
        if !read.is_empty() {
            taking.push(format!("read by PostgreSQL: {}", read.join(" ")));
        }
        let new = match name {
            "string, enum, uuid" => "`text`, of a uuid `uuid`".into(),
            _ => natural(&arrow).map_or("–".into(), |natural| format!("`{natural}`")),
        };
        page += &format!("\n| {name} | {new} | {} | {} |", taking.join(" "), refused.join("; "));
    }
    page + "\n| array of plain values | an array of its column: `text[]`, `numeric(10,2)[]` | arrays \
           whose elements take the values; `jsonb`, `json` and texts, as JSON |  |"
}
