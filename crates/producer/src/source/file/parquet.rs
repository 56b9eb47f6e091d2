//! Parquet, streamed by pages.

pub(super) mod meaning;

use super::layout::{self, Layout};
use super::{Found, OpenFile, fault, short, unavailable};
use crate::encode::row_as_json;
use crate::source::{Error, Limit, Malformed};
use arrow::compute::concat_batches;
use arrow::datatypes::{Field, Schema as ArrowSchema, TimeUnit};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use meaning::Meaning;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use weir_codec::{CastBatch, Schema};
use weir_model::expected_panic;
use weir_model::fault::VALUE_DOES_NOT_FIT;

/// Rows that are decoded at once.
const STEP: usize = 8192;

pub(super) struct Parquet {
    reader: ParquetRecordBatchReader,
    meaning: Meaning,
    file: String,
    /// For each field, its column among those that are read.
    positions: Vec<Option<usize>>,
    /// Decoded, not yet returned.
    ahead: VecDeque<RecordBatch>,
    /// The next row to return.
    row: u64,
}

impl Parquet {
    pub(super) fn open(
        path: &Path,
        file: File,
        within: &Value,
        layout: &Layout,
    ) -> Result<Parquet, Error> {
        let name = short(path);
        let row = match within {
            Value::Null => 0,
            position => position["row"]
                .as_u64()
                .ok_or_else(|| Error::Lost(format!("{position} is not a position in {name}")))?,
        };
        let again = file.try_clone().map_err(|e| unavailable(path, &e))?;
        let builder =
            meaning::builder(file, TimeUnit::Nanosecond).map_err(|e| broken(&name, &e))?;
        let meant = meaning::fields(&builder);
        let columns: Vec<_> = meant.iter().map(|f| f.name().clone()).collect();
        let positions = layout.match_columns(path, &columns).map_err(Error::Unfit)?;
        let mismatch = |(field, position): (&layout::Field, &Option<usize>)| {
            let column = &meant[(*position)?];
            let problem = field.field_type.mismatch(column)?;
            Some(format!("column `{}{}` {}", column.name(), problem.path, problem.what))
        };
        let mismatches: Vec<_> =
            layout.fields.iter().zip(&positions).filter_map(mismatch).collect();
        if !mismatches.is_empty() {
            return Err(Error::Unfit(format!("{name}: {}", mismatches.join("; "))));
        }
        let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
        if rows < row {
            return Err(Error::Lost(format!(
                "{name} has {rows} rows now, but {row} of them were read before"
            )));
        }
        let mut projected: Vec<_> = positions.iter().flatten().copied().collect();
        projected.sort_unstable();
        let meaning = Meaning::new(&builder, &projected, || {
            let builder = meaning::builder(again, TimeUnit::Second)?;
            from_row(builder, row, &projected)
        });
        let meaning = meaning.map_err(|e| broken(&name, &e))?;
        let reader = from_row(builder, row, &projected).map_err(|e| broken(&name, &e))?;
        // Reading keeps the order of the file, so the n-th projected column is the n-th of the
        // batch.
        let positions = positions
            .into_iter()
            .map(|column| column.and_then(|column| projected.binary_search(&column).ok()))
            .collect();
        Ok(Parquet { reader, meaning, file: name, positions, ahead: VecDeque::new(), row })
    }

    /// Up to `limit` rows as they are in the file; `None` at its end.
    fn take(&mut self, limit: Limit) -> Result<Option<RecordBatch>, Error> {
        let (mut taken, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while rows < limit.records && bytes < limit.bytes {
            let Some(next) = self.next()? else { break };
            let row_bytes = (next.get_array_memory_size() / next.num_rows().max(1)).max(1);
            let room = (limit.records - rows).min(((limit.bytes - bytes) / row_bytes).max(1));
            let now = next.slice(0, room.min(next.num_rows()));
            if now.num_rows() < next.num_rows() {
                self.ahead.push_front(next.slice(now.num_rows(), next.num_rows() - now.num_rows()));
            }
            rows += now.num_rows();
            bytes += now.num_rows() * row_bytes;
            taken.push(now);
        }
        let Some(first) = taken.first() else { return Ok(None) };
        concat_batches(&first.schema(), &taken)
            .map(Some)
            .map_err(|e| Error::Unfit(format!("{}: {e}", self.file)))
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, Error> {
        if let Some(batch) = self.ahead.pop_front() {
            return Ok(Some(batch));
        }
        // What a broken file says of itself may be more than the library takes.
        let next = expected_panic::catch(|| self.reader.next());
        let next = next.unwrap_or_else(|| {
            Some(Err(ArrowError::ParquetError("a value has more bytes than its type".into())))
        });
        let rows = next.map(|rows| self.meaning.of(&rows?));
        rows.transpose()
            .map_err(|e| Error::Unfit(format!("{} after row {}: {e}", self.file, self.row)))
    }

    /// The columns of the schema's fields under their names, in the types of the file.
    fn columns(&self, rows: &RecordBatch, layout: &Layout) -> Result<RecordBatch, Error> {
        let mut fields = Vec::with_capacity(layout.fields.len());
        let mut columns = Vec::with_capacity(layout.fields.len());
        for (field, column) in layout.fields.iter().zip(&self.positions) {
            let Some(column) = *column else { continue };
            let of = Field::clone(rows.schema_ref().field(column));
            fields.push(of.with_name(&field.name).with_nullable(true));
            columns.push(rows.column(column).clone());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)
            .map_err(|e| Error::Unfit(format!("{}: {e}", self.file)))
    }
}

impl OpenFile for Parquet {
    fn read(&mut self, limit: Limit, layout: &Layout) -> Result<Found, Error> {
        let Some(rows) = self.take(limit)? else {
            let batch = RecordBatch::new_empty(layout.schema());
            return Ok(Found {
                batch,
                positions: Vec::new(),
                malformed: Vec::new(),
                within: json!({ "row": self.row }),
                end: true,
            });
        };
        let CastBatch { batch, rows: kept, faults } =
            cast(&self.columns(&rows, layout)?, &layout.codec);
        // Messages count rows from 1.
        let number = |row: u32| self.row as i64 + i64::from(row) + 1;
        let positions = kept.into_iter().map(number).collect();
        let malformed = faults.into_iter().map(|(row, found)| {
            let detail = format!("{} row {}: {}", self.file, number(row), found.detail);
            Malformed {
                bytes: row_as_json(&rows.slice(row as usize, 1)),
                fault: fault(&found.reason, detail),
                position: number(row),
            }
        });
        let malformed = malformed.collect();
        self.row += rows.num_rows() as u64;
        Ok(Found { batch, positions, malformed, within: json!({ "row": self.row }), end: false })
    }
}

/// The rows as records. The library panics at some values that have more digits than their type says;
/// then each row is cast alone.
fn cast(rows: &RecordBatch, schema: &Schema) -> CastBatch {
    let attempt = |rows: &RecordBatch| expected_panic::catch(|| weir_codec::cast(rows, schema));
    if let Some(cast) = attempt(rows) {
        return cast;
    }
    let (mut batches, mut kept, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows.num_rows() {
        let number = row as u32;
        match attempt(&rows.slice(row, 1)) {
            Some(one) => {
                kept.extend(one.rows.iter().map(|_| number));
                faults.extend(one.faults.into_iter().map(|(_, fault)| (number, fault)));
                batches.push(one.batch);
            }
            None => {
                let what = "a number has more digits than the type of its column";
                faults.push((number, fault(VALUE_DOES_NOT_FIT, what.into())));
            }
        }
    }
    match concat_batches(&schema.arrow(), &batches) {
        Ok(batch) => CastBatch { batch, rows: kept, faults },
        Err(error) => {
            let all = 0..rows.num_rows() as u32;
            let of = |row| (row, fault(VALUE_DOES_NOT_FIT, error.to_string()));
            let batch = RecordBatch::new_empty(schema.arrow());
            CastBatch { batch, rows: Vec::new(), faults: all.map(of).collect() }
        }
    }
}

/// Reads these roots from a row on.
fn from_row(
    builder: ParquetRecordBatchReaderBuilder<File>,
    row: u64,
    roots: &[usize],
) -> Result<ParquetRecordBatchReader, ParquetError> {
    let (groups, skip) = groups(&builder, row);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots.iter().copied());
    let builder = builder.with_projection(mask).with_row_groups(groups);
    builder.with_offset(skip).with_batch_size(STEP).build()
}

/// The row groups from the one that holds `row` on, and how many rows of the first of them to skip.
fn groups(builder: &ParquetRecordBatchReaderBuilder<File>, row: u64) -> (Vec<usize>, usize) {
    let sizes = builder.metadata().row_groups().iter().map(|group| group.num_rows().max(0) as u64);
    let mut start = 0;
    for (number, size) in sizes.enumerate() {
        if row < start + size {
            return (
                (number..builder.metadata().num_row_groups()).collect(),
                (row - start) as usize,
            );
        }
        start += size;
    }
    (Vec::new(), 0)
}

fn broken(file: &str, error: &ParquetError) -> Error {
    Error::Unfit(format!(
        "{file} cannot be read as Parquet ({error}); repair it, or change source.path so that it \
         does not match"
    ))
}
