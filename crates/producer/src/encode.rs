//! A chunk of the source → keys and values of Kafka records.

use crate::source::{Chunk, Malformed, Reader};
use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::io::Write;
use std::mem::take;
use weir_codec::{Encoded, Encoder, Error, Schema};
use weir_model::fault::{Fault, Stage};

/// Encodes the chunks of one worker.
pub(crate) struct Encoding {
    encoder: Encoder,
    /// Column of the key.
    key: Option<usize>,
}

/// The records of one chunk.
pub(crate) struct Payloads {
    encoded: Encoded,
    /// Values with other bytes than the encoder made, by index; ascending.
    replaced: Vec<(usize, Vec<u8>)>,
    keys: Keys,
    /// Rows with a value that the schema cannot hold.
    pub(crate) malformed: Vec<Malformed>,
}

/// The keys of one chunk: a text column, or bytes that were made from another one or came with the
/// records.
enum Keys {
    None,
    Column(arrow::array::StringArray),
    Bytes(Vec<Option<Vec<u8>>>),
}

impl Encoding {
    /// Encodes with `schema`, which the registry knows as `id`; `key` names a field of it.
    pub(crate) fn new(schema: &Schema, id: u32, key: Option<&str>) -> Result<Encoding, Error> {
        let key = key.and_then(|key| schema.arrow().index_of(key).ok());
        Ok(Encoding { encoder: Encoder::new(schema, id)?, key })
    }

    /// Encodes the chunk that `reader` returned last.
    pub(crate) fn encode(
        &mut self,
        chunk: &Chunk,
        reader: Option<&dyn Reader>,
    ) -> Result<Payloads, Error> {
        let mut encoded = self.encoder.encode(&chunk.batch)?;
        let faults = take(&mut encoded.faults).into_iter();
        let malformed = faults.map(|(row, fault)| malformed(chunk, row as usize, fault)).collect();
        let mut replaced = Vec::new();
        if let Some(reader) = reader {
            for (index, row) in encoded.rows.iter().enumerate() {
                let other = reader.replacement(*row as usize, encoded.get(index));
                replaced.extend(other.map(|bytes| (index, bytes)));
            }
        }
        let keys = match (chunk.keys.is_empty(), self.key) {
            (false, _) => Keys::Bytes(chunk.keys.clone()),
            (true, Some(column)) => keys(chunk.batch.column(column)),
            (true, None) => Keys::None,
        };
        Ok(Payloads { encoded, replaced, keys, malformed })
    }
}

/// A row that could not be encoded. Its source's bytes are not known here.
fn malformed(chunk: &Chunk, row: usize, fault: Fault) -> Malformed {
    Malformed {
        bytes: row_as_json(&chunk.batch.slice(row, 1)),
        fault: Fault { stage: Stage::Source, ..fault },
        position: chunk.positions.get(row).copied().unwrap_or(-1),
    }
}

/// A row that has no bytes of its own; as a dead letter it is a JSON object.
pub(crate) fn row_as_json(row: &RecordBatch) -> Vec<u8> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    match writer.write(row).and_then(|()| writer.finish()) {
        Ok(()) => writer.into_inner().trim_ascii_end().to_vec(),
        Err(error) => format!("the row cannot be shown: {error}").into_bytes(),
    }
}

fn keys(column: &dyn Array) -> Keys {
    match column.data_type() {
        DataType::Utf8 => Keys::Column(column.as_string::<i32>().clone()),
        _ => Keys::Bytes(texts(column)),
    }
}

/// The text of each value; a value that has none (binary data) has no key either.
fn texts(column: &dyn Array) -> Vec<Option<Vec<u8>>> {
    let Ok(formatter) = ArrayFormatter::try_new(column, &FormatOptions::default()) else {
        return vec![None; column.len()];
    };
    let text = |row| {
        let mut text = Vec::new();
        write!(text, "{}", formatter.value(row)).ok().map(|()| text)
    };
    (0..column.len()).map(|row| if column.is_null(row) { None } else { text(row) }).collect()
}

impl Payloads {
    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.encoded.len()
    }

    /// The row of the chunk that the value with this index was encoded from.
    pub(crate) fn row(&self, index: usize) -> usize {
        self.encoded.rows[index] as usize
    }

    pub(crate) fn key(&self, index: usize) -> Option<&[u8]> {
        self.keys.get(self.row(index))
    }

    pub(crate) fn value(&self, index: usize) -> &[u8] {
        match self.replaced.binary_search_by_key(&index, |(replaced, _)| *replaced) {
            Ok(found) => &self.replaced[found].1,
            Err(_) => self.encoded.get(index),
        }
    }
}

impl Keys {
    fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Keys::None => None,
            Keys::Column(column) => column.is_valid(row).then(|| column.value(row).as_bytes()),
            Keys::Bytes(keys) => keys.get(row)?.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{self, Limit};
    use arrow::array::{Int32Array, StringArray};
    use serde_json::Value;
    use std::sync::Arc;

    /// Replaces the bytes of row 1.
    struct Replacing;

    impl Reader for Replacing {
        fn read(&mut self, _: Limit) -> Result<Chunk, source::Error> {
            Err(source::Error::Lost("never read".into()))
        }

        fn replacement(&self, row: usize, value: &[u8]) -> Option<Vec<u8>> {
            (row == 1).then(|| value[..2].to_vec())
        }
    }

    fn chunk() -> Chunk {
        let columns: [(&str, arrow::array::ArrayRef); 2] = [
            ("id", Arc::new(Int32Array::from(vec![1, 2, 3]))),
            ("name", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        ];
        let schema = schema().arrow();
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        Chunk::new(RecordBatch::try_new(schema, columns).unwrap(), Value::Null, false)
    }

    fn schema() -> Schema {
        let text = r#"{"type": "record", "name": "R", "fields": [
            {"name": "id", "type": "int"}, {"name": "name", "type": "string"}]}"#;
        Schema::parse(text).unwrap()
    }

    #[test]
    fn a_reader_may_replace_the_bytes_of_its_records() {
        let mut encoding = Encoding::new(&schema(), 7, None).unwrap();
        let plain = encoding.encode(&chunk(), None).unwrap();
        let replaced = encoding.encode(&chunk(), Some(&Replacing)).unwrap();
        assert_eq!((replaced.value(0), replaced.value(2)), (plain.value(0), plain.value(2)));
        assert_eq!(replaced.value(1), &plain.value(1)[..2]);
    }

    #[test]
    fn a_row_that_its_schema_cannot_hold_does_not_take_its_neighbours() {
        let schema = Schema::parse(
            r#"{"type": "record", "name": "R", "fields": [
            {"name": "id", "type": "int"},
            {"name": "mood", "type": {"type": "enum", "name": "E", "symbols": ["OK", "SAD"]}}]}"#,
        )
        .unwrap();
        let columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![1, 2, 3])),
            Arc::new(StringArray::from(vec!["OK", "ok", "SAD"])),
        ];
        let batch = RecordBatch::try_new(schema.arrow(), columns).unwrap();
        let chunk = Chunk { positions: vec![7, 8, 9], ..Chunk::new(batch, Value::Null, false) };
        let mut encoding = Encoding::new(&schema, 7, Some("id")).unwrap();
        let payloads = encoding.encode(&chunk, Some(&Replacing)).unwrap();
        assert_eq!((payloads.len(), payloads.row(0), payloads.row(1)), (2, 0, 2));
        assert_eq!(
            (payloads.key(1), payloads.value(1)),
            (Some(&b"3"[..]), &[0, 0, 0, 0, 7, 6, 2][..])
        );
        let [malformed] = &payloads.malformed[..] else { panic!("{:?}", payloads.malformed) };
        assert_eq!(
            (malformed.position, malformed.fault.stage, malformed.fault.reason.as_str()),
            (8, Stage::Source, "value_does_not_fit")
        );
        assert_eq!(malformed.bytes, br#"{"id":2,"mood":"ok"}"#);
    }

    #[test]
    fn the_key_comes_with_the_record_or_from_its_field() {
        let keys = |payloads: &Payloads| -> Vec<Option<Vec<u8>>> {
            (0..payloads.len()).map(|row| payloads.key(row).map(<[u8]>::to_vec)).collect()
        };
        let text = |text: &str| Some(text.as_bytes().to_vec());
        let mut encoding = Encoding::new(&schema(), 7, Some("id")).unwrap();
        let own = encoding.encode(&chunk(), None).unwrap();
        assert_eq!(keys(&own), [text("1"), text("2"), text("3")]);
        let given = Chunk { keys: vec![text("x"), None, text("z")], ..chunk() };
        let given = encoding.encode(&given, None).unwrap();
        assert_eq!(keys(&given), [text("x"), None, text("z")]);
    }
}
