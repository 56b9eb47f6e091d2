//! A transactional producer: what is sent becomes visible together with the positions it came from,
//! or not at all.
//!
//! librdkafka cannot tell a transaction from a late request of the one before it (it has no
//! KIP-890). Hence the rule: after anything that was not a definite success the producer is dropped
//! and rebuilt with the same transactional id; `init_transactions` then fences everything that may
//! still be under way, and only then is the position store up to date.

use crate::consumer::{self, Consumer};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::settings;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header as NativeHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::util::Timeout;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_model::pipeline::Kafka;
use weir_model::protocol::{Claim, Outcome};

mod verdict;
use verdict::{CallTiming, Step, Verdict};

/// Length fields of a header, at most.
const HEADER_BYTES: usize = 10;
/// How long `reinitialize` waits for the coordinator before it returns, so that the worker can poll
/// its consumer and ask again.
const INIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the broker may take to add offsets to a transaction; to give up is safe, for
/// reinitializing undoes it.
const OFFSETS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an abort may take; reinitializing does the same, with more effort.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Events of the client are served once in so many records.
const SERVE_EVERY: u32 = 1000;

/// Bytes that a producer takes in one record (see [`Outgoing::bytes`]): `message.max.bytes`, a
/// million unless `[kafka] properties` sets it. The topic's own `max.message.bytes` may be smaller.
pub fn record_limit(kafka: &Kafka) -> usize {
    kafka
        .properties
        .get("message.max.bytes")
        .and_then(|text| text.expose().parse().ok())
        .unwrap_or(1_000_000)
}

/// A header to write; without a value it is null.
pub type Header<'a> = (&'a str, Option<&'a [u8]>);

/// A record to write.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition; `None` leaves it to the key's hash, or to chance without a key.
    pub partition: Option<i32>,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970; `None` is now.
    pub timestamp_ms: Option<i64>,
    /// Headers in order.
    pub headers: &'a [Header<'a>],
}

impl Outgoing<'_> {
    /// Bytes of key, value and headers, with what Kafka adds to each header.
    pub fn bytes(&self) -> usize {
        let length = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + length(*value) + HEADER_BYTES)
            .sum();
        length(self.key) + length(self.value) + headers
    }
}

/// A transactional producer; used only on its worker's thread.
pub struct TransactionalProducer {
    kafka: Kafka,
    /// The topics whose limits are asked for.
    topics: Vec<String>,
    limit: usize,
    limits: Limits,
    id: String,
    state: State,
    fault: Option<Error>,
    reinitializations: u64,
    unserved: u32,
}

type Failure = (Outcome, Error);

enum State {
    /// No client, or one that must not be used any more.
    Unusable,
    /// `init_transactions` is under way.
    Starting(BaseProducer<Context>),
    /// Between transactions.
    Idle(BaseProducer<Context>),
    /// Within one.
    Open(BaseProducer<Context>),
}

impl TransactionalProducer {
    /// Builds the producer and fences any predecessor of the same `transactional_id`.
    ///
    /// Errors: environment while the coordinator does not answer within seconds; try again.
    pub fn open(kafka: &Kafka, transactional_id: &str) -> Result<TransactionalProducer> {
        let mut producer = TransactionalProducer::new(kafka, transactional_id);
        producer.reinitialize()?;
        producer.reinitializations = 0;
        Ok(producer)
    }

    /// A producer that has not talked to the broker yet: [`TransactionalProducer::reinitialize`]
    /// must succeed before [`TransactionalProducer::begin`] can.
    pub fn new(kafka: &Kafka, transactional_id: &str) -> TransactionalProducer {
        TransactionalProducer {
            kafka: kafka.clone(),
            topics: Vec::new(),
            limit: record_limit(kafka),
            limits: Limits::default(),
            id: transactional_id.into(),
            state: State::Unusable,
            fault: None,
            reinitializations: 0,
            unserved: 0,
        }
    }

    /// With the topics it writes to: what they do not accept is refused by
    /// [`TransactionalProducer::send`] instead of by the broker, which would refuse the transaction.
    pub fn writing_to(mut self, topics: &[&str]) -> TransactionalProducer {
        self.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        self
    }

    /// Why [`TransactionalProducer::send`] would refuse a record, when the record is at fault.
    pub fn refusal(&self, record: &Outgoing<'_>) -> Option<Error> {
        if record.bytes() > self.limit {
            return Some(self.too_large(record));
        }
        self.limits.refusal(record)
    }

    /// The transactional id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How often it was rebuilt.
    pub fn reinitializations(&self) -> u64 {
        self.reinitializations
    }

    /// Why the last commit was not a success; the call removes it.
    pub fn fault(&mut self) -> Option<Error> {
        self.fault.take()
    }

    /// Whether the producer must be reinitialized before it can be used.
    pub fn needs_reinitialization(&self) -> bool {
        matches!(self.state, State::Unusable | State::Starting(_))
    }

    /// Rebuilds the producer under the same id. An open transaction is aborted by the broker,
    /// and whatever the old producer still has under way is refused from now on.
    ///
    /// Errors: environment while the coordinator does not answer; a second call goes on where the
    /// first one gave up.
    pub fn reinitialize(&mut self) -> Result<()> {
        let producer = match std::mem::replace(&mut self.state, State::Unusable) {
            State::Starting(producer) => producer,
            old => {
                drop(old);
                self.reinitializations += 1;
                // Asked again each time, because an operator may have changed them.
                self.limits = Limits::ask(&self.kafka, &self.topics)?;
                let most = self.limits.batch_bytes();
                settings::create(
                    &settings::transactional_producer(&self.kafka, &self.id, most),
                    Context::default(),
                    &format!("creating producer {}", self.id),
                )?
            }
        };
        match producer.init_transactions(INIT_TIMEOUT) {
            Ok(()) => {
                self.state = State::Idle(producer);
                Ok(())
            }
            Err(error) => {
                if verdict::classify(Step::Init, &error) == Verdict::Retry {
                    self.state = State::Starting(producer);
                }
                Err(Error::call(format!("starting transactions of {}", self.id), &error))
            }
        }
    }

    /// Begins a transaction.
    pub fn begin(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Unusable) {
            State::Idle(producer) => match producer.begin_transaction() {
                Ok(()) => {
                    self.limits.read_clock();
                    producer.context().forget();
                    self.state = State::Open(producer);
                    Ok(())
                }
                Err(error) => {
                    Err(Error::call(format!("beginning a transaction of {}", self.id), &error))
                }
            },
            State::Starting(producer) => {
                self.state = State::Starting(producer);
                Err(self.not_ready())
            }
            State::Open(_) | State::Unusable => Err(self.not_ready()),
        }
    }

    /// Adds a record to the transaction; waits while the queue to the broker is full.
    ///
    /// Errors: one with a [`reason`](Error::reason) leaves the transaction as it was, without the
    /// record; after any other it can only be aborted.
    pub fn send(&mut self, record: &Outgoing<'_>) -> Result<()> {
        let State::Open(producer) = &self.state else { return Err(self.not_ready()) };
        // librdkafka does not count headers; the broker does, and would refuse the whole
        // transaction.
        if let Some(refusal) = self.refusal(record) {
            return Err(refusal);
        }
        self.unserved += 1;
        if self.unserved >= SERVE_EVERY {
            self.unserved = 0;
            producer.poll(Duration::ZERO);
        }
        let mut next = native(record);
        // The clock is asked only when the queue is full: asking it costs a tenth of sending a
        // record.
        let mut full_since = None;
        loop {
            let Err((error, back)) = producer.send(next) else { return Ok(()) };
            match error.rdkafka_error_code() {
                Some(Code::QueueFull)
                    if full_since.get_or_insert_with(Instant::now).elapsed()
                        < self.kafka.transaction_timeout =>
                {
                    serve_a_while(producer);
                }
                Some(Code::MessageSizeTooLarge) => return Err(self.too_large(record)),
                _ => {
                    return Err(self.fenced(producer).unwrap_or_else(|| {
                        Error::call(format!("writing to {}", record.topic), &error)
                    }));
                }
            }
            next = back;
        }
    }

    /// Commits the transaction, and with `offsets` the claims' positions and counts as the group's
    /// offsets. Afterwards the producer is between transactions if the outcome is
    /// [`Outcome::Committed`], and must be reinitialized if not.
    pub fn commit(&mut self, offsets: Option<(&Consumer, &[Claim])>) -> Outcome {
        let State::Open(producer) = std::mem::replace(&mut self.state, State::Unusable) else {
            self.fault = Some(self.not_ready());
            return Outcome::Refused;
        };
        match self.try_commit(&producer, offsets) {
            Ok(()) => {
                self.state = State::Idle(producer);
                Outcome::Committed
            }
            Err((outcome, error)) => {
                let error = self.fenced(&producer).unwrap_or(error);
                tracing::debug!(id = self.id, ?outcome, %error, "transaction not committed");
                self.fault = Some(error);
                outcome
            }
        }
    }

    /// Aborts the transaction. If the abort is not a definite success, the producer must be
    /// reinitialized.
    pub fn abort(&mut self) {
        let State::Open(producer) = std::mem::replace(&mut self.state, State::Unusable) else {
            return;
        };
        let started = Instant::now();
        producer.purge(PurgeConfig::default().queue());
        // librdkafka's abort waits for what was purged to be reported, and would wait without end
        // for somebody to listen.
        let aborted = match self.drain(&producer, started + ABORT_TIMEOUT) {
            Err(_) if producer.in_flight_count() > 0 => return,
            _ => producer.abort_transaction(ABORT_TIMEOUT),
        };
        match aborted {
            Ok(()) if CallTiming::of(started.elapsed()) == CallTiming::NotRepeated => {
                self.state = State::Idle(producer)
            }
            Ok(()) => {}
            Err(error) => {
                tracing::debug!(id = self.id, %error, "transaction was not aborted cleanly")
            }
        }
    }

    fn try_commit(
        &self,
        producer: &BaseProducer<Context>,
        offsets: Option<(&Consumer, &[Claim])>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + self.kafka.transaction_timeout * 2;
        self.drain(producer, deadline)?;
        let mut timing = CallTiming::NotRepeated;
        // After the records: the broker has then forgotten the transaction before, and takes
        // offsets without a detour.
        if let Some((consumer, claims)) = offsets {
            timing = timing.max(self.send_offsets(producer, consumer, claims, deadline)?);
        }
        // −1 is what librdkafka recommends: the rest of the transaction's own timeout.
        timing =
            timing.max(self.retry_until(Step::Commit, deadline, || {
                producer.commit_transaction(Timeout::Never)
            })?);
        match timing {
            CallTiming::NotRepeated => Ok(()),
            CallTiming::MayBeRepeated => {
                let reason = "it succeeded so late that a repeated request may still be under way";
                Err((
                    Outcome::Unknown,
                    Error::waiting(format!("{} of {}", Step::Commit.name(), self.id), reason),
                ))
            }
        }
    }

    fn send_offsets(
        &self,
        producer: &BaseProducer<Context>,
        consumer: &Consumer,
        claims: &[Claim],
        deadline: Instant,
    ) -> Result<CallTiming, Failure> {
        let refused = |error: KafkaError| {
            (Outcome::Refused, Error::call(format!("adding offsets to {}", self.id), &error))
        };
        let positions = claims.iter().map(consumer::position);
        let list = consumer::with_progress(consumer.topic(), positions).map_err(refused)?;
        // Without a limit librdkafka would try for as long as the broker is unavailable, and the
        // worker could not say that it waits.
        let deadline = deadline.min(Instant::now() + OFFSETS_TIMEOUT);
        self.retry_until(Step::Offsets, deadline, || match consumer.membership() {
            Some(membership) => {
                producer.send_offsets_to_transaction(&list, &membership, OFFSETS_TIMEOUT)
            }
            None => Err(KafkaError::Rebalance(Code::RebalanceInProgress)),
        })
    }

    /// Waits until the broker has taken every record. `BaseProducer::flush` would do the same in
    /// steps of 100 ms.
    fn drain(&self, producer: &BaseProducer<Context>, deadline: Instant) -> Result<(), Failure> {
        let doing = || format!("writing the records of {}", self.id);
        while producer.in_flight_count() > 0 {
            // Each call ends the linger for those broker threads that notice; it answers at once
            // that it is not done, and no more.
            producer.flush(Duration::ZERO).ok();
            serve_a_while(producer);
            if Instant::now() >= deadline {
                return Err((
                    Outcome::Refused,
                    Error::waiting(doing(), "the broker did not take all of them in time"),
                ));
            }
        }
        producer
            .context()
            .failure()
            .map_or(Ok(()), |error| Err((Outcome::Refused, Error::call(doing(), &error))))
    }

    /// Repeats a call as long as librdkafka returns that it can be repeated.
    fn retry_until(
        &self,
        step: Step,
        deadline: Instant,
        mut call: impl FnMut() -> Result<(), KafkaError>,
    ) -> Result<CallTiming, Failure> {
        let started = Instant::now();
        loop {
            let Err(error) = call() else { return Ok(CallTiming::of(started.elapsed())) };
            let outcome = match verdict::classify(step, &error) {
                Verdict::Retry if Instant::now() < deadline => continue,
                Verdict::Retry | Verdict::Unknown => Outcome::Unknown,
                Verdict::Refused => Outcome::Refused,
            };
            return Err((outcome, Error::call(format!("{} of {}", step.name(), self.id), &error)));
        }
    }

    /// [`Error::Fenced`] when the producer has a successor; a call's own error often does not tell.
    fn fenced(&self, producer: &BaseProducer<Context>) -> Option<Error> {
        let (code, _) = producer.client().fatal_error()?;
        (code == Code::Fenced).then(|| Error::Fenced { id: self.id.clone() })
    }

    fn too_large(&self, record: &Outgoing<'_>) -> Error {
        Error::TooLarge { topic: record.topic.into(), bytes: record.bytes(), limit: self.limit }
    }

    fn not_ready(&self) -> Error {
        Error::waiting(
            format!("using producer {}", self.id),
            "it has no open transaction and may have to be reinitialized",
        )
    }
}

/// Serves the client's events and waits a little. rust-rdkafka's own wait counts in whole
/// milliseconds, so of a wait of one it makes a loop that keeps a core busy.
fn serve_a_while(producer: &BaseProducer<Context>) {
    producer.poll(Duration::ZERO);
    std::thread::park_timeout(Duration::from_micros(300));
}

fn native<'a>(record: &Outgoing<'a>) -> BaseRecord<'a, [u8], [u8]> {
    BaseRecord {
        topic: record.topic,
        partition: record.partition,
        payload: record.value,
        key: record.key,
        timestamp: record.timestamp_ms.filter(|t| *t > 0),
        headers: (!record.headers.is_empty()).then(|| {
            let empty = OwnedHeaders::new_with_capacity(record.headers.len());
            record
                .headers
                .iter()
                .fold(empty, |all, (key, value)| all.insert(NativeHeader { key, value: *value }))
        }),
        delivery_opaque: (),
    }
}

/// Remembers the first record that could not be written.
#[derive(Default)]
struct Context {
    failure: Mutex<Option<KafkaError>>,
}

impl Context {
    fn failure(&self) -> Option<KafkaError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget(&self) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = None;
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

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| error.clone());
        }
    }
}
