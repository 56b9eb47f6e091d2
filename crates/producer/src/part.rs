//! One partition of the source: its transactional producer, its reader, and how far it got.

use crate::encode::{Encoding, Payloads};
use crate::error::Error;
use crate::metrics::{Landed, Meters};
use crate::pace::Pace;
use crate::source::{self, Chunk, Limit, Malformed, Reader, Source};
use crate::status;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_kafka::dead_letter::Origin;
use weir_kafka::positions::{self, Position};
use weir_kafka::{Outgoing, OutgoingDeadLetter, TransactionalProducer};
use weir_model::fault::{Class, Fault, Stage};
use weir_model::pipeline::Pipeline;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{
    Command, CommittedPosition, Event, Fencing, Offset, Outcome, Partition, PartitionState,
    StateMachine, Term,
};
use weir_service::Failure;

/// To the protocol, a source partition is a partition, and the number of items read from it so far
/// is its offset. The source's own position, which is what reading goes on from, is kept beside it
/// in the same record of the position store.
pub(crate) struct Part {
    number: u32,
    protocol: StateMachine,
    unit: TransactionalProducer,
    reader: Option<Box<dyn Reader>>,
    position: Option<Value>,
    pace: Pace,
    /// Bytes of a record in Kafka, as of the last transaction.
    record_bytes: usize,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Running,
    /// At the end of a bounded source.
    Done,
    /// Until somebody acts.
    Halted(String),
}

/// What a turn came to.
pub(crate) enum Turn {
    /// Something was done; there may be more at once.
    Worked,
    /// Nothing to do for so long.
    Rest(Duration),
    /// A transaction was not committed: hear the group and the broker before anything else is
    /// tried.
    Doubt,
}

impl Turn {
    /// What two partitions' turns come to together.
    pub(crate) fn and(self, other: Turn) -> Turn {
        match (self, other) {
            (Turn::Doubt, _) | (_, Turn::Doubt) => Turn::Doubt,
            (Turn::Rest(a), Turn::Rest(b)) => Turn::Rest(a.min(b)),
            _ => Turn::Worked,
        }
    }
}

/// A transaction is kept so small that what goes to one partition of the topic fits one request.
/// librdkafka has one request per partition under way when it is idempotent, and while another
/// batch is ready its thread asks for the answer in a loop, which costs a fifth of all processor
/// time; twice as many transactions cost less.
const REQUEST: usize = 900_000;
/// What a record takes in Kafka beside its key and value.
const OVERHEAD: usize = 12;

/// How long to leave an exhausted, halted or momentarily empty partition alone.
const REST: Duration = Duration::from_millis(200);

/// What all partitions of a worker share.
pub(crate) struct Shared {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) meters: Meters,
    pub(crate) status: status::Status,
    pub(crate) health: weir_service::Health,
}

impl Part {
    pub(crate) fn new(number: u32, shared: &Shared) -> Part {
        let pipeline = &shared.pipeline;
        let mut protocol = StateMachine::new(Fencing::PerPartition);
        protocol.handle(Event::Assigned(vec![number as Partition]));
        let unit = TransactionalProducer::new(
            &pipeline.kafka,
            &format!("{}.{number}", pipeline.producer_group()),
        );
        let share =
            pipeline.source.as_ref().map_or(0, rate) as f64 / f64::from(shared.source.partitions());
        let pace = Pace::new(share, Instant::now());
        let part = Part {
            number,
            protocol,
            unit,
            reader: None,
            position: None,
            pace,
            record_bytes: 200,
            state: State::Running,
        };
        part.show(shared);
        part
    }

    /// One step: whatever the protocol asks for, or the next transaction.
    ///
    /// # Errors
    /// Environment: ask again later. Everything that only concerns this partition halts it and is
    /// no error.
    pub(crate) fn turn(&mut self, shared: &Shared, encoding: &mut Encoding) -> Result<Turn, Error> {
        if self.state != State::Running {
            return Ok(Turn::Rest(REST));
        }
        let turned = match self.protocol.next_command() {
            Some(command) => self.obey(command, shared).map(|()| Turn::Worked),
            None => self.transact(shared, encoding),
        };
        match turned {
            Err(error)
                if error.class() != Class::Environment && !matches!(error, Error::Protocol(_)) =>
            {
                self.halt(&error, shared);
                Ok(Turn::Rest(REST))
            }
            other => other,
        }
    }

    pub(crate) fn done(&self) -> bool {
        self.state == State::Done
    }

    fn obey(&mut self, command: Command, shared: &Shared) -> Result<(), Error> {
        match command {
            Command::Acquire { term, .. } => {
                let found = self.acquire(shared)?;
                self.protocol.handle(Event::Acquired { term, found: vec![found] });
            }
            Command::Start { term, .. } => {
                self.reader = Some(shared.source.open(self.number, self.position.as_ref())?);
                self.protocol.handle(Event::Started { term });
            }
            Command::Reinitialize => self.protocol.handle(Event::Reinitialized),
            Command::Halt { halt, .. } => return Err(source::Error::Lost(halt.to_string()).into()),
        }
        self.show(shared);
        Ok(())
    }

    /// First the fence, then the position store: after it, nobody else can add to what is read
    /// here.
    fn acquire(&mut self, shared: &Shared) -> Result<PartitionState, Error> {
        self.reader = None;
        let before = self.unit.reinitializations();
        let reinitialized = self.unit.reinitialize();
        // The first start is not a reinitialize.
        shared
            .meters
            .reinitializations
            .inc_by(self.unit.reinitializations().max(1) - before.max(1));
        reinitialized?;
        let (kafka, name) = (&shared.pipeline.kafka, &shared.pipeline.name);
        let known =
            positions::read(kafka, name, kind(shared), &[self.number])?.remove(&self.number);
        let next = known.as_ref().map(|position| position.progress.counters.read as Offset);
        let progress = known.as_ref().map(|position| position.progress).unwrap_or_default();
        self.position = known.map(|known| known.position);
        let committed =
            CommittedPosition { partition: self.number as Partition, fence: 0, next, progress };
        let at = self.position.as_ref().map_or_else(|| "the beginning".into(), Value::to_string);
        tracing::info!(
            partition = self.number,
            at,
            read = progress.counters.read,
            "reading the source"
        );
        Ok(PartitionState { committed, low: 0, high: Offset::MAX, has_output: false })
    }

    fn transact(&mut self, shared: &Shared, encoding: &mut Encoding) -> Result<Turn, Error> {
        let batch = &shared.pipeline.batch;
        let (Some(term), Some(reader)) = (self.protocol.term(), self.reader.as_mut()) else {
            return Ok(Turn::Rest(REST));
        };
        let one_request =
            REQUEST * shared.pipeline.input.partitions.max(1) as usize / self.record_bytes;
        let records = match self.pace.due(Instant::now(), batch.records.min(one_request.max(1))) {
            Ok(records) => records,
            Err(wait) => return Ok(Turn::Rest(wait)),
        };
        let chunk =
            reader.read(Limit { records, bytes: batch.bytes }).inspect_err(|_| self.rewind())?;
        let committed = chunk.is_empty() || self.write(term, &chunk, shared, encoding)?;
        if committed {
            self.pace.went(chunk.len());
        }
        if committed && chunk.end {
            self.state = State::Done;
            tracing::info!(partition = self.number, "the source is at its end");
        }
        self.show(shared);
        Ok(match committed {
            true if chunk.is_empty() => Turn::Rest(REST),
            true => Turn::Worked,
            false => Turn::Doubt,
        })
    }

    /// Records, dead letters and position in one transaction. Anything but a definite success makes
    /// the protocol ask for the position store again, and the reader is opened where that stands.
    /// Returns whether it was one.
    fn write(
        &mut self,
        term: Term,
        chunk: &Chunk,
        shared: &Shared,
        encoding: &mut Encoding,
    ) -> Result<bool, Error> {
        let payloads = encoding.encode(chunk)?;
        let started = Instant::now();
        let Some(next) =
            self.protocol.progress(self.number as Partition).map(|p| p.counters.read as Offset)
        else {
            return Ok(false);
        };
        (next..next + chunk.len() as Offset).for_each(|item| {
            self.protocol.accept_record(self.number as Partition, item);
        });
        let (outcome, sent) = match self.send(term, chunk, &payloads, shared) {
            Ok(sent) => (self.unit.commit(None), sent),
            Err(error) => {
                tracing::debug!(partition = self.number, %error, "transaction given up");
                self.unit.abort();
                self.refuse(term);
                return Err(error);
            }
        };
        self.protocol.handle(Event::WriteFinished(outcome));
        if outcome == Outcome::Committed {
            self.position = Some(chunk.position.clone());
            self.record_bytes = (sent.bytes / chunk.len().max(1)).max(1);
            let took = started.elapsed();
            shared.meters.landed(&Landed {
                counters: sent.counters,
                dead: &sent.reasons,
                bytes: sent.values,
                took,
            });
            return Ok(true);
        }
        self.reader = None;
        let reason =
            self.unit.fault().map_or_else(|| "no answer".into(), |fault| fault.to_string());
        tracing::warn!(
            partition = self.number,
            ?outcome,
            reason,
            "a transaction was not committed: asking the position store where to go on"
        );
        Ok(false)
    }

    fn send<'a>(
        &mut self,
        term: Term,
        chunk: &'a Chunk,
        payloads: &Payloads,
        shared: &'a Shared,
    ) -> Result<Sent<'a>, Error> {
        self.unit.begin()?;
        let topic = &shared.pipeline.input.topic;
        let mut sent = Sent::default();
        for (row, (key, value)) in payloads.iter().enumerate() {
            let record = Outgoing {
                topic,
                partition: None,
                key,
                value: Some(value),
                timestamp_ms: None,
                headers: &[],
            };
            match self.unit.send(&record) {
                Ok(()) => sent.record(key, value),
                Err(error @ weir_kafka::Error::TooLarge { .. }) => {
                    let fault = Fault {
                        stage: Stage::Source,
                        reason: TOO_LARGE.into(),
                        detail: error.to_string(),
                    };
                    let place = chunk.places.get(row).copied().unwrap_or(-1);
                    self.dead_letter(
                        &Malformed { bytes: value.to_vec(), fault, place },
                        key,
                        shared,
                    )?;
                    sent.dead_letter(TOO_LARGE);
                }
                Err(error) => return Err(error.into()),
            }
        }
        for malformed in &chunk.malformed {
            self.dead_letter(malformed, None, shared)?;
            sent.dead_letter(&malformed.fault.reason);
        }
        let delta = Progress { counters: sent.counters, ..Progress::default() };
        let claims =
            self.protocol.claim(term, &BTreeMap::from([(self.number as Partition, delta)]))?;
        if let Some(claim) = claims.first() {
            let position = Position { position: chunk.position.clone(), progress: claim.progress };
            positions::write(
                &mut self.unit,
                &shared.pipeline.name,
                kind(shared),
                self.number,
                &position,
            )?;
        }
        Ok(sent)
    }

    fn dead_letter(
        &mut self,
        malformed: &Malformed,
        key: Option<&[u8]>,
        shared: &Shared,
    ) -> Result<(), Error> {
        let pipeline = &shared.pipeline;
        let dead_letter = OutgoingDeadLetter {
            topic: &pipeline.dead_letters.topic,
            partition: Some(self.number as Partition % pipeline.input.partitions),
            origin: Origin {
                topic: kind(shared),
                partition: self.number as Partition,
                offset: malformed.place,
                timestamp_ms: -1,
            },
            key,
            value: Some(&malformed.bytes),
            headers: &[],
            fault: &malformed.fault,
            lineage: None,
        };
        Ok(dead_letter.send(&mut self.unit)?)
    }

    /// Nothing of the batch was written. A claim that was made has failed; one that was not is
    /// replaced by an empty term.
    fn refuse(&mut self, term: Term) {
        self.reader = None;
        if self.protocol.in_flight() {
            self.protocol.handle(Event::WriteFinished(Outcome::Refused));
        }
        if self.protocol.term() == Some(term) {
            self.protocol.handle(Event::OutOfRange);
        }
    }

    /// The reader failed: the position store says where the next one begins.
    fn rewind(&mut self) {
        self.reader = None;
        self.protocol.handle(Event::OutOfRange);
    }

    fn halt(&mut self, error: &Error, shared: &Shared) {
        let what = format!("source[{}]", self.number);
        let reason = weir_service::start::chain(error);
        shared.health.halt(&what, &reason);
        self.reader = None;
        self.state = State::Halted(reason);
        self.show(shared);
    }

    fn show(&self, shared: &Shared) {
        let (state, reason) = match &self.state {
            State::Running if self.reader.is_some() => ("running", None),
            State::Running => ("starting", None),
            State::Done => ("done", None),
            State::Halted(reason) => ("halted", Some(reason.clone())),
        };
        let progress =
            self.protocol.committed().map(|(_, _, progress)| *progress).next().unwrap_or_default();
        shared.status.set(
            self.number,
            status::Part { state, position: self.position.clone(), progress, reason },
        );
    }

    /// To be called when the partition goes to another worker.
    pub(crate) fn leave(self, shared: &Shared) {
        shared.status.remove(self.number);
        shared.health.resume(&format!("source[{}]", self.number));
    }
}

const TOO_LARGE: &str = "record_too_large";

fn kind(shared: &Shared) -> &'static str {
    shared.pipeline.source.as_ref().map_or("source", weir_model::pipeline::Source::kind)
}

fn rate(source: &weir_model::pipeline::Source) -> u64 {
    match source {
        weir_model::pipeline::Source::Synthetic(source) => source.rate,
        weir_model::pipeline::Source::File(source) => source.rate,
    }
}

/// What went into a transaction.
#[derive(Default)]
struct Sent<'a> {
    counters: Counters,
    /// Bytes of the values.
    values: u64,
    /// Bytes in Kafka.
    bytes: usize,
    reasons: Vec<&'a str>,
}

impl<'a> Sent<'a> {
    fn record(&mut self, key: Option<&[u8]>, value: &[u8]) {
        self.counters.read += 1;
        self.counters.written += 1;
        self.values += value.len() as u64;
        self.bytes += OVERHEAD + key.map_or(0, <[u8]>::len) + value.len();
    }

    fn dead_letter(&mut self, reason: &'a str) {
        self.counters.read += 1;
        self.counters.dead += 1;
        self.reasons.push(reason);
    }
}
