//! Dead letters as Kafka records: the original bytes, key and headers, followed by headers with the
//! original coordinates and the fault.

use crate::error::{Error, Result};
use crate::records::Record;
use crate::transactional_producer::{Header, Outgoing, TransactionalProducer};
use weir_model::fault::{Fault, Stage};
use weir_model::frame;
use weir_model::lineage::{self, Lineage};
use weir_model::protocol::{Offset, Partition};

/// `weir-stage`: the step that refused the record.
pub const STAGE: &str = "weir-stage";
/// `weir-reason`: the fault's short name.
pub const REASON: &str = "weir-reason";
/// `weir-detail`: one sentence.
pub const DETAIL: &str = "weir-detail";
/// `weir-topic`: where the record was; for the producer, the source.
pub const TOPIC: &str = "weir-topic";
/// `weir-partition`.
pub const PARTITION: &str = "weir-partition";
/// `weir-offset`.
pub const OFFSET: &str = "weir-offset";
/// `weir-timestamp`: milliseconds since 1970.
pub const TIMESTAMP: &str = "weir-timestamp";
/// `weir-schema-id`: present when the value begins with one.
pub const SCHEMA_ID: &str = "weir-schema-id";
/// `weir-truncated`: bytes of the original value, when the dead letter had to be cut to fit the
/// broker's limit.
pub const TRUNCATED: &str = "weir-truncated";

/// How much of the value stays in a dead letter that would be too large: enough to recognise it;
/// the coordinates lead to the original.
const KEPT_BYTES: usize = 16 * 1024;
/// Details are for people; a malicious record must not make them long.
const DETAIL_BYTES: usize = 4 * 1024;

/// A dead letter to write.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingDeadLetter<'a> {
    /// The dead-letter topic.
    pub topic: &'a str,
    /// Its partition: the input record's; `None` leaves it to the key.
    pub partition: Option<Partition>,
    /// Where the record was.
    pub origin: Origin<'a>,
    /// Original key.
    pub key: Option<&'a [u8]>,
    /// Original value.
    pub value: Option<&'a [u8]>,
    /// Original headers.
    pub headers: &'a [Header<'a>],
    /// Why.
    pub fault: &'a Fault,
    /// The enricher's lineage.
    pub lineage: Option<Lineage>,
}

/// Where a dead record was.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Topic, or the name of the source.
    pub topic: &'a str,
    /// Partition of the topic or of the source.
    pub partition: Partition,
    /// Offset in the topic, or position in the source.
    pub offset: Offset,
    /// Kafka timestamp in milliseconds since 1970; −1 when there is none.
    pub timestamp_ms: i64,
}

impl<'a> OutgoingDeadLetter<'a> {
    /// Adds the dead letter to the producer's transaction. One that is too large for its topic is
    /// cut: its original headers to none, its key and value to 16 KiB, or less if need be. One whose
    /// timestamp the topic does not accept gets that of now; the original one is in its headers.
    pub fn send(&self, producer: &mut TransactionalProducer) -> Result<()> {
        let mut cut = *self;
        let mut truncated = None;
        let mut stamped = true;
        let mut kept = KEPT_BYTES;
        loop {
            match cut.with(truncated, stamped, |record| producer.send(record)) {
                Err(Error::Timestamp { .. }) if stamped => stamped = false,
                Err(Error::TooLarge { .. }) if kept > 0 || truncated.is_none() => {
                    let first = |bytes: &'a [u8]| &bytes[..bytes.len().min(kept)];
                    let (key, value) = (self.key.map(first), self.value.map(first));
                    cut = OutgoingDeadLetter { value, key, headers: &[], ..*self };
                    truncated = Some(self.value.map_or(0, <[u8]>::len));
                    kept /= 16;
                }
                other => return other,
            }
        }
    }

    fn with<R>(
        &self,
        truncated: Option<usize>,
        stamped: bool,
        then: impl FnOnce(&Outgoing<'_>) -> R,
    ) -> R {
        let Origin { topic, partition, offset, timestamp_ms } = self.origin;
        let numbers = [partition.to_string(), offset.to_string(), timestamp_ms.to_string()];
        let schema_id = self.value.and_then(frame::schema_id).map(|id| id.to_string());
        let truncated = truncated.map(|bytes| bytes.to_string());
        let lineage = self.lineage.map(|l| l.encode());
        let detail = clip(&self.fault.detail, DETAIL_BYTES);
        let mut headers: Vec<Header<'_>> = self.headers.to_vec();
        headers.extend(lineage.as_ref().map(|l| (lineage::HEADER, Some(l.as_ref()))));
        let texts = [
            (STAGE, Some(self.fault.stage.as_str())),
            (REASON, Some(self.fault.reason.as_str())),
            (DETAIL, Some(detail)),
            (TOPIC, Some(topic)),
            (PARTITION, Some(numbers[0].as_str())),
            (OFFSET, Some(numbers[1].as_str())),
            (TIMESTAMP, Some(numbers[2].as_str())),
            (SCHEMA_ID, schema_id.as_deref()),
            (TRUNCATED, truncated.as_deref()),
        ];
        headers.extend(
            texts.into_iter().filter_map(|(name, text)| Some((name, Some(text?.as_bytes())))),
        );
        then(&Outgoing {
            topic: self.topic,
            partition: self.partition,
            key: self.key,
            value: self.value,
            timestamp_ms: Some(timestamp_ms).filter(|_| stamped && timestamp_ms > 0),
            headers: &headers,
        })
    }
}

fn clip(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A record of a dead-letter topic, as its headers describe it. It is not
/// [`weir_model::dead_letter::DeadLetter`], which also owns key, value and headers: here they stay
/// in the batch of records that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedDeadLetter {
    /// The step that refused the record.
    pub stage: Stage,
    /// The fault's short name.
    pub reason: String,
    /// One sentence.
    pub detail: String,
    /// Where the record was.
    pub topic: String,
    /// Its partition there.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
    /// Its Kafka timestamp in milliseconds; −1 when it had none.
    pub timestamp_ms: i64,
    /// The schema id in the value.
    pub schema_id: Option<u32>,
    /// Bytes of the original value when the dead letter was cut.
    pub truncated: Option<usize>,
    /// The enricher's lineage.
    pub lineage: Option<Lineage>,
}

impl ReceivedDeadLetter {
    /// Reads a record of a dead-letter topic; `None` when weir did not write it.
    pub fn read(record: Record<'_>) -> Option<ReceivedDeadLetter> {
        // Original headers come first, so of two with the same name the last one is ours.
        let text = |name: &str| {
            let value = record.headers().filter(|(n, _)| *n == name).last()?.1?;
            std::str::from_utf8(value).ok()
        };
        Some(ReceivedDeadLetter {
            stage: Stage::parse(text(STAGE)?)?,
            reason: text(REASON)?.into(),
            detail: text(DETAIL)?.into(),
            topic: text(TOPIC)?.into(),
            partition: text(PARTITION)?.parse().ok()?,
            offset: text(OFFSET)?.parse().ok()?,
            timestamp_ms: text(TIMESTAMP)?.parse().ok()?,
            schema_id: text(SCHEMA_ID).and_then(|id| id.parse().ok()),
            truncated: text(TRUNCATED).and_then(|n| n.parse().ok()),
            lineage: record.lineage(),
        })
    }

    /// The headers that the record had before it became a dead letter.
    pub fn original_headers<'a>(record: Record<'a>) -> Vec<Header<'a>> {
        let all: Vec<Header<'a>> = record.headers().collect();
        let stage = all.iter().rposition(|(name, _)| *name == STAGE).unwrap_or(all.len());
        let ours = stage.saturating_sub(usize::from(
            stage > 0 && all[stage - 1].0 == lineage::HEADER && record.lineage().is_some(),
        ));
        all[..ours].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Records;

    fn dead_letter<'a>(
        fault: &'a Fault,
        headers: &'a [Header<'a>],
        lineage: Option<Lineage>,
    ) -> OutgoingDeadLetter<'a> {
        OutgoingDeadLetter {
            topic: "calls.dead-letters",
            partition: Some(1),
            origin: Origin {
                topic: "calls",
                partition: 1,
                offset: 42,
                timestamp_ms: 1_700_000_000_000,
            },
            key: Some(b"key"),
            value: Some(&[0, 0, 0, 0, 7, 99]),
            headers,
            fault,
            lineage,
        }
    }

    fn written(dead_letter: &OutgoingDeadLetter<'_>) -> Records {
        dead_letter.with(None, true, |out| {
            let mut records = Records::new();
            records.push_parts(1, 0, 0, out.key, out.value);
            out.headers.iter().for_each(|(name, value)| records.push_header(name, *value));
            records
        })
    }

    fn fault(detail: &str) -> Fault {
        Fault { stage: Stage::Rule, reason: "negative_duration".into(), detail: detail.into() }
    }

    #[test]
    fn a_dead_letter_can_be_read_back() {
        let fault = fault("call_duration is −5");
        let lineage = Some(Lineage::new(42, 41, 0));
        let records = written(&dead_letter(&fault, &[("trace", Some(b"x"))], lineage));
        let read = ReceivedDeadLetter::read(records.get(0)).unwrap();
        assert_eq!(
            (read.stage, read.reason.as_str(), read.detail.as_str()),
            (Stage::Rule, "negative_duration", "call_duration is −5")
        );
        assert_eq!(
            (read.topic.as_str(), read.partition, read.offset, read.timestamp_ms),
            ("calls", 1, 42, 1_700_000_000_000)
        );
        assert_eq!((read.schema_id, read.lineage), (Some(7), lineage));
        assert_eq!(
            ReceivedDeadLetter::original_headers(records.get(0)),
            [("trace", Some(&b"x"[..]))]
        );
    }

    #[test]
    fn forged_headers_of_the_original_record_are_ignored() {
        let fault = fault("real");
        let forged: [Header<'_>; 2] =
            [(REASON, Some(b"forged")), (lineage::HEADER, Some(b"forged"))];
        let records = written(&dead_letter(&fault, &forged, None));
        assert_eq!(ReceivedDeadLetter::read(records.get(0)).unwrap().reason, "negative_duration");
        assert_eq!(ReceivedDeadLetter::original_headers(records.get(0)).len(), 2);
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let fault = fault(&"ä".repeat(DETAIL_BYTES));
        let records = written(&dead_letter(&fault, &[], None));
        assert_eq!(ReceivedDeadLetter::read(records.get(0)).unwrap().detail.len(), DETAIL_BYTES);
    }

    #[test]
    fn other_records_are_not_dead_letters() {
        let mut records = Records::new();
        records.push_parts(0, 0, 0, None, None);
        records.push_header(STAGE, Some(b"decode"));
        assert_eq!(ReceivedDeadLetter::read(records.get(0)), None);
    }
}
