//! A producer instance from its start to its drain: check, topics, schema, workers.

use crate::config::{self, Options};
use crate::encode::Encoding;
use crate::error::Error;
use crate::metrics::Meters;
use crate::source::{self, Source};
use crate::source_partition::Shared;
use crate::status::Status;
use crate::worker::Worker;
use serde_json::json;
use std::sync::Arc;
use tracing::Instrument;
use weir_codec::{Registry, Schema, registry};
use weir_kafka::admin;
use weir_model::fault::Class;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;
use weir_service::{CancellationToken, Health, RetryState, Surface, Workers, blocking, host};

/// Runs a producer until `shutdown` is cancelled, or until its source is exhausted if the options
/// say so.
///
/// # Errors
/// [`Error::Configuration`] before anything is read; otherwise the failure that ended the producer.
/// Outages are not errors: it waits.
pub async fn run(
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
    run_source(pipeline, source, options, shutdown).await
}

/// As [`run`], over a source that the caller implements; `[source]` of the pipeline file only
/// names the kind that positions and dead letters carry.
///
/// # Errors
/// As [`run`].
pub async fn run_source(
    pipeline: Arc<Pipeline>,
    source: Box<dyn Source>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let schema = Schema::load(&pipeline.input.schema)?;
    let span = tracing::info_span!("service", service = "producer", pipeline = pipeline.name);
    let health = options.health.clone();
    let status = Status::default();
    let surface = surface(&pipeline, &options, &health, &status);
    let meters = Meters::new(&options.metrics);
    let shared = Arc::new(Shared {
        pipeline,
        source: source.into(),
        meters,
        status,
        health,
        written_before: Default::default(),
    });
    host(&options.settings, surface, &shutdown, |stop| work(shared, schema, &options, stop))
        .instrument(span)
        .await
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
        let worker = Worker::new(shared.clone(), encoding, options.exit_when_done);
        let (stop, member) = (stop.clone(), name.clone());
        workers.spawn(&name, move |heartbeat| worker.run(&member, &heartbeat, &stop))?;
    }
    workers.join().await
}

/// Creates the topics that are missing and registers the schema, waiting for as long as it takes;
/// `None` if it is stopped before.
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
            let create = move || admin::ensure(&asked.kafka, &admin::topics(&asked));
            Ok::<_, Error>(blocking("creating topics", create).await??)
        }
    });
    match ensured.await? {
        None => return Ok(None),
        Some(mistakes) if !mistakes.is_empty() => return Err(pipeline.mistakes(mistakes).into()),
        Some(_) => {}
    }
    let subject = pipeline.input_subject(schema.name());
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
