//! Files as a target of the suite, and a sink that fills them for longer than a heartbeat lasts.

use crate::suite::{RUNTIME, TestTarget};
use crate::world::{Instance, REQUEST_TIMEOUT, World};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_model::pipeline::Pipeline;
use weir_store::{Target, TargetReader};
use weir_testkit::wait_until;

pub(crate) const PARQUET: u8 = 0;
pub(crate) const JSON: u8 = 1;
pub(crate) const CSV: u8 = 2;

pub(crate) type ParquetFiles = InFolder<PARQUET>;
pub(crate) type JsonFiles = InFolder<JSON>;
pub(crate) type CsvFiles = InFolder<CSV>;

/// Files in a temporary folder, one folder per name.
pub(crate) struct InFolder<const FORMAT: u8> {
    target: Arc<dyn Target>,
    reader: Arc<dyn TargetReader>,
    _folder: tempfile::TempDir,
}

impl<const FORMAT: u8> TestTarget for InFolder<FORMAT> {
    const KIND: &'static str = "files";
    /// Longer than the name of a folder may be.
    const REFUSED: &'static str = concat!(
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567",
        "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567"
    );

    fn open() -> Self {
        let format = ["parquet", "json", "csv"][usize::from(FORMAT)];
        let folder = tempfile::tempdir().unwrap();
        let keys =
            format!("format = \"{format}\"\npartition_by = \"name\"\nmax_file_rows = 2000\n");
        let pipeline = pipeline(folder.path(), &keys);
        let sink = &pipeline.sinks[0];
        let schema = weir_codec::Schema::parse(crate::world::SCHEMA).unwrap().table();
        let target = weir_store::target::open(&pipeline, sink, schema, "cluster").unwrap();
        assert_eq!(RUNTIME.block_on(target.prepare()).unwrap(), []);
        let reader = weir_store::reader::open(&pipeline, sink).unwrap();
        InFolder { target, reader, _folder: folder }
    }

    fn target(&self) -> &dyn Target {
        &*self.target
    }

    fn rows(&self) -> Vec<i32> {
        let sample = RUNTIME.block_on(self.reader.sample(usize::MAX)).unwrap();
        let mut ids: Vec<i32> =
            sample.rows.iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(RUNTIME.block_on(self.reader.count_rows()).unwrap(), ids.len() as u64);
        ids
    }

    fn dead_letters(&self) -> Vec<i64> {
        let letters = RUNTIME.block_on(self.reader.dead_letters()).unwrap();
        let mut offsets: Vec<i64> = letters.iter().map(|l| l.coordinates.offset).collect();
        offsets.sort_unstable();
        offsets
    }
}

/// A pipeline with a sink into `folder/files`.
fn pipeline(folder: &std::path::Path, keys: &str) -> Pipeline {
    std::fs::write(folder.join("sale.avsc"), crate::world::SCHEMA).unwrap();
    let text = format!(
        "name = \"sales\"\n\
         input = {{ topic = \"sales-in\", schema = \"sale.avsc\", partitions = 1 }}\n\
         output = {{ topic = \"sales-out\", schema = \"sale.avsc\" }}\n\
         [[sink]]\nname = \"lake\"\ntype = \"files\"\npath = \"files\"\n{keys}"
    );
    Pipeline::parse(&text, &folder.join("sales.toml"), &|_| None).unwrap()
}

/// The world's pipeline with files instead of the table.
fn with_files(world: &World, folder: &std::path::Path, keys: &str) -> Arc<Pipeline> {
    let mut pipeline = Pipeline::clone(&world.pipeline);
    pipeline.sinks = self::pipeline(folder, keys).sinks;
    Arc::new(pipeline)
}

fn counted(reader: &dyn TargetReader) -> u64 {
    let positions = RUNTIME.block_on(reader.positions()).unwrap();
    positions.iter().map(|position| position.committed.progress.counters.read).sum()
}

#[test]
fn a_sink_that_fills_files_for_minutes_is_alive_and_ends_at_once_when_it_is_told_to() {
    let mut world = World::new("");
    let folder = tempfile::tempdir().unwrap();
    let pipeline = with_files(&world, folder.path(), "max_file_age = \"10m\"\nlineage = true\n");
    let reader = weir_store::reader::open(&pipeline, &pipeline.sinks[0]).unwrap();
    let sink = RUNTIME.block_on(async {
        Instance::start_with(pipeline.clone(), Box::new(weir_store::target::open))
    });
    world.feed((0..1500).map(|id| (id, "name")));
    sink.wait_until_it_says("files");
    let filled = Instant::now();
    while filled.elapsed() < Duration::from_secs(8) {
        assert!(!sink.ask("/live").is_empty());
        std::thread::park_timeout(Duration::from_millis(500));
    }
    assert_eq!(counted(&*reader), 0, "nothing is committed before its time");
    let stopped = Instant::now();
    RUNTIME.block_on(sink.stop()).unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(20), "{:?}", stopped.elapsed());
    assert_eq!(counted(&*reader), 1500, "what was read is committed");
    assert_eq!(RUNTIME.block_on(reader.count_rows()).unwrap(), 1500);
}

#[test]
fn a_partition_that_moves_while_files_are_filled_is_read_by_its_new_owner_alone() {
    let mut world = World::new("");
    let folder = tempfile::tempdir().unwrap();
    let pipeline = with_files(&world, folder.path(), "max_file_age = \"3s\"\nlineage = true\n");
    let reader = weir_store::reader::open(&pipeline, &pipeline.sinks[0]).unwrap();
    let open = || Box::new(weir_store::target::open);
    let first = RUNTIME.block_on(async { Instance::start_with(pipeline.clone(), open()) });
    world.feed((0..900).map(|id| (id, "name")));
    first.wait_until_it_says("files");
    let second = RUNTIME.block_on(async { Instance::start_with(pipeline.clone(), open()) });
    world.feed((900..1800).map(|id| (id, "name")));
    wait_until("all records", REQUEST_TIMEOUT, || (counted(&*reader) == 1800).then_some(()));
    RUNTIME.block_on(first.stop()).unwrap();
    RUNTIME.block_on(second.stop()).unwrap();
    let mut origins = Vec::new();
    let mut visit = |partition, offset| origins.push((partition, offset));
    assert!(RUNTIME.block_on(reader.origins(&mut visit)).unwrap());
    let found = origins.len();
    origins.sort_unstable();
    origins.dedup();
    assert_eq!((found, origins.len()), (1800, 1800));
    assert_eq!(RUNTIME.block_on(reader.damages()).unwrap(), [""; 0]);
}
