//! `weir-enricher FILE`

use clap::Parser;
use std::process::ExitCode;
use std::sync::Arc;
use weir_enricher::config::Arguments;
use weir_enricher::{Options, run};
use weir_model::pipeline::Pipeline;
use weir_service::{Metrics, start};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start("enricher", |settings, shutdown| async move {
        let pipeline = Pipeline::load(&arguments.file)?;
        let metrics = Metrics::new("enricher", &pipeline.name);
        run(Arc::new(pipeline), Options { settings, metrics }, shutdown).await
    })
}
