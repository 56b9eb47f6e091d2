//! Where records come from. A new kind of source is one file below this one that implements two
//! traits.

pub mod file;
pub mod synthetic;

use arrow::record_batch::RecordBatch;
use serde_json::Value;
use weir_codec::Schema;
use weir_model::fault::Fault;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{self, Pipeline};

/// Something that holds records in independent partitions, each readable again from any position it
/// ever named.
///
/// A position is the source's own affair (a sequence number, a file and a line, a page's cursor).
/// It is committed in the transaction of the records before it, so after a crash reading goes on
/// exactly there: the source must give the same records again from it.
pub trait Source: Send + Sync {
    /// How many partitions; fixed for the life of the pipeline.
    fn partitions(&self) -> u32;

    /// Opens a partition at a position that a reader of it named, or at its beginning.
    ///
    /// # Errors
    /// [`Error::Away`] when trying again may help; anything else stops the partition.
    fn open(&self, partition: u32, position: Option<&Value>) -> Result<Box<dyn Reader>, Error>;
}

/// Reads one partition in order.
pub trait Reader: Send {
    /// The next records and the malformed items between them, within `limit`. An empty chunk that
    /// is not the end means that there is nothing at the moment.
    ///
    /// # Errors
    /// As [`Source::open`]; after one, the reader is dropped and the partition opened again at the
    /// last committed position.
    fn read(&mut self, limit: Limit) -> Result<Chunk, Error>;
}

/// How much to read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// At most so many records and malformed items.
    pub records: usize,
    /// At most about so many bytes of the source, but at least one record.
    pub bytes: usize,
}

/// What a reader found.
pub struct Chunk {
    /// Records, in exactly the columns of the input schema.
    pub batch: RecordBatch,
    /// Rows of `batch` whose bytes are spoiled on purpose once they are encoded; ascending.
    pub spoiled: Vec<(usize, Spoil)>,
    /// Per row of `batch` the place in the source, as in [`Malformed::place`]; empty where rows
    /// have none of their own.
    pub places: Vec<i64>,
    /// What could not become a record.
    pub malformed: Vec<Malformed>,
    /// Where to go on after all of it.
    pub position: Value,
    /// Whether there is nothing after it, now and for ever.
    pub end: bool,
}

impl Chunk {
    /// Records and malformed items.
    pub fn len(&self) -> usize {
        self.batch.num_rows() + self.malformed.len()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Changes the bytes of an encoded record: the way of a test source to send what no encoder would.
pub type Spoil = Box<dyn Fn(&mut Vec<u8>) + Send>;

/// An item of the source that is no record: it goes to the dead letters with its original bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The item as the source holds it.
    pub bytes: Vec<u8>,
    /// Why; its detail says where, in words.
    pub fault: Fault,
    /// Where, as a number that the source understands: the line in the file.
    pub place: i64,
}

/// Why a source cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not at the moment.
    #[error("{doing}: {reason}")]
    Away {
        /// What was tried, on what.
        doing: String,
        /// What the operating system or the other side said.
        reason: String,
    },
    /// The source no longer holds what comes next, or it is not the source that the position speaks
    /// of.
    #[error("{0}")]
    Lost(String),
    /// The source does not fit the input schema, or the pipeline file is wrong about it.
    #[error("{0}")]
    Unfit(String),
}

/// The source of a pipeline, and all that is wrong with it.
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
