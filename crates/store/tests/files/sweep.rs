//! What is listed counts, and what is swept never will; damages are found.

use crate::fixture::{RUNTIME, Sink, part};
use std::fs;
use std::time::Duration;
use weir_model::protocol::Outcome;

const ANY_AGE: Duration = Duration::ZERO;
const LIMIT: Duration = Duration::from_secs(60);

/// Leaves a file of a writer that was killed before its commit.
fn leave_orphan(sink: &Sink, number: u32) {
    let writer = sink.writer();
    let committed = writer.acquire(0);
    let next = sink.log().join(format!("{number:020}.json"));
    fs::create_dir(&next).unwrap();
    let from = committed.next.unwrap_or(0);
    assert_eq!(writer.write(&committed, vec![part(0, from, 5)]).outcome, Outcome::Unknown);
    fs::remove_dir(&next).unwrap();
}

#[test]
fn only_files_of_this_sink_that_do_not_count_are_swept() {
    let sink = Sink::new("");
    assert_eq!(sink.writer().write_rows(3), Outcome::Committed);
    leave_orphan(&sink, 3);
    let foreign =
        ["notes.txt", "sales.lake-old.parquet", "sales.lake2-20250101T000000Z-0-0.parquet"];
    for name in foreign {
        fs::write(sink.path().join(name), "x").unwrap();
    }
    let reader = sink.reader();
    let files = reader.files().unwrap();
    assert_eq!(RUNTIME.block_on(files.orphans(Duration::from_secs(3600))).unwrap(), []);
    let orphans = RUNTIME.block_on(files.orphans(ANY_AGE)).unwrap();
    assert_eq!(orphans.len(), 1);
    // What the same writer leaves when it is killed while it writes.
    fs::write(format!("{}#1", orphans[0].path), "half").unwrap();
    let mut orphans = RUNTIME.block_on(files.orphans(ANY_AGE)).unwrap();
    orphans.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(orphans.len(), 2);
    assert!(fs::exists(&orphans[0].path).unwrap());
    let listed = RUNTIME.block_on(files.list()).unwrap();
    assert_eq!((listed.len(), listed[0].rows), (1, 3));
    assert_ne!(listed[0].path, orphans[0].path);
    assert_eq!(RUNTIME.block_on(files.sweep(orphans.clone())).unwrap(), orphans);
    assert!(!fs::exists(&orphans[0].path).unwrap());
    assert_eq!(RUNTIME.block_on(files.orphans(ANY_AGE)).unwrap(), []);
    assert!(foreign.iter().all(|name| sink.path().join(name).exists()));
    assert_eq!(sink.ids(), [0, 1, 2]);
}

#[test]
fn a_writer_that_slept_until_its_files_were_swept_cannot_commit_them() {
    let sink = Sink::new("");
    let writer = sink.writer();
    let committed = writer.acquire(0);
    let next = sink.log().join(format!("{:020}.json", 1));
    fs::create_dir(&next).unwrap();
    // While it tries, its file is swept, and then its number is free again.
    let (written, ()) = RUNTIME.block_on(async {
        tokio::join!(writer.commit(&committed, vec![part(0, 0, 5)]), async {
            let reader = sink.reader();
            let files = reader.files().unwrap();
            let found = async {
                loop {
                    match files.orphans(ANY_AGE).await {
                        Ok(orphans) if !orphans.is_empty() => break orphans,
                        _ => tokio::task::yield_now().await,
                    }
                }
            };
            let orphans = tokio::time::timeout(LIMIT, found).await.unwrap();
            fs::remove_dir(&next).unwrap();
            files.sweep(orphans).await.unwrap();
        })
    });
    match written.outcome {
        // It was faster: then the file counts, and was not deleted.
        Outcome::Committed => assert_eq!(sink.ids(), [0, 1, 2, 3, 4]),
        outcome => {
            assert_eq!(outcome, Outcome::Refused);
            assert_eq!((sink.ids(), sink.data_files().len()), (vec![], 0));
        }
    }
    assert_eq!(RUNTIME.block_on(sink.reader().damages()).unwrap(), [""; 0]);
}

#[test]
fn files_that_were_cut_changed_or_deleted_are_found_and_hold_no_rows_more_than_they_do() {
    for (format, ending) in [("parquet", "parquet"), ("json", "jsonl"), ("csv", "csv")] {
        let sink = Sink::new(&format!("format = \"{format}\"\nlineage = true\n"));
        let writer = sink.writer();
        for _ in 0..3 {
            assert_eq!(writer.write_rows(4), Outcome::Committed);
        }
        let reader = sink.reader();
        let damages = || RUNTIME.block_on(reader.damages()).unwrap();
        assert_eq!(damages(), [""; 0]);
        let listed = RUNTIME.block_on(reader.files().unwrap().list()).unwrap();
        let path = |file: usize| &listed[file].path;
        assert!(path(0).ends_with(&format!(".{ending}")), "{}", path(0));
        let bytes = fs::read(path(0)).unwrap();
        fs::write(path(0), &bytes[..bytes.len() - 9]).unwrap();
        let mut bytes = fs::read(path(1)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path(1), bytes).unwrap();
        fs::remove_file(path(2)).unwrap();
        let found = damages();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("bytes and was written with"), "{found:?}");
        assert!(found[1].contains("content was changed"), "{found:?}");
        assert!(found[2].contains("is missing"), "{found:?}");
        assert!(RUNTIME.block_on(reader.count_rows()).unwrap() < 12);
    }
}
