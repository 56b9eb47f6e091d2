//! Extreme schemas and extreme records: each has its reason, in time and memory that do not depend
//! on what a registry stores or a topic holds.

use super::*;
use std::time::{Duration, Instant};

/// A schema of some other writer, with a record of it.
struct Extreme {
    name: &'static str,
    schema: String,
    datum: Vec<u8>,
    /// The reason of the dead letter; `None` when the record can be read.
    reason: Option<&'static str>,
}

fn extreme(
    name: &'static str,
    fields: &str,
    datum: Vec<u8>,
    reason: Option<&'static str>,
) -> Extreme {
    // The reader's field comes last, so that everything before it has to be skipped.
    Extreme {
        name,
        schema: record(&format!(r#"{fields},{{"name":"a","type":"int"}}"#)),
        datum,
        reason,
    }
}

fn zigzag(number: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

fn list(num: usize, item: impl Fn(usize) -> String) -> String {
    (0..num).map(item).collect::<Vec<_>>().join(",")
}

/// A field whose type is an array of `items`.
fn array(items: &str) -> String {
    format!(r#"{{"name":"x","type":{{"type":"array","items":{items}}}}}"#)
}

/// A record type with nulls, and then `more`.
fn nulls(num: usize, more: &str) -> String {
    let fields = list(num, |n| format!(r#"{{"name":"n{n}","type":"null"}}"#));
    format!(r#"{{"type":"record","name":"N","fields":[{fields}{more}]}}"#)
}

/// Levels of `before` and `after` around an int.
fn nested(depth: usize, before: &str, after: &str) -> String {
    let inner = [before.repeat(depth), r#""int""#.into(), after.repeat(depth)].concat();
    format!(r#"{{"name":"x","type":{inner}}}"#)
}

fn too_large() -> Vec<Extreme> {
    let reason = Some("schema_too_large");
    let symbols = |num| list(num, |n| format!(r#""SYM{n}""#));
    let uses = |num| list(num, |n| format!(r#"{{"name":"u{n}","type":"E"}}"#));
    let enum_of = |symbols: String| {
        format!(r#"{{"name":"x","type":{{"type":"enum","name":"E","symbols":[{symbols}]}}}}"#)
    };
    let long = "S".repeat(400_000);
    let default = format!(
        r#"{{"name":"x","type":{{"type":"record","name":"D","fields":[
            {{"name":"s","type":"string","default":"{long}"}}]}}}}"#
    );
    let doubled = list(30, |n| match n {
        0 => r#"{"name":"f0","type":{"type":"record","name":"T0","fields":[]}}"#.into(),
        n => format!(
            r#"{{"name":"f{n}","type":{{"type":"record","name":"T{n}","fields":[
                {{"name":"l","type":"T{before}"}},{{"name":"r","type":"T{before}"}}]}}}}"#,
            before = n - 1
        ),
    });
    let uses_of_d = list(4200, |n| format!(r#"{{"name":"u{n}","type":"D"}}"#));
    vec![
        extreme(
            "uses of a large enum",
            &[enum_of(symbols(60_000)), uses(2000)].join(","),
            vec![],
            reason,
        ),
        extreme(
            "uses of a long symbol",
            &[enum_of(format!(r#""{long}""#)), uses(2000)].join(","),
            vec![],
            reason,
        ),
        extreme("uses of a long default", &[default, uses_of_d].join(","), vec![], reason),
        extreme("records of records, doubled", &doubled, vec![], reason),
        extreme(
            "a long text",
            &format!(r#"{{"name":"x","type":"int","doc":"{}"}}"#, "x".repeat(1 << 20)),
            vec![],
            reason,
        ),
        extreme(
            "many fields",
            &list(5000, |n| format!(r#"{{"name":"f{n}","type":"int"}}"#)),
            vec![],
            reason,
        ),
        extreme("deep arrays", &nested(40, r#"{"type":"array","items":"#, "}"), vec![], reason),
        extreme("deep maps", &nested(40, r#"{"type":"map","values":"#, "}"), vec![], reason),
        extreme("a long name", &format!(r#"{{"name":"{long}","type":"int"}}"#), vec![], reason),
    ]
}

fn readable() -> Vec<Extreme> {
    let symbols = list(60_000, |n| format!(r#""SYM{n}""#));
    let num = 200_000;
    let ints = [zigzag(num as i64), vec![2; num], vec![0, 8]].concat();
    vec![
        extreme(
            "one use of a large enum",
            &format!(r#"{{"name":"x","type":{{"type":"enum","name":"E","symbols":[{symbols}]}}}}"#),
            [zigzag(59_999), vec![8]].concat(),
            None,
        ),
        extreme(
            "items of many nulls and an int",
            &array(&nulls(4000, r#",{"name":"i","type":"int"}"#)),
            ints,
            None,
        ),
        extreme(
            "some items of nulls",
            &array(&nulls(4000, "")),
            [zigzag(4000), vec![0, 8]].concat(),
            None,
        ),
        extreme(
            "nulls only, in a union",
            &format!(r#"{{"name":"x","type":["null","int",{}]}}"#, nulls(40, "")),
            vec![4, 8],
            None,
        ),
        extreme(
            "an empty record",
            r#"{"name":"x","type":{"type":"record","name":"N","fields":[]}}"#,
            vec![8],
            None,
        ),
        extreme(
            "16 levels",
            &nested(16, r#"{"type":"array","items":"#, "}"),
            [vec![2; 16], vec![2], vec![0; 16], vec![8]].concat(),
            None,
        ),
    ]
}

fn too_much() -> Vec<Extreme> {
    let reason = Some("too_many_items");
    let of = |num: i64| [zigzag(num), vec![0, 8]].concat();
    vec![
        extreme("items of many nulls", &array(&nulls(4000, "")), of(1 << 20), reason),
        extreme("items of null", &array(r#""null""#), of(1 << 20), reason),
        extreme("more items than fit a number", &array(r#""null""#), of(i64::MIN), reason),
        extreme("items of empty records", &array(&nulls(0, "")), of(1 << 19), reason),
        extreme("more items than bytes", &array(r#""int""#), of(1 << 18), Some("truncated")),
        extreme("a schema of 5,000 levels", &nested(5000, "[", "]"), vec![], Some("bad_schema")),
        extreme("not JSON", r#"{"name":"x","type":"#, vec![], Some("bad_schema")),
    ]
}

/// Most bytes of memory that this process had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn extreme_schemas_and_records_have_their_reason_in_bounded_time_and_memory() {
    let reader = record(r#"{"name":"a","type":"int"}"#);
    for extreme in too_large().into_iter().chain(readable()).chain(too_much()) {
        let Extreme { name, schema, datum, reason } = extreme;
        let value = [&[0, 0, 0, 0, 9][..], &datum].concat();
        let good = [0, 0, 0, 0, 1, 8];
        let num_extreme = if datum.len() > 1000 { 8 } else { 1000 };
        let mut values = vec![Some(value.as_slice()); num_extreme];
        values.push(Some(&good));
        let started = Instant::now();
        let decoded = decoder(&reader, &[(1, &reader), (9, &schema)]).decode(&values).unwrap();
        let took = started.elapsed();
        let found = decoded.faults.first().map(|(_, fault)| fault);
        let detail = found.map_or("", |fault| &fault.detail);
        assert_eq!(found.map(|fault| fault.reason.as_str()), reason, "{name}: {detail}");
        let num_faults = if reason.is_some() { num_extreme } else { 0 };
        assert_eq!(decoded.faults.len(), num_faults, "{name}");
        assert_eq!(decoded.rows.last(), Some(&(num_extreme as u32)), "{name}: the neighbour");
        assert!(detail.len() < 2100, "{name}: a detail of {} bytes", detail.len());
        assert!(took < Duration::from_secs(5), "{name} took {took:?}");
    }
    assert!(peak_bytes() < 2 << 30, "{} MiB", peak_bytes() >> 20);
}

/// Values that a record only names, many times: the reader reads the field `x`.
fn expanding() -> Vec<(&'static str, String, String, Vec<u8>)> {
    let long = "S".repeat(100_000);
    let num = 100_000;
    let items = |item: &[u8]| [zigzag(num as i64), item.repeat(num), vec![0]].concat();
    let symbols = format!(r#"{{"type":"enum","name":"E","symbols":["A","{long}"]}}"#);
    let item = |fields: &str| format!(r#"{{"type":"record","name":"I","fields":[{fields}]}}"#);
    let filled =
        format!(r#"{{"name":"i","type":"int"}},{{"name":"d","type":"string","default":"{long}"}}"#);
    let optionals =
        list(500, |n| format!(r#"{{"name":"f{n}","type":["null","double"],"default":null}}"#));
    let wide = format!(
        r#"["null",{},"int"]"#,
        item(&list(500, |n| format!(r#"{{"name":"f{n}","type":"double"}}"#)))
    );
    let null_item = format!(r#"["null",{}]"#, item(&optionals));
    vec![
        ("symbols", array(&symbols), array(&symbols), items(&[2])),
        (
            "symbols of a map",
            array(&symbols).replace("array", "map").replace("items", "values"),
            array(r#""string""#).replace("array", "map").replace("items", "values"),
            [zigzag(num as i64), (0..num).flat_map(|_| [2, b'k', 2]).collect(), vec![0]].concat(),
        ),
        (
            "defaults",
            array(&item(r#"{"name":"i","type":"int"}"#)),
            array(&item(&filled)),
            items(&[2]),
        ),
        ("nulls in place of records", array(&null_item), array(&null_item), items(&[0])),
        ("nulls beside the member of a union", array(&wide), array(&wide), items(&[4, 2])),
        (
            "defaults that are null",
            array(&item(r#"{"name":"i","type":"int"}"#)),
            array(&item(&format!(r#"{{"name":"i","type":"int"}},{optionals}"#))),
            items(&[2]),
        ),
    ]
}

#[test]
fn a_record_that_would_grow_out_of_proportion_is_one_dead_letter() {
    for (name, writer, reader, datum) in expanding() {
        let value = [&[0, 0, 0, 0, 9][..], &datum].concat();
        let good = [&[0, 0, 0, 0, 9][..], &[0]].concat();
        let mut values = vec![Some(value.as_slice()); 20];
        values.push(Some(&good));
        let started = Instant::now();
        let decoded = decoder(&record(&reader), &[(9, &record(&writer))]).decode(&values).unwrap();
        let reasons: Vec<&str> = decoded.faults.iter().map(|(_, f)| f.reason.as_str()).collect();
        assert_eq!(reasons, ["grows_too_much"; 20], "{name}");
        assert_eq!(decoded.rows, [20], "{name}: the neighbour");
        assert!(started.elapsed() < Duration::from_secs(5), "{name} {:?}", started.elapsed());
    }
}

#[test]
fn a_record_may_name_symbols_and_leave_out_members_many_times() {
    let symbols = list(40, |n| format!(r#""A_SYMBOL_OF_ORDINARY_LENGTH_{n}""#));
    let kind =
        format!(r#"{{"name":"e","type":{{"type":"enum","name":"E","symbols":[{symbols}]}}}}"#);
    let item =
        |more: &str| array(&format!(r#"{{"type":"record","name":"I","fields":[{kind}{more}]}}"#));
    let more = r#",{"name":"d","type":"string","default":"a default"}"#;
    let num = 500_000;
    let datum = [zigzag(num), vec![2; num as usize], vec![0]].concat();
    let value = [&[0, 0, 0, 0, 9][..], &datum].concat();
    let (reader, writer) = (record(&item(more)), record(&item("")));
    let decoded = decoder(&reader, &[(9, &writer)]).decode(&[Some(&value)]).unwrap();
    assert_eq!((decoded.faults.len(), decoded.rows.len()), (0, 1), "{:?}", decoded.faults);
}
