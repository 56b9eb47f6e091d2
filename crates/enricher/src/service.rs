//! An enricher instance from its start to its drain.

use crate::breaker::Breaker;
use crate::config::{self, Options};
use crate::enrich::Enricher;
use crate::error::Error;
use crate::metrics::Meters;
use crate::status::Status;
use crate::worker::{DependencyHealth, Shared, Worker};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::Instrument;
use weir_codec::{Registry, Schema, registry};
use weir_kafka::admin;
use weir_model::fault::Class;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{Kafka, Pipeline};
use weir_service::{CancellationToken, RetryState, Surface, Workers, blocking, host};

/// Without a stable name, no successor aborts the open transaction of a dead instance, and readers
/// wait until it times out.
const UNSTABLE_TRANSACTION: Duration = Duration::from_secs(10);

/// Runs an enricher until `shutdown` is cancelled.
///
/// # Errors
/// [`Error::Configuration`] before anything is read; otherwise the failure that ended the enricher.
/// Outages are not errors: it waits.
pub async fn run(
    pipeline: Arc<Pipeline>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let span = tracing::info_span!("service", service = "enricher", pipeline = pipeline.name);
    enrich(pipeline, options, shutdown).instrument(span).await
}

async fn enrich(
    pipeline: Arc<Pipeline>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let job =
        Arc::new(config::check(pipeline.clone()).map_err(|mistakes| pipeline.mistakes(mistakes))?);
    let shared = Arc::new(Shared {
        kafka: kafka(&pipeline.kafka, options.settings.stable),
        breaker: Mutex::new(Breaker::new(&pipeline.dead_letters)),
        meters: Meters::new(&options.metrics),
        status: Status::default(),
        health: options.health.clone(),
        job,
    });
    // Before the pages are, so that the instance is not ready before each of its workers is.
    let dependencies: Vec<DependencyHealth> =
        (0..pipeline.workers.enricher).map(|_| DependencyHealth::new(&shared.health)).collect();
    let surface = surface(&shared, &options);
    host(&options.settings, surface, &shutdown, |stop| work(&shared, &options, dependencies, stop))
        .await
}

fn kafka(kafka: &Kafka, stable: bool) -> Kafka {
    let mut kafka = kafka.clone();
    if !stable {
        kafka.transaction_timeout = kafka.transaction_timeout.min(UNSTABLE_TRANSACTION);
    }
    kafka
}

fn surface(shared: &Shared, options: &Options) -> Surface {
    let pipeline = &shared.job.pipeline;
    let about = json!({
        "service": "enricher",
        "instance": options.settings.instance,
        "pipeline": pipeline.name,
        "input": pipeline.input.topic,
        "output": pipeline.output.topic,
        "dead_letters": pipeline.dead_letters.topic,
    });
    let (status, lag) = (shared.status.clone(), shared.meters.lag_records.clone());
    let lag = move |partition: i32| {
        lag.get_metric_with_label_values(&[&partition.to_string()]).ok().map(|gauge| gauge.get())
    };
    Surface::new(&shared.health, &options.metrics, move || status.page(&about, &lag))
}

async fn work(
    shared: &Arc<Shared>,
    options: &Options,
    dependencies: Vec<DependencyHealth>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let pipeline = &shared.job.pipeline;
    let registry = Registry::new(&pipeline.registry)?;
    let Some(()) = ensure_topics(shared, &stop).await? else { return Ok(()) };
    let Some(schema_id) = register(shared, &registry, &stop).await? else { return Ok(()) };
    let mut workers = Workers::new(&shared.health, &stop);
    for (number, dependencies) in dependencies.into_iter().enumerate() {
        let name = format!("{}-{number}", options.settings.instance);
        let transactional_id =
            format!("weir.{}.enricher.{}.{number}", pipeline.name, options.settings.instance);
        let enricher = Enricher::new(
            shared.job.clone(),
            registry.clone(),
            Handle::current(),
            schema_id,
            shared.fill_limit(),
        )?;
        let (shared, stop, member) = (shared.clone(), stop.clone(), name.clone());
        let work = move |heartbeat| {
            Worker::join(number, shared, enricher, dependencies, &member, &transactional_id)?
                .run(&heartbeat, &stop)
        };
        workers.spawn(&name, work)?;
    }
    workers.join().await
}

/// Creates the topics that are missing, however long that takes; `None` if it is stopped before.
async fn ensure_topics(shared: &Shared, stop: &CancellationToken) -> Result<Option<()>, Error> {
    let pipeline = &shared.job.pipeline;
    let mut state = RetryState::new(shared.health.dependency("kafka"));
    let ensured = state.until(stop, || {
        let (kafka, topics) = (shared.kafka.clone(), admin::topics(pipeline));
        async {
            Ok::<_, Error>(
                blocking("creating topics", move || admin::ensure(&kafka, &topics)).await??,
            )
        }
    });
    match ensured.await? {
        Some(mistakes) if !mistakes.is_empty() => Err(pipeline.mistakes(mistakes).into()),
        ensured => Ok(ensured.map(|_| ())),
    }
}

/// Registers the output's schema and returns its id; also the input's, for topics that no producer
/// of weir's fills. `None` if it is stopped before.
async fn register(
    shared: &Shared,
    registry: &Registry,
    stop: &CancellationToken,
) -> Result<Option<u32>, Error> {
    let (job, pipeline) = (&shared.job, &shared.job.pipeline);
    let mut state = RetryState::new(shared.health.dependency("registry"));
    let input = &pipeline.input_subject(job.input.name());
    let output = &pipeline.output_subject(job.output.name());
    let refused = |key, subject: &str, error: registry::Error| match error.class() {
        Class::Environment => Error::from(error),
        _ => pipeline
            .mistakes(vec![Mistake::new(
                key,
                format!("the registry refuses it as a version of {subject}: {error}"),
            )])
            .into(),
    };
    let register = || async {
        if pipeline.input.is_registered() {
            register_input(registry, input, &job.input)
                .await
                .map_err(|error| refused("input.schema", input, error))?;
        }
        registry
            .register(output, &job.output)
            .await
            .map_err(|error| refused("output.schema", output, error))
    };
    state.until(stop, register).await
}

/// The writer of the input registers its own schema; the schema that is read here is registered
/// only if the subject does not exist.
async fn register_input(
    registry: &Registry,
    subject: &str,
    schema: &Schema,
) -> Result<(), registry::Error> {
    match registry.latest(subject).await {
        Ok(None) => registry.register(subject, schema).await.map(|_| ()),
        // A newer schema than weir can write is no obstacle to reading what there is.
        Ok(Some(_)) | Err(registry::Error::Invalid { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
