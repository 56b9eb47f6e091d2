//! The way back: dead letters and input records are read in one read_chosen each, and written in small
//! transactions.

use super::choice::{At, Choice, Known, RECREATED};
use super::mapping::{Forecast, Repair, Repaired};
use super::pace::Pace;
use super::report::Report;
use crate::Result;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_kafka::reader::{Span, scan};
use weir_kafka::replay::{self, Mark, Marks, Put, Replayer};
use weir_kafka::{DeadLetter, Header, Record, Records, admin};
use weir_model::coordinates::RecordCoordinates;
use weir_model::pipeline::Pipeline;

/// Bytes in one transaction, about.
const BATCH_BYTES: usize = 4 << 20;

/// Where records go.
pub(crate) enum Out {
    /// Back.
    Replayer(Box<Replayer>),
    /// Nowhere: a dry run only needs to know what came back before.
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

/// What bounds a replay.
pub(crate) struct Limits {
    /// Records per second; 0 for none.
    pub(crate) rate: u64,
    /// How often one record may come back.
    pub(crate) max_replays: u32,
}

/// Carries records back.
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

    /// Carries back what was chosen. What cannot be found any more is entered in the report.
    ///
    /// # Errors
    /// Broker or registry away; another replayer has begun.
    pub(crate) fn copy(&mut self, choice: &Choice) -> Result<()> {
        self.read_chosen(
            &self.pipeline.dead_letters.topic,
            &choice.dead_letters,
            |copier, record, mark| {
                copier.take(record, &DeadLetter::original_headers(record), *mark)
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

    /// Reads a topic from the first to the last place that is wanted in each partition, and shows
    /// what lies there to `take`.
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
                format!("{topic} does not hold the record any more; its retention removed it"),
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
            // Below the beginning of the log there is nothing to be found.
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

    /// Repairs, looks ahead, and writes what was taken.
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

/// Whether the record that was found can be the one that the dead letter speaks of. The dead
/// letter's time is not before the record's: the output topic may give records a time of its own.
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
