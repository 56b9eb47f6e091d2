//! Where records come from. A new kind of source is a folder below this file that implements
//! [`Source`] and [`Reader`], and a line in [`build`].

pub mod file;
pub mod synthetic;

use arrow::record_batch::RecordBatch;
use serde_json::Value;
use weir_codec::Schema;
use weir_kafka::Header;
use weir_model::dead_letter;
use weir_model::fault::Fault;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Pipeline};

/// Contains records in independent partitions, each readable again from any position that a reader
/// of it returned.
///
/// The form of a position is the source's decision (a sequence number, a file and a line, the
/// cursor of a page). It is committed in the transaction of the records before it, so that reading
/// continues exactly there after a crash: the source must return the same records again from it.
///
/// A source that is pushed to (an HTTP endpoint) fits as well: its reader waits for requests in
/// [`Reader::read`], and answers them at the next call, which means that they were committed.
pub trait Source: Send + Sync {
    /// How many partitions there are. The number may grow while the source is read: the producer
    /// asks again and opens those that appear. It never shrinks.
    fn partitions(&self) -> u32;

    /// Opens a partition at a position that a reader of it returned, or at its beginning.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when a later attempt may succeed; anything else halts the partition.
    fn open(&self, partition: u32, position: Option<&Value>) -> Result<Box<dyn Reader>, Error>;
}

/// Reads one partition in order.
pub trait Reader: Send {
    /// The next records and the malformed items between them, within `limit`. An empty chunk that
    /// is not the end means that there is nothing at the moment.
    ///
    /// Each call means that the chunk before it was committed: after a failed transaction the
    /// reader is dropped, and the partition is opened again at the last committed position.
    ///
    /// # Errors
    /// As [`Source::open`]; after an error the reader is dropped as well.
    fn read(&mut self, limit: Limit) -> Result<Chunk, Error>;

    /// Other bytes for row `row` of the last chunk, which was encoded as `value`: for sources that
    /// have to send what no encoder would. By default the encoded bytes are sent.
    fn replacement(&self, row: usize, value: &[u8]) -> Option<Vec<u8>> {
        let (_, _) = (row, value);
        None
    }
}

/// How much to read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The maximum number of records and malformed items.
    pub records: usize,
    /// The approximate maximum number of bytes of the source; at least one record is read.
    pub bytes: usize,
}

/// The next part of a source.
pub struct Chunk {
    /// Records, in exactly the columns of the input schema.
    pub batch: RecordBatch,
    /// Per row of `batch` its position in the source, as in [`Malformed::position`]; empty where
    /// rows have none of their own.
    pub positions: Vec<i64>,
    /// Per row of `batch` the record's key; empty where `input.key` decides.
    pub keys: Vec<Option<Vec<u8>>>,
    /// Per row of `batch` the record's headers; empty where no record has any.
    pub headers: Vec<Vec<dead_letter::Header>>,
    /// Per row of `batch` the record's timestamp, milliseconds since 1970; empty where the time of
    /// sending is the timestamp.
    pub timestamps_ms: Vec<i64>,
    /// Items that could not become records.
    pub malformed: Vec<Malformed>,
    /// Where to continue after all of it.
    pub position: Value,
    /// Whether nothing will ever follow.
    pub end: bool,
}

impl Chunk {
    /// Records without malformed items, keys, headers and timestamps of their own.
    pub fn new(batch: RecordBatch, position: Value, end: bool) -> Chunk {
        Chunk {
            batch,
            positions: Vec::new(),
            keys: Vec::new(),
            headers: Vec::new(),
            timestamps_ms: Vec::new(),
            malformed: Vec::new(),
            position,
            end,
        }
    }

    /// The headers of row `row`.
    pub(crate) fn headers(&self, row: usize) -> Vec<Header<'_>> {
        let headers = self.headers.get(row).into_iter().flatten();
        headers.map(|(name, value)| (name.as_str(), value.as_deref())).collect()
    }

    /// Records and malformed items.
    pub fn len(&self) -> usize {
        self.batch.num_rows() + self.malformed.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An item of the source that is not a record: it becomes a dead letter with its original bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The item's bytes in the source.
    pub bytes: Vec<u8>,
    /// The reason; its detail describes where.
    pub fault: Fault,
    /// Its position, as a number that the source understands: the line in the file.
    pub position: i64,
}

/// Why a source cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read at the moment.
    #[error("{doing}: {reason}")]
    Unavailable {
        /// The attempted operation.
        doing: String,
        /// The error of the operating system or of the server.
        reason: String,
    },
    /// The source no longer contains the next records, or the position belongs to another source.
    #[error("{0}")]
    Lost(String),
    /// The source does not fit the input schema or the pipeline file.
    #[error("{0}")]
    Unfit(String),
}

/// The source of a pipeline. Called within the instance's async runtime: a kind that uses async
/// clients keeps [`tokio::runtime::Handle::current`], and its readers block on it.
///
/// # Errors
/// Every mistake that can be found without reading records.
pub fn build(pipeline: &Pipeline, schema: &Schema) -> Result<Box<dyn Source>, Vec<Mistake>> {
    match &pipeline.source {
        Some(pipeline::Source::Synthetic(synthetic)) => {
            Ok(Box::new(synthetic::Synthetic::new(synthetic, schema)?))
        }
        Some(pipeline::Source::File(file)) => Ok(Box::new(file::Files::new(file, schema)?)),
        None => Err(vec![
            Mistake::new("source", "the producer needs a source")
                .hint("add a [source] section, or do not run a producer"),
        ]),
    }
}
