//! Counts dead letters, or lists the latest of them.

use super::dead_letter::DeadLetter;
use super::filter::Filter;
use super::read;
use crate::Result;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use weir_kafka::replay::Marks;
use weir_model::mistake::did_you_mean;
use weir_model::pipeline::Pipeline;
use weir_store::reader::ReasonCount;

/// Dead letters with the same stage, sink and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    pub stage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sink: Option<String>,
    pub reason: String,
    pub count: u64,
    pub replayed: u64,
    /// Kafka timestamps of the records, milliseconds since 1970.
    pub first_ms: i64,
    pub last_ms: i64,
    /// The coordinates of the first of them that was found.
    pub example: String,
}

/// Counts the dead letters that `filter` takes by stage, sink and reason, most frequent first.
///
/// # Errors
/// When the broker or a target is unavailable, or a given name is not the name of a sink.
pub async fn groups(pipeline: &Pipeline, filter: &Filter, marks: &Marks) -> Result<Vec<Group>> {
    let mut groups = Groups::default();
    read::each(pipeline, filter, |dead_letter| {
        groups.add(&dead_letter, dead_letter.is_marked(pipeline, marks));
    })
    .await?;
    Ok(groups.sorted())
}

/// Which of `reasons` no dead letter of the pipeline has, for people; `None`: there are some of each.
///
/// # Errors
/// When the broker or a target is unavailable.
pub async fn unknown_reasons(pipeline: &Pipeline, reasons: &[String]) -> Result<Option<String>> {
    let mut known = BTreeSet::new();
    read::each(pipeline, &Filter::default(), |dead_letter| _ = known.insert(dead_letter.reason))
        .await?;
    let Some(unknown) = reasons.iter().find(|reason| !known.contains(*reason)) else {
        return Ok(None);
    };
    let close = did_you_mean(unknown, known.iter().map(String::as_str));
    let all: Vec<&str> = known.iter().map(String::as_str).collect();
    let there = if all.is_empty() { "none".into() } else { all.join(", ") };
    Ok(Some(format!("no dead letter has the reason `{unknown}`{close}; there are: {there}")))
}

/// The `limit` dead letters with the latest timestamps, oldest first. Only about this many are kept
/// in memory.
///
/// # Errors
/// When the broker or a target is unavailable, or a given name is not the name of a sink.
pub async fn latest(pipeline: &Pipeline, filter: &Filter, limit: usize) -> Result<Vec<DeadLetter>> {
    let mut kept: Vec<DeadLetter> = Vec::new();
    let keep = |kept: &mut Vec<DeadLetter>| {
        kept.sort_by(|a, b| (a.time_ms, a.coordinates()).cmp(&(b.time_ms, b.coordinates())));
        kept.drain(..kept.len().saturating_sub(limit));
    };
    read::each(pipeline, filter, |dead_letter| {
        kept.push(dead_letter);
        if kept.len() > limit * 2 + 1000 {
            keep(&mut kept);
        }
    })
    .await?;
    keep(&mut kept);
    Ok(kept)
}

#[derive(Default)]
struct Groups(BTreeMap<(&'static str, Option<String>, String), Group>);

impl Groups {
    fn add(&mut self, dead_letter: &DeadLetter, replayed: bool) {
        let (stage, sink) = (dead_letter.stage.as_str(), dead_letter.sink().map(str::to_owned));
        let group =
            self.0.entry((stage, sink.clone(), dead_letter.reason.clone())).or_insert_with(|| {
                Group {
                    stage,
                    sink,
                    reason: dead_letter.reason.clone(),
                    count: 0,
                    replayed: 0,
                    first_ms: dead_letter.time_ms,
                    last_ms: dead_letter.time_ms,
                    example: dead_letter.coordinates().to_string(),
                }
            });
        group.count += 1;
        group.replayed += u64::from(replayed);
        group.first_ms = group.first_ms.min(dead_letter.time_ms);
        group.last_ms = group.last_ms.max(dead_letter.time_ms);
    }

    fn sorted(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.0.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }
}

/// The reasons of the dead letters in the topic, each with its first dead letter. (Those of a sink:
/// [`weir_store::TargetReader::dead_letter_reasons`].)
///
/// # Errors
/// When the broker is unavailable.
pub fn topic_reasons(pipeline: &Pipeline) -> Result<Vec<ReasonCount>> {
    let mut reasons: BTreeMap<String, ReasonCount> = BTreeMap::new();
    tokio::task::block_in_place(|| {
        read::in_topic(pipeline, |dead_letter, _| {
            let first = || ReasonCount {
                reason: dead_letter.reason.clone(),
                count: 0,
                example: dead_letter.coordinates().to_string(),
                detail: dead_letter.detail.clone(),
            };
            reasons.entry(dead_letter.reason.clone()).or_insert_with(first).count += 1;
        })
    })?;
    Ok(reasons.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::{of_sink, of_topic};
    use super::*;
    use weir_model::fault::Stage;

    #[test]
    fn dead_letters_are_counted_by_stage_sink_and_reason() {
        let mut groups = Groups::default();
        for (offset, time_ms) in [(7, 30), (8, 10), (9, 20)] {
            groups
                .add(&DeadLetter { time_ms, ..of_topic(Stage::Rule, "late", offset) }, offset == 8);
        }
        groups.add(&of_topic(Stage::Decode, "late", 9), false);
        groups.add(&of_sink("warehouse", Some(4)), false);
        groups.add(&of_sink("lake", Some(4)), true);
        let sorted = groups.sorted();
        let late = &sorted[0];
        assert_eq!(
            (late.count, late.replayed, late.first_ms, late.last_ms, late.example.as_str()),
            (3, 1, 10, 30, "calls[0]@7")
        );
        assert_eq!(sorted.len(), 4);
    }
}
