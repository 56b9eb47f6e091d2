//! Selects dead letters.

use super::dead_letter::DeadLetter;
use crate::Result;
use crate::error::refuse;
use jiff::Timestamp;
use weir_model::fault::Stage;
use weir_model::mistake::did_you_mean;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::protocol::Partition;

/// Conditions. A dead letter must meet all of them, and match one entry of each list that is not
/// empty.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The step that refused the record.
    pub stages: Vec<Stage>,
    /// The short name of the fault, such as a rule's.
    pub reasons: Vec<String>,
    /// The record's Kafka timestamp is this or later.
    pub since: Option<Timestamp>,
    /// The record's Kafka timestamp is before this.
    pub until: Option<Timestamp>,
    /// Partition of the input topic.
    pub partitions: Vec<Partition>,
    /// Dead letters of these sinks only.
    pub sinks: Vec<String>,
}

impl Filter {
    /// Whether the dead letter meets the conditions.
    pub(crate) fn takes(&self, dead_letter: &DeadLetter) -> bool {
        any_of(&self.stages, &dead_letter.stage)
            && any_of(&self.reasons, &dead_letter.reason)
            && any_of(&self.partitions, &dead_letter.partition())
            && (self.sinks.is_empty()
                || self.sinks.iter().any(|name| dead_letter.sink() == Some(name)))
            && self.since.is_none_or(|since| dead_letter.time_ms >= since.as_millisecond())
            && self.until.is_none_or(|until| dead_letter.time_ms < until.as_millisecond())
    }

    /// Whether dead letters of the topic can meet the conditions.
    pub(crate) fn topic(&self) -> bool {
        self.sinks.is_empty()
            && (self.stages.is_empty() || self.stages.iter().any(|stage| *stage != Stage::Sink))
    }

    /// The sinks whose dead letters can meet the conditions.
    ///
    /// # Errors
    /// A given name is not the name of a sink.
    pub(crate) fn chosen_sinks<'a>(&self, pipeline: &'a Pipeline) -> Result<Vec<&'a Sink>> {
        for name in &self.sinks {
            if !pipeline.sinks.iter().any(|sink| sink.name == *name) {
                let names: Vec<&str> =
                    pipeline.sinks.iter().map(|sink| sink.name.as_str()).collect();
                let close = did_you_mean(name, names.iter().copied());
                refuse!(
                    "{} has no sink `{name}`{close} (its sinks: {})",
                    pipeline.file.display(),
                    names.join(", ")
                );
            }
        }
        let meant =
            |sink: &&Sink| any_of(&self.stages, &Stage::Sink) && any_of(&self.sinks, &sink.name);
        Ok(pipeline.sinks.iter().filter(meant).collect())
    }
}

fn any_of<T: PartialEq>(allowed: &[T], value: &T) -> bool {
    allowed.is_empty() || allowed.contains(value)
}

#[cfg(test)]
mod tests {
    use super::super::dead_letter::tests::{of_sink, of_topic};
    use super::*;

    #[test]
    fn conditions_add_up_and_repeated_ones_widen() {
        let dead_letter = of_topic(Stage::Rule, "late", 7);
        let filter = |edit: fn(&mut Filter)| {
            let mut filter = Filter::default();
            edit(&mut filter);
            filter
        };
        assert!(Filter::default().takes(&dead_letter));
        assert!(filter(|f| f.reasons = vec!["early".into(), "late".into()]).takes(&dead_letter));
        assert!(!filter(|f| f.reasons = vec!["early".into()]).takes(&dead_letter));
        assert!(
            !filter(|f| (f.reasons, f.stages) = (vec!["late".into()], vec![Stage::Decode]))
                .takes(&dead_letter)
        );
        assert!(!filter(|f| f.partitions = vec![3]).takes(&dead_letter));
        assert!(!filter(|f| f.sinks = vec!["warehouse".into()]).takes(&dead_letter));
        assert!(
            filter(|f| f.sinks = vec!["warehouse".into()]).takes(&of_sink("warehouse", Some(7)))
        );
    }

    #[test]
    fn only_the_topic_or_sinks_that_can_match_are_read() {
        let staged = |stage| Filter { stages: vec![stage], ..Filter::default() };
        assert!(
            Filter::default().topic()
                && staged(Stage::Decode).topic()
                && !staged(Stage::Sink).topic()
        );
        assert!(!Filter { sinks: vec!["warehouse".into()], ..Filter::default() }.topic());
    }

    #[test]
    fn a_time_span_begins_with_since_and_ends_before_until() {
        let at = |ms| Some(Timestamp::from_millisecond(ms).unwrap());
        let dead_letter = DeadLetter { time_ms: 1000, ..of_topic(Stage::Rule, "late", 7) };
        let between = |since, until| {
            Filter { since: at(since), until: at(until), ..Filter::default() }.takes(&dead_letter)
        };
        assert!(between(1000, 1001) && !between(1001, 2000) && !between(0, 1000));
    }
}
