//! Decides where a hop may continue after a gap, and how many records are lost; without IO.

use std::collections::BTreeMap;
use weir_model::accepted_loss::Skip;
use weir_model::lineage::Lineage;
use weir_model::protocol::Offset;

/// Identifies a record of the input topic, to distinguish it from a record at the same offset of
/// another log. The enricher copies both fields unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordEvidence {
    /// Milliseconds since 1970.
    pub(crate) timestamp_ms: i64,
    /// Hash of the key, if it has one.
    pub(crate) key: Option<u64>,
}

/// The reason when it is unknown which of the remaining records were read already.
pub(crate) const UNDECIDED: &str = "the remaining output does not show which of the remaining \
    records of the log were read already, so continuing might lose or duplicate records; set the \
    position by hand";

/// Where the enricher continues in a log that ends before its position. `left` are the records from
/// `first` on; `emitted` are the records of the output and the dead letters by input offset, several
/// where input offsets have started over; `incomplete` means that some of them are gone.
///
/// A truncated log still contains, at its beginning, records that were read; a recreated log
/// contains none. So the enricher continues after the last record that was demonstrably read.
/// Between it and the next one there can only be records that the pipeline's SQL filtered, and
/// would filter again.
pub(crate) fn after_what_was_read(
    first: Offset,
    left: impl IntoIterator<Item = (Offset, RecordEvidence)>,
    emitted: &BTreeMap<Offset, Vec<RecordEvidence>>,
    incomplete: bool,
) -> Result<Offset, &'static str> {
    let (mut read, mut others, mut same_key, mut any) = (None, 0, 0, false);
    for (offset, here) in left {
        any = true;
        match emitted.get(&offset) {
            Some(there) if there.contains(&here) => read = Some(offset),
            Some(there) => {
                others += 1;
                let has_key = there.iter().any(|record| record.key == here.key);
                same_key += u64::from(here.key.is_some() && has_key);
            }
            None => {}
        }
    }
    match read {
        Some(read) => Ok(read + 1),
        None if others == 0 && any && incomplete => Err(UNDECIDED),
        // The same keys with other timestamps: the broker sets the timestamps, so they prove
        // nothing.
        None if others > 0 && same_key == others => Err(UNDECIDED),
        None => Ok(first),
    }
}

/// Where a sink continues in a log that ends before its position. `last` is the input offset of the
/// last record that it read. `restarted`: input offsets have started over, so a smaller offset may
/// be later.
pub(crate) fn after_the_last_record_of_a_sink(
    (first, end): (Offset, Offset),
    last: Option<Offset>,
    left: impl IntoIterator<Item = (Offset, Lineage)>,
    restarted: bool,
) -> Result<Offset, &'static str> {
    let Some(last) = last else { return Ok(first) };
    let (mut itself, mut later, mut any) = (None, None, false);
    for (offset, lineage) in left {
        any = true;
        if lineage.previous == last {
            return Ok(offset);
        }
        if lineage.source == last {
            itself = Some(offset + 1);
        }
        if lineage.source > last {
            later = later.or(Some(offset));
        }
    }
    match itself {
        Some(after) => Ok(after),
        None if restarted && any => Err(UNDECIDED),
        None => Ok(later.unwrap_or(end)),
    }
}

/// How many of the missing records of a hop are given up by these skips: never more than the
/// offsets that are gone.
pub(crate) fn given_up(missing: i128, skips: &[Skip]) -> u64 {
    let gone = |skip: &Skip| match skip.from {
        // A restored position gives up nothing.
        None => 0,
        // The size of the truncated part is unknown.
        Some(_) if skip.restarts() => u64::MAX,
        Some(from) => (skip.to - from).unsigned_abs(),
    };
    let most = skips.iter().map(gone).fold(0, u64::saturating_add);
    u64::try_from(missing.max(0)).unwrap_or(u64::MAX).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(n: i64) -> RecordEvidence {
        RecordEvidence { timestamp_ms: 1_000 + n, key: Some(n.unsigned_abs()) }
    }

    fn log(
        range: std::ops::Range<i64>,
        content: impl Fn(i64) -> i64,
    ) -> Vec<(Offset, RecordEvidence)> {
        range.map(|offset| (offset, seen(content(offset)))).collect()
    }

    fn emitted(range: std::ops::Range<i64>) -> BTreeMap<Offset, Vec<RecordEvidence>> {
        log(range, |n| n).into_iter().map(|(offset, record)| (offset, vec![record])).collect()
    }

    #[test]
    fn a_record_was_read_whichever_of_the_emitted_ones_is_its_own() {
        let mut twice = emitted(0..500);
        for (offset, records) in &mut twice {
            records.insert(usize::from(offset % 2 == 0), seen(offset + 10_000));
        }
        assert_eq!(after_what_was_read(0, log(0..300, |n| n), &twice, false), Ok(300));
        assert_eq!(after_what_was_read(0, log(0..300, |n| n + 10_000), &twice, false), Ok(300));
        assert_eq!(after_what_was_read(0, log(0..300, |n| n + 20_000), &twice, false), Ok(0));
    }

    #[test]
    fn a_truncated_log_is_continued_after_what_was_read() {
        assert_eq!(after_what_was_read(0, log(0..300, |n| n), &emitted(0..500), false), Ok(300));
        let refilled = log(0..400, |n| if n < 300 { n } else { n + 10_000 });
        assert_eq!(after_what_was_read(0, refilled, &emitted(0..500), false), Ok(300));
    }

    #[test]
    fn a_recreated_log_is_read_from_its_beginning() {
        assert_eq!(
            after_what_was_read(0, log(0..300, |n| n + 10_000), &emitted(0..500), false),
            Ok(0)
        );
        assert_eq!(after_what_was_read(7, Vec::new(), &emitted(0..500), true), Ok(7));
    }

    #[test]
    fn without_evidence_no_offset_is_chosen() {
        assert!(after_what_was_read(0, log(0..300, |n| n), &emitted(400..500), true).is_err());
        let restamped = log(0..300, |n| n)
            .into_iter()
            .map(|(n, s)| (n, RecordEvidence { timestamp_ms: 0, ..s }));
        assert!(after_what_was_read(0, restamped, &emitted(0..500), false).is_err());
    }

    fn link(offset: i64, source: i64, previous: i64) -> (Offset, Lineage) {
        (offset, Lineage::new(source, previous, 0))
    }

    #[test]
    fn a_sink_continues_after_the_last_record_it_read() {
        let log = [link(0, 5, 4), link(1, 6, 5), link(2, 8, 6)];
        let next = |last| after_the_last_record_of_a_sink((0, 4), Some(last), log, false);
        assert_eq!(
            (next(5), next(6), next(8), next(7), next(99)),
            (Ok(1), Ok(2), Ok(3), Ok(2), Ok(4))
        );
        assert_eq!(
            after_the_last_record_of_a_sink((0, 4), None, log, false),
            Ok(0),
            "nothing was ever read"
        );
    }

    #[test]
    fn where_input_offsets_started_over_only_the_lineage_counts() {
        let log = [link(0, 0, 70), link(1, 1, 0)];
        assert_eq!(after_the_last_record_of_a_sink((0, 3), Some(70), log, true), Ok(0));
        assert!(after_the_last_record_of_a_sink((0, 3), Some(60), log, true).is_err());
    }

    #[test]
    fn no_more_is_given_up_than_is_gone() {
        let skip = |from, to| Skip { partition: 0, from, to, emitted: None };
        assert_eq!(given_up(123, &[skip(Some(10), 500)]), 123);
        assert_eq!(
            given_up(600, &[skip(Some(10), 500)]),
            490,
            "the other 110 stay unaccounted for"
        );
        assert_eq!(given_up(600, &[skip(Some(10), 500), skip(Some(0), 200)]), 600);
        assert_eq!(given_up(-3, &[skip(Some(10), 500)]), 0);
        assert_eq!(given_up(5, &[skip(None, 500)]), 0);
        assert_eq!(given_up(5, &[skip(Some(500), 0)]), 5);
    }
}
