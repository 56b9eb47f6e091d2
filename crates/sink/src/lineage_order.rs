//! Whether each record continues the lineage of its partition: the enricher writes each once, behind
//! the one before it. What does not is foreign, or in the topic a second time.

use crate::part::runs;
use std::collections::BTreeMap;
use weir_kafka::Records;
use weir_model::lineage::{Lineage, Row};
use weir_model::protocol::{Offset, Partition};

/// A record whose lineage does not continue that of the records before it: the topic holds it
/// twice, or it did not come through the enricher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfOrder {
    /// Its index in the part.
    pub(crate) index: usize,
    pub(crate) partition: Partition,
}

/// A place in a lineage: an input record, and the index of one of the records that were made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) source: Offset,
    pub(crate) index: u32,
    /// How many were made of it; `None` where a position says no more than the input record.
    pub(crate) count: Option<u32>,
}

impl Place {
    fn of(lineage: Lineage) -> Place {
        let Row { index, count } = lineage.row;
        Place { source: lineage.source, index, count: Some(count) }
    }

    /// One of the records that were made of an input record; which one is not known.
    pub(crate) fn within(source: Offset) -> Place {
        Place { source, index: 0, count: None }
    }
}

/// The end of a partition's lineage, and the end before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LineageEnd {
    pub(crate) last: Place,
    pub(crate) before: Option<Place>,
}

/// Where the lineages end after a part.
pub(crate) type LineageEnds = BTreeMap<Partition, LineageEnd>;

/// The offsets of the records at which a lineage starts over, of the partitions that were looked up.
pub(crate) type Restarts = BTreeMap<Partition, Vec<Offset>>;

/// Finds the first record that does not continue the lineage of its partition, whose end before the
/// part `end` gives.
pub(crate) fn check_order(
    records: &Records,
    restarts: &Restarts,
    end: impl Fn(Partition) -> Option<LineageEnd>,
) -> Result<LineageEnds, OutOfOrder> {
    let mut ends = LineageEnds::new();
    for run in runs(records) {
        let partition = records.partition(run.start);
        let none = LineageEnd { last: Place::within(-1), before: None };
        let seen = ends.entry(partition).or_insert_with(|| end(partition).unwrap_or(none));
        for index in run.clone() {
            let Some(lineage) = records.lineage(index) else { continue };
            let starts_over = || {
                restarts.get(&partition).is_some_and(|first| first.contains(&records.offset(index)))
            };
            // The record read last was foreign, as this one shows too late to leave that one out.
            let denies = |before| continues(lineage, before) && Place::of(lineage) < seen.last;
            let before = match seen.before {
                _ if starts_over() => None,
                _ if continues(lineage, seen.last) => Some(seen.last),
                Some(before) if denies(before) => Some(before),
                _ => return Err(OutOfOrder { index, partition }),
            };
            if is_denied(records, index + 1..run.end, lineage, seen.last) {
                return Err(OutOfOrder { index, partition });
            }
            *seen = LineageEnd { last: Place::of(lineage), before };
        }
    }
    Ok(ends)
}

/// Whether a record may come after the one at `last`: dead letters may lie between.
fn continues(lineage: Lineage, last: Place) -> bool {
    let Lineage { source, previous, row, .. } = lineage;
    if row.index >= row.count {
        return false;
    }
    match row.index {
        0 => previous >= last.source && previous < source,
        _ if previous != source => false,
        index if source == last.source => {
            index > last.index && last.count.is_none_or(|count| count == row.count)
        }
        // The beginning of the log may lie between the records of one input record.
        _ => source > last.source && last.count.is_none(),
    }
}

/// Whether those that follow a record contradict it: they continue the lineage as if it were not
/// there, so that going on behind it would leave all of them out.
fn is_denied(
    records: &Records,
    rest: std::ops::Range<usize>,
    lineage: Lineage,
    last: Place,
) -> bool {
    let mut following = rest.filter_map(|index| records.lineage(index));
    let Some(next) = following.next() else { return false };
    // Of two with the same lineage, the first stays.
    let own = Place::of(lineage);
    if next == lineage || Place::of(next) > own && next.previous >= lineage.source {
        return false;
    }
    if !continues(next, last) {
        return false;
    }
    let next = Place::of(next);
    following.next().map_or(next < own, |after| continues(after, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::lineage::HEADER;

    fn linked(list: &[(Offset, Offset)]) -> Records {
        let mut records = Records::new();
        for (offset, (source, previous)) in (100..).zip(list) {
            records.push_parts(0, offset, 7, None, Some(b"value"));
            let lineage = Lineage::new(*source, *previous, 0);
            records.push_header(HEADER, Some(lineage.encode().as_ref()));
        }
        records
    }

    fn ended(last: Offset, before: Offset) -> LineageEnd {
        let place = |source| Place { count: Some(1), ..Place::within(source) };
        LineageEnd { last: place(last), before: Some(place(before)) }
    }

    /// Records of which several are of one input record: source, previous, index, count.
    fn unnested(list: &[(Offset, Offset, u32, u32)]) -> Records {
        let mut records = Records::new();
        for (offset, (source, previous, index, count)) in (100..).zip(list) {
            records.push_parts(0, offset, 7, None, Some(b"value"));
            let lineage = Lineage::new(*source, *previous, 0).of_row(*index, *count);
            records.push_header(HEADER, Some(lineage.encode().as_ref()));
        }
        records
    }

    #[test]
    fn the_rows_of_one_record_follow_one_another() {
        let rows = [
            (51, 50, 0, 3),
            (51, 50, 1, 3),
            (51, 50, 2, 3),
            (52, 51, 0, 1),
            (55, 52, 0, 2),
            (55, 52, 1, 2),
        ];
        for begin in 0..rows.len() {
            // Where the sink has read the rows before, the topic begins, or a position says no more
            // than the input record.
            let last = [Some(50), Some(50), Some(51), Some(51), Some(52), Some(55)][begin];
            assert_eq!(foreign(unnested(&rows[begin..]), last), [0; 0], "from {begin}");
            assert_eq!(foreign(unnested(&rows[begin..]), None), [0; 0], "from {begin}, fresh");
        }
    }

    #[test]
    fn a_row_that_comes_again_is_left_out_alone() {
        let rows = [(51, 50, 0, 3), (51, 50, 1, 3), (51, 50, 2, 3), (52, 51, 0, 1), (53, 52, 0, 1)];
        for again in 0..rows.len() {
            for at in again + 1..=rows.len() {
                let mut list = rows.to_vec();
                list.insert(at, rows[again]);
                assert_eq!(foreign(unnested(&list), Some(50)), [at], "{again} at {at}");
            }
        }
        for forged in [
            (51, 51, 3, 3),
            (51, 51, 9, 3),
            (51, 51, 5, 6),
            (52, 52, 1, 1),
            (52, 52, 1, 1_000_000_000),
            (i64::MAX, i64::MAX, 1, 2),
        ] {
            let mut records = unnested(&rows[..1]);
            let (source, previous, index, count) = forged;
            let row = Row { index, count };
            let lineage = Lineage { source, previous, filtered: 0, row };
            records.push_parts(0, 101, 7, None, Some(b"value"));
            records.push_header(HEADER, Some(lineage.encode().as_ref()));
            for (offset, (source, previous, index, count)) in (102..).zip(&rows[1..]) {
                records.push_parts(0, offset, 7, None, Some(b"value"));
                let genuine = Lineage::new(*source, *previous, 0).of_row(*index, *count);
                records.push_header(HEADER, Some(genuine.encode().as_ref()));
            }
            assert_eq!(foreign(records, Some(50)), [1], "{forged:?}");
        }
    }

    /// The indices of the records that are left out, one after the other.
    fn foreign(mut records: Records, last: Option<Offset>) -> Vec<usize> {
        let mut foreign = Vec::new();
        let end = last.map(|last| LineageEnd { last: Place::within(last), before: None });
        while let Err(found) = check_order(&records, &Restarts::new(), |_| end) {
            records.disown(found.index);
            foreign.push(found.index);
        }
        foreign
    }

    const HUGE: Offset = i64::MAX;

    #[test]
    fn records_of_one_lineage_are_all_taken() {
        for (list, last) in [
            (&[(0, -1), (1, 0), (2, 1)][..], None),
            (&[(51, 50), (53, 51), (90, 88)], Some(50)),
            (&[(60, 55), (61, 60)], Some(50)),
            (&[(60, 55)], None),
        ] {
            assert_eq!(foreign(linked(list), last), [0; 0], "{list:?} after {last:?}");
        }
    }

    /// Whatever lineage a foreign record claims, it is left out, and its neighbours are not.
    #[test]
    fn a_foreign_record_is_left_out_alone() {
        for claimed in [
            (50, 49),
            (51, 50),
            (52, 51),
            (0, -1),
            (-1, -1),
            (i64::MIN, i64::MIN),
            (HUGE, -1),
            (HUGE, HUGE),
            (HUGE, HUGE - 1),
            (HUGE, 52),
            (1_000, 52),
        ] {
            let list = [(51, 50), (52, 51), claimed, (53, 52), (54, 53), (57, 55)];
            assert_eq!(foreign(linked(&list), Some(50)), [2], "{claimed:?}");
            let first = [claimed, (51, 50), (52, 51), (53, 52)];
            if claimed.0 != 51 && claimed.1 != 51 {
                assert_eq!(foreign(linked(&first), Some(50)), [0], "{claimed:?} first");
            }
        }
    }

    /// One that ends a part can only be told by the part that follows.
    #[test]
    fn a_foreign_record_that_was_taken_keeps_nothing_else_out() {
        let end = ended(50, 49);
        let ends =
            check_order(&linked(&[(51, 50), (999, 998)]), &Restarts::new(), |_| Some(end)).unwrap();
        let genuine = linked(&[(52, 51), (53, 52)]);
        let ends = check_order(&genuine, &Restarts::new(), |p| ends.get(&p).copied()).unwrap();
        assert_eq!(ends[&0], ended(53, 52));
    }

    #[test]
    fn records_that_come_again_are_left_out_together() {
        let list = [(51, 50), (52, 51), (50, 49), (51, 50), (52, 51), (53, 52)];
        assert_eq!(foreign(linked(&list), Some(50)), [2, 3, 4]);
        assert_eq!(foreign(linked(&[(50, 49), (51, 50)]), Some(60)), [0, 1]);
    }

    #[test]
    fn a_lineage_starts_over_at_the_given_record_only() {
        let records = linked(&[(50, 49), (1, 50), (2, 1)]);
        let check = |restarts: &[(Partition, Offset)]| {
            let restarts = restarts.iter().map(|(partition, offset)| (*partition, vec![*offset]));
            check_order(&records, &restarts.collect(), |_| None)
        };
        assert_eq!(check(&[]).unwrap_err().index, 1);
        assert!(check(&[(0, 101)]).is_ok());
        assert!(check(&[(1, 101), (0, 102)]).is_err());
    }
}
