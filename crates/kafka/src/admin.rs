//! Topics and the cluster: which topics are required, which exist, and their offsets.

use crate::consumer;
use crate::error::{Error, Result};
use crate::positions;
use crate::reader::{Span, scan};
use crate::settings::{self, LoggingContext};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use weir_model::mistake::Mistake;
use weir_model::pipeline::{Kafka, Pipeline};
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
    /// The broker's default.
    Default,
    /// Forever: dead letters.
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
        topic("input.topic", &pipeline.input.topic, CleanupPolicy::Default),
        topic("output.topic", &pipeline.output.topic, CleanupPolicy::Default),
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

fn remedy(topic: &Topic, found: i32) -> String {
    match topic.keep {
        CleanupPolicy::Latest => format!("{} belongs to weir; delete it when no pipeline has data, and it is recreated", topic.name),
        _ if topic.key == "input.topic" => format!("set input.partitions = {found}, or use another topic"),
        _ => "input, output and dead-letter topics have equal numbers of partitions, because records stay in theirs".into(),
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
    client
        .inner()
        .fetch_cluster_id(REQUEST_TIMEOUT)
        .ok_or_else(|| Error::waiting("asking for the cluster id", "no broker answers"))
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
                CleanupPolicy::Default => new,
                CleanupPolicy::Forever => new.set("retention.ms", "-1"),
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
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
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
