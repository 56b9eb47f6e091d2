//! Bytes that are no message: each a fault of its record alone, with a place.

use super::*;

const FIELDS: &str = "int32 a = 1; string s = 2; I i = 3; repeated int32 l = 4; E e = 5; \
    google.protobuf.Value v = 6; map<string, I> m = 7; repeated E many = 8; repeated I inner = 9; \
    bool b = 10; google.protobuf.Timestamp t = 11; sint32 z = 12; uint32 u = 13;";
const COLUMNS: &str = r#"{"name":"a","type":"int"},{"name":"s","type":"string"},
    {"name":"i","type":["null",{"type":"record","name":"I","fields":[{"name":"n","type":"int"}]}]},
    {"name":"l","type":{"type":"array","items":"int"}},{"name":"v","type":["null","string"]},
    {"name":"m","type":{"type":"map","values":"I"}},{"name":"b","type":"boolean"},
    {"name":"t","type":["null",{"type":"long","logicalType":"timestamp-nanos"}]},
    {"name":"many","type":{"type":"array","items":"string"}},{"name":"z","type":"int"},
    {"name":"inner","type":{"type":"array","items":"I"}},{"name":"u","type":"long"}"#;

fn refused(datum: &[u8]) -> (String, String) {
    match read(FIELDS, COLUMNS, datum) {
        Ok(row) => panic!("{datum:?}: {row}"),
        Err(refused) => refused,
    }
}

#[test]
fn each_violation_has_its_reason_and_its_place() {
    let cases: &[(&[u8], &str, &str)] = &[
        (&[8], "truncated", "the number at byte 7 is cut off after 0 bytes (a)"),
        (&[8, 0x80], "truncated", "the number at byte 7 is cut off after 1 bytes (a)"),
        (&[18, 5, b'a'], "truncated", "5 bytes at byte 7 exceed the 1 bytes left (s)"),
        (&[18, 1, 0xff], "invalid_utf8", "the string at byte 7 is not UTF-8 from byte 8 (s)"),
        (&[26, 2, 8, 0x80], "truncated", "the number at byte 9 is cut off after 1 bytes (i.n)"),
        (&[0, 1], "bad_tag", "the tag at byte 6 has the field number 0, which"),
        (&[7], "bad_tag", "the tag at byte 6 has the wire type 7, which"),
        (&[12], "bad_tag", "before byte 7 ends a group 1 that is not open"),
        (&[13, 1, 0, 0, 0], "bad_wire_type", "at byte 7 is 4 bytes, not a varint (a)"),
        (&[24, 1], "bad_wire_type", "at byte 7 is a varint, not bytes with a length (i)"),
        (&[34, 2, 1, 0x80], "truncated", "the number at byte 9 is cut off after 1 bytes (l.1)"),
        (&[80, 2], "bad_boolean", "the bool at byte 7 is 2, neither 0 nor 1 (b)"),
        (&[96, 0x80, 0x80, 0x80, 0x80, 0x10], "bad_varint", "4294967296 at byte 7 does not fit 32"),
        (
            &[104, 0x80, 0x80, 0x80, 0x80, 0x10],
            "bad_varint",
            "4294967296 at byte 7 does not fit 32",
        ),
        (&[8, 0x80, 0x80, 0x80, 0x80, 0x10], "bad_varint", "4294967296 at byte 7 does not fit 32"),
        (
            &[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            "bad_varint",
            "the number at byte 7 does not fit 64 bits (a)",
        ),
        (&[64, 9], "unknown_symbol", "many.0: E has no symbol with the number 9"),
        (&[50, 0], "value_missing", "v is a google.protobuf.Value without a value"),
        (&[90, 2, 16, 0xff], "truncated", "the number at byte 9 is cut off after 1 bytes (t)"),
        (
            &[90, 6, 16, 0x80, 0x94, 0xeb, 0xdc, 0x03],
            "value_does_not_fit",
            "1000000000 nanoseconds",
        ),
        (&[163, 6], "truncated", "the group at byte 8 has no end"),
        (&[163, 6, 172, 6], "bad_tag", "ends a group 101 that is not open"),
        (&[58, 2, 8, 1], "bad_wire_type", "is a varint, not bytes with a length (m.key)"),
    ];
    for (datum, reason, detail) in cases {
        let (actual, text) = refused(datum);
        assert_eq!(actual, *reason, "{datum:?}: {text}");
        assert!(text.contains(detail), "{datum:?}: {text}");
    }
}

#[test]
fn what_the_schema_does_not_have_is_passed_over_whatever_it_is() {
    let nested = [vec![163, 6], vec![163, 6, 8, 1, 164, 6], vec![164, 6]].concat();
    for unknown in [&[160, 6, 1][..], &[161, 6, 1, 2, 3, 4, 5, 6, 7, 8], &[162, 6, 1, 0], &nested] {
        let row = read(FIELDS, COLUMNS, &[unknown, &[8, 7]].concat()).unwrap();
        assert_eq!(row["a"], 7);
    }
}

#[test]
fn depth_and_growth_are_limited() {
    let groups = [163, 6].repeat(100_000);
    assert_eq!(refused(&groups).0, "too_deep");
    // A value in a list in a value: each level takes four bytes or more.
    let mut value = vec![8, 0];
    for _ in 0..200 {
        let item = [&[10][..], &length(value.len()), &value].concat();
        value = [&[50][..], &length(item.len()), &item].concat();
    }
    let datum = [&[50][..], &length(value.len()), &value].concat();
    assert_eq!(refused(&datum).0, "too_deep");
    let many = vec![0u8; 3 << 20];
    let datum = [&[34][..], &length(many.len()), &many].concat();
    assert_eq!(refused(&datum).0, "too_many_items");
}

#[test]
fn a_name_that_one_byte_stands_for_does_not_fill_the_memory() {
    let long = "X".repeat(5000);
    let proto =
        format!("syntax = \"proto3\"; message M {{ repeated E e = 1; }} enum E {{ {long} = 0; }}");
    let columns = r#"{"name":"e","type":{"type":"array","items":"string"}}"#;
    let mut decoder = own(&proto, &reader(columns)).unwrap();
    let datum = [&[0, 0, 0, 0, 1, 0, 10][..], &length(100_000), &vec![0; 100_000]].concat();
    let frame = Frame { id: crate::schema_id::SchemaId::Number(1), len: 5 };
    let batch = decoder.decode(&[Some(&datum)], &[0], frame, &[]).unwrap();
    assert_eq!(batch.faults[0].1.reason, "grows_too_much");
}

#[test]
fn indexes_that_are_none_or_of_no_message_are_faults() {
    let mut decoder = own(&message(FIELDS), &reader(COLUMNS)).unwrap();
    let frame = Frame { id: crate::schema_id::SchemaId::Number(1), len: 5 };
    let cases: [(&[u8], &str); 8] = [
        (&[], "bad_message_index"),
        (&[2], "bad_message_index"),
        (&[1], "bad_message_index"),
        (&[2, 1], "bad_message_index"),
        (&[0xfe, 0xff, 0xff, 0xff, 0x0f, 0], "bad_message_index"),
        (&[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "bad_message_index"),
        (&[2, 20], "unknown_message"),
        (&[4, 0, 0], "unknown_message"),
    ];
    for (indexes, reason) in cases {
        let value = [&[0, 0, 0, 0, 1][..], indexes].concat();
        let batch = decoder.decode(&[Some(&value)], &[0], frame, &[]).unwrap();
        assert_eq!(batch.faults[0].1.reason, reason, "{indexes:?}");
    }
}

fn length(len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost_reflect::prost::encoding::encode_varint(len as u64, &mut bytes);
    bytes
}
