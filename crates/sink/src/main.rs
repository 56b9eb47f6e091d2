//! `weir-sink FILE [--sink NAME]`

use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use weir_model::pipeline::Pipeline;
use weir_service::{Health, Metrics, start};
use weir_sink::config::Arguments;
use weir_sink::{Options, run};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start("sink", |settings, shutdown| async move {
        let pipeline = Pipeline::load(&arguments.file)?;
        let metrics = Metrics::new("sink", &pipeline.name);
        let health = Health::new(&metrics);
        let options = Options { settings, metrics, health, only: arguments.sink };
        run(Arc::new(pipeline), options, shutdown).await
    })
}
