//! `weir-enricher FILE`

use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use weir_enricher::config::Arguments;
use weir_enricher::{Options, run};
use weir_model::pipeline::Pipeline;
use weir_service::{Health, Metrics, start};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start("enricher", |settings, shutdown| async move {
        let pipeline = Pipeline::load(&arguments.file)?;
        let metrics = Metrics::new("enricher", &pipeline.name);
        let health = Health::new(&metrics);
        run(Arc::new(pipeline), Options { settings, metrics, health }, shutdown).await
    })
}
