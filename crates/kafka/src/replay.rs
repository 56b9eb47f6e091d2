//! Replays records from the dead letters to the input topic. One transaction contains a batch of
//! them, a mark for each and the running counts, so a record is replayed once, however often the
//! replay is repeated and wherever it was interrupted.
//!
//! Marks and counts are in the compacted topic `weir.positions`, beside the producers' positions:
//! the mark of a record under `pipeline/replay/topic/partition@offset/timestamp`, the count of a
//! partition as the position of a source named `replay`.

use crate::error::{Error, Result};
use crate::positions::{self, Position};
use crate::records::{Record, Records};
use crate::transactional_producer::{Header, Outgoing, TransactionalProducer};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use weir_model::coordinates::RecordCoordinates;
use weir_model::pipeline::Pipeline;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Offset, Outcome, Partition};

/// `weir-replay`: how often the record was replayed, as text.
pub const TIMES: &str = "weir-replay";
/// `weir-replay-of`: where it was when it came for the first time, `topic[partition]@offset`. The
/// enricher hands it on, so that a target which merges by key can tell an older version.
pub const OF: &str = "weir-replay-of";
/// The name under which the counts are in the position store.
pub const SOURCE: &str = "replay";

/// The identity of a record of the input topic. The timestamp distinguishes it from the one with
/// the same offset in a recreated topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
    /// Its Kafka timestamp in milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// The records that were replayed already.
pub type Marks = HashSet<Mark>;

/// How often a record with these headers was replayed; 0 for one that never was a dead letter.
pub fn times<'a>(headers: impl IntoIterator<Item = Header<'a>>) -> u32 {
    let said = headers.into_iter().filter(|(name, _)| *name == TIMES).last();
    said.and_then(|(_, value)| std::str::from_utf8(value?).ok()?.parse().ok()).unwrap_or(0)
}

/// The offset in `topic` at which a record with these headers came for the first time, if it was
/// replayed. `before`: its own offset in that topic. A header that names no earlier record of the
/// same partition says nothing.
pub fn first_offset<'a>(
    headers: impl IntoIterator<Item = Header<'a>>,
    topic: &str,
    partition: Partition,
    before: Offset,
) -> Option<Offset> {
    let (_, said) = headers.into_iter().filter(|(name, _)| *name == OF).last()?;
    let at: RecordCoordinates = std::str::from_utf8(said?).ok()?.parse().ok()?;
    let earlier = at.topic == topic && at.partition == partition && at.offset < before;
    earlier.then_some(at.offset)
}

/// The value of [`OF`].
pub fn of(topic: &str, partition: Partition, offset: Offset) -> String {
    RecordCoordinates { topic: topic.into(), partition, offset }.to_string()
}

/// Copies a record to `into` as it is to come back: under the name that its mark will have, with
/// its own headers, one that counts, and one with the coordinates of its first time.
pub fn prepare(
    into: &mut Records,
    record: Record<'_>,
    headers: &[Header<'_>],
    topic: &str,
    mark: Mark,
) {
    let Mark { partition, offset, timestamp_ms } = mark;
    into.push_parts(partition, offset, timestamp_ms, record.key(), record.value());
    let own = headers.iter().filter(|(name, _)| ![TIMES, OF].contains(name));
    own.for_each(|(name, value)| into.push_header(name, *value));
    let count = times(headers.iter().copied()).saturating_add(1).to_string();
    into.push_header(TIMES, Some(count.as_bytes()));
    let first = first_offset(headers.iter().copied(), topic, partition, offset).unwrap_or(offset);
    into.push_header(OF, Some(of(topic, partition, first).as_bytes()));
}

/// Reads the marks of a pipeline, to the real end of the log.
pub fn marks(pipeline: &Pipeline) -> Result<Marks> {
    let mut marks = Marks::new();
    if crate::admin::partitions(&pipeline.kafka, positions::TOPIC)?.is_none() {
        return Ok(marks);
    }
    let prefix = prefix(pipeline);
    positions::each(
        &pipeline.kafka,
        sources(pipeline).map(positions::partition).collect(),
        |key, value| {
            if let Some(mark) = key.strip_prefix(&prefix).and_then(Mark::parse) {
                match value {
                    Some(_) => marks.insert(mark),
                    None => marks.remove(&mark),
                };
            }
            Ok(())
        },
    )?;
    Ok(marks)
}

/// The outcome of a batch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Put {
    /// Records that were replayed.
    pub replayed: u64,
    /// Records that another process replayed meanwhile.
    pub already: Vec<Mark>,
    /// Records that the broker does not take, with its reason; they are not marked.
    pub refused: Vec<(Mark, String)>,
}

/// Replays records. There is one replayer per pipeline: a second one fences the first.
pub struct Replayer {
    pipeline: Pipeline,
    producer: TransactionalProducer,
    marks: Marks,
    counts: BTreeMap<u32, Position>,
}

impl Replayer {
    /// Ends what another replayer of the pipeline has under way, then reads marks and counts.
    ///
    /// # Errors
    /// Environment when the broker does not answer.
    pub fn open(pipeline: &Pipeline) -> Result<Replayer> {
        let producer = TransactionalProducer::open(
            &pipeline.kafka,
            &format!("weir.{}.replay", pipeline.name),
        )?;
        let mut replayer = Replayer {
            pipeline: pipeline.clone(),
            producer,
            marks: Marks::new(),
            counts: BTreeMap::new(),
        };
        replayer.read()?;
        Ok(replayer)
    }

    /// The records that were replayed already.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    fn read(&mut self) -> Result<()> {
        self.marks = marks(&self.pipeline)?;
        let sources: Vec<u32> = sources(&self.pipeline).collect();
        self.counts = positions::read(&self.pipeline.kafka, &self.pipeline.name, SOURCE, &sources)?;
        Ok(())
    }

    /// Brings a batch made by [`prepare`] back to the input topic, each record to its own
    /// partition.
    ///
    /// # Errors
    /// [`Error::Fenced`] when another replayer has begun since; environment when the broker does
    /// not answer. Then either all of the batch was replayed or nothing: the next replayer reads it
    /// from the marks.
    pub fn put(&mut self, batch: &Records) -> Result<Put> {
        let mut put = Put::default();
        let fresh = batch.iter().filter(|record| {
            let known = self.marks.contains(&Mark::of(*record));
            put.already.extend(known.then(|| Mark::of(*record)));
            !known
        });
        let fresh: Vec<Record<'_>> = fresh.collect();
        if fresh.is_empty() {
            return Ok(put);
        }
        self.producer.begin()?;
        let (marks, counts) = match self.send(&fresh, &mut put) {
            Ok(sent) => sent,
            Err(error) => {
                self.producer.abort();
                return Err(error);
            }
        };
        self.commit(&marks)?;
        put.replayed = marks.len() as u64;
        self.marks.extend(marks);
        self.counts.extend(counts);
        Ok(put)
    }

    /// Records, marks and counts into the open transaction.
    fn send(
        &mut self,
        records: &[Record<'_>],
        put: &mut Put,
    ) -> Result<(Vec<Mark>, BTreeMap<u32, Position>)> {
        let mut marks = Vec::with_capacity(records.len());
        let mut counts: BTreeMap<u32, Position> = BTreeMap::new();
        for record in records {
            let headers: Vec<Header<'_>> = record.headers().collect();
            match self.producer.send(&outgoing(&self.pipeline.input.topic, *record, &headers)) {
                Ok(()) => {}
                Err(error @ Error::TooLarge { .. }) => {
                    put.refused.push((Mark::of(*record), error.to_string()));
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.mark(Mark::of(*record))?;
            marks.push(Mark::of(*record));
            let source = record.partition().unsigned_abs();
            let count = counts
                .entry(source)
                .or_insert_with(|| self.counts.get(&source).cloned().unwrap_or_else(nothing));
            count.progress.counters += Counters { read: 1, written: 1, ..Counters::default() };
        }
        for (source, position) in &counts {
            positions::write(&mut self.producer, &self.pipeline.name, SOURCE, *source, position)?;
        }
        Ok((marks, counts))
    }

    fn mark(&mut self, mark: Mark) -> Result<()> {
        self.producer.send(&Outgoing {
            topic: positions::TOPIC,
            partition: Some(positions::partition(mark.partition.unsigned_abs())),
            key: Some(format!("{}{mark}", prefix(&self.pipeline)).as_bytes()),
            value: Some(b"replayed"),
            timestamp_ms: None,
            headers: &[],
        })
    }

    /// Ends the transaction; whether one of unknown outcome was committed is read from its marks.
    fn commit(&mut self, marks: &[Mark]) -> Result<()> {
        let outcome = self.producer.commit(None);
        let failed = |fault: Option<Error>| {
            Err(fault.unwrap_or_else(|| {
                Error::waiting("replaying", "the transaction was not committed")
            }))
        };
        match (outcome, self.producer.fault()) {
            (Outcome::Committed, _) => Ok(()),
            // To reinitialize now would fence whoever has taken over.
            (_, fault @ Some(Error::Fenced { .. })) => failed(fault),
            (_, fault) => {
                self.producer.reinitialize()?;
                self.read()?;
                if marks.iter().all(|mark| self.marks.contains(mark)) {
                    Ok(())
                } else {
                    failed(fault)
                }
            }
        }
    }
}

/// The record as a new one: a timestamp of the past would put it within reach of the topic's
/// retention at once.
fn outgoing<'a>(topic: &'a str, record: Record<'a>, headers: &'a [Header<'a>]) -> Outgoing<'a> {
    Outgoing {
        topic,
        partition: Some(record.partition()),
        key: record.key(),
        value: record.value(),
        timestamp_ms: None,
        headers,
    }
}

impl Mark {
    /// Of a record of the input topic, or of one made by [`prepare`].
    pub fn of(record: Record<'_>) -> Mark {
        Mark {
            partition: record.partition(),
            offset: record.offset(),
            timestamp_ms: record.timestamp_ms(),
        }
    }

    fn parse(text: &str) -> Option<Mark> {
        let (partition, rest) = text.split_once('@')?;
        let (offset, timestamp) = rest.split_once('/')?;
        Some(Mark {
            partition: partition.parse().ok()?,
            offset: offset.parse().ok()?,
            timestamp_ms: timestamp.parse().ok()?,
        })
    }
}

/// The end of the mark's key.
impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.partition, self.offset, self.timestamp_ms)
    }
}

fn nothing() -> Position {
    Position { position: serde_json::Value::Null, progress: Progress::default() }
}

fn prefix(pipeline: &Pipeline) -> String {
    format!("{}/{SOURCE}/{}/", pipeline.name, pipeline.input.topic)
}

/// The input's partitions, as the position store counts them.
fn sources(pipeline: &Pipeline) -> impl Iterator<Item = u32> {
    0..pipeline.input.partitions.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(records: &Records) -> Vec<(&str, &str)> {
        records
            .headers(0)
            .map(|(name, value)| (name, std::str::from_utf8(value.unwrap()).unwrap()))
            .collect()
    }

    #[test]
    fn a_record_that_comes_back_says_how_often_and_from_where() {
        let mut dead_letters = Records::new();
        dead_letters.push_parts(0, 7, 5, Some(b"key"), Some(b"value"));
        let mut once = Records::new();
        prepare(
            &mut once,
            dead_letters.get(0),
            &[("trace", Some(b"x"))],
            "calls",
            Mark { partition: 2, offset: 41, timestamp_ms: 5 },
        );
        assert_eq!(
            (once.partition(0), once.offset(0), once.key(0), once.value(0)),
            (2, 41, Some(&b"key"[..]), Some(&b"value"[..]))
        );
        assert_eq!(headers(&once), [("trace", "x"), (TIMES, "1"), (OF, "calls[2]@41")]);

        let mut twice = Records::new();
        let before: Vec<Header<'_>> = once.headers(0).collect();
        prepare(
            &mut twice,
            once.get(0),
            &before,
            "calls",
            Mark { partition: 2, offset: 99, timestamp_ms: 6 },
        );
        assert_eq!(headers(&twice), [("trace", "x"), (TIMES, "2"), (OF, "calls[2]@41")]);
    }

    #[test]
    fn only_an_earlier_record_of_the_same_partition_is_the_first_time() {
        let first = |said: &'static str| {
            first_offset([("trace", None), (OF, Some(said.as_bytes()))], "calls", 2, 99)
        };
        assert_eq!(first("calls[2]@41"), Some(41));
        for said in ["calls[1]@41", "orders[2]@41", "calls[2]@99", "calls[2]@-1", "calls", ""] {
            assert_eq!(first(said), None, "{said}");
        }
        assert_eq!(first_offset([(OF, None), ("trace", None)], "calls", 2, 99), None);
    }

    #[test]
    fn a_mark_can_be_read_back() {
        let mark = Mark { partition: 2, offset: 41, timestamp_ms: -1 };
        assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        for text in ["", "3", "2@41", "2/41@5", "x@41/5"] {
            assert_eq!(Mark::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_header_that_is_no_count_counts_nothing() {
        let times =
            |value: Option<&'static [u8]>| times([("other", Some(&b"9"[..])), (TIMES, value)]);
        assert_eq!(
            (times(Some(b"3")), times(Some(b"many")), times(Some(b"-1")), times(None)),
            (3, 0, 0, 0)
        );
        assert_eq!(super::times([]), 0);
    }
}
