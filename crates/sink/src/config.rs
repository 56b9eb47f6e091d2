//! The options of a sink, and the checks of its part of the pipeline file.

use crate::deletes::Deletes;
use std::path::PathBuf;
use weir_codec::Schema;
use weir_model::mistake::{Mistake, did_you_mean};
use weir_model::pipeline::{Pipeline, Sink};
use weir_service::{Health, Metrics, Settings};

/// One sink instance.
#[derive(Clone)]
pub struct Options {
    /// Listen address and instance name.
    pub settings: Settings,
    /// Its metrics; the caller may read them.
    pub metrics: Metrics,
    /// What `/ready` and `/live` show; the caller may read it.
    pub health: Health,
    /// The sink to run; all sinks of the file if absent.
    pub only: Option<String>,
}

/// Command line of `weir-sink`.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    version,
    about = "Brings the records of a pipeline's output topic into its targets, exactly once"
)]
#[command(after_help = "Environment:\n  WEIR_LISTEN    address of /live /ready /metrics /status \
        (127.0.0.1:8080)\n  WEIR_INSTANCE  name of this replica, for logs and for the broker\n  \
        WEIR_LOG       level of the log (info)\n\n\
    Exit codes: 0 drained, 78 mistakes in the pipeline file, 1 anything else")]
pub struct Arguments {
    /// The pipeline file
    pub file: PathBuf,
    /// Run only the sink of this name
    #[arg(long, value_name = "NAME")]
    pub sink: Option<String>,
}

/// All mistakes in the output schema or the choice of a sink. Needs no server.
pub fn check(pipeline: &Pipeline, only: Option<&str>) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    match Schema::load(&pipeline.output.schema) {
        Ok(output) => {
            for sink in chosen(pipeline, only) {
                mistakes
                    .extend(Deletes::compile(pipeline, sink, &output).err().unwrap_or_default());
            }
        }
        Err(error) => mistakes.push(Mistake::new("output.schema", error.to_string())),
    }
    if let Some(name) = only
        && chosen(pipeline, only).is_empty()
    {
        let names: Vec<&str> = pipeline.sinks.iter().map(|s| s.name.as_str()).collect();
        let hint = did_you_mean(name, names.iter().copied());
        mistakes.push(Mistake::new(
            "sink",
            format!("the file has no sink {name}; it has {}{hint}", names.join(", ")),
        ));
    }
    mistakes
}

/// The sinks to run.
pub(crate) fn chosen<'a>(pipeline: &'a Pipeline, only: Option<&str>) -> Vec<&'a Sink> {
    pipeline.sinks.iter().filter(|sink| only.is_none_or(|name| sink.name == name)).collect()
}
