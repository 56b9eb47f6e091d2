//! The content of a transaction becomes visible together or not at all, and a predecessor cannot
//! interfere.

use crate::support::*;
use std::ops::ControlFlow;
use weir_kafka::dead_letter::Origin;
use weir_kafka::reader::Span;
use weir_kafka::{
    Error, Header, OutgoingDeadLetter, ReceivedDeadLetter, TransactionalProducer, positions, scan,
};
use weir_model::fault::{Class, Fault, Stage};
use weir_model::protocol::Outcome;
use weir_testkit::{Stack, random_name};

#[test]
fn an_aborted_transaction_never_happened() {
    let topic = topic(1);
    let mut producer = TransactionalProducer::open(&kafka(), &random_name("producer")).unwrap();
    producer.begin().unwrap();
    producer.send(&record(&topic, 0, b"never")).unwrap();
    producer.abort();
    if producer.needs_reinitialization() {
        producer.reinitialize().unwrap();
    }
    producer.begin().unwrap();
    producer.send(&record(&topic, 0, b"happened")).unwrap();
    assert_eq!(producer.commit(None), Outcome::Committed);
    assert_eq!(values(&topic), ["happened"]);
}

#[test]
fn reinitializing_takes_back_what_was_not_committed() {
    let topic = topic(1);
    let mut producer = TransactionalProducer::open(&kafka(), &random_name("producer")).unwrap();
    producer.begin().unwrap();
    producer.send(&record(&topic, 0, b"open")).unwrap();
    producer.reinitialize().unwrap();
    assert_eq!((producer.reinitializations(), producer.needs_reinitialization()), (1, false));
    producer.begin().unwrap();
    producer.send(&record(&topic, 0, b"after")).unwrap();
    assert_eq!(producer.commit(None), Outcome::Committed);
    assert_eq!(values(&topic), ["after"]);
}

#[test]
fn a_successor_with_the_same_id_fences_its_predecessor() {
    let (topic, id) = (topic(1), random_name("producer"));
    let mut old = TransactionalProducer::open(&kafka(), &id).unwrap();
    old.begin().unwrap();
    old.send(&record(&topic, 0, b"zombie")).unwrap();
    let mut new = TransactionalProducer::open(&kafka(), &id).unwrap();
    assert_ne!(old.commit(None), Outcome::Committed);
    assert!(old.needs_reinitialization() && old.fault().is_some());
    new.begin().unwrap();
    new.send(&record(&topic, 0, b"successor")).unwrap();
    assert_eq!(new.commit(None), Outcome::Committed);
    assert_eq!(values(&topic), ["successor"]);
}

#[test]
fn a_record_above_the_brokers_limit_leaves_the_transaction_whole() {
    let topic = topic(1);
    let mut producer = TransactionalProducer::open(&kafka(), &random_name("producer")).unwrap();
    producer.begin().unwrap();
    let huge = producer.send(&record(&topic, 0, &vec![0; 2_000_000])).unwrap_err();
    assert!(matches!(huge, Error::TooLarge { .. }) && huge.class() == Class::Record, "{huge}");
    producer.send(&record(&topic, 0, b"small")).unwrap();
    assert_eq!(producer.commit(None), Outcome::Committed);
    assert_eq!(values(&topic), ["small"]);
}

#[test]
fn a_dead_letter_above_the_limit_is_cut_and_says_so() {
    let topic = topic(1);
    let (value, header) = (vec![b'v'; 600_000], vec![b'h'; 600_000]);
    let headers: [Header<'_>; 1] = [("huge", Some(&header))];
    let fault =
        Fault { stage: Stage::Decode, reason: "truncated".into(), detail: "cut off".into() };
    let origin = Origin { topic: "input", partition: 0, offset: 7, timestamp_ms: -1 };
    let dead_letter = OutgoingDeadLetter {
        topic: &topic,
        partition: Some(0),
        origin,
        key: None,
        value: Some(&value),
        headers: &headers,
        fault: &fault,
        lineage: None,
    };
    let mut producer = TransactionalProducer::open(&kafka(), &random_name("producer")).unwrap();
    producer.begin().unwrap();
    dead_letter.send(&mut producer).unwrap();
    assert_eq!(producer.commit(None), Outcome::Committed);
    scan(&kafka(), &topic, &[Span::all(0)], |record| {
        let read = ReceivedDeadLetter::read(record).unwrap();
        assert_eq!((read.truncated, read.offset), (Some(600_000), 7));
        assert!(
            value.starts_with(record.value().unwrap())
                && ReceivedDeadLetter::original_headers(record).is_empty()
        );
        ControlFlow::Continue(())
    })
    .unwrap();
}

#[test]
fn more_records_than_the_queue_holds_all_arrive() {
    let topic = topic(1);
    let mut producer = TransactionalProducer::open(&kafka(), &random_name("producer")).unwrap();
    producer.begin().unwrap();
    let value = [b'x'; 64];
    for _ in 0..250_000 {
        producer.send(&record(&topic, 0, &value)).unwrap();
    }
    assert_eq!(producer.commit(None), Outcome::Committed);
    assert_eq!(values(&topic).len(), 250_000);
}

#[test]
fn a_position_is_read_back_past_the_open_transaction_of_another_pipeline() {
    let kafka = kafka();
    weir_kafka::admin::ensure(&kafka, &[positions_topic()]).unwrap();
    let (mine, other) = (random_name("mine"), random_name("other"));
    let position = |n: i64| positions::Position {
        position: n.into(),
        progress: claim(0, n, n as u64).progress,
    };

    let mut open = TransactionalProducer::open(&kafka, &random_name("producer")).unwrap();
    open.begin().unwrap();
    positions::write(&mut open, &other, "synthetic", 3, &position(1)).unwrap();

    let mut producer = TransactionalProducer::open(&kafka, &random_name("producer")).unwrap();
    for n in [10, 20] {
        producer.begin().unwrap();
        positions::write(&mut producer, &mine, "synthetic", 3, &position(n)).unwrap();
        assert_eq!(producer.commit(None), Outcome::Committed);
    }
    // Only the end of the other's transaction lets readers see what lies behind it; reading waits
    // for it.
    let reader = std::thread::spawn({
        let (kafka, mine) = (kafka.clone(), mine.clone());
        move || positions::read(&kafka, &mine, "synthetic", &[3, 4]).unwrap()
    });
    assert_eq!(open.commit(None), Outcome::Committed);
    let found = reader.join().unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(3, position(20))]);
}

fn positions_topic() -> weir_kafka::admin::Topic {
    weir_kafka::admin::Topic {
        key: "source",
        name: positions::TOPIC.into(),
        partitions: positions::PARTITIONS,
        keep: weir_kafka::admin::CleanupPolicy::Latest,
    }
}

/// Whatever a topic does not accept is refused by `send`, and the transaction goes on without it.
#[test]
fn what_the_topic_does_not_accept_is_no_reason_to_refuse_the_transaction() {
    let topics = weir_testkit::topics::Topics::new(Stack::shared().kafka());
    let name = random_name("limits");
    topics.create_with(&name, 1, &[("max.message.bytes", "100000")]).unwrap();
    let mut producer =
        TransactionalProducer::new(&kafka(), &random_name("unit")).writing_to(&[&name]);
    producer.reinitialize().unwrap();
    producer.begin().unwrap();
    let now = 1_000 * i64::try_from(now_seconds()).unwrap();
    let day = 86_400_000;
    let random: Vec<u8> =
        (0..99_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cases: [(usize, i64, Option<&str>); 7] = [
        (10, now, None),
        (10, now + 30 * day, Some("timestamp_out_of_range")),
        (10, now * 1000, Some("timestamp_out_of_range")),
        (10, 1, None),
        (99_000, now, None),
        (150_000, now, Some("record_too_large")),
        (3_000_000, now, Some("record_too_large")),
    ];
    for (size, timestamp_ms, refused) in cases {
        let value: Vec<u8> = random.iter().copied().cycle().take(size).collect();
        let outgoing =
            weir_kafka::Outgoing { timestamp_ms: Some(timestamp_ms), ..record(&name, 0, &value) };
        let sent = producer.send(&outgoing);
        assert_eq!(sent.err().and_then(|e| e.reason()), refused, "{size} bytes at {timestamp_ms}");
    }
    // Small records fill batches that are no larger than the topic takes.
    (0..1_000).for_each(|_| producer.send(&record(&name, 0, &random[..1_000])).unwrap());
    assert_eq!(producer.commit(None), weir_model::protocol::Outcome::Committed);
    assert_eq!(topics.count(&name).unwrap(), 1_003);
}

fn now_seconds() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}
