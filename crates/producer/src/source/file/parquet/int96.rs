//! Times of INT96, as Spark and Hive write them: a day and the nanoseconds in it.
//!
//! The library has them as numbers of 64 bits: nanoseconds wrap beyond the year 2262, and every
//! coarser unit drops digits. Read twice, as nanoseconds and as seconds, they are exact. They are
//! passed on as texts (`9999-12-31T23:59:59.000000001`), which the casting rules read strictly.

use arrow::array::{ArrayRef, AsArray, StringArray};
use arrow::datatypes::{
    DataType, Field, Schema, TimeUnit, TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use jiff::{SignedDuration, civil};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type;
use parquet::errors::ParquetError;
use parquet::schema::types::SchemaDescriptor;
use std::fs::File;
use std::sync::Arc;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// The INT96 columns that are read, once more as seconds.
pub(super) struct Int96 {
    /// Each with its place among all columns that are read.
    pub(super) columns: Vec<usize>,
    pub(super) seconds: ParquetRecordBatchReader,
}

impl Int96 {
    /// The next rows, read with these columns as nanoseconds, with them as texts.
    pub(super) fn as_texts(&mut self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let seconds = self.seconds.next().transpose()?;
        let seconds = seconds.filter(|seconds| seconds.num_rows() == rows.num_rows());
        let seconds = seconds.ok_or_else(|| {
            ArrowError::ParquetError("the columns have different numbers of rows".into())
        })?;
        let (mut fields, mut columns) = (rows.schema().fields().to_vec(), rows.columns().to_vec());
        for (column, seconds) in self.columns.iter().zip(seconds.columns()) {
            let name = fields[*column].name().clone();
            columns[*column] = texts(seconds, &columns[*column]);
            fields[*column] = Arc::new(Field::new(name, DataType::Utf8, true));
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

fn texts(seconds: &ArrayRef, nanos: &ArrayRef) -> ArrayRef {
    let seconds = seconds.as_primitive::<TimestampSecondType>().iter();
    let nanos = nanos.as_primitive::<TimestampNanosecondType>().iter();
    let texts: StringArray =
        seconds.zip(nanos).map(|(seconds, nanos)| Some(text(seconds?, nanos?))).collect();
    Arc::new(texts)
}

/// The time of these seconds, the same in nanoseconds modulo 2⁶⁴.
fn text(seconds: i64, nanos: i64) -> String {
    let within = nanos.wrapping_sub(seconds.wrapping_mul(NANOS_PER_SECOND));
    let since = SignedDuration::from_secs(seconds).checked_add(SignedDuration::from_nanos(within));
    let time =
        since.and_then(|since| civil::date(1970, 1, 1).at(0, 0, 0, 0).checked_add(since).ok());
    time.map_or_else(|| format!("{seconds} s and {within} ns from 1970"), |time| time.to_string())
}

/// A reader of the file. Its footer decides the types, and `unit` that of INT96 columns.
pub(super) fn builder(
    file: File,
    unit: TimeUnit,
) -> Result<ParquetRecordBatchReaderBuilder<File>, ParquetError> {
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    let physical = metadata.metadata().file_metadata().schema_descr();
    let fields = metadata.schema().fields().iter().enumerate();
    let fields = fields.map(|(root, field)| match is_int96(physical, root) {
        true => Arc::new(field.as_ref().clone().with_data_type(DataType::Timestamp(unit, None))),
        false => field.clone(),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)?;
    Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata))
}

/// Whether this column is INT96.
pub(super) fn is_int96(schema: &SchemaDescriptor, root: usize) -> bool {
    let root = &schema.root_schema().get_fields()[root];
    root.is_primitive() && root.get_physical_type() == Type::INT96
}
