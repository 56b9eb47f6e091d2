//! Whatever happens between a file and its entry, each record is in exactly one file that counts.

use crate::fixture::{RUNTIME, Sink, claim, dead_letter, fault, part};
use std::collections::BTreeSet;
use std::fs;
use weir_model::progress::Progress;
use weir_model::protocol::Outcome;
use weir_store::reader::Move;

#[test]
fn two_writers_that_race_for_a_number_are_one_behind_the_other() {
    let sink = Sink::new("");
    let writers = [sink.writer(), sink.writer(), sink.writer()];
    let write = async |partition: usize| {
        let writer = &writers[partition];
        let partition = partition as i32;
        for _ in 0..30 {
            let committed = writer.target.acquire(&[partition]).await.unwrap().remove(0);
            let from = committed.next.unwrap_or(0);
            let part = part(partition, from + i64::from(partition) * 1_000, 5);
            let written = writer.commit(&committed, vec![part]).await;
            assert_eq!(written.outcome, Outcome::Committed);
        }
    };
    RUNTIME.block_on(async { tokio::join!(write(0), write(1), write(2)) });
    let expected: Vec<i32> = (0..3).flat_map(|p| p * 1_000..p * 1_000 + 150).collect();
    assert_eq!(sink.ids(), expected);
    assert_eq!(fs::read_dir(sink.log()).unwrap().count(), 180, "an entry per change");
    let files = RUNTIME.block_on(sink.reader().files().unwrap().list()).unwrap();
    let paths: BTreeSet<_> = files.iter().map(|file| &file.path).collect();
    assert_eq!((files.len(), paths.len(), sink.data_files().len()), (90, 90, 90));
}

#[test]
fn of_two_writers_with_the_same_claim_exactly_one_wins() {
    for _ in 0..20 {
        let sink = Sink::new("");
        let writers = [sink.writer(), sink.writer()];
        let committed = writers[0].acquire(0);
        let write =
            async |id: i64| writers[id as usize].commit(&committed, vec![part(0, id, 1)]).await;
        let (a, b) = RUNTIME.block_on(async { tokio::join!(write(0), write(1)) });
        let outcomes = BTreeSet::from([format!("{:?}", a.outcome), format!("{:?}", b.outcome)]);
        assert_eq!(outcomes, BTreeSet::from(["Committed".to_owned(), "Refused".to_owned()]));
        let winner = i32::from(b.outcome == Outcome::Committed);
        assert_eq!(sink.ids(), [winner]);
        assert_eq!(sink.data_files().len(), 1, "the files of the other one are gone");
    }
}

#[test]
fn a_zombie_is_refused_after_a_takeover_even_if_it_prepared_everything_before() {
    let sink = Sink::new("");
    let (zombie, owner) = (sink.writer(), sink.writer());
    let before = zombie.acquire(0);
    let mut transaction = zombie.target.begin().unwrap();
    transaction.add(part(0, 0, 3)).unwrap();
    let after = owner.acquire(0);
    assert!(after.fence > before.fence);
    let commit = transaction.commit(vec![claim(&before, 3, 0)]);
    assert_eq!(RUNTIME.block_on(commit).unwrap().outcome, Outcome::Refused);
    assert_eq!(sink.ids(), [0; 0]);
    assert_eq!(owner.write(&after, vec![part(0, 0, 2)]).outcome, Outcome::Committed);
    // It has seen the log by now, and is refused without a look.
    assert_eq!(zombie.write(&before, vec![part(0, 0, 3)]).outcome, Outcome::Refused);
    assert_eq!(sink.ids(), [0, 1]);
}

#[test]
fn a_writer_that_ends_between_file_and_entry_leaves_nothing_that_counts() {
    let sink = Sink::new("");
    let writer = sink.writer();
    assert_eq!(writer.write_rows(2), Outcome::Committed);
    let committed = writer.acquire(0);
    // Whatever is there under the next number, it is no entry, and it is in the way.
    let next = sink.log().join(format!("{:020}.json", 3));
    fs::create_dir(&next).unwrap();
    assert_eq!(writer.write(&committed, vec![part(0, 2, 5)]).outcome, Outcome::Unknown);
    fs::remove_dir(&next).unwrap();
    drop(writer);
    assert_eq!((sink.ids(), sink.data_files().len()), (vec![0, 1], 2));
    let successor = sink.writer();
    let position = successor.acquire(0);
    assert_eq!(position.next, Some(2));
    assert_eq!(successor.write(&position, vec![part(0, 2, 4)]).outcome, Outcome::Committed);
    assert_eq!(sink.ids(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn positions_survive_a_checkpoint_and_the_log_before_it_is_not_read_again() {
    let sink = Sink::new("");
    let writer = sink.writer();
    for _ in 0..105 {
        assert_eq!(writer.write_rows(1), Outcome::Committed);
    }
    assert!(sink.log().parent().unwrap().join("checkpoint.json").exists());
    let position = sink.writer().acquire(0);
    assert_eq!((position.next, position.progress.counters.written), (Some(105), 105));
    assert_eq!(sink.ids(), (0..105).collect::<Vec<_>>());
}

#[test]
fn a_log_that_was_changed_restored_in_part_or_deleted_is_not_continued() {
    let sink = Sink::new("");
    let writer = sink.writer();
    for _ in 0..3 {
        assert_eq!(writer.write_rows(1), Outcome::Committed);
    }
    let refused = |what: &str| {
        let error = RUNTIME.block_on(sink.reader().positions()).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    let entry = |number: u32| sink.log().join(format!("{number:020}.json"));
    let text = fs::read_to_string(entry(3)).unwrap();
    fs::write(entry(3), text.replace("\"rows\":1", "\"rows\":2")).unwrap();
    refused("entry 4 of the log does not follow");
    fs::write(entry(3), &text).unwrap();
    RUNTIME.block_on(sink.reader().positions()).unwrap();
    fs::remove_file(entry(2)).unwrap();
    refused("entry 2 of the log is missing");
    fs::remove_dir_all(sink.path()).unwrap();
    let error = RUNTIME.block_on(writer.target.acquire(&[0])).unwrap_err();
    assert!(error.to_string().contains("entry 5 of the log is missing"), "{error}");
    assert!(!sink.log().exists());
}

#[test]
fn offsets_of_another_cluster_are_not_used() {
    let sink = Sink::new("");
    assert_eq!(sink.writer().write_rows(1), Outcome::Committed);
    let error = RUNTIME.block_on(sink.reader().acquire("other", &[0])).unwrap_err();
    assert!(error.to_string().contains("is cluster other"), "{error}");
    assert!(RUNTIME.block_on(sink.reader().acquire("other", &[1])).is_ok());
}

#[test]
fn an_operator_moves_a_position_that_nobody_took_over() {
    let sink = Sink::new("");
    let writer = sink.writer();
    assert_eq!(writer.write_rows(2), Outcome::Committed);
    let reader = sink.reader();
    let fence = RUNTIME.block_on(reader.acquire("cluster", &[0])).unwrap()[0].fence;
    let to = |fence| Move {
        partition: 0,
        fence,
        from: 2,
        to: 10,
        progress: Progress { last: Some(9), ..Progress::default() },
        records: 8,
    };
    assert!(!RUNTIME.block_on(reader.accept("cluster", &to(fence - 1), "old")).unwrap());
    assert!(RUNTIME.block_on(reader.accept("cluster", &to(fence), "old")).unwrap());
    let losses = RUNTIME.block_on(reader.accepted_losses()).unwrap();
    assert_eq!((losses.len(), losses[0].records), (1, Some(8)));
    let position = writer.acquire(0);
    assert_eq!((position.next, position.progress.last), (Some(10), Some(9)));
    assert!(position.follows_last_read());
}

#[test]
fn clearing_forgets_positions_and_dead_letters_and_keeps_rows_and_fences() {
    let sink = Sink::new("");
    let writer = sink.writer();
    let before = writer.acquire(0);
    let mut dead = part(0, 0, 2);
    dead.dead_letters.push(dead_letter(0, 2, fault()));
    dead.size.records += 1;
    assert_eq!(writer.write(&before, vec![dead]).outcome, Outcome::Committed);
    let reader = sink.reader();
    assert_eq!(RUNTIME.block_on(reader.dead_letters()).unwrap().len(), 1);
    RUNTIME.block_on(reader.clear()).unwrap();
    assert_eq!(RUNTIME.block_on(reader.positions()).unwrap(), []);
    assert_eq!(RUNTIME.block_on(reader.dead_letters()).unwrap(), []);
    assert_eq!(RUNTIME.block_on(reader.count_rows()).unwrap(), 2);
    assert!(writer.acquire(0).fence > before.fence);
}

#[test]
fn many_dead_letters_are_in_a_file_of_their_own_and_keep_their_content() {
    let sink = Sink::new("");
    let writer = sink.writer();
    let committed = writer.acquire(0);
    let mut dead = part(0, 0, 0);
    dead.dead_letters = (0..2_000).map(|offset| dead_letter(0, offset, fault())).collect();
    dead.size.records = 2_000;
    assert_eq!(writer.write(&committed, vec![dead]).outcome, Outcome::Committed);
    let reader = sink.reader();
    let letters = RUNTIME.block_on(reader.dead_letters()).unwrap();
    let content = RUNTIME.block_on(reader.dead_letter_content(letters[1_999].id)).unwrap().unwrap();
    assert_eq!((letters.len(), letters[1_999].coordinates.offset), (2_000, 1_999));
    assert_eq!(content.value, Some(b"\0\0\0\0\x01value".to_vec()));
    assert_eq!(content.headers, [("h".to_owned(), None)]);
    let reasons = RUNTIME.block_on(reader.dead_letter_reasons()).unwrap();
    assert_eq!((reasons[0].count, reasons[0].example.as_str()), (2_000, "sales-out[0]@0"));
    assert_eq!(RUNTIME.block_on(reader.damages()).unwrap(), [""; 0]);
    assert_eq!(sink.data_files(), [""; 0].map(std::path::PathBuf::from), "no rows, no file");
}

#[test]
fn later_counts_what_lies_behind_a_position() {
    let sink = Sink::new("");
    let writer = sink.writer();
    for _ in 0..3 {
        assert_eq!(writer.write_rows(4), Outcome::Committed);
    }
    let later = |next, last| RUNTIME.block_on(sink.reader().later(0, next, last)).unwrap();
    assert_eq!(later(0, None).rows, Some(12));
    assert_eq!(later(8, Some(7)).rows, Some(4));
    assert_eq!(later(12, Some(11)).any(), Some(false));
}
