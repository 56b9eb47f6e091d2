//! The options of an enricher, and the compiled form of its part of the pipeline file.

use std::path::PathBuf;
use std::sync::Arc;
use weir_codec::{KeyType, Schema, check_input};
use weir_model::mistake::Mistake;
use weir_model::pipeline::Pipeline;
use weir_service::{Health, Metrics, Settings};
use weir_transform::{InputColumns, Plan};

/// One enricher instance.
#[derive(Clone)]
pub struct Options {
    /// Listen address and instance name.
    pub settings: Settings,
    /// Its metrics; the caller may read them.
    pub metrics: Metrics,
    /// What `/ready` and `/live` show; the caller may read it.
    pub health: Health,
}

/// Command line of `weir-enricher`.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    version,
    about = "Checks and enriches the records of a pipeline's input topic, exactly once"
)]
#[command(after_help = "Environment:\n  WEIR_LISTEN    address of /live /ready /metrics /status \
        (127.0.0.1:8080)\n  WEIR_INSTANCE  stable name of this replica\n  \
        WEIR_LOG       level of the log (info)\n\n\
    Exit codes: 0 drained, 78 mistakes in the pipeline file, 1 anything else")]
pub struct Arguments {
    /// The pipeline file
    pub file: PathBuf,
}

/// The enricher's part of a pipeline, compiled.
pub struct Job {
    /// The whole file.
    pub pipeline: Arc<Pipeline>,
    /// The schema of the input records.
    pub input: Schema,
    /// What the keys of the input records are.
    pub key: KeyType,
    /// The schema of the output records.
    pub output: Schema,
    /// Rules, lookups and SQL, compiled.
    pub plan: Plan,
}

/// Compiles the enricher's part. Needs no server.
///
/// # Errors
/// All mistakes in the schemas, the lookups, the rules and the SQL.
pub fn check(pipeline: Arc<Pipeline>) -> Result<Job, Vec<Mistake>> {
    let mistake = |key: &str, error: weir_codec::Error| Mistake::new(key, error.to_string());
    match (Schema::load(&pipeline.input.schema), Schema::load(&pipeline.output.schema)) {
        (Ok(input), Ok(output)) => {
            let key = check_input(&pipeline.input, &input)?;
            let columns = InputColumns { value: input.arrow(), key: key.arrow() };
            let plan = Plan::compile(columns, output.arrow(), &pipeline)?;
            Ok(Job { pipeline, input, key, output, plan })
        }
        (input, output) => {
            let input = input.err().map(|error| mistake("input.schema", error));
            Err(input
                .into_iter()
                .chain(output.err().map(|error| mistake("output.schema", error)))
                .collect())
        }
    }
}
