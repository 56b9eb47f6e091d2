//! Reads `weir.dead_letters` back.

use crate::postgres::positions::prepared;
use crate::postgres::{Error, Store};
use crate::reader::{DeadLetterContent, StoredDeadLetter};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_postgres::Row;
use weir_model::coordinates::RecordCoordinates;
use weir_model::dead_letter::Header;
use weir_model::fault::{Fault, Stage};

impl Store {
    /// A sink's dead letters, oldest first; none if weir's tables do not exist.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn dead_letters(
        &self,
        pipeline: &str,
        sink: &str,
    ) -> Result<Vec<StoredDeadLetter>, Error> {
        let client = self.client().await?;
        if !prepared(&client).await.map_err(|e| self.error(e))? {
            return Ok(Vec::new());
        }
        let rows =
            client.query(DEAD_LETTERS, &[&pipeline, &sink]).await.map_err(|e| self.error(e))?;
        rows.iter().map(stored).collect::<Result<_, _>>().map_err(|e| self.error(e))
    }

    /// Value and headers of the dead letter `id`; `None` if it does not exist any more.
    ///
    /// # Errors
    /// The server cannot be reached, or the role lacks SELECT.
    pub async fn dead_letter_content(&self, id: i64) -> Result<Option<DeadLetterContent>, Error> {
        let client = self.client().await?;
        let row = client
            .query_opt("SELECT value, headers FROM weir.dead_letters WHERE id = $1", &[&id])
            .await;
        let content = |row: Row| {
            Ok(DeadLetterContent {
                value: row.try_get(0)?,
                headers: parse(&row.try_get::<_, serde_json::Value>(1)?),
            })
        };
        row.and_then(|row| row.map(content).transpose()).map_err(|e| self.error(e))
    }
}

const DEAD_LETTERS: &str = "SELECT id, topic, partition, \"offset\", source_offset, key, \
     record_timestamp, schema_id, stage, reason, detail, column_name, sqlstate \
     FROM weir.dead_letters WHERE pipeline = $1 AND sink = $2 ORDER BY id";

fn stored(row: &Row) -> Result<StoredDeadLetter, tokio_postgres::Error> {
    let since = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok())
    };
    Ok(StoredDeadLetter {
        id: row.try_get(0)?,
        coordinates: RecordCoordinates {
            topic: row.try_get(1)?,
            partition: row.try_get(2)?,
            offset: row.try_get(3)?,
        },
        source: row.try_get(4)?,
        key: row.try_get(5)?,
        timestamp_ms: row.try_get::<_, Option<SystemTime>>(6)?.and_then(since),
        schema_id: row.try_get::<_, Option<i64>>(7)?.and_then(|id| id.try_into().ok()),
        fault: Fault {
            stage: Stage::parse(row.try_get(8)?).unwrap_or(Stage::Sink),
            reason: row.try_get(9)?,
            detail: row.try_get(10)?,
        },
        column: row.try_get(11)?,
        code: row.try_get(12)?,
    })
}

/// The headers from the form in which they are stored.
pub(super) fn parse(headers: &serde_json::Value) -> Vec<Header> {
    let one = |header: &serde_json::Value| {
        let text = header["text"].as_str().map(|text| text.as_bytes().to_vec());
        (
            header["name"].as_str().unwrap_or_default().to_owned(),
            text.or_else(|| hex::decode(header["hex"].as_str()?).ok()),
        )
    };
    headers.as_array().map(|list| list.iter().map(one).collect()).unwrap_or_default()
}
