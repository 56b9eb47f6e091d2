//! A bad record affects no other record.

use crate::support::*;
use weir_testkit::Stack;
use weir_testkit::raw::{self, RawRecord};
use weir_testkit::topics::Record;

#[test]
fn bad_records_become_dead_letters_byte_for_byte_and_their_neighbours_arrive() {
    let pipeline = Pipeline::new();
    let good = |id| item(pipeline.schema_id, id, Some("x"));
    let unknown = item(4_000_000, 1, Some("x"));
    let truncated = good(1000)[..7].to_vec();
    let trailing = [good(1001), vec![0]].concat();
    let bad: Vec<Record> = [
        None,
        Some(vec![]),
        Some(b"not avro".to_vec()),
        Some(truncated),
        Some(trailing),
        Some(unknown),
        Some(good(-5)),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, value)| Record {
        partition: 1,
        timestamp: 1_700_000_000_000 + i as i64,
        key: (i != 2).then(|| format!("key {i}").into_bytes()),
        value,
        headers: vec![
            ("trace".into(), Some(vec![0xff, i as u8])),
            ("weir-reason".into(), Some(b"forged".to_vec())),
            ("none".into(), None),
        ],
        ..Record::default()
    })
    .collect();
    let mut all: Vec<Record> = Vec::new();
    for (i, record) in bad.iter().enumerate() {
        all.push(Record { partition: 1, ..self::record(i as i64, Some(good(i as i64))) });
        all.push(record.clone());
    }
    pipeline.topics.write(&pipeline.input, &all).unwrap();
    let enricher = pipeline.start("e-0");
    pipeline.wait_done();

    assert_eq!(pipeline.audit(), expected(0..7));
    let dead_letters = pipeline.topics.read(&pipeline.dead_letters()).unwrap();
    assert_eq!(dead_letters.len(), bad.len());
    for (i, (dead_letter, original)) in dead_letters.iter().zip(&bad).enumerate() {
        assert_eq!(
            (dead_letter.partition, &dead_letter.key, &dead_letter.value, dead_letter.timestamp),
            (1, &original.key, &original.value, original.timestamp),
            "{i}"
        );
        assert_eq!(dead_letter.headers[..3], original.headers[..], "{i}");
        let ours = Record { headers: dead_letter.headers[3..].to_vec(), ..Record::default() };
        let offset = (2 * i + 1).to_string();
        assert_eq!(ours.header_text("weir-offset"), Some(offset.as_str()));
        assert_eq!(
            (ours.header_text("weir-topic"), ours.header_text("weir-partition")),
            (Some(pipeline.input.as_str()), Some("1"))
        );
        assert!(!ours.header_text("weir-detail").unwrap().is_empty());
        let stage = if i == 6 { "rule" } else { "decode" };
        assert_eq!(ours.header_text("weir-stage"), Some(stage), "{i}");
        assert_ne!(ours.header_text("weir-reason"), Some("forged"));
    }
    let rule = Record { headers: dead_letters[6].headers[3..].to_vec(), ..Record::default() };
    assert_eq!(
        (rule.header_text("weir-reason"), rule.header_text("weir-schema-id")),
        (Some("negative"), Some(pipeline.schema_id.to_string().as_str()))
    );
    assert_eq!(enricher.metric("weir_records_dead_total", "").unwrap(), 7.0);
    assert_eq!(enricher.metric("weir_unaccounted_records", "").unwrap(), 0.0);
    assert!(enricher.stop().unwrap().success());
}

#[test]
fn key_and_time_of_a_record_stay_and_filtered_ones_are_counted() {
    let pipeline = Pipeline::new();
    let records: Vec<_> = (0..20)
        .map(|id| Record {
            timestamp: 1_600_000_000_000 + id,
            ..record(id, Some(item(pipeline.schema_id, id, None)))
        })
        .collect();
    pipeline.topics.write(&pipeline.input, &records).unwrap();
    let enricher = pipeline.start("e-0");
    pipeline.wait_done();
    assert_eq!(pipeline.audit(), expected(0..20));
    for output in pipeline.topics.read(&pipeline.output).unwrap() {
        let id: i64 = String::from_utf8(output.key.unwrap()).unwrap().parse().unwrap();
        assert_eq!(
            (output.timestamp, i64::from(output.partition)),
            (1_600_000_000_000 + id, id % 3)
        );
        assert_eq!(output.headers.len(), 1);
    }
    assert_eq!(pipeline.counts().values().map(|b| b.counters.filtered).sum::<u64>(), 2);
    assert_eq!(enricher.metric("weir_records_filtered_total", "").unwrap(), 2.0);
    let status = enricher.status().unwrap();
    assert_eq!(status["partitions"].as_array().map(Vec::len), Some(3));
}

/// The client library panics on such a name; nobody else may notice.
#[test]
fn header_names_that_are_not_text_cost_no_record_and_no_flood_of_lines() {
    const RECORDS: i64 = 500;
    let pipeline = Pipeline::new();
    let header = |name: &[u8]| (name.to_vec(), Some(b"value".to_vec()));
    let many = || (0..200).map(|_| header(b"\xff\xfe"));
    let raw: Vec<RawRecord> = (0..RECORDS)
        .map(|id| RawRecord {
            value: Some(item(pipeline.schema_id, if id % 2 == 0 { id } else { -id }, None)),
            headers: [header(b"first")].into_iter().chain(many()).collect(),
        })
        .collect();
    raw::write(Stack::shared().kafka(), &pipeline.input, 1, &raw).unwrap();
    let enricher = pipeline.start("e-0");
    pipeline.wait_done();

    assert_eq!(
        pipeline.audit(),
        expected(0..RECORDS).into_iter().filter(|id| id % 2 == 0).collect::<Vec<_>>()
    );
    let dead_letters = pipeline.topics.read(&pipeline.dead_letters()).unwrap();
    assert_eq!(dead_letters.len() as i64, RECORDS / 2);
    assert_eq!(reasons(&dead_letters).into_iter().collect::<Vec<_>>(), ["negative"]);
    for dead_letter in &dead_letters {
        assert_eq!(dead_letter.headers[0], ("first".into(), Some(b"value".to_vec())));
        assert_eq!(dead_letter.headers[1].0, "(not UTF-8)");
    }
    let log = enricher.log();
    assert!(!log.contains("panic") && log.len() < 100_000, "{} bytes of log: {log}", log.len());
}
