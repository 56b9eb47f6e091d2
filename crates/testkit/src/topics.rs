//! Creates, fills and reads Kafka topics for tests.

use crate::wait::try_wait_until;
use anyhow::{Context, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
const NO_GROUP: &str = "reads-without-a-group";
const STABLE: &str = "read_committed";

/// A record, to write or as read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Partition; set it for writing, too.
    pub partition: i32,
    /// Offset as read; ignored when writing.
    pub offset: i64,
    /// Milliseconds since 1970 as read; 0 = now when writing.
    pub timestamp: i64,
    /// Key bytes.
    pub key: Option<Vec<u8>>,
    /// Value bytes.
    pub value: Option<Vec<u8>>,
    /// Headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// The first header of this name that has a value.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| key == name).and_then(|(_, value)| value.as_deref())
    }

    /// The same as text.
    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// The topics of one cluster. Clients are kept, because tests ask often.
pub struct Topics {
    brokers: String,
    clients: Mutex<BTreeMap<(String, &'static str), Arc<BaseConsumer>>>,
}

impl Topics {
    /// Of the cluster with this bootstrap list.
    pub fn new(brokers: &str) -> Topics {
        Topics { brokers: brokers.into(), clients: Mutex::default() }
    }

    /// Creates a topic with replication factor 1.
    pub fn create(&self, topic: &str, partitions: i32) -> Result<()> {
        self.create_replicated(topic, partitions, 1)
    }

    /// Creates a topic.
    pub fn create_replicated(&self, topic: &str, partitions: i32, replicas: i32) -> Result<()> {
        // Tests write records of long ago, and Kafka's retention counts from their timestamps.
        self.create_new(topic, partitions, replicas, &[("retention.ms", "-1")])
    }

    /// Creates a topic with these settings and replication factor 1.
    pub fn create_with(&self, topic: &str, partitions: i32, set: &[(&str, &str)]) -> Result<()> {
        self.create_new(topic, partitions, 1, set)
    }

    fn create_new(
        &self,
        topic: &str,
        partitions: i32,
        replicas: i32,
        set: &[(&str, &str)],
    ) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
        let new = set.iter().fold(new, |new, (key, value)| new.set(key, value));
        let results = crate::database::block(async {
            admin.create_topics([&new], &AdminOptions::new()).await
        })?;
        for result in results {
            result.map_err(|(topic, code)| anyhow::anyhow!("create topic {topic}: {code}"))?;
        }
        try_wait_until(LIMIT, || (self.partitions(topic).ok()? == partitions).then_some(()))
            .context("the topic does not appear")
    }

    /// Removes a topic with all its records, and waits until it is gone.
    pub fn delete(&self, topic: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        for result in crate::database::block(async {
            admin.delete_topics(&[topic], &AdminOptions::new()).await
        })? {
            result.map_err(|(topic, code)| anyhow::anyhow!("delete topic {topic}: {code}"))?;
        }
        try_wait_until(LIMIT, || self.partitions(topic).is_err().then_some(()))
            .context("the topic does not disappear")
    }

    /// Removes the records of a partition below `offset`, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        let done = crate::database::block(async {
            admin.delete_records(&before, &AdminOptions::new()).await
        })?;
        done.elements()
            .iter()
            .try_for_each(|element| element.error())
            .with_context(|| format!("delete records of {topic}"))
    }

    /// Removes a group with all its offsets; it must have no members.
    pub fn delete_group(&self, group: &str) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        for result in crate::database::block(async {
            admin.delete_groups(&[group], &AdminOptions::new()).await
        })? {
            result.map_err(|(group, code)| anyhow::anyhow!("delete group {group}: {code}"))?;
        }
        Ok(())
    }

    /// Writes records outside any transaction and waits until the brokers have them.
    pub fn write(&self, topic: &str, records: &[Record]) -> Result<()> {
        self.write_with(topic, &[], records)
    }

    /// The same by a producer with these settings.
    pub fn write_with<'a>(
        &self,
        topic: &str,
        settings: &[(&str, &str)],
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<()> {
        let mut config = self.client();
        config.set("acks", "all").set("linger.ms", "5");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let producer: BaseProducer = config.create()?;
        for record in records {
            let mut out = BaseRecord::<[u8], [u8]>::to(topic).partition(record.partition);
            out.key = record.key.as_deref();
            out.payload = record.value.as_deref();
            out.timestamp = (record.timestamp != 0).then_some(record.timestamp);
            out.headers =
                Some(record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                    headers.insert(Header { key, value: value.as_ref() })
                }));
            while let Err((error, back)) = producer.send(out) {
                if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                    bail!("write to {topic}: {error}");
                }
                producer.poll(Duration::from_millis(10));
                out = back;
            }
        }
        producer.flush(LIMIT).with_context(|| format!("write to {topic}"))
    }

    /// All committed records of a topic, partition by partition in the order of their offsets.
    pub fn read(&self, topic: &str) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        self.visit(topic, |message| records.push(owned(message)))?;
        records.sort_by_key(|record| (record.partition, record.offset));
        Ok(records)
    }

    /// The number of committed records in a topic, counted by reading.
    pub fn count(&self, topic: &str) -> Result<u64> {
        let mut count = 0;
        self.visit(topic, |_| count += 1)?;
        Ok(count)
    }

    /// Calls `each` with every committed record from the topic's first to its last at this moment,
    /// once no transaction is open on it.
    pub fn visit(&self, topic: &str, mut each: impl FnMut(&BorrowedMessage<'_>)) -> Result<()> {
        let ends = try_wait_until(LIMIT, || self.settled_ends(topic).transpose());
        let ends = ends.with_context(|| format!("a transaction on {topic} stays open"))??;
        let mut list = TopicPartitionList::new();
        for (partition, _) in ends.iter().enumerate().filter(|(_, end)| **end > 0) {
            list.add_partition_offset(topic, i32::try_from(partition)?, Offset::Beginning)?;
        }
        let mut open: BTreeSet<i32> =
            list.elements().iter().map(|element| element.partition()).collect();
        let consumer = self.reader(NO_GROUP, STABLE)?;
        consumer.assign(&list)?;
        let mut deadline = Instant::now() + LIMIT;
        while !open.is_empty() {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    deadline = Instant::now() + LIMIT;
                    each(&message);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("read {topic}"));
                }
                None if Instant::now() > deadline => {
                    bail!("{topic} gives no more records, yet has not come to its end")
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Number of partitions.
    pub fn partitions(&self, topic: &str) -> Result<i32> {
        let metadata = self
            .cached_client(NO_GROUP, STABLE)?
            .fetch_metadata(Some(topic), Duration::from_secs(10))?;
        let found = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none());
        Ok(i32::try_from(found.with_context(|| format!("no topic {topic}"))?.partitions().len())?)
    }

    /// Committed offset of a group and the metadata beside it, per partition; `None` where nothing
    /// was committed.
    pub fn committed(&self, group: &str, topic: &str) -> Result<Vec<Option<(i64, String)>>> {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, self.partitions(topic)? - 1);
        let committed =
            self.cached_client(group, STABLE)?.committed_offsets(list, Duration::from_secs(10))?;
        let of = |offset: Offset, metadata: &str| {
            Some((offset.to_raw().filter(|&offset| offset >= 0)?, metadata.to_string()))
        };
        Ok(committed
            .elements()
            .iter()
            .map(|element| of(element.offset(), element.metadata()))
            .collect())
    }

    /// Commits an offset of a group without members, as an operator's tool would; such tools leave
    /// the metadata empty.
    pub fn commit(
        &self,
        group: &str,
        topic: &str,
        partition: i32,
        offset: i64,
        metadata: &str,
    ) -> Result<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        list.elements().iter_mut().for_each(|element| element.set_metadata(metadata));
        Ok(self.cached_client(group, STABLE)?.commit(&list, CommitMode::Sync)?)
    }

    /// The end of every partition: records, and the markers of transactions, open ones included.
    pub fn ends(&self, topic: &str) -> Result<Vec<i64>> {
        let reader = self.cached_client(NO_GROUP, "read_uncommitted")?;
        let end =
            |partition| Ok(reader.fetch_watermarks(topic, partition, Duration::from_secs(10))?.1);
        (0..self.partitions(topic)?).map(end).collect()
    }

    /// The end of every partition; `None` while a transaction is open on one.
    fn settled_ends(&self, topic: &str) -> Result<Option<Vec<i64>>> {
        let (ends, stable) = (self.ends(topic)?, self.cached_client(NO_GROUP, STABLE)?);
        for (partition, end) in (0..).zip(&ends) {
            let (_, last_stable) =
                stable.fetch_watermarks(topic, partition, Duration::from_secs(10))?;
            if last_stable < *end {
                return Ok(None);
            }
        }
        Ok(Some(ends))
    }

    /// A cached client for requests; nothing is read through it.
    fn cached_client(&self, group: &str, isolation: &'static str) -> Result<Arc<BaseConsumer>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (group.to_string(), isolation);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = Arc::new(self.reader(group, isolation)?);
        clients.insert(key, client.clone());
        Ok(client)
    }

    fn reader(&self, group: &str, isolation: &str) -> Result<BaseConsumer> {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true");
        Ok(config
            .set("isolation.level", isolation)
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.wait.max.ms", "10")
            .create()?)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        // These tests stop brokers on purpose; relevant failures are returned as errors of calls.
        config
            .set("bootstrap.servers", &self.brokers)
            .set("reconnect.backoff.max.ms", "500")
            .set_log_level(RDKafkaLogLevel::Emerg);
        config
    }
}

fn owned(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(Vec::from),
        value: message.payload().map(Vec::from),
        headers: headers.map(|header| (header.key.into(), header.value.map(Vec::from))).collect(),
    }
}
