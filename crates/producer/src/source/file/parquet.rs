//! Parquet, streamed by pages.

use super::layout::Layout;
use super::{BAD_VALUE, Found, OpenFile, fault, short};
use crate::encode::row_as_json;
use crate::source::{Error, Limit, Malformed};
use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::{can_cast_types, concat_batches};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use weir_codec::CastBatch;

/// Rows that are decoded at once.
const STEP: usize = 8192;

pub(super) struct Parquet {
    reader: ParquetRecordBatchReader,
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
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| broken(&name, &e))?;
        let columns: Vec<_> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
        let positions = layout.match_columns(&name, &columns).map_err(Error::Unfit)?;
        for (field, column) in layout
            .fields
            .iter()
            .zip(&positions)
            .filter_map(|(f, p)| p.map(|p| (f, builder.schema().field(p))))
        {
            if !can_cast_types(column.data_type(), &field.kind) {
                let what = format!(
                    "{name}: column `{}` is {}, which cannot become the {} of field `{}`",
                    column.name(),
                    column.data_type(),
                    field.kind,
                    field.name
                );
                return Err(Error::Unfit(what));
            }
        }
        let rows = builder.metadata().file_metadata().num_rows().max(0) as u64;
        if rows < row {
            return Err(Error::Lost(format!(
                "{name} has {rows} rows now, but {row} of them were read before"
            )));
        }
        let (groups, skip) = groups(&builder, row);
        let mut projected: Vec<_> = positions.iter().flatten().copied().collect();
        projected.sort_unstable();
        let mask = ProjectionMask::roots(builder.parquet_schema(), projected.iter().copied());
        let reader = builder
            .with_projection(mask)
            .with_row_groups(groups)
            .with_offset(skip)
            .with_batch_size(STEP)
            .build();
        // Reading keeps the order of the file, so the n-th projected column is the n-th of the
        // batch.
        let positions = positions
            .into_iter()
            .map(|column| column.and_then(|column| projected.binary_search(&column).ok()))
            .collect();
        Ok(Parquet {
            reader: reader.map_err(|e| broken(&name, &e))?,
            file: name,
            positions,
            ahead: VecDeque::new(),
            row,
        })
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
        self.reader
            .next()
            .transpose()
            .map_err(|e| Error::Unfit(format!("{} after row {}: {e}", self.file, self.row)))
    }

    /// The fields of the schema, in the types of the file; defaults where the file has no column.
    fn fields(&self, rows: &RecordBatch, layout: &Layout) -> Result<RecordBatch, Error> {
        let mut fields = Vec::with_capacity(layout.fields.len());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(layout.fields.len());
        for (field, column) in layout.fields.iter().zip(&self.positions) {
            let column = match column {
                Some(column) => rows.column(*column).clone(),
                None => field
                    .repeat_default(rows.num_rows())
                    .unwrap_or_else(|| new_null_array(&field.kind, rows.num_rows())),
            };
            fields.push(Field::new(&field.name, column.data_type().clone(), true));
            columns.push(column);
        }
        RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)
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
            weir_codec::cast(&self.fields(&rows, layout)?, &layout.codec);
        // Messages count rows from 1.
        let number = |row: u32| self.row as i64 + i64::from(row) + 1;
        let positions = kept.into_iter().map(number).collect();
        let malformed = faults.into_iter().map(|(row, found)| {
            let detail = format!("{} row {}: {}", self.file, number(row), found.detail);
            let reason = if found.reason.is_empty() { BAD_VALUE } else { &found.reason };
            Malformed {
                bytes: row_as_json(&rows.slice(row as usize, 1)),
                fault: fault(reason, detail),
                position: number(row),
            }
        });
        let malformed = malformed.collect();
        self.row += rows.num_rows() as u64;
        Ok(Found { batch, positions, malformed, within: json!({ "row": self.row }), end: false })
    }
}

/// The row groups from the one that contains `row` on, and how many rows of the first of them to
/// skip.
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
    Error::Unfit(format!("{file}: {error}"))
}
