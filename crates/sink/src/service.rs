//! A sink instance: admin pages, preparation, workers.

use crate::config::{self, Options};
use crate::deletes::Deletes;
use crate::error::Error;
use crate::metrics::Meters;
use crate::status::Status;
use crate::worker::{Round, Shared, Worker};
use arrow::datatypes::SchemaRef;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tracing::Instrument;
use weir_codec::{Decoder, Registry, Schema};
use weir_kafka::admin;
use weir_model::breaker::Breaker;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{Pipeline, Sink};
use weir_service::{CancellationToken, Health, RetryState, Surface, Workers, blocking, host};
use weir_store::Target;

/// Runs the sinks of a pipeline until `shutdown` is cancelled.
///
/// # Errors
/// [`Error::Configuration`] before anything is read; otherwise the failure that ended the sink.
/// Outages are not errors: it waits.
pub async fn run(
    pipeline: Arc<Pipeline>,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let mistakes = config::check(&pipeline, options.only.as_deref());
    if !mistakes.is_empty() {
        return Err(pipeline.mistakes(mistakes).into());
    }
    run_targets(pipeline, options, Box::new(weir_store::target::open), shutdown).await
}

/// Opens the target of a sink: as [`weir_store::target::open`].
pub type OpenTarget = Box<
    dyn Fn(&Pipeline, &Sink, SchemaRef, &str) -> Result<Arc<dyn Target>, weir_store::Error>
        + Send
        + Sync,
>;

/// As [`run`], with targets that `open` makes: for a kind that the caller implements.
///
/// # Errors
/// As [`run`].
pub async fn run_targets(
    pipeline: Arc<Pipeline>,
    options: Options,
    open: OpenTarget,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let schema = Schema::load(&pipeline.output.schema)?;
    let span = tracing::info_span!("service", service = "sink", pipeline = pipeline.name);
    let (health, status) = (options.health.clone(), Status::default());
    let surface = surface(&pipeline, &options, &health, &status);
    let settings = options.settings.clone();
    host(&settings, surface, &shutdown, |stop| {
        Instance { pipeline, options, open, schema, health, status, stop }.work()
    })
    .instrument(span)
    .await
}

fn surface(pipeline: &Pipeline, options: &Options, health: &Health, status: &Status) -> Surface {
    let sinks = config::chosen(pipeline, options.only.as_deref());
    let about = json!({
        "service": "sink",
        "instance": options.settings.instance,
        "pipeline": pipeline.name,
        "topic": pipeline.output.topic,
        "sinks": sinks.iter().map(|sink| sink.name.as_str()).collect::<Vec<_>>(),
    });
    let status = status.clone();
    Surface::new(health, &options.metrics, move || status.page(&about))
}

struct Instance {
    pipeline: Arc<Pipeline>,
    options: Options,
    open: OpenTarget,
    schema: Schema,
    health: Health,
    status: Status,
    stop: CancellationToken,
}

impl Instance {
    async fn work(self) -> Result<(), Error> {
        let Some(cluster) = self.kafka().await? else { return Ok(()) };
        let Some(registry) = self.registry().await? else { return Ok(()) };
        let mut workers = Workers::new(&self.health, &self.stop);
        let sinks: Vec<Sink> = config::chosen(&self.pipeline, self.options.only.as_deref())
            .into_iter()
            .cloned()
            .collect();
        let mut mistakes = Vec::new();
        let mut targets = Vec::new();
        for sink in &sinks {
            let target = (self.open)(&self.pipeline, sink, self.schema.table(), &cluster)?;
            let Some(found) = self.prepare(&*target).await? else { return Ok(()) };
            mistakes.extend(found);
            targets.push((sink, target));
        }
        if !mistakes.is_empty() {
            return Err(self.pipeline.mistakes(mistakes).into());
        }
        for (sink, target) in targets {
            let deletes = Deletes::compile(&self.pipeline, sink, &self.schema)
                .map_err(|mistakes| self.pipeline.mistakes(mistakes))?;
            let target = (target, deletes);
            self.spawn(&mut workers, &sink.name, target, &registry, sinks.len() > 1)?;
        }
        workers.join().await
    }

    fn spawn(
        &self,
        workers: &mut Workers<Error>,
        sink: &str,
        (target, deletes): (Arc<dyn Target>, Deletes),
        registry: &Registry,
        several: bool,
    ) -> Result<(), Error> {
        let metrics = if several {
            self.options.metrics.with("sink", sink)
        } else {
            self.options.metrics.clone()
        };
        let shared = Arc::new(Shared {
            pipeline: self.pipeline.clone(),
            sink: sink.into(),
            target,
            deletes,
            meters: Meters::new(&metrics),
            status: self.status.clone(),
            health: self.health.clone(),
            breaker: Mutex::new(Breaker::new(&self.pipeline.dead_letters)),
            runtime: Handle::current(),
        });
        for number in 0..self.pipeline.workers.sink {
            let name = match several {
                true => format!("{}-{sink}-{number}", self.options.settings.instance),
                false => format!("{}-{number}", self.options.settings.instance),
            };
            let decoder = Decoder::new(self.schema.clone(), registry.clone(), Handle::current())?;
            let keys = shared.deletes.key_decoder(registry.clone(), Handle::current())?;
            let (shared, stop, member) = (shared.clone(), self.stop.clone(), name.clone());
            workers.spawn(&name, move |heartbeat| {
                let round = Round { heartbeat: &heartbeat, stop: &stop };
                Worker::join(shared, &member, decoder, keys)?.run(round)
            })?;
        }
        Ok(())
    }

    /// Creates the topics that are missing, however long that takes; the cluster's id. `None`, here
    /// and below: told to stop before.
    async fn kafka(&self) -> Result<Option<String>, Error> {
        let mut waiting = RetryState::new(self.health.dependency("kafka"));
        let asked = waiting.until(&self.stop, || {
            let pipeline = self.pipeline.clone();
            let ask = move || {
                let mistakes = admin::ensure(&pipeline.kafka, &admin::topics(&pipeline))?;
                Ok::<_, weir_kafka::Error>((mistakes, admin::cluster_id(&pipeline.kafka)?))
            };
            async { Ok::<_, Error>(blocking("creating topics", ask).await??) }
        });
        match asked.await? {
            Some((mistakes, _)) if !mistakes.is_empty() => {
                Err(self.pipeline.mistakes(mistakes).into())
            }
            asked => Ok(asked.map(|(_, cluster)| cluster)),
        }
    }

    async fn registry(&self) -> Result<Option<Registry>, Error> {
        let registry = Registry::new(&self.pipeline.registry)?;
        let mut waiting = RetryState::new(self.health.dependency("registry"));
        let asked = waiting
            .until(&self.stop, || async { registry.ping().await.map_err(Error::from) })
            .await?;
        Ok(asked.map(|()| registry))
    }

    async fn prepare(&self, target: &dyn Target) -> Result<Option<Vec<Mistake>>, Error> {
        let mut waiting = RetryState::new(self.health.dependency(target.kind()));
        let prepare = || async { target.prepare().await.map_err(Error::from) };
        waiting.until(&self.stop, prepare).await
    }
}
