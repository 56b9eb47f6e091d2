//! Reading begins where the worker said, ends where the group says, and a position outside the log
//! is named.

use crate::support::*;
use std::time::Duration;
use weir_kafka::{
    Consumer, Error, Header, Outgoing, Rebalance, Records, TransactionalProducer, admin,
};
use weir_model::lineage::{self, Lineage};
use weir_model::protocol::Outcome;
use weir_testkit::{random_name, wait_until};

#[test]
fn nothing_is_read_before_start_and_then_from_the_given_offset() {
    let (topic, group) = (topic(1), random_name("group"));
    write(&topic, &["a", "b", "c", "d"]);
    let mut consumer = join(&group, &topic, 1);
    let mut records = Records::new();
    consumer.collect(&mut records, &batch(), Duration::from_millis(300)).unwrap();
    assert!(records.is_empty());
    consumer.start(&[(0, 2)]).unwrap();
    assert_eq!(texts(&collect(&mut consumer, 2)), ["c", "d"]);
    consumer.start(&[(0, 1)]).unwrap();
    assert_eq!(texts(&collect(&mut consumer, 3)), ["b", "c", "d"]);
}

#[test]
fn idling_loses_nothing_and_keeps_the_membership() {
    let (topic, group) = (topic(1), random_name("group"));
    let mut consumer = join(&group, &topic, 1);
    consumer.start(&[(0, 0)]).unwrap();
    write(&topic, &["a", "b"]);
    assert_eq!(texts(&collect(&mut consumer, 2)), ["a", "b"]);
    write(&topic, &["c", "d"]);
    consumer.idle(Duration::from_millis(300));
    write(&topic, &["e"]);
    assert_eq!(texts(&collect(&mut consumer, 3)), ["c", "d", "e"]);
    assert_eq!(consumer.rebalances(), []);
}

#[test]
fn keys_values_times_and_headers_arrive_as_they_were() {
    let (topic, group) = (topic(1), random_name("group"));
    let lineage = Lineage::new(9, 7, 1);
    let encoded = lineage.encode();
    let headers: [Header<'_>; 3] = [
        ("trace", Some(&[0xff, 0x00])),
        (lineage::HEADER, Some(encoded.as_ref())),
        ("empty", None),
    ];
    let mut producer = TransactionalProducer::open(&kafka(), &random_name("producer")).unwrap();
    producer.begin().unwrap();
    let whole = Outgoing {
        topic: &topic,
        partition: Some(0),
        key: Some(b""),
        value: None,
        timestamp_ms: Some(1_600_000_000_123),
        headers: &headers,
    };
    producer.send(&whole).unwrap();
    producer.send(&record(&topic, 0, b"plain")).unwrap();
    assert_eq!(producer.commit(None), Outcome::Committed);
    let mut consumer = join(&group, &topic, 1);
    consumer.start(&[(0, 0)]).unwrap();
    let records = collect(&mut consumer, 2);
    assert_eq!(
        (records.key(0), records.value(0), records.timestamp_ms(0)),
        (Some(&b""[..]), None, 1_600_000_000_123)
    );
    assert_eq!(records.headers(0).collect::<Vec<_>>(), headers);
    assert_eq!((records.lineage(0), records.lineage(1)), (Some(lineage), None));
    assert_eq!((records.key(1), records.headers(1).count()), (None, 0));
}

#[test]
fn offsets_and_counts_are_committed_with_the_records_or_not_at_all() {
    let (input, output, group) = (topic(1), topic(1), random_name("group"));
    write(&input, &["a", "b", "c"]);
    let mut consumer = join(&group, &input, 1);
    assert_eq!(consumer.stable(&[0]).unwrap()[0].next, None);
    consumer.start(&[(0, 0)]).unwrap();
    assert_eq!(collect(&mut consumer, 3).len(), 3);

    let mut producer = TransactionalProducer::open(&kafka(), &random_name("producer")).unwrap();
    producer.begin().unwrap();
    producer.send(&record(&output, 0, b"x")).unwrap();
    producer.reinitialize().unwrap();
    assert_eq!(consumer.stable(&[0]).unwrap()[0].next, None);

    producer.begin().unwrap();
    producer.send(&record(&output, 0, b"y")).unwrap();
    let claims = [claim(0, 3, 3)];
    assert_eq!(
        producer.commit(Some((&consumer, &claims))),
        Outcome::Committed,
        "{:?}",
        producer.fault()
    );
    let committed = consumer.stable(&[0]).unwrap().remove(0);
    assert_eq!((committed.next, committed.progress), (Some(3), claims[0].progress));
    assert_eq!(values(&output), ["y"]);
    // A later member, and anybody from outside, sees the same.
    drop(consumer);
    assert_eq!(
        admin::committed_positions(&kafka(), &group, &input).unwrap(),
        Some(vec![committed.clone()])
    );
    assert_eq!(join(&group, &input, 1).stable(&[0]).unwrap(), [committed]);
}

#[test]
fn whoever_lost_its_membership_cannot_commit() {
    let (input, output, group) = (topic(2), topic(1), random_name("group"));
    write(&input, &["a"]);
    let mut first = join(&group, &input, 2);
    first.start(&[(0, 0), (1, 0)]).unwrap();
    assert_eq!(collect(&mut first, 1).len(), 1);
    let mut producer = TransactionalProducer::open(&kafka(), &random_name("producer")).unwrap();
    producer.begin().unwrap();
    producer.send(&record(&output, 0, b"late")).unwrap();
    // The second member's arrival takes everything away from the first one, which has not looked
    // yet.
    let mut second = Consumer::join(&kafka(), &group, &input, "second").unwrap();
    let mut reports = Vec::new();
    wait_until("the revocation", SOON, || {
        second.idle(Duration::from_millis(20));
        first.idle(Duration::from_millis(20));
        reports.extend(first.rebalances());
        reports.iter().any(|r| matches!(r, Rebalance::Revoked(_))).then_some(())
    });
    assert_eq!(producer.commit(Some((&first, &[claim(0, 1, 1)]))), Outcome::Refused);
    producer.reinitialize().unwrap();
    assert_eq!(values(&output), [""; 0]);
    // Nor with what it read before, once the group has settled and it is a member again.
    producer.begin().unwrap();
    producer.send(&record(&output, 0, b"later")).unwrap();
    wait_until("the next assignment", SOON, || {
        second.idle(Duration::from_millis(20));
        first.idle(Duration::from_millis(20));
        reports.extend(first.rebalances());
        matches!(reports.last(), Some(Rebalance::Assigned(_))).then_some(())
    });
    assert_eq!(producer.commit(Some((&first, &[claim(0, 1, 1)]))), Outcome::Refused);
    producer.reinitialize().unwrap();
    assert_eq!(values(&output), [""; 0]);
    let mut shares = [Vec::new(), Vec::new()];
    if let Some(Rebalance::Assigned(partitions)) = reports.pop() {
        first.start(&partitions.iter().map(|p| (*p, 0)).collect::<Vec<_>>()).unwrap();
        shares[0] = partitions;
    }
    wait_until("a share for each", SOON, || {
        for (member, share) in [&mut first, &mut second].into_iter().zip(&mut shares) {
            member.idle(Duration::from_millis(20));
            for report in member.rebalances() {
                *share = if let Rebalance::Assigned(partitions) = report {
                    partitions
                } else {
                    Vec::new()
                };
                if !share.is_empty() {
                    member.start(&share.iter().map(|p| (*p, 0)).collect::<Vec<_>>()).unwrap();
                }
            }
        }
        shares.iter().all(|share| share.len() == 1).then_some(())
    });
}

#[test]
fn a_position_outside_the_log_is_a_loss_with_its_range() {
    let (topic, group) = (topic(2), random_name("group"));
    write(&topic, &["a", "b"]);
    let mut consumer = join(&group, &topic, 2);
    consumer.start(&[(0, 50), (1, 0)]).unwrap();
    let mut records = Records::new();
    let loss = wait_until("the loss", SOON, || {
        consumer.collect(&mut records, &batch(), Duration::from_millis(100)).err()
    });
    match loss {
        Error::Loss(loss) => assert_eq!(
            (loss.topic.as_str(), loss.partition, loss.range()),
            (topic.as_str(), 0, 3..50)
        ),
        other => panic!("{other}"),
    }
    assert_eq!(consumer.watermarks(0).unwrap(), (0, 3));
}
