//! Arrow batch → COPY BINARY bytes. Pure computation: it runs on the worker's thread while the server takes the batch before.

use crate::layout::{Layout, Source};
use crate::place::Refusal;
use crate::{Error, layout};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int32Array, Int64Array, PrimitiveArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::compute::{CastOptions, cast_with_options, max, min, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Schema, TimeUnit, TimestampMicrosecondType};
use bytes::{Bytes, BytesMut};
use pgpq::ArrowToPostgresBinaryEncoder;
use std::ops::Range;
use std::sync::Arc;
use weir_model::fault::{Fault, Stage};

/// Where the rows of a batch come from, for the lineage columns; slices as long as the batch.
#[derive(Debug, Clone, Copy)]
pub struct Origins<'a> {
    /// The pipeline's input topic.
    pub topic: &'a str,
    /// Partition of the input topic.
    pub partitions: &'a [i32],
    /// Offset in the input topic.
    pub offsets: &'a [i64],
}

/// A batch ready for the server.
#[derive(Debug)]
pub struct Encoded {
    /// In the table's types, so that a part of it can be encoded again.
    batch: RecordBatch,
    /// For each row of `batch`, its row in the batch that was given.
    rows: Option<Vec<u32>>,
    /// All of `batch`.
    pub(crate) bytes: Bytes,
    /// Rows with values that PostgreSQL cannot hold; they are not in `batch`.
    pub(crate) refused: Vec<Refusal>,
}

impl Encoded {
    /// Rows meant for the table.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there is nothing for the table.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on their way to the server.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes themselves, a whole COPY with header and trailer.
    pub fn to_bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The row of the batch that was given, for row `row` of this.
    pub(crate) fn origin(&self, row: usize) -> usize {
        self.rows.as_ref().map_or(row, |rows| rows[row] as usize)
    }
}

impl Layout {
    /// Encodes `batch`, which has exactly the output schema's types. Values beyond PostgreSQL's ranges single out their rows.
    ///
    /// # Errors
    /// [`Error::Batch`] when the batch is not of the schema that the layout was made for.
    pub fn encode(&self, batch: &RecordBatch, origins: Origins<'_>) -> Result<Encoded, Error> {
        if batch.schema_ref().fields().len() != self.input.fields().len() {
            return Err(Error::Batch(format!("{} columns instead of {}", batch.num_columns(), self.input.fields().len())));
        }
        let mut columns = self.columns.iter().map(|c| self.column(batch, &origins, c)).collect::<Result<Vec<_>, _>>()?;
        let refused = self.out_of_range(&columns);
        if self.upsert.is_some() {
            columns.push(Arc::new(Int32Array::from_iter_values(0..batch.num_rows() as i32)));
        }
        let whole = RecordBatch::try_new(self.output.clone(), columns).map_err(|e| Error::Batch(e.to_string()))?;
        let (batch, rows) = without(whole, &refused)?;
        let bytes = self.bytes(&batch)?;
        Ok(Encoded { batch, rows, bytes, refused })
    }

    /// The bytes of some of the rows, for bisecting.
    pub(crate) fn part(&self, encoded: &Encoded, range: Range<usize>) -> Result<Bytes, Error> {
        self.bytes(&encoded.batch.slice(range.start, range.len()))
    }

    fn column(&self, batch: &RecordBatch, origins: &Origins<'_>, column: &layout::Column) -> Result<ArrayRef, Error> {
        let array: ArrayRef = match column.source {
            Source::Field(index) => batch.column(index).clone(),
            Source::Topic => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(origins.topic, batch.num_rows()))),
            Source::Partition => Arc::new(Int32Array::from(origins.partitions.to_vec())),
            Source::Offset => Arc::new(Int64Array::from(origins.offsets.to_vec())),
        };
        if array.data_type() == &column.wire.arrow {
            return Ok(array);
        }
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&array, &column.wire.arrow, &strict).map_err(|e| Error::Batch(format!("column {}: {e}", column.name)))
    }

    /// PostgreSQL's own check would catch most of these, but the extremes of 64 bits would become its infinities.
    fn out_of_range(&self, columns: &[ArrayRef]) -> Vec<Refusal> {
        let mut refused = Vec::new();
        for (column, array) in self.columns.iter().zip(columns) {
            match &column.wire.arrow {
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    beyond::<TimestampMicrosecondType>(array, TIMESTAMPS, &column.name, &mut refused);
                }
                DataType::Date32 => beyond::<Date32Type>(array, DATES, &column.name, &mut refused),
                _ => {}
            }
        }
        refused.sort_by_key(|r| r.row);
        refused.dedup_by_key(|r| r.row);
        refused
    }

    fn bytes(&self, batch: &RecordBatch) -> Result<Bytes, Error> {
        let fail = |e: pgpq::error::ErrorKind| Error::Batch(e.to_string());
        let schema: &Schema = &self.output;
        let mut encoder = ArrowToPostgresBinaryEncoder::try_new_with_encoders(schema, &self.encoders).map_err(fail)?;
        let mut out = BytesMut::new();
        encoder.write_header(&mut out).map_err(fail)?;
        encoder.write_batch(batch, &mut out).map_err(fail)?;
        encoder.write_footer(&mut out).map_err(fail)?;
        Ok(out.freeze())
    }
}

/// 4713-11-24 BC to the end of 294276 AD, microseconds since 1970. Our numbers end before PostgreSQL's do: its epoch is 2000.
const TIMESTAMPS: Range<i64> = -210_866_803_200_000_000..i64::MAX;
/// 4713-11-24 BC to the end of 5874897 AD, days since 1970.
const DATES: Range<i32> = -2_440_588..2_145_042_541;

fn beyond<T: ArrowPrimitiveType>(array: &ArrayRef, range: Range<T::Native>, column: &str, refused: &mut Vec<Refusal>)
where
    T::Native: PartialOrd + std::fmt::Display,
    PrimitiveArray<T>: Clone,
    T: arrow::datatypes::ArrowNumericType,
{
    let array = array.as_primitive::<T>();
    let within = |value: Option<T::Native>| value.is_none_or(|v| range.contains(&v));
    if within(min(array)) && within(max(array)) {
        return;
    }
    let outside = array.iter().enumerate().filter_map(|(row, value)| value.filter(|v| !range.contains(v)).map(|v| (row, v)));
    refused.extend(outside.map(|(row, value)| Refusal {
        row,
        fault: Fault {
            stage: Stage::Sink,
            reason: "datetime_out_of_range".into(),
            detail: format!("column {column}: {value} is outside the range of PostgreSQL's dates and times"),
        },
        column: Some(column.to_owned()),
        sqlstate: "22008".into(),
    }));
}

/// The rows that are not refused, and which ones they are; `None` = all.
fn without(batch: RecordBatch, refused: &[Refusal]) -> Result<(RecordBatch, Option<Vec<u32>>), Error> {
    if refused.is_empty() {
        return Ok((batch, None));
    }
    let mut bad = refused.iter().map(|r| r.row as u32).peekable();
    let rows: Vec<u32> = (0..batch.num_rows() as u32).filter(|row| bad.next_if_eq(row).is_none()).collect();
    let kept = take_record_batch(&batch, &UInt32Array::from(rows.clone())).map_err(|e| Error::Batch(e.to_string()))?;
    Ok((kept, Some(rows)))
}
