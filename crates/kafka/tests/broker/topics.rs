//! Topics are created as required, and those that differ are reported.

use crate::support::*;
use weir_kafka::admin::{self, CleanupPolicy, Topic, Watermarks};
use weir_kafka::reader::Span;
use weir_testkit::topics::Topics;
use weir_testkit::{Stack, random_name};

#[test]
fn missing_topics_are_created_and_wrong_ones_are_named() {
    let name = random_name("topic");
    let required = |partitions| {
        [Topic {
            key: "output.topic",
            name: name.clone(),
            partitions,
            keep: CleanupPolicy::Forever,
        }]
    };
    assert_eq!(admin::inspect(&kafka(), &required(3)).unwrap(), []);
    assert_eq!(admin::describe(&kafka(), &name).unwrap(), None);
    assert_eq!(admin::ensure(&kafka(), &required(3)).unwrap(), []);
    assert_eq!(admin::ensure(&kafka(), &required(3)).unwrap(), []);
    assert_eq!(admin::partitions(&kafka(), &name).unwrap(), Some(vec![0, 1, 2]));
    let mistakes = admin::ensure(&kafka(), &required(4)).unwrap();
    assert_eq!((mistakes.len(), mistakes[0].key.as_str()), (1, "output.topic"));
    assert!(
        mistakes[0].what.contains("has 3 partitions, where 4 are needed"),
        "{}",
        mistakes[0].what
    );
}

/// Whatever makes Kafka drop the last position of a source is a mistake.
#[test]
fn a_topic_of_positions_that_forgets_is_a_mistake() {
    let topics = Topics::new(Stack::shared().kafka());
    for policy in ["delete", "compact,delete", "delete,compact", "compact"] {
        let name = random_name("positions");
        topics.create_with(&name, 1, &[("cleanup.policy", policy)]).unwrap();
        let keep = CleanupPolicy::Latest;
        let wanted = [Topic { key: "source", name, partitions: 1, keep }];
        let mistakes = admin::inspect(&kafka(), &wanted).unwrap();
        assert_eq!(mistakes.is_empty(), policy == "compact", "{policy}");
        for mistake in mistakes {
            assert!(mistake.what.contains("forgets positions"), "{}", mistake.what);
            assert!(mistake.hint.unwrap().contains("--add-config cleanup.policy=compact"));
        }
    }
}

/// Old timestamps do not let a record disappear from a topic that weir created; other topics are
/// warned of.
#[test]
fn a_topic_that_drops_unread_records_is_advised_against() {
    let topics = Topics::new(Stack::shared().kafka());
    let wanted = |name: String| Topic {
        key: "output.topic",
        name,
        partitions: 1,
        keep: CleanupPolicy::Forever,
    };
    let created = wanted(random_name("created"));
    assert_eq!(admin::advice(&kafka(), &created).unwrap(), None, "it will be created");
    assert_eq!(admin::ensure(&kafka(), std::slice::from_ref(&created)).unwrap(), []);
    assert_eq!(admin::advice(&kafka(), &created).unwrap(), None);
    for (key, value, warns) in [
        ("retention.ms", "604800000", true),
        ("retention.ms", "-1", false),
        ("retention.bytes", "1000000", true),
        ("cleanup.policy", "compact", false),
    ] {
        let topic = wanted(random_name("found"));
        let mut set = vec![("retention.ms", "-1"), ("retention.bytes", "-1")];
        set.retain(|(own, _)| *own != key);
        set.push((key, value));
        topics.create_with(&topic.name, 1, &set).unwrap();
        let advice = admin::advice(&kafka(), &topic).unwrap();
        assert_eq!(advice.is_some(), warns, "{key}={value}: {advice:?}");
        assert!(advice.is_none_or(|text| text.contains(&format!("{key}={value}"))));
    }
}

#[test]
fn the_extent_of_a_topic_counts_markers_of_transactions() {
    let topic = topic(1);
    write(&topic, &["a", "b"]);
    assert_eq!(
        admin::describe(&kafka(), &topic).unwrap(),
        Some(vec![Watermarks { partition: 0, first: 0, end: 3 }])
    );
    assert!(!admin::cluster_id(&kafka()).unwrap().is_empty());
}

#[test]
fn a_scan_ends_where_it_should() {
    let topic = topic(1);
    write(&topic, &["a", "b", "c"]);
    write(&topic, &["d"]);
    let scan = |from, until| {
        let mut offsets = Vec::new();
        weir_kafka::scan(&kafka(), &topic, &[Span { partition: 0, from, until }], |record| {
            offsets.push(record.offset());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        offsets
    };
    assert_eq!(scan(None, None), [0, 1, 2, 4]);
    assert_eq!(scan(Some(1), Some(3)), [1, 2]);
    assert_eq!(scan(Some(3), Some(4)), [0; 0]);
    assert_eq!(scan(Some(6), None), [0; 0]);
}

#[test]
fn traces_of_an_enricher_are_found_where_they_are() {
    let topic = topic(2);
    write(&topic, &["foreign"]);
    assert_eq!(admin::traces(&kafka(), &topic, &[0, 1]).unwrap(), [0; 0]);
    let lineage = weir_model::lineage::Lineage::new(0, -1, 0).encode();
    let headers: [weir_kafka::Header<'_>; 1] =
        [(weir_model::lineage::HEADER, Some(lineage.as_ref()))];
    let mut producer =
        weir_kafka::TransactionalProducer::open(&kafka(), &random_name("producer")).unwrap();
    producer.begin().unwrap();
    producer
        .send(&weir_kafka::Outgoing { headers: &headers, ..record(&topic, 1, b"ours") })
        .unwrap();
    assert_eq!(producer.commit(None), weir_model::protocol::Outcome::Committed);
    assert_eq!(admin::traces(&kafka(), &topic, &[0, 1]).unwrap(), [1]);
}
