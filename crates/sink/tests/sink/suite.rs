//! What every target promises, whatever it is. A new target implements [`Place`] and gets a module
//! at the end.

use crate::world::World;
use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use std::sync::{Arc, LazyLock};
use tokio::runtime::Runtime;
use weir_kafka::Records;
use weir_model::fault::{Fault, Stage};
use weir_model::lineage::{HEADER, Lineage};
use weir_model::pipeline;
use weir_model::progress::{Counters, Progress};
use weir_model::protocol::{Claim, CommittedPosition, Outcome};
use weir_sink::target::{Batch, Postgres, Target};

/// Connections live on the runtime that made them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// A target and a way to look at what it holds.
trait Place {
    type Target: Target;
    fn open() -> Self;
    fn target(&self) -> &Self::Target;
    /// Ids of all rows, ascending.
    fn rows(&self) -> Vec<i32>;
    /// Offsets of all dead letters, ascending.
    fn dead_letters(&self) -> Vec<i64>;
    /// A name that the target refuses.
    const REFUSED: &'static str;
}

/// Rows of one partition from offset `from` on, with their row numbers as ids from there.
fn batch(partition: i32, from: i64, names: &[&str]) -> Batch {
    let mut records = Records::new();
    for offset in from..from + names.len() as i64 {
        records.push_parts(
            partition,
            offset,
            1_700_000_000_000,
            Some(b"key"),
            Some(b"\0\0\0\0\x01value"),
        );
        records.push_header(
            HEADER,
            Some(&Lineage { source: offset, previous: offset - 1, filtered: 0 }.encode()),
        );
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values((from as i32)..(from as i32 + names.len() as i32))),
        Arc::new(StringArray::from_iter_values(names)),
    ];
    let rows = RecordBatch::try_new(
        weir_codec::Schema::parse(crate::world::SCHEMA).unwrap().arrow(),
        columns,
    )
    .unwrap();
    Batch { records, rows, origins: (0..names.len() as u32).collect(), faults: Vec::new() }
}

fn claim(committed: &CommittedPosition, batch: &Batch) -> Claim {
    let (read, dead) = (batch.records.len() as u64, batch.faults.len() as u64);
    let counters = Counters { read, written: read - dead, filtered: 0, dead };
    let next = batch.records.offset(batch.records.len() - 1) + 1;
    let delta = Progress { counters, last: Some(next - 1), filtered_since: 0 };
    let CommittedPosition { partition, fence, next: expected, ref progress } = *committed;
    Claim { partition, fence, expected, next, progress: progress.then(&delta) }
}

fn acquire<P: Place>(place: &P) -> CommittedPosition {
    RUNTIME.block_on(place.target().acquire(&[0])).unwrap().remove(0)
}

fn write<P: Place>(
    place: &P,
    committed: &CommittedPosition,
    batch: &Batch,
) -> (Outcome, Vec<(i32, String)>) {
    let form = place.target().encode(batch).unwrap();
    let written =
        RUNTIME.block_on(place.target().write(batch, &form, &[claim(committed, batch)])).unwrap();
    (written.outcome, written.refused)
}

fn what_is_committed_is_there_and_the_position_with_it<P: Place>() {
    let place = P::open();
    let first = acquire(&place);
    assert_eq!(first.next, None);
    assert_eq!(write(&place, &first, &batch(0, 0, &["a", "b"])).0, Outcome::Committed);
    let second = acquire(&place);
    assert_eq!(
        (second.next, second.progress.counters.written, second.progress.last),
        (Some(2), 2, Some(1))
    );
    assert_eq!(write(&place, &second, &batch(0, 2, &["c"])).0, Outcome::Committed);
    assert_eq!(place.rows(), [0, 1, 2]);
}

fn a_writer_that_was_replaced_writes_nothing<P: Place>() {
    let place = P::open();
    let zombie = acquire(&place);
    let owner = acquire(&place);
    assert_eq!(write(&place, &zombie, &batch(0, 0, &["zombie"])).0, Outcome::Refused);
    assert_eq!(place.rows(), [0; 0]);
    assert_eq!(write(&place, &owner, &batch(0, 0, &["owner"])).0, Outcome::Committed);
    assert_eq!(place.rows(), [0]);
}

fn the_same_claim_is_not_honoured_twice<P: Place>() {
    let place = P::open();
    let committed = acquire(&place);
    assert_eq!(write(&place, &committed, &batch(0, 0, &["a"])).0, Outcome::Committed);
    assert_eq!(write(&place, &committed, &batch(0, 0, &["a"])).0, Outcome::Refused);
    assert_eq!(place.rows(), [0]);
}

fn a_refused_row_is_a_dead_letter_and_its_neighbours_are_rows<P: Place>() {
    let place = P::open();
    let committed = acquire(&place);
    let (outcome, refused) =
        write(&place, &committed, &batch(0, 0, &["a", P::REFUSED, "c", P::REFUSED]));
    assert_eq!((outcome, refused.len()), (Outcome::Committed, 2));
    assert_eq!((place.rows(), place.dead_letters()), (vec![0, 2], vec![1, 3]));
    let counters = acquire(&place).progress.counters;
    assert_eq!((counters.read, counters.written, counters.dead), (4, 2, 2));
}

fn dead_letters_that_come_with_the_batch_land_with_it<P: Place>() {
    let place = P::open();
    let committed = acquire(&place);
    let mut dead = batch(0, 0, &["a", "b", "c"]);
    dead.faults.push((
        1,
        Fault {
            stage: Stage::Sink,
            reason: "truncated".into(),
            detail: "two bytes are missing".into(),
        },
    ));
    dead.origins = vec![0, 2];
    dead.rows =
        arrow::compute::take_record_batch(&dead.rows, &arrow::array::UInt32Array::from(vec![0, 2]))
            .unwrap();
    assert_eq!(write(&place, &committed, &dead).0, Outcome::Committed);
    assert_eq!((place.rows(), place.dead_letters()), (vec![0, 2], vec![1]));
    assert_eq!(acquire(&place).progress.counters.dead, 1);
}

/// Runs every promise for a target.
macro_rules! promises {
    ($place:ty: $($promise:ident),* $(,)?) => {
        $(#[test] fn $promise() { super::$promise::<$place>(); })*
    };
}

struct Table {
    world: World,
    target: Postgres,
}

impl Place for Table {
    type Target = Postgres;
    const REFUSED: &'static str = "longer than a name may be";

    fn open() -> Table {
        let world = World::new("[sink.columns]\nname = \"varchar(10)\"\n");
        let pipeline::Target::Postgres(table) = &world.pipeline.sinks[0].target;
        let schema = weir_codec::Schema::parse(crate::world::SCHEMA).unwrap().arrow();
        let target = Postgres::new(&world.pipeline, "warehouse", table, schema, "cluster").unwrap();
        RUNTIME.block_on(target.prepare()).unwrap();
        Table { world, target }
    }

    fn target(&self) -> &Postgres {
        &self.target
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

mod postgres {
    promises!(super::Table:
        what_is_committed_is_there_and_the_position_with_it,
        a_writer_that_was_replaced_writes_nothing,
        the_same_claim_is_not_honoured_twice,
        a_refused_row_is_a_dead_letter_and_its_neighbours_are_rows,
        dead_letters_that_come_with_the_batch_land_with_it,
    );
}
