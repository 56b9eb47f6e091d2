//! Producers inside the test's process, and what they wrote.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use weir_kafka::reader::Span;
use weir_kafka::scan;
use weir_model::pipeline::Pipeline;
use weir_producer::source::Source;
use weir_producer::{Error, Options, run, run_source};
use weir_service::{CancellationToken, Health, Metrics, Settings};
use weir_testkit::random_name;

/// How long a test waits for what must happen.
pub(crate) const LONG: Duration = Duration::from_secs(60);

fn options(pipeline: &Pipeline, exit_when_done: bool) -> Options {
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        instance: random_name("producer"),
        stable: false,
    };
    let metrics = Metrics::new("producer", &pipeline.name);
    Options { settings, health: Health::new(&metrics), metrics, exit_when_done }
}

/// A producer on a runtime of its own.
pub(crate) struct Running {
    stop: CancellationToken,
    metrics: Metrics,
    pub(crate) thread: std::thread::JoinHandle<Result<(), Error>>,
}

impl Running {
    #[allow(dead_code)] // not every test wants the pipeline file's source
    pub(crate) fn start(pipeline: &Arc<Pipeline>, exit_when_done: bool) -> Running {
        let source = pipeline.clone();
        Running::spawn(pipeline, exit_when_done, move |options, stop| run(source, options, stop))
    }

    /// Over a source of the test's own.
    #[allow(dead_code)] // not every test has one
    pub(crate) fn over(
        source: Box<dyn Source>,
        pipeline: &Arc<Pipeline>,
        exit_when_done: bool,
    ) -> Running {
        let own = pipeline.clone();
        Running::spawn(pipeline, exit_when_done, move |options, stop| {
            run_source(own, source, options, stop)
        })
    }

    fn spawn<F: Future<Output = Result<(), Error>>>(
        pipeline: &Pipeline,
        exit_when_done: bool,
        run: impl FnOnce(Options, CancellationToken) -> F + Send + 'static,
    ) -> Running {
        let (stop, options) = (CancellationToken::new(), options(pipeline, exit_when_done));
        let (token, metrics) = (stop.clone(), options.metrics.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(options, token))
        });
        Running { stop, metrics, thread }
    }

    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        page.lines()
            .filter(|l| l.starts_with(&format!("{name}{{")))
            .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    pub(crate) fn written(&self) -> u64 {
        self.metric("weir_records_written_total") as u64
    }

    pub(crate) fn end(self) -> Result<(), Error> {
        self.thread.join().unwrap()
    }

    pub(crate) fn stop(self) {
        self.stop.cancel();
        self.end().unwrap();
    }
}

pub(crate) type Rows = Vec<(Option<Vec<u8>>, Vec<u8>)>;

/// Key and value of every committed record, sorted.
pub(crate) fn rows(pipeline: &Pipeline, topic: &str) -> Rows {
    let mut rows = Rows::new();
    let spans: Vec<_> = (0..pipeline.input.partitions).map(Span::all).collect();
    scan(&pipeline.kafka, topic, &spans, |record| {
        rows.push((record.key().map(Into::into), record.value().unwrap().to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    rows.sort();
    rows
}
