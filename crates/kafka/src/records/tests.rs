use super::*;

fn sample() -> Records {
    let mut records = Records::new();
    records.push_parts(0, 7, 1000, Some(b"k"), Some(b"value"));
    records.push_parts(1, 3, -1, None, None);
    records.push_header("trace", Some(b"abc"));
    let lineage = Lineage::new(5, 4, 0);
    records.push_header(lineage::HEADER, Some(lineage.encode().as_ref()));
    records.push_header("empty", None);
    records.push_parts(0, 8, 1001, Some(b""), Some(b""));
    records
}

#[test]
fn absent_and_empty_are_different() {
    let records = sample();
    assert_eq!((records.key(1), records.value(1)), (None, None));
    assert_eq!((records.key(2), records.value(2)), (Some(&b""[..]), Some(&b""[..])));
    assert_eq!((records.key(0), records.value(0)), (Some(&b"k"[..]), Some(&b"value"[..])));
    assert_eq!(records.bytes(), 6 + 50, "keys and values, and 50 bytes of headers");
}

#[test]
fn headers_keep_their_order_and_belong_to_their_record() {
    let records = sample();
    let names: Vec<_> = records.headers(1).map(|(name, _)| name).collect();
    assert_eq!(names, ["trace", lineage::HEADER, "empty"]);
    assert_eq!(records.headers(0).count() + records.headers(2).count(), 0);
    assert_eq!(records.lineage(1).map(|l| l.source), Some(5));
    assert_eq!((records.lineage(0), records.lineage(2)), (None, None));
}

#[test]
fn of_headers_with_one_name_the_last_one_counts_unless_it_has_no_value() {
    let mut records = sample();
    assert_eq!(records.last_headers("trace"), [(1, &b"abc"[..])]);
    for value in [Some(&b"a"[..]), None, Some(&b""[..])] {
        records.push_header("trace", value);
        let last = value.map(|value| (2, value));
        assert_eq!(records.last_headers("trace").into_iter().nth(1), last);
    }
    assert!(records.last_headers("empty").is_empty() && records.last_headers("other").is_empty());
}

#[test]
fn what_is_left_after_a_revocation_is_whole() {
    let mut records = sample();
    records.retain(|partition, _| partition == 1);
    assert_eq!((records.len(), records.offset(0), records.bytes()), (1, 3, 50));
    assert_eq!(records.headers(0).count(), 3);
    assert_eq!(records.lineage(0).map(|l| l.previous), Some(4));
}

#[test]
fn a_copied_record_is_the_same() {
    let original = sample();
    let mut copy = Records::new();
    original.iter().for_each(|record| copy.push(record));
    for i in 0..original.len() {
        assert_eq!(original.key(i), copy.key(i));
        assert_eq!(original.value(i), copy.value(i));
        assert!(original.headers(i).eq(copy.headers(i)));
        assert_eq!(original.lineage(i), copy.lineage(i));
    }
}

#[test]
fn a_forged_lineage_is_none() {
    let mut records = Records::new();
    records.push_parts(0, 0, 0, None, None);
    records.push_header(lineage::HEADER, Some(b"nonsense"));
    assert_eq!(records.lineage(0), None);
}

/// A limit in bytes is one of memory: nothing that a record brings is left out.
#[test]
fn keys_values_and_headers_count() {
    let mut records = Records::new();
    records.push_parts(0, 1, 0, Some(b"key"), Some(b"value"));
    assert_eq!(records.bytes(), 8);
    records.push_header("name", Some(&[0; 1000]));
    records.push_header("null", None);
    assert_eq!(records.bytes(), 8 + 4 + 1000 + 4);
    records.push_parts(0, 2, 0, None, Some(b"x"));
    records.push_header("n", Some(b"y"));
    records.retain(|_, offset| offset == 2);
    assert_eq!(records.bytes(), 3);
    records.clear();
    assert_eq!(records.bytes(), 0);
}
