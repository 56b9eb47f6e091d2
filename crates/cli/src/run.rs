//! `weir run`: all services of one pipeline in one process, for laptops and tests. With
//! `--until-done` it ends when everything has arrived, runs the audit, and shows the result.

mod gauge;
mod progress;
mod summary;

use crate::{audit, check};
use anyhow::{Context, Result};
use gauge::{Gauge, Totals};
use progress::Progress;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use weir_audit::verdict::Halt;
use weir_model::pipeline::{End, Pipeline};
use weir_service::{CancellationToken, Health, Metrics, Settings};

const REFRESH: Duration = Duration::from_millis(100);
/// If nothing moves for this long although not everything has arrived, stop; the audit then shows
/// where the records are.
const STUCK: f64 = 120.0;
/// A halt that lasts so long is none that a service or a rebalance ends by itself.
const HALTED: Duration = Duration::from_secs(5);

/// The arguments of `weir run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir run deploy/pipelines/telecom.toml\n  \
        weir run deploy/pipelines/telecom.toml --until-done --records 200000 --rate 0\n\n\
    Ctrl-C drains and ends. With --until-done the exit code is the audit's, and 1 when not \
    everything arrived.")]
pub(crate) struct Args {
    /// The pipeline file.
    file: std::path::PathBuf,
    /// End when the source is exhausted and everything has arrived, then audit and show a summary.
    #[arg(long)]
    until_done: bool,
    /// Instead of source.records (synthetic sources): the total number of records.
    #[arg(long)]
    records: Option<u64>,
    /// Instead of source.rate: records per second, 0 for as fast as possible.
    #[arg(long)]
    rate: Option<u64>,
}

/// Runs the pipeline until it is done or is told to stop.
///
/// # Errors
/// Mistakes in the file, or the first service that failed.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let _logs = weir_service::logs::install();
    let mut pipeline = Pipeline::load(&args.file)?;
    let total = adjust(&mut pipeline, &args)?;
    let passed = check::without_servers(&pipeline).await?;
    println!(" ✔ check       {}: {passed} checks without servers passed", args.file.display());

    let stop = weir_service::signals::shutdown()?;
    let pipeline = Arc::new(pipeline);
    let mut services = Services::start(&pipeline, args.until_done, &stop)?;
    let ended = services.watch(&pipeline, total, &args, &stop).await;
    // Before they are told to stop: a partition that is given back is no longer halted.
    let standstill = match ended {
        Ok(RunEnd::Halted) => services.standstill(false),
        Ok(RunEnd::Stuck) => services.standstill(true),
        _ => Vec::new(),
    };
    stop.cancel();
    let drained = services.drain().await;
    let end = ended?;
    drained?;
    if !args.until_done {
        return Ok(ExitCode::SUCCESS);
    }
    let mut verdict = weir_audit::verdict(&pipeline).await?;
    verdict.halts.extend(standstill);
    println!("\n{}", audit::text(&verdict));
    summary::print(&pipeline, &services.hops).await?;
    if let Some(text) = end.text() {
        eprintln!("weir: {text}");
    }
    let done = end == RunEnd::Done && verdict.clean();
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why `weir run` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunEnd {
    /// Everything has arrived.
    Done,
    /// Somebody asked to stop, or a service ended by itself.
    Stopped,
    /// A service has been halted for a while; it does not go on by itself.
    Halted,
    /// Nothing has moved for a while.
    Stuck,
}

impl RunEnd {
    /// For people; `None` when everything is done.
    fn text(self) -> Option<&'static str> {
        match self {
            RunEnd::Done => None,
            RunEnd::Stopped => Some("stopped before everything had arrived; run it again to go on"),
            RunEnd::Halted => {
                Some("a service is halted (see above): repair what it names and run it again")
            }
            RunEnd::Stuck => Some(
                "nothing moved for two minutes although not everything has arrived (see above)",
            ),
        }
    }
}

/// Applies the options to the source; returns how many records it will return, if known.
fn adjust(pipeline: &mut Pipeline, args: &Args) -> Result<Option<u64>> {
    let Some(source) = &mut pipeline.source else { return Ok(None) };
    let kind = source.kind();
    let config = source.config_mut();
    if let Some(rate) = args.rate {
        config.set_rate(rate);
    }
    if let Some(records) = args.records {
        anyhow::ensure!(
            config.set_records(records),
            "--records is not for a source of type {kind}"
        );
    }
    match config.end() {
        End::After(records) => Ok(Some(records)),
        End::ByItself => Ok(None),
        End::Never if args.until_done => {
            anyhow::bail!("--until-done needs an end: give --records, or set source.records")
        }
        End::Never => Ok(None),
    }
}

type Ended = (&'static str, Result<()>);

/// The services of one pipeline and their metrics.
struct Services {
    running: JoinSet<Ended>,
    hops: Vec<Gauge>,
    health: Vec<(&'static str, Health)>,
}

impl Services {
    fn start(
        pipeline: &Arc<Pipeline>,
        until_done: bool,
        stop: &CancellationToken,
    ) -> Result<Services> {
        let mut services =
            Services { running: JoinSet::new(), hops: Vec::new(), health: Vec::new() };
        let metrics = |service: &str| Metrics::new(service, &pipeline.name);
        if pipeline.source.is_some() {
            let metrics = metrics("producer");
            services.hops.push(Gauge::new("source", &metrics, None));
            let health = services.watch_health("producer", &metrics);
            let options = weir_producer::Options {
                settings: settings("producer")?,
                metrics,
                health,
                exit_when_done: until_done,
            };
            let (pipeline, stop) = (pipeline.clone(), stop.clone());
            services.running.spawn(async move {
                ("producer", weir_producer::run(pipeline, options, stop).await.map_err(Into::into))
            });
        }
        let enricher = metrics("enricher");
        services.hops.push(Gauge::new("enriched", &enricher, None));
        let health = services.watch_health("enricher", &enricher);
        let options =
            weir_enricher::Options { settings: settings("enricher")?, metrics: enricher, health };
        let (own, token) = (pipeline.clone(), stop.clone());
        services.running.spawn(async move {
            ("enricher", weir_enricher::run(own, options, token).await.map_err(Into::into))
        });

        let sink = metrics("sink");
        let several = pipeline.sinks.len() > 1;
        services.hops.extend(
            pipeline
                .sinks
                .iter()
                .map(|s| Gauge::new(&s.name, &sink, several.then_some(s.name.as_str()))),
        );
        let health = services.watch_health("sink", &sink);
        let options =
            weir_sink::Options { settings: settings("sink")?, metrics: sink, health, only: None };
        let (own, token) = (pipeline.clone(), stop.clone());
        services.running.spawn(async move {
            ("sink", weir_sink::run(own, options, token).await.map_err(Into::into))
        });
        Ok(services)
    }

    fn watch_health(&mut self, service: &'static str, metrics: &Metrics) -> Health {
        let health = Health::new(metrics);
        self.health.push((service, health.clone()));
        health
    }

    /// What stands still: halts and, `with_outages`, dependencies that do not answer.
    fn standstill(&self, with_outages: bool) -> Vec<Halt> {
        let of = |(service, health): &(&str, Health)| {
            let readiness = health.readiness();
            let away = readiness
                .dependencies
                .into_iter()
                .filter(|(_, state)| with_outages && state != "ok");
            let all = readiness.halted.into_iter().chain(away);
            all.map(|(what, reason)| Halt { hop: (*service).into(), what, reason })
                .collect::<Vec<_>>()
        };
        self.health.iter().flat_map(of).collect()
    }

    /// For how long a service has been halted; `since` is when that was seen first.
    fn halted_for(&self, since: &mut Option<Instant>) -> Duration {
        if self.health.iter().all(|(_, health)| health.readiness().halted.is_empty()) {
            *since = None;
        } else {
            since.get_or_insert_with(Instant::now);
        }
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Shows progress until all has arrived, a service ends, or somebody asks to stop; with
    /// `--until-done` also until nothing can arrive any more.
    async fn watch(
        &mut self,
        pipeline: &Pipeline,
        total: Option<u64>,
        args: &Args,
        stop: &CancellationToken,
    ) -> Result<RunEnd> {
        let mut progress = Progress::new(&self.hops, total);
        let mut source_done = pipeline.source.is_none();
        let (mut looked, mut halted) = (Instant::now(), None);
        loop {
            let totals: Vec<Totals> = self.hops.iter_mut().map(Gauge::totals).collect();
            let seen: Vec<(&Gauge, Totals)> = self.hops.iter().zip(totals).collect();
            let expected = total.or(source_done.then(|| seen[0].1.read));
            progress.show(&seen, expected);
            if args.until_done && looked.elapsed() > 3 * REFRESH {
                looked = Instant::now();
                if let Some(end) = self.end(pipeline, source_done, &mut halted).await {
                    // More was committed while that was found out.
                    let totals: Vec<Totals> = self.hops.iter_mut().map(Gauge::totals).collect();
                    let seen: Vec<(&Gauge, Totals)> = self.hops.iter().zip(totals).collect();
                    progress.finish(&seen);
                    return Ok(end);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(REFRESH) => {}
                () = stop.cancelled() => return Ok(RunEnd::Stopped),
                Some(ended) = self.running.join_next() => match ended.context("a service panicked")? {
                    ("producer", Ok(())) if args.until_done && !source_done => source_done = true,
                    (_, Ok(())) => return Ok(RunEnd::Stopped),
                    (service, Err(error)) => return Err(error.context(service)),
                },
            }
        }
    }

    /// Why a run to the end is over; `None`: it goes on. While the broker or a target does not
    /// answer, nobody can tell whether everything has arrived.
    async fn end(
        &self,
        pipeline: &Pipeline,
        source_done: bool,
        halted: &mut Option<Instant>,
    ) -> Option<RunEnd> {
        if source_done && weir_audit::arrived(pipeline).await.unwrap_or(false) {
            return Some(RunEnd::Done);
        }
        if self.halted_for(halted) > HALTED {
            return Some(RunEnd::Halted);
        }
        self.hops.iter().all(|hop| hop.still_for() > STUCK).then_some(RunEnd::Stuck)
    }

    /// Waits until every service has ended; the first failure is the result.
    async fn drain(&mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.running.join_next().await {
            let (service, ended) = ended.context("a service panicked")?;
            result = result.and(ended.with_context(|| service));
        }
        result
    }
}

/// Admin pages on free ports: several services share this process, and a laptop may have port 8080
/// in use.
fn settings(service: &str) -> Result<Settings> {
    let mut settings = Settings::from_env(service)?;
    if std::env::var_os("WEIR_LISTEN").is_none() {
        settings.listen = ([127, 0, 0, 1], 0).into();
    }
    Ok(settings)
}
