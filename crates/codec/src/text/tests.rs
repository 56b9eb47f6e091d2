use super::*;

use AvroType::{Boolean, Date, Double, Float, Int, Long, TimeMillis};

fn utc(unit: TimeUnit) -> AvroType {
    AvroType::Timestamp { unit, utc: true }
}

fn local(unit: TimeUnit) -> AvroType {
    AvroType::Timestamp { unit, utc: false }
}

#[test]
fn values_are_read_exactly() {
    let read = |text, avro_type: AvroType| parse(text, &avro_type).unwrap();
    assert_eq!(read(" 42 ", Int), Cell::Integer(42));
    assert_eq!(read("-9223372036854775808", Long), Cell::Integer(i64::MIN));
    assert_eq!(read("-1.5e3", Double), Cell::Float(-1500.0));
    assert_eq!(read("TRUE", Boolean), Cell::Boolean(true));
    assert_eq!(read(" a ", AvroType::String), Cell::Text(" a ".into()));
    assert_eq!(read("1970-01-02", Date), Cell::Integer(1));
    assert_eq!(read("1969-12-31", Date), Cell::Integer(-1));
    assert_eq!(read("00:00:01.5", TimeMillis), Cell::Integer(1500));
    assert_eq!(read("1970-01-01T00:00:01.25Z", utc(TimeUnit::Millisecond)), Cell::Integer(1250));
    assert_eq!(read("1970-01-01 01:00:00+01:00", utc(TimeUnit::Microsecond)), Cell::Integer(0));
    assert_eq!(read("1970-01-01 00:00:01", utc(TimeUnit::Microsecond)), Cell::Integer(1_000_000));
    assert_eq!(read("1970-01-01 00:00:01", local(TimeUnit::Second)), Cell::Integer(1));
}

#[test]
fn decimals_are_exact() {
    let read = |text| parse(text, &AvroType::Decimal { precision: 5, scale: 2, fixed: None });
    for (text, number) in [
        ("1", 100),
        ("-1.5", -150),
        ("+0.05", 5),
        ("999.99", 99999),
        ("007.10", 710),
        ("1.500", 150),
        (".5", 50),
        ("3.", 300),
    ] {
        assert_eq!(read(text), Ok(Cell::Decimal(number)), "{text}");
    }
    assert_eq!(read("1000"), Err("does not fit decimal(5, 2)".into()));
    assert_eq!(read("0.125"), Err("has more than 2 decimals".into()));
    for text in ["", ".", "-", "1,5", "1e3", "NaN", "0x10", "1 000"] {
        assert_eq!(read(text), Err("is not a decimal number".into()), "{text}");
    }
}

#[test]
fn what_is_not_exactly_a_value_is_refused() {
    let refused = [
        ("12.0", Int, "is not a whole number"),
        ("1,234", Int, "is not a whole number"),
        ("2147483648", Int, "does not fit 32 bits"),
        ("NaN", Double, "is not a number"),
        ("inf", Double, "is not a number"),
        ("1e999", Double, "is too large"),
        ("1e39", Float, "is too large"),
        ("yes", Boolean, "is neither true nor false"),
        ("2025-02-30", Date, "is not a date such as 2025-01-31"),
        ("2025-01-31 00:00", Date, "is not a date such as 2025-01-31"),
        (
            "1/8/90 0:00",
            utc(TimeUnit::Microsecond),
            "is not a time such as 2025-01-31T23:59:59.999Z",
        ),
        (
            "2025-01-31T00:00:00.0001Z",
            utc(TimeUnit::Millisecond),
            "has more than 3 decimals of a second",
        ),
        (
            "2025-01-31T00:00:00Z",
            local(TimeUnit::Microsecond),
            "is not a local time such as 2025-01-31 23:59:59.999",
        ),
    ];
    for (text, avro_type, what) in refused {
        assert_eq!(parse(text, &avro_type), Err(what.into()), "{text} as {avro_type}");
    }
}

/// Microseconds since 1970.
fn micros(text: &str, avro_type: &AvroType) -> Result<i64, String> {
    match parse(text, avro_type)? {
        Cell::Integer(micros) => Ok(micros),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn the_ends_of_time_are_times() {
    for avro_type in [utc(TimeUnit::Microsecond), local(TimeUnit::Microsecond)] {
        for (text, expected) in [
            ("9999-12-31 23:59:59.999999", 253_402_300_799_999_999),
            ("9999-12-31", 253_402_214_400_000_000),
            ("0001-01-01 00:00:00", -62_135_596_800_000_000),
            ("1753-01-01T00:00", -6_847_804_800_000_000),
            ("1969-12-31 23:59:59.5", -500_000),
        ] {
            assert_eq!(micros(text, &avro_type), Ok(expected), "{text} as {avro_type}");
        }
    }
    let instant = utc(TimeUnit::Microsecond);
    assert_eq!(micros("9999-12-31T00:00:00Z", &instant), Ok(253_402_214_400_000_000));
    assert_eq!(parse("9999-12-31", &Date), Ok(Cell::Integer(2_932_896)));
    assert_eq!(parse("9999-12-31", &utc(TimeUnit::Nanosecond)), Err("is out of range".into()));
}

#[test]
fn an_offset_moves_an_instant_and_is_refused_in_a_local_time() {
    let instant = utc(TimeUnit::Microsecond);
    let noon = micros("2024-06-15T12:00:00Z", &instant).unwrap();
    for text in [
        "2024-06-15 14:00+02",
        "2024-06-15t14:00:00+0200",
        "2024-06-15T14:00:00.000+02:00",
        "2024-06-15T14:00:00+02:00[Europe/Berlin]",
        "2024-06-15 04:30:00-07:30:00",
        "2024-06-15 12:00z",
        "2024-06-15 12:00",
    ] {
        assert_eq!(micros(text, &instant), Ok(noon), "{text}");
        let refused = parse(text, &local(TimeUnit::Microsecond)).is_err();
        assert_eq!(refused, text != "2024-06-15 12:00", "{text} as a local time");
    }
}

#[test]
fn what_only_looks_like_a_time_is_refused() {
    let types = [utc(TimeUnit::Nanosecond), local(TimeUnit::Nanosecond), TimeMillis, Date];
    for text in [
        "",
        "soon",
        "20240615",
        "2024-6-15",
        "2024-02-30",
        "2024-13-01",
        "15.06.2024 14:30",
        "2024-06-15 14:30:00 UTC",
        "2024-06-15T14:30:00[Asia/Karachi]",
        "2024-06-15T14:30:00+24:00",
        "2024-06-15 24:00:00",
        "2016-12-31T23:59:60Z",
        "2016-12-31 23:59:60",
        "2024-06-15 14:30:00.1234567891",
        "2024-06-15 14:30.5",
        "2024-06-15 14",
        "2024-06-15T14:30:00+05:99",
        "2024-06-15T14:30:00+5",
        "2024-06-15T14:30:00+05:00[",
        "2024-06-15ä14:30",
        "-2024-06-15",
        "23:59:60",
        "24:00:00",
        "1430",
        "14:30:00+05:00",
        "2:30 PM",
        "1718461800",
        "1718461800000",
    ] {
        for avro_type in &types {
            assert!(parse(text, avro_type).is_err(), "{text} as {avro_type}");
        }
    }
    for text in ["2024-06-15T14:30:00", "2024-06-15"] {
        assert!(parse(text, &TimeMillis).is_err(), "{text} as a time");
    }
    assert!(parse("14:30:00", &Date).is_err() && parse("14:30:00", &types[0]).is_err());
}

#[test]
fn numbers_that_their_type_cannot_hold_are_refused() {
    for (text, avro_type) in [
        ("9007199254740993", Double),
        ("16777217", Float),
        ("-16777217", Float),
        ("1e-400", Double),
        ("1e-60", Float),
        ("1e400", Double),
        ("3.5e38", Float),
        ("0x10", Int),
        ("1_000", Long),
        ("true", Int),
        ("1", Boolean),
    ] {
        assert!(parse(text, &avro_type).is_err(), "{text} as {avro_type}");
    }
    for (text, avro_type, number) in [
        ("9007199254740992", Double, 9_007_199_254_740_992.0),
        ("16777216", Float, 16_777_216.0),
        ("0.1", Double, 0.1),
        ("0e0", Double, 0.0),
        ("-0.0", Float, 0.0),
    ] {
        assert_eq!(parse(text, &avro_type), Ok(Cell::Float(number)), "{text} as {avro_type}");
    }
}

#[test]
fn symbols_uuids_and_sizes_are_checked() {
    let symbols = crate::avro_type::Symbols {
        name: "Verdict".into(),
        list: vec!["OK".into(), "SAD".into()],
        default: None,
    };
    let mood = AvroType::Enum(std::sync::Arc::new(symbols));
    let uuid = AvroType::Uuid { fixed: false };
    let id = "6774D596-8cc8-4c20-8e98-6f2f105d62a8";
    for (text, avro_type, fits) in [
        ("OK", &mood, true),
        ("ok", &mood, false),
        (" OK", &mood, false),
        (id, &uuid, true),
        ("{6774d596-8cc8-4c20-8e98-6f2f105d62a8}", &uuid, false),
        ("not-a-uuid", &uuid, false),
        ("abc", &AvroType::Fixed(3), true),
        ("abcd", &AvroType::Fixed(3), false),
        ("ä", &AvroType::Fixed(3), false),
    ] {
        assert_eq!(parse(text, avro_type).is_ok(), fits, "{text} as {avro_type}");
    }
}
