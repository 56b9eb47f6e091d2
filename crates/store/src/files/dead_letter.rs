//! Dead letters in the log: with their original bytes, in the entry of their transaction, or in a
//! file of their own that the entry names, where they are many.

use crate::files::error::bug;
use crate::reader::{DeadLetterContent, StoredDeadLetter};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use weir_model::coordinates::RecordCoordinates;
use weir_model::dead_letter::{DeadLetter, Header};
use weir_model::fault::{Fault, Stage};
use weir_model::protocol::{Offset, Partition};

/// More bytes than this go into a file.
pub(crate) const MAX_INLINE: usize = 256 << 10;

/// A dead letter's number is the number of its entry in the upper bits and its place there in these.
const PLACE_BITS: u32 = 24;

/// The dead letters of a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letters {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) inline: Vec<Letter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<LettersFile>,
}

impl Letters {
    pub(crate) fn is_empty(&self) -> bool {
        self.inline.is_empty() && self.file.is_none()
    }
}

/// A file with a dead letter per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LettersFile {
    /// Relative to the sink's path.
    pub(crate) path: String,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// A dead letter. Bytes are in Base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Letter {
    partition: Partition,
    pub(crate) offset: Offset,
    source: Option<Offset>,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
    timestamp_ms: Option<i64>,
    schema_id: Option<u32>,
    stage: String,
    pub(crate) reason: String,
    pub(crate) detail: String,
    column: Option<String>,
}

impl Letter {
    pub(crate) fn partition(&self) -> Partition {
        self.partition
    }

    /// How it is shown, with the number `id`.
    pub(crate) fn stored(&self, topic: &str, id: i64) -> StoredDeadLetter {
        StoredDeadLetter {
            id,
            coordinates: RecordCoordinates {
                topic: topic.into(),
                partition: self.partition,
                offset: self.offset,
            },
            source: self.source,
            key: self.key.as_deref().map(decode),
            timestamp_ms: self.timestamp_ms,
            schema_id: self.schema_id,
            fault: Fault {
                stage: Stage::parse(&self.stage).unwrap_or(Stage::Sink),
                reason: self.reason.clone(),
                detail: self.detail.clone(),
            },
            column: self.column.clone(),
            code: None,
        }
    }

    /// Its value and headers.
    pub(crate) fn content(&self) -> DeadLetterContent {
        let header = |(name, value): &(String, Option<String>)| -> Header {
            (name.clone(), value.as_deref().map(decode))
        };
        DeadLetterContent {
            value: self.value.as_deref().map(decode),
            headers: self.headers.iter().map(header).collect(),
        }
    }
}

impl From<&DeadLetter> for Letter {
    fn from(letter: &DeadLetter) -> Letter {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
        Letter {
            partition: letter.coordinates.partition,
            offset: letter.coordinates.offset,
            source: letter.source,
            key: text(&letter.key),
            value: text(&letter.value),
            headers: letter.headers.iter().map(|(name, v)| (name.clone(), text(v))).collect(),
            timestamp_ms: letter.timestamp_ms,
            schema_id: letter.schema_id,
            stage: letter.fault.stage.as_str().into(),
            reason: letter.fault.reason.clone(),
            detail: letter.fault.detail.clone(),
            column: letter.column.clone(),
        }
    }
}

/// Only weir writes it.
fn decode(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap_or_default()
}

/// The number of the dead letter at `place` in entry `entry`.
pub(crate) fn id(entry: u64, place: usize) -> i64 {
    ((entry << PLACE_BITS) | place as u64).cast_signed()
}

/// The entry and the place that a number stands for.
pub(crate) fn place(id: i64) -> (u64, usize) {
    let id = id.cast_unsigned();
    (id >> PLACE_BITS, (id & ((1 << PLACE_BITS) - 1)) as usize)
}

/// About the bytes that it takes in memory and in the log.
pub(crate) fn num_bytes(letter: &DeadLetter) -> usize {
    let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = letter.headers.iter().map(|(name, value)| name.len() + len(value));
    200 + len(&letter.key) + len(&letter.value) + headers.sum::<usize>() + letter.fault.detail.len()
}

/// A line for each.
pub(crate) fn lines(letters: &[DeadLetter]) -> Result<Vec<u8>, crate::Error> {
    let mut lines = Vec::new();
    for letter in letters {
        serde_json::to_writer(&mut lines, &Letter::from(letter)).map_err(bug)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_keeps_every_byte() {
        let given = DeadLetter {
            coordinates: RecordCoordinates { topic: "t".into(), partition: 3, offset: 7 },
            source: Some(5),
            key: None,
            value: Some((0..=255).collect()),
            headers: vec![("a".into(), Some(vec![0, 255])), ("b".into(), None)],
            timestamp_ms: Some(-1),
            schema_id: Some(u32::MAX),
            fault: Fault { stage: Stage::Sink, reason: "r".into(), detail: "d \u{0}".into() },
            column: Some("c".into()),
            code: None,
        };
        let line = lines(std::slice::from_ref(&given)).unwrap();
        let letter: Letter = serde_json::from_slice(&line).unwrap();
        let (stored, content) = (letter.stored("t", 1), letter.content());
        assert_eq!(stored.coordinates, given.coordinates);
        assert_eq!((content.value, content.headers), (given.value, given.headers));
        assert_eq!((stored.key, stored.fault, stored.column), (None, given.fault, given.column));
    }

    #[test]
    fn a_number_names_one_dead_letter() {
        for given in [(0, 0), (1, 0), (0, 1), (1 << 38, (1 << PLACE_BITS) - 1)] {
            assert_eq!(place(id(given.0, given.1)), given);
        }
    }
}
