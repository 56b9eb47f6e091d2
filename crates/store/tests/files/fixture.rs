//! A sink with files in a temporary folder, or in a bucket.

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use tokio::runtime::Runtime;
use weir_model::coordinates::RecordCoordinates;
use weir_model::dead_letter::DeadLetter;
use weir_model::fault::{Fault, Stage};
use weir_model::pipeline::Pipeline;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Claim, CommittedPosition, Offset, Outcome, Partition};
use weir_store::target::Room;
use weir_store::{Part, SourceRecords, Target, TargetReader, Written};

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// The offsets of a part's rows, all of one partition.
struct Rows {
    partition: Partition,
    offsets: Vec<Offset>,
}

impl SourceRecords for Rows {
    fn partition(&self, _: usize) -> Partition {
        self.partition
    }

    fn source(&self, row: usize) -> Offset {
        self.offsets[row]
    }

    fn replay_of(&self, _: usize) -> Option<Offset> {
        None
    }

    fn dead_letter(&self, row: usize, fault: Fault) -> DeadLetter {
        dead_letter(self.partition, self.offsets[row], fault)
    }
}

pub(crate) fn dead_letter(partition: Partition, offset: Offset, fault: Fault) -> DeadLetter {
    DeadLetter {
        coordinates: RecordCoordinates { topic: "sales-out".into(), partition, offset },
        source: Some(offset),
        key: Some(b"key".to_vec()),
        value: Some(b"\0\0\0\0\x01value".to_vec()),
        headers: vec![("h".into(), None)],
        timestamp_ms: Some(1_700_000_000_000),
        schema_id: Some(1),
        fault,
        column: None,
        code: None,
    }
}

pub(crate) fn fault() -> Fault {
    Fault { stage: Stage::Sink, reason: "truncated".into(), detail: "two bytes".into() }
}

/// Rows of any schema, from offset `from` on.
pub(crate) fn part_of(partition: Partition, from: Offset, rows: RecordBatch) -> Part {
    let num_rows = rows.num_rows();
    let offsets = (from..).take(num_rows).collect();
    Part {
        rows,
        deletes: None,
        records: Box::new(Rows { partition, offsets }),
        dead_letters: Vec::new(),
        size: Room { records: num_rows, bytes: num_rows * 10 },
    }
}

/// Rows `(id, name)` whose ids are their offsets.
pub(crate) fn batch(from: Offset, num_rows: usize) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values((from as i32..).take(num_rows)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..num_rows).map(|_| "name")));
    RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("name", names, true)]).unwrap()
}

pub(crate) fn part(partition: Partition, from: Offset, num_rows: usize) -> Part {
    part_of(partition, from, batch(from, num_rows))
}

/// The claim over `num_records` records.
pub(crate) fn claim(committed: &CommittedPosition, num_records: usize, num_dead: usize) -> Claim {
    let (read, dead) = (num_records as u64, num_dead as u64);
    let counters = Counters { read, written: read - dead, dead, ..Counters::default() };
    let CommittedPosition { partition, fence, next: expected, ref progress, .. } = *committed;
    let next = expected.unwrap_or(0) + num_records as Offset;
    let delta = Progress { counters, last: Some(next - 1), ..Progress::default() };
    Claim { partition, fence, expected, next, progress: progress.then(&delta) }
}

/// A sink's files.
pub(crate) struct Sink {
    pub(crate) pipeline: Pipeline,
    schema: SchemaRef,
    folder: Arc<tempfile::TempDir>,
}

impl Sink {
    /// In `files` of a temporary folder.
    pub(crate) fn new(keys: &str) -> Sink {
        Sink::of(batch(0, 0).schema(), "files", keys)
    }

    /// With rows of any schema, in any place.
    pub(crate) fn of(schema: SchemaRef, path: &str, keys: &str) -> Sink {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sale.avsc"), "{}").unwrap();
        let text = format!(
            "name = \"sales\"\n\
             input = {{ topic = \"sales-in\", schema = \"sale.avsc\", partitions = 8 }}\n\
             output = {{ topic = \"sales-out\", schema = \"sale.avsc\" }}\n\
             [[sink]]\nname = \"lake\"\ntype = \"files\"\npath = \"{path}\"\n{keys}"
        );
        let file = folder.path().join("sales.toml");
        let pipeline = Pipeline::parse(&text, &file, &|_| None).unwrap();
        Sink { pipeline, schema, folder: Arc::new(folder) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path().join("_weir/sales.lake/log")
    }

    /// A writer with a memory of its own, as in another process.
    pub(crate) fn writer(&self) -> Writer {
        let sink = &self.pipeline.sinks[0];
        let target =
            weir_store::target::open(&self.pipeline, sink, self.schema.clone(), "cluster").unwrap();
        assert_eq!(RUNTIME.block_on(target.prepare()).unwrap(), []);
        Writer { target }
    }

    pub(crate) fn reader(&self) -> Arc<dyn TargetReader> {
        weir_store::reader::open(&self.pipeline, &self.pipeline.sinks[0]).unwrap()
    }

    /// The ids of all rows that count, ascending.
    pub(crate) fn ids(&self) -> Vec<i32> {
        let sample = RUNTIME.block_on(self.reader().sample(usize::MAX)).unwrap();
        let id = |row: &Vec<Option<String>>| row[0].as_deref().unwrap().parse().unwrap();
        let mut ids: Vec<i32> = sample.rows.iter().map(id).collect();
        ids.sort_unstable();
        ids
    }

    /// The data files in the folder, whether they count or not.
    pub(crate) fn data_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(&self.path(), &mut files);
        files.retain(|file| !file.components().any(|part| part.as_os_str() == "_weir"));
        files.sort();
        files
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// A process that writes.
pub(crate) struct Writer {
    pub(crate) target: Arc<dyn Target>,
}

impl Writer {
    pub(crate) fn acquire(&self, partition: Partition) -> CommittedPosition {
        RUNTIME.block_on(self.target.acquire(&[partition])).unwrap().remove(0)
    }

    /// Commits the parts behind `committed`.
    pub(crate) fn write(&self, committed: &CommittedPosition, parts: Vec<Part>) -> Written {
        RUNTIME.block_on(self.commit(committed, parts))
    }

    pub(crate) async fn commit(&self, committed: &CommittedPosition, parts: Vec<Part>) -> Written {
        let records = parts.iter().map(|part| part.size.records).sum();
        let dead = parts.iter().map(|part| part.dead_letters.len()).sum();
        let mut transaction = self.target.begin().unwrap();
        parts.into_iter().for_each(|part| transaction.add(part).unwrap());
        transaction.commit(vec![claim(committed, records, dead)]).await.unwrap()
    }

    /// Acquires partition 0 and commits `num_rows` more rows.
    pub(crate) fn write_rows(&self, num_rows: usize) -> Outcome {
        let committed = self.acquire(0);
        let from = committed.next.unwrap_or(0);
        self.write(&committed, vec![part(0, from, num_rows)]).outcome
    }
}
