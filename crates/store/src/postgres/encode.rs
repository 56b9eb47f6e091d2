//! Arrow batch → COPY BINARY bytes, without IO: it runs on the worker's thread while the server
//! processes the transaction before.

use crate::postgres::Error;
use crate::postgres::arrange::Arranged;
use crate::postgres::copy::Pieces;
use crate::postgres::layout::Layout;
use crate::postgres::refusal::Refusal;
use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Schema;
use bytes::{Bytes, BytesMut};
use pgpq::ArrowToPostgresBinaryEncoder;
use std::ops::Range;

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
    /// Where a record that came back from the dead letters was for the first time. Empty if the
    /// layout has no order.
    pub replays: &'a [Option<i64>],
    /// The rows to delete; `None`: none. Only for a layout that deletes.
    pub deletes: Option<&'a BooleanBuffer>,
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
    has_replays: bool,
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
            has_replays: false,
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
        self.has_replays |= origins.replays.iter().any(Option::is_some);
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
            has_replays: self.has_replays,
        }
    }
}

/// The bytes of a whole COPY.
#[derive(Debug)]
pub struct CopyData {
    bytes: Bytes,
    num_rows: usize,
    origins: Option<Vec<u32>>,
    has_replays: bool,
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

    /// The COPY of all rows.
    pub(crate) fn whole(&self) -> Pieces {
        let (num_rows, has_replays) = (self.num_rows, self.has_replays);
        Pieces { bytes: self.pieces(), num_rows, has_replays, is_part: false }
    }

    /// All bytes, with header and trailer, in pieces that share the memory.
    pub fn pieces(&self) -> [Bytes; 3] {
        [self.bytes.slice(..HEADER), self.bytes.slice(HEADER..), Bytes::from_static(&TRAILER)]
    }

    /// The number of row `row` of the COPY among all added rows.
    pub(crate) fn origin(&self, row: usize) -> usize {
        self.origins.as_ref().map_or(row, |rows| rows[row] as usize)
    }

    /// The row of the COPY that has the number `origin` among all added rows.
    pub(crate) fn position(&self, origin: usize) -> Option<usize> {
        match &self.origins {
            None => (origin < self.num_rows).then_some(origin),
            Some(rows) => rows.binary_search(&u32::try_from(origin).ok()?).ok(),
        }
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

    /// The values of one row in their binary format; `None` is null. In a layout with an upsert,
    /// the last one is the row's number.
    pub(crate) fn fields(
        &self,
        boundaries: &[usize],
        row: usize,
    ) -> impl Iterator<Item = Option<&[u8]>> {
        let bytes = &self.bytes[boundaries[row]..boundaries[row + 1]];
        let mut at = 2;
        std::iter::from_fn(move || {
            let length = number(bytes.get(at..at + 4)?);
            at += 4;
            let start = at;
            at += length.max(0) as usize;
            Some((length >= 0).then(|| &bytes[start..at]))
        })
    }

    /// The COPY of a range of the rows, in pieces that share the memory. `boundaries` comes from
    /// [`CopyData::boundaries`].
    pub(crate) fn part(&self, boundaries: &[usize], range: Range<usize>) -> Pieces {
        let rows = self.bytes.slice(boundaries[range.start]..boundaries[range.end]);
        let bytes = [self.bytes.slice(..HEADER), rows, Bytes::from_static(&TRAILER)];
        let (num_rows, has_replays) = (range.len(), self.has_replays);
        Pieces { bytes, num_rows, has_replays, is_part: true }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::column_type::Wire;
    use crate::postgres::layout::{self, Source};
    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use std::sync::Arc;

    fn layout(input: &RecordBatch) -> Layout {
        let fields = input.schema();
        let column = |(i, field): (usize, &Arc<arrow::datatypes::Field>)| layout::Column {
            name: field.name().clone(),
            source: Source::Field(i),
            wire: Wire::cast(field.data_type().clone()),
            base: String::new(),
            declared: String::new(),
        };
        let columns = fields.fields().iter().enumerate().map(column).collect();
        Layout::new("t", fields.clone(), columns, None, false).unwrap()
    }

    const NOWHERE: Origins<'static> =
        Origins { topic: "", partitions: &[], offsets: &[], replays: &[], deletes: None };

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
            let part = whole.part(&boundaries, start..end).bytes.concat();
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
