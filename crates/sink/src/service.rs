//! A sink instance: admin pages, preparation, workers.

use crate::config::{self, Options};
use crate::error::Error;
use crate::metrics::Meters;
use crate::pipeline::{Shared, Worker};
use crate::status::Status;
use crate::target::{Postgres, Target};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::Instrument;
use weir_codec::{Decoder, Registry, Schema};
use weir_kafka::admin;
use weir_model::breaker::Breaker;
use weir_model::fault::Class;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Pipeline, Sink};
use weir_service::{CancellationToken, Failure, Health, Surface, Waiting, Workers, serve, signals};

/// Runs the sinks of a pipeline until `shutdown` is cancelled.
///
/// # Errors
/// [`Error::Configuration`] before anything is read; otherwise what made the sink end. Outages are no errors: it waits.
pub async fn run(pipeline: Arc<Pipeline>, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let span = tracing::info_span!("service", service = "sink", pipeline = pipeline.name);
    sink(pipeline, options, shutdown).instrument(span).await
}

async fn sink(pipeline: Arc<Pipeline>, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let mistakes = config::check(&pipeline, options.only.as_deref());
    if !mistakes.is_empty() {
        return Err(pipeline.mistakes(mistakes).into());
    }
    let schema = Schema::load(&pipeline.output.schema)?;
    // Also cancelled when a worker fails.
    let stop = shutdown.child_token();
    let (health, status) = (Health::new(&options.metrics), Status::default());
    let pages = admin_pages(&pipeline, &options, &health, &status, &stop).await?;
    let instance = Instance { pipeline, options, schema, health, status, stop: stop.clone() };
    let ended = signals::drain(&shutdown, signals::DRAIN, instance.work()).await;
    stop.cancel();
    // The pages end with the token; they have nothing to say about how the work ended.
    pages.await.ok();
    ended?
}

async fn admin_pages(
    pipeline: &Pipeline,
    options: &Options,
    health: &Health,
    status: &Status,
    stop: &CancellationToken,
) -> Result<tokio::task::JoinHandle<()>, Error> {
    let address = options.settings.listen;
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, instance = options.settings.instance, "sink up: /live /ready /metrics /status");
    }
    let about = json!({
        "service": "sink",
        "instance": options.settings.instance,
        "pipeline": pipeline.name,
        "topic": pipeline.output.topic,
        "sinks": config::chosen(pipeline, options.only.as_deref()).iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
    });
    let status = status.clone();
    let surface = Surface::new(health, &options.metrics, move || status.page(&about));
    Ok(tokio::spawn(serve(listener, surface, stop.clone())))
}

/// Told to stop before everything was ready.
struct Stopped;

struct Instance {
    pipeline: Arc<Pipeline>,
    options: Options,
    schema: Schema,
    health: Health,
    status: Status,
    stop: CancellationToken,
}

impl Instance {
    async fn work(self) -> Result<(), Error> {
        let Ok(cluster) = self.kafka().await? else { return Ok(()) };
        let Ok(registry) = self.registry().await? else { return Ok(()) };
        let mut workers = Workers::new(&self.health, &self.stop);
        let sinks: Vec<Sink> = config::chosen(&self.pipeline, self.options.only.as_deref()).into_iter().cloned().collect();
        let mut mistakes = Vec::new();
        let mut ready = Vec::new();
        for sink in &sinks {
            match &sink.target {
                pipeline::Target::Postgres(table) => {
                    let target = Arc::new(Postgres::new(&self.pipeline, &sink.name, table, self.schema.arrow(), &cluster)?);
                    let Ok(found) = self.target(&*target).await? else { return Ok(()) };
                    mistakes.extend(found);
                    ready.push((sink, target));
                }
            }
        }
        if !mistakes.is_empty() {
            return Err(self.pipeline.mistakes(mistakes).into());
        }
        for (sink, target) in ready {
            self.spawn(&mut workers, &sink.name, target, &registry, sinks.len() > 1)?;
        }
        Ok(workers.join().await?)
    }

    fn spawn<T: Target>(
        &self,
        workers: &mut Workers<Error>,
        sink: &str,
        target: Arc<T>,
        registry: &Registry,
        several: bool,
    ) -> Result<(), Error> {
        let metrics = if several { self.options.metrics.with("sink", sink) } else { self.options.metrics.clone() };
        let shared = Arc::new(Shared {
            pipeline: self.pipeline.clone(),
            sink: sink.into(),
            target,
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
            let (shared, stop, member) = (shared.clone(), self.stop.clone(), name.clone());
            workers.spawn(&name, move |heartbeat| Worker::join(shared, &member, decoder)?.run(&heartbeat, &stop)).map_err(Error::from)?;
        }
        Ok(())
    }

    /// Creates the topics that are missing, however long that takes; the cluster's id.
    async fn kafka(&self) -> Result<Result<String, Stopped>, Error> {
        let mut waiting = Waiting::new(self.health.dependency("kafka"));
        loop {
            let pipeline = self.pipeline.clone();
            let asked = tokio::task::spawn_blocking(move || {
                let mistakes = admin::ensure(&pipeline.kafka, &admin::topics(&pipeline))?;
                Ok((mistakes, admin::cluster_id(&pipeline.kafka)?))
            });
            match asked.await.map_err(|e| Error::Worker(e.to_string()))? {
                Ok((mistakes, cluster)) if mistakes.is_empty() => return Ok(Ok(cluster)),
                Ok((mistakes, _)) => return Err(self.pipeline.mistakes(mistakes).into()),
                Err(error) => {
                    let error: weir_kafka::Error = error;
                    if !self.again(&mut waiting, error.into()).await? {
                        return Ok(Err(Stopped));
                    }
                }
            }
        }
    }

    async fn registry(&self) -> Result<Result<Registry, Stopped>, Error> {
        let registry = Registry::new(&self.pipeline.registry)?;
        let mut waiting = Waiting::new(self.health.dependency("registry"));
        while let Err(error) = registry.ping().await {
            if !self.again(&mut waiting, error.into()).await? {
                return Ok(Err(Stopped));
            }
        }
        Ok(Ok(registry))
    }

    async fn target<T: Target>(&self, target: &T) -> Result<Result<Vec<Mistake>, Stopped>, Error> {
        let mut waiting = Waiting::new(self.health.dependency(target.kind()));
        loop {
            match target.prepare().await {
                Ok(mistakes) => return Ok(Ok(mistakes)),
                Err(error) => {
                    if !self.again(&mut waiting, error).await? {
                        return Ok(Err(Stopped));
                    }
                }
            }
        }
    }

    /// Waits after a failure of the environment; `false` when told to stop. Any other failure is the result.
    async fn again(&self, waiting: &mut Waiting, error: Error) -> Result<bool, Error> {
        if error.class() != Class::Environment {
            return Err(error);
        }
        let pause: Duration = waiting.failed(&error);
        Ok(tokio::time::timeout(pause, self.stop.cancelled()).await.is_err())
    }
}
