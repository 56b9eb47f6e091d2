//! Logs, the transaction coordinator and the enricher group's offsets, under the transaction
//! protocol that librdkafka speaks: an EndTxn names its producer and epoch, but not the
//! transaction, so a late one ends whichever is open (Jepsen, Bufstream 0.1.0).

use crate::dice::Dice;
use crate::group::Group;
use crate::network::{Reply, Request};
use crate::record::{MAX, Record, Value};
use weir_model::progress::Progress;
use weir_model::protocol::{Claim, CommittedPosition, Offset};

/// Numbers of the logs: three topics of up to `MAX` partitions, then the positions topic, one
/// partition shared by all.
pub(crate) const INPUT: usize = 0;
pub(crate) const OUTPUT: usize = MAX;
pub(crate) const DEAD_LETTERS: usize = 2 * MAX;
pub(crate) const POSITIONS: usize = 3 * MAX;
const LOGS: usize = POSITIONS + 1;
/// The group's offsets as a participant of a transaction.
const OFFSETS: usize = LOGS;

#[derive(Debug)]
struct Entry {
    transaction: usize,
    /// `None`: a control record.
    value: Option<Value>,
}

#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    /// Everything before is decided (the last stable offset, advanced when asked for).
    stable: usize,
}

/// A transaction as the coordinator sees it. Number 0 stands for "none": plain records and control
/// records.
#[derive(Debug)]
struct Transaction {
    /// Bit set of the participants that do not know the decision.
    open: u32,
    committed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Ongoing,
    Preparing { commit: bool },
    Complete { commit: bool },
}

#[derive(Debug)]
struct Producer {
    epoch: u32,
    state: State,
    transaction: usize,
    opened: usize,
    /// Per log: the epoch, and the sequence number expected next.
    sequences: [(u32, u32); LOGS],
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    transaction: usize,
    partition: usize,
    next: Offset,
    progress: Progress,
}

#[derive(Debug)]
pub(crate) struct Broker {
    logs: [Log; LOGS],
    transactions: Vec<Transaction>,
    producers: Vec<Producer>,
    pub(crate) committed: [Option<(Offset, Progress)>; MAX],
    pending: Vec<Pending>,
    /// Markers that are on their way, to be put into the network by the caller.
    pub(crate) markers: Vec<Request>,
    /// A mutant's: reads do not wait for open transactions.
    pub(crate) unstable_reads: bool,
    /// A mutant's: any generation is accepted.
    pub(crate) any_generation: bool,
}

impl Broker {
    pub(crate) fn new(producers: usize) -> Broker {
        let producer = || Producer {
            epoch: 0,
            state: State::Empty,
            transaction: 0,
            opened: 0,
            sequences: [(0, 0); LOGS],
        };
        Broker {
            logs: Default::default(),
            transactions: vec![Transaction { open: 0, committed: true }],
            producers: (0..producers).map(|_| producer()).collect(),
            committed: [None; MAX],
            pending: Vec::new(),
            markers: Vec::new(),
            unstable_reads: false,
            any_generation: false,
        }
    }

    pub(crate) fn serve(
        &mut self,
        request: &mut Request,
        enrichers: &Group,
        step: usize,
        dice: &mut Dice,
    ) -> Reply {
        match request {
            Request::Init { producer } => self.init(*producer, dice),
            Request::Send { producer, epoch, log, sequence, values } => {
                self.send(*producer, *epoch, *log, *sequence, values, step)
            }
            Request::Plain { log, values } => {
                self.append(*log, 0, values);
                Reply::Done
            }
            Request::Offsets { producer, member, generation, claims } => {
                if !self.any_generation && !enrichers.accepts(*member, *generation) {
                    return Reply::Refused;
                }
                match producer {
                    Some((producer, epoch)) => self.pend(*producer, *epoch, claims, step),
                    None => self.commit_plainly(claims),
                }
            }
            Request::End { producer, epoch, commit } => self.end(*producer, *epoch, *commit, dice),
            Request::Marker { producer, target } => {
                self.mark(*producer, *target);
                Reply::Done
            }
            Request::Committed { partition } => self.read_offset(*partition),
            Request::Position { source, end } => self.read_position(*source, *end),
            other => panic!("not for the broker: {other:?}"),
        }
    }

    fn init(&mut self, producer: usize, dice: &mut Dice) -> Reply {
        match self.producers[producer].state {
            State::Ongoing => {
                self.abort(producer, dice);
                Reply::Retry
            }
            State::Preparing { .. } => Reply::Retry,
            State::Empty | State::Complete { .. } => {
                let producer = &mut self.producers[producer];
                producer.epoch += 1;
                producer.state = State::Empty;
                Reply::Epoch(producer.epoch)
            }
        }
    }

    /// The coordinator aborts on its own account and fences the producer.
    fn abort(&mut self, producer: usize, dice: &mut Dice) {
        self.producers[producer].epoch += 1;
        self.decide(producer, false, dice);
    }

    fn send(
        &mut self,
        producer: usize,
        epoch: u32,
        log: usize,
        sequence: u32,
        values: &[Value],
        step: usize,
    ) -> Reply {
        if let Err(reply) = self.writable(producer, epoch) {
            return reply;
        }
        let expected = &mut self.producers[producer].sequences[log];
        if expected.0 != epoch {
            *expected = (epoch, 0);
        }
        match sequence.cmp(&expected.1) {
            std::cmp::Ordering::Less => return Reply::Done,
            std::cmp::Ordering::Greater => return Reply::Refused,
            std::cmp::Ordering::Equal => expected.1 += 1,
        }
        let transaction = self.participate(producer, log, step);
        self.append(log, transaction, values);
        Reply::Done
    }

    fn append(&mut self, log: usize, transaction: usize, values: &[Value]) {
        self.logs[log]
            .entries
            .extend(values.iter().map(|&value| Entry { transaction, value: Some(value) }));
    }

    fn pend(&mut self, producer: usize, epoch: u32, claims: &[Claim], step: usize) -> Reply {
        if let Err(reply) = self.writable(producer, epoch) {
            return reply;
        }
        let transaction = self.participate(producer, OFFSETS, step);
        for claim in claims {
            let partition = claim.partition as usize;
            self.pending.retain(|pending| {
                (pending.transaction, pending.partition) != (transaction, partition)
            });
            self.pending.push(Pending {
                transaction,
                partition,
                next: claim.next,
                progress: claim.progress,
            });
        }
        Reply::Done
    }

    fn commit_plainly(&mut self, claims: &[Claim]) -> Reply {
        for claim in claims {
            self.committed[claim.partition as usize] = Some((claim.next, claim.progress));
        }
        Reply::Done
    }

    fn writable(&self, producer: usize, epoch: u32) -> Result<(), Reply> {
        let producer = &self.producers[producer];
        match producer.state {
            _ if producer.epoch != epoch => Err(Reply::Refused),
            State::Preparing { .. } => Err(Reply::Retry),
            _ => Ok(()),
        }
    }

    fn participate(&mut self, producer: usize, target: usize, step: usize) -> usize {
        let producer = &mut self.producers[producer];
        if producer.state != State::Ongoing {
            producer.state = State::Ongoing;
            producer.opened = step;
            producer.transaction = self.transactions.len();
            self.transactions.push(Transaction { open: 0, committed: false });
        }
        self.transactions[producer.transaction].open |= 1 << target;
        producer.transaction
    }

    fn end(&mut self, producer: usize, epoch: u32, commit: bool, dice: &mut Dice) -> Reply {
        match self.producers[producer].state {
            _ if self.producers[producer].epoch != epoch => Reply::Refused,
            State::Ongoing => {
                self.decide(producer, commit, dice);
                Reply::Done
            }
            State::Preparing { commit: decided } | State::Complete { commit: decided }
                if decided == commit =>
            {
                Reply::Done
            }
            _ => Reply::Refused,
        }
    }

    /// The decision is final; the participants learn of it now or later.
    fn decide(&mut self, producer: usize, commit: bool, dice: &mut Dice) {
        self.producers[producer].state = State::Preparing { commit };
        let transaction = &mut self.transactions[self.producers[producer].transaction];
        transaction.committed = commit;
        let open = transaction.open;
        for target in (0..=OFFSETS).filter(|target| open & (1 << target) != 0) {
            if dice.chance(300) {
                self.markers.push(Request::Marker { producer, target });
            } else {
                self.mark(producer, target);
            }
        }
    }

    fn mark(&mut self, producer: usize, target: usize) {
        let State::Preparing { commit } = self.producers[producer].state else {
            panic!("a marker without a decision")
        };
        let number = self.producers[producer].transaction;
        let transaction = &mut self.transactions[number];
        transaction.open &= !(1 << target);
        if transaction.open == 0 {
            self.producers[producer].state = State::Complete { commit };
        }
        if target != OFFSETS {
            self.logs[target].entries.push(Entry { transaction: 0, value: None });
            return;
        }
        for pending in self.pending.extract_if(.., |pending| pending.transaction == number) {
            if commit {
                self.committed[pending.partition] = Some((pending.next, pending.progress));
            }
        }
    }

    fn read_offset(&self, partition: usize) -> Reply {
        if !self.unstable_reads && self.pending.iter().any(|pending| pending.partition == partition)
        {
            return Reply::Retry;
        }
        Reply::CommittedPosition(committed(partition, self.committed[partition]))
    }

    fn read_position(&mut self, source: usize, end: Option<usize>) -> Reply {
        let end = end.unwrap_or(self.logs[POSITIONS].entries.len());
        if !self.unstable_reads && self.stable(POSITIONS) < end {
            return Reply::RetryUpTo(end);
        }
        Reply::CommittedPosition(committed(source, self.position(source)))
    }

    /// The producer's position that a reader of committed records finds last.
    pub(crate) fn position(&mut self, source: usize) -> Option<(Offset, Progress)> {
        let stable = self.stable(POSITIONS);
        self.logs[POSITIONS].entries[..stable].iter().rev().find_map(|entry| match entry.value {
            Some(Value::Position { source: of, next, progress })
                if of == source && self.transactions[entry.transaction].committed =>
            {
                Some((next, progress))
            }
            _ => None,
        })
    }

    fn stable(&mut self, log: usize) -> usize {
        let Log { entries, stable } = &mut self.logs[log];
        while *stable < entries.len()
            && self.transactions[entries[*stable].transaction].open & (1 << log) == 0
        {
            *stable += 1;
        }
        *stable
    }

    /// The high watermark.
    pub(crate) fn end_of(&self, log: usize) -> Offset {
        self.logs[log].entries.len() as Offset
    }

    /// The first committed record at or after `from`, read_committed.
    pub(crate) fn read(&mut self, log: usize, from: Offset) -> Option<(Offset, Record)> {
        let stable = self.stable(log);
        let from = from as usize;
        let entries = self.logs[log].entries.get(from..stable)?;
        entries.iter().enumerate().find_map(|(at, entry)| match entry.value {
            Some(Value::Data(record)) if self.transactions[entry.transaction].committed => {
                Some(((from + at) as Offset, record))
            }
            _ => None,
        })
    }

    /// Nothing undecided in this log, and nothing to read from `next` on.
    pub(crate) fn exhausted(&mut self, log: usize, next: Offset) -> bool {
        self.stable(log) == self.logs[log].entries.len() && self.read(log, next).is_none()
    }

    /// Aborts transactions that were opened before `deadline`; says how many.
    pub(crate) fn expire(&mut self, deadline: usize, dice: &mut Dice) -> usize {
        let expired =
            |producer: &Producer| producer.state == State::Ongoing && producer.opened < deadline;
        let late: Vec<usize> =
            (0..self.producers.len()).filter(|&at| expired(&self.producers[at])).collect();
        late.iter().for_each(|&at| self.abort(at, dice));
        late.len()
    }
}

fn committed(partition: usize, found: Option<(Offset, Progress)>) -> CommittedPosition {
    let (next, progress) =
        found.map_or((None, Progress::default()), |(next, progress)| (Some(next), progress));
    CommittedPosition { partition: partition as i32, fence: 0, next, progress, intact: true }
}
