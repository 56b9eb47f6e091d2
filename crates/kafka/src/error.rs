//! What can go wrong with Kafka, and the class of each error.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::fmt;
use weir_model::fault::Class;
use weir_model::protocol::{Offset, Partition};

/// The result of anything that talks to Kafka.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, worded for people; [`Error::class`] says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key of `[kafka] properties` that librdkafka refuses.
    #[error(
        "kafka.properties.\"{key}\": {what}; see librdkafka's CONFIGURATION.md for the names and \
         values it knows"
    )]
    Setting {
        /// The key.
        key: String,
        /// What librdkafka says about it, without the value.
        what: String,
    },
    /// A call failed.
    #[error("{doing} failed: {reason}")]
    Call {
        /// What was attempted, on what.
        doing: String,
        /// What librdkafka or the broker said.
        reason: String,
        /// The disposition.
        class: Class,
    },
    /// A producer is unusable: another one with its transactional id was started, or the broker
    /// aborted its transaction.
    #[error(
        "producer {id} is fenced: another one of this name has begun since, or its transaction \
         took too long"
    )]
    Fenced {
        /// The transactional id.
        id: String,
    },
    /// The log no longer contains the next record.
    #[error("{0}")]
    Loss(LostRange),
    /// A record exceeds what the broker takes.
    #[error(
        "the record of {bytes} bytes for topic {topic} is larger than the {limit} bytes that \
         message.max.bytes in [kafka.properties] and the topic's max.message.bytes allow"
    )]
    TooLarge {
        /// Its topic.
        topic: String,
        /// Bytes of key, value and headers.
        bytes: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// A record is older or younger than its topic accepts.
    #[error(
        "the record's timestamp {timestamp_ms} (milliseconds since 1970) is outside of what topic \
         {topic} accepts: {setting}"
    )]
    Timestamp {
        /// Its topic.
        topic: String,
        /// Milliseconds since 1970.
        timestamp_ms: i64,
        /// The topic's setting that refuses it.
        setting: &'static str,
    },
    /// Bytes in a topic of weir's own that weir did not write.
    #[error("{topic} [{partition}] @ {offset} holds a record that weir did not write: {what}")]
    Foreign {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// The record's offset, or the committed one.
        offset: Offset,
        /// What is wrong with it.
        what: String,
    },
}

/// Records that should be in the log but are not any more, or not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRange {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: Partition,
    /// The offset to read next.
    pub position: Offset,
    /// First offset of the log.
    pub first: Offset,
    /// End of the log: the offset that its next record will get.
    pub end: Offset,
}

impl LostRange {
    /// The offsets that cannot be read any more, end exclusive; for a log that ends before the
    /// position, those that are missing at its end.
    pub fn range(&self) -> std::ops::Range<Offset> {
        if self.position < self.first { self.position..self.first } else { self.end..self.position }
    }
}

impl fmt::Display for LostRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LostRange { topic, partition, position, first, end } = self;
        if position < first {
            write!(
                f,
                "{topic} [{partition}]: offsets {position} to {} are gone: the log begins at \
                 {first}; ",
                first - 1
            )?;
            f.write_str("retention or delete-records removed them before they were read")
        } else {
            write!(
                f,
                "{topic} [{partition}]: the next offset is {position}, but the log holds {first} \
                 to {end} only; "
            )?;
            f.write_str("it was truncated, or the topic was recreated")
        }
    }
}

impl Error {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Error::Setting { .. } | Error::Foreign { .. } => Class::Configuration,
            Error::Call { class, .. } => *class,
            // The worker rebuilds its producer and starts over.
            Error::Fenced { .. } => Class::Environment,
            Error::Loss(_) => Class::Loss,
            Error::TooLarge { .. } | Error::Timestamp { .. } => Class::Record,
        }
    }

    /// The fault's short name, when one record is at fault and its neighbours are not.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Error::TooLarge { .. } => Some("record_too_large"),
            Error::Timestamp { .. } => Some("timestamp_out_of_range"),
            _ => None,
        }
    }

    /// Wraps librdkafka's error of a call.
    pub(crate) fn call(doing: impl Into<String>, error: &KafkaError) -> Error {
        if let KafkaError::ClientConfig(_, what, key, value) = error {
            let what =
                if value.is_empty() { what.clone() } else { what.replace(value.as_str(), "…") };
            return Error::Setting { key: key.clone(), what };
        }
        // Of a whole batch; librdkafka does not say of which partition.
        if error.rdkafka_error_code() == Some(Code::BadCompression) {
            let what = "the next batch of a partition is damaged, or larger than this when it is \
                        decompressed; raise the limit to read it";
            return Error::Setting { key: "receive.message.max.bytes".into(), what: what.into() };
        }
        let class = match error {
            // Settings that contradict one another, a certificate that is not there: waiting does
            // not help.
            KafkaError::ClientCreation(_) => Class::Configuration,
            _ => error.rdkafka_error_code().map_or(Class::Environment, class),
        };
        Error::Call { doing: doing.into(), reason: reason(error), class }
    }

    /// The environment is not ready yet.
    pub fn waiting(doing: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Call { doing: doing.into(), reason: reason.into(), class: Class::Environment }
    }
}

/// Errors that waiting cannot fix are configuration; all others may be temporary.
fn class(code: Code) -> Class {
    match code {
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::InvalidTopic
        | Code::InvalidConfig
        | Code::InvalidReplicationFactor
        | Code::InvalidPartitions
        | Code::InvalidTransactionTimeout
        | Code::UnsupportedVersion
        | Code::PolicyViolation
        | Code::InvalidTimestamp
        | Code::MessageSizeTooLarge
        | Code::InvalidRecord
        | Code::InconsistentGroupProtocol
        | Code::InvalidSessionTimeout => Class::Configuration,
        _ => Class::Environment,
    }
}

fn reason(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(inner) => inner.to_string(),
        KafkaError::ClientCreation(text)
        | KafkaError::Subscription(text)
        | KafkaError::AdminOpCreation(text) => text.clone(),
        other => {
            other.rdkafka_error_code().map_or_else(|| other.to_string(), |code| code.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::BaseConsumer;

    #[test]
    fn a_refused_setting_does_not_show_its_value() {
        let error = ClientConfig::new()
            .set("security.protocol", "hunter2")
            .create::<BaseConsumer>()
            .err()
            .unwrap();
        let text = Error::call("connecting", &error).to_string();
        assert!(text.contains("security.protocol"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_loss_names_the_range_that_is_gone() {
        let loss =
            |position| LostRange { topic: "t".into(), partition: 2, position, first: 10, end: 20 };
        assert_eq!(loss(4).range(), 4..10);
        assert_eq!(loss(25).range(), 20..25);
        assert!(loss(4).to_string().contains("offsets 4 to 9 are gone"));
    }

    #[test]
    fn missing_rights_are_not_waited_for() {
        assert_eq!(class(Code::TopicAuthorizationFailed), Class::Configuration);
        assert_eq!(class(Code::AllBrokersDown), Class::Environment);
    }
}
