//! Reads files back, one at a time: a file is fetched into a temporary file of this machine.

use crate::files::dead_letter::{Letter, Letters};
use crate::files::error::{bug, configuration, failed, local};
use crate::files::hash::{self, sha256};
use crate::files::location::Location;
use crate::files::log::Log;
use crate::files::table::LINEAGE;
use crate::reader::Sample;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::util::display::array_value_to_string;
use futures_util::StreamExt;
use object_store::{Error as StoreError, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use weir_model::protocol::{Offset, Partition};

/// A file that was fetched.
pub(crate) struct Fetched {
    file: File,
    /// Its name says the format: the sink's may have been another one.
    path: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

/// Fetches a file; `None` if it does not exist.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn fetch(
    location: &Location,
    path: &str,
) -> Result<Option<Fetched>, crate::Error> {
    let fail = |e: StoreError| failed("reading a file", location.name(), &e);
    let found = match location.store.get(&location.at(path)?).await {
        Ok(found) => found,
        Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    let mut file = tempfile::tempfile().map_err(|e| local("creating a temporary file", &e))?;
    let (mut content, mut hash, mut bytes) = (found.into_stream(), Sha256::new(), 0);
    while let Some(piece) = content.next().await {
        let piece = piece.map_err(fail)?;
        hash.update(&piece);
        bytes += piece.len() as u64;
        file.write_all(&piece).map_err(|e| local("writing a temporary file", &e))?;
    }
    file.seek(SeekFrom::Start(0)).map_err(|e| local("reading a temporary file", &e))?;
    Ok(Some(Fetched { file, path: path.into(), bytes, sha256: hash::finish(hash) }))
}

/// The dead letters of a transaction.
///
/// # Errors
/// Their file is not there, or is not the one that was written.
pub(crate) async fn letters(log: &Log, letters: Letters) -> Result<Vec<Letter>, crate::Error> {
    let Some(file) = letters.file else { return Ok(letters.inline) };
    let damaged =
        |what: &str| configuration(format!("{}: {what}", log.location().full(&file.path)));
    let bytes = log.get(&file.path).await?.ok_or_else(|| damaged("this file is missing"))?;
    if sha256(&bytes) != file.sha256 {
        return Err(damaged("this file of dead letters is not as it was written"));
    }
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|e| damaged(&e.to_string()))).collect()
}

impl Fetched {
    /// Counts the rows by reading them; `Err` says why the file cannot be read.
    pub(crate) fn count(self) -> Result<u64, String> {
        let mut rows = 0;
        match self.is_parquet() {
            true => {
                let file = ParquetRecordBatchReaderBuilder::try_new(self.file).map_err(text)?;
                rows = file.metadata().file_metadata().num_rows().unsigned_abs();
            }
            false => self.lines(&mut |_| {
                rows += 1;
                true
            })?,
        }
        Ok(rows)
    }

    /// Shows where each row comes from, if the file says so for rows of `topic`.
    pub(crate) fn origins(
        self,
        topic: &str,
        visit: &mut (dyn FnMut(Partition, Offset) + Send),
    ) -> Result<(), String> {
        if !self.is_parquet() {
            return self.lines(&mut |row| {
                let value = |name| row.iter().find(|(column, _)| column == name)?.1.as_deref();
                let partition = value(LINEAGE[1]).and_then(|text| text.parse().ok());
                let offset = value(LINEAGE[2]).and_then(|text| text.parse().ok());
                if let (Some(of), Some(partition), Some(offset)) =
                    (value(LINEAGE[0]), partition, offset)
                    && of == topic
                {
                    visit(partition, offset);
                }
                true
            });
        }
        let file = ParquetRecordBatchReaderBuilder::try_new(self.file).map_err(text)?;
        let roots = file.parquet_schema().root_schema().get_fields().iter().enumerate();
        let roots =
            roots.filter(|(_, field)| LINEAGE.contains(&field.name())).map(|(root, _)| root);
        let mask = ProjectionMask::roots(file.parquet_schema(), roots.collect::<Vec<_>>());
        for batch in file.with_projection(mask).build().map_err(text)? {
            let batch = batch.map_err(text)?;
            let column = |name| batch.column_by_name(name).cloned();
            let [Some(topics), Some(partitions), Some(offsets)] = LINEAGE.map(column) else {
                continue;
            };
            let (Some(topics), Some(partitions), Some(offsets)) = (
                topics.as_string_opt::<i32>(),
                partitions.as_primitive_opt::<Int32Type>(),
                offsets.as_primitive_opt::<Int64Type>(),
            ) else {
                continue;
            };
            for row in (0..batch.num_rows()).filter(|row| topics.value(*row) == topic) {
                visit(partitions.value(row), offsets.value(row));
            }
        }
        Ok(())
    }

    /// The first rows as text.
    pub(crate) fn sample(self, limit: usize) -> Result<Sample, String> {
        let mut sample = Sample { columns: Vec::new(), rows: Vec::new() };
        if !self.is_parquet() {
            self.lines(&mut |row| {
                sample.columns = row.iter().map(|(name, _)| name.clone()).collect();
                sample.rows.push(row.into_iter().map(|(_, value)| value).collect());
                sample.rows.len() < limit
            })?;
            return Ok(sample);
        }
        let file = ParquetRecordBatchReaderBuilder::try_new(self.file).map_err(text)?;
        sample.columns = file.schema().fields().iter().map(|field| field.name().clone()).collect();
        for batch in file.with_limit(limit).build().map_err(text)? {
            let batch = batch.map_err(text)?;
            for row in 0..batch.num_rows() {
                let value = |column: &arrow::array::ArrayRef| match column.is_null(row) {
                    true => None,
                    false => Some(array_value_to_string(column, row).unwrap_or_default()),
                };
                sample.rows.push(batch.columns().iter().map(value).collect());
            }
        }
        Ok(sample)
    }

    fn is_parquet(&self) -> bool {
        self.path.ends_with(".parquet")
    }

    /// Shows the rows of a file of text to `visit`, until it returns `false`.
    fn lines(
        self,
        visit: &mut dyn FnMut(Vec<(String, Option<String>)>) -> bool,
    ) -> Result<(), String> {
        let plain: Box<dyn Read> = match self.path.rsplit('.').next() {
            Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(self.file)),
            Some("zst") => Box::new(zstd::Decoder::new(self.file).map_err(text)?),
            _ => Box::new(self.file),
        };
        let mut plain = BufReader::new(plain);
        if self.path.contains(".csv") {
            let mut reader = csv::Reader::from_reader(plain);
            let names: Vec<String> =
                reader.headers().map_err(text)?.iter().map(str::to_owned).collect();
            for record in reader.records() {
                let record = record.map_err(text)?;
                let values =
                    record.iter().map(|value| Some(value.to_owned()).filter(|v| !v.is_empty()));
                if !visit(names.iter().cloned().zip(values).collect()) {
                    break;
                }
            }
            return Ok(());
        }
        let mut line = Vec::new();
        while plain.read_until(b'\n', &mut line).map_err(text)? > 0 {
            let Members(members) = serde_json::from_slice(&line).map_err(text)?;
            if !visit(members) {
                break;
            }
            line.clear();
        }
        Ok(())
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

/// The members of an object in their order, as text; null is `None`.
struct Members(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                    let value = match value {
                        serde_json::Value::Null => None,
                        serde_json::Value::String(text) => Some(text),
                        other => Some(other.to_string()),
                    };
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The number of rows that the end of a Parquet file says, without fetching all of it.
pub(crate) async fn parquet_rows(
    location: &Location,
    path: &str,
    bytes: u64,
) -> Result<u64, crate::Error> {
    use parquet::errors::ParquetError;
    use parquet::file::metadata::ParquetMetaDataReader;
    let at = location.at(path)?;
    let mut wanted = (64 << 10).min(bytes);
    loop {
        let range = bytes - wanted..bytes;
        let end = location.store.get_range(&at, range).await;
        let end = end.map_err(|e| failed("reading a file", location.name(), &e))?;
        let mut reader = ParquetMetaDataReader::new();
        match reader.try_parse_sized(&end, bytes) {
            Ok(()) => {
                let metadata = reader.finish().map_err(bug)?;
                return Ok(metadata.file_metadata().num_rows().unsigned_abs());
            }
            Err(ParquetError::NeedMoreData(needed))
                if (needed as u64) > wanted && wanted < bytes =>
            {
                wanted = (needed as u64).min(bytes);
            }
            Err(error) => return Err(configuration(format!("{}: {error}", location.full(path)))),
        }
    }
}
