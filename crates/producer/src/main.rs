//! `weir-producer FILE`

use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use weir_model::pipeline::Pipeline;
use weir_producer::config::Arguments;
use weir_producer::{Options, run};
use weir_service::{Health, Metrics, start};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start("producer", |settings, shutdown| async move {
        let pipeline = Pipeline::load(&arguments.file)?;
        let metrics = Metrics::new("producer", &pipeline.name);
        let health = Health::new(&metrics);
        let exit_when_done = arguments.exit_when_done;
        run(Arc::new(pipeline), Options { settings, metrics, health, exit_when_done }, shutdown)
            .await
    })
}
