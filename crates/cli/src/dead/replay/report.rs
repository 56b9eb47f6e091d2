//! What came of a replay.

use super::super::text::printable;
use crate::audit::grouped;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use weir_model::pipeline::Pipeline;

/// Dead letters with the same fate, and the coordinates of the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Few {
    pub(super) count: u64,
    pub(super) first: String,
}

impl Few {
    fn add(&mut self, coordinates: String) {
        if self.count == 0 {
            self.first = coordinates;
        }
        self.count += 1;
    }
}

/// Counts of dead letters by what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    pipeline: String,
    topic: String,
    dry_run: bool,
    /// Came back, or would.
    pub(super) replayed: u64,
    /// Had come back before.
    pub(super) already: u64,
    /// Came back before and died again.
    pub(super) guarded: Few,
    /// Cannot come back, by the reason.
    pub(super) left: BTreeMap<String, Few>,
    /// More than --limit allows.
    pub(super) beyond: u64,
    /// Of a dry run: what the pipeline would do with the records now.
    pub(super) forecast: Option<Outlook>,
}

/// What would become of records that come back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Outlook {
    pub(super) pass: u64,
    pub(super) filtered: u64,
    /// By reason.
    pub(super) dead: BTreeMap<String, u64>,
}

impl Report {
    pub(super) fn new(pipeline: &Pipeline, dry_run: bool) -> Report {
        Report {
            pipeline: pipeline.name.clone(),
            topic: pipeline.input.topic.clone(),
            dry_run,
            replayed: 0,
            already: 0,
            guarded: Few::default(),
            left: BTreeMap::new(),
            beyond: 0,
            forecast: None,
        }
    }

    /// A dead letter whose record came back often enough.
    pub(super) fn guard(&mut self, coordinates: String) {
        self.guarded.add(coordinates);
    }

    /// A dead letter whose record cannot come back.
    pub(super) fn leave(&mut self, why: String, coordinates: String) {
        self.left.entry(why).or_default().add(coordinates);
    }

    /// Whether everything that was chosen has come back, now or before.
    pub(super) fn complete(&self) -> bool {
        self.guarded.count == 0 && self.left.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.dry_run { "would come back" } else { "came back" };
        let mut lines = vec![(self.replayed, format!("{verb} to {}", self.topic))];
        if let Some(Outlook { pass, filtered, dead }) = &self.forecast {
            lines.push((*pass, "  of these would pass the enricher as the file is now".into()));
            lines.push((*filtered, "  of these would be filtered".into()));
            lines.extend(
                dead.iter().map(|(reason, count)| {
                    (*count, format!("  of these would die again: {reason}"))
                }),
            );
        }
        lines.push((self.already, "had come back before".into()));
        let Few { count, first } = &self.guarded;
        lines.push((
            *count,
            format!(
                "stay dead: came back before and died again (see --max-replays), the first {first}"
            ),
        ));
        lines.extend(
            self.left.iter().map(|(why, few)| {
                (few.count, format!("stay dead: {why}, the first {}", few.first))
            }),
        );
        lines.push((self.beyond, "more than --limit".into()));
        writeln!(
            f,
            " replay {}{}",
            self.pipeline,
            if self.dry_run { " (dry run: nothing was changed)" } else { "" }
        )?;
        let shown =
            lines.iter().enumerate().filter(|(number, (count, _))| *number == 0 || *count > 0);
        let shown: Vec<(String, String)> =
            shown.map(|(_, (count, text))| (grouped(*count), printable(text))).collect();
        let width = shown.iter().map(|(count, _)| count.len()).max().unwrap_or(0);
        shown.iter().try_for_each(|(count, text)| writeln!(f, " {count:>width$}  {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            pipeline: "calls".into(),
            topic: "calls".into(),
            dry_run: false,
            replayed: 9870,
            already: 12,
            guarded: Few::default(),
            left: BTreeMap::new(),
            beyond: 0,
            forecast: None,
        }
    }

    #[test]
    fn only_what_happened_is_told() {
        assert_eq!(
            report().to_string(),
            " replay calls\n 9,870  came back to calls\n    12  had come back before\n"
        );
        let nothing = Report { replayed: 0, already: 0, ..report() };
        assert_eq!(nothing.to_string(), " replay calls\n 0  came back to calls\n");
    }

    #[test]
    fn it_is_complete_when_nothing_stays_dead() {
        let mut limited = report();
        limited.beyond = 5;
        assert!(limited.complete());
        let mut guarded = report();
        guarded.guard("calls[0]@7".into());
        guarded.guard("calls[0]@8".into());
        assert!(!guarded.complete());
        assert!(
            guarded.to_string().contains("    2  stay dead: came back before and died again (see --max-replays), the first calls[0]@7\n")
        );
        let mut left = report();
        left.leave("gone".into(), "calls[0]@7".into());
        assert!(!left.complete());
    }
}
