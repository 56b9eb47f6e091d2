//! A chunk of the source → keys and values of Kafka records.

use crate::source::Chunk;
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
    spoiled: Vec<(usize, Vec<u8>)>,
    keys: Keys,
}

/// The keys of one chunk: borrowed from a text column, or written as text.
enum Keys {
    None,
    Column(arrow::array::StringArray),
    Text(Vec<Option<Vec<u8>>>),
}

impl Encoding {
    /// Encodes with `schema`, which the registry knows as `id`; `key` names a field of it.
    pub(crate) fn new(schema: &Schema, id: u32, key: Option<&str>) -> Result<Encoding, Error> {
        let key = key.and_then(|key| schema.arrow().index_of(key).ok());
        Ok(Encoding { encoder: Encoder::new(schema, id)?, key })
    }

    pub(crate) fn encode(&mut self, chunk: &Chunk) -> Result<Payloads, Error> {
        let encoded = self.encoder.encode(&chunk.batch)?;
        let spoil = |(row, spoil): &(usize, crate::source::Spoil)| {
            let mut bytes = encoded.get(*row).to_vec();
            spoil(&mut bytes);
            (*row, bytes)
        };
        let spoiled = chunk.spoiled.iter().map(spoil).collect();
        let keys = self.key.map_or(Keys::None, |column| keys(chunk.batch.column(column)));
        Ok(Payloads { encoded, spoiled, keys })
    }
}

fn keys(column: &dyn Array) -> Keys {
    match column.data_type() {
        DataType::Utf8 => Keys::Column(column.as_string::<i32>().clone()),
        _ => Keys::Text(texts(column)),
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
    /// Key and value of each record, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Option<&[u8]>, &[u8])> {
        let mut spoiled = self.spoiled.iter().peekable();
        (0..self.encoded.len()).map(move |row| {
            let value = spoiled
                .next_if(|(at, _)| *at == row)
                .map_or_else(|| self.encoded.get(row), |(_, bytes)| bytes.as_slice());
            (self.keys.get(row), value)
        })
    }
}

impl Keys {
    fn get(&self, row: usize) -> Option<&[u8]> {
        match self {
            Keys::None => None,
            Keys::Column(column) => column.is_valid(row).then(|| column.value(row).as_bytes()),
            Keys::Text(texts) => texts[row].as_deref(),
        }
    }
}
