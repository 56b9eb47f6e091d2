//! The read side of a target: what the audit and the operator's commands need, for every kind of
//! target.

use crate::{Error, kinds};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;
use weir_model::accepted_loss::AcceptedLoss;
use weir_model::coordinates::RecordCoordinates;
use weir_model::dead_letter::Header;
use weir_model::fault::Fault;
use weir_model::mistake::Mistake;
use weir_model::pipeline::{Pipeline, Sink};
use weir_model::progress::{Later, Progress};
use weir_model::protocol::{CommittedPosition, Offset, Partition};

/// Opens the target of a sink for reading. Connects on first use only.
///
/// # Errors
/// The target's configuration cannot be used.
pub fn open(pipeline: &Pipeline, sink: &Sink) -> Result<Arc<dyn TargetReader>, Error> {
    kinds::of(sink).reader(pipeline)
}

/// The mistakes of a sink that can be found without its target.
pub fn check_offline(sink: &Sink, schema: &SchemaRef) -> Vec<Mistake> {
    kinds::of(sink).check_offline(schema)
}

/// A sink's target, for reading. It changes only positions whose loss an operator accepted
/// ([`TargetReader::accept`]), or deletes all of the sink's own state ([`TargetReader::clear`]).
///
/// # Errors
/// Every method fails when the target is unavailable or refuses access.
#[async_trait]
pub trait TargetReader: Send + Sync {
    /// The table, folder or collection that the rows go to, for people; no secrets.
    fn name(&self) -> &str;

    /// The sink's positions in every topic that it has read; none before the first start.
    async fn positions(&self) -> Result<Vec<SinkPosition>, Error>;

    /// The partitions of the output topic that the sink has ever written, as far as the target
    /// remembers it apart from the positions.
    async fn began(&self) -> Result<Vec<Partition>, Error> {
        Ok(Vec::new())
    }

    /// The losses that operators accepted for the sink, oldest first.
    async fn accepted_losses(&self) -> Result<Vec<AcceptedLoss>, Error>;

    /// The sink's dead letters without their content, oldest first.
    async fn dead_letters(&self) -> Result<Vec<StoredDeadLetter>, Error>;

    /// Value and headers of the dead letter `id`; `None` when it does not exist any more.
    async fn dead_letter_content(&self, id: i64) -> Result<Option<DeadLetterContent>, Error>;

    /// The reasons of the sink's dead letters, most frequent first.
    async fn dead_letter_reasons(&self) -> Result<Vec<ReasonCount>, Error>;

    /// Counts the rows by reading them; 0 when there is no table.
    async fn count_rows(&self) -> Result<u64, Error>;

    /// Whether there is any row; no when there is no table.
    async fn has_rows(&self) -> Result<bool, Error>;

    /// What the target holds of the partition behind the position `next`, whose last record came from
    /// the input offset `last`. Asked where an older position was put back.
    async fn later(
        &self,
        _partition: Partition,
        _next: Offset,
        _last: Option<Offset>,
    ) -> Result<Later, Error> {
        Ok(Later::default())
    }

    /// What an operator runs to delete all that [`TargetReader::later`] counts; `None` if that cannot
    /// be told from the rest.
    fn delete_later(
        &self,
        _partition: Partition,
        _next: Offset,
        _last: Option<Offset>,
    ) -> Option<String> {
        None
    }

    /// What an operator runs to let the stopped sink begin at the first record: deletes its rows, dead
    /// letters and positions. `None`: there is no such statement.
    fn delete_all(&self) -> Option<String> {
        None
    }

    /// Shows the partition and the offset of the input record of every row to `visit`, in any
    /// order, without holding them in memory; `false` if the target does not record them.
    async fn origins(
        &self,
        _visit: &mut (dyn FnMut(Partition, Offset) + Send),
    ) -> Result<bool, Error> {
        Ok(false)
    }

    /// How many rows do not name their input record, in a target that records it: they are older than
    /// its lineage columns, or another program wrote them.
    async fn rows_without_origin(&self) -> Result<u64, Error> {
        Ok(0)
    }

    /// Whether [`TargetReader::differing`] compares rows.
    fn compares_rows(&self) -> bool {
        false
    }

    /// The input records, given by partition and offset, of those `rows` of exactly the output
    /// schema whose row in the target has another value in any column; none if the target does
    /// not record the origin of its rows.
    async fn differing(
        &self,
        _rows: &RecordBatch,
        _partitions: &[Partition],
        _offsets: &[Offset],
    ) -> Result<Vec<(Partition, Offset)>, Error> {
        Ok(Vec::new())
    }

    /// What is not there any more as it was written, for people: each a sentence. Reads everything.
    async fn damages(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// The files that the rows are in, and what lies about beside them; `None` if the target keeps its
    /// rows elsewhere.
    fn files(&self) -> Option<&dyn CommittedFiles> {
        None
    }

    /// Any `limit` rows.
    async fn sample(&self, limit: usize) -> Result<Sample, Error>;

    /// Compares the output schema with the target. Changes nothing.
    async fn check(&self, schema: &SchemaRef) -> Result<TargetCheck, Error>;

    /// Fences the partitions, as a new owner would, and reads their positions. `cluster` is the id
    /// of the Kafka cluster.
    async fn acquire(
        &self,
        cluster: &str,
        partitions: &[Partition],
    ) -> Result<Vec<CommittedPosition>, Error>;

    /// Moves a position and records the loss in one transaction. `false`: another writer took the
    /// partition over in the meantime, and nothing was changed.
    async fn accept(&self, cluster: &str, to: &Move, reason: &str) -> Result<bool, Error>;

    /// Deletes the sink's positions, dead letters and accepted losses; the rows stay. Must not run
    /// beside the sink.
    async fn clear(&self) -> Result<(), Error>;
}

/// The files of a target that keeps its rows in files.
///
/// # Errors
/// Every method fails when the target is unavailable or refuses access.
#[async_trait]
pub trait CommittedFiles: Send + Sync {
    /// The files that count, in the order of their commits.
    async fn list(&self) -> Result<Vec<CommittedFile>, Error>;

    /// The files of this sink that do not count and are older than `age`: what writers left that were
    /// killed before their commit. A writer that is alive may be about to commit younger ones.
    async fn orphans(&self, age: Duration) -> Result<Vec<Orphan>, Error>;

    /// Deletes `orphans`, after they were entered in the log, so that no writer can commit them any
    /// more. Those that were committed in the meantime stay. Returns what was deleted.
    async fn sweep(&self, orphans: Vec<Orphan>) -> Result<Vec<Orphan>, Error>;
}

/// A file that counts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CommittedFile {
    /// The whole name: a path, or `s3://bucket/key`.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The SHA-256 of its content.
    pub sha256: String,
    /// The number of its transaction.
    pub transaction: u64,
    /// When it was committed: RFC 3339, UTC.
    pub committed_at: String,
}

/// A file that does not count.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Orphan {
    /// The whole name.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Relative to the sink's path.
    #[serde(skip)]
    pub(crate) relative: String,
}

/// The position of a sink in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkPosition {
    /// The topic that the sink reads.
    pub topic: String,
    /// Partition, fence, next offset and counters.
    pub committed: CommittedPosition,
    /// The id of the Kafka cluster that its offsets belong to, if the target records it.
    pub cluster: Option<String>,
    /// Records that were written, but came back from the dead letters and were older than the row
    /// of their key, which stayed.
    pub superseded: u64,
}

/// A dead letter of a sink, without the record's value and headers: see
/// [`TargetReader::dead_letter_content`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// Its number in the target.
    pub id: i64,
    /// The record that the sink read.
    pub coordinates: RecordCoordinates,
    /// Offset in the input topic, from the lineage; the partition is the same.
    pub source: Option<Offset>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's timestamp, milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
    /// The writer schema's id.
    pub schema_id: Option<u32>,
    /// Why it was refused.
    pub fault: Fault,
    /// The column that the value was meant for.
    pub column: Option<String>,
    /// The error code of the target.
    pub code: Option<String>,
}

/// The rest of a dead letter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetterContent {
    /// The record's value.
    pub value: Option<Vec<u8>>,
    /// All headers in their order.
    pub headers: Vec<Header>,
}

/// A reason of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonCount {
    /// The fault's short name.
    pub reason: String,
    /// Dead letters with it.
    pub count: u64,
    /// `topic[partition]@offset` of the first.
    pub example: String,
    /// The detail of the first.
    pub detail: String,
}

/// A few rows as text, in the order of the target's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Column names.
    pub columns: Vec<String>,
    /// Values as the target prints them; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// The result of [`TargetReader::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetCheck {
    /// What a start would do: `will be created`, `fits; 1 column will be added`.
    pub outlook: String,
    /// What does not fit and is the operator's decision.
    pub mistakes: Vec<Mistake>,
}

/// The move of a position that [`TargetReader::acquire`] has fenced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which partition.
    pub partition: Partition,
    /// The fence that was acquired.
    pub fence: i64,
    /// The position that must still be there; 0 also stands for none.
    pub from: Offset,
    /// The new position.
    pub to: Offset,
    /// The counts up to it. The end of the lineage is what the record at `to` names as its
    /// predecessor; all 0, if neither the log nor the target holds anything of what was read.
    pub progress: Progress,
    /// Records given up.
    pub records: u64,
}
