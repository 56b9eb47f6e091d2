//! One partition of the source: its transactional producer, its reader and its position, and the
//! commands of the protocol. The path of a batch is `pipeline.rs`.

use crate::encode::Encoding;
use crate::error::Error;
use crate::metrics::Meters;
use crate::pace::Pace;
use crate::source::{self, Reader, Source};
use crate::status;
use crate::written_before::WrittenBefore;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_kafka::{TransactionalProducer, positions};
use weir_model::fault::Class;
use weir_model::pipeline::{self, Pipeline};
use weir_model::protocol::{
    Command, CommittedPosition, Event, Fencing, Offset, Outcome, Partition, PartitionState, Proof,
    StateMachine, Term,
};
use weir_service::Failure;

/// To the protocol, a source partition is a partition, and the number of items read from it is its
/// offset. The source's own position, from which reading continues, is stored beside it in the same
/// record of the position store.
pub(crate) struct SourcePartition {
    pub(crate) number: u32,
    pub(crate) machine: StateMachine,
    pub(crate) producer: TransactionalProducer,
    pub(crate) reader: Option<Box<dyn Reader>>,
    pub(crate) position: Option<Value>,
    pub(crate) pace: Pace,
    /// Bytes of a record in Kafka, in the last transaction.
    pub(crate) record_bytes: usize,
    pub(crate) state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// At the end of a bounded source.
    Done,
    /// Until an operator acts.
    Halted(String),
}

/// The result of a step.
pub(crate) enum StepResult {
    /// Something was done; there may be more at once.
    Worked,
    /// Nothing to do for this long.
    Idle(Duration),
    /// A transaction was not committed: poll the group and the broker before the next step.
    NotCommitted,
}

impl StepResult {
    /// The result of two partitions' steps together.
    pub(crate) fn and(self, other: StepResult) -> StepResult {
        match (self, other) {
            (StepResult::NotCommitted, _) | (_, StepResult::NotCommitted) => {
                StepResult::NotCommitted
            }
            (StepResult::Idle(a), StepResult::Idle(b)) => StepResult::Idle(a.min(b)),
            _ => StepResult::Worked,
        }
    }
}

/// The pause of a partition that is exhausted, halted or empty at the moment.
pub(crate) const IDLE_PAUSE: Duration = Duration::from_millis(200);

/// What all partitions of a worker share.
pub(crate) struct Shared {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) meters: Meters,
    pub(crate) status: status::Status,
    pub(crate) health: weir_service::Health,
    pub(crate) written_before: WrittenBefore,
}

impl Shared {
    /// The name of the source in the position store.
    pub(crate) fn source_kind(&self) -> &'static str {
        self.pipeline.source.as_ref().map_or("source", pipeline::Source::kind)
    }
}

impl SourcePartition {
    pub(crate) fn new(number: u32, shared: &Shared) -> SourcePartition {
        let file = &shared.pipeline;
        let mut machine = StateMachine::new(Fencing::PerPartition);
        machine.handle(Event::Assigned(vec![number as Partition]));
        let producer =
            TransactionalProducer::new(&file.kafka, &format!("{}.{number}", file.producer_group()))
                .writing_to(&[&file.input.topic, &file.dead_letters.topic, positions::TOPIC]);
        let share = file.source.as_ref().map_or(0, pipeline::Source::rate) as f64
            / f64::from(shared.source.partitions());
        let pace = Pace::new(share, Instant::now());
        let partition = SourcePartition {
            number,
            machine,
            producer,
            reader: None,
            position: None,
            pace,
            record_bytes: 200,
            state: State::Running,
        };
        partition.publish_status(shared);
        partition
    }

    /// One step: whatever the protocol asks for, or the next transaction.
    ///
    /// # Errors
    /// Class environment: retry later. A failure that concerns only this partition halts it and is
    /// not an error.
    pub(crate) fn step(
        &mut self,
        shared: &Shared,
        encoding: &mut Encoding,
    ) -> Result<StepResult, Error> {
        if self.state != State::Running {
            return Ok(StepResult::Idle(IDLE_PAUSE));
        }
        let stepped = match self.machine.next_command() {
            Some(command) => self.apply(command, shared).map(|()| StepResult::Worked),
            None => self.write_batch(shared, encoding),
        };
        match stepped {
            Err(error)
                if error.class() != Class::Environment && !matches!(error, Error::Protocol(_)) =>
            {
                self.halt(&error, shared);
                Ok(StepResult::Idle(IDLE_PAUSE))
            }
            other => other,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn apply(&mut self, command: Command, shared: &Shared) -> Result<(), Error> {
        match command {
            Command::Acquire { term, .. } => {
                let found = self.acquire(shared)?;
                self.machine.handle(Event::Acquired { term, found: vec![found] });
            }
            Command::Start { term, .. } => {
                self.reader = Some(shared.source.open(self.number, self.position.as_ref())?);
                self.machine.handle(Event::Started { term });
            }
            Command::Reinitialize => self.machine.handle(Event::Reinitialized),
            Command::Halt { .. } => return Err(self.position_lost(shared).into()),
        }
        self.publish_status(shared);
        Ok(())
    }

    /// A source partition can only halt for want of its position.
    fn position_lost(&self, shared: &Shared) -> source::Error {
        let (store, topic) = (positions::TOPIC, &shared.pipeline.input.topic);
        source::Error::Lost(format!(
            "{store} holds no position of source partition {}, yet topic {topic} holds records \
             that it wrote: the position was lost, and reading from the beginning would send them \
             again; restore {store}, or delete {topic} to send everything again",
            self.number
        ))
    }

    /// First the fence, then the position store: after it, no other process can add to what is read
    /// here.
    fn acquire(&mut self, shared: &Shared) -> Result<PartitionState, Error> {
        self.reader = None;
        let before = self.producer.reinitializations();
        let reinitialized = self.producer.reinitialize();
        // The first start is not a reinitialize.
        shared
            .meters
            .reinitializations
            .inc_by(self.producer.reinitializations().max(1) - before.max(1));
        reinitialized?;
        let (kafka, name) = (&shared.pipeline.kafka, &shared.pipeline.name);
        let known = positions::read(kafka, name, shared.source_kind(), &[self.number])?
            .remove(&self.number);
        let next = known.as_ref().map(|position| position.progress.counters.read as Offset);
        let progress = known.as_ref().map(|position| position.progress).unwrap_or_default();
        self.position = known.map(|known| known.position);
        let committed = CommittedPosition {
            partition: self.number as Partition,
            fence: 0,
            next,
            progress,
            intact: true,
        };
        let at = self.position.as_ref().map_or_else(|| "the beginning".into(), Value::to_string);
        tracing::info!(
            partition = self.number,
            at,
            read = progress.counters.read,
            "reading the source"
        );
        let proof = match next {
            Some(_) => Proof::Consistent,
            None => {
                let (kind, all) = (shared.source_kind(), shared.source.partitions());
                shared.written_before.proof(&shared.pipeline, kind, all, self.number)?
            }
        };
        Ok(PartitionState { committed, low: 0, high: Offset::MAX, proof })
    }

    /// Nothing of the batch was written. A claim that was made has failed; one that was not is
    /// replaced by an empty term.
    pub(crate) fn abandon(&mut self, term: Term) {
        self.reader = None;
        if self.machine.in_flight() {
            self.machine.handle(Event::WriteFinished(Outcome::Refused));
        }
        if self.machine.term() == Some(term) {
            self.machine.handle(Event::OutOfRange);
        }
    }

    /// The reader failed: the next one begins at the position in the position store.
    pub(crate) fn rewind(&mut self) {
        self.reader = None;
        self.machine.handle(Event::OutOfRange);
    }

    fn halt(&mut self, error: &Error, shared: &Shared) {
        let what = format!("source[{}]", self.number);
        let reason = weir_service::start::chain(error);
        shared.health.halt(&what, &reason);
        self.reader = None;
        self.state = State::Halted(reason);
        self.publish_status(shared);
    }

    pub(crate) fn publish_status(&self, shared: &Shared) {
        let (state, reason) = match &self.state {
            State::Running if self.reader.is_some() => ("running", None),
            State::Running => ("starting", None),
            State::Done => ("done", None),
            State::Halted(reason) => ("halted", Some(reason.clone())),
        };
        let progress =
            self.machine.committed().map(|(_, _, progress)| *progress).next().unwrap_or_default();
        shared.status.set(
            self.number,
            status::PartitionStatus { state, position: self.position.clone(), progress, reason },
        );
    }

    /// To be called when the partition goes to another worker.
    pub(crate) fn release(self, shared: &Shared) {
        shared.status.remove(self.number);
        shared.health.resume(&format!("source[{}]", self.number));
    }
}
