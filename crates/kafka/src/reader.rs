//! Reading a range of a topic without joining a group: for positions, audits and tests. Only
//! committed records are returned.

use crate::consumer::{partitions, watermarks};
use crate::error::{Error, Result};
use crate::records::{Record, Records};
use crate::settings::{self, LoggingContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use weir_model::pipeline::Kafka;
use weir_model::protocol::{Offset, Partition};

/// A range of offsets in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Which partition.
    pub partition: Partition,
    /// First offset; `None` is the beginning of the log.
    pub from: Option<Offset>,
    /// End, exclusive; `None` is the end of the log at the time of the call, records of
    /// transactions that are then still open included.
    pub until: Option<Offset>,
}

impl Span {
    /// Everything that is in `partition` now.
    pub fn all(partition: Partition) -> Span {
        Span { partition, from: None, until: None }
    }
}

/// How long to wait for the broker, and for open transactions to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(20);

/// Passes every committed record of the spans to `visit`, in order within a partition, until
/// `visit` breaks.
///
/// The end of a span is the real one: records of a transaction that is open now are waited for,
/// because they may have been written by a process that is already gone. Errors: environment when
/// the broker is unavailable or a transaction stays open for half a minute; [`Error::Loss`] when
/// `from` is before the beginning of the log.
pub fn scan(
    kafka: &Kafka,
    topic: &str,
    spans: &[Span],
    mut visit: impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<()> {
    let doing = || format!("reading {topic}");
    let client: BaseConsumer<LoggingContext> =
        settings::create(&settings::reader(kafka, true), LoggingContext, &doing())?;
    let mut ends = resolve(kafka, &client, topic, spans)?;
    let mut batch = Records::new();
    let mut last_record_at = Instant::now();
    while !ends.is_empty() {
        match client.poll(STEP) {
            Some(Ok(message)) => {
                last_record_at = Instant::now();
                batch.clear();
                batch.push_message(&message);
                let record = batch.get(0);
                let Some(&end) = ends.get(&record.partition()) else { continue };
                if record.offset() < end && visit(record).is_break() {
                    return Ok(());
                }
                if record.offset() + 1 >= end {
                    ends.remove(&record.partition());
                }
            }
            // The end that was waited for is passed: what is left of the span are markers of
            // transactions.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                ends.remove(&partition);
            }
            Some(Err(error)) if last_record_at.elapsed() > REQUEST_TIMEOUT => {
                return Err(Error::call(doing(), &error));
            }
            None if last_record_at.elapsed() > REQUEST_TIMEOUT => {
                return Err(Error::waiting(doing(), "no record came for half a minute"));
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}

/// Passes every committed record that the topic contains now to `visit`; a topic that does not
/// exist contains none. Errors as for [`scan`].
pub fn scan_all(
    kafka: &Kafka,
    topic: &str,
    visit: impl FnMut(Record<'_>) -> ControlFlow<()>,
) -> Result<()> {
    let client: BaseConsumer<LoggingContext> = settings::create(
        &settings::reader(kafka, true),
        LoggingContext,
        &format!("reading {topic}"),
    )?;
    let partitions = partitions(&client, topic)?.unwrap_or_default();
    scan(kafka, topic, &partitions.into_iter().map(Span::all).collect::<Vec<_>>(), visit)
}

/// Assigns the spans that are not empty, and returns the end of each of them.
fn resolve(
    kafka: &Kafka,
    client: &BaseConsumer<LoggingContext>,
    topic: &str,
    spans: &[Span],
) -> Result<BTreeMap<Partition, Offset>> {
    let doing = || format!("reading {topic}");
    // The committed reader's idea of the end stops at the first open transaction.
    let open: BaseConsumer<LoggingContext> =
        settings::create(&settings::reader(kafka, false), LoggingContext, &doing())?;
    let mut ends = BTreeMap::new();
    let mut list = TopicPartitionList::with_capacity(spans.len());
    for span in spans {
        let (first, end) = watermarks(&open, topic, span.partition)?;
        let (from, until) = (span.from.unwrap_or(first), span.until.unwrap_or(end).min(end));
        if from < first && from < until {
            return Err(Error::Loss(crate::LostRange {
                topic: topic.into(),
                partition: span.partition,
                position: from,
                first,
                end,
            }));
        }
        if from < until {
            await_committed(client, topic, span.partition, until)?;
            list.add_partition_offset(topic, span.partition, rdkafka::Offset::Offset(from))
                .map_err(|e| Error::call(doing(), &e))?;
            ends.insert(span.partition, until);
        }
    }
    client.assign(&list).map_err(|e| Error::call(doing(), &e))?;
    Ok(ends)
}

fn await_committed(
    client: &BaseConsumer<LoggingContext>,
    topic: &str,
    partition: Partition,
    until: Offset,
) -> Result<()> {
    let started = Instant::now();
    loop {
        let (_, stable) = watermarks(client, topic, partition)?;
        if stable >= until {
            return Ok(());
        }
        if started.elapsed() > REQUEST_TIMEOUT {
            let reason = format!(
                "a transaction has been open since offset {stable}, and records up to {until} are \
                 waiting behind it"
            );
            return Err(Error::waiting(format!("reading {topic} [{partition}]"), reason));
        }
        client.poll(STEP);
    }
}
