//! Arrow batch → COPY BINARY bytes. Pure computation: it runs on the worker's thread while the
//! server takes the batch before.

use crate::layout::{Layout, Source};
use crate::refusal::Refusal;
use crate::{Error, layout};
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

/// A batch ready for the server: the bytes of a whole COPY, and nothing else that would take memory
/// while it is on its way.
#[derive(Debug)]
pub struct Encoded {
    bytes: Bytes,
    rows: usize,
    /// For each row its row in the batch that was given; `None` = the same.
    origins: Option<Vec<u32>>,
    /// Rows with values that PostgreSQL cannot hold; they are not in `bytes`.
    pub(crate) refused: Vec<Refusal>,
}

impl Encoded {
    /// Rows meant for the table.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is nothing for the table.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The COPY with header and trailer.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The row of the batch that was given, for row `row` of this.
    pub(crate) fn origin(&self, row: usize) -> usize {
        self.origins.as_ref().map_or(row, |rows| rows[row] as usize)
    }

    /// Where each row begins, and the last one ends: rows say themselves how long they are.
    pub(crate) fn boundaries(&self) -> Vec<usize> {
        let mut boundaries = Vec::with_capacity(self.rows + 1);
        let mut at = HEADER;
        for _ in 0..self.rows {
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

    /// The COPY of a part of the rows, in pieces that share this one's memory. `boundaries` are
    /// those of [`Encoded::boundaries`].
    pub(crate) fn part(&self, boundaries: &[usize], range: Range<usize>) -> [Bytes; 3] {
        let rows = self.bytes.slice(boundaries[range.start]..boundaries[range.end]);
        [self.bytes.slice(..HEADER), rows, self.bytes.slice(self.bytes.len() - TRAILER..)]
    }
}

/// Signature, flags and length of the extension.
const HEADER: usize = 19;
/// -1 as 16 bits.
const TRAILER: usize = 2;

fn number(bytes: &[u8]) -> i32 {
    match *bytes {
        [a, b] => i16::from_be_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

impl Layout {
    /// Encodes `batch`, which has exactly the output schema's types. Values beyond PostgreSQL's
    /// ranges single out their rows.
    ///
    /// # Errors
    /// [`Error::Batch`] when the batch is not of the schema that the layout was made for.
    pub fn encode(&self, batch: &RecordBatch, origins: Origins<'_>) -> Result<Encoded, Error> {
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
        let refused = self.out_of_range(&columns);
        if self.upsert.is_some() {
            columns.push(Arc::new(Int32Array::from_iter_values(0..batch.num_rows() as i32)));
        }
        let whole = RecordBatch::try_new(self.output.clone(), columns)
            .map_err(|e| Error::Batch(e.to_string()))?;
        let (batch, origins) = without(whole, &refused)?;
        Ok(Encoded { bytes: self.bytes(&batch)?, rows: batch.num_rows(), origins, refused })
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

    /// PostgreSQL's own check would catch most of these, but the extremes of 64 bits would become
    /// its infinities.
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

    fn bytes(&self, batch: &RecordBatch) -> Result<Bytes, Error> {
        let fail = |e: pgpq::error::ErrorKind| Error::Batch(e.to_string());
        let schema: &Schema = &self.output;
        let mut encoder =
            ArrowToPostgresBinaryEncoder::try_new_with_encoders(schema, &self.encoders)
                .map_err(fail)?;
        let mut out = BytesMut::new();
        encoder.write_header(&mut out).map_err(fail)?;
        encoder.write_batch(batch, &mut out).map_err(fail)?;
        encoder.write_footer(&mut out).map_err(fail)?;
        Ok(out.freeze())
    }
}

/// 4713-11-24 BC to the end of 294276 AD, microseconds since 1970. Our numbers end before
/// PostgreSQL's do: its epoch is 2000.
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

/// The rows that are not refused, and which ones they are; `None` = all.
fn without(
    batch: RecordBatch,
    refused: &[Refusal],
) -> Result<(RecordBatch, Option<Vec<u32>>), Error> {
    if refused.is_empty() {
        return Ok((batch, None));
    }
    let mut bad = refused.iter().map(|r| r.row as u32).peekable();
    let rows: Vec<u32> =
        (0..batch.num_rows() as u32).filter(|row| bad.next_if_eq(row).is_none()).collect();
    let kept = take_record_batch(&batch, &UInt32Array::from(rows.clone()))
        .map_err(|e| Error::Batch(e.to_string()))?;
    Ok((kept, Some(rows)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Wire;
    use weir_model::pipeline::Mode;

    fn layout(input: &RecordBatch) -> Layout {
        let fields = input.schema();
        let column = |(i, field): (usize, &Arc<arrow::datatypes::Field>)| layout::Column {
            name: field.name().clone(),
            source: Source::Field(i),
            wire: Wire { arrow: field.data_type().clone(), jsonb: false },
        };
        let columns = fields.fields().iter().enumerate().map(column).collect();
        Layout::new("s", "t", fields.clone(), columns, &Mode::Append).unwrap()
    }

    const NOWHERE: Origins<'static> = Origins { topic: "", partitions: &[], offsets: &[] };

    #[test]
    fn a_part_of_the_bytes_is_the_copy_of_those_rows() {
        let text: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some("four")]));
        let number: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None, Some(4)]));
        let batch = RecordBatch::try_from_iter([("text", text), ("number", number)]).unwrap();
        let layout = layout(&batch);
        let whole = layout.encode(&batch, NOWHERE).unwrap();
        let boundaries = whole.boundaries();
        for (start, end) in [(0, 4), (0, 1), (1, 3), (3, 4), (2, 2)] {
            let part = whole.part(&boundaries, start..end).concat();
            let alone = layout.encode(&batch.slice(start, end - start), NOWHERE).unwrap();
            assert_eq!(part, alone.bytes().as_ref(), "{start}..{end}");
        }
    }

    #[test]
    fn a_time_beyond_the_range_takes_its_row_out() {
        let times = vec![Some(i64::MIN), Some(0), None, Some(i64::MAX)];
        let batch = RecordBatch::try_from_iter([(
            "at",
            Arc::new(arrow::array::TimestampMicrosecondArray::from(times)) as ArrayRef,
        )])
        .unwrap();
        let encoded = layout(&batch).encode(&batch, NOWHERE).unwrap();
        assert_eq!(encoded.refused.iter().map(|r| r.row).collect::<Vec<_>>(), [0, 3]);
        assert_eq!((encoded.len(), encoded.origin(0), encoded.origin(1)), (2, 1, 2));
    }
}
