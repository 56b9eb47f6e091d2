//! Topics and the cluster: which topics are required, which exist, and their offsets.

use crate::consumer;
use crate::error::{Error, Result};
use crate::positions;
use crate::reader::{Span, scan};
use crate::settings::{self, LoggingContext};
use crate::transactional_producer::record_limit;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigEntry, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use weir_model::mistake::Mistake;
use weir_model::pipeline::{Kafka, Pipeline};
use weir_model::progress::Progress;
use weir_model::protocol::{CommittedPosition, Offset, Partition};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A required topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The key of the pipeline file that names it.
    pub key: &'static str,
    /// Its name.
    pub name: String,
    /// Its number of partitions.
    pub partitions: i32,
    /// How long it keeps records.
    pub keep: CleanupPolicy,
}

/// How long a topic keeps its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// All records. Kafka counts a record's age from its own timestamp, so that a topic with a
    /// retention drops old data before anybody has read it.
    Forever,
    /// The last record of each key: positions.
    Latest,
}

/// One partition of a topic that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// Which partition.
    pub partition: Partition,
    /// First offset of the log.
    pub first: Offset,
    /// End of the log, as far as it is committed.
    pub end: Offset,
}

/// The topics of a pipeline: input, output and dead letters with equal partition counts, and the
/// positions.
pub fn topics(pipeline: &Pipeline) -> Vec<Topic> {
    let topic = |key, name: &str, keep| Topic {
        key,
        name: name.into(),
        partitions: pipeline.input.partitions,
        keep,
    };
    vec![
        topic("input.topic", &pipeline.input.topic, CleanupPolicy::Forever),
        topic("output.topic", &pipeline.output.topic, CleanupPolicy::Forever),
        topic("dead_letters.topic", &pipeline.dead_letters.topic, CleanupPolicy::Forever),
        Topic {
            key: "source",
            name: positions::TOPIC.into(),
            partitions: positions::PARTITIONS,
            keep: CleanupPolicy::Latest,
        },
    ]
}

/// Creates the topics that are missing, and returns what is wrong with those that exist. Several
/// processes may call it at the same time.
pub fn ensure(kafka: &Kafka, topics: &[Topic]) -> Result<Vec<Mistake>> {
    let mistakes = inspect(kafka, topics)?;
    if !mistakes.is_empty() {
        return Ok(mistakes);
    }
    let started = Instant::now();
    loop {
        let missing = missing(kafka, topics)?;
        if missing.is_empty() {
            return inspect(kafka, topics);
        }
        if started.elapsed() > REQUEST_TIMEOUT {
            return Err(Error::waiting(
                "creating topics",
                format!("no leader yet for {}", missing[0].name),
            ));
        }
        create(kafka, &missing)?;
    }
}

/// Returns what is wrong with the topics that exist; a missing one is not a mistake, because
/// [`ensure`] would create it.
pub fn inspect(kafka: &Kafka, topics: &[Topic]) -> Result<Vec<Mistake>> {
    let mut mistakes = Vec::new();
    for topic in topics {
        let Some(partitions) = partitions(kafka, &topic.name)? else { continue };
        mistakes.extend(forgetful(kafka, topic)?);
        let found = partitions.len() as i32;
        if found != topic.partitions {
            mistakes.push(
                Mistake::new(
                    topic.key,
                    format!(
                        "topic {} has {found} partitions, where {} are needed",
                        topic.name, topic.partitions
                    ),
                )
                .hint(remedy(topic, found)),
            );
        }
    }
    Ok(mistakes)
}

/// A topic of positions that drops them by age or size would have the producers send everything
/// again.
fn forgetful(kafka: &Kafka, topic: &Topic) -> Result<Option<Mistake>> {
    if topic.keep != CleanupPolicy::Latest {
        return Ok(None);
    }
    let Some(policy) = configuration(kafka, &topic.name)?.remove(CLEANUP) else { return Ok(None) };
    if policy == COMPACT {
        return Ok(None);
    }
    let name = &topic.name;
    let what = format!("topic {name} has {CLEANUP}={policy}, which forgets positions");
    let hint = format!(
        "kafka-configs.sh --bootstrap-server … --alter --entity-type topics --entity-name {name} \
         --add-config {CLEANUP}={COMPACT}"
    );
    Ok(Some(Mistake::new(topic.key, what).hint(hint)))
}

/// What an operator should know about a topic, although weir works with it: it drops records by
/// age or by size, whether they were read or not.
pub fn advice(kafka: &Kafka, topic: &Topic) -> Result<Option<String>> {
    if topic.keep != CleanupPolicy::Forever || partitions(kafka, &topic.name)?.is_none() {
        return Ok(None);
    }
    let settings = configuration(kafka, &topic.name)?;
    let limited: Vec<String> = ["retention.ms", "retention.bytes"]
        .into_iter()
        .filter_map(|key| Some((key, settings.get(key).filter(|value| *value != "-1")?)))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if limited.is_empty() || settings.get(CLEANUP).is_some_and(|policy| policy == COMPACT) {
        return Ok(None);
    }
    Ok(Some(format!(
        "{}: Kafka deletes records by their own timestamps, also those that nobody has read yet; \
         retention.ms=-1 keeps them",
        limited.join(", ")
    )))
}

/// What an operator should know about the sizes that the topics of a pipeline accept: records that
/// one topic takes and the next does not become dead letters.
pub fn size_advice(pipeline: &Pipeline) -> Result<Vec<String>> {
    const KEY: &str = "max.message.bytes";
    let kafka = &pipeline.kafka;
    let limit = |topic: &str| -> Result<Option<usize>> {
        if partitions(kafka, topic)?.is_none() {
            return Ok(None);
        }
        Ok(configuration(kafka, topic)?.get(KEY).and_then(|bytes| bytes.parse().ok()))
    };
    let input = &pipeline.input.topic;
    let Some(most) = limit(input)? else { return Ok(Vec::new()) };
    let mut advice = Vec::new();
    for topic in [&pipeline.output.topic, &pipeline.dead_letters.topic] {
        if let Some(less) = limit(topic)?.filter(|own| *own < most) {
            advice.push(format!(
                "topic {topic} has {KEY}={less}, and {input} {most}: larger records of it become \
                 dead letters, and dead letters are cut to fit"
            ));
        }
    }
    let client = record_limit(kafka);
    if most > BROKER_DEFAULT_BYTES && client < most {
        advice.push(format!(
            "message.max.bytes in [kafka.properties] is {client}, and topic {input} has \
             {KEY}={most}: records that are larger become dead letters, and dead letters are cut"
        ));
    }
    Ok(advice)
}

/// `max.message.bytes` of a broker that was not told otherwise; the client's own default is a
/// little below it.
const BROKER_DEFAULT_BYTES: usize = 1_048_588;

const CLEANUP: &str = "cleanup.policy";
const COMPACT: &str = "compact";

/// Whether the topic may drop records in the middle of its log.
pub(crate) fn compacted(kafka: &Kafka, topic: &str) -> Result<bool> {
    let policy = configuration(kafka, topic)?.remove(CLEANUP);
    Ok(policy.is_some_and(|policy| policy.contains(COMPACT)))
}

/// The settings of a topic, the broker's defaults included; empty when there is no such topic, and
/// for a client that must not ask.
pub(crate) fn configuration(kafka: &Kafka, topic: &str) -> Result<BTreeMap<String, String>> {
    let doing = || format!("asking for the settings of topic {topic}");
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
    let resource = ResourceSpecifier::Topic(topic);
    let described = block_on(admin(kafka)?.describe_configs([&resource], &options))
        .map_err(|e| Error::call(doing(), &e))?;
    match described.into_iter().next() {
        Some(Ok(found)) => {
            let setting = |entry: ConfigEntry| Some((entry.name, entry.value?));
            Ok(found.entries.into_iter().filter_map(setting).collect())
        }
        None => Ok(BTreeMap::new()),
        Some(Err(
            Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition,
        )) => Ok(BTreeMap::new()),
        Some(Err(code)) => {
            Err(Error::call(doing(), &rdkafka::error::KafkaError::MetadataFetch(code)))
        }
    }
}

fn remedy(topic: &Topic, found: i32) -> String {
    match topic.keep {
        CleanupPolicy::Latest => format!(
            "{} belongs to weir; delete it when no pipeline has \
            data, and it is recreated",
            topic.name
        ),
        _ if topic.key == "input.topic" => format!(
            "set input.partitions = {found}, or use \
            another topic"
        ),
        _ => "input, output and dead-letter topics have equal numbers of partitions, because \
            records stay in theirs"
            .into(),
    }
}

/// First offset and end of each partition; `None` when the topic does not exist.
pub fn describe(kafka: &Kafka, topic: &str) -> Result<Option<Vec<Watermarks>>> {
    let client = metadata_client(kafka, "weir.reader")?;
    let Some(partitions) = consumer::partitions(&client, topic)? else { return Ok(None) };
    let watermarks = |partition| {
        let (first, end) = consumer::watermarks(&client, topic, partition)?;
        Ok(Watermarks { partition, first, end })
    };
    partitions.into_iter().map(watermarks).collect::<Result<_>>().map(Some)
}

/// The partitions of a topic, ascending; `None` when it does not exist.
pub fn partitions(kafka: &Kafka, topic: &str) -> Result<Option<Vec<Partition>>> {
    consumer::partitions(&metadata_client(kafka, "weir.reader")?, topic)
}

/// The cluster's id: part of the sink's position store, so that positions of one cluster are never
/// taken for those of another.
pub fn cluster_id(kafka: &Kafka) -> Result<String> {
    let client = admin(kafka)?;
    client.inner().fetch_cluster_id(REQUEST_TIMEOUT).ok_or_else(|| {
        let reason = format!("no broker answers at {} (kafka.brokers)", kafka.brokers);
        Error::waiting("asking for the cluster id", reason)
    })
}

/// What a group has committed in each partition of a topic, without joining it; `None` when the
/// topic does not exist.
pub fn committed_positions(
    kafka: &Kafka,
    group: &str,
    topic: &str,
) -> Result<Option<Vec<CommittedPosition>>> {
    let client = metadata_client(kafka, group)?;
    let Some(partitions) = consumer::partitions(&client, topic)? else { return Ok(None) };
    consumer::stable(&client, topic, &partitions).map(Some)
}

/// Commits copies of a sink's positions for its group, which has no members.
///
/// # Errors
/// The broker does not answer, or the group has members.
pub fn copy_positions(
    kafka: &Kafka,
    group: &str,
    topic: &str,
    positions: &[(Partition, Offset, Progress)],
) -> Result<()> {
    let doing = || format!("committing the offsets of group {group}");
    let list = consumer::with_progress(topic, positions.iter().copied());
    let list = list.map_err(|e| Error::call(doing(), &e))?;
    let client = metadata_client(kafka, group)?;
    client.commit(&list, CommitMode::Sync).map_err(|e| Error::call(doing(), &e))
}

/// The client ids of a group's members that are alive, or were within the session timeout; empty
/// when the group does not exist.
pub fn members(kafka: &Kafka, group: &str) -> Result<Vec<String>> {
    let listed = metadata_client(kafka, group)?.fetch_group_list(Some(group), REQUEST_TIMEOUT);
    let listed =
        listed.map_err(|e| Error::call(format!("asking for the members of group {group}"), &e))?;
    let members = listed
        .groups()
        .iter()
        .filter(|found| found.name() == group)
        .flat_map(|found| found.members());
    Ok(members.map(|member| member.client_id().to_owned()).collect())
}

/// Those of `partitions` in which `topic` contains a record with weir's lineage, so an enricher
/// wrote to them.
pub fn traces(kafka: &Kafka, topic: &str, partitions: &[Partition]) -> Result<Vec<Partition>> {
    let Some(watermarks) = describe(kafka, topic)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for watermarks in watermarks.iter().filter(|e| partitions.contains(&e.partition)) {
        let span = Span {
            partition: watermarks.partition,
            from: Some(watermarks.first),
            until: Some(watermarks.end),
        };
        scan(kafka, topic, &[span], |record| match record.lineage() {
            Some(_) => {
                found.push(record.partition());
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        })?;
    }
    Ok(found)
}

fn missing<'a>(kafka: &Kafka, topics: &'a [Topic]) -> Result<Vec<&'a Topic>> {
    let mut missing = Vec::new();
    for topic in topics {
        if partitions(kafka, &topic.name)?.is_none() {
            missing.push(topic);
        }
    }
    Ok(missing)
}

fn create(kafka: &Kafka, topics: &[&Topic]) -> Result<()> {
    let min_insync = if kafka.replication >= 3 { "2" } else { "1" };
    let new: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            let new = NewTopic::new(
                &topic.name,
                topic.partitions,
                TopicReplication::Fixed(kafka.replication),
            );
            let new = new.set("min.insync.replicas", min_insync);
            match topic.keep {
                CleanupPolicy::Forever => {
                    new.set("retention.ms", "-1").set("retention.bytes", "-1")
                }
                CleanupPolicy::Latest => new.set("cleanup.policy", "compact"),
            }
        })
        .collect();
    let options = AdminOptions::new()
        .operation_timeout(Some(REQUEST_TIMEOUT))
        .request_timeout(Some(REQUEST_TIMEOUT));
    let client = admin(kafka)?;
    let results = block_on(client.create_topics(&new, &options))
        .map_err(|e| Error::call("creating topics", &e))?;
    for result in results {
        match result {
            Ok(name) => tracing::info!(topic = name, "topic created; it keeps all records"),
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(Error::call(
                    format!("creating topic {name}"),
                    &rdkafka::error::KafkaError::MetadataFetch(code),
                ));
            }
        }
    }
    Ok(())
}

fn admin(kafka: &Kafka) -> Result<AdminClient<LoggingContext>> {
    settings::create(&settings::admin(kafka), LoggingContext, "creating an administration client")
}

fn metadata_client(kafka: &Kafka, group: &str) -> Result<BaseConsumer<LoggingContext>> {
    settings::create(&settings::group_offsets(kafka, group), LoggingContext, "creating a client")
}

/// The admin client answers by futures, from a thread of its own; this crate blocks.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
