//! One schedule's world: log, groups, database and the network between them and the actors; and the
//! faults that happen to them.

use crate::broker::{Broker, INPUT};
use crate::database::Database;
use crate::dice::Dice;
use crate::group::Group;
use crate::mutant::Mutant;
use crate::network::{Actor, Message, Reply, Request};
use crate::record::MAX;
use weir_model::protocol::{Halt, Offset, Partition};

/// What a schedule is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Source partitions, and records in each.
    pub(crate) sources: usize,
    pub(crate) records: i64,
    /// Partitions of input, output and dead letters.
    pub(crate) partitions: usize,
    /// Replicas of producer, enricher and sink.
    pub(crate) replicas: [usize; 3],
    /// Steps after which faults stop.
    pub(crate) turmoil: usize,
    /// Steps after which the coordinator removes a silent member.
    pub(crate) session_timeout: usize,
    /// Steps after which the coordinator aborts a transaction.
    pub(crate) transaction_timeout: usize,
    /// Requests of a thousand that are lost, or whose answer is.
    pub(crate) unreliable: usize,
    /// The actor that is slower than the others, if there are so many.
    pub(crate) laggard: usize,
    /// Requests of a thousand that take long.
    pub(crate) slow: usize,
    /// Faults in a thousand steps.
    pub(crate) chaos: usize,
}

impl Size {
    /// The same without faults and without company.
    pub(crate) fn calm(self) -> Size {
        let never = usize::MAX;
        Size {
            replicas: [1; 3],
            session_timeout: never,
            transaction_timeout: never,
            unreliable: 0,
            slow: 0,
            chaos: 0,
            laggard: never,
            ..self
        }
    }

    fn draw(dice: &mut Dice) -> Size {
        let sources = dice.within(1, MAX);
        Size {
            sources,
            records: dice.within(3, 12) as i64,
            partitions: dice.within(1, MAX),
            replicas: [dice.within(1, 2), dice.within(1, 3), dice.within(1, 3)],
            turmoil: dice.within(200, 900),
            session_timeout: dice.within(60, 150),
            transaction_timeout: dice.within(150, 300),
            unreliable: dice.within(0, 100),
            laggard: dice.below(16),
            slow: dice.within(0, 200),
            chaos: dice.within(0, 25),
        }
    }
}

macro_rules! evidence {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// How often each thing was seen to happen: a fault that nobody noticed proves nothing.
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct Evidence { $($(#[$doc])* pub(crate) $name: u64),* }

        impl Evidence {
            pub(crate) fn add(&mut self, other: &Evidence) { $(self.$name += other.$name;)* }
            pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

evidence! {
    steps, crashes, pauses, evictions, cuts, database_restarts, sessions_terminated,
    lost_requests, lost_answers, late_requests, late_requests_served, late_ends_fenced,
    expired_transactions, rebalances, partitions_lost, reinitializations, unstable_reads,
    lock_waits, refused_writes, failed_writes, unknown_outcomes, unknown_but_committed,
    hidden_retries, committed_writes, stale_batches, stale_records, late_answers,
    written_during_a_rebalance, halts,
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) size: Size,
    pub(crate) step: usize,
    /// Faults still happen.
    pub(crate) turmoil: bool,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) broker: Broker,
    pub(crate) database: Database,
    /// Of producers (over source partitions), enrichers and sinks.
    pub(crate) groups: [Group; 3],
    pub(crate) net: Vec<Message>,
    /// Offsets that sinks commit to Kafka as a hint.
    pub(crate) hints: [Option<Offset>; MAX],
    pub(crate) evidence: Evidence,
    pub(crate) failure: Option<String>,
    /// Whether retention is too short.
    pub(crate) retention: bool,
    /// Retention removed the records of this input partition below this offset.
    pub(crate) expired: Option<(usize, Offset)>,
    /// What enrichers said about it.
    pub(crate) halts: Vec<(Partition, Halt)>,
    tokens: u64,
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(seed: u64, mutant: Option<Mutant>, traced: bool) -> World {
        let mut dice = Dice::new(seed);
        let size = Size::draw(&mut dice);
        let mut broker = Broker::new(MAX + size.replicas[1]);
        broker.unstable_reads = mutant == Some(Mutant::UnstablePositionRead);
        broker.any_generation = mutant == Some(Mutant::GenerationUnchecked);
        let mut database = Database::default();
        if mutant == Some(Mutant::CompareAndSetSkipped) {
            (database.guards.no_fence, database.guards.no_compare) = (true, true);
        }
        World {
            dice,
            size,
            step: 0,
            turmoil: true,
            mutant,
            broker,
            database,
            groups: [
                Group::new(size.sources),
                Group::new(size.partitions),
                Group::new(size.partitions),
            ],
            net: Vec::new(),
            hints: [None; MAX],
            evidence: Evidence::default(),
            failure: None,
            retention: false,
            expired: None,
            halts: Vec::new(),
            tokens: 0,
            trace: traced.then(Vec::new),
        }
    }

    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// A line of the trace, made only when somebody reads it.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>5} {}", self.step, line()));
        }
    }

    pub(crate) fn fail(&mut self, why: String) {
        self.note(|| why.clone());
        self.failure.get_or_insert(why);
    }

    pub(crate) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Puts a request on its way, which may take its time; the token names its answer.
    pub(crate) fn call(&mut self, from: Actor, request: Request) -> u64 {
        self.tokens += 1;
        let slow = self.turmoil && self.dice.chance(self.size.slow);
        let hold = if slow { self.step + self.dice.below(80) } else { 0 };
        self.net.push(Message { from, token: self.tokens, hold, request });
        self.tokens
    }

    /// The same without waiting for an answer, some time within so many steps.
    pub(crate) fn tell(&mut self, from: Actor, within: usize, request: Request) {
        let hold = self.step + self.dice.below(within + 1);
        self.net.push(Message { from, token: 0, hold, request });
    }

    /// A fresh session number.
    pub(crate) fn session(&mut self) -> u64 {
        self.tokens += 1;
        self.tokens
    }

    /// Delivers one message, or finds that it cannot be delivered yet. What comes back is an answer
    /// and who waits for it.
    pub(crate) fn deliver(&mut self) -> Option<(Actor, u64, Reply)> {
        let at = self.dice.below(self.net.len());
        let message = &self.net[at];
        if message.hold > self.step || self.overtakes(at) {
            return None;
        }
        if let Request::Answer(_) = message.request {
            return self.hand_over(at);
        }
        let unreliable = if self.turmoil && message.token != 0 { self.size.unreliable } else { 0 };
        let mut message = self.net.swap_remove(at);
        let (from, token) = (message.from, message.token);
        let luck = self.dice.below(1000);
        if luck < unreliable / 4 {
            self.evidence.lost_requests += 1;
            self.note(|| format!("lost: {} {:?}", from, message.request));
            return Some((from, token, Reply::TimedOut));
        }
        if luck < unreliable / 2 {
            self.delay(message);
            return Some((from, token, Reply::TimedOut));
        }
        let Some(reply) = self.serve(&mut message) else {
            self.evidence.lock_waits += 1;
            self.net.push(message);
            return None;
        };
        if token == 0 && !matches!(message.request, Request::Marker { .. } | Request::Close { .. })
        {
            self.evidence.late_requests_served += 1;
            let ends = matches!(message.request, Request::End { .. });
            self.evidence.late_ends_fenced += u64::from(ends && reply == Reply::Refused);
        }
        if luck < unreliable {
            self.evidence.lost_answers += 1;
            self.note(|| format!("answer lost: {from}"));
            return Some((from, token, Reply::TimedOut));
        }
        if token != 0 && self.turmoil && self.dice.chance(self.size.slow) {
            let hold = self.step + self.dice.below(80);
            self.net.push(Message { from, token, hold, request: Request::Answer(reply) });
            return None;
        }
        (token != 0).then_some((from, token, reply))
    }

    /// An answer arrives; its sender may have died meanwhile.
    fn hand_over(&mut self, at: usize) -> Option<(Actor, u64, Reply)> {
        let Message { from, token, request, .. } = self.net.swap_remove(at);
        match request {
            Request::Answer(reply) if token != 0 => Some((from, token, reply)),
            _ => None,
        }
    }

    /// The sender gives up, the request is still on its way.
    fn delay(&mut self, mut message: Message) {
        self.evidence.late_requests += 1;
        self.note(|| format!("late: {} {:?}", message.from, message.request));
        message.token = 0;
        message.hold = self.step + self.dice.below(120);
        self.net.push(message);
    }

    /// Within one database session the order holds.
    fn overtakes(&self, at: usize) -> bool {
        let Request::Close { session } = self.net[at].request else { return false };
        self.net
            .iter()
            .enumerate()
            .any(|(other, message)| other != at && message.request.session() == Some(session))
    }

    fn serve(&mut self, message: &mut Message) -> Option<Reply> {
        let shown = self.trace.is_some().then(|| format!("{:?}", message.request));
        let reply = if message.request.is_for_the_database() {
            self.database.serve(&mut message.request)
        } else {
            Some(self.broker.serve(
                &mut message.request,
                &self.groups[1],
                self.step,
                &mut self.dice,
            ))
        };
        self.post_markers();
        if let (Some(shown), Some(reply)) = (shown, &reply) {
            let late = if message.token == 0 { " (nobody waits)" } else { "" };
            let from = message.from;
            self.note(|| format!("serve {from}{late}: {shown} → {reply:?}"));
        }
        if reply == Some(Reply::Retry) {
            self.evidence.unstable_reads += u64::from(matches!(
                message.request,
                Request::Committed { .. } | Request::Position { .. }
            ));
        }
        reply
    }

    fn post_markers(&mut self) {
        while let Some(marker) = self.broker.markers.pop() {
            self.tell(usize::MAX, 40, marker);
        }
    }

    /// What coordinators do by themselves.
    pub(crate) fn housekeeping(&mut self) {
        for group in &mut self.groups {
            group.expire(self.step.saturating_sub(self.size.session_timeout), &mut self.dice);
        }
        let deadline = self.step.saturating_sub(self.size.transaction_timeout);
        self.evidence.expired_transactions += self.broker.expire(deadline, &mut self.dice) as u64;
        self.post_markers();
    }

    /// A coordinator aborts whatever is open.
    pub(crate) fn expire_transactions(&mut self) {
        self.note(|| "open transactions time out".into());
        self.evidence.expired_transactions += self.broker.expire(usize::MAX, &mut self.dice) as u64;
        self.post_markers();
    }

    /// The database crashes and is back at once: open transactions are gone, a COMMIT on its way
    /// may have arrived before.
    pub(crate) fn restart_database(&mut self) -> Vec<(Actor, u64, Reply)> {
        self.note(|| "the database restarts".into());
        self.evidence.database_restarts += 1;
        let answers = self.cut(true);
        self.database.restart();
        answers
    }

    /// Connections break: each request on its way is lost, or arrives although nobody receives the
    /// answer.
    pub(crate) fn cut(&mut self, to_the_database: bool) -> Vec<(Actor, u64, Reply)> {
        let mut answers = Vec::new();
        let cut = |message: &mut Message| {
            let answer = matches!(message.request, Request::Answer(_));
            message.token != 0
                && !answer
                && message.request.is_for_the_database() == to_the_database
        };
        for mut message in self.net.extract_if(.., cut).collect::<Vec<_>>() {
            answers.push((message.from, message.token, Reply::TimedOut));
            message.token = 0;
            if self.dice.chance(300) {
                self.serve(&mut message);
            } else if !to_the_database && self.dice.chance(500) {
                self.delay(message);
            }
        }
        answers
    }

    /// The first offset that an input partition still has.
    pub(crate) fn low(&self, partition: usize) -> Offset {
        self.expired.map_or(0, |(expired, low)| if expired == partition { low } else { 0 })
    }

    /// The partition that lost records before the enricher committed them, and where it stands.
    pub(crate) fn bereft(&self) -> Option<(usize, Offset)> {
        let (partition, low) = self.expired?;
        let (next, _) = self.broker.committed[partition]?;
        (next < low).then_some((partition, next))
    }

    /// Retention strikes once in an input partition whose reading has begun.
    pub(crate) fn expire_records(&mut self) {
        let partition = self.dice.below(self.size.partitions);
        if self.expired.is_none() && self.broker.committed[partition].is_some() {
            let low = self.dice.below(self.broker.end_of(INPUT + partition) as usize + 1) as Offset;
            self.note(|| format!("input {partition} loses what is below {low}"));
            self.expired = Some((partition, low));
        }
    }

    pub(crate) fn terminate_session(&mut self) {
        let sessions = self.database.sessions();
        if sessions > 0 {
            self.note(|| "the database terminates a session".into());
            self.evidence.sessions_terminated += 1;
            let at = self.dice.below(sessions);
            self.database.terminate(at);
        }
    }
}
