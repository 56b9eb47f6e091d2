//! The arithmetic of the audit and its table, without IO.

use crate::format::grouped;
use serde::Serialize;
use std::ops::RangeInclusive;
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::progress::Counters;

/// One service's counts, summed over its partitions, and what still waits in front of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// `producer`, `replay`, `enricher`, or the sink's name.
    pub name: String,
    /// The counts.
    #[serde(flatten)]
    pub counters: Counters,
    /// Data records in the topic in front of this hop that it has not read yet; `None` where a
    /// source has no count.
    pub waiting: Option<u64>,
    /// Records that operators gave up in front of this hop.
    pub accepted: u64,
    /// What does not add up: 0, or how many records are missing (positive) or too many (negative).
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
    /// Positions outside their log, and what `--deep` found by reading topics and targets again.
    pub findings: Vec<String>,
    /// What is worth knowing, but no reason to doubt.
    pub notes: Vec<String>,
}

/// The counts of one hop as read from its position store.
pub struct HopCounts {
    pub name: String,
    pub counters: Counters,
    pub waiting: Option<u64>,
    /// Records that operators gave up in front of it.
    pub accepted: u64,
}

/// Records handed on from hop to hop, by the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HandedOn {
    /// Into the input topic, by the producer and from the dead letters; `None` when other programs
    /// write to it as well.
    pub produced: Option<u64>,
    /// Into the output topic.
    pub emitted: u64,
}

impl Verdict {
    /// Compares the counts hop by hop: within each, read = written + filtered + dead; between two,
    /// what one wrote the next has read or still finds in the topic, or what an operator gave up.
    /// `sinks` all read what the enricher wrote; `producer` is absent when other programs fill the
    /// input topic, `replay` when no dead letter came back to it. `later` is what had been handed
    /// on when everything was counted: a running pipeline moves meanwhile, and what arrived must
    /// lie between what was handed on before and after.
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
            findings: Vec::new(),
            notes,
        }
    }

    /// Whether no topic holds records that its reader has yet to read.
    pub fn nothing_waits(&self) -> bool {
        self.hops.iter().all(|hop| hop.waiting.unwrap_or(0) == 0)
    }

    /// Whether every record is accounted for.
    pub fn clean(&self) -> bool {
        self.findings.is_empty() && self.hops.iter().all(|hop| hop.unaccounted == 0)
    }
}

fn hop(counts: HopCounts, handed: Option<RangeInclusive<u64>>, notes: &mut Vec<String>) -> Hop {
    let HopCounts { name, counters, waiting, accepted } = counts;
    let arrived = counters.read + waiting.unwrap_or(0) + accepted;
    let between = handed.map_or(0, |handed| {
        let nearest = arrived.clamp(*handed.start(), (*handed.start()).max(*handed.end()));
        let moved = nearest.abs_diff(*handed.start());
        if moved > 0 {
            notes.push(format!(
                "{name}: {} more records were handed on while these were counted",
                grouped(moved)
            ));
        }
        i128::from(nearest) - i128::from(arrived)
    });
    Hop { name, counters, waiting, accepted, unaccounted: counters.unaccounted() + between }
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
            counters: Counters { read, written, filtered, dead },
            waiting,
            accepted: 0,
        }
    }

    /// Nothing was handed on while it was counted.
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
    fn a_pipeline_in_motion_is_accused_only_of_what_motion_does_not_explain() {
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
        assert_eq!(
            verdict(35).notes[0],
            "enricher: 15 more records were handed on while these were counted"
        );
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
    fn what_came_back_from_the_dead_letters_is_handed_on_as_well() {
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
    fn what_was_given_up_is_not_missed_and_nothing_more_than_that() {
        let verdict = |accepted| {
            let enricher = HopCounts { accepted, ..counts("enricher", 90, 90, 0, 0, Some(3)) };
            at_rest(Some(counts("producer", 100, 100, 0, 0, None)), None, enricher, Vec::new())
        };
        assert!(verdict(7).clean(), "{:?}", verdict(7));
        assert_eq!((verdict(6).hops[1].unaccounted, verdict(8).hops[1].unaccounted), (1, -1));
    }

    #[test]
    fn a_doubled_record_shows_as_negative() {
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
