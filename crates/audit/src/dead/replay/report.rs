//! The result of a replay.

use serde::Serialize;
use std::collections::BTreeMap;
use weir_model::pipeline::Pipeline;

/// The number of dead letters with the same outcome, and the coordinates of the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CountAndFirst {
    pub count: u64,
    pub first: String,
}

impl CountAndFirst {
    fn add(&mut self, coordinates: String) {
        if self.count == 0 {
            self.first = coordinates;
        }
        self.count += 1;
    }
}

/// The number of dead letters by outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub pipeline: String,
    pub topic: String,
    pub dry_run: bool,
    /// Replayed, or would be in a dry run.
    pub replayed: u64,
    /// A sink merges by key and knows the order: those that are older than the row of their key
    /// change nothing.
    pub ordered: bool,
    /// Replayed before.
    pub already: u64,
    /// Replayed before and dead-lettered again.
    pub guarded: CountAndFirst,
    /// Cannot be replayed, by reason.
    pub left: BTreeMap<String, CountAndFirst>,
    /// More than --limit allows.
    pub beyond: u64,
    /// For a dry run: what the pipeline would do with the records now.
    pub forecast: Option<Outlook>,
}

/// The forecast for the replayed records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outlook {
    pub pass: u64,
    pub filtered: u64,
    /// By reason.
    pub dead: BTreeMap<String, u64>,
}

impl Report {
    pub(crate) fn new(pipeline: &Pipeline, dry_run: bool) -> Report {
        Report {
            pipeline: pipeline.name.clone(),
            topic: pipeline.input.topic.clone(),
            dry_run,
            replayed: 0,
            ordered: pipeline
                .sinks
                .iter()
                .any(|sink| !sink.target.keeps_every_record() && !sink.target.forgets_order()),
            already: 0,
            guarded: CountAndFirst::default(),
            left: BTreeMap::new(),
            beyond: 0,
            forecast: None,
        }
    }

    /// A dead letter whose record was replayed too often.
    pub(crate) fn guard(&mut self, coordinates: String) {
        self.guarded.add(coordinates);
    }

    /// A dead letter whose record cannot be replayed.
    pub(crate) fn leave(&mut self, why: String, coordinates: String) {
        self.left.entry(why).or_default().add(coordinates);
    }

    /// Whether everything that was chosen was replayed, now or before.
    pub fn complete(&self) -> bool {
        self.guarded.count == 0 && self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_complete_when_nothing_stays_dead() {
        let complete = Report { replayed: 9870, beyond: 5, ..Report::default() };
        assert!(complete.complete());
        let mut guarded = complete.clone();
        guarded.guard("calls[0]@7".into());
        guarded.guard("calls[0]@8".into());
        assert!(!guarded.complete());
        assert_eq!(guarded.guarded, CountAndFirst { count: 2, first: "calls[0]@7".into() });
        let mut left = complete;
        left.leave("gone".into(), "calls[0]@7".into());
        assert!(!left.complete());
    }
}
