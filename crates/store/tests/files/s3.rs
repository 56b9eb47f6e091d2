//! The same in a bucket, on a server that speaks S3.
//!
//! `make readers` installs versitygw and runs these; it is in the PATH or in `WEIR_VERSITYGW`.

use crate::fixture::{RUNTIME, Sink, batch, part, part_of};
use arrow::array::{ArrayRef, BinaryArray, Int32Array, RecordBatch};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use weir_model::fault::Class;
use weir_model::protocol::Outcome;
use weir_testkit::wait_until;

const SECRET: &str = "secretweir0123456789";

/// A server with one bucket, `weir`.
struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("data/weir")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = run(folder.path(), port).expect("versitygw starts");
        wait(port);
        Server { child, port, folder }
    }

    fn keys(&self, more: &str) -> String {
        format!(
            "endpoint = \"http://127.0.0.1:{}\"\nregion = \"us-east-1\"\naccess_key_id = \
             \"AKIDWEIR\"\nsecret_access_key = \"{SECRET}\"\n{more}",
            self.port
        )
    }

    fn sink(&self, keys: &str) -> Sink {
        Sink::of(batch(0, 0).schema(), "s3://weir/lake/sales", &self.keys(keys))
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = run(self.folder.path(), self.port).unwrap();
        wait(self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn run(folder: &Path, port: u16) -> std::io::Result<Child> {
    let program = std::env::var("WEIR_VERSITYGW").unwrap_or_else(|_| "versitygw".into());
    Command::new(program)
        .args(["--port", &format!("127.0.0.1:{port}"), "posix"])
        .arg(folder.join("data"))
        .env("ROOT_ACCESS_KEY", "AKIDWEIR")
        .env("ROOT_SECRET_KEY", SECRET)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

fn wait(port: u16) {
    wait_until("the S3 server", Duration::from_secs(20), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    });
}

#[test]
#[ignore = "needs versitygw: make readers"]
fn a_bucket_keeps_the_promises_of_a_folder() {
    let server = Server::start();
    let sink = server.sink("partition_by = \"name\"\n");
    let (zombie, owner) = (sink.writer(), sink.writer());
    let before = zombie.acquire(0);
    let after = owner.acquire(0);
    assert_eq!(zombie.write(&before, vec![part(0, 0, 3)]).outcome, Outcome::Refused);
    assert_eq!(owner.write(&after, vec![part(0, 0, 2)]).outcome, Outcome::Committed);
    let write = async |writer: usize| {
        let writer = [&zombie, &owner][writer];
        for _ in 0..10 {
            let committed = writer.target.acquire(&[1]).await.unwrap().remove(0);
            let from = committed.next.unwrap_or(0);
            writer.commit(&committed, vec![part(1, 100 + from, 1)]).await;
        }
    };
    RUNTIME.block_on(async { tokio::join!(write(0), write(1)) });
    let ids = sink.ids();
    let rows = RUNTIME.block_on(sink.reader().count_rows()).unwrap();
    assert!(ids.len() as u64 == rows && rows > 2, "{rows} rows");
    assert_eq!(ids[..2], [0, 1]);
    assert!(ids[2..].iter().copied().eq(100..100 + rows as i32 - 2), "{ids:?}");
    let reader = sink.reader();
    assert_eq!(RUNTIME.block_on(reader.damages()).unwrap(), [""; 0]);
    let files = reader.files().unwrap();
    let listed = RUNTIME.block_on(files.list()).unwrap();
    assert!(listed[0].path.starts_with("s3://weir/lake/sales/name=name/sales.lake-"));
    assert_eq!(RUNTIME.block_on(files.orphans(Duration::ZERO)).unwrap(), []);
}

#[test]
#[ignore = "needs versitygw: make readers"]
fn a_large_file_is_sent_in_pieces() {
    let server = Server::start();
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()
    };
    let values: Vec<Vec<u8>> =
        (0..300).map(|_| (0..15_000).flat_map(|_| noise()).collect()).collect();
    let ids: ArrayRef = Arc::new(Int32Array::from_iter_values(0..300));
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(&values));
    let rows = RecordBatch::try_from_iter([("id", ids), ("bytes", bytes)]).unwrap();
    let sink = Sink::of(rows.schema(), "s3://weir/large", &server.keys(""));
    let writer = sink.writer();
    let committed = writer.acquire(0);
    assert_eq!(writer.write(&committed, vec![part_of(0, 0, rows)]).outcome, Outcome::Committed);
    let listed = RUNTIME.block_on(sink.reader().files().unwrap().list()).unwrap();
    assert!(listed[0].bytes > 30 << 20, "{} bytes", listed[0].bytes);
    assert_eq!(sink.ids(), (0..300).collect::<Vec<_>>());
    assert_eq!(RUNTIME.block_on(sink.reader().damages()).unwrap(), [""; 0]);
}

#[test]
#[ignore = "needs versitygw: make readers"]
fn kills_of_the_server_lose_and_double_nothing() {
    let mut server = Server::start();
    let sink = server.sink("");
    let writer = Arc::new(sink.writer());
    let mut total = 0;
    for round in 0..6_u64 {
        let (writer, until) = (writer.clone(), total + 40);
        let work = std::thread::spawn(move || {
            loop {
                let found = RUNTIME.block_on(writer.target.acquire(&[0]));
                let Some(committed) = found.ok().map(|mut found| found.remove(0)) else { continue };
                let from = committed.next.unwrap_or(0);
                if from >= until {
                    return from;
                }
                let mut transaction = writer.target.begin().unwrap();
                transaction.add(part(0, from, 2)).unwrap();
                let claims = vec![crate::fixture::claim(&committed, 2, 0)];
                RUNTIME.block_on(transaction.commit(claims)).ok();
            }
        });
        std::thread::park_timeout(Duration::from_millis(40 + 35 * round));
        server.kill();
        server.restart();
        total = work.join().unwrap();
    }
    assert_eq!(sink.ids(), (0..total as i32).collect::<Vec<_>>());
    let position = writer.acquire(0);
    assert_eq!((position.next, position.progress.counters.written), (Some(total), total as u64));
    assert_eq!(RUNTIME.block_on(sink.reader().damages()).unwrap(), [""; 0]);
}

#[test]
#[ignore = "needs versitygw: make readers"]
fn a_bucket_that_is_missing_or_closed_is_a_mistake_and_a_server_that_is_away_is_not() {
    let mut server = Server::start();
    let prepared = |path: &str, keys: &str| {
        let sink = Sink::of(batch(0, 0).schema(), path, keys);
        let pipeline = &sink.pipeline;
        let schema = batch(0, 0).schema();
        let target = weir_store::target::open(pipeline, &pipeline.sinks[0], schema, "c").unwrap();
        RUNTIME.block_on(target.prepare())
    };
    let mistakes = prepared("s3://missing/x", &server.keys("")).unwrap();
    assert!(mistakes[0].what.contains("NoSuchBucket"), "{mistakes:?}");
    let mistakes =
        prepared("s3://weir/x", &server.keys("").replace(SECRET, "wrong-secret")).unwrap();
    assert!(mistakes[0].what.contains("SignatureDoesNotMatch"), "{mistakes:?}");
    assert!(!mistakes[0].what.contains("wrong-secret"));
    server.kill();
    let error = prepared("s3://weir/x", &server.keys("")).unwrap_err();
    assert_eq!(error.class(), Class::Environment, "{error}");
}
