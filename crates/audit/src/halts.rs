//! What keeps a sink from going on, as far as its target and its group tell.

use crate::Result;
use crate::verdict::{Halt, Verdict};
use weir_codec::Schema;
use weir_kafka::admin;
use weir_model::pipeline::Pipeline;

/// Adds the halts that a target's own state explains, and notes readers that are not running, for
/// every hop in front of which records wait.
pub(crate) async fn add(pipeline: &Pipeline, verdict: &mut Verdict) -> Result<()> {
    for sink in &pipeline.sinks {
        if !waits(verdict, &sink.name) {
            continue;
        }
        let schema = Schema::load(&pipeline.output.schema)?.arrow();
        let check = weir_store::reader::open(pipeline, sink)?.check(&schema).await?;
        if !check.mistakes.is_empty() {
            let list: Vec<String> = check.mistakes.into_iter().map(|m| m.what).collect();
            verdict.halts.push(Halt {
                hop: sink.name.clone(),
                what: format!("sink {}", sink.name),
                reason: format!("{}; it goes on by itself when this is repaired", list.join("; ")),
            });
        }
        note_absence(pipeline, &sink.name, &pipeline.sink_group(&sink.name), verdict)?;
    }
    if waits(verdict, crate::counts::ENRICHER) {
        let group = pipeline.enricher_group();
        note_absence(pipeline, crate::counts::ENRICHER, &group, verdict)?;
    }
    Ok(())
}

fn waits(verdict: &Verdict, hop: &str) -> bool {
    verdict.hops.iter().any(|found| found.name == hop && found.waiting.unwrap_or(0) > 0)
}

fn note_absence(pipeline: &Pipeline, hop: &str, group: &str, verdict: &mut Verdict) -> Result<()> {
    let members = tokio::task::block_in_place(|| admin::members(&pipeline.kafka, group))?;
    if members.is_empty() {
        verdict
            .notes
            .push(format!("{hop}: records wait and no instance is running (group {group})"));
    }
    Ok(())
}
