//! Avro object container files, as the specification has them: a header with the writer's schema and
//! the compression, then blocks of records, each ended by a marker.

use crate::error::Error;
use crate::frame::fault;
use crate::schema::Schema;
use crate::walk::{Check, Recursive, Walk, field_checks, recursive_checks};
use crate::writer::{WriterBatch, WriterDecoder};
use crate::writer_schema::WriterSchema;
use apache_avro::Codec;
use arrow::record_batch::RecordBatch;
use std::io::{self, BufRead, Read};
use std::str::FromStr;
use weir_model::fault::Fault;

const MAGIC: &[u8; 4] = b"Obj\x01";
const MARKER: usize = 16;
/// Most bytes of a block or of an entry of the header in the file. Writers use some thousand.
const MAX_BYTES: u64 = 64 << 20;

/// Reads the blocks of one file.
pub struct Container {
    decoder: WriterDecoder,
    /// What a record of the writer is, to find its end.
    check: Check,
    recursive: Recursive,
    codec: Codec,
    marker: [u8; MARKER],
}

/// A block, decompressed.
#[derive(Debug)]
pub struct Block {
    /// How many records it says it has.
    pub num_records: u64,
    data: Vec<u8>,
    /// The number of the next record, and where it begins.
    next: (u64, usize),
}

/// Some records of a block.
#[derive(Debug)]
pub struct BlockRecords {
    /// Exactly [`Schema::arrow`] of the reader.
    pub batch: RecordBatch,
    /// For each row of `batch` the number of its record in the block.
    pub rows: Vec<u64>,
    /// Records that could not be read: their numbers, their bytes and why. Where the end of one
    /// cannot be told, its bytes are the rest of the block, and so it is the last one.
    pub faults: Vec<(u64, Vec<u8>, Fault)>,
    /// The block is done.
    pub end: bool,
}

impl Block {
    /// The number of the next record.
    pub fn next(&self) -> u64 {
        self.next.0
    }
}

/// Why a file is not read any further.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not such a file, or broken; the rest of a sentence that begins with the file.
    #[error("{0}")]
    Broken(String),
}

fn broken(what: impl Into<String>) -> ContainerError {
    ContainerError::Broken(what.into())
}

/// The schema in the header of a file.
///
/// # Errors
/// It is no Avro object container file.
pub fn container_schema(file: &mut impl BufRead) -> Result<String, ContainerError> {
    Header::read(file).map(|header| header.schema)
}

struct Header {
    schema: String,
    codec: String,
    marker: [u8; MARKER],
}

impl Header {
    fn read(file: &mut impl BufRead) -> Result<Header, ContainerError> {
        let mut magic = [0; 4];
        if file.read_exact(&mut magic).is_err() || magic != *MAGIC {
            return Err(broken("is not an Avro object container file"));
        }
        let (mut schema, mut codec) = (None, String::new());
        loop {
            let count = long(file)?;
            if count == 0 {
                break;
            }
            if count < 0 {
                long(file)?;
            }
            for _ in 0..count.unsigned_abs() {
                let (name, value) = (bytes(file)?, bytes(file)?);
                let value = String::from_utf8_lossy(&value).into_owned();
                match &name[..] {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = value,
                    _ => {}
                }
            }
        }
        let mut marker = [0; MARKER];
        file.read_exact(&mut marker).map_err(cut)?;
        if codec.is_empty() {
            codec = "null".into();
        }
        let schema = schema.ok_or_else(|| broken("has no schema in its header"))?;
        Ok(Header { schema, codec, marker })
    }
}

impl Container {
    /// Reads the header; `file` is at the beginning, and at the first block afterwards.
    ///
    /// # Errors
    /// It is no such file, or its records cannot become records of `reader`.
    pub fn open(file: &mut impl BufRead, reader: &Schema) -> Result<Container, ContainerError> {
        let Header { schema: text, codec, marker } = Header::read(file)?;
        let codec = Codec::from_str(&codec).map_err(|_| {
            broken(format!(
                "is compressed with `{codec}`; there are null, deflate, snappy and zstandard"
            ))
        })?;
        let decoder = WriterDecoder::new("the schema", &text, reader, None)
            .map_err(|fault| broken(format!("does not fit the input schema: {}", fault.detail)))?;
        let writer = WriterSchema::parse(&text)
            .map_err(|error| broken(format!("has no usable schema: {error}")))?;
        let check = Check::Record(field_checks(writer.fields()));
        Ok(Container {
            decoder,
            check,
            recursive: recursive_checks(writer.recursive()),
            codec,
            marker,
        })
    }

    /// The next block; `None` at the end of the file.
    ///
    /// # Errors
    /// It is cut off, is too large or cannot be decompressed.
    pub fn block(&self, file: &mut impl BufRead) -> Result<Option<Block>, ContainerError> {
        if file.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let count = u64::try_from(long(file)?);
        let num_records = count.map_err(|_| broken("has a block of fewer than no records"))?;
        let mut data = bytes(file)?;
        let mut marker = [0; MARKER];
        file.read_exact(&mut marker).map_err(cut)?;
        if marker != self.marker {
            return Err(broken("has a block that does not end with the marker of the file"));
        }
        self.codec
            .decompress(&mut data)
            .map_err(|error| broken(format!("has a block that cannot be decompressed: {error}")))?;
        Ok(Some(Block { num_records, data, next: (0, 0) }))
    }

    /// Goes on in a block at the record with this number, which [`Block::next`] returned before.
    pub fn resume(&self, block: &mut Block, record: u64) {
        while block.next.0 < record.min(block.num_records) {
            let Ok(end) = self.end(&block.data, block.next.1) else { return };
            block.next = (block.next.0 + 1, end);
        }
    }

    /// The next records of a block, up to `limit`.
    ///
    /// # Errors
    /// The columns cannot be made: a bug in weir.
    pub fn records(&mut self, block: &mut Block, limit: usize) -> Result<BlockRecords, Error> {
        let (from, mut at) = block.next;
        let end = block.num_records.min(from.saturating_add(limit as u64));
        let (mut values, mut unread) = (Vec::new(), None);
        for number in from..end {
            match self.end(&block.data, at) {
                Ok(next) => {
                    values.push(Some(&block.data[at..next]));
                    at = next;
                }
                Err(fault) => {
                    unread = Some((number, block.data[at..].to_vec(), fault));
                    break;
                }
            }
        }
        let picked: Vec<u32> = (0..values.len() as u32).collect();
        let WriterBatch { batch, rows, faults } = self.decoder.decode_at(&values, &picked, 0)?;
        let bytes = |row: u32| values[row as usize].unwrap_or_default().to_vec();
        let mut faults: Vec<_> = faults
            .into_iter()
            .map(|(row, fault)| (from + u64::from(row), bytes(row), fault))
            .collect();
        let is_over = unread.is_some() || end == block.num_records;
        if let Some((number, rest, fault)) = unread {
            let left = block.num_records - number - 1;
            faults.push((number, rest, rest_of_block(fault, left)));
        } else if end == block.num_records && at < block.data.len() {
            let what =
                format!("{} bytes follow the last record of the block", block.data.len() - at);
            faults.push((end, block.data[at..].to_vec(), fault("trailing_bytes", what)));
        }
        let rows = rows.into_iter().map(|row| from + u64::from(row)).collect();
        block.next = (end, at);
        Ok(BlockRecords { batch, rows, faults, end: is_over })
    }
}

impl Container {
    /// Where the record that begins at byte `at` ends.
    fn end(&self, data: &[u8], at: usize) -> Result<usize, Fault> {
        let mut walk = Walk::new(data, at, &self.recursive);
        walk.skip(&self.check).map_err(|violation| violation.into_fault())?;
        Ok(walk.cursor.position())
    }
}

fn rest_of_block(fault: Fault, left: u64) -> Fault {
    let detail = match left {
        0 => fault.detail,
        left => format!("{}; the {left} records behind it in its block are with it", fault.detail),
    };
    Fault { detail, ..fault }
}

fn cut(error: io::Error) -> ContainerError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => broken("ends within a block"),
        _ => error.into(),
    }
}

/// A number in the variable-length zig-zag coding.
fn long(file: &mut impl Read) -> Result<i64, ContainerError> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        file.read_exact(&mut byte).map_err(cut)?;
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    Err(broken("has a number of more than ten bytes where a length should be"))
}

fn bytes(file: &mut impl Read) -> Result<Vec<u8>, ContainerError> {
    let length = u64::try_from(long(file)?).ok().filter(|length| *length <= MAX_BYTES);
    let length = length.ok_or_else(|| {
        broken(format!("has a block or an entry of its header of more than {MAX_BYTES} bytes"))
    })?;
    let mut bytes = Vec::new();
    let read = file.take(length).read_to_end(&mut bytes)?;
    if read as u64 == length { Ok(bytes) } else { Err(broken("ends within a block")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apache_avro::types::Value;
    use apache_avro::{Schema as Avro, Writer};
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;

    const WRITER: &str = r#"{"type":"record","name":"R","fields":[
        {"name":"more","type":{"type":"array","items":"string"}},{"name":"id","type":"int"}]}"#;
    const READER: &str = r#"{"type":"record","name":"R","fields":[{"name":"id","type":"int"}]}"#;

    fn file(codec: Codec, ids: std::ops::Range<i32>, per_block: usize) -> Vec<u8> {
        let schema = Avro::parse_str(WRITER).unwrap();
        let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
        for id in ids {
            let more = Value::Array(vec![Value::String(format!("text {id}"))]);
            let fields = vec![("more".into(), more), ("id".into(), Value::Int(id))];
            writer.append_value(Value::Record(fields)).unwrap();
            if (id as usize + 1).is_multiple_of(per_block) {
                writer.flush().unwrap();
            }
        }
        writer.into_inner().unwrap()
    }

    fn ids(batch: &RecordBatch) -> Vec<i32> {
        batch.column(0).as_primitive::<Int32Type>().values().to_vec()
    }

    /// All records, `limit` at a time.
    fn read(content: &[u8], limit: usize) -> Result<(Vec<i32>, Vec<u64>), ContainerError> {
        let (mut file, mut all, mut faults) = (content, Vec::new(), Vec::new());
        let mut container = Container::open(&mut file, &Schema::parse(READER).unwrap())?;
        while let Some(mut block) = container.block(&mut file)? {
            let mut end = false;
            while !end {
                let records = container.records(&mut block, limit).unwrap();
                assert_eq!(records.rows.len(), records.batch.num_rows());
                all.extend(ids(&records.batch));
                faults.extend(records.faults.into_iter().map(|(number, ..)| number));
                end = records.end;
            }
        }
        Ok((all, faults))
    }

    #[test]
    fn what_apache_avro_writes_is_read_with_any_compression_and_in_any_steps() {
        let codecs = [
            Codec::Null,
            Codec::Deflate(Default::default()),
            Codec::Snappy,
            Codec::Zstandard(Default::default()),
        ];
        for codec in codecs {
            let content = file(codec, 0..100, 7);
            for limit in [1, 3, 1000] {
                let (all, faults) = read(&content, limit).unwrap();
                assert_eq!(all, (0..100).collect::<Vec<_>>(), "{codec:?}");
                assert_eq!(faults, [0; 0]);
            }
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_takes_the_rest_of_its_block_and_no_more() {
        let mut content = file(Codec::Null, 0..30, 10);
        let at = content.windows(7).position(|w| w == b"text 13").unwrap();
        content[at - 1] = 0x7f; // a length that leads out of the block
        let (all, faults) = read(&content, 1000).unwrap();
        assert_eq!(all, (0..13).chain(20..30).collect::<Vec<_>>());
        assert_eq!(faults, [3]);
    }

    #[test]
    fn what_is_broken_is_named() {
        let content = file(Codec::Null, 0..30, 10);
        let said = |content: &[u8]| read(content, 10).unwrap_err().to_string();
        assert!(said(b"id,name\n").contains("is not an Avro object container file"));
        assert!(said(&content[..content.len() - 3]).contains("ends within a block"));
        let mut other = content.clone();
        *other.last_mut().unwrap() ^= 1;
        assert!(said(&other).contains("does not end with the marker"));
        let unfit = Avro::parse_str(r#"{"type":"record","name":"R","fields":[]}"#).unwrap();
        let unfit = Writer::new(&unfit, Vec::new()).unwrap().into_inner().unwrap();
        assert!(said(&unfit).contains("does not fit the input schema"), "{}", said(&unfit));
    }
}
