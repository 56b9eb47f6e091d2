//! The options of a producer, and the checks of its part of the pipeline file.

use crate::source;
use std::path::PathBuf;
use weir_codec::Schema;
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;
use weir_service::{Health, Metrics, Settings};

/// One producer instance.
#[derive(Clone)]
pub struct Options {
    /// Listen address and instance name.
    pub settings: Settings,
    /// Its metrics; the caller may read them.
    pub metrics: Metrics,
    /// What `/ready` and `/live` show; the caller may read it.
    pub health: Health,
    /// End when every partition of a bounded source that this instance owns is at its end.
    /// Otherwise the producer stays, idle and ready.
    pub exit_when_done: bool,
}

/// Command line of `weir-producer`.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    version,
    about = "Brings the records of a pipeline's source into its input topic, exactly once"
)]
#[command(after_help = "Environment:\n  WEIR_LISTEN    address of /live /ready /metrics /status \
        (127.0.0.1:8080)\n  WEIR_INSTANCE  stable name of this replica\n  \
        WEIR_LOG       level of the log (info)\n\n\
    Exit codes: 0 drained, 78 mistakes in the pipeline file, 1 anything else")]
pub struct Arguments {
    /// The pipeline file
    pub file: PathBuf,
    /// End when the source is exhausted
    #[arg(long)]
    pub exit_when_done: bool,
}

/// All mistakes in the source, the input schema or the key. Needs no server.
pub fn check(pipeline: &Pipeline) -> Vec<Mistake> {
    match Schema::load(&pipeline.input.schema) {
        Ok(schema) => {
            let mut mistakes = source::build(pipeline, &schema).err().unwrap_or_default();
            mistakes.extend(key_mistake(pipeline, &schema));
            mistakes
        }
        Err(error) => vec![Mistake::new("input.schema", error.to_string())],
    }
}

fn key_mistake(pipeline: &Pipeline, schema: &Schema) -> Option<Mistake> {
    let key = pipeline.input.key.as_deref()?;
    let arrow = schema.arrow();
    let names: Vec<_> = arrow.fields().iter().map(|f| f.name().as_str()).collect();
    (!names.contains(&key)).then(|| {
        Mistake::new(
            "input.key",
            format!("no field `{key}` in the input schema; it has {}", names.join(", ")),
        )
    })
}
