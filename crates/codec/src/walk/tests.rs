use super::*;
use crate::datum::unscaled;
use crate::named_types::resolve;
use crate::schema::parse_avro;

/// Reason and detail of the fault of `datum` after a frame.
fn fault_of(fields: &str, datum: &[u8]) -> Option<(String, String)> {
    let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let resolved = resolve(&parse_avro(&text).unwrap()).unwrap();
    let (checks, recursive) =
        (field_checks(&resolved.fields), recursive_checks(&resolved.recursive));
    let value = [&[0, 0, 0, 0, 1], datum].concat();
    let mut walk = Walk::new(&value, 5, &recursive);
    let checked = walk.skip_fields(&checks).and_then(|()| walk.finish());
    checked.err().map(|violation| violation.into_fault()).map(|fault| (fault.reason, fault.detail))
}

fn zigzag(value: i64) -> Vec<u8> {
    let mut number = ((value << 1) ^ (value >> 63)) as u64;
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

const TEXT: &str = r#"{"name":"caller_name","type":"string"}"#;
const OPTIONAL: &str = r#"{"name":"x","type":["string","null"]}"#;
const LONG: &str = r#"{"name":"x","type":"long"}"#;
const INT: &str = r#"{"name":"x","type":"int"}"#;
const DECIMAL: &str =
    r#"{"name":"x","type":{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}}"#;
const NULLS: &str = r#"{"name":"x","type":{"type":"array","items":"null"}}"#;
const INTS: &str = r#"{"name":"x","type":{"type":"array","items":"int"}}"#;
const NESTED: &str = r#"{"name":"a","type":{"type":"record","name":"S","fields":[
    {"name":"m","type":{"type":"map","values":"string"}}]}}"#;

#[test]
fn valid_datums_pass() {
    for (fields, datum) in [
        (TEXT, [zigzag(3), b"Ann".to_vec()].concat()),
        (OPTIONAL, vec![2]),
        (OPTIONAL, vec![0, 2, b'x']),
        (LONG, zigzag(i64::MIN)),
        (INT, zigzag(i64::from(i32::MIN))),
        (DECIMAL, vec![4, 0xd8, 0xf1]),
        (NULLS, [zigzag(1000), vec![0]].concat()),
        (INTS, vec![4, 2, 4, 0]),
        (INTS, vec![3, 4, 2, 4, 0]),
        (NESTED, vec![2, 2, b'k', 2, b'v', 0]),
        (
            r#"{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
            {"name":"f","type":"E"}"#,
            vec![2, 0],
        ),
    ] {
        assert_eq!(fault_of(fields, &datum), None, "{fields} {datum:?}");
    }
}

#[test]
fn the_detail_names_the_violation_the_position_and_the_field() {
    let datum = [zigzag(2_147_483_000), vec![b'x'; 61]].concat();
    let (reason, detail) = fault_of(TEXT, &datum).unwrap();
    assert_eq!(reason, "truncated");
    assert_eq!(
        detail,
        "string length 2,147,483,000 at byte 5 exceeds the 61 bytes left (caller_name)"
    );
    let (_, detail) = fault_of(NESTED, &[2, 2, b'k', 2, 0xff, 0]).unwrap();
    assert_eq!(detail, "the string at byte 8 is not UTF-8: byte 0xff at byte 9 (a.m.0)");
}

#[test]
fn every_violation_has_its_reason() {
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (TEXT, vec![], "truncated"),
        (TEXT, vec![6, b'A'], "truncated"),
        (TEXT, vec![0, 0], "trailing_bytes"),
        (TEXT, zigzag(-1), "bad_length"),
        (TEXT, zigzag(i64::MAX), "truncated"),
        (TEXT, zigzag(i64::MIN), "bad_length"),
        (TEXT, vec![2, 0xff], "invalid_utf8"),
        (TEXT, vec![4, 0xed, 0xa0], "invalid_utf8"),
        (OPTIONAL, vec![4], "bad_union_branch"),
        (OPTIONAL, vec![1], "bad_union_branch"),
        (LONG, vec![0xff; 10], "bad_varint"),
        (LONG, vec![0x80; 11], "bad_varint"),
        (LONG, vec![0x80; 9], "truncated"),
        (INT, zigzag(1 << 31), "bad_varint"),
        (INT, vec![0x80, 0x80, 0x80, 0x80, 0x80, 0], "bad_varint"),
        (r#"{"name":"x","type":"boolean"}"#, vec![2], "bad_boolean"),
        (r#"{"name":"x","type":"double"}"#, vec![0; 7], "truncated"),
        (r#"{"name":"x","type":{"type":"enum","name":"E","symbols":["A"]}}"#, vec![2], "bad_enum"),
        (r#"{"name":"x","type":{"type":"enum","name":"E","symbols":["A"]}}"#, vec![1], "bad_enum"),
        (
            r#"{"name":"x","type":{"type":"string","logicalType":"uuid"}}"#,
            vec![2, b'x'],
            "invalid_uuid",
        ),
        (DECIMAL, vec![0], "bad_decimal"),
        (DECIMAL, vec![4, 0x27, 0x10], "bad_decimal"),
        (DECIMAL, [zigzag(17), vec![1; 17]].concat(), "bad_decimal"),
        (NULLS, [zigzag(1 << 40), vec![0]].concat(), "too_many_items"),
        (NULLS, [zigzag(i64::MIN), zigzag(0), vec![0]].concat(), "too_many_items"),
        (INTS, vec![4, 2], "truncated"),
        (INTS, vec![3, 6, 2, 4, 0], "bad_length"),
    ];
    for (fields, datum, reason) in cases {
        let fault = fault_of(fields, &datum);
        assert_eq!(
            fault.as_ref().map(|(reason, _)| reason.as_str()),
            Some(reason),
            "{fields} {datum:02x?} {fault:?}"
        );
    }
}

#[test]
fn the_limit_of_items_applies_to_the_whole_record() {
    let half = |limit: u64| i64::try_from(limit / 2).unwrap();
    let empty = zigzag(half(MAX_EMPTY_ITEMS));
    let two = [empty.clone(), empty.clone(), vec![0]].concat();
    assert_eq!(fault_of(NULLS, &two), None);
    let three = [empty.clone(), empty, vec![2, 0]].concat();
    assert_eq!(fault_of(NULLS, &three).unwrap().0, "too_many_items");
    let ints = [zigzag(half(MAX_ITEMS)), vec![2; MAX_ITEMS as usize / 2]].concat();
    let two = [ints.clone(), ints.clone(), vec![0]].concat();
    assert_eq!(fault_of(INTS, &two), None);
    let three = [ints.clone(), ints, vec![2, 2, 0]].concat();
    assert_eq!(fault_of(INTS, &three).unwrap().0, "too_many_items");
}

#[test]
fn unscaled_reads_twos_complement() {
    assert_eq!(unscaled(&[0xff]), Some(-1));
    assert_eq!(unscaled(&[0, 0x80]), Some(128));
    assert_eq!(unscaled(&[[0xff; 4], 5i32.to_be_bytes()].concat()), Some(-((1i128 << 32) - 5)));
    assert_eq!(
        unscaled(&[&[0; 9][..], &i64::MAX.to_be_bytes()].concat()),
        Some(i128::from(i64::MAX))
    );
    assert_eq!(unscaled(&[&[0u8][..], &[0xff; 16]].concat()), None);
    assert_eq!(unscaled(&[]), None);
}
