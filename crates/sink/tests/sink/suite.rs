//! What every kind of target promises. A new kind implements [`TestTarget`] and gets a line in
//! `suite!` at the end.

use crate::files::{CsvFiles, JsonFiles, ParquetFiles};
use crate::memory::Memory;
use crate::world::World;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use std::sync::{Arc, LazyLock};
use tokio::runtime::Runtime;
use weir_model::coordinates::RecordCoordinates;
use weir_model::dead_letter::DeadLetter;
use weir_model::fault::{Fault, Stage};
use weir_model::pipeline;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Claim, CommittedPosition, Offset, Outcome, Partition};
use weir_store::target::{Room, open};
use weir_store::{Part, SourceRecords, Target, Written};

/// Connections belong to the runtime that made them.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A target and a way to read its contents.
pub(crate) trait TestTarget {
    /// `type` in the pipeline file.
    const KIND: &'static str;
    /// A name that the target refuses.
    const REFUSED: &'static str;

    /// An empty target, prepared.
    fn open() -> Self;
    fn target(&self) -> &dyn Target;
    /// Ids of all rows, ascending.
    fn rows(&self) -> Vec<i32>;
    /// Offsets of all dead letters, ascending.
    fn dead_letters(&self) -> Vec<i64>;
}

/// Rows of partition 0 from offset `from` on, with their offsets as ids.
struct Offsets {
    from: Offset,
}

impl SourceRecords for Offsets {
    fn partition(&self, _: usize) -> Partition {
        0
    }

    fn source(&self, row: usize) -> Offset {
        self.from + row as Offset
    }

    fn replay_of(&self, _: usize) -> Option<Offset> {
        None
    }

    fn dead_letter(&self, row: usize, fault: Fault) -> DeadLetter {
        dead_letter(self.source(row), fault)
    }
}

fn dead_letter(offset: Offset, fault: Fault) -> DeadLetter {
    DeadLetter {
        coordinates: RecordCoordinates { topic: "sales".into(), partition: 0, offset },
        source: Some(offset),
        key: Some(b"key".to_vec()),
        value: Some(b"\0\0\0\0\x01value".to_vec()),
        headers: Vec::new(),
        timestamp_ms: Some(1_700_000_000_000),
        schema_id: Some(1),
        fault,
        column: None,
        code: None,
    }
}

fn part(from: Offset, names: &[&str]) -> Part {
    let ids = from as i32..from as i32 + names.len() as i32;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(ids)),
        Arc::new(StringArray::from_iter_values(names)),
    ];
    let schema = weir_codec::Schema::parse(crate::world::SCHEMA).unwrap().arrow();
    Part {
        rows: RecordBatch::try_new(schema, columns).unwrap(),
        deletes: None,
        records: Box::new(Offsets { from }),
        dead_letters: Vec::new(),
        size: Room { records: names.len(), bytes: names.len() * 10 },
    }
}

/// The claim over `num_records` records up to `next`, of which `num_dead` are dead already.
fn claim(committed: &CommittedPosition, next: Offset, num_records: u64, num_dead: u64) -> Claim {
    let counters = Counters {
        read: num_records,
        written: num_records - num_dead,
        filtered: 0,
        dead: num_dead,
        ..Counters::default()
    };
    let delta = Progress { counters, last: Some(next - 1), ..Progress::default() };
    let CommittedPosition { partition, fence, next: expected, ref progress, .. } = *committed;
    Claim { partition, fence, expected, next, progress: progress.then(&delta) }
}

fn acquire(fixture: &impl TestTarget) -> CommittedPosition {
    RUNTIME.block_on(fixture.target().acquire(&[0])).unwrap().remove(0)
}

/// Writes the parts in one transaction.
fn write(fixture: &impl TestTarget, committed: &CommittedPosition, parts: Vec<Part>) -> Written {
    let dead: usize = parts.iter().map(|part| part.dead_letters.len()).sum();
    let records: usize = parts.iter().map(|part| part.size.records).sum();
    let next = committed.next.unwrap_or(0) + records as Offset;
    let claim = claim(committed, next, records as u64, dead as u64);
    let mut transaction = fixture.target().begin().unwrap();
    parts.into_iter().for_each(|part| transaction.add(part).unwrap());
    let written = RUNTIME.block_on(transaction.commit(vec![claim.clone()])).unwrap();
    let mut expected = claim;
    expected.mark_dead(written.refused.len() as u64);
    if written.outcome == Outcome::Committed {
        assert_eq!(written.claims, [expected], "refused rows are dead, everything else as claimed");
    }
    written
}

fn what_is_committed_is_there_and_the_position_with_it<P: TestTarget>() {
    let fixture = P::open();
    let first = acquire(&fixture);
    assert_eq!(first.next, None);
    assert_eq!(write(&fixture, &first, vec![part(0, &["a", "b"])]).outcome, Outcome::Committed);
    let second = acquire(&fixture);
    assert_eq!(
        (second.next, second.progress.counters.written, second.progress.last),
        (Some(2), 2, Some(1))
    );
    assert_eq!(write(&fixture, &second, vec![part(2, &["c"])]).outcome, Outcome::Committed);
    assert_eq!(fixture.rows(), [0, 1, 2]);
}

fn a_writer_that_was_replaced_writes_nothing<P: TestTarget>() {
    let fixture = P::open();
    let zombie = acquire(&fixture);
    let owner = acquire(&fixture);
    assert_eq!(write(&fixture, &zombie, vec![part(0, &["zombie"])]).outcome, Outcome::Refused);
    assert_eq!(fixture.rows(), [0; 0]);
    assert_eq!(write(&fixture, &owner, vec![part(0, &["owner"])]).outcome, Outcome::Committed);
    assert_eq!(fixture.rows(), [0]);
}

fn the_same_claim_is_not_honoured_twice<P: TestTarget>() {
    let fixture = P::open();
    let committed = acquire(&fixture);
    assert_eq!(write(&fixture, &committed, vec![part(0, &["a"])]).outcome, Outcome::Committed);
    assert_eq!(write(&fixture, &committed, vec![part(0, &["a"])]).outcome, Outcome::Refused);
    assert_eq!(fixture.rows(), [0]);
}

fn a_refused_row_is_a_dead_letter_and_its_neighbours_are_rows<P: TestTarget>() {
    let fixture = P::open();
    let committed = acquire(&fixture);
    let written = write(&fixture, &committed, vec![part(0, &["a", P::REFUSED, "c", P::REFUSED])]);
    assert_eq!((written.outcome, written.refused.len()), (Outcome::Committed, 2));
    assert_eq!((fixture.rows(), fixture.dead_letters()), (vec![0, 2], vec![1, 3]));
    let counters = acquire(&fixture).progress.counters;
    assert_eq!((counters.read, counters.written, counters.dead), (4, 2, 2));
}

fn dead_letters_of_a_part_are_committed_with_it<P: TestTarget>() {
    let fixture = P::open();
    let committed = acquire(&fixture);
    let fault = Fault {
        stage: Stage::Sink,
        reason: "truncated".into(),
        detail: "two bytes are missing".into(),
    };
    let mut part = part(0, &["a", "b"]);
    part.dead_letters.push(dead_letter(2, fault));
    part.size.records += 1;
    assert_eq!(write(&fixture, &committed, vec![part]).outcome, Outcome::Committed);
    assert_eq!((fixture.rows(), fixture.dead_letters()), (vec![0, 1], vec![2]));
    assert_eq!(acquire(&fixture).progress.counters.dead, 1);
}

fn parts_are_one_transaction_and_each_refused_row_is_its_own<P: TestTarget>() {
    let fixture = P::open();
    let committed = acquire(&fixture);
    let parts = vec![part(0, &["a", P::REFUSED]), part(2, &["c"]), part(3, &[P::REFUSED, "e"])];
    let written = write(&fixture, &committed, parts);
    assert_eq!((written.outcome, written.refused.len()), (Outcome::Committed, 2));
    assert_eq!((fixture.rows(), fixture.dead_letters()), (vec![0, 2, 4], vec![1, 3]));
    assert_eq!(acquire(&fixture).next, Some(5));
}

fn a_transaction_says_when_it_is_full<P: TestTarget>() {
    let fixture = P::open();
    let mut transaction = fixture.target().begin().unwrap();
    let mut num_records = 0;
    while let Some(room) = transaction.room() {
        assert!(room.records > 0 && room.bytes > 0, "room for nothing: {room:?}");
        transaction.add(part(num_records, &["a"; 100])).unwrap();
        num_records += 100;
        assert!(num_records <= 10_000_000, "a transaction without limits");
    }
    assert!(num_records > 0);
}

struct Table {
    world: World,
    target: Arc<dyn Target>,
}

impl TestTarget for Table {
    const KIND: &'static str = "postgres";
    const REFUSED: &'static str = "longer than a name may be";

    fn open() -> Table {
        let world = World::new("[sink.columns]\nname = \"varchar(10)\"\n");
        let schema = weir_codec::Schema::parse(crate::world::SCHEMA).unwrap().arrow();
        let target = open(&world.pipeline, &world.pipeline.sinks[0], schema, "cluster").unwrap();
        assert_eq!(RUNTIME.block_on(target.prepare()).unwrap(), []);
        Table { world, target }
    }

    fn target(&self) -> &dyn Target {
        &*self.target
    }

    fn rows(&self) -> Vec<i32> {
        self.numbers("SELECT id FROM shop.sale ORDER BY id")
    }

    fn dead_letters(&self) -> Vec<i64> {
        self.numbers("SELECT \"offset\" FROM weir.dead_letters ORDER BY 1")
    }
}

impl Table {
    fn numbers<N: std::str::FromStr<Err: std::fmt::Debug>>(&self, sql: &str) -> Vec<N> {
        let rows = self.world.database.texts(sql).unwrap();
        rows.into_iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect()
    }
}

impl TestTarget for Memory {
    const KIND: &'static str = "memory";
    const REFUSED: &'static str = "longer than a name may be";

    fn open() -> Memory {
        Memory::default()
    }

    fn target(&self) -> &dyn Target {
        self
    }

    fn rows(&self) -> Vec<i32> {
        self.ids()
    }

    fn dead_letters(&self) -> Vec<i64> {
        self.dead_letter_offsets()
    }
}

/// Runs every promise for every target, and knows which kinds there are.
macro_rules! suite {
    ($($name:ident: $target:ident),+ $(,)?) => {
        $(mod $name {
            suite!(promises $target:
                what_is_committed_is_there_and_the_position_with_it,
                a_writer_that_was_replaced_writes_nothing,
                the_same_claim_is_not_honoured_twice,
                a_refused_row_is_a_dead_letter_and_its_neighbours_are_rows,
                dead_letters_of_a_part_are_committed_with_it,
                parts_are_one_transaction_and_each_refused_row_is_its_own,
                a_transaction_says_when_it_is_full,
            );
        })+

        #[test]
        fn every_kind_of_target_is_in_the_suite() {
            let tested = [$(<$target>::KIND),+];
            let missing: Vec<_> =
                pipeline::Target::KINDS.iter().filter(|kind| !tested.contains(kind)).collect();
            assert!(missing.is_empty(), "no promises are tested for {missing:?}");
        }
    };
    (promises $target:ident: $($promise:ident,)+) => {
        $(#[test] fn $promise() { super::$promise::<super::$target>(); })+
    };
}

suite! {
    postgres: Table,
    parquet_files: ParquetFiles,
    json_files: JsonFiles,
    csv_files: CsvFiles,
    memory: Memory,
}
