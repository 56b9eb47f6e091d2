//! `[input]`: the topic between producer and enricher, and what is in its records.

use super::names;
use super::reader::Table;
use super::section::Absent::{Is, Means, Refused};
use super::section::Kind::{Choice, File, Flag, Integer, Text};
use super::section::{Finish, choice, section, table};
use std::path::PathBuf;

section! {
    /// Between producer and enricher.
    pub struct Input = table("input"), with [] {
        /// What the producer writes and the enricher reads; created when missing.
        topic: String = Text(names::topic), Refused, "";
        /// Avro schema file, a record: the columns of `input` in the SQL.
        schema: PathBuf = File, Refused, "";
        /// How values are written. `avro`: framed, their schema is in the Schema Registry, as the
        /// producer and Confluent's serializers write them. `json`: an object, without a registry.
        format: ValueFormat = Choice(&["avro", "json"]), Is("avro"), "";
        /// What a member of a JSON value that `schema` does not have means: nothing, or a dead
        /// letter.
        unknown_fields: UnknownFields = Choice(&["ignore", "refuse"]), Is("ignore"), "";
        /// Whether numbers and truth values of a JSON value may be texts: `"12"`.
        numbers_as_text: bool = Flag, Is("false"), "";
        /// Field whose text becomes the record's key; records without one are spread evenly.
        key: Option<String> = Text(names::filled), Means("no key"), "";
        /// How keys are written: the type of `_key` in the SQL, and of the key by which a sink with
        /// `tombstones = "delete"` finds the row.
        key_format: KeyFormat = Choice(&["text", "bytes", "json", "avro"]), Is("text"), "";
        /// Avro schema file, a record, of keys that are `json` or `avro`.
        key_schema: Option<PathBuf> = File, Means("none; `json` and `avro` need it"), "";
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
        /// Framed Avro of the key's schema.
        Avro = "avro",
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

impl Finish for Input {
    fn finish(&mut self, table: &Table<'_>) {
        let structured = matches!(self.key_format, KeyFormat::Json | KeyFormat::Avro);
        if structured && self.key_schema.is_none() {
            table.report("key_schema", "is missing; keys that are json or avro need a schema");
        }
        if !structured && table.contains("key_schema") {
            table.report("key_schema", "belongs to key_format = \"json\" or \"avro\"");
        }
        if self.format != ValueFormat::Json {
            for key in ["unknown_fields", "numbers_as_text"] {
                if table.contains(key) {
                    table.report(key, "belongs to format = \"json\"");
                }
            }
        }
    }
}
