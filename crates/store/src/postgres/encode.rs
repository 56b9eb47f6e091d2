//! Arrow batch → COPY BINARY bytes, without IO: it runs on the worker's thread while the server
//! processes the transaction before.

use crate::postgres::layout::{Layout, Source};
use crate::postgres::refusal::Refusal;
use crate::postgres::{Error, layout};
use arrow::array::{
    Array, ArrayRef, ArrowNumericType, AsArray, Int32Array, Int64Array, RecordBatch, StringArray,
    UInt32Array,
};
use arrow::compute::{CastOptions, cast_with_options, max, min, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Schema, TimeUnit, TimestampMicrosecondType};
use bytes::{Bytes, BytesMut};
use pgpq::ArrowToPostgresBinaryEncoder;
use std::ops::Range;
use std::sync::Arc;
use weir_model::fault::{Fault, Stage};

/// The input records of the rows of a batch, for the lineage columns. The slices have one entry per
/// row.
#[derive(Debug, Clone, Copy)]
pub struct Origins<'a> {
    /// The pipeline's input topic.
    pub topic: &'a str,
    /// Partition of the input topic.
    pub partitions: &'a [i32],
    /// Offset in the input topic.
    pub offsets: &'a [i64],
}

/// Rows in the form that COPY takes. Grows batch by batch; the rows of all batches are numbered
/// consecutively. The batches themselves are not kept.
pub struct Encoded {
    encoder: ArrowToPostgresBinaryEncoder,
    bytes: BytesMut,
    num_rows: usize,
    num_added: usize,
    /// For each row its number among all added rows; `None` if no row was refused.
    origins: Option<Vec<u32>>,
    /// Rows with values that PostgreSQL cannot hold; they are not in `bytes`.
    refused: Vec<Refusal>,
}

impl Encoded {
    /// No rows yet.
    ///
    /// # Errors
    /// [`Error::Batch`]: the layout has a column that cannot be encoded.
    pub fn new(layout: &Layout) -> Result<Encoded, Error> {
        let schema: &Schema = &layout.output;
        let mut encoder =
            ArrowToPostgresBinaryEncoder::try_new_with_encoders(schema, &layout.encoders)
                .map_err(batch_error)?;
        let mut bytes = BytesMut::new();
        encoder.write_header(&mut bytes).map_err(batch_error)?;
        Ok(Encoded {
            encoder,
            bytes,
            num_rows: 0,
            num_added: 0,
            origins: None,
            refused: Vec::new(),
        })
    }

    /// Adds the rows of `batch`, which has exactly the output schema. Rows with values outside of
    /// PostgreSQL's ranges are refused.
    ///
    /// # Errors
    /// [`Error::Batch`]: the batch does not have the schema of the layout.
    pub fn add(
        &mut self,
        layout: &Layout,
        batch: &RecordBatch,
        origins: Origins<'_>,
    ) -> Result<(), Error> {
        let Arranged { batch, rows, refused } = layout.arrange(batch, origins, self.num_added)?;
        self.encoder.write_batch(&batch, &mut self.bytes).map_err(batch_error)?;
        let first = self.num_added as u32;
        if rows.is_some() && self.origins.is_none() {
            self.origins = Some((0..first).collect());
        }
        if let Some(origins) = &mut self.origins {
            match rows {
                Some(rows) => origins.extend(rows.into_iter().map(|row| first + row)),
                None => origins.extend(first..first + batch.num_rows() as u32),
            }
        }
        self.num_added += batch.num_rows() + refused.len();
        self.num_rows += batch.num_rows();
        self.refused.extend(refused);
        Ok(())
    }

    /// The number of rows for the table.
    pub fn len(&self) -> usize {
        self.num_rows
    }

    /// Whether there are no rows for the table.
    pub fn is_empty(&self) -> bool {
        self.num_rows == 0
    }

    /// The number of added rows: those for the table and the refused ones.
    pub fn num_added(&self) -> usize {
        self.num_added
    }

    /// The size of the COPY in bytes.
    pub fn num_bytes(&self) -> usize {
        self.bytes.len() + TRAILER.len()
    }

    /// The rows that were refused.
    pub fn take_refused(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.refused)
    }

    /// The COPY of all rows. Nothing may be added afterwards.
    pub fn finish(&mut self) -> CopyData {
        CopyData {
            bytes: std::mem::take(&mut self.bytes).freeze(),
            num_rows: self.num_rows,
            origins: self.origins.take(),
        }
    }
}

/// The bytes of a whole COPY.
#[derive(Debug)]
pub struct CopyData {
    bytes: Bytes,
    num_rows: usize,
    origins: Option<Vec<u32>>,
}

impl CopyData {
    /// The number of rows for the table.
    pub fn len(&self) -> usize {
        self.num_rows
    }

    /// Whether there are no rows for the table.
    pub fn is_empty(&self) -> bool {
        self.num_rows == 0
    }

    /// All bytes, with header and trailer, in pieces that share the memory.
    pub fn pieces(&self) -> [Bytes; 3] {
        [self.bytes.slice(..HEADER), self.bytes.slice(HEADER..), Bytes::from_static(&TRAILER)]
    }

    /// The number of row `row` of the COPY among all added rows.
    pub(crate) fn origin(&self, row: usize) -> usize {
        self.origins.as_ref().map_or(row, |rows| rows[row] as usize)
    }

    /// The byte offset of each row, and the end of the last one. A row contains its own length.
    pub(crate) fn boundaries(&self) -> Vec<usize> {
        let mut boundaries = Vec::with_capacity(self.num_rows + 1);
        let mut at = HEADER;
        for _ in 0..self.num_rows {
            boundaries.push(at);
            let fields = number(&self.bytes[at..at + 2]);
            at += 2;
            for _ in 0..fields {
                // A null has the length -1 and no bytes.
                at += 4 + number(&self.bytes[at..at + 4]).max(0) as usize;
            }
        }
        boundaries.push(at);
        boundaries
    }

    /// The COPY of a range of the rows, in pieces that share the memory. `boundaries` comes from
    /// [`CopyData::boundaries`].
    pub(crate) fn part(&self, boundaries: &[usize], range: Range<usize>) -> [Bytes; 3] {
        let rows = self.bytes.slice(boundaries[range.start]..boundaries[range.end]);
        [self.bytes.slice(..HEADER), rows, Bytes::from_static(&TRAILER)]
    }
}

/// The bytes of signature, flags and extension length.
const HEADER: usize = 19;
/// -1 in 16 bits.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();

fn batch_error(error: pgpq::error::ErrorKind) -> Error {
    Error::Batch(error.to_string())
}

fn number(bytes: &[u8]) -> i32 {
    match *bytes {
        [a, b] => i16::from_be_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// The rows of a batch as columns of the table.
struct Arranged {
    batch: RecordBatch,
    /// The numbers of the rows within the given batch; `None` if no row was refused.
    rows: Option<Vec<u32>>,
    refused: Vec<Refusal>,
}

impl Layout {
    /// `first` is the number of the batch's first row.
    fn arrange(
        &self,
        batch: &RecordBatch,
        origins: Origins<'_>,
        first: usize,
    ) -> Result<Arranged, Error> {
        if batch.schema_ref().fields().len() != self.input.fields().len() {
            return Err(Error::Batch(format!(
                "{} columns instead of {}",
                batch.num_columns(),
                self.input.fields().len()
            )));
        }
        let mut columns = self
            .columns
            .iter()
            .map(|c| self.column(batch, &origins, c))
            .collect::<Result<Vec<_>, _>>()?;
        let mut refused = self.out_of_range(&columns);
        if self.upsert.is_some() {
            let numbers = first as i32..(first + batch.num_rows()) as i32;
            columns.push(Arc::new(Int32Array::from_iter_values(numbers)));
        }
        let whole = RecordBatch::try_new(self.output.clone(), columns)
            .map_err(|e| Error::Batch(e.to_string()))?;
        let rows = remaining_rows(whole.num_rows(), &refused);
        let batch = match &rows {
            None => whole,
            Some(rows) => take_record_batch(&whole, &UInt32Array::from(rows.clone()))
                .map_err(|e| Error::Batch(e.to_string()))?,
        };
        refused.iter_mut().for_each(|refusal| refusal.row += first);
        Ok(Arranged { batch, rows, refused })
    }

    fn column(
        &self,
        batch: &RecordBatch,
        origins: &Origins<'_>,
        column: &layout::Column,
    ) -> Result<ArrayRef, Error> {
        let array: ArrayRef = match column.source {
            Source::Field(index) => batch.column(index).clone(),
            Source::Topic => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                origins.topic,
                batch.num_rows(),
            ))),
            Source::Partition => Arc::new(Int32Array::from(origins.partitions.to_vec())),
            Source::Offset => Arc::new(Int64Array::from(origins.offsets.to_vec())),
        };
        if array.data_type() == &column.wire.arrow {
            return Ok(array);
        }
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(&array, &column.wire.arrow, &strict)
            .map_err(|e| Error::Batch(format!("column {}: {e}", column.name)))
    }

    /// PostgreSQL would refuse most of these rows itself, but it takes the extremes of 64 bits for
    /// infinity.
    fn out_of_range(&self, columns: &[ArrayRef]) -> Vec<Refusal> {
        let mut refused = Vec::new();
        for (column, array) in self.columns.iter().zip(columns) {
            match &column.wire.arrow {
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    beyond::<TimestampMicrosecondType>(
                        array,
                        TIMESTAMPS,
                        &column.name,
                        &mut refused,
                    );
                }
                DataType::Date32 => beyond::<Date32Type>(array, DATES, &column.name, &mut refused),
                _ => {}
            }
        }
        refused.sort_by_key(|r| r.row);
        refused.dedup_by_key(|r| r.row);
        refused
    }
}

/// 4713-11-24 BC to the end of 294276 AD, microseconds since 1970. Counted from 1970, 64 bits end
/// before PostgreSQL's range, which counts from 2000.
const TIMESTAMPS: Range<i64> = -210_866_803_200_000_000..i64::MAX;
/// 4713-11-24 BC to the end of 5874897 AD, days since 1970.
const DATES: Range<i32> = -2_440_588..2_145_042_541;

fn beyond<T>(array: &ArrayRef, range: Range<T::Native>, column: &str, refused: &mut Vec<Refusal>)
where
    T: ArrowNumericType<Native: PartialOrd + std::fmt::Display>,
{
    let array = array.as_primitive::<T>();
    let within = |value: Option<T::Native>| value.is_none_or(|v| range.contains(&v));
    if within(min(array)) && within(max(array)) {
        return;
    }
    let outside = array
        .iter()
        .enumerate()
        .filter_map(|(row, value)| value.filter(|v| !range.contains(v)).map(|v| (row, v)));
    refused.extend(outside.map(|(row, value)| Refusal {
        row,
        fault: Fault {
            stage: Stage::Sink,
            reason: "datetime_out_of_range".into(),
            detail: format!(
                "column {column}: {value} is outside the range of PostgreSQL's dates and times"
            ),
        },
        column: Some(column.to_owned()),
        sqlstate: "22008".into(),
    }));
}

/// The rows that are not refused; `None` if none is refused.
fn remaining_rows(num_rows: usize, refused: &[Refusal]) -> Option<Vec<u32>> {
    if refused.is_empty() {
        return None;
    }
    let mut refused = refused.iter().map(|refusal| refusal.row as u32).peekable();
    Some((0..num_rows as u32).filter(|row| refused.next_if_eq(row).is_none()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::column_type::Wire;
    use weir_model::pipeline::TableName;

    fn layout(input: &RecordBatch) -> Layout {
        let fields = input.schema();
        let column = |(i, field): (usize, &Arc<arrow::datatypes::Field>)| layout::Column {
            name: field.name().clone(),
            source: Source::Field(i),
            wire: Wire { arrow: field.data_type().clone(), jsonb: false },
        };
        let columns = fields.fields().iter().enumerate().map(column).collect();
        Layout::new(&TableName::default(), fields.clone(), columns, None).unwrap()
    }

    const NOWHERE: Origins<'static> = Origins { topic: "", partitions: &[], offsets: &[] };

    fn encode(layout: &Layout, batches: &[RecordBatch]) -> Encoded {
        let mut encoded = Encoded::new(layout).unwrap();
        batches.iter().for_each(|batch| encoded.add(layout, batch, NOWHERE).unwrap());
        encoded
    }

    #[test]
    fn a_range_of_rows_is_the_copy_of_those_rows() {
        let text: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some("four")]));
        let number: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None, Some(4)]));
        let batch = RecordBatch::try_from_iter([("text", text), ("number", number)]).unwrap();
        let layout = layout(&batch);
        let whole = encode(&layout, std::slice::from_ref(&batch)).finish();
        let boundaries = whole.boundaries();
        for (start, end) in [(0, 4), (0, 1), (1, 3), (3, 4), (2, 2)] {
            let part = whole.part(&boundaries, start..end).concat();
            let alone = encode(&layout, &[batch.slice(start, end - start)]).finish();
            assert_eq!(part, alone.pieces().concat(), "{start}..{end}");
        }
        let by_parts = encode(&layout, &[batch.slice(0, 1), batch.slice(1, 3)]).finish();
        assert_eq!(by_parts.pieces().concat(), whole.pieces().concat());
    }

    #[test]
    fn a_row_with_a_time_out_of_range_is_refused() {
        let times = vec![Some(i64::MIN), Some(0), None, Some(i64::MAX)];
        let batch = RecordBatch::try_from_iter([(
            "at",
            Arc::new(arrow::array::TimestampMicrosecondArray::from(times)) as ArrayRef,
        )])
        .unwrap();
        let mut encoded = encode(&layout(&batch), &[batch.clone(), batch.slice(1, 3)]);
        let refused: Vec<usize> = encoded.refused.iter().map(|r| r.row).collect();
        assert_eq!((refused, encoded.num_added()), (vec![0, 3, 6], 7));
        let copy = encoded.finish();
        assert_eq!([0, 1, 2, 3].map(|row| copy.origin(row)), [1, 2, 4, 5]);
    }
}
