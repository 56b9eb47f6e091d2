//! What a topic accepts: asked of the broker before anything is sent, since a broker that refuses
//! one record refuses the whole transaction, without saying which record that was.

use crate::error::{Error, Result};
use crate::transactional_producer::Outgoing;
use crate::{admin, transactional_producer::record_limit};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_model::pipeline::Kafka;

/// What Kafka adds to a record that is alone in its batch.
const BATCH_BYTES: usize = 100;
/// The broker's clock may differ by so much from this one's.
const CLOCK_MS: i64 = 60_000;

/// The limits of the topics that a producer writes to, at one moment.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    topics: Vec<(String, TopicLimits)>,
    /// Milliseconds since 1970, as of the last transaction's beginning.
    now_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct TopicLimits {
    record_bytes: usize,
    /// A timestamp may be so much older than now, or younger, in milliseconds.
    before_ms: i64,
    after_ms: i64,
}

impl Limits {
    /// Asks for them. A topic that does not exist yet is not limited.
    pub(crate) fn ask(kafka: &Kafka, topics: &[String]) -> Result<Limits> {
        let client = record_limit(kafka);
        let limits = |topic: &String| {
            let settings = admin::configuration(kafka, topic)?;
            Ok((topic.clone(), TopicLimits::new(&settings, client)))
        };
        let topics = topics.iter().map(limits).collect::<Result<_>>()?;
        let mut limits = Limits { topics, now_ms: 0 };
        limits.read_clock();
        Ok(limits)
    }

    /// To be called once in a while: reading the clock for every record would cost as much as
    /// checking it.
    pub(crate) fn read_clock(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    }

    /// The bytes that every topic takes in one batch.
    pub(crate) fn batch_bytes(&self) -> Option<usize> {
        self.topics.iter().map(|(_, limits)| limits.record_bytes + BATCH_BYTES).min()
    }

    /// Why the broker would refuse a record.
    pub(crate) fn refusal(&self, record: &Outgoing<'_>) -> Option<Error> {
        let (_, limits) = self.topics.iter().find(|(topic, _)| topic == record.topic)?;
        let bytes = record.bytes();
        if bytes > limits.record_bytes {
            let limit = limits.record_bytes;
            return Some(Error::TooLarge { topic: record.topic.into(), bytes, limit });
        }
        let timestamp_ms = record.timestamp_ms.filter(|timestamp_ms| *timestamp_ms > 0)?;
        limits.refuse_timestamp(timestamp_ms, self.now_ms).map(|setting| Error::Timestamp {
            topic: record.topic.into(),
            timestamp_ms,
            setting,
        })
    }
}

impl TopicLimits {
    fn new(settings: &BTreeMap<String, String>, client: usize) -> TopicLimits {
        let number = |key: &str| settings.get(key).and_then(|value| value.parse::<i64>().ok());
        let topic = number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok());
        let appended =
            settings.get("message.timestamp.type").is_some_and(|kind| kind == "LogAppendTime");
        // Brokers before 3.6 know one limit for both directions.
        let bound = |key| {
            let both = "message.timestamp.difference.max.ms";
            let bound = number(key).or_else(|| number(both)).filter(|_| !appended);
            bound.unwrap_or(i64::MAX)
        };
        TopicLimits {
            record_bytes: topic
                .map_or(client, |topic| client.min(topic.saturating_sub(BATCH_BYTES))),
            before_ms: bound(BEFORE),
            after_ms: bound(AFTER),
        }
    }

    /// The setting that refuses a timestamp, if one does.
    fn refuse_timestamp(&self, timestamp_ms: i64, now_ms: i64) -> Option<&'static str> {
        let margin = |bound: i64| bound.saturating_sub(CLOCK_MS.min(bound / 10));
        if timestamp_ms.saturating_sub(now_ms) > margin(self.after_ms) {
            return Some(AFTER);
        }
        let age = now_ms.saturating_sub(timestamp_ms);
        (age > margin(self.before_ms)).then_some(BEFORE)
    }
}

const BEFORE: &str = "message.timestamp.before.max.ms";
const AFTER: &str = "message.timestamp.after.max.ms";

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(settings: &[(&str, &str)]) -> TopicLimits {
        let settings = settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        TopicLimits::new(&settings, 1_000_000)
    }

    #[test]
    fn the_smaller_limit_of_client_and_topic_counts() {
        assert_eq!(limits(&[]).record_bytes, 1_000_000);
        assert_eq!(limits(&[("max.message.bytes", "8000000")]).record_bytes, 1_000_000);
        assert_eq!(limits(&[("max.message.bytes", "100000")]).record_bytes, 99_900);
        assert_eq!(limits(&[("max.message.bytes", "0")]).record_bytes, 0);
    }

    /// Every timestamp that a broker with these settings refuses is refused before, and none that
    /// is not near its bounds.
    #[test]
    fn timestamps_are_refused_as_the_broker_would() {
        const HOUR: i64 = 3_600_000;
        let now = 1_700_000_000_000;
        let future = limits(&[(AFTER, "3600000")]);
        let both = limits(&[("message.timestamp.difference.max.ms", "3600000")]);
        let ours = limits(&[(AFTER, "3600000"), ("message.timestamp.type", "LogAppendTime")]);
        for (timestamp, of_future, of_both) in [
            (1, None, Some(BEFORE)),
            (now - 2 * HOUR, None, Some(BEFORE)),
            (now - HOUR / 2, None, None),
            (now, None, None),
            (now + HOUR / 2, None, None),
            (now + HOUR + 1, Some(AFTER), Some(AFTER)),
            (now * 1000, Some(AFTER), Some(AFTER)),
            (i64::MAX, Some(AFTER), Some(AFTER)),
        ] {
            assert_eq!(future.refuse_timestamp(timestamp, now), of_future, "{timestamp}");
            assert_eq!(both.refuse_timestamp(timestamp, now), of_both, "{timestamp}");
            assert_eq!(ours.refuse_timestamp(timestamp, now), None, "{timestamp}");
            assert_eq!(limits(&[]).refuse_timestamp(timestamp, now), None, "{timestamp}");
        }
    }
}
