//! What the tests share: topics with random names, and small ways to write and read them.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use weir_kafka::admin::{CleanupPolicy, Topic, ensure};
use weir_kafka::reader::Span;
use weir_kafka::{Consumer, Outgoing, Rebalance, Records, TransactionalProducer, scan};
use weir_model::pipeline::{Batch, Kafka};
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Claim, Partition};
use weir_testkit::{Stack, random_name};

pub(crate) const SOON: Duration = Duration::from_secs(30);

pub(crate) fn kafka() -> Kafka {
    Kafka {
        brokers: Stack::shared().kafka().into(),
        properties: Default::default(),
        replication: 1,
        session_timeout: Duration::from_secs(6),
        transaction_timeout: Duration::from_secs(10),
    }
}

pub(crate) fn batch() -> Batch {
    Batch { records: 1000, bytes: 1 << 20, linger: Duration::from_millis(20) }
}

pub(crate) fn topic(partitions: i32) -> String {
    let name = random_name("kafka");
    let topic =
        Topic { key: "input.topic", name: name.clone(), partitions, keep: CleanupPolicy::Forever };
    assert_eq!(ensure(&kafka(), &[topic]).unwrap(), []);
    name
}

pub(crate) fn record<'a>(topic: &'a str, partition: Partition, value: &'a [u8]) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition: Some(partition),
        key: None,
        value: Some(value),
        timestamp_ms: None,
        headers: &[],
    }
}

/// Writes the values to partition 0 in one transaction.
pub(crate) fn write(topic: &str, values: &[&str]) {
    let mut producer = TransactionalProducer::open(&kafka(), &random_name("writer")).unwrap();
    producer.begin().unwrap();
    values.iter().for_each(|value| producer.send(&record(topic, 0, value.as_bytes())).unwrap());
    assert_eq!(producer.commit(None), weir_model::protocol::Outcome::Committed);
}

/// All committed values of partition 0.
pub(crate) fn values(topic: &str) -> Vec<String> {
    let mut found = Vec::new();
    scan(&kafka(), topic, &[Span::all(0)], |record| {
        found.push(String::from_utf8(record.value().unwrap().to_vec()).unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

/// A member that was assigned all of the partitions and has not started.
pub(crate) fn join(group: &str, topic: &str, partitions: usize) -> Consumer {
    let mut consumer = Consumer::join(&kafka(), group, topic, "test").unwrap();
    assert_eq!(await_assignment(&mut consumer).len(), partitions);
    consumer
}

/// Polls until the coordinator assigns something.
pub(crate) fn await_assignment(consumer: &mut Consumer) -> Vec<Partition> {
    let deadline = Instant::now() + SOON;
    loop {
        consumer.idle(Duration::from_millis(50));
        for report in consumer.rebalances() {
            if let Rebalance::Assigned(partitions) = report {
                return partitions;
            }
        }
        assert!(Instant::now() < deadline, "no assignment");
    }
}

/// Collects until `count` records came.
pub(crate) fn collect(consumer: &mut Consumer, count: usize) -> Records {
    let (mut all, mut some) = (Records::new(), Records::new());
    let deadline = Instant::now() + SOON;
    while all.len() < count {
        consumer.collect(&mut some, &batch(), Duration::from_millis(200)).unwrap();
        some.iter().for_each(|record| all.push(record));
        assert!(Instant::now() < deadline, "{} of {count} records came", all.len());
    }
    all
}

pub(crate) fn texts(records: &Records) -> Vec<&str> {
    records.values().map(|value| std::str::from_utf8(value.unwrap()).unwrap()).collect()
}

pub(crate) fn claim(partition: Partition, next: i64, read: u64) -> Claim {
    let counters = Counters { read, written: read, ..Counters::default() };
    Claim {
        partition,
        fence: 0,
        expected: None,
        next,
        progress: Progress { counters, last: Some(next - 1), ..Progress::default() },
    }
}
