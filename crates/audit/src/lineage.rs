//! The lineage chain of a partition: what the enricher emitted, to the output and to the dead
//! letters, in the order it did.

use crate::Result;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_kafka::reader::{Span, scan};
use weir_kafka::{DeadLetter, admin};
use weir_model::accepted_loss::{AcceptedLoss, Emitted};
use weir_model::fault::Stage;
use weir_model::lineage::Lineage;
use weir_model::pipeline::Pipeline;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Offset, Partition};

/// Where an emitted record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Output,
    Letters,
}

/// An emitted record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) lineage: Lineage,
    pub(crate) place: Place,
    pub(crate) offset: Offset,
}

/// All that is left of what was emitted from one partition.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    links: Vec<Link>,
    /// What had been emitted when input offsets started over, oldest first.
    restarts: Vec<Emitted>,
    /// Whether records of the output or of the dead letters are gone, as they are after their
    /// retention.
    pub(crate) headless: bool,
}

/// What following a chain brought to light.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Links that do not name the one before them; with the source offset of that one.
    pub(crate) broken: Vec<(Link, Offset)>,
    /// Records filtered between the links.
    pub(crate) filtered: u64,
    /// Source offset of the last link; −1 where nothing was ever emitted. `None`: nothing is left
    /// to tell.
    pub(crate) end: Option<Offset>,
}

/// Reads the chains of all partitions; `accepted` tells where offsets started over.
pub(crate) fn read(
    pipeline: &Pipeline,
    accepted: &[AcceptedLoss],
) -> Result<BTreeMap<Partition, Chain>> {
    let mut chains: BTreeMap<Partition, Chain> = BTreeMap::new();
    for accepted_loss in accepted {
        for skip in accepted_loss.skips.iter().filter(|skip| skip.restarts()) {
            let chain = chains.entry(skip.partition).or_default();
            chain.restarts.extend(skip.emitted);
            // An output that a sink found truncated or recreated has lost records.
            chain.headless |= accepted_loss.topic == pipeline.output.topic;
        }
    }
    for (topic, place) in
        [(&pipeline.output.topic, Place::Output), (&pipeline.dead_letters.topic, Place::Letters)]
    {
        let watermarks = admin::describe(&pipeline.kafka, topic)?.unwrap_or_default();
        for watermarks in &watermarks {
            chains.entry(watermarks.partition).or_default().headless |= watermarks.first > 0;
        }
        let span = |watermarks: &admin::Watermarks| Span {
            partition: watermarks.partition,
            from: Some(watermarks.first),
            until: None,
        };
        scan(&pipeline.kafka, topic, &watermarks.iter().map(span).collect::<Vec<_>>(), |record| {
            // The producer's dead letters never were in the input topic and have no part in the
            // chain.
            let source = place == Place::Letters
                && DeadLetter::read(record)
                    .is_some_and(|dead_letter| dead_letter.stage == Stage::Source);
            if let Some(lineage) = record.lineage().filter(|_| !source) {
                chains.entry(record.partition()).or_default().links.push(Link {
                    lineage,
                    place,
                    offset: record.offset(),
                });
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(chains)
}

impl Chain {
    /// A chain of which nothing is gone.
    #[cfg(test)]
    pub(crate) fn of(links: Vec<Link>) -> Chain {
        Chain { links, ..Chain::default() }
    }

    /// How many links are in a place.
    pub(crate) fn count(&self, place: Place) -> u64 {
        self.links.iter().filter(|link| link.place == place).count() as u64
    }

    /// Follows the links in the order in which they were emitted: by input offset, from one restart
    /// to the next.
    pub(crate) fn walk(&self) -> Walk {
        let mut links = self.links.clone();
        links.sort_by_key(|link| (self.restarts_before(link), link.lineage.source));
        let mut walk = Walk::default();
        let (mut from, mut previous) = (0, -1);
        if self.headless {
            // Dead letters are kept longer than output: those from before its first record have
            // lost their neighbours.
            let Some(first) = links.iter().position(|link| link.place == Place::Output) else {
                return walk;
            };
            (from, previous) = (first, links[first].lineage.previous);
        }
        for link in &links[from..] {
            if link.lineage.previous != previous {
                walk.broken.push((*link, previous));
            }
            previous = link.lineage.source;
            walk.filtered += link.lineage.filtered;
        }
        walk.end = Some(previous);
        walk
    }

    fn restarts_before(&self, link: &Link) -> usize {
        let end = |restart: &Emitted| {
            if link.place == Place::Output { restart.output } else { restart.dead_letters }
        };
        self.restarts.iter().filter(|restart| end(restart) <= link.offset).count()
    }

    /// The counts of the enricher as they were when it emitted its last record; `None` when the
    /// chain is not whole.
    pub(crate) fn counts(&self) -> Option<Progress> {
        let walk = self.walk();
        let last = walk.end.filter(|_| !self.headless && walk.broken.is_empty())?;
        let (written, dead) = (self.count(Place::Output), self.count(Place::Letters));
        let counters = Counters {
            read: written + dead + walk.filtered,
            written,
            filtered: walk.filtered,
            dead,
        };
        Some(Progress { counters, last: (last >= 0).then_some(last), filtered_since: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offset of a link is its place in the list.
    fn chain(links: &[(Place, i64, i64, u64)]) -> Chain {
        let link =
            |(offset, (place, source, previous, filtered)): (Offset, &(Place, i64, i64, u64))| {
                let lineage = Lineage { source: *source, previous: *previous, filtered: *filtered };
                Link { lineage, place: *place, offset }
            };
        Chain { links: (0..).zip(links).map(link).collect(), ..Chain::default() }
    }

    use Place::{Letters, Output};

    #[test]
    fn offsets_that_begin_anew_break_a_chain_unless_it_is_known_where() {
        let links = [
            (Output, 0, -1, 0),
            (Letters, 7, 0, 2),
            (Letters, 0, 7, 0),
            (Output, 1, 0, 0),
            (Output, 9, 1, 0),
        ];
        let known =
            Chain { restarts: vec![Emitted { output: 1, dead_letters: 2 }], ..chain(&links) };
        assert_eq!(known.walk(), Walk { broken: Vec::new(), filtered: 2, end: Some(9) });
        assert!(!chain(&links).walk().broken.is_empty());
    }

    #[test]
    fn books_are_found_again_in_a_whole_chain_only() {
        let links = [(Output, 3, -1, 3), (Letters, 4, 3, 0), (Output, 9, 4, 1)];
        let counters = Counters { read: 7, written: 2, filtered: 4, dead: 1 };
        assert_eq!(
            chain(&links).counts(),
            Some(Progress { counters, last: Some(9), filtered_since: 0 })
        );
        assert_eq!(chain(&links[1..]).counts(), None);
        assert_eq!(Chain { headless: true, ..chain(&links) }.counts(), None);
    }

    #[test]
    fn a_chain_whose_beginning_is_gone_is_followed_from_its_first_output() {
        let rest = Chain {
            headless: true,
            ..chain(&[
                (Letters, 2, 1, 0),
                (Letters, 7, 6, 0),
                (Output, 9, 7, 0),
                (Letters, 11, 9, 0),
            ])
        };
        assert_eq!(rest.walk(), Walk { broken: Vec::new(), filtered: 0, end: Some(11) });
        assert_eq!(Chain { headless: true, ..chain(&[(Letters, 2, 1, 0)]) }.walk().end, None);
    }
}
