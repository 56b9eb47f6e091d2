//! The books of a batch, and the chain of lineage through it.

use crate::enrich::Fate;
use std::collections::BTreeMap;
use weir_model::lineage::Lineage;
use weir_model::progress::Progress;
use weir_model::protocol::{Offset, Partition};

/// What a batch adds to the books, and what each of its emitted records says about where it came from.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// One per record; that of a filtered record means nothing.
    pub(crate) lineages: Vec<Lineage>,
    /// What the batch adds, per partition.
    pub(crate) deltas: BTreeMap<Partition, Progress>,
}

/// One partition's part.
struct Link {
    partition: Partition,
    /// The end of the chain so far.
    last: Option<Offset>,
    filtered: u64,
    delta: Progress,
}

/// Goes through a batch in order; `books` gives the end of each partition's chain before it.
pub(crate) fn account<'a>(
    records: impl ExactSizeIterator<Item = (Partition, Offset)>,
    fates: &[Fate],
    books: impl Fn(Partition) -> Option<&'a Progress>,
) -> Account {
    let mut links: Vec<Link> = Vec::new();
    let mut lineages = Vec::with_capacity(records.len());
    for ((partition, offset), fate) in records.zip(fates) {
        let at = links.iter().position(|link| link.partition == partition).unwrap_or_else(|| {
            links.push(Link::begin(partition, books(partition)));
            links.len() - 1
        });
        lineages.push(links[at].add(offset, fate));
    }
    Account { lineages, deltas: links.into_iter().map(|link| (link.partition, link.delta)).collect() }
}

impl Link {
    fn begin(partition: Partition, books: Option<&Progress>) -> Link {
        let (last, filtered) = books.map_or((None, 0), |books| (books.last, books.filtered_since));
        Link { partition, last, filtered, delta: Progress::default() }
    }

    fn add(&mut self, offset: Offset, fate: &Fate) -> Lineage {
        let lineage = Lineage { source: offset, previous: self.last.unwrap_or(-1), filtered: self.filtered };
        let counters = &mut self.delta.counters;
        counters.read += 1;
        match fate {
            Fate::Emitted(_) => counters.written += 1,
            Fate::Dead(_) => counters.dead += 1,
            Fate::Filtered => {
                counters.filtered += 1;
                self.filtered += 1;
                self.delta.filtered_since += 1;
                return lineage;
            }
        }
        self.last = Some(offset);
        self.filtered = 0;
        self.delta.last = Some(offset);
        self.delta.filtered_since = 0;
        lineage
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fate(n: u8) -> Fate {
        match n {
            0 => Fate::Filtered,
            1 => Fate::Dead(0),
            _ => Fate::emitted(),
        }
    }

    proptest! {
        /// However a log is cut into batches, the chain is the same, unbroken, and accounts for every record.
        #[test]
        fn the_chain_does_not_depend_on_batches(log in proptest::collection::vec((0..3i32, 1..4i64, 0..4u8), 1..200), cut in 1..50usize) {
            let mut next = [0i64; 3];
            let log: Vec<_> = log.into_iter().map(|(p, gap, f)| {
                next[p as usize] += gap;
                ((p, next[p as usize]), fate(f))
            }).collect();
            let run = |size: usize| {
                let mut books: BTreeMap<Partition, Progress> = BTreeMap::new();
                let mut lineages = Vec::new();
                for batch in log.chunks(size) {
                    let (records, fates): (Vec<_>, Vec<_>) = batch.iter().copied().unzip();
                    let account = account(records.into_iter(), &fates, |p| books.get(&p));
                    lineages.extend(account.lineages);
                    for (partition, delta) in account.deltas {
                        let after = books.get(&partition).copied().unwrap_or_default().then(&delta);
                        books.insert(partition, after);
                    }
                }
                (lineages, books)
            };
            let (lineages, books) = run(cut);
            prop_assert_eq!((&lineages, &books), (&run(log.len()).0, &run(log.len()).1));

            let mut ends: BTreeMap<Partition, (i64, u64)> = BTreeMap::new();
            for (((partition, offset), fate), lineage) in log.iter().zip(&lineages) {
                let end = ends.entry(*partition).or_insert((-1, 0));
                if matches!(fate, Fate::Filtered) {
                    end.1 += 1;
                } else {
                    prop_assert_eq!((lineage.source, lineage.previous, lineage.filtered), (*offset, end.0, end.1));
                    *end = (*offset, 0);
                }
            }
            prop_assert!(books.values().all(|b| b.counters.unaccounted() == 0));
            prop_assert_eq!(books.values().map(|b| b.counters.read).sum::<u64>(), log.len() as u64);
        }
    }
}
