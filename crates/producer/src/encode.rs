//! A chunk of the source → keys and values of Kafka records.

use crate::source::{Chunk, Reader};
use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::io::Write;
use weir_codec::{Encoded, Encoder, Error, Schema};

/// Encodes the chunks of one worker.
pub(crate) struct Encoding {
    encoder: Encoder,
    /// Column of the key.
    key: Option<usize>,
}

/// The records of one chunk.
pub(crate) struct Payloads {
    encoded: Encoded,
    /// Rows with other bytes than the encoder made; ascending.
    replaced: Vec<(usize, Vec<u8>)>,
    keys: Keys,
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
        let encoded = self.encoder.encode(&chunk.batch)?;
        let mut replaced = Vec::new();
        if let Some(reader) = reader {
            for row in 0..encoded.len() {
                let other = reader.replacement(row, encoded.get(row));
                replaced.extend(other.map(|bytes| (row, bytes)));
            }
        }
        let keys = match (chunk.keys.is_empty(), self.key) {
            (false, _) => Keys::Bytes(chunk.keys.clone()),
            (true, Some(column)) => keys(chunk.batch.column(column)),
            (true, None) => Keys::None,
        };
        Ok(Payloads { encoded, replaced, keys })
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
    pub(crate) fn len(&self) -> usize {
        self.encoded.len()
    }

    pub(crate) fn key(&self, row: usize) -> Option<&[u8]> {
        self.keys.get(row)
    }

    pub(crate) fn value(&self, row: usize) -> &[u8] {
        match self.replaced.binary_search_by_key(&row, |(replaced, _)| *replaced) {
            Ok(index) => &self.replaced[index].1,
            Err(_) => self.encoded.get(row),
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
    use arrow::array::{Int32Array, RecordBatch, StringArray};
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
