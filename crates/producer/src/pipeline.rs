//! The path of a batch: source → Arrow → framed Avro → one Kafka transaction with the position.

use crate::config::{self, Options};
use crate::encode::Encoding;
use crate::error::Error;
use crate::membership::{Change, Membership};
use crate::metrics::Meters;
use crate::part::{Part, Shared, Turn};
use crate::source;
use crate::status::Status;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;
use weir_codec::{Registry, Schema, registry};
use weir_kafka::admin;
use weir_model::fault::Class;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;
use weir_service::{
    CancellationToken, Failure, Health, Heartbeat, RetryState, Surface, Workers, blocking, host,
};

/// The longest a worker looks away from its group.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);
/// After so long without a transaction, the broker is asked whether it is there.
const CONFIRM: Duration = Duration::from_secs(5);

/// Runs a producer until `shutdown` is cancelled, or until its source is exhausted if the options
/// say so.
///
/// # Errors
/// [`Error::Configuration`] before anything is read; otherwise what made the producer end. Outages
/// are no errors: it waits.
pub async fn run(
    pipeline: Arc<Pipeline>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let span = tracing::info_span!("service", service = "producer", pipeline = pipeline.name);
    produce(pipeline, options, shutdown).instrument(span).await
}

async fn produce(
    pipeline: Arc<Pipeline>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let mistakes = config::check(&pipeline);
    if !mistakes.is_empty() {
        return Err(pipeline.mistakes(mistakes).into());
    }
    let schema = Schema::load(&pipeline.input.schema)?;
    let source =
        source::build(&pipeline, &schema).map_err(|mistakes| pipeline.mistakes(mistakes))?;
    let health = Health::new(&options.metrics);
    let status = Status::default();
    let surface = surface(&pipeline, &options, &health, &status);
    let shared = Arc::new(Shared {
        pipeline,
        source: source.into(),
        meters: Meters::new(&options.metrics),
        status,
        health,
    });
    host(&options.settings, surface, &shutdown, |stop| work(shared, schema, &options, stop)).await
}

fn surface(pipeline: &Pipeline, options: &Options, health: &Health, status: &Status) -> Surface {
    let about = json!({
        "service": "producer",
        "instance": options.settings.instance,
        "pipeline": pipeline.name,
        "source": pipeline.source.as_ref().map(|source| source.kind()),
        "topic": pipeline.input.topic,
    });
    let status = status.clone();
    Surface::new(health, &options.metrics, move || status.page(&about))
}

async fn work(
    shared: Arc<Shared>,
    schema: Schema,
    options: &Options,
    stop: CancellationToken,
) -> Result<(), Error> {
    // Kept although it is needed at the start only: `/ready` shows every dependency.
    let mut registry = RetryState::new(shared.health.dependency("registry"));
    let Some(id) = prepare(&shared, &schema, &mut registry, &stop).await? else { return Ok(()) };
    let mut workers = Workers::new(&shared.health, &stop);
    for number in 0..shared.pipeline.workers.producer {
        let encoding = Encoding::new(&schema, id, shared.pipeline.input.key.as_deref())?;
        let name = format!("{}-{number}", options.settings.instance);
        let worker = Worker {
            shared: shared.clone(),
            encoding,
            parts: BTreeMap::new(),
            exit_when_done: options.exit_when_done,
        };
        let (stop, member) = (stop.clone(), name.clone());
        workers.spawn(&name, move |heartbeat| worker.run(&member, &heartbeat, &stop))?;
    }
    workers.join().await
}

/// Creates the topics that are missing and registers the schema, however long that takes; `None`
/// when told to stop before.
async fn prepare(
    shared: &Arc<Shared>,
    schema: &Schema,
    waiting: &mut RetryState,
    stop: &CancellationToken,
) -> Result<Option<u32>, Error> {
    let pipeline = &shared.pipeline;
    let registry = Registry::new(&pipeline.registry)?;
    let mut kafka = RetryState::new(shared.health.dependency("kafka"));
    let ensured = kafka.until(stop, || {
        let asked = pipeline.clone();
        async {
            Ok::<_, Error>(
                blocking("creating topics", move || {
                    admin::ensure(&asked.kafka, &admin::topics(&asked))
                })
                .await??,
            )
        }
    });
    match ensured.await? {
        None => return Ok(None),
        Some(mistakes) if !mistakes.is_empty() => return Err(pipeline.mistakes(mistakes).into()),
        Some(_) => {}
    }
    let subject = pipeline.input_subject();
    let refused = |error: registry::Error| match error.class() {
        Class::Environment => Error::from(error),
        _ => {
            let mistake = Mistake::new(
                "input.schema",
                format!("the registry refuses it as a version of {subject}: {error}"),
            );
            pipeline.mistakes(vec![mistake]).into()
        }
    };
    waiting
        .until(stop, || async { registry.register(&subject, schema).await.map_err(refused) })
        .await
}

/// One thread: a member of the group, and the source partitions that fall to it.
struct Worker {
    shared: Arc<Shared>,
    encoding: Encoding,
    parts: BTreeMap<u32, Part>,
    exit_when_done: bool,
}

impl Worker {
    fn run(
        mut self,
        member: &str,
        heartbeat: &Heartbeat,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let mut outages = Outages::new(&self.shared.health);
        let mut membership =
            Membership::join(&self.shared.pipeline, self.shared.source.partitions(), member)?;
        while !stop.is_cancelled() && !self.finished() {
            heartbeat.beat();
            self.follow(membership.changes()?);
            outages.kafka.asking();
            let turned = self.turn().and_then(|turn| outages.confirm(turn, &membership));
            let rest = turned.or_else(|error| outages.wait(error))?;
            membership.idle(rest);
        }
        self.follow(vec![Change::Nothing]);
        Ok(())
    }

    /// One step of every partition; after a failed transaction the others wait, for it may be the
    /// broker that failed, or the group may have given the partitions to somebody else.
    fn turn(&mut self) -> Result<Turn, Error> {
        let mut all = Turn::Rest(POLL_TIMEOUT);
        for part in self.parts.values_mut() {
            all = all.and(part.turn(&self.shared, &mut self.encoding)?);
            if matches!(all, Turn::Doubt) {
                break;
            }
        }
        Ok(all)
    }

    fn finished(&self) -> bool {
        let mine = !self.parts.is_empty() && self.parts.values().all(Part::done);
        let all = self.shared.status.count_ended() == self.shared.source.partitions() as usize;
        self.exit_when_done && (mine || all)
    }

    /// Takes up and gives away partitions. The group takes everything away before it gives
    /// anything, so that a partition that stays is fenced and read again too: a few milliseconds
    /// for never being in doubt.
    fn follow(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.shared.meters.rebalances.inc();
            let owned = match change {
                Change::Owned(owned) => owned,
                Change::Nothing => Default::default(),
            };
            tracing::info!(partitions = ?owned, "source partitions of this worker");
            std::mem::take(&mut self.parts).into_values().for_each(|part| part.leave(&self.shared));
            self.parts =
                owned.into_iter().map(|number| (number, Part::new(number, &self.shared))).collect();
        }
        let (owned, done) = self.shared.status.count();
        self.shared.meters.owned.set(owned as i64);
        self.shared.meters.done.set(done as i64);
    }
}

/// What the worker waits for, and what it knows to be there.
struct Outages {
    kafka: RetryState,
    source: RetryState,
    confirmed: Option<Instant>,
}

impl Outages {
    fn new(health: &Health) -> Outages {
        let source = RetryState::new(health.dependency("source"));
        Outages { kafka: RetryState::new(health.dependency("kafka")), source, confirmed: None }
    }

    /// A transaction is proof enough that all is well; without any for a while, the broker is
    /// asked. Returns how long to rest.
    fn confirm(&mut self, turn: Turn, membership: &Membership) -> Result<Duration, Error> {
        let rest = match turn {
            Turn::Worked => Duration::from_millis(1),
            Turn::Rest(rest) if self.confirmed.is_some_and(|at| at.elapsed() < CONFIRM) => {
                self.kafka.answered();
                return Ok(rest);
            }
            Turn::Rest(rest) => membership.ping().map(|()| rest)?,
            Turn::Doubt => membership.ping().map(|()| POLL_TIMEOUT)?,
        };
        self.confirmed = Some(Instant::now());
        self.kafka.answered();
        self.source.answered();
        Ok(rest)
    }

    fn wait(&mut self, error: Error) -> Result<Duration, Error> {
        self.confirmed = None;
        match error.class() {
            Class::Environment if matches!(error, Error::Source(_)) => {
                self.kafka.answered();
                Ok(self.source.failed(&error))
            }
            Class::Environment => Ok(self.kafka.failed(&error)),
            _ => Err(error),
        }
    }
}
