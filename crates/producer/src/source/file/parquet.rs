//! Parquet, streamed by pages.

use super::layout::Layout;
use super::{BAD_VALUE, Found, OpenFile, fault, short};
use crate::encode::row_as_json;
use crate::source::{Error, Limit, Malformed};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use weir_codec::CastBatch;
use weir_model::avro::type_name;

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
        let builder = builder(file).map_err(|e| broken(&name, &e))?;
        let columns: Vec<_> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
        let positions = layout.match_columns(&name, &columns).map_err(Error::Unfit)?;
        for (field, position) in layout.fields.iter().zip(&positions) {
            let Some(column) = position.map(|position| builder.schema().field(position)) else {
                continue;
            };
            if !field.field_type.takes(column.data_type()) {
                return Err(Error::Unfit(format!(
                    "{name}: column `{}` is {}, which cannot become the {} of field `{}` without \
                     being rounded or guessed. Give the field a type that holds it, and convert \
                     it in transform.sql",
                    column.name(),
                    type_name(column.data_type()),
                    field.field_type,
                    field.name
                )));
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

    /// The columns of the schema's fields under their names, in the types of the file.
    fn columns(&self, rows: &RecordBatch, layout: &Layout) -> Result<RecordBatch, Error> {
        let mut fields = Vec::with_capacity(layout.fields.len());
        let mut columns = Vec::with_capacity(layout.fields.len());
        for (field, column) in layout.fields.iter().zip(&self.positions) {
            let Some(column) = column.map(|column| rows.column(column)) else { continue };
            fields.push(Field::new(&field.name, column.data_type().clone(), true));
            columns.push(column.clone());
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
            weir_codec::cast(&self.columns(&rows, layout)?, &layout.codec);
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

/// A reader of the file. Its footer decides the types, except for INT96: the library reads these
/// times as nanoseconds, which end in 2262; the programs that write them mean microseconds.
fn builder(file: File) -> Result<ParquetRecordBatchReaderBuilder<File>, ParquetError> {
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    let physical = metadata.metadata().file_metadata().schema_descr();
    let is_int96 = |root: usize| {
        let root = &physical.root_schema().get_fields()[root];
        root.is_primitive() && root.get_physical_type() == Type::INT96
    };
    let fields =
        metadata.schema().fields().iter().enumerate().map(|(root, field)| match is_int96(root) {
            true => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                Arc::new(field.as_ref().clone().with_data_type(micros))
            }
            false => field.clone(),
        });
    let schema: SchemaRef = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata))
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
    Error::Unfit(format!("{file}: {error}"))
}
