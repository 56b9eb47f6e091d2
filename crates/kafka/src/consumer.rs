//! A member of a consumer group that reads one topic, always from positions that its worker set.
//!
//! A rebalance is only reported: the callback runs inside `poll`, where waiting would be a
//! deadlock. Revoked partitions are released at once; assigned partitions are not read until the
//! worker has fenced them, knows their stable positions and calls [`Consumer::start`].

use crate::error::{Error, LostRange, Result};
use crate::records::Records;
use crate::settings;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, ConsumerGroupMetadata,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_model::pipeline::{Batch, Kafka};
use weir_model::progress::Progress;
use weir_model::protocol::{Claim, CommittedPosition, Offset, Partition};

/// Timeout of a request to the broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What the group coordinator decided, in the order it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebalance {
    /// These are the member's partitions now, all of them; nothing is read until
    /// [`Consumer::start`].
    Assigned(Vec<Partition>),
    /// These were revoked in good order; reading has stopped.
    Revoked(Vec<Partition>),
    /// These were lost because the group removed the member; others may already be reading them.
    Lost(Vec<Partition>),
}

/// A consumer; used only on its worker's thread.
pub struct Consumer {
    client: BaseConsumer<Context>,
    topic: String,
    /// Next offset to return, of each started partition.
    positions: BTreeMap<Partition, Offset>,
    /// Whether it was started since partitions were last taken away.
    started: bool,
    /// Partitions whose loss was reported since the last start.
    lost: Vec<Partition>,
    /// Records that came while something else was asked for; the next batch begins with them.
    ahead: RefCell<Records>,
    /// A failure that came when there were already records; the next call returns it.
    deferred_error: Option<Error>,
}

impl Consumer {
    /// Joins `group` to read `topic`; `member` is the name in the broker's logs. Returns at once:
    /// partitions arrive as a [`Rebalance`].
    pub fn join(kafka: &Kafka, group: &str, topic: &str, member: &str) -> Result<Consumer> {
        let doing = || format!("joining group {group}");
        let client: BaseConsumer<Context> = settings::create(
            &settings::member(kafka, group, member),
            Context::default(),
            &doing(),
        )?;
        client.subscribe(&[topic]).map_err(|e| Error::call(doing(), &e))?;
        Ok(Consumer {
            client,
            topic: topic.into(),
            positions: BTreeMap::new(),
            started: false,
            lost: Vec::new(),
            ahead: RefCell::default(),
            deferred_error: None,
        })
    }

    /// The topic it reads.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What was reported since the last call, oldest first. A worker calls it before each batch and
    /// before each commit.
    pub fn rebalances(&mut self) -> Vec<Rebalance> {
        let reports = std::mem::take(&mut *self.client.context().reports());
        if reports.iter().any(|r| !matches!(r, Rebalance::Assigned(_))) {
            self.positions.clear();
            self.started = false;
            self.ahead.get_mut().clear();
        }
        reports
    }

    /// Reads these partitions from these offsets from now on, and no others; whatever was fetched
    /// before is dropped. Also used to rewind. An empty list is valid for an empty assignment.
    pub fn start(&mut self, positions: &[(Partition, Offset)]) -> Result<()> {
        let doing = || format!("reading {} from {positions:?}", self.topic);
        let list = self.list(positions).map_err(|e| Error::call(doing(), &e))?;
        self.client.assign(&list).map_err(|e| Error::call(doing(), &e))?;
        self.positions = positions.iter().copied().collect();
        self.started = true;
        self.lost.clear();
        self.ahead.get_mut().clear();
        Ok(())
    }

    /// Fills `into` (cleared first) with available records: waits at most `wait` for a first record
    /// and `limits.linger` for more, and ends early when a limit is reached or a rebalance is
    /// reported. Empty is not an error.
    ///
    /// Errors: [`Error::Loss`] once for each partition that cannot be read any further; the other
    /// partitions are not affected. Every other error is temporary or about missing rights; the
    /// call can always be repeated.
    pub fn collect(&mut self, into: &mut Records, limits: &Batch, wait: Duration) -> Result<()> {
        into.clear();
        if let Some(error) = self.deferred_error.take() {
            return Err(error);
        }
        std::mem::swap(into, self.ahead.get_mut());
        let started = Instant::now();
        let mut deadline = started + if into.is_empty() { wait } else { limits.linger };
        let mut pause = Duration::ZERO;
        while into.len() < limits.records
            && into.bytes() < limits.bytes
            && !self.client.context().reported()
        {
            match self.client.poll(pause) {
                Some(Ok(message)) => {
                    if into.is_empty() {
                        deadline = Instant::now() + limits.linger;
                    }
                    into.push_message(&message);
                    pause = Duration::ZERO;
                }
                Some(Err(error)) => match self.classify(&error, into) {
                    Some(error) if into.is_empty() => return Err(error),
                    Some(error) => {
                        self.deferred_error = Some(error);
                        break;
                    }
                    None => {}
                },
                None => {
                    pause = deadline.saturating_duration_since(Instant::now());
                    if pause.is_zero() {
                        break;
                    }
                }
            }
        }
        self.advance(into);
        Ok(())
    }

    /// Waits without reading, while the membership stays alive; ends early when a rebalance is
    /// reported.
    pub fn idle(&mut self, duration: Duration) {
        let paused = self.client.assignment().ok();
        if let Some(Err(error)) = paused.as_ref().map(|list| self.client.pause(list)) {
            tracing::debug!(%error, "partitions could not be paused");
        }
        let deadline = Instant::now() + duration;
        while !self.client.context().reported() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.poll_aside(left.min(Duration::from_millis(100)));
        }
        if let Some(Err(error)) = paused.as_ref().map(|list| self.client.resume(list)) {
            tracing::debug!(%error, "partitions could not be resumed");
        }
    }

    /// The group's committed positions, after any transaction that still touches them has ended:
    /// while one is open this fails with an environment error, and the worker retries.
    pub fn stable(&self, partitions: &[Partition]) -> Result<Vec<CommittedPosition>> {
        stable(&self.client, &self.topic, partitions)
    }

    /// First offset and end of the log of a partition.
    pub fn watermarks(&self, partition: Partition) -> Result<(Offset, Offset)> {
        watermarks(&self.client, &self.topic, partition)
    }

    /// Commits copies of positions that are kept elsewhere, for lag tools and for
    /// [`proof::copies`](crate::proof::copies), without waiting for the answer. Nothing depends on
    /// them.
    pub fn copy_positions(&self, claims: &[Claim]) {
        let sent = with_progress(&self.topic, claims.iter().map(position))
            .and_then(|list| self.client.commit(&list, CommitMode::Async));
        if let Err(error) = sent {
            tracing::debug!(%error, "the copies of the positions could not be committed");
        }
    }

    /// Checks that the broker answers.
    pub fn ping(&self, patience: Duration) -> Result<()> {
        self.client
            .fetch_metadata(Some(&self.topic), patience)
            .map(|_| ())
            .map_err(|e| Error::call("asking the broker for the topic", &e))
    }

    /// Proof of membership for one commit; `None` when the member may no longer own what it read.
    ///
    /// A commit without a generation would skip the broker's check, and after a lost membership
    /// librdkafka's metadata has none. So: serve pending events of the coordinator, then read the
    /// current metadata, then make sure that the membership was not lost before. (librdkafka gives
    /// up its generation and marks the assignment lost in one step of the thread that answers
    /// both.)
    ///
    /// After a revocation the group may have settled again already, and the metadata would be that
    /// of the new generation: what was read before must not be committed then. So a member that was
    /// not started since cannot commit.
    pub(crate) fn membership(&self) -> Option<ConsumerGroupMetadata> {
        self.poll_aside(Duration::ZERO);
        if !self.started || self.client.context().reported() {
            return None;
        }
        let metadata = self.client.group_metadata()?;
        (!self.client.assignment_lost()).then_some(metadata)
    }

    fn list(&self, positions: &[(Partition, Offset)]) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, offset) in positions {
            list.add_partition_offset(&self.topic, *partition, rdkafka::Offset::Offset(*offset))?;
        }
        Ok(list)
    }

    /// Serves events; a record that still arrives is kept for the next batch.
    fn poll_aside(&self, wait: Duration) {
        match self.client.poll(wait) {
            Some(Ok(message)) => self.ahead.borrow_mut().push_message(&message),
            Some(Err(error)) => tracing::debug!(%error, "the consumer reports an error while idle"),
            None => {}
        }
    }

    fn advance(&mut self, read: &Records) {
        for (partition, position) in &mut self.positions {
            if let Some(last) = read.partitions().iter().rposition(|p| p == partition) {
                *position = read.offset(last) + 1;
            }
        }
    }

    /// `None` for what needs no attention.
    fn classify(&mut self, error: &KafkaError, read: &Records) -> Option<Error> {
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                self.advance(read);
                Some(
                    self.locate_loss()
                        .unwrap_or_else(|| Error::call(format!("reading {}", self.topic), error)),
                )
            }
            // A rebalance follows and says what it means.
            Some(Code::PollExceeded) => None,
            // One connection of several; librdkafka repairs it, and says so if it was the last one.
            Some(Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut) => {
                tracing::debug!(%error, "a connection to a broker failed");
                None
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Some(Error::waiting(
                    format!("reading {}", self.topic),
                    "the topic, or a partition of it, does not exist",
                ))
            }
            _ => Some(Error::call(format!("reading {}", self.topic), error)),
        }
    }

    /// librdkafka does not say which partition's position is outside the log; the watermarks do.
    fn locate_loss(&mut self) -> Option<Error> {
        for (&partition, &position) in &self.positions {
            if self.lost.contains(&partition) {
                continue;
            }
            match self.watermarks(partition) {
                Ok((first, end)) if position < first || position > end => {
                    self.lost.push(partition);
                    return Some(Error::Loss(LostRange {
                        topic: self.topic.clone(),
                        partition,
                        position,
                        first,
                        end,
                    }));
                }
                Ok(_) => {}
                Err(error) => return Some(error),
            }
        }
        None
    }
}

/// The position that a claim moves to.
pub(crate) fn position(claim: &Claim) -> (Partition, Offset, Progress) {
    (claim.partition, claim.next, claim.progress)
}

/// Offsets with the counts up to them as metadata.
pub(crate) fn with_progress(
    topic: &str,
    positions: impl Iterator<Item = (Partition, Offset, Progress)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, next, progress) in positions {
        let mut element = list.add_partition(topic, partition);
        element.set_offset(rdkafka::Offset::Offset(next))?;
        element.set_metadata(progress.to_string());
    }
    Ok(list)
}

/// Committed positions of the group that `client` is configured with.
pub(crate) fn stable<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partitions: &[Partition],
) -> Result<Vec<CommittedPosition>> {
    let doing = || format!("asking for the group's positions in {topic}");
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(topic, *partition);
    }
    // With isolation.level=read_committed librdkafka asks for stable offsets only.
    let list =
        client.committed_offsets(list, REQUEST_TIMEOUT).map_err(|e| Error::call(doing(), &e))?;
    let mut committed_positions = Vec::with_capacity(partitions.len());
    for element in list.elements() {
        element.error().map_err(|e| Error::call(doing(), &e))?;
        committed_positions.push(committed(
            element.partition(),
            element.offset(),
            element.metadata(),
        ));
    }
    Ok(committed_positions)
}

/// A position without weir's metadata was committed by another program.
fn committed(partition: Partition, offset: rdkafka::Offset, metadata: &str) -> CommittedPosition {
    let none = CommittedPosition {
        partition,
        fence: 0,
        next: None,
        progress: Default::default(),
        intact: true,
    };
    let rdkafka::Offset::Offset(next) = offset else { return none };
    match metadata.parse() {
        Ok(progress) => CommittedPosition { next: Some(next), progress, ..none },
        Err(_) => CommittedPosition { next: Some(next), intact: false, ..none },
    }
}

/// The partitions of a topic, ascending; `None` when it does not exist.
pub(crate) fn partitions<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
) -> Result<Option<Vec<Partition>>> {
    let doing = || format!("asking for the partitions of {topic}");
    let metadata = client
        .fetch_metadata(Some(topic), REQUEST_TIMEOUT)
        .map_err(|e| Error::call(doing(), &e))?;
    let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else { return Ok(None) };
    match found.error().map(Code::from) {
        None => {}
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => return Ok(None),
        // Just created: the leaders are not known yet, the partitions are.
        Some(Code::LeaderNotAvailable) if !found.partitions().is_empty() => {}
        Some(code) => {
            return Err(Error::call(doing(), &rdkafka::error::KafkaError::MetadataFetch(code)));
        }
    }
    let mut partitions: Vec<_> = found.partitions().iter().map(|p| p.id()).collect();
    partitions.sort_unstable();
    Ok(Some(partitions))
}

pub(crate) fn watermarks<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    partition: Partition,
) -> Result<(Offset, Offset)> {
    client.fetch_watermarks(topic, partition, REQUEST_TIMEOUT).map_err(|e| {
        Error::call(format!("asking for the first and last offset of {topic} [{partition}]"), &e)
    })
}

#[derive(Default)]
struct Context {
    reports: Mutex<Vec<Rebalance>>,
}

impl Context {
    fn reports(&self) -> MutexGuard<'_, Vec<Rebalance>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reported(&self) -> bool {
        !self.reports().is_empty()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        settings::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        settings::error(&error, reason);
    }
}

impl ConsumerContext for Context {
    /// Replaces the default, which would assign on its own and read from offsets that were not
    /// fenced.
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions = list.elements().iter().map(|element| element.partition()).collect();
        let report = if code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            // The group waits for an answer to an empty assignment too, and there is nothing to
            // decide about.
            if let Some(Err(error)) = list.elements().is_empty().then(|| client.assign(list)) {
                tracing::error!(%error, "an empty assignment could not be taken");
            }
            Rebalance::Assigned(partitions)
        } else {
            // Unassigning clears the mark of a loss, so check it first.
            let lost = client.assignment_lost();
            if let Err(error) = client.unassign() {
                tracing::error!(%error, "revoked partitions could not be released");
            }
            if lost { Rebalance::Lost(partitions) } else { Rebalance::Revoked(partitions) }
        };
        self.reports().push(report);
    }
}
