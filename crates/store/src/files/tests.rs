//! Writers over a store that loses requests, loses answers and delivers requests late, that are killed
//! anywhere, that sleep and wake up replaced, while orphans are swept: each record is in exactly one
//! file that counts.

use crate::files::location::Location;
use crate::files::reader::Reader;
use crate::files::target::Files;
use crate::reader::{CommittedFiles, TargetReader};
use crate::target::{Part, Room, SourceRecords, Target};
use arrow::array::{Int64Array, RecordBatch};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use weir_model::dead_letter::DeadLetter;
use weir_model::fault::Fault;
use weir_model::pipeline::{self, Pipeline};
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Claim, CommittedPosition, Offset, Outcome, Partition};

/// SplitMix64.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    /// Whether something happens that happens `percent` times of a hundred.
    fn happens(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A store behind a bad network.
#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    random: Mutex<Random>,
    /// Requests that are still on their way although their sender was told that they failed.
    late: Mutex<Vec<(Path, PutPayload, PutOptions)>>,
    calm: AtomicBool,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a store behind a bad network")
    }
}

impl Faulty {
    fn happens(&self, percent: u64) -> bool {
        !self.calm.load(Ordering::Relaxed) && self.random.lock().unwrap().happens(percent)
    }

    fn lost<T>() -> Result<T> {
        Err(Error::Generic { store: "faulty", source: "no answer".into() })
    }

    /// A request that is late arrives.
    async fn deliver(&self) {
        let late = {
            let mut late = self.late.lock().unwrap();
            match late.len() as u64 {
                0 => None,
                len => Some(late.swap_remove(self.random.lock().unwrap().below(len) as usize)),
            }
        };
        if let Some((at, payload, options)) = late {
            self.inner.put_opts(&at, payload, options).await.ok();
        }
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        tokio::task::yield_now().await;
        if self.happens(25) {
            self.deliver().await;
        }
        if self.happens(8) {
            return Faulty::lost();
        }
        if self.happens(8) {
            self.late.lock().unwrap().push((at.clone(), payload, options));
            return Faulty::lost();
        }
        let done = self.inner.put_opts(at, payload, options).await;
        tokio::task::yield_now().await;
        if self.happens(10) { Faulty::lost() } else { done }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        tokio::task::yield_now().await;
        if self.happens(2) { Faulty::lost() } else { self.inner.get_opts(at, options).await }
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

struct Offsets(Partition, Offset);

impl SourceRecords for Offsets {
    fn partition(&self, _: usize) -> Partition {
        self.0
    }

    fn source(&self, row: usize) -> Offset {
        self.1 + row as Offset
    }

    fn replay_of(&self, _: usize) -> Option<Offset> {
        None
    }

    fn dead_letter(&self, _: usize, _: Fault) -> DeadLetter {
        panic!("all rows can be written")
    }
}

const PARTITIONS: i32 = 2;

fn rows(partition: Partition, from: Offset, num_rows: usize) -> Part {
    let ids = (from..).take(num_rows).map(|offset| i64::from(partition) * 1_000_000 + offset);
    let ids = Arc::new(Int64Array::from_iter_values(ids));
    Part {
        rows: RecordBatch::try_from_iter_with_nullable([("id", ids as _, false)]).unwrap(),
        deletes: None,
        records: Box::new(Offsets(partition, from)),
        dead_letters: Vec::new(),
        size: Room { records: num_rows, bytes: num_rows },
    }
}

fn claim(position: &CommittedPosition, num_rows: u64) -> Claim {
    let counters = Counters { read: num_rows, written: num_rows, ..Counters::default() };
    let CommittedPosition { partition, fence, next: expected, ref progress, .. } = *position;
    let next = expected.unwrap_or(0) + num_rows as Offset;
    let delta = Progress { counters, last: Some(next - 1), ..Progress::default() };
    Claim { partition, fence, expected, next, progress: progress.then(&delta) }
}

struct World {
    store: Arc<Faulty>,
    pipeline: Pipeline,
    random: Random,
}

/// A process: what it believes to own.
struct Process {
    target: Arc<Files>,
    owned: Vec<Option<CommittedPosition>>,
}

impl World {
    fn new(seed: u64) -> World {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("s.avsc"), "{}").unwrap();
        let text = "name = \"p\"\ninput = { topic = \"a\", schema = \"s.avsc\", partitions = 2 }\n\
                    output = { topic = \"b\", schema = \"s.avsc\" }\n[[sink]]\nname = \"s\"\n\
                    type = \"files\"\npath = \"x\"\nformat = \"json\"\n";
        let store = Faulty {
            inner: InMemory::new(),
            random: Mutex::new(Random(seed ^ 0xfeed)),
            late: Mutex::default(),
            calm: AtomicBool::new(false),
        };
        World {
            store: Arc::new(store),
            pipeline: Pipeline::parse(text, &folder.path().join("p.toml"), &|_| None).unwrap(),
            random: Random(seed),
        }
    }

    fn files(&self) -> &pipeline::Files {
        match &self.pipeline.sinks[0].target {
            pipeline::Target::Files(files) => files,
            _ => panic!("the sink writes files"),
        }
    }

    fn reader(&self) -> Reader {
        Reader::at(Location::of(self.store.clone()), &self.pipeline, "s", self.files())
    }

    async fn process(&self) -> Process {
        let location = Location::of(self.store.clone());
        let schema = rows(0, 0, 0).rows.schema();
        let target = Files::at(location, &self.pipeline, "s", self.files(), schema, "cluster");
        for attempt in 0.. {
            match target.prepare().await {
                Ok(mistakes) if mistakes.is_empty() => break,
                found => assert!(attempt < 1_000, "the log is damaged: {found:?}"),
            }
        }
        Process { target: Arc::new(target), owned: vec![None; PARTITIONS as usize] }
    }

    /// One step of one process, in which it may be killed.
    async fn step(&self, mut random: Random, process: &mut Process) {
        let partition = random.below(PARTITIONS as u64) as usize;
        let kill_after = if random.happens(12) { random.below(12) } else { u64::MAX };
        let num_rows = 1 + random.below(3);
        let Some(position) = process.owned[partition].clone() else {
            let target = process.target.clone();
            let acquire = async move { target.acquire(&[partition as i32]).await };
            match unless_killed(kill_after, acquire).await {
                Some(Ok(found)) => process.owned[partition] = found.into_iter().next(),
                Some(Err(_)) => {}
                None => *process = self.process().await,
            }
            return;
        };
        let mut transaction = process.target.begin().unwrap();
        let from = position.next.unwrap_or(0);
        transaction.add(rows(partition as i32, from, num_rows as usize)).unwrap();
        let claim = claim(&position, num_rows);
        let after =
            CommittedPosition { next: Some(claim.next), progress: claim.progress, ..position };
        match unless_killed(kill_after, transaction.commit(vec![claim])).await {
            // It goes on from what it knows, as a worker does.
            Some(Ok(written)) if written.outcome == Outcome::Committed => {
                process.owned[partition] = Some(after);
            }
            Some(_) => process.owned[partition] = None,
            None => *process = self.process().await,
        }
    }

    /// All rows that count, and what the positions say.
    async fn check(&self, seed: u64) -> u64 {
        self.store.calm.store(true, Ordering::Relaxed);
        while !self.store.late.lock().unwrap().is_empty() {
            self.store.deliver().await;
        }
        let reader = self.reader();
        assert_eq!(reader.damages().await.unwrap(), [""; 0], "seed {seed}");
        let mut ids = Vec::new();
        for (_, _, file) in reader.committed().await.unwrap() {
            let content = self.store.inner.get(&Path::parse(&file.path).unwrap()).await.unwrap();
            let content: Bytes = content.bytes().await.unwrap();
            for line in content.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let row: serde_json::Value = serde_json::from_slice(line).unwrap();
                ids.push(row["id"].as_i64().unwrap());
            }
        }
        ids.sort_unstable();
        let mut expected = Vec::new();
        for position in reader.positions().await.unwrap() {
            let CommittedPosition { partition, next, progress, .. } = position.committed;
            let next = next.unwrap_or(0);
            assert_eq!(progress.counters.written, next as u64, "seed {seed}");
            expected.extend((0..next).map(|offset| i64::from(partition) * 1_000_000 + offset));
        }
        assert_eq!(ids, expected, "seed {seed}");
        ids.len() as u64
    }
}

/// Runs `work` unless it has not ended after being polled so often: then it is dropped where it is.
async fn unless_killed<T>(polls: u64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut left = polls;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}

#[test]
fn whatever_the_store_loses_each_record_is_in_exactly_one_file() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let schedules = std::env::var("WEIR_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let mut total = 0;
    for seed in 0..schedules {
        total += runtime.block_on(async {
            let mut world = World::new(seed);
            let mut processes = Vec::new();
            for _ in 0..3 {
                processes.push(world.process().await);
            }
            for _ in 0..40 {
                let first = world.random.below(3) as usize;
                let second = (first + 1 + world.random.below(2) as usize) % 3;
                let [a, b] = processes.get_disjoint_mut([first, second]).unwrap();
                let (x, y) =
                    (Random(world.random.below(u64::MAX)), Random(world.random.below(u64::MAX)));
                let sweeps = world.random.happens(8);
                let reader = world.reader();
                let sweep = async {
                    if sweeps && let Ok(orphans) = reader.orphans(Duration::ZERO).await {
                        reader.sweep(orphans).await.ok();
                    }
                };
                tokio::join!(world.step(x, a), world.step(y, b), sweep);
            }
            world.check(seed).await
        });
    }
    assert!(total > schedules * 20, "only {total} rows were committed in {schedules} schedules");
}
