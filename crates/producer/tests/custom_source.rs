//! What a source may do beyond the built-in kinds, shown through the whole producer and a real
//! Kafka.

#![allow(clippy::unwrap_used)] // a test says what went wrong by where it panics

#[path = "support/running.rs"]
mod running;
#[path = "support/pipeline.rs"]
mod support;

use arrow::array::{Int32Array, RecordBatch};
use running::{LONG, Running, rows};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use weir_codec::Schema;
use weir_kafka::reader::Span;
use weir_kafka::{TransactionalProducer, scan};
use weir_model::pipeline::Pipeline;
use weir_producer::source::{Chunk, Error, Limit, Reader, Source};
use weir_testkit::{Stack, wait_until};

const SCHEMA: &str =
    r#"{"type": "record", "name": "N", "fields": [{"name": "number", "type": "int"}]}"#;

/// A pipeline whose input is one number per record. Its `[source]` only lends its name.
fn pipeline(folder: &tempfile::TempDir) -> Arc<Pipeline> {
    let path = folder.path().join("number.avsc");
    std::fs::write(&path, SCHEMA).unwrap();
    let source = "type = \"synthetic\"\ngenerator = \"call_records\"\npartitions = 4";
    let input = format!("schema = \"{}\"\npartitions = 2", path.display());
    support::pipeline(Stack::shared(), source, &input)
}

fn chunk(numbers: &[i32], next: usize, end: bool) -> Chunk {
    let column = Arc::new(Int32Array::from(numbers.to_vec()));
    let schema = Schema::parse(SCHEMA).unwrap().arrow();
    Chunk::new(RecordBatch::try_new(schema, vec![column]).unwrap(), json!({ "at": next }), end)
}

fn at(position: Option<&Value>) -> usize {
    position.map_or(0, |position| position["at"].as_u64().unwrap() as usize)
}

/// The numbers in the topic, ascending.
fn numbers(pipeline: &Pipeline) -> Vec<i32> {
    let mut numbers: Vec<_> = rows(pipeline, &pipeline.input.topic)
        .iter()
        .map(|(_, value)| zigzag(&value[5..]))
        .collect();
    numbers.sort_unstable();
    numbers
}

/// An Avro int.
fn zigzag(bytes: &[u8]) -> i32 {
    let folded = bytes.iter().rev().fold(0u32, |value, byte| value << 7 | u32::from(byte & 0x7f));
    (folded >> 1) as i32 ^ -((folded & 1) as i32)
}

/// Partition p holds ten numbers from 10 p on; there are as many partitions as `num_partitions`
/// says at the moment.
struct Growing {
    num_partitions: Arc<AtomicU32>,
}

struct Ten {
    first: i32,
    next: usize,
}

impl Source for Growing {
    fn partitions(&self) -> u32 {
        self.num_partitions.load(Ordering::SeqCst)
    }

    fn open(&self, partition: u32, position: Option<&Value>) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(Ten { first: partition as i32 * 10, next: at(position) }))
    }
}

impl Reader for Ten {
    fn read(&mut self, limit: Limit) -> Result<Chunk, Error> {
        let until = (self.next + limit.records.min(3)).min(10);
        let numbers: Vec<_> = (self.next..until).map(|n| self.first + n as i32).collect();
        self.next = until;
        Ok(chunk(&numbers, until, false))
    }
}

#[test]
fn partitions_that_appear_while_the_source_is_read_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(&folder);
    let num_partitions = Arc::new(AtomicU32::new(1));
    let source = Growing { num_partitions: num_partitions.clone() };
    let running = Running::over(Box::new(source), &pipeline, false);
    wait_until("the first partition", LONG, || (running.written() == 10).then_some(()));
    num_partitions.store(4, Ordering::SeqCst);
    wait_until("all partitions", LONG, || (running.written() == 40).then_some(()));
    assert_eq!(running.metric("weir_source_partitions_owned"), 4.0);
    running.stop();
    assert_eq!(numbers(&pipeline), (0..40).collect::<Vec<_>>());
}

/// One record with a key, headers and a timestamp, and one with none of them.
struct Mirrored;

impl Source for Mirrored {
    fn partitions(&self) -> u32 {
        1
    }

    fn open(&self, _: u32, position: Option<&Value>) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(Once { done: position.is_some() }))
    }
}

struct Once {
    done: bool,
}

impl Reader for Once {
    fn read(&mut self, _: Limit) -> Result<Chunk, Error> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(chunk(&[], 2, true));
        }
        let headers = vec![("trace".into(), Some(b"7".to_vec())), ("empty".into(), None)];
        Ok(Chunk {
            keys: vec![Some(b"a key".to_vec()), None],
            headers: vec![headers, Vec::new()],
            timestamps_ms: vec![1_700_000_000_123, 1_700_000_000_456],
            ..chunk(&[1, 2], 2, true)
        })
    }
}

/// Number, key, timestamp and headers of a record.
type Seen = (i32, Option<Vec<u8>>, i64, Vec<(String, Option<Vec<u8>>)>);

#[test]
fn key_headers_and_timestamp_of_the_source_are_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(&folder);
    Running::over(Box::new(Mirrored), &pipeline, true).end().unwrap();
    let mut seen: Vec<Seen> = Vec::new();
    let spans: Vec<_> = (0..2).map(Span::all).collect();
    scan(&pipeline.kafka, &pipeline.input.topic, &spans, |record| {
        // The producer adds headers of its own.
        let headers = record
            .headers()
            .filter(|(name, _)| !name.starts_with("weir-"))
            .map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)))
            .collect();
        let key = record.key().map(<[u8]>::to_vec);
        let number = zigzag(&record.value().unwrap()[5..]);
        seen.push((number, key, record.timestamp_ms(), headers));
        ControlFlow::Continue(())
    })
    .unwrap();
    seen.sort();
    let headers = vec![("trace".into(), Some(b"7".to_vec())), ("empty".into(), None)];
    let expected: [Seen; 2] = [
        (1, Some(b"a key".to_vec()), 1_700_000_000_123, headers),
        (2, None, 1_700_000_000_456, Vec::new()),
    ];
    assert_eq!(seen, expected);
}

/// A number that a client pushes, and where the client waits for the answer.
type Request = (i32, SyncSender<()>);

/// An endpoint that is pushed to. A request that was not answered is lost for the client, which
/// sends it again.
struct Endpoint {
    requests: Arc<Mutex<Receiver<Request>>>,
}

struct Requests {
    requests: Arc<Mutex<Receiver<Request>>>,
    next: usize,
    unanswered: Vec<SyncSender<()>>,
}

impl Source for Endpoint {
    fn partitions(&self) -> u32 {
        1
    }

    fn open(&self, _: u32, position: Option<&Value>) -> Result<Box<dyn Reader>, Error> {
        let (requests, next) = (self.requests.clone(), at(position));
        Ok(Box::new(Requests { requests, next, unanswered: Vec::new() }))
    }
}

impl Requests {
    fn queue(&self) -> MutexGuard<'_, Receiver<Request>> {
        self.requests.lock().unwrap()
    }
}

impl Reader for Requests {
    fn read(&mut self, _: Limit) -> Result<Chunk, Error> {
        // The chunk before this call was committed.
        for client in self.unanswered.drain(..) {
            client.send(()).map_err(|_| Error::Lost("the client left".into()))?;
        }
        let request = self.queue().recv_timeout(Duration::from_millis(50));
        let (numbers, end) = match request {
            Ok((number, client)) => {
                self.unanswered.push(client);
                (vec![number], false)
            }
            Err(RecvTimeoutError::Timeout) => (Vec::new(), false),
            Err(RecvTimeoutError::Disconnected) => (Vec::new(), true),
        };
        self.next += numbers.len();
        Ok(chunk(&numbers, self.next, end))
    }
}

#[test]
fn a_push_source_answers_after_the_commit_and_never_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(&folder);
    let (sender, receiver) = sync_channel::<Request>(1);
    let source = Endpoint { requests: Arc::new(Mutex::new(receiver)) };
    let running = Running::over(Box::new(source), &pipeline, true);
    for number in 0..20 {
        if number % 5 == 4 {
            // Whatever is in progress is fenced; the client has to send it again.
            let id = format!("{}.0", pipeline.producer_group());
            drop(TransactionalProducer::open(&pipeline.kafka, &id).unwrap());
        }
        wait_until("an answer", LONG, || {
            let (client, answer) = sync_channel(1);
            sender.send((number, client)).unwrap();
            answer.recv().ok()
        });
        // Answered means committed: a reader of committed records sees it at once.
        assert_eq!(numbers(&pipeline), (0..=number).collect::<Vec<_>>());
    }
    drop(sender);
    running.end().unwrap();
    assert!(numbers(&pipeline).len() == 20);
}
