use super::*;
use crate::postgres::pg_type::Modifier;
use arrow::datatypes::{Field, IntervalUnit};

fn column(name: &str) -> PgType {
    let element = name.strip_prefix('_').map(|name| Box::new(column(name)));
    PgType {
        shown: name.into(),
        name: name.into(),
        base: name.into(),
        element,
        ..PgType::default()
    }
}

fn with_scale(name: &str, scale: i32) -> PgType {
    let modifier = Modifier { scale: Some(scale), ..Modifier::default() };
    let element = name.strip_prefix('_').map(|name| Box::new(with_scale(name, scale)));
    PgType { modifier, element, ..column(name) }
}

fn list(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

fn utc(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("+00:00".into()))
}

fn record() -> DataType {
    DataType::Struct(vec![Field::new("name", DataType::Utf8, true)].into())
}

fn fits(arrow: &DataType, column: &PgType) -> bool {
    wire(arrow, column, false).is_ok()
}

#[test]
fn nothing_is_rounded() {
    assert!(!fits(&DataType::Float64, &column("float4")));
    assert!(!fits(&DataType::Decimal128(12, 4), &with_scale("numeric", 2)));
    assert!(!fits(&DataType::Int32, &with_scale("numeric", -2)));
    assert!(!fits(&DataType::Utf8, &with_scale("numeric", 2)));
    assert!(!fits(&list(DataType::Utf8), &with_scale("_numeric", 2)));
    assert!(!fits(&DataType::Timestamp(TimeUnit::Nanosecond, None), &column("timestamp")));
    assert!(!fits(&DataType::Interval(IntervalUnit::MonthDayNano), &with_scale("interval", 0)));
}

#[test]
fn a_time_enters_a_column_that_has_its_digits() {
    for (name, arrow, digits) in [
        ("time", DataType::Time32(TimeUnit::Millisecond), 3),
        ("time", DataType::Time64(TimeUnit::Microsecond), 6),
        ("timestamp", DataType::Timestamp(TimeUnit::Millisecond, None), 3),
        ("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None), 6),
        ("timestamptz", utc(TimeUnit::Millisecond), 3),
        ("timestamptz", utc(TimeUnit::Microsecond), 6),
        ("_timestamptz", list(utc(TimeUnit::Microsecond)), 6),
    ] {
        assert!(fits(&arrow, &column(name)), "{arrow} into {name}");
        for scale in 0..=6 {
            let fits = fits(&arrow, &with_scale(name, scale));
            assert_eq!(fits, scale >= digits, "{arrow} into {name}({scale})");
        }
    }
}

#[test]
fn integers_take_the_columns_type() {
    for (name, arrow) in [
        ("int2", DataType::Int16),
        ("int8", DataType::Int64),
        ("float4", DataType::Float32),
        ("numeric", DataType::Decimal128(19, 0)),
    ] {
        let sent = wire(&DataType::Int32, &column(name), false).unwrap();
        assert_eq!(sent, Wire::cast(arrow), "{name}");
    }
}

#[test]
fn an_instant_loses_its_zone_only_when_the_pipeline_file_says_so() {
    for (instant, name) in [
        (utc(TimeUnit::Microsecond), "timestamp"),
        (list(utc(TimeUnit::Microsecond)), "_timestamp"),
    ] {
        assert!(wire(&instant, &column(name), false).is_err());
        assert!(wire(&instant, &column(name), true).is_ok());
    }
    let local = DataType::Timestamp(TimeUnit::Microsecond, None);
    assert!(wire(&local, &column("timestamptz"), true).is_err());
}

#[test]
fn text_enters_what_only_the_server_can_read() {
    for name in ["inet", "bit", "xml", "tsvector", "int4range", "int2", "_inet", "_text", "point"] {
        let sent = wire(&DataType::Utf8, &column(name), false).unwrap();
        assert!(sent.input, "{name}");
    }
    let lists = list(DataType::Utf8);
    assert!(wire(&lists, &column("_inet"), false).unwrap().input);
    assert!(!wire(&lists, &column("_text"), false).unwrap().input);
    assert!(!wire(&lists, &column("_uuid"), false).unwrap().input);
}

#[test]
fn every_natural_type_takes_what_it_was_made_for() {
    let map = DataType::Map(
        std::sync::Arc::new(Field::new("entries", DataType::Struct(Default::default()), false)),
        false,
    );
    let scalars = [
        (DataType::Boolean, "bool"),
        (DataType::Int32, "int4"),
        (DataType::Int64, "int8"),
        (DataType::Float32, "float4"),
        (DataType::Float64, "float8"),
        (DataType::Decimal128(10, 2), "numeric"),
        (DataType::Utf8, "text"),
        (DataType::Binary, "bytea"),
        (DataType::Date32, "date"),
        (DataType::Time32(TimeUnit::Millisecond), "time"),
        (DataType::Time64(TimeUnit::Microsecond), "time"),
        (utc(TimeUnit::Millisecond), "timestamptz"),
        (utc(TimeUnit::Microsecond), "timestamptz"),
        (DataType::Timestamp(TimeUnit::Microsecond, None), "timestamp"),
        (DataType::Interval(IntervalUnit::MonthDayNano), "interval"),
    ];
    for (arrow, name) in scalars {
        let array = natural(&list(arrow.clone())).unwrap();
        assert_eq!(array, format!("{}[]", natural(&arrow).unwrap()));
        assert!(fits(&arrow, &column(name)), "{arrow} into {name}");
        assert!(fits(&list(arrow), &column(&format!("_{name}"))), "into {name}[]");
    }
    for nested in [record(), map.clone(), list(record()), list(map), list(list(DataType::Int32))] {
        assert_eq!(natural(&nested).as_deref(), Some("jsonb"), "{nested}");
        for name in ["jsonb", "json", "text"] {
            assert!(fits(&nested, &column(name)), "{nested} into {name}");
        }
    }
}
