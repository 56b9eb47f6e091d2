//! The arithmetic of the audit and its table, without IO.

use crate::counts::ENRICHER;
use crate::format::grouped;
use serde::Serialize;
use std::ops::RangeInclusive;
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::progress::Counters;

/// The counts of one service, summed over its partitions, and the records that wait in front of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// `producer`, `replay`, `enricher`, or the sink's name.
    pub name: String,
    /// The counts.
    #[serde(flatten)]
    pub counters: Counters,
    /// Data records in the topic in front of this hop that it has not read yet; `None` for a
    /// producer, whose source has no count.
    pub waiting: Option<u64>,
    /// Records that operators gave up in front of this hop.
    pub accepted: u64,
    /// Records that this hop read or still finds, but that did not come through the pipeline.
    pub foreign: u64,
    /// The difference: 0, or the number of missing (positive) or surplus (negative) records.
    pub unaccounted: i128,
}

/// A whole pipeline's audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub pipeline: String,
    pub hops: Vec<Hop>,
    /// Losses that operators accepted.
    #[serde(rename = "accepted_losses")]
    pub accepted: Vec<AcceptedLoss>,
    /// What stands still until somebody acts.
    pub halts: Vec<Halt>,
    /// Ends of the lineage that contradict the positions, and what `--deep` found by reading topics
    /// and targets again.
    pub findings: Vec<String>,
    /// Information that does not make the audit fail.
    pub notes: Vec<String>,
}

/// A service, or a part of it, that does not go on by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Halt {
    /// The service, or the name of the sink.
    pub hop: String,
    /// What is halted: `calls-enriched[2]`, `sink warehouse`.
    pub what: String,
    /// Why, and what to do about it.
    pub reason: String,
}

/// The counts of one hop as read from its position store.
pub struct HopCounts {
    pub name: String,
    pub counters: Counters,
    pub waiting: Option<u64>,
    /// Records that operators gave up in front of it.
    pub accepted: u64,
    /// Records in front of it, read or waiting, that did not come through the pipeline.
    pub foreign: u64,
}

/// The number of records that were passed from hop to hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandedOn {
    /// To the input topic, by the producer and by replays; `None` if other programs write to it as
    /// well.
    pub produced: Option<u64>,
    /// To the output topic.
    pub emitted: u64,
}

impl Verdict {
    /// Compares the counts hop by hop. Within a hop: read = written + filtered + dead. Between two
    /// hops: the next one has read what the first one wrote, or it is still in the topic, or an
    /// operator gave it up. All `sinks` read what the enricher wrote. `producer` is absent if other
    /// programs write the input topic, `replay` if no dead letter was replayed. `later` is what had
    /// been passed on after everything was counted: the pipeline may be running, so the number of
    /// arrived records must be between the numbers passed on before and after.
    pub(crate) fn new(
        pipeline: &str,
        producer: Option<HopCounts>,
        replay: Option<HopCounts>,
        enricher: HopCounts,
        sinks: Vec<HopCounts>,
        later: HandedOn,
    ) -> Verdict {
        let produced = producer.as_ref().map(|producer| {
            producer.counters.written + replay.as_ref().map_or(0, |r| r.counters.written)
        });
        let emitted = Some(enricher.counters.written..=later.emitted);
        let produced = produced.map(|before| before..=later.produced.unwrap_or(before));
        let mut notes = Vec::new();
        let mut hops: Vec<Hop> = producer
            .into_iter()
            .chain(replay)
            .map(|counts| hop(counts, None, &mut notes))
            .collect();
        hops.push(hop(enricher, produced, &mut notes));
        hops.extend(sinks.into_iter().map(|counts| hop(counts, emitted.clone(), &mut notes)));
        Verdict {
            pipeline: pipeline.into(),
            hops,
            accepted: Vec::new(),
            halts: Vec::new(),
            findings: Vec::new(),
            notes,
        }
    }

    /// Records that their reader has yet to read, over all hops.
    pub fn num_waiting(&self) -> u64 {
        self.hops.iter().filter_map(|hop| hop.waiting).sum()
    }

    /// Whether every record is accounted for, and nothing keeps those that wait from going on.
    pub fn clean(&self) -> bool {
        self.halts.is_empty() && self.adds_up()
    }

    /// In one sentence.
    pub fn summary(&self) -> String {
        match (self.adds_up(), self.halts.is_empty(), self.num_waiting()) {
            (false, ..) => "NOT everything is accounted for".into(),
            (true, false, 0) => "HALTED: somebody has to act".into(),
            (true, false, waiting) => {
                format!("HALTED: {} records wait until somebody acts", grouped(waiting))
            }
            (true, true, 0) => "everything is accounted for".into(),
            (true, true, 1) => "nothing is missing, 1 record waits".into(),
            (true, true, waiting) => {
                format!("nothing is missing, {} records wait", grouped(waiting))
            }
        }
    }

    fn adds_up(&self) -> bool {
        self.findings.is_empty() && self.hops.iter().all(|hop| hop.unaccounted == 0)
    }
}

fn hop(counts: HopCounts, handed: Option<RangeInclusive<u64>>, notes: &mut Vec<String>) -> Hop {
    let HopCounts { name, counters, waiting, accepted, foreign } = counts;
    let arrived = (counters.read + waiting.unwrap_or(0) + accepted).saturating_sub(foreign);
    let whose = match name.as_str() {
        ENRICHER => "no producer of this pipeline wrote; they are processed like all others",
        _ => {
            "did not come through this pipeline, and are or become dead letters (no_lineage, \
             foreign_lineage)"
        }
    };
    if foreign > 0 {
        let count = grouped(foreign);
        notes.push(format!("{name}: records in its topic that {whose}: {count}"));
    }
    let between = handed.map_or(0, |handed| {
        let nearest = arrived.clamp(*handed.start(), (*handed.start()).max(*handed.end()));
        let moved = nearest.abs_diff(*handed.start());
        if moved > 0 {
            notes.push(format!(
                "{name}: {} more records arrived during the counting",
                grouped(moved)
            ));
        }
        i128::from(nearest) - i128::from(arrived)
    });
    let unaccounted = counters.unaccounted() + between;
    Hop { name, counters, waiting, accepted, foreign, unaccounted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(
        name: &str,
        read: u64,
        written: u64,
        filtered: u64,
        dead: u64,
        waiting: Option<u64>,
    ) -> HopCounts {
        HopCounts {
            name: name.into(),
            counters: Counters { read, written, filtered, dead, unnested: 0 },
            waiting,
            accepted: 0,
            foreign: 0,
        }
    }

    /// A pipeline in which nothing moved during the counting.
    fn at_rest(
        producer: Option<HopCounts>,
        replay: Option<HopCounts>,
        enricher: HopCounts,
        sinks: Vec<HopCounts>,
    ) -> Verdict {
        let written = |counts: &Option<HopCounts>| {
            counts.as_ref().map_or(0, |counts| counts.counters.written)
        };
        let later = HandedOn {
            produced: Some(written(&producer) + written(&replay)),
            emitted: enricher.counters.written,
        };
        Verdict::new("telecom", producer, replay, enricher, sinks, later)
    }

    #[test]
    fn a_running_pipeline_may_differ_by_the_records_that_moved_during_the_counting() {
        let verdict = |waiting| {
            let enricher = counts("enricher", 80, 80, 0, 0, Some(waiting));
            let sink = counts("warehouse", 70, 70, 0, 0, Some(30));
            let later = HandedOn { produced: Some(130), emitted: 100 };
            Verdict::new(
                "telecom",
                Some(counts("producer", 100, 100, 0, 0, None)),
                None,
                enricher,
                vec![sink],
                later,
            )
        };
        for waiting in [20, 35, 50] {
            assert!(verdict(waiting).clean(), "{:?}", verdict(waiting));
        }
        assert_eq!(verdict(35).notes[0], "enricher: 15 more records arrived during the counting");
        assert_eq!((verdict(19).hops[1].unaccounted, verdict(51).hops[1].unaccounted), (1, -1));
    }

    #[test]
    fn a_balanced_pipeline_is_clean_also_while_records_wait() {
        let verdict = at_rest(
            Some(counts("producer", 100, 100, 0, 0, None)),
            None,
            counts("enricher", 80, 70, 4, 6, Some(20)),
            vec![counts("warehouse", 60, 59, 0, 1, Some(10))],
        );
        assert!(verdict.clean(), "{verdict:?}");
    }

    #[test]
    fn replayed_records_are_counted_as_input() {
        let verdict = |replayed| {
            let producer = Some(counts("producer", 100, 100, 0, 0, None));
            let replay = Some(counts("replay", replayed, replayed, 0, 0, None));
            let enricher = counts("enricher", 104, 100, 0, 4, Some(1));
            at_rest(producer, replay, enricher, vec![counts("warehouse", 100, 100, 0, 0, Some(0))])
        };
        assert!(verdict(5).clean(), "{:?}", verdict(5));
        assert_eq!((verdict(6).hops[2].unaccounted, verdict(4).hops[2].unaccounted), (1, -1));
    }

    #[test]
    fn a_record_lost_between_two_hops_is_missed() {
        let verdict = at_rest(
            Some(counts("producer", 100, 100, 0, 0, None)),
            None,
            counts("enricher", 99, 99, 0, 0, Some(0)),
            vec![counts("warehouse", 99, 99, 0, 0, Some(0))],
        );
        assert_eq!(verdict.hops[1].unaccounted, 1);
        assert!(!verdict.clean());
    }

    #[test]
    fn records_that_were_given_up_are_not_missing_but_all_others_are() {
        let verdict = |accepted| {
            let enricher = HopCounts { accepted, ..counts("enricher", 90, 90, 0, 0, Some(3)) };
            at_rest(Some(counts("producer", 100, 100, 0, 0, None)), None, enricher, Vec::new())
        };
        assert!(verdict(7).clean(), "{:?}", verdict(7));
        assert_eq!((verdict(6).hops[1].unaccounted, verdict(8).hops[1].unaccounted), (1, -1));
    }

    #[test]
    fn foreign_records_neither_hide_a_loss_nor_are_missed_themselves() {
        let unaccounted = |foreign, lost| {
            let enricher = counts("enricher", 100, 100, 0, 0, Some(0));
            let read = 100 + foreign - lost;
            let sink =
                HopCounts { foreign, ..counts("w", read, read - foreign, 0, foreign, Some(0)) };
            at_rest(None, None, enricher, vec![sink]).hops[1].unaccounted
        };
        for (foreign, lost) in [(0, 0), (1, 0), (0, 7), (100, 100), (5, 9)] {
            assert_eq!(unaccounted(foreign, lost), i128::from(lost), "{foreign} {lost}");
        }
    }

    #[test]
    fn records_that_wait_or_cannot_go_on_are_not_everything_accounted_for() {
        let verdict = |waiting, halted: bool| {
            let enricher = counts("enricher", 100, 100, 0, 0, Some(0));
            let sink = counts("w", 100 - waiting, 100 - waiting, 0, 0, Some(waiting));
            let mut verdict = at_rest(None, None, enricher, vec![sink]);
            let halt = Halt { hop: "w".into(), what: "out[0]".into(), reason: "gone".into() };
            verdict.halts.extend(halted.then_some(halt));
            (verdict.clean(), verdict.summary())
        };
        assert_eq!(verdict(0, false), (true, "everything is accounted for".into()));
        assert_eq!(verdict(1, false), (true, "nothing is missing, 1 record waits".into()));
        assert_eq!(verdict(60, false), (true, "nothing is missing, 60 records wait".into()));
        assert_eq!(
            verdict(60, true),
            (false, "HALTED: 60 records wait until somebody acts".into())
        );
        assert_eq!(verdict(0, true), (false, "HALTED: somebody has to act".into()));
    }

    #[test]
    fn a_duplicate_record_is_negative() {
        let verdict = at_rest(
            None,
            None,
            counts("enricher", 100, 100, 0, 0, Some(0)),
            vec![counts("w", 101, 101, 0, 0, Some(0))],
        );
        assert_eq!(verdict.hops[1].unaccounted, -1);
    }

    #[test]
    fn a_record_lost_within_a_hop_is_missed() {
        let verdict = at_rest(
            None,
            None,
            counts("enricher", 100, 98, 1, 0, Some(0)),
            vec![counts("w", 98, 98, 0, 0, Some(0))],
        );
        assert_eq!(verdict.hops[0].unaccounted, 1);
        assert!(!verdict.clean());
    }
}
