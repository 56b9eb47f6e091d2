//! `[input]`: the topic between producer and enricher, and what is in its records.

use super::names;
use super::reader::Table;
use super::section::Absent::{Is, Means, Refused};
use super::section::Kind::{Choice, File, Flag, Integer, Text};
use super::section::{Finish, choice, section, table};
use super::subject::SubjectNameStrategy;
use std::path::PathBuf;

section! {
    /// Between producer and enricher.
    pub struct Input = table("input"), with [] {
        /// What the producer writes and the enricher reads; created when missing.
        topic: String = Text(names::topic), Refused, "";
        /// Avro schema file, a record: the columns of `input` in the SQL.
        schema: PathBuf = File, Refused, "";
        /// How values are written. `avro`, `protobuf`: with the id or the GUID of their schema in the
        /// Schema Registry, as the producer and Confluent's serializers write them. `json`: an object,
        /// without a registry. `json-schema`: an object behind such an id, as Confluent's JSON Schema
        /// serializer writes it; the registry is not asked, because `schema` says what is read.
        format: ValueFormat = Choice(&["avro", "json", "json-schema", "protobuf"]), Is("avro"), "";
        /// What a member of a JSON value that `schema` does not have means: nothing, or a dead
        /// letter.
        unknown_fields: UnknownFields = Choice(&["ignore", "refuse"]), Is("ignore"), "";
        /// Whether numbers and truth values of a JSON value may be texts: `"12"`.
        numbers_as_text: bool = Flag, Is("false"), "";
        /// `debezium`: values are change events, of which the row after the change is read, or the row
        /// before it for a delete; `schema` is that of the row. The SQL has `_op`, `_source_ts` and
        /// `_source_position`. A record without a value is counted as filtered, unless a sink says
        /// more of it.
        unwrap: Unwrap = Choice(&["none", "debezium"]), Is("none"), "";
        /// Field whose text becomes the record's key; records without one are spread evenly.
        key: Option<String> = Text(names::filled), Means("no key"), "";
        /// How keys are written: the type of `_key` in the SQL, and of the key by which a sink with
        /// `tombstones = "delete"` finds the row.
        key_format: KeyFormat =
            Choice(&["text", "bytes", "json", "json-schema", "avro", "protobuf"]), Is("text"), "";
        /// Avro schema file, a record, of keys that are neither `text` nor `bytes`.
        key_schema: Option<PathBuf> = File, Means("none; only `text` and `bytes` do without"), "";
        /// As Confluent's `value.subject.name.strategy`: under which subject the Schema Registry has
        /// the values' schema. `TopicNameStrategy`: the topic's name and `-value`.
        /// `RecordNameStrategy`: the full name of the record. `TopicRecordNameStrategy`: both.
        subject_name_strategy: SubjectNameStrategy =
            Choice(SubjectNameStrategy::NAMES), Is("TopicNameStrategy"), "";
        /// Of the input, output and dead-letter topic.
        partitions: i32 = Integer(1, 100_000), Is("3"), "";
    }
}

choice! {
    /// How the values of the input topic are written.
    ValueFormat {
        /// Framed Avro; the schema is in the registry.
        Avro = "avro",
        /// A JSON object.
        Json = "json",
        /// A JSON object behind the id of its schema in the registry.
        JsonSchema = "json-schema",
        /// Framed Protobuf; the schema is in the registry.
        Protobuf = "protobuf",
    }
}

choice! {
    /// What is around the row in a value.
    Unwrap {
        /// Nothing.
        None = "none",
        /// A change event of Debezium.
        Debezium = "debezium",
    }
}

choice! {
    /// How the keys of the input topic, and so of the output topic, are written.
    KeyFormat {
        /// UTF-8.
        Text = "text",
        /// Any bytes.
        Bytes = "bytes",
        /// A JSON object of the key's schema.
        Json = "json",
        /// The same behind the id of a schema in the registry.
        JsonSchema = "json-schema",
        /// Framed Avro, read as the key's schema.
        Avro = "avro",
        /// Framed Protobuf, read as the key's schema.
        Protobuf = "protobuf",
    }
}

choice! {
    /// What a member means that the schema does not have.
    UnknownFields {
        /// Nothing.
        Ignore = "ignore",
        /// The record is a dead letter.
        Refuse = "refuse",
    }
}

impl ValueFormat {
    /// Whether values are JSON objects.
    pub fn is_json(self) -> bool {
        matches!(self, ValueFormat::Json | ValueFormat::JsonSchema)
    }
}

impl Input {
    /// Whether `schema` is the one that the Schema Registry has for the values.
    pub fn is_registered(&self) -> bool {
        self.format == ValueFormat::Avro && self.unwrap == Unwrap::None
    }
}

impl Finish for Input {
    fn finish(&mut self, table: &Table<'_>) {
        let structured = !matches!(self.key_format, KeyFormat::Text | KeyFormat::Bytes);
        if structured && self.key_schema.is_none() {
            let what = "is missing; keys that are neither text nor bytes need a schema";
            table.report("key_schema", what);
        }
        if !structured && table.contains("key_schema") {
            table.report("key_schema", "belongs to a key_format other than text and bytes");
        }
        if !self.format.is_json() {
            for key in ["unknown_fields", "numbers_as_text"] {
                if table.contains(key) {
                    table.report(key, "belongs to format = \"json\" or \"json-schema\"");
                }
            }
        }
        if self.format == ValueFormat::Protobuf && self.unwrap == Unwrap::Debezium {
            table.report("unwrap", "reads Debezium's events in Avro and JSON, not in Protobuf");
        }
    }
}
