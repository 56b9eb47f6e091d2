//! The lineage of a partition: what the enricher emitted to the output and to the dead letters, in
//! order.

use crate::{FOREIGN, Result};
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use weir_kafka::reader::{Span, scan};
use weir_kafka::{ReceivedDeadLetter, Record, admin};
use weir_model::accepted_loss::{AcceptedLoss, Emitted};
use weir_model::fault::Stage;
use weir_model::lineage::{Lineage, Row};
use weir_model::pipeline::Pipeline;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Offset, Partition};
use weir_store::reader::StoredDeadLetter;

/// The topic that an emitted record was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EmittedTo {
    Output,
    DeadLetters,
}

/// An emitted record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EmittedRecord {
    pub(crate) lineage: Lineage,
    pub(crate) emitted_to: EmittedTo,
    pub(crate) offset: Offset,
}

/// The remaining records that were emitted from one partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionLineage {
    records: Vec<EmittedRecord>,
    /// What had been emitted when input offsets started over, oldest first.
    restarts: Vec<Emitted>,
    /// Records of the output and of the dead letters that did not come from the enricher.
    pub(crate) foreign: Vec<(EmittedTo, Offset)>,
    /// Others, of the output, that are dead letters of every sink.
    pub(crate) disowned: Vec<Offset>,
    /// Dead letters of the producer.
    pub(crate) num_from_source: u64,
    /// Whether records of the output or of the dead letters are missing, for example because of
    /// retention.
    pub(crate) incomplete: bool,
}

/// The result of checking a lineage.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Continuity {
    /// Records that do not name their predecessor, with the source offset of the actual
    /// predecessor.
    pub(crate) broken: Vec<(EmittedRecord, Offset)>,
    /// The number of records filtered between the emitted ones.
    pub(crate) filtered: u64,
    /// The number of those beyond the first one of their input record.
    pub(crate) unnested: u64,
    /// Source offset of the last record; −1 if nothing was ever emitted. `None`: unknown, because
    /// no records remain.
    pub(crate) end: Option<Offset>,
}

/// Key and timestamp of a record, in milliseconds since 1970.
type Content = (Option<Vec<u8>>, Option<i64>);

/// Records of the output that every sink made a dead letter because they did not come through the
/// pipeline: by partition and offset, with their key and timestamp.
#[derive(Debug, Default)]
pub(crate) struct Disowned(HashMap<(Partition, Offset), Content>);

impl Disowned {
    /// Those of one sink.
    pub(crate) fn by(topic: &str, dead_letters: Vec<StoredDeadLetter>) -> Disowned {
        let foreign = dead_letters.into_iter().filter(|found| {
            FOREIGN.contains(&found.fault.reason.as_str()) && found.coordinates.topic == topic
        });
        let at = |found: &StoredDeadLetter| (found.coordinates.partition, found.coordinates.offset);
        Disowned(foreign.map(|found| (at(&found), (found.key, found.timestamp_ms))).collect())
    }

    /// Keeps those that another sink disowned as well.
    pub(crate) fn retain(&mut self, other: &Disowned) {
        self.0.retain(|at, content| other.0.get(at) == Some(content));
    }

    /// Whether this is one of them, and not another record at the same offset of a recreated topic.
    pub(crate) fn contains(&self, record: Record<'_>) -> bool {
        let found = self.0.get(&(record.partition(), record.offset()));
        found.is_some_and(|(key, timestamp_ms)| {
            let own = Some(record.timestamp_ms()).filter(|ms| *ms >= 0);
            key.as_deref() == record.key() && *timestamp_ms == own
        })
    }
}

/// Reads the lineages of all partitions; `accepted` contains the restarts of the input offsets.
/// Records that are `disowned` do not belong to them.
pub(crate) fn read(
    pipeline: &Pipeline,
    accepted: &[AcceptedLoss],
    disowned: &Disowned,
) -> Result<BTreeMap<Partition, PartitionLineage>> {
    let mut lineages: BTreeMap<Partition, PartitionLineage> = BTreeMap::new();
    for accepted_loss in accepted {
        for skip in accepted_loss.skips.iter().filter(|skip| skip.restarts()) {
            let lineage = lineages.entry(skip.partition).or_default();
            lineage.restarts.extend(skip.emitted);
            // An output that a sink found truncated or recreated has lost records.
            lineage.incomplete |= accepted_loss.topic == pipeline.output.topic;
        }
    }
    for (topic, emitted_to) in [
        (&pipeline.output.topic, EmittedTo::Output),
        (&pipeline.dead_letters.topic, EmittedTo::DeadLetters),
    ] {
        let watermarks = admin::describe(&pipeline.kafka, topic)?.unwrap_or_default();
        for watermarks in &watermarks {
            lineages.entry(watermarks.partition).or_default().incomplete |= watermarks.first > 0;
        }
        let span = |watermarks: &admin::Watermarks| Span {
            partition: watermarks.partition,
            from: Some(watermarks.first),
            until: None,
        };
        scan(&pipeline.kafka, topic, &watermarks.iter().map(span).collect::<Vec<_>>(), |record| {
            let found = lineages.entry(record.partition()).or_default();
            let offset = record.offset();
            if emitted_to == EmittedTo::Output && disowned.contains(record) {
                found.disowned.push(offset);
                return ControlFlow::Continue(());
            }
            let restarted = !found.restarts.is_empty();
            let genuine =
                |lineage: &Lineage| lineage.is_possible() || restarted && starts_over(lineage);
            match (emitted_to, record.lineage().filter(genuine), stage(emitted_to, record)) {
                // The producer's dead letters were never in the input topic, so they are not row
                // of the lineage.
                (EmittedTo::DeadLetters, _, Some(Stage::Source)) => found.num_from_source += 1,
                (EmittedTo::Output, Some(lineage), _)
                | (EmittedTo::DeadLetters, Some(lineage), Some(_)) => {
                    found.records.push(EmittedRecord { lineage, emitted_to, offset });
                }
                _ => found.foreign.push((emitted_to, offset)),
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(lineages)
}

/// Whether a record is the next one behind the record of an input record and its row.
fn follows(lineage: &Lineage, (source, row): (Offset, Row)) -> bool {
    match lineage.row.index {
        0 => lineage.previous == source && row.is_last(),
        _ => {
            let next = Row { index: row.index.saturating_add(1), ..row };
            lineage.source == source && lineage.row == next
        }
    }
}

/// Whether a lineage is the first one after input offsets started over: its predecessor is the last
/// record of before.
fn starts_over(lineage: &Lineage) -> bool {
    lineage.source >= 0 && lineage.previous >= lineage.source
}

/// The stage that a dead letter names; `None` if it is not one of weir's.
fn stage(emitted_to: EmittedTo, record: Record<'_>) -> Option<Stage> {
    (emitted_to == EmittedTo::DeadLetters)
        .then(|| ReceivedDeadLetter::read(record).map(|dead_letter| dead_letter.stage))?
}

impl PartitionLineage {
    /// A complete lineage.
    #[cfg(test)]
    pub(crate) fn of(records: Vec<EmittedRecord>) -> PartitionLineage {
        PartitionLineage { records, ..PartitionLineage::default() }
    }

    /// Whether input offsets started over, so that two records can have come from one offset.
    pub(crate) fn restarted(&self) -> bool {
        !self.restarts.is_empty()
    }

    /// Whether several records were made of one.
    pub(crate) fn unnested(&self) -> bool {
        self.records.iter().any(|record| record.lineage.row.count > 1)
    }

    /// The records of the output.
    pub(crate) fn output(&self) -> impl Iterator<Item = &EmittedRecord> {
        self.records.iter().filter(|record| record.emitted_to == EmittedTo::Output)
    }

    /// The number of records in the topic.
    pub(crate) fn count(&self, emitted_to: EmittedTo) -> u64 {
        self.records.iter().filter(|record| record.emitted_to == emitted_to).count() as u64
    }

    /// Follows the records in the order in which they were emitted: by input offset, from one
    /// restart to the next.
    pub(crate) fn check(&self) -> Continuity {
        let mut records = self.records.clone();
        records.sort_by_key(|record| {
            let Lineage { source, row, .. } = record.lineage;
            (self.restarts_before(record), source, row.index)
        });
        let mut continuity = Continuity::default();
        let (mut from, mut last) = (0, (-1, Row::WHOLE));
        if self.incomplete {
            // Dead letters are retained longer than the output: the predecessors of older dead
            // letters are gone.
            let Some(first) =
                records.iter().position(|record| record.emitted_to == EmittedTo::Output)
            else {
                return continuity;
            };
            let Lineage { previous, row, .. } = records[first].lineage;
            let before = row.index.checked_sub(1).map(|index| Row { index, ..row });
            (from, last) = (first, (previous, before.unwrap_or(Row::WHOLE)));
        }
        for record in &records[from..] {
            let Lineage { source, filtered, row, .. } = record.lineage;
            if !follows(&record.lineage, last) {
                continuity.broken.push((*record, last.0));
            }
            last = (source, row);
            // A forged header can claim any number.
            continuity.filtered = continuity.filtered.saturating_add(filtered);
            continuity.unnested += u64::from(row.index > 0);
        }
        continuity.end = Some(last.0);
        continuity
    }

    fn restarts_before(&self, record: &EmittedRecord) -> usize {
        let end = |restart: &Emitted| {
            if record.emitted_to == EmittedTo::Output {
                restart.output
            } else {
                restart.dead_letters
            }
        };
        self.restarts.iter().filter(|restart| end(restart) <= record.offset).count()
    }

    /// The counts of the enricher when it emitted its last record; `None` if the lineage is
    /// incomplete.
    pub(crate) fn counts(&self) -> Option<Progress> {
        let continuity = self.check();
        let last = continuity.end.filter(|_| !self.incomplete && continuity.broken.is_empty())?;
        let (written, dead) = (self.count(EmittedTo::Output), self.count(EmittedTo::DeadLetters));
        let Continuity { filtered, unnested, .. } = continuity;
        let read = (written + dead - unnested).saturating_add(filtered);
        let counters = Counters { read, written, filtered, dead, unnested };
        Some(Progress { counters, last: (last >= 0).then_some(last), ..Progress::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offset of a record is its position in the list.
    fn lineage_of(records: &[(EmittedTo, i64, i64, u64)]) -> PartitionLineage {
        let record = |(offset, (emitted_to, source, previous, filtered)): (
            Offset,
            &(EmittedTo, i64, i64, u64),
        )| {
            let lineage = Lineage::new(*source, *previous, *filtered);
            EmittedRecord { lineage, emitted_to: *emitted_to, offset }
        };
        PartitionLineage {
            records: (0..).zip(records).map(record).collect(),
            ..PartitionLineage::default()
        }
    }

    use EmittedTo::{DeadLetters, Output};

    #[test]
    fn offsets_that_start_over_break_a_lineage_unless_it_is_known_where() {
        let records = [
            (Output, 0, -1, 0),
            (DeadLetters, 7, 0, 2),
            (DeadLetters, 0, 7, 0),
            (Output, 1, 0, 0),
            (Output, 9, 1, 0),
        ];
        let known = PartitionLineage {
            restarts: vec![Emitted { output: 1, dead_letters: 2 }],
            ..lineage_of(&records)
        };
        assert_eq!(
            known.check(),
            Continuity { filtered: 2, end: Some(9), ..Continuity::default() }
        );
        assert!(!lineage_of(&records).check().broken.is_empty());
    }

    #[test]
    fn counts_are_restored_from_a_complete_lineage_only() {
        let records = [(Output, 3, -1, 3), (DeadLetters, 4, 3, 0), (Output, 9, 4, 1)];
        let counters = Counters { read: 7, written: 2, filtered: 4, dead: 1, unnested: 0 };
        assert_eq!(
            lineage_of(&records).counts(),
            Some(Progress { counters, last: Some(9), ..Progress::default() })
        );
        assert_eq!(lineage_of(&records[1..]).counts(), None);
        assert_eq!(PartitionLineage { incomplete: true, ..lineage_of(&records) }.counts(), None);
    }

    fn unnested(list: &[(i64, i64, u32, u32)]) -> PartitionLineage {
        let record =
            |(offset, (source, previous, index, count)): (Offset, &(i64, i64, u32, u32))| {
                let lineage = Lineage::new(*source, *previous, 0).of_row(*index, *count);
                EmittedRecord { lineage, emitted_to: Output, offset }
            };
        PartitionLineage::of((0..).zip(list).map(record).collect())
    }

    #[test]
    fn a_row_of_a_record_that_is_missing_or_there_twice_breaks_the_lineage() {
        let whole =
            [(4, -1, 0, 3), (4, -1, 1, 3), (4, -1, 2, 3), (6, 4, 0, 1), (7, 6, 0, 2), (7, 6, 1, 2)];
        let complete = unnested(&whole);
        let expected = Continuity { unnested: 3, end: Some(7), ..Continuity::default() };
        assert_eq!(complete.check(), expected);
        let counters = Counters { read: 3, written: 6, unnested: 3, ..Counters::default() };
        assert_eq!(complete.counts().map(|progress| progress.counters), Some(counters));
        for at in 0..whole.len() - 1 {
            let mut gap = whole.to_vec();
            gap.remove(at);
            assert!(!unnested(&gap).check().broken.is_empty(), "{at} is missing");
            let mut twice = whole.to_vec();
            twice.push(whole[at]);
            assert!(!unnested(&twice).check().broken.is_empty(), "{at} is there twice");
        }
        let rest = PartitionLineage { incomplete: true, ..unnested(&whole[1..]) };
        assert_eq!(rest.check().broken, []);
    }

    #[test]
    fn forged_lineages_break_the_chain_and_nothing_else() {
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX];
        for (source, previous) in numbers.iter().flat_map(|a| numbers.iter().map(move |b| (*a, *b)))
        {
            for filtered in [0, 1, u64::MAX] {
                let records =
                    [(Output, 0, -1, 0), (Output, 1, 0, 5), (Output, source, previous, filtered)];
                let continuity = lineage_of(&records).check();
                // Others are not taken for lineages at all; they must not panic here either.
                let follows = (source, previous) == (i64::MAX, 1);
                if Lineage::new(source, previous, filtered).is_possible() && !follows {
                    assert!(!continuity.broken.is_empty(), "{source} {previous}");
                }
                lineage_of(&records).counts();
            }
        }
    }

    #[test]
    fn a_lineage_whose_beginning_is_gone_is_followed_from_its_first_output() {
        let rest = PartitionLineage {
            incomplete: true,
            ..lineage_of(&[
                (DeadLetters, 2, 1, 0),
                (DeadLetters, 7, 6, 0),
                (Output, 9, 7, 0),
                (DeadLetters, 11, 9, 0),
            ])
        };
        assert_eq!(rest.check(), Continuity { end: Some(11), ..Continuity::default() });
        assert_eq!(
            PartitionLineage { incomplete: true, ..lineage_of(&[(DeadLetters, 2, 1, 0)]) }
                .check()
                .end,
            None
        );
    }
}
