use super::*;

fn utc(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("+00:00".into()))
}

#[test]
fn values_are_read_exactly() {
    let read = |text, kind: DataType| parse(text, &kind).unwrap();
    assert_eq!(read(" 42 ", DataType::Int32), Cell::Integer(42));
    assert_eq!(read("-9223372036854775808", DataType::Int64), Cell::Integer(i64::MIN));
    assert_eq!(read("-1.5e3", DataType::Float64), Cell::Float(-1500.0));
    assert_eq!(read("TRUE", DataType::Boolean), Cell::Boolean(true));
    assert_eq!(read(" a ", DataType::Utf8), Cell::Text(" a ".into()));
    assert_eq!(read("1970-01-02", DataType::Date32), Cell::Integer(1));
    assert_eq!(read("1969-12-31", DataType::Date32), Cell::Integer(-1));
    assert_eq!(read("00:00:01.5", DataType::Time32(TimeUnit::Millisecond)), Cell::Integer(1500));
    assert_eq!(read("1970-01-01T00:00:01.25Z", utc(TimeUnit::Millisecond)), Cell::Integer(1250));
    assert_eq!(read("1970-01-01 01:00:00+01:00", utc(TimeUnit::Microsecond)), Cell::Integer(0));
    assert_eq!(read("1970-01-01 00:00:01", utc(TimeUnit::Microsecond)), Cell::Integer(1_000_000));
    assert_eq!(
        read("1970-01-01 00:00:01", DataType::Timestamp(TimeUnit::Second, None)),
        Cell::Integer(1)
    );
}

#[test]
fn decimals_are_exact() {
    let read = |text| parse(text, &DataType::Decimal128(5, 2));
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
        ("12.0", DataType::Int32, "is not a whole number"),
        ("1,234", DataType::Int32, "is not a whole number"),
        ("2147483648", DataType::Int32, "does not fit 32 bits"),
        ("NaN", DataType::Float64, "is not a number"),
        ("inf", DataType::Float64, "is not a number"),
        ("1e999", DataType::Float64, "is too large"),
        ("1e39", DataType::Float32, "is too large"),
        ("yes", DataType::Boolean, "is neither true nor false"),
        ("2025-02-30", DataType::Date32, "is not a date such as 2025-01-31"),
        ("2025-01-31 00:00", DataType::Date32, "is not a date such as 2025-01-31"),
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
            DataType::Timestamp(TimeUnit::Microsecond, None),
            "is not a local time such as 2025-01-31 23:59:59.999",
        ),
    ];
    for (text, kind, what) in refused {
        assert_eq!(parse(text, &kind), Err(what.into()), "{text} as {kind}");
    }
}
