//! Copies records back to the input topic. Dead letters and input records are each read in one pass
//! and written in small transactions.

use super::choice::{At, Choice, Known, RECREATED};
use super::mapping::{Forecast, Repair, Repaired};
use super::pace::Pace;
use super::report::Report;
use crate::Result;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_kafka::reader::{Span, scan};
use weir_kafka::replay::{self, Mark, Marks, Put, Replayer};
use weir_kafka::{Header, ReceivedDeadLetter, Record, Records, admin};
use weir_model::coordinates::RecordCoordinates;
use weir_model::pipeline::Pipeline;

/// The approximate size of a transaction in bytes.
const BATCH_BYTES: usize = 4 << 20;

/// Where records are written.
pub(crate) enum Out {
    /// To the input topic.
    Replayer(Box<Replayer>),
    /// Nowhere: a dry run only needs the records that were replayed before.
    Dry(Marks),
}

impl Out {
    pub(crate) fn open(pipeline: &Pipeline, dry_run: bool) -> weir_kafka::Result<Out> {
        if dry_run {
            replay::marks(pipeline).map(Out::Dry)
        } else {
            Replayer::open(pipeline).map(Box::new).map(Out::Replayer)
        }
    }

    pub(crate) fn marks(&self) -> &Marks {
        match self {
            Out::Replayer(replayer) => replayer.marks(),
            Out::Dry(marks) => marks,
        }
    }

    fn put(&mut self, batch: &Records) -> weir_kafka::Result<Put> {
        match self {
            Out::Replayer(replayer) => replayer.put(batch),
            Out::Dry(_) => Ok(Put { replayed: batch.len() as u64, ..Put::default() }),
        }
    }
}

/// The limits of a replay.
pub(crate) struct Limits {
    /// Records per second; 0 = unlimited.
    pub(crate) rate: u64,
    /// How often a record may be replayed.
    pub(crate) max_replays: u32,
}

/// Copies records back.
pub(crate) struct Copier<'a> {
    pipeline: &'a Pipeline,
    out: Out,
    repair: Option<Repair>,
    forecast: Option<Forecast>,
    pace: Pace,
    max_replays: u32,
    batch: Records,
    report: &'a mut Report,
}

impl<'a> Copier<'a> {
    pub(crate) fn new(
        pipeline: &'a Pipeline,
        out: Out,
        (repair, forecast): (Option<Repair>, Option<Forecast>),
        limits: Limits,
        report: &'a mut Report,
    ) -> Copier<'a> {
        let Limits { rate, max_replays } = limits;
        report.forecast = forecast.as_ref().map(|_| Default::default());
        Copier {
            pipeline,
            out,
            repair,
            forecast,
            pace: Pace::new(rate),
            max_replays,
            batch: Records::new(),
            report,
        }
    }

    /// Copies the chosen records. Records that no longer exist are added to the report.
    ///
    /// # Errors
    /// The broker or the registry is unavailable, or another replay has started.
    pub(crate) fn copy(&mut self, choice: &Choice) -> Result<()> {
        self.read_chosen(
            &self.pipeline.dead_letters.topic,
            &choice.dead_letters,
            |copier, record, mark| {
                copier.take(record, &ReceivedDeadLetter::original_headers(record), *mark)
            },
        )?;
        self.read_chosen(&self.pipeline.input.topic, &choice.inputs, |copier, record, known| {
            let mark = Mark::of(record);
            if is_same(record, known) {
                return copier.take(record, &record.headers().collect::<Vec<_>>(), mark);
            }
            copier.leave(mark, RECREATED.into());
            Ok(())
        })?;
        self.flush()
    }

    /// Reads a topic from the first to the last chosen offset of each partition, and calls `take`
    /// with each chosen record.
    fn read_chosen<W>(
        &mut self,
        topic: &str,
        chosen: &BTreeMap<At, W>,
        take: impl Fn(&mut Copier<'a>, Record<'_>, &W) -> Result<()>,
    ) -> Result<()> {
        if chosen.is_empty() {
            return Ok(());
        }
        let mut missing: BTreeMap<&At, &W> = chosen.iter().collect();
        let spans = self.spans(topic, chosen)?;
        let mut taken = Ok(());
        scan(&self.pipeline.kafka, topic, &spans, |record| {
            if let Some(known) = missing.remove(&(record.partition(), record.offset())) {
                taken = take(self, record, known);
            }
            if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        taken?;
        for (partition, offset) in missing.into_keys() {
            let coordinates =
                RecordCoordinates { topic: topic.into(), partition: *partition, offset: *offset };
            self.report.leave(
                format!("{topic} no longer contains the record; retention removed it"),
                coordinates.to_string(),
            );
        }
        Ok(())
    }

    fn spans<W>(&self, topic: &str, chosen: &BTreeMap<At, W>) -> Result<Vec<Span>> {
        let mut spans = Vec::new();
        for watermarks in admin::describe(&self.pipeline.kafka, topic)?.unwrap_or_default() {
            let mut here = chosen
                .range((watermarks.partition, i64::MIN)..=(watermarks.partition, i64::MAX))
                .map(|((_, offset), _)| *offset);
            let Some(first) = here.next() else { continue };
            let last = here.next_back().unwrap_or(first);
            // There are no records before the beginning of the log.
            spans.push(Span {
                partition: watermarks.partition,
                from: Some(first.max(watermarks.first)),
                until: Some(last + 1),
            });
        }
        Ok(spans)
    }

    fn take(&mut self, record: Record<'_>, headers: &[Header<'_>], mark: Mark) -> Result<()> {
        if replay::times(headers.iter().copied()) >= self.max_replays {
            self.report.guard(self.coordinates(mark));
            return Ok(());
        }
        replay::prepare(&mut self.batch, record, headers, &self.pipeline.input.topic, mark);
        if self.batch.len() >= self.pace.batch() || self.batch.bytes() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Repairs the batch, forecasts its outcome, and writes it.
    fn flush(&mut self) -> Result<()> {
        let mut batch = std::mem::take(&mut self.batch);
        if let Some(repair) = &mut self.repair {
            let Repaired { records, left } = repair.apply(&batch)?;
            left.into_iter().for_each(|(record, why)| self.leave(record, why));
            batch = records;
        }
        if let (Some(forecast), Some(outlook)) = (&mut self.forecast, &mut self.report.forecast) {
            forecast.add(&batch, outlook)?;
        }
        let put = self.out.put(&batch)?;
        self.report.replayed += put.replayed;
        self.report.already += put.already.len() as u64;
        put.refused.into_iter().for_each(|(record, why)| self.leave(record, why));
        if let Out::Replayer(_) = self.out {
            // The replay runs on a thread that may block.
            #[allow(clippy::disallowed_methods)]
            std::thread::sleep(self.pace.after(put.replayed));
        }
        Ok(())
    }

    fn leave(&mut self, record: Mark, why: String) {
        self.report.leave(why, self.coordinates(record));
    }

    fn coordinates(&self, record: Mark) -> String {
        RecordCoordinates {
            topic: self.pipeline.input.topic.clone(),
            partition: record.partition,
            offset: record.offset,
        }
        .to_string()
    }
}

/// Whether this can be the record of the dead letter. The dead letter's timestamp must not be
/// earlier than the record's: the output topic may set its own timestamps.
fn is_same(record: Record<'_>, known: &Known) -> bool {
    let same_key = known.key.as_ref().is_none_or(|key| key.as_deref() == record.key());
    same_key && (known.time_ms < 0 || record.timestamp_ms() <= known.time_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_a_recreated_topic_is_not_taken_for_the_old_one() {
        let mut records = Records::new();
        records.push_parts(0, 7, 1000, Some(b"key"), Some(b"value"));
        let same = |key: Option<&[u8]>, time_ms| {
            is_same(records.get(0), &Known { key: Some(key.map(<[u8]>::to_vec)), time_ms })
        };
        assert!(same(Some(b"key"), 1000) && same(Some(b"key"), 1500));
        assert!(!same(Some(b"key"), 999), "it is younger than the dead letter");
        assert!(!same(Some(b"other"), 1000) && !same(None, 1000));
        assert!(is_same(records.get(0), &Known { key: None, time_ms: -1 }));
    }
}
