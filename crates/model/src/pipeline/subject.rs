//! Under which subject the Schema Registry has the schema of a topic's values.

use super::section::choice;

choice! {
    /// Confluent's strategies, by their names.
    SubjectNameStrategy {
        /// The topic's name and `-value`.
        TopicName = "TopicNameStrategy",
        /// The full name of the record, whatever the topic.
        RecordName = "RecordNameStrategy",
        /// The topic's name, `-` and the full name of the record.
        TopicRecordName = "TopicRecordNameStrategy",
    }
}

impl SubjectNameStrategy {
    /// The words of the pipeline file.
    pub(super) const NAMES: &[&str] =
        &["TopicNameStrategy", "RecordNameStrategy", "TopicRecordNameStrategy"];

    /// The subject of the values of `topic` that are such records; `name` is with its namespace.
    pub fn subject(self, topic: &str, name: &str) -> String {
        match self {
            SubjectNameStrategy::TopicName => format!("{topic}-value"),
            SubjectNameStrategy::RecordName => name.into(),
            SubjectNameStrategy::TopicRecordName => format!("{topic}-{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_those_of_confluents_strategies() {
        let subjects = [
            SubjectNameStrategy::TopicName,
            SubjectNameStrategy::RecordName,
            SubjectNameStrategy::TopicRecordName,
        ]
        .map(|strategy| strategy.subject("orders", "shop.Order"));
        assert_eq!(subjects, ["orders-value", "shop.Order", "orders-shop.Order"]);
    }
}
