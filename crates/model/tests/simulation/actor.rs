//! A service around the machine: the loop of `weir_model::protocol`, with requests to a network
//! that fails. Producer, enricher and sink differ in how they acquire a partition (here), and in
//! what a batch becomes (`plan.rs`).

use crate::broker::{DEAD_LETTERS, INPUT, OUTPUT, POSITIONS};
use crate::group::Rebalance;
use crate::mutant::Mutant;
use crate::network::{Reply, Request};
use crate::record::{MAX, Record};
use crate::world::World;
use std::collections::VecDeque;
use weir_model::protocol::{
    Claim, Command, CommittedPosition, Error, Event, Fencing, Offset, Outcome, Partition,
    PartitionState, Proof, StateMachine, Term,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Producer,
    Enricher,
    Sink,
}

/// What the answer that is awaited belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Task {
    Nothing,
    Reinitialize,
    /// A mutant's: an abort instead of a new epoch.
    Abort,
    Fence(Term, usize),
    Read(Term, usize),
}

/// Why the last term ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Rebalance,
    Failure,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) partition: usize,
    pub(crate) offset: Offset,
    pub(crate) record: Record,
    /// The machine refused it; a mutant writes it nevertheless.
    pub(crate) stale: bool,
}

#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) term: Term,
    pub(crate) items: Vec<Item>,
}

/// A transactional producer on the client's side.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TransactionalProducer {
    pub(crate) epoch: u32,
    pub(crate) sequences: [u32; POSITIONS + 1],
}

#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) id: usize,
    pub(crate) kind: Kind,
    pub(crate) slot: usize,
    /// Partitions of the input topic.
    pub(crate) width: usize,
    /// Down until this step.
    pub(crate) down: usize,
    /// Stopped (SIGSTOP) until this step.
    pub(crate) stopped: usize,
    pub(crate) worker: StateMachine,
    pub(crate) member: u32,
    pub(crate) generation: u32,
    owned: Vec<Partition>,
    /// Token of the answer that the loop waits for, and of the one that the pending transaction
    /// waits for; 0: none.
    awaiting: u64,
    writing: u64,
    task: Task,
    /// Per source partition (producer), or the first (enricher).
    pub(crate) producers: [TransactionalProducer; MAX],
    reader: [Option<Offset>; MAX],
    batch: Option<Batch>,
    plan: VecDeque<Request>,
    session: Option<u64>,
    /// The pending commit was sent twice.
    retried: bool,
    last_claims: Vec<Claim>,
    last_outcome: Outcome,
    ended: End,
    /// The last failure left the producer usable, were it not for the reinitialize rule.
    usable: bool,
    /// What the last claims started from, for a mutant that does not ask again.
    remembered: [Option<CommittedPosition>; MAX],
    /// Read before the fence, by a mutant.
    read_early: Option<(Term, CommittedPosition)>,
}

impl Actor {
    pub(crate) fn new(id: usize, kind: Kind, slot: usize, width: usize) -> Actor {
        let fencing =
            if kind == Kind::Enricher { Fencing::PerWorker } else { Fencing::PerPartition };
        Actor {
            id,
            kind,
            slot,
            width,
            down: 0,
            stopped: 0,
            worker: StateMachine::new(fencing),
            member: 0,
            generation: 0,
            owned: Vec::new(),
            awaiting: 0,
            writing: 0,
            task: Task::Nothing,
            producers: Default::default(),
            reader: [None; MAX],
            batch: None,
            plan: VecDeque::new(),
            session: None,
            retried: false,
            last_claims: Vec::new(),
            last_outcome: Outcome::Committed,
            ended: End::Rebalance,
            usable: false,
            remembered: Default::default(),
            read_early: None,
        }
    }

    /// kill -9: the memory is gone, requests on their way are not, the database learns of it later.
    pub(crate) fn crash(&mut self, world: &mut World) {
        world.note(|| format!("crash {}", self.id));
        world.evidence.crashes += 1;
        world
            .net
            .iter_mut()
            .filter(|message| message.from == self.id)
            .for_each(|message| message.token = 0);
        if let Some(session) = self.session {
            world.tell(self.id, 100, Request::Close { session });
        }
        let down = world.step + world.dice.below(150);
        *self = Actor { down, ..Actor::new(self.id, self.kind, self.slot, self.width) };
    }

    /// One step of the loop.
    pub(crate) fn step(&mut self, world: &mut World) {
        world.groups[self.kind as usize].heartbeat(self.member, world.step);
        if let (0, Some(request)) = (self.writing, self.plan.front()) {
            self.writing = world.call(self.id, request.clone());
            return;
        }
        // The sink writes in the background; the others wait for the outcome, deaf to rebalances.
        if self.worker.in_flight() && self.kind != Kind::Sink {
            return;
        }
        if self.awaiting != 0 {
            if world.dice.chance(300) {
                self.poll(world);
            }
            return;
        }
        if world.dice.chance(900) {
            self.poll(world);
        }
        match self.worker.next_command() {
            Some(Command::Reinitialize) => self.reinitialize(world),
            Some(Command::Acquire { term, partitions }) => {
                self.acquire(world, term, partitions[0] as usize)
            }
            Some(Command::Start { term, positions }) => self.start(world, term, &positions),
            Some(Command::Halt { partition, halt })
                if self.kind == Kind::Enricher && world.expired.is_some() =>
            {
                world.note(|| format!("{} halts partition {partition}: {halt}", self.id));
                world.halts.push((partition, halt));
            }
            Some(Command::Halt { partition, halt }) => {
                world.fail(format!(
                    "{:?} {} halts partition {partition}: {halt}",
                    self.kind, self.id
                ));
            }
            None if self.batch.is_none() => self.collect(world),
            None if !self.worker.in_flight() => self.launch(world),
            None => {}
        }
    }

    fn poll(&mut self, world: &mut World) {
        let group = &mut world.groups[self.kind as usize];
        if self.member == 0 {
            self.member = group.join(world.step, &mut world.dice);
            return;
        }
        let rebalance = group.poll(self.member, &mut world.dice);
        if rebalance == Rebalance::Nothing {
            return;
        }
        world.note(|| format!("poll {}: {rebalance:?}", self.id));
        world.evidence.rebalances += 1;
        world.evidence.written_during_a_rebalance += u64::from(self.worker.in_flight());
        self.ended = End::Rebalance;
        if let Rebalance::Assigned(generation, partitions) = rebalance {
            self.generation = generation;
            self.owned = partitions;
            self.worker.handle(Event::Assigned(self.owned.clone()));
            return;
        }
        if rebalance == Rebalance::Lost {
            self.member = 0;
            world.evidence.partitions_lost += self.owned.len() as u64;
        }
        self.reader = [None; MAX];
        self.worker.handle(Event::Revoked(std::mem::take(&mut self.owned)));
    }

    fn reinitialize(&mut self, world: &mut World) {
        let producer = MAX + self.slot;
        world.evidence.reinitializations += 1;
        if world.is(Mutant::ReinitializeRuleOff) && self.usable {
            self.task = Task::Abort;
            self.awaiting = world.call(
                self.id,
                Request::End { producer, epoch: self.producers[0].epoch, commit: false },
            );
        } else {
            self.task = Task::Reinitialize;
            self.awaiting = world.call(self.id, Request::Init { producer });
        }
    }

    fn acquire(&mut self, world: &mut World, term: Term, partition: usize) {
        let early = self.kind == Kind::Producer
            && world.is(Mutant::PositionReadBeforeTheFence)
            && !self.has_read_early(term, partition);
        if self.kind == Kind::Enricher || early {
            self.read(world, term, partition, None);
        } else {
            self.fence(world, term, partition);
        }
    }

    fn has_read_early(&self, term: Term, partition: usize) -> bool {
        self.read_early.as_ref().is_some_and(|(read, committed)| {
            *read == term && committed.partition as usize == partition
        })
    }

    fn fence(&mut self, world: &mut World, term: Term, partition: usize) {
        let request = if self.kind == Kind::Sink {
            Request::Fence { partition }
        } else {
            Request::Init { producer: partition }
        };
        self.task = Task::Fence(term, partition);
        self.awaiting = world.call(self.id, request);
    }

    fn read(&mut self, world: &mut World, term: Term, partition: usize, end: Option<usize>) {
        let request = if self.kind == Kind::Enricher {
            Request::Committed { partition }
        } else {
            Request::Position { source: partition, end }
        };
        self.task = Task::Read(term, partition);
        self.awaiting = world.call(self.id, request);
    }

    /// The answer to what was asked, if it is still needed. Whatever went wrong is asked for again
    /// by the machine.
    pub(crate) fn answer(&mut self, world: &mut World, token: u64, reply: Reply) {
        if token == self.writing {
            self.writing = 0;
            return self.continue_write(world, reply);
        }
        if token != self.awaiting {
            return;
        }
        self.awaiting = 0;
        match (std::mem::replace(&mut self.task, Task::Nothing), reply) {
            (Task::Reinitialize, Reply::Epoch(epoch)) => {
                self.producers[0] =
                    TransactionalProducer { epoch, ..TransactionalProducer::default() };
                self.worker.handle(Event::Reinitialized);
            }
            (Task::Abort, Reply::Done | Reply::Refused) => self.worker.handle(Event::Reinitialized),
            (Task::Fence(term, partition), Reply::Epoch(epoch)) => {
                self.producers[partition] =
                    TransactionalProducer { epoch, ..TransactionalProducer::default() };
                match self.read_early.take() {
                    Some((_, committed)) => self.found(world, term, committed),
                    None => self.read(world, term, partition, None),
                }
            }
            (Task::Fence(term, _), Reply::CommittedPosition(committed)) => {
                self.found(world, term, committed)
            }
            (Task::Fence(term, partition), Reply::Retry) => self.fence(world, term, partition),
            (Task::Read(term, _), Reply::CommittedPosition(committed))
                if self.kind == Kind::Producer && world.is(Mutant::PositionReadBeforeTheFence) =>
            {
                self.read_early = Some((term, committed));
            }
            (Task::Read(term, _), Reply::CommittedPosition(committed)) => {
                self.found(world, term, committed)
            }
            (Task::Read(term, partition), Reply::RetryUpTo(end)) => {
                self.read(world, term, partition, Some(end))
            }
            _ => {}
        }
    }

    fn found(&mut self, world: &mut World, term: Term, mut committed: CommittedPosition) {
        let partition = committed.partition as usize;
        let command = self.worker.next_command();
        if !matches!(command, Some(Command::Acquire { term: current, .. }) if current == term) {
            world.evidence.late_answers += 1;
        }
        if self.last_outcome == Outcome::Unknown {
            let claimed =
                self.last_claims.iter().find(|claim| claim.partition == committed.partition);
            world.evidence.unknown_but_committed +=
                u64::from(claimed.is_some_and(|claim| committed.next == Some(claim.next)));
            if world.is(Mutant::UnknownTakenAsRefused)
                && let Some(old) = &self.remembered[partition]
            {
                (committed.next, committed.progress) = (old.next, old.progress);
            }
        }
        let high = if self.kind == Kind::Producer {
            world.size.records
        } else {
            world.broker.end_of(self.input() + partition)
        };
        let at_the_end = world.is(Mutant::FirstStartAtTheEnd)
            && self.kind != Kind::Producer
            && committed.next.is_none();
        let low = if at_the_end { high } else { self.low(world, partition) };
        let lost = self.kind == Kind::Enricher
            && committed.next.is_none()
            && [OUTPUT, DEAD_LETTERS]
                .into_iter()
                .any(|log| world.broker.read(log + partition, 0).is_some());
        let proof = if lost { Proof::Lost } else { Proof::Consistent };
        self.worker.handle(Event::Acquired {
            term,
            found: vec![PartitionState { committed, low, high, proof }],
        });
    }

    fn low(&self, world: &World, partition: usize) -> Offset {
        if self.kind == Kind::Enricher { world.low(partition) } else { 0 }
    }

    fn input(&self) -> usize {
        if self.kind == Kind::Enricher { INPUT } else { OUTPUT }
    }

    fn start(&mut self, world: &mut World, term: Term, positions: &[(Partition, Offset)]) {
        world.note(|| format!("start {} at {positions:?}", self.id));
        let before = std::mem::replace(&mut self.reader, [None; MAX]);
        for (at, &(partition, offset)) in positions.iter().enumerate() {
            let partition = partition as usize;
            let last = at + 1 == positions.len();
            let stays = world.is(Mutant::NoRewindAfterAFailure)
                || (world.is(Mutant::LastPartitionOnlyRewound) && !last);
            // Brokers answer with whole record batches, which may begin before the offset asked
            // for.
            let early = if world.dice.chance(100) { world.dice.below(4) as Offset } else { 0 };
            self.reader[partition] = Some(match (before[partition], world.hints[partition]) {
                (Some(reader), _) if stays && self.ended == End::Failure => reader,
                (_, Some(hint)) if world.is(Mutant::HintTrusted) && self.kind == Kind::Sink => hint,
                _ if world.is(Mutant::LossJumpedOver) => offset.max(self.low(world, partition)),
                _ => (offset - early).max(self.low(world, partition)).min(offset),
            });
        }
        self.worker.handle(Event::Started { term });
    }

    /// Takes a few records, if none are waiting to be written.
    fn collect(&mut self, world: &mut World) {
        let (None, Some(term)) = (&self.batch, self.worker.term()) else { return };
        if (0..MAX).any(|partition| {
            self.reader[partition].is_some_and(|reader| reader < self.low(world, partition))
        }) {
            return self.worker.handle(Event::OutOfRange);
        }
        let mut room = world.dice.within(1, 4);
        let first = world.dice.below(MAX);
        let mut items = Vec::new();
        for partition in (0..MAX).map(|at| (first + at) % MAX) {
            while room > 0
                && let Some(from) = self.reader[partition]
                && let Some((offset, record)) = self.next_record(world, partition, from)
            {
                self.reader[partition] = Some(offset + 1);
                let stale = !self.worker.accept_record(partition as Partition, offset);
                world.evidence.stale_records += u64::from(stale);
                if !stale || world.is(Mutant::StaleRecordsAdmitted) {
                    items.push(Item { partition, offset, record, stale });
                    room -= 1;
                }
            }
            // A transaction of the producer belongs to one source partition.
            if self.kind == Kind::Producer && !items.is_empty() {
                break;
            }
        }
        if self.kind == Kind::Sink && world.is(Mutant::HintTrusted) {
            (0..MAX)
                .filter(|&p| self.reader[p].is_some())
                .for_each(|p| world.hints[p] = self.reader[p]);
        }
        if world.is(Mutant::RecordForgotten) && items.len() > 1 && world.dice.chance(10) {
            items.pop();
        }
        if !items.is_empty() {
            world.note(|| {
                format!(
                    "collect {}: {:?}",
                    self.id,
                    items.iter().map(|i| (i.partition, i.offset)).collect::<Vec<_>>()
                )
            });
            self.batch = Some(Batch { term, items });
        }
    }

    fn next_record(
        &self,
        world: &mut World,
        partition: usize,
        from: Offset,
    ) -> Option<(Offset, Record)> {
        match self.kind {
            Kind::Producer => (from < world.size.records)
                .then_some((from, Record { source: partition, sequence: from, lineage: None })),
            _ => world.broker.read(self.input() + partition, from),
        }
    }

    /// Claims the batch that waits, and lays out the transaction.
    fn launch(&mut self, world: &mut World) {
        let Some(batch) = self.batch.take() else { return };
        let made = self.make(&batch);
        let claims = match self.worker.claim(batch.term, &made.deltas) {
            Ok(claims) => claims,
            Err(Error::Stale) => return self.drop_batch(world, batch),
            Err(error) => return world.fail(format!("{:?} {}: {error}", self.kind, self.id)),
        };
        for claim in &claims {
            let next = claim.expected;
            let progress = self
                .worker
                .committed()
                .find(|found| found.0 == claim.partition)
                .map(|found| *found.2)
                .unwrap_or_default();
            self.remembered[claim.partition as usize] = Some(CommittedPosition {
                partition: claim.partition,
                fence: claim.fence,
                next,
                progress,
                intact: true,
            });
        }
        self.last_claims = claims;
        let mut claims = self.last_claims.clone();
        if world.is(Mutant::PositionWithoutPlusOne) {
            claims.iter_mut().for_each(|claim| claim.next -= 1);
        }
        if self.kind == Kind::Sink {
            self.session = Some(world.session());
        }
        self.retried = false;
        self.plan = self.lay_out(world.mutant, self.session, made, claims);
    }

    fn drop_batch(&mut self, world: &mut World, mut batch: Batch) {
        world.evidence.stale_batches += 1;
        let keeps = match self.ended {
            End::Rebalance => world.is(Mutant::BatchKeptAfterARebalance),
            End::Failure => world.is(Mutant::BatchKeptAfterAFailure),
        };
        match self.worker.term() {
            Some(term) if keeps => {
                batch.items.iter_mut().for_each(|item| {
                    item.stale =
                        !self.worker.accept_record(item.partition as Partition, item.offset)
                });
                batch.term = term;
                self.batch = Some(batch);
            }
            None if keeps => self.batch = Some(batch),
            _ => {}
        }
    }

    /// The answer to the transaction's current request.
    fn continue_write(&mut self, world: &mut World, reply: Reply) {
        let Some(request) = self.plan.front() else { return };
        match (request, reply) {
            (_, Reply::Retry) => {}
            (_, Reply::Done) => {
                if let Some(Request::Copy { dead_letters, .. }) = self.plan.pop_front()
                    && !world.is(Mutant::RefusedRowsNotInTheCounts)
                {
                    let mut claims = self.worker.pending_claims().to_vec();
                    for (partition, ..) in dead_letters {
                        let refused = claims
                            .iter_mut()
                            .find(|claim| claim.partition == partition as Partition);
                        refused.into_iter().for_each(|claim| claim.mark_dead(1));
                    }
                    self.worker.replace_claims(claims).expect("the claims that were made");
                }
                if self.plan.is_empty() {
                    let doubtful = self.retried && !world.is(Mutant::HiddenRetryTrusted);
                    self.land(world, if doubtful { Outcome::Unknown } else { Outcome::Committed });
                }
            }
            (Request::End { .. }, Reply::TimedOut) if !self.retried && world.dice.chance(500) => {
                world.evidence.hidden_retries += 1;
                self.retried = true;
            }
            (Request::End { .. } | Request::Commit { .. }, _) => {
                self.usable = true;
                self.land(world, Outcome::Unknown);
            }
            (
                Request::Send { producer, epoch, .. }
                | Request::Offsets { producer: Some((producer, epoch)), .. },
                reply,
            ) => {
                self.usable = matches!(request, Request::Offsets { .. });
                world.evidence.refused_writes += u64::from(reply == Reply::Refused);
                if world.dice.chance(500) {
                    world.tell(
                        self.id,
                        60,
                        Request::End { producer: *producer, epoch: *epoch, commit: false },
                    );
                }
                self.land(world, Outcome::Refused);
            }
            (_, reply) => {
                world.evidence.refused_writes += u64::from(reply == Reply::Refused);
                self.land(world, Outcome::Refused);
            }
        }
    }

    fn land(&mut self, world: &mut World, mut outcome: Outcome) {
        world.note(|| format!("written {}: {outcome:?}", self.id));
        match outcome {
            Outcome::Committed => world.evidence.committed_writes += 1,
            Outcome::Refused => world.evidence.failed_writes += 1,
            Outcome::Unknown => world.evidence.unknown_outcomes += 1,
        }
        if let Some(session) = self.session.take().filter(|_| outcome != Outcome::Committed) {
            world.tell(self.id, 100, Request::Close { session });
        }
        if outcome == Outcome::Unknown && world.is(Mutant::UnknownTakenAsCommitted) {
            outcome = Outcome::Committed;
        }
        if outcome != Outcome::Committed {
            self.ended = End::Failure;
        }
        self.last_outcome = outcome;
        self.plan.clear();
        self.worker.handle(Event::WriteFinished(outcome));
    }
}
