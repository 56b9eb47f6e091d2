//! `weir.dead_letters`: records that cannot be written as rows, with their original bytes.

use crate::postgres::{Error, PositionKey, Store};
use deadpool_postgres::Transaction;
use std::time::{Duration, SystemTime};
use weir_model::dead_letter::{DeadLetter, Header};

mod stored;

/// Dead letters per statement, and about their bytes: a statement takes several times as many. The
/// total is not limited.
const CHUNK: usize = 500;
const CHUNK_BYTES: usize = 1 << 20;

impl Store {
    pub(crate) async fn insert_dead_letters(
        &self,
        transaction: &Transaction<'_>,
        position_key: &PositionKey,
        dead_letters: &[DeadLetter],
    ) -> Result<(), Error> {
        if dead_letters.is_empty() {
            return Ok(());
        }
        let statement = transaction.prepare_cached(INSERT).await.map_err(|e| self.error(e))?;
        for chunk in chunks(dead_letters) {
            let columns = Columns::of(chunk);
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 16] = [
                &position_key.pipeline,
                &position_key.sink,
                &position_key.topic,
                &columns.partition,
                &columns.offset,
                &columns.source,
                &columns.key,
                &columns.value,
                &columns.headers,
                &columns.timestamp,
                &columns.schema_id,
                &columns.stage,
                &columns.reason,
                &columns.detail,
                &columns.column,
                &columns.sqlstate,
            ];
            transaction.execute(&statement, &parameters).await.map_err(|e| self.error(e))?;
        }
        Ok(())
    }
}

/// At least one in each, whatever its size.
fn chunks(mut dead_letters: &[DeadLetter]) -> impl Iterator<Item = &[DeadLetter]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |dead_letter: &&DeadLetter| {
            let before = bytes;
            bytes += num_bytes(dead_letter);
            before == 0 || bytes <= CHUNK_BYTES
        };
        let len = dead_letters.iter().take(CHUNK).take_while(fits).count();
        let (chunk, rest) = dead_letters.split_at(len);
        dead_letters = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn num_bytes(dead_letter: &DeadLetter) -> usize {
    let len = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = dead_letter.headers.iter().map(|(name, value)| name.len() + len(value));
    len(&dead_letter.key) + len(&dead_letter.value) + headers.sum::<usize>()
}

const INSERT: &str = "INSERT INTO weir.dead_letters (pipeline, sink, topic, partition, \"offset\", \
     source_offset, key, value, headers, record_timestamp, schema_id, stage, reason, detail, \
     column_name, sqlstate) \
     SELECT $1, $2, $3, l.partition, l.at, l.source, l.key, l.value, l.headers, l.ts, \
     l.schema_id, l.stage, l.reason, l.detail, l.col, l.sqlstate \
     FROM unnest($4::int[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[], $9::jsonb[], \
     $10::timestamptz[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], \
     $16::text[]) AS l (partition, at, source, key, value, headers, ts, schema_id, stage, \
     reason, detail, col, sqlstate)";

/// A chunk of dead letters, one array per column.
#[derive(Default)]
struct Columns<'a> {
    partition: Vec<i32>,
    offset: Vec<i64>,
    source: Vec<Option<i64>>,
    key: Vec<Option<&'a [u8]>>,
    value: Vec<Option<&'a [u8]>>,
    headers: Vec<serde_json::Value>,
    timestamp: Vec<Option<SystemTime>>,
    schema_id: Vec<Option<i64>>,
    stage: Vec<&'static str>,
    reason: Vec<String>,
    detail: Vec<String>,
    column: Vec<Option<String>>,
    sqlstate: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(dead_letters: &'a [DeadLetter]) -> Columns<'a> {
        let mut columns = Columns::default();
        for dead_letter in dead_letters {
            columns.partition.push(dead_letter.coordinates.partition);
            columns.offset.push(dead_letter.coordinates.offset);
            columns.source.push(dead_letter.source);
            columns.key.push(dead_letter.key.as_deref());
            columns.value.push(dead_letter.value.as_deref());
            columns.headers.push(headers(&dead_letter.headers));
            columns.timestamp.push(dead_letter.timestamp_ms.and_then(instant));
            columns.schema_id.push(dead_letter.schema_id.map(i64::from));
            columns.stage.push(dead_letter.fault.stage.as_str());
            columns.reason.push(storable(&dead_letter.fault.reason));
            columns.detail.push(storable(&dead_letter.fault.detail));
            columns.column.push(dead_letter.column.as_deref().map(storable));
            columns.sqlstate.push(dead_letter.code.as_deref());
        }
        columns
    }
}

/// The time of a record's timestamp, if PostgreSQL can store it; a record may have any number.
fn instant(ms: i64) -> Option<SystemTime> {
    const YEAR_9999: i64 = 253_402_300_799_999;
    (0..=YEAR_9999).contains(&ms).then(|| SystemTime::UNIX_EPOCH + Duration::from_millis(ms as u64))
}

/// Text in PostgreSQL can have every character except NUL.
fn storable(text: &str) -> String {
    text.replace('\0', "\\0")
}

/// `[{"name": …, "text": …}]`. A value that is not text is `"hex"` instead of `"text"`; a header
/// without value has neither.
fn headers(headers: &[Header]) -> serde_json::Value {
    let one = |(name, value): &Header| {
        let mut object = serde_json::Map::new();
        object.insert("name".into(), storable(name).into());
        match value.as_deref().map(|v| (std::str::from_utf8(v), v)) {
            None => {}
            Some((Ok(text), _)) if !text.contains('\0') => {
                drop(object.insert("text".into(), text.into()))
            }
            Some((_, bytes)) => drop(object.insert("hex".into(), hex::encode(bytes).into())),
        }
        serde_json::Value::Object(object)
    };
    serde_json::Value::Array(headers.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::coordinates::RecordCoordinates;
    use weir_model::fault::{Fault, Stage};

    #[test]
    fn headers_keep_every_byte() {
        let given = [
            ("weir-reason".to_owned(), Some(b"late".to_vec())),
            ("trace".to_owned(), Some(vec![0, 255])),
            ("empty".to_owned(), None),
        ];
        let expected = serde_json::json!([
            {"name": "weir-reason", "text": "late"},
            {"name": "trace", "hex": "00ff"},
            {"name": "empty"},
        ]);
        assert_eq!(headers(&given), expected);
        assert_eq!(stored::parse(&expected), given);
    }

    fn dead_letter(num_bytes: usize) -> DeadLetter {
        let fault = Fault { stage: Stage::Sink, reason: "r".into(), detail: "d".into() };
        DeadLetter {
            coordinates: RecordCoordinates { topic: "t".into(), partition: 0, offset: 0 },
            source: None,
            key: None,
            value: None,
            headers: vec![("h".into(), Some(vec![0; num_bytes]))],
            timestamp_ms: None,
            schema_id: None,
            fault,
            column: None,
            code: None,
        }
    }

    #[test]
    fn a_statement_takes_many_small_dead_letters_or_one_large_one() {
        let large = CHUNK_BYTES + 1;
        let sizes = [vec![10; CHUNK + 1], vec![large, large, 10, large], vec![10, 10]].concat();
        let dead_letters: Vec<_> = sizes.into_iter().map(dead_letter).collect();
        let lens: Vec<_> = chunks(&dead_letters).map(<[DeadLetter]>::len).collect();
        assert_eq!(lens, [CHUNK, 1, 1, 1, 1, 1, 2]);
        assert_eq!(chunks(&[]).count(), 0);
    }

    #[test]
    fn a_timestamp_that_cannot_be_stored_is_left_out() {
        assert_eq!(instant(-1), None);
        assert_eq!(instant(i64::MAX), None);
        assert_eq!(instant(0), Some(SystemTime::UNIX_EPOCH));
    }
}
